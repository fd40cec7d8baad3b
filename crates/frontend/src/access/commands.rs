//! What rules name: commands, their sub-commands and categories; and sets of them.
//!
//! Every row of the command table has a place, and so has every sub-command of those rows that are
//! only a common name for others, as `config|get`. A set is a bit a place.

use std::{collections::HashMap, sync::LazyLock};

use bitroster_command::{
    lookup,
    table::{COMMANDS, CommandSpec, Flags},
};

use super::subcommands::SUBCOMMANDS;
use crate::catalog;

/// Redis's categories, in the order in which `ACL CAT` has them.
pub(crate) const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// A command or a sub-command: its place among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u16);

/// All places.
struct Entries {
    names: Vec<String>,
    categories: Vec<Vec<&'static str>>,
    /// Whether clients may always use it, as they need it to say who they are.
    is_always: Vec<bool>,
    /// First place of a row's sub-commands, and how many there are; by the row's index.
    families: Vec<(usize, usize)>,
    by_name: HashMap<String, Place>,
}

static ENTRIES: LazyLock<Entries> = LazyLock::new(Entries::collect);

impl Entries {
    fn collect() -> Self {
        let mut names: Vec<String> = COMMANDS.iter().map(|spec| spec.name.to_owned()).collect();
        let mut categories: Vec<_> = COMMANDS.iter().map(CommandSpec::acl_categories).collect();
        let mut is_always: Vec<bool> =
            COMMANDS.iter().map(|spec| spec.flags.contains(Flags::NO_AUTH)).collect();
        let mut families = Vec::new();
        for spec in COMMANDS {
            let first = names.len();
            for name in spec.subcommands.iter().copied().chain(writing_word(spec)) {
                names.push(format!("{}|{name}", spec.name));
                categories.push(categories_of(spec, name));
                is_always.push(false);
            }
            families.push((first, names.len() - first));
        }
        let place = |at: usize| Place(u16::try_from(at).expect("there are some hundred commands"));
        let by_name = names.iter().enumerate().map(|(at, name)| (name.clone(), place(at)));
        Self { by_name: by_name.collect(), names, categories, is_always, families }
    }
}

/// The word that makes a reading command without sub-commands a writing one: rules name that use
/// of it as if it were a sub-command, `bm.window|store`.
fn writing_word(spec: &CommandSpec) -> Option<&'static str> {
    (spec.name == "bm.window").then_some("store")
}

/// The categories of a sub-command: Redis's, or what follows from its row.
fn categories_of(spec: &'static CommandSpec, name: &str) -> Vec<&'static str> {
    let known = SUBCOMMANDS.iter().find(|(row, _)| *row == spec.name);
    let known = known.and_then(|(_, list)| list.iter().find(|(known, _)| *known == name));
    known.map_or_else(
        || {
            // A window's word comes after the span.
            let words = [spec.name, name, "", "", name].map(str::as_bytes);
            spec.acl_categories_of(&words)
        },
        |(_, categories)| categories.to_vec(),
    )
}

impl Place {
    /// The place of a request, whose first argument is the name of `spec`: the row, or its
    /// sub-command where one is named.
    pub(crate) fn of(spec: &'static CommandSpec, args: &[&[u8]]) -> Self {
        let row = catalog::index(spec);
        let (first, len) = ENTRIES.families[usize::from(row)];
        if len == 0 {
            return Self(row);
        }
        let prefix = spec.name.len() + 1;
        let named = |wanted: &[u8]| {
            let mut names = ENTRIES.names[first..first + len].iter();
            let at = names.position(|name| name.as_bytes()[prefix..].eq_ignore_ascii_case(wanted));
            at.and_then(|at| u16::try_from(first + at).ok()).map(Self)
        };
        let found = if spec.subcommands.is_empty() {
            let is_writing = spec.flags_of(args).contains(Flags::WRITE);
            writing_word(spec).filter(|_| is_writing).and_then(|word| named(word.as_bytes()))
        } else {
            args.get(1).and_then(|word| named(word))
        };
        found.unwrap_or(Self(row))
    }

    /// The place of a command, `get`, or sub-command, `config|get`, in any case.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        ENTRIES.by_name.get(&name).copied()
    }

    /// Its name, lower case.
    pub(crate) fn name(self) -> &'static str {
        &ENTRIES.names[usize::from(self.0)]
    }

    /// All places of a category, ascending.
    pub(crate) fn in_category(category: &str) -> impl Iterator<Item = Self> {
        (0_u16..)
            .zip(&ENTRIES.categories)
            .filter_map(move |(at, categories)| categories.contains(&category).then_some(Self(at)))
    }

    /// Whether it is one of `row`'s sub-commands.
    pub(crate) fn is_under(self, row: Self) -> bool {
        let family = ENTRIES.families.get(usize::from(row.0));
        family.is_some_and(|(first, len)| (*first..first + len).contains(&usize::from(self.0)))
    }
}

/// Redis's name of a category, in any case and without `@`.
pub(crate) fn category(name: &[u8]) -> Option<&'static str> {
    CATEGORIES.into_iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether `name` is that of a command without sub-commands.
