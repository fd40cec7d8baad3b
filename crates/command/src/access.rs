//! Which keys a command touches, and how.
//!
//! For rights and for `COMMAND GETKEYS`. What a command may learn of a key is reading, what it may
//! change is writing; SETBIT answers the old bit and so does both, SET does not. Redis's key
//! specifications (`commands/*.json`) say the same of its own commands.

use std::borrow::Cow;

use bitroster_types::Key;
use smallvec::SmallVec;

use crate::{
    Command, Composite, FieldAction, ReadCommand, SessionCommand, SetReply, WriteCommand,
    composite::{Ask, Candidates, Expression},
};

/// What a command does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Its answer depends on the value.
    Read,
    /// It may change the value.
    Write,
}

/// Keys and what is done with them; a key that is read and written is there twice.
pub type Accesses<'a> = SmallVec<[(Cow<'a, [u8]>, Access); 4]>;

impl Command {
    /// The keys that this command touches. An id space counts as a key of its name. The dated keys
    /// of a family depend on the time: they are given as one name, `family:*`, which only a right
    /// to all of them covers; so are the keys below `BM.PREFIXES`'s prefix. Commands that name no
    /// key (`KEYS`, `FLUSHALL`, `BM.PURGE`) have none; see
    /// [`needs_all_keys`](Self::needs_all_keys).
    ///
    /// Allocates for more than four keys, and for dated ones.
    ///
    /// ```
    /// use bitroster_command::{Access, ParseLimits, parse};
    /// let command = parse(&[b"BITOP", b"OR", b"d", b"a"], &ParseLimits::default()).unwrap();
    /// let accesses = command.accesses();
    /// assert_eq!(accesses[0], (b"d".into(), Access::Write));
    /// assert_eq!(accesses[1], (b"a".into(), Access::Read));
    /// ```
    pub fn accesses(&self) -> Accesses<'_> {
        let mut found = Found(Accesses::new());
        match self {
            Self::Session(command) => found.session(command),
            Self::Read(command) => found.read(command),
            Self::Write(command) => found.write(command),
            Self::Composite(composite) => found.composite(composite),
        }
        found.0
    }

    /// What the names of keys begin with that the command touches without naming them, and which
    /// [`accesses`](Self::accesses) gives with a star behind it: a family and a colon, or
    /// `BM.PREFIXES`'s prefix.
    pub fn start_of_names(&self) -> Option<Cow<'_, [u8]>> {
        let Self::Composite(composite) = self else { return None };
        if let Composite::Mark { family, .. } | Composite::Window { family, .. } = &**composite {
            Some(Cow::Owned([family, &b":"[..]].concat()))
        } else if let Composite::Prefixes { prefix, .. } = &**composite {
            Some(Cow::Borrowed(prefix))
        } else {
            None
        }
    }

    /// Whether the command looks into every key whose name matches a pattern, so that only who may
    /// do so with all keys may use it: `BM.PURGE` and `BM.TOPK` with MATCH. The first of the two
    /// changes them, unless it only tries.
    pub fn needs_all_keys(&self) -> Option<Access> {
        let Self::Composite(composite) = self else { return None };
        if let Composite::Purge { dry_run, .. } = &**composite {
            return Some(if *dry_run { Access::Read } else { Access::Write });
        }
        let matches = matches!(&**composite, Composite::TopK { among: Candidates::Match(_), .. });
        matches.then_some(Access::Read)
    }
}

struct Found<'a>(Accesses<'a>);

impl<'a> Found<'a> {
    fn reads(&mut self, key: &'a [u8]) {
        self.0.push((Cow::Borrowed(key), Access::Read));
    }

    fn writes(&mut self, key: &'a [u8]) {
        self.0.push((Cow::Borrowed(key), Access::Write));
    }

    fn both(&mut self, key: &'a [u8]) {
        self.reads(key);
        self.writes(key);
    }

    fn reads_all(&mut self, keys: &'a [Key]) {
        keys.iter().for_each(|key| self.reads(key));
    }

    /// The dated keys of a family.
    fn family(&mut self, family: &[u8], access: Access) {
        self.0.push((Cow::Owned([family, b":*"].concat()), access));
    }

    fn session(&mut self, command: &'a SessionCommand) {
        if let SessionCommand::Watch { keys } = command {
            self.reads_all(keys);
        } else if let SessionCommand::Admin { name: "object", args } = command
            && let [word, key] = &args[..]
            && !word.eq_ignore_ascii_case(b"help")
        {
            self.reads(key);
        }
    }

