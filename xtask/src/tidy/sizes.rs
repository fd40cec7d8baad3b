//! Files that can be read in one sitting. Functions are clippy's (`too_many_lines`).

use crate::source::Source;

/// Most lines of a file, not counting an inline test module.
const BODY_LINES_MAX: usize = 600;

/// Most columns of a line of Rust.
const COLUMNS_MAX: usize = 100;

/// Checks every Rust file.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.has_extension("rs")) {
        let path = source.path.display();
        let lines = source.body().count();
        if lines > BODY_LINES_MAX {
            complaints.push(format!("{path} has a body of {lines} lines; the limit is 600"));
        }
        for (at, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let at = at + 1;
                complaints.push(format!("{path}:{at} has {columns} columns; the limit is 100"));
            }
        }
    }
    complaints
}
