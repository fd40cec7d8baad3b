//! Requests as lines, and what they make.

use bitroster_command::{ParseLimits, parse};

/// The refusal of a request.
pub(crate) fn error(args: &[&[u8]]) -> String {
    match parse(args, &ParseLimits::default()) {
        Err(error) => error.to_string(),
        Ok(command) => panic!("{args:?} makes {command:?}"),
    }
}

/// Each request, split at blanks, makes this command, written as `Debug` has it.
pub(crate) fn made(cases: &[(&str, String)]) {
    for (line, command) in cases {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        match parse(&args, &ParseLimits::default()) {
            Ok(found) => assert_eq!(&format!("{found:?}"), command, "{line}"),
            Err(error) => panic!("{line}: {error}"),
        }
    }
}

/// Each request, split at blanks, is refused with this text.
pub(crate) fn refuse(cases: &[(&str, &str)]) {
    for (line, text) in cases {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(error(&args), *text, "{line}");
    }
}

/// A read, as `Debug` has it.
pub(crate) fn read(command: &str) -> String {
    format!("Read({command})")
}

/// A write, as `Debug` has it.
pub(crate) fn write(command: &str) -> String {
    format!("Write({command})")
}

/// A composite, as `Debug` has it.
#[allow(dead_code, reason = "two of the test files need it")]
pub(crate) fn composite(command: &str) -> String {
    format!("Composite({command})")
}

/// A session's command, as `Debug` has it.
#[allow(dead_code, reason = "two of the test files need it")]
pub(crate) fn session(command: &str) -> String {
    format!("Session({command})")
}