    fn read(&mut self, command: &'a ReadCommand) {
        use ReadCommand as R;
        match command {
            R::GetBit { key, .. }
            | R::BitCount { key, .. }
            | R::BitPos { key, .. }
            | R::BitFieldRo { key, .. }
            | R::Get { key }
            | R::StrLen { key }
            | R::GetRange { key, .. }
            | R::Type { key }
            | R::Ttl { key, .. }
            | R::FindIds { space: key, .. }
            | R::FindNames { space: key, .. }
            | R::SpaceInfo { space: key } => self.reads(key),
            R::BitOpCard { sources: keys, .. } | R::MGet { keys } | R::Exists { keys } => {
                self.reads_all(keys);
            }
            R::Scan { .. } | R::Keys { .. } | R::DbSize | R::RandomKey | R::Spaces => {}
        }
    }

    fn write(&mut self, command: &'a WriteCommand) {
        use WriteCommand as W;
        match command {
            W::SetBit { key, .. }
            | W::GetDel { key }
            | W::GetEx { key, .. }
            | W::IncrBy { key, .. }
            | W::Merge { key, .. }
            | W::Touch { key, .. }
            | W::AssignIds { space: key, .. } => self.both(key),
            W::BitField { key, ops } => {
                let only_get = ops.iter().all(|op| op.action == FieldAction::Get);
                if only_get { self.reads(key) } else { self.both(key) }
            }
            W::BitOp { target, sources, .. } => {
                self.writes(target);
                self.reads_all(sources);
            }
            W::Set { key, reply: SetReply::Old, .. } => self.both(key),
            W::MSet { pairs, .. } => pairs.iter().for_each(|(key, _)| self.writes(key)),
            W::Set { key, .. }
            | W::Append { key, .. }
            | W::SetRange { key, .. }
            | W::Expire { key, .. }
            | W::Persist { key }
            | W::Restore { key, .. }
            | W::DropSpace { space: key } => self.writes(key),
            W::Delete { keys } => keys.iter().for_each(|key| self.writes(key)),
            W::Rename { source, target, .. } => {
                self.both(source);
                self.writes(target);
            }
            W::Copy { source, target, .. } => {
                self.reads(source);
                self.writes(target);
            }
            W::Flush => {}
        }
    }

    fn composite(&mut self, composite: &'a Composite) {
        use Composite as C;
        match composite {
            C::Query { of, ask } => self.ask(of, ask),
            C::GetBits { key, .. }
            | C::Rank { key, .. }
            | C::Info { key }
            | C::Online { key, .. }
            | C::Dump { key }
            | C::MemoryUsage { key }
            | C::ObjectEncoding { key } => self.reads(key),
            C::Compare { a, b, .. } => {
                self.reads(a);
                self.reads(b);
            }
            C::Retention { cohorts, returns, .. } => {
                self.reads_all(cohorts);
                let more = returns.iter().filter(|key| !cohorts.contains(key));
                more.for_each(|key| self.reads(key));
            }
            C::TopK { of, among, .. } => {
                self.reads_all(&of.keys);
                if let Candidates::Keys(keys) = among {
                    self.reads_all(keys);
                }
            }
            C::Mark { family, .. } => {
                self.family(family, Access::Read);
                self.family(family, Access::Write);
            }
            C::Window { family, ask, .. } => {
                self.target(ask);
                self.family(family, Access::Read);
            }
            C::SetNames { key, space, .. } => {
                self.both(key);
                self.both(space);
            }
            C::Prefixes { prefix, .. } => {
                let names = [prefix, &b"*"[..]].concat();
                self.0.push((Cow::Owned(names), Access::Read));
            }
            C::Export { of, .. } => self.reads_all(&of.keys),
            C::Import { key, mode: Some(_), .. } => self.both(key),
            C::Import { key, mode: None, .. } => self.writes(key),
            C::Purge { .. } | C::SpaceList => {}
        }
    }

    fn ask(&mut self, of: &'a Expression, ask: &'a Ask) {
        self.target(ask);
        self.reads_all(&of.keys);
    }

    fn target(&mut self, ask: &'a Ask) {
        if let Ask::Store { target } = ask {
            self.writes(target);
        }
    }
}
