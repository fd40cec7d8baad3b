//! The command table: the only list of commands there is.
//!
//! Parsing, `COMMAND`, refusals by flag and the manual all come from it. Rows stand in one file a
//! group; [`COMMANDS`] has them in alphabetical order and [`lookup`] finds one by a perfect hash
//! that the compiler makes.

mod admin;
mod alias;
mod bitmap;
mod channel;
mod hash;
mod keyspace;
mod own;
mod server;
mod string;

use std::{borrow::Cow, collections::BTreeSet};

use crate::{Command, CommandError, ParseLimits, parse::Parser, parse::Request};

/// What Redis's `COMMAND` calls a command's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May change the state.
    pub const WRITE: Self = Self(1);
    /// Cannot change the state.
    pub const READONLY: Self = Self(1 << 1);
    /// May take memory: refused above `maxmemory`.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// Answered while a replica still loads.
    pub const LOADING: Self = Self(1 << 5);
    /// Answered by a replica that may be behind.
    pub const STALE: Self = Self(1 << 6);
    /// Costs the same whatever the value's size.
    pub const FAST: Self = Self(1 << 7);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// Allowed while a script blocks the server.
    pub const ALLOW_BUSY: Self = Self(1 << 9);
    /// Never in the slow log.
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    /// Refused while a replica loads in the background.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 11);
    /// Of channels and messages.
    pub const PUBSUB: Self = Self(1 << 12);
    /// Not in a transaction.
    pub const NO_MULTI: Self = Self(1 << 13);
    /// Its keys are not where first, last and step say; [`keys_of`] finds them.
    pub const MOVABLEKEYS: Self = Self(1 << 14);

    /// Names as Redis sends them, in Redis's order.
    const NAMES: [(Self, &'static str); 15] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_ASYNC_LOADING, "no_async_loading"),
        (Self::NO_MULTI, "no_multi"),
        (Self::MOVABLEKEYS, "movablekeys"),
        (Self::ALLOW_BUSY, "allow_busy"),
    ];

    /// These and those of `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Their names as Redis's `COMMAND` sends them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

/// The group that Redis's manual files a command under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Bits.
    Bitmap,
    /// Whole values and their bytes.
    String,
    /// Keys of any type.
    Generic,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
    /// MULTI and its relatives.
    Transactions,
    /// Channels and messages.
    PubSub,
    /// Scripts and functions; there are none.
    Scripting,
}

impl Group {
    /// The name that `COMMAND DOCS` sends.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::String => "string",
            Self::Generic => "generic",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Scripting => "scripting",
        }
    }
}

/// One command: a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Its name, lower case.
    pub name: &'static str,
    /// Number of arguments with the name; negative where it is the least number.
    pub arity: i8,
    /// What Redis's `COMMAND` says of it.
    pub flags: Flags,
    /// Place of the first key among the arguments, the name being 0; 0 where there is no key.
    pub first_key: u8,
    /// Place of the last key; negative counts from the end.
    pub last_key: i8,
    /// From key to key.
    pub key_step: u8,
    /// ACL categories besides those that follow from the flags, without `@`.
    pub categories: &'static [&'static str],
    /// Where the manual has it.
    pub group: Group,
    /// The version of Redis that has it first; ours for those that Redis has not.
    pub since: &'static str,
    /// Cost.
    pub complexity: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Its arguments, as in Redis's manual.
    pub syntax: &'static str,
    /// The sub-commands of a container, lower case, in alphabetical order; none for any other.
    pub subcommands: &'static [&'static str],
    /// Whether Redis has it not; `since` is then our version.
    pub is_own: bool,
    /// A word that makes a reading command a writing one, and the first and the last place where it
    /// does.
    write_word: Option<(&'static str, u8, u8)>,
    /// Makes a command of a request that has as many arguments as `arity` says.
    pub(crate) parser: Parser,
}

impl CommandSpec {
    /// Whether `len` arguments, the name being one, are neither too few nor too many.
    pub fn takes(&self, len: usize) -> bool {
        let bound = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { len >= bound } else { len == bound }
    }

    /// Parses `args`, whose first is this command's name. For a caller that looked the command up.
    ///
    /// # Errors
    ///
    /// As [`parse`](crate::parse()), but for an unknown name.
    pub fn parse(
        &'static self,
        args: &[&[u8]],
        limits: &ParseLimits,
    ) -> Result<Command, CommandError> {
        if self.takes(args.len()) {
            (self.parser)(&Request { spec: self, args, limits })
        } else {
            Err(CommandError::wrong_arity(self.name))
        }
    }

