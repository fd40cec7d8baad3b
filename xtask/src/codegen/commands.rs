//! The manual of commands, from the command table.

use std::fmt::Write as _;

use bitroster_command::{COMMANDS, CommandSpec, Group};

const HEAD: &str = "\
# Commands

<!-- Made by `cargo xtask codegen` of the command table in `crates/command/src/table`. -->

Any Redis client can send these. What Redis has means here what it means there: arguments, replies
and errors are Redis's. `BM.` commands are Bitroster's own; those that begin with `TR.`, `R.` and
`R64.` are commands of other bitmap modules that mean the same here. Their names' case does not
matter, nor does that of words in capitals.

Flags and categories are what `COMMAND INFO` and `ACL CAT` tell. Costs are in containers of 65,536
bits: an aligned range that has no set bit has no container and costs nothing.

## Expressions

`BM.QUERY` and `BM.TOPK` take an expression over keys as one argument:

| sign | means | binds |
|---|---|---|
| `~a` | not in a | tightest |
| `a & b` | in both | from left to right with `-` |
| `a - b` | in a and not in b | from left to right with `&` |
| `a ^ b` | in one of them and not in the other | looser |
| `a \\| b` | in one of them or both | loosest |

Parentheses group. A minus is the operator where it stands alone, with blanks around it or before
a parenthesis or quotation mark: `a-b` is a key's name. A name with blanks or signs in it is quoted
with `\"` or `'`, where `\\\"`, `\\'`, `\\\\` and `\\xHH` stand for a byte.

`dau:{2026-11-15..2026-11-21}`, unquoted, is the union of the keys of those days. Months
(`2026-11..2027-02`), ISO weeks (`2026-W45..2026-W47`), hours (`2026-11-21T00..2026-11-21T23`) and
integers (`1..30`, and `01..30` of two digits) do the same. Other braces belong to the name, as
those of a hash tag do.

`a & ~b` needs no more than its keys. Anywhere else `~b` needs `UNIVERSE key`, and is that key's
bits without b's.

## Dates

Dates are UTC. A family's dated keys are its name, a colon and an hour (`dau:2026-11-21T09`), a day
(`dau:2026-11-21`), an ISO week (`dau:2026-W47`) or a month (`dau:2026-11`). Units are `h`, `d`, `w`
and `m`.

## Prefixes

`BM.PREFIXES dau:` answers a map for each next name below `dau:`, up to the next separator and
with it (`:` where it is not told) or for a key that ends there: `name` is the whole name, `leaf`
1 for a key, then `keys`, those `expiring`, `bits` that are set, `bytes` of memory, `plain_bytes`
that Redis's strings of those lengths would take, and `bytes` by kind: `array_bytes`,
`dense_bytes`, `run_bytes`, and `other_bytes` for names, headers, short values and full
containers. Most bytes come first. A key over several groups counts once.

At most `LIMIT` names are answered (1000 where it is not told, at most 10,000); a last map with an
empty name then sums the others. All figures together are always those of all keys. Of more than
131,072 names below a prefix, those with fewest bytes so far are added to the rest while the
groups are asked, so that a name's keys may be counted there in part; of more than 131,072 keys
over several groups `plain_bytes` leaves the holes out. Groups are asked in steps of some
milliseconds: what comes or goes meanwhile may be counted or not. It needs the right to read every
key with that prefix.
";