pub(crate) fn is_plain_command(name: &[u8]) -> bool {
    lookup(name).is_some_and(|spec| ENTRIES.families[usize::from(catalog::index(spec))].1 == 0)
}

/// A set of commands and sub-commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandSet(Vec<u64>);

impl CommandSet {
    /// All, those that are to come included; or those only that nobody can do without.
    pub(crate) fn new(all: bool) -> Self {
        let len = ENTRIES.names.len();
        let mut set = Self(vec![if all { u64::MAX } else { 0 }; len.div_ceil(64)]);
        for at in (0..len).filter(|at| ENTRIES.is_always[*at]) {
            set.0[at / 64] |= 1 << (at % 64);
        }
        set
    }

    /// Whether `place` is in the set.
    #[inline]
    pub(crate) fn contains(&self, place: Place) -> bool {
        let at = usize::from(place.0);
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// Adds or removes one place, and with a row all its sub-commands.
    pub(crate) fn set(&mut self, place: Place, allow: bool) {
        self.set_one(usize::from(place.0), allow);
        if let Some((first, len)) = ENTRIES.families.get(usize::from(place.0)) {
            (*first..first + len).for_each(|at| self.set_one(at, allow));
        }
    }

    /// Adds or removes a category.
    pub(crate) fn set_category(&mut self, category: &str, allow: bool) {
        for place in Place::in_category(category) {
            self.set_one(usize::from(place.0), allow);
        }
    }

    fn set_one(&mut self, at: usize, allow: bool) {
        if allow || ENTRIES.is_always[at] {
            self.0[at / 64] |= 1 << (at % 64);
        } else {
            self.0[at / 64] &= !(1 << (at % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::named(name.as_bytes()).unwrap()
    }

    #[test]
    fn every_row_has_its_place_and_sub_commands_theirs() {
        for spec in COMMANDS {
            assert_eq!(Place::of(spec, &[b"x"]), place(spec.name));
            assert_eq!(Place::of(spec, &[b"x", b"no-such-thing"]), place(spec.name));
        }
        let config = lookup(b"config").unwrap();
        assert_eq!(Place::of(config, &[b"CONFIG", b"GeT", b"x"]), place("config|get"));
        assert_eq!(place("config|get").name(), "config|get");
        assert!(place("config|get").is_under(place("config")));
        assert!(!place("config|get").is_under(place("client")));
        assert_eq!(Place::named(b"config|nothing"), None);
        assert!(is_plain_command(b"GET") && !is_plain_command(b"config"));
    }

    #[test]
    fn every_sub_command_is_of_a_row_and_every_category_is_known() {
        for (row, list) in SUBCOMMANDS {
            for (name, categories) in *list {
                let at = *name;
                assert!(categories.iter().all(|it| CATEGORIES.contains(it)), "{row}|{at}");
            }
        }
        for place in ENTRIES.by_name.values() {
            let its = &ENTRIES.categories[usize::from(place.0)];
            let speeds = its.iter().filter(|it| ["fast", "slow"].contains(*it)).count();
            assert_eq!(speeds, 1, "{}", place.name());
        }
    }

    #[test]
    fn what_stores_is_a_writing_use_of_a_reading_command() {
        let of = |request: &str| {
            let args: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            Place::of(lookup(args[0]).unwrap(), &args)
        };
        assert_eq!(of("bm.query store d a"), place("bm.query|store"));
        assert_eq!(of("bm.query count a"), place("bm.query|count"));
        assert_eq!(of("bm.window dau LAST 28d COUNT"), place("bm.window"));
        assert_eq!(of("bm.window dau LAST 28d STORE d"), place("bm.window|store"));
        let mut reader = CommandSet::new(false);
        reader.set_category("read", true);
        let allowed = ["bm.query|count", "bm.window"].map(|name| reader.contains(place(name)));
        let refused =
            ["bm.query|store", "bm.window|store"].map(|name| reader.contains(place(name)));
        assert_eq!((allowed, refused), ([true; 2], [false; 2]));
    }

    #[test]
    fn a_row_takes_its_sub_commands_along_and_a_sub_command_nothing() {
        let mut set = CommandSet::new(false);
        set.set(place("config"), true);
        assert!(set.contains(place("config|get")) && set.contains(place("config|set")));
        set.set(place("config|set"), false);
        assert!(set.contains(place("config|get")) && !set.contains(place("config|set")));
        assert!(!set.contains(place("get")));
        set.set_category("read", true);
        assert!(set.contains(place("get")) && !set.contains(place("set")));
    }

    #[test]
    fn what_says_who_a_client_is_cannot_be_taken_away() {
        let mut set = CommandSet::new(true);
        for name in ["auth", "hello", "quit", "reset"] {
            set.set(place(name), false);
            assert!(set.contains(place(name)), "{name}");
        }
        set.set_category("connection", false);
        assert!(set.contains(place("auth")) && !set.contains(place("ping")));
    }
}