    /// The flags of one request, whose first argument is this command's name. They are the row's,
    /// but for a few commands that read or write as their arguments say (`BM.QUERY STORE`): these
    /// then have WRITE, and DENYOOM where they may take memory, in place of READONLY.
    pub fn flags_of(&self, args: &[&[u8]]) -> Flags {
        let Some((word, first, last)) = self.write_word else { return self.flags };
        let (first, last) = (usize::from(first), usize::from(last).saturating_add(1));
        let around = args.get(first..last.min(args.len())).unwrap_or_default();
        if !around.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes())) {
            return self.flags;
        }
        let write = if word == "drop" { Flags::WRITE } else { Flags::WRITE.and(Flags::DENYOOM) };
        Flags(self.flags.0 & !Flags::READONLY.0).and(write)
    }

    /// The word, lower case, that makes this reading command a writing one; see
    /// [`flags_of`](Self::flags_of).
    pub fn write_word(&self) -> Option<&'static str> {
        self.write_word.map(|(word, ..)| word)
    }

    /// As [`acl_categories`](Self::acl_categories), of one request.
    pub fn acl_categories_of(&self, args: &[&[u8]]) -> Vec<&'static str> {
        Self { flags: self.flags_of(args), ..*self }.acl_categories()
    }

    /// All its ACL categories, without `@`, as Redis derives them.
    pub fn acl_categories(&self) -> Vec<&'static str> {
        let mut names = self.categories.to_vec();
        for (flag, name) in [
            (Flags::WRITE, "write"),
            (Flags::READONLY, "read"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
        ] {
            if self.flags.contains(flag) {
                names.push(name);
            }
        }
        names.push(if self.flags.contains(Flags::FAST) { "fast" } else { "slow" });
        names
    }

    /// The keys among `args`, whose first is this command's name.
    fn keys<'a>(&self, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let last = match usize::try_from(self.last_key) {
            Ok(last) => last,
            Err(_) => args.len().saturating_sub(usize::from(self.last_key.unsigned_abs())),
        };
        let first = usize::from(self.first_key);
        let last = last.min(args.len().saturating_sub(1));
        if first == 0 || first > last {
            return Vec::new();
        }
        args[first..=last].iter().copied().step_by(usize::from(self.key_step)).collect()
    }
}

/// The rows of all groups.
const GROUPS: [&[CommandSpec]; 14] = [
    bitmap::ROWS,
    string::ROWS,
    keyspace::ROWS,
    server::CONNECTION,
    server::SERVER,
    server::TRANSACTIONS,
    admin::ROWS,
    channel::ROWS,
    own::QUERIES,
    own::BITS,
    own::DOMAIN,
    alias::TAIR,
    alias::ROARING,
    alias::ROARING_64,
];

const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

static SORTED: [CommandSpec; COUNT] = sorted();

/// Every command, one row each, in alphabetical order.
pub const COMMANDS: &[CommandSpec] = &SORTED;

/// All rows by name: insertion sort, since the compiler runs it.
const fn sorted() -> [CommandSpec; COUNT] {
    let mut rows = [GROUPS[0][0]; COUNT];
    let (mut len, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            let mut place = len;
            while place > 0 && hash::is_less(GROUPS[group][row].name, rows[place - 1].name) {
                rows[place] = rows[place - 1];
                place -= 1;
            }
            rows[place] = GROUPS[group][row];
            len += 1;
            row += 1;
        }
        group += 1;
    }
    rows
}

/// The command of this name, in any case. Costs some nanoseconds.
///
/// ```
/// use bitroster_command::lookup;
/// assert_eq!(lookup(b"SetBit").unwrap().arity, 4);
/// assert!(lookup(b"setbits").is_none());
/// ```
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    hash::find(name)
}

/// The keys of a whole request, for `COMMAND GETKEYS`: in their order, each once where they are not
/// at fixed places.
///
/// # Errors
///
/// Redis's texts: an unknown command, too few or too many arguments, a command without keys.
///
/// ```
/// use bitroster_command::keys_of;
/// let keys = keys_of(&[b"BM.QUERY", b"STORE", b"d", b"(a | b) - c"]).unwrap();
/// assert_eq!(keys, [&b"d"[..], b"a", b"b", b"c"]);
/// ```
pub fn keys_of<'a>(args: &[&'a [u8]]) -> Result<Vec<Cow<'a, [u8]>>, CommandError> {
    const NONE: CommandError = CommandError::Text("ERR The command has no key arguments");
    let spec = args
        .first()
        .and_then(|name| lookup(name))
        .ok_or(CommandError::Text("ERR Invalid command specified"))?;
    let is_movable = spec.flags.contains(Flags::MOVABLEKEYS);
    if spec.first_key == 0 && !is_movable {
        return Err(NONE);
    }
    if !spec.takes(args.len()) {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    if !is_movable {
        return Ok(spec.keys(args).into_iter().map(Cow::Borrowed).collect());
    }
    let command = spec
        .parse(args, &ParseLimits::default())
        .map_err(|_| CommandError::Text("ERR Invalid arguments specified for command"))?;
    let accesses = command.accesses();
    let mut seen = BTreeSet::new();
    let names = accesses.iter().map(|(key, _)| &**key).filter(|key| seen.insert(*key));
    let keys: Vec<Cow<'a, [u8]>> = names.map(|key| Cow::Owned(key.to_vec())).collect();
    if keys.is_empty() { Err(NONE) } else { Ok(keys) }
}

/// Where a command's keys are: first, last, step.
type Keys = (u8, i8, u8);

const NO_KEYS: Keys = (0, 0, 0);
const ONE_KEY: Keys = (1, 1, 1);
const TWO_KEYS: Keys = (1, 2, 1);
const ALL_KEYS: Keys = (1, -1, 1);

