//! Goal: no request panics, whatever its arguments, and what is made of it is consistent.
//!
//! Method: every row of the table with arguments drawn from words that commands know and from bytes
//! that none does, as many as the row takes and more.

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Access, COMMANDS, Command, Flags, ParseLimits, WriteCommand, keys_of, parse,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// What arguments are drawn from.
const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "7",
    "31",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "x",
    "k",
    "a",
    "a & b",
    "a - (b | ~c)",
    "~a",
    "d:{2026-11-01..2026-11-05}",
    "d:{1..9}",
    "(",
    "\"",
    "AND",
    "OR",
    "NOT",
    "DIFF",
    "ONE",
    "COUNT",
    "LIST",
    "SAMPLE",
    "STORE",
    "CURSOR",
    "LIMIT",
    "UNIVERSE",
    "MATCH",
    "MATCHRANGE",
    "KEYS",
    "FORMAT",
    "csv",
    "bytes",
    "roaring32",
    "roaring64",
    "MODE",
    "set",
    "or",
    "xor",
    "andnot",
    "FROM",
    "TO",
    "LAST",
    "ROLLUP",
    "3d",
    "12h",
    "2026-11-21",
    "2026-W47",
    "2026-11",
    "2026-11-21T09",
    "UNIT",
    "d",
    "w",
    "m",
    "h",
    "AT",
    "EXPIRE",
    "RETURNING",
    "HORIZON",
    "TTL",
    "IS",
    "INFO",
    "DROP",
    "DRYRUN",
    "ALL",
    "EQ",
    "REPLACE",
    "ABSTTL",
    "FREQ",
    "IDLETIME",
    "USAGE",
    "SAMPLES",
    "ENCODING",
    "HELP",
    "GET",
    "SET",
    "u8",
    "#1",
    "INCRBY",
    "OVERFLOW",
    "SAT",
    "EX",
    "PX",
    "NX",
    "XX",
    "GT",
    "LT",
    "BIT",
    "BYTE",
    "DB",
    "TYPE",
    "string",
    "AUTH",
    "SETNAME",
];

fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        9 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_arguments_panic(arguments in vec(argument(), 0..12)) {
        let limits = ParseLimits::default();
        for spec in COMMANDS {
            let least = usize::from(spec.arity.unsigned_abs()) - 1;
            for more in 0..3 {
                let args: Vec<_> = std::iter::once(spec.name.as_bytes())
                    .chain(arguments.iter().map(Vec::as_slice).take(least + more))
                    .collect();
                let parsed = parse(&args, &limits);
                prop_assert!(spec.takes(args.len()) || parsed.is_err(), "{:?}", args);
                prop_assert!(keys_of(&args).is_ok() || keys_of(&args).is_err());
                let Ok(command) = parsed else { continue };
                let writes = spec.flags_of(&args).contains(Flags::WRITE);
                let is_write = match &command {
                    Command::Write(_) => true,
                    Command::Session(_) | Command::Read(_) | Command::Composite(_) => {
                        let accesses = command.accesses();
                        accesses.iter().any(|(_, access)| *access == Access::Write)
                    }
                };
                prop_assert!(writes || !is_write, "{:?} writes and has no flag for it", args);
                if let Command::Write(WriteCommand::Merge { bits, .. }) = &command {
                    prop_assert!(Bitmap::decode(bits).is_ok());
                }
            }
        }
    }
}