/// The sections: a title, and whether a command stands there.
type Section = (&'static str, fn(&CommandSpec) -> bool);

const SECTIONS: &[Section] = &[
    ("Bitmaps, as in Redis", |spec| is_redis(spec, Group::Bitmap)),
    ("Sets and counts", |spec| is_own(spec) && !is_domain(spec)),
    ("Dates, names and presence", |spec| is_own(spec) && is_domain(spec)),
    ("Values", |spec| is_redis(spec, Group::String)),
    ("Keys", |spec| is_redis(spec, Group::Generic)),
    ("Transactions", |spec| is_redis(spec, Group::Transactions)),
    ("Channels", |spec| is_redis(spec, Group::PubSub)),
    ("Connections", |spec| is_redis(spec, Group::Connection)),
    ("Servers", |spec| is_redis(spec, Group::Server)),
    ("Clusters", |spec| is_redis(spec, Group::Cluster)),
    ("Scripts", |spec| is_redis(spec, Group::Scripting)),
    ("Other bitmap modules", is_alias),
];

fn is_redis(spec: &CommandSpec, group: Group) -> bool {
    !spec.is_own && spec.group == group
}

fn is_own(spec: &CommandSpec) -> bool {
    spec.is_own && !is_alias(spec)
}

fn is_alias(spec: &CommandSpec) -> bool {
    ["r.", "r64.", "tr."].iter().any(|start| spec.name.starts_with(start))
}

/// Whether a command of ours has to do with dates, names and presence.
fn is_domain(spec: &CommandSpec) -> bool {
    const NAMES: &[&str] = &[
        "find",
        "id",
        "mark",
        "name",
        "online",
        "purge",
        "retention",
        "set",
        "space",
        "touch",
        "window",
    ];
    spec.name.strip_prefix("bm.").is_some_and(|name| NAMES.contains(&name))
}

/// The whole manual.
pub(super) fn text() -> String {
    let mut out = HEAD.to_owned();
    for (title, stands_here) in SECTIONS {
        let rows: Vec<_> = COMMANDS.iter().filter(|spec| stands_here(spec)).collect();
        let _written = write!(out, "\n## {title}\n\n");
        let links = rows.iter().map(|spec| {
            let name = spec.name.to_uppercase();
            let anchor = spec.name.replace('.', "");
            format!("[{name}](#{anchor})")
        });
        out.push_str(&wrapped(&links.collect::<Vec<_>>()));
        rows.iter().for_each(|spec| command(&mut out, spec));
    }
    out
}

/// Words with commas between them, in lines of a bearable length.
fn wrapped(words: &[String]) -> String {
    let mut out = String::new();
    let mut columns = 0;
    for (at, word) in words.iter().enumerate() {
        let comma = if at + 1 < words.len() { "," } else { "" };
        if columns > 0 && columns + word.len() + 2 > 100 {
            out.push('\n');
            columns = 0;
        }
        if columns > 0 {
            out.push(' ');
        }
        out.push_str(word);
        out.push_str(comma);
        columns += word.len() + 2;
    }
    out.push('\n');
    out
}

/// One command.
fn command(out: &mut String, spec: &CommandSpec) {
    let name = spec.name.to_uppercase();
    let usage = format!("{name} {}", spec.syntax);
    let since = if spec.is_own { "Bitroster" } else { "Redis" };
    let complexity = spec.complexity.trim_end_matches('.');
    let mut facts = vec![
        format!("cost: {complexity}"),
        format!("since: {since} {}", spec.since),
        format!("flags: {}{}", listed(spec.flags.names()), written_with(spec)),
        format!(
            "categories: {}",
            listed(spec.acl_categories().iter().map(|name| format!("@{name}")))
        ),
    ];
    if !spec.subcommands.is_empty() {
        facts.push(format!("sub-commands: {}", listed(spec.subcommands.iter())));
    }
    let _written = write!(
        out,
        "\n### {name}\n\n```text\n{}\n```\n\n{}\n\n- {}\n",
        usage.trim_end(),
        spec.summary,
        facts.join("\n- ")
    );
}

/// What makes a reading command a writing one.
fn written_with(spec: &CommandSpec) -> String {
    spec.write_word().map_or_else(String::new, |word| {
        let word = word.to_uppercase();
        format!("; with {word} a write, with its flags and categories")
    })
}

/// Words with commas between them.
fn listed(words: impl Iterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<_> = words.map(|word| word.as_ref().to_owned()).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_one_section() {
        for spec in COMMANDS {
            let sections = SECTIONS.iter().filter(|(_, stands_here)| stands_here(spec));
            assert_eq!(sections.count(), 1, "{}", spec.name);
        }
    }
}