/// A row without its help.
const fn row(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    group: Group,
    parser: Parser,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        first_key: keys.0,
        last_key: keys.1,
        key_step: keys.2,
        categories: match group {
            Group::Bitmap => &["bitmap"],
            Group::String => &["string"],
            Group::Generic => &["keyspace"],
            Group::Connection => &["connection"],
            Group::Transactions => &["transaction"],
            Group::Scripting => &["scripting"],
            Group::Server | Group::Cluster | Group::PubSub => &[],
        },
        group,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        syntax: "",
        subcommands: &[],
        is_own: false,
        write_word: None,
        parser,
    }
}

impl CommandSpec {
    /// The row with its summary and the syntax of its arguments.
    const fn help(self, syntax: &'static str, summary: &'static str) -> Self {
        Self { syntax, summary, ..self }
    }

    /// The row with another version than 1.0.0.
    const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    /// The row with another cost than O(1).
    const fn costs(self, complexity: &'static str) -> Self {
        Self { complexity, ..self }
    }

    /// The row of a command that Redis has not.
    const fn is_own(self) -> Self {
        Self { is_own: true, ..self }
    }

    /// The row of a command that reads, or writes where this word stands at one of these places.
    const fn writes_with(self, word: &'static str, first: u8, last: u8) -> Self {
        Self { write_word: Some((word, first, last)), ..self }
    }

    /// The row of a container with these sub-commands.
    const fn holds(self, subcommands: &'static [&'static str]) -> Self {
        Self { subcommands, ..self }
    }

    /// The row with other categories than its group has.
    const fn categories(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_alphabetical_order_and_no_name_twice() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn every_command_is_found_in_any_case_and_nothing_else_is() {
        for spec in COMMANDS {
            let upper = spec.name.to_ascii_uppercase();
            for name in [spec.name, &upper] {
                assert_eq!(lookup(name.as_bytes()).map(|found| found.name), Some(spec.name));
            }
            for other in [format!("{upper}x"), format!("x{upper}"), upper[1..].to_owned()] {
                let found = lookup(other.as_bytes()).map(|found| found.name.to_uppercase());
                assert!(found.is_none_or(|found| found == other), "{other}");
            }
        }
        assert!(lookup(b"").is_none());
        assert!(lookup(&[b'x'; 1000]).is_none());
        assert!(lookup(b"\xff\xfe").is_none());
        assert!(lookup(b"bitfield\x7fro").is_none());
        assert!(lookup(b"geu").is_none());
    }

    #[test]
    fn every_row_says_what_it_is() {
        for spec in COMMANDS {
            assert_eq!(spec.name, spec.name.to_ascii_lowercase());
            assert!(spec.summary.ends_with('.'), "{}", spec.name);
            assert!(!spec.complexity.is_empty(), "{}", spec.name);
            let takes_more = spec.arity.unsigned_abs() > 1;
            assert!(!takes_more || !spec.syntax.is_empty(), "{}", spec.name);
            assert!(spec.subcommands.is_sorted(), "{}", spec.name);
            let (write, read) =
                (spec.flags.contains(Flags::WRITE), spec.flags.contains(Flags::READONLY));
            assert!(!(write && read), "{}", spec.name);
            assert!(write || !spec.flags.contains(Flags::DENYOOM), "{}", spec.name);
            assert_eq!(spec.first_key == 0, spec.key_step == 0, "{}", spec.name);
        }
    }

    #[test]
    fn keys_are_found_where_the_row_says() {
        let keys = |args: &[&'static str]| {
            let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
            keys_of(&args).map(|keys| {
                keys.into_iter().map(|key| String::from_utf8_lossy(&key).into_owned()).collect()
            })
        };
        let found =
            |keys: &[&str]| Ok(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        assert_eq!(keys(&["SETBIT", "k", "1", "1"]), found(&["k"]));
        assert_eq!(keys(&["bitop", "and", "d", "a", "b"]), found(&["d", "a", "b"]));
        assert_eq!(keys(&["mset", "a", "1", "b", "2"]), found(&["a", "b"]));
        assert_eq!(keys(&["rename", "a", "b"]), found(&["a", "b"]));
        assert_eq!(keys(&["copy", "a", "b", "REPLACE"]), found(&["a", "b"]));
        let text = |args: &[&'static str]| keys(args).unwrap_err().to_string();
        assert_eq!(text(&["nope"]), "ERR Invalid command specified");
        assert_eq!(text(&["ping"]), "ERR The command has no key arguments");
        assert_eq!(text(&["get"]), "ERR Invalid number of arguments specified for command");
    }

    #[test]
    fn categories_follow_from_flags_and_group() {
        let of = |name: &str| lookup(name.as_bytes()).unwrap().acl_categories().join(" ");
        assert_eq!(of("setbit"), "bitmap write slow");
        assert_eq!(of("get"), "string read fast");
        assert_eq!(of("keys"), "keyspace dangerous read slow");
        assert_eq!(of("bgsave"), "dangerous admin slow");
    }
}
