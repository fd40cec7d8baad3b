//! `help`: the manual of the command table, a screen at a time.

use std::fmt::Write as _;

use bitroster_command::{
    lookup,
    table::{COMMANDS, CommandSpec, Group},
};

use crate::cli::output::Style;

const GROUPS: [Group; 8] = [
    Group::Bitmap,
    Group::String,
    Group::Generic,
    Group::Transactions,
    Group::PubSub,
    Group::Connection,
    Group::Server,
    Group::Cluster,
];

/// What `help` says of a topic: a command, a group as `@bitmap`, or nothing for the overview.
pub(super) fn help(topic: Option<&str>, style: Style) -> String {
    let Some(topic) = topic else { return overview(style) };
    if let Some(spec) = lookup(topic.as_bytes()) {
        return one(spec, style);
    }
    let group = topic.strip_prefix('@').map(str::to_ascii_lowercase);
    let begun = topic.to_ascii_lowercase();
    let is_meant = |spec: &&CommandSpec| match &group {
        Some(group) => spec.group.name() == group,
        None => spec.name.starts_with(&begun),
    };
    let found: Vec<&CommandSpec> = COMMANDS.iter().filter(is_meant).collect();
    if found.is_empty() {
        return format!("no command begins with '{topic}'; 'help' lists the groups\n");
    }
    let width = found.iter().map(|spec| spec.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for spec in found {
        let name = style.strong(&format!("{:<width$}", spec.name.to_ascii_uppercase()));
        line(&mut text, &format!("{name}  {}", spec.summary));
    }
    text
}

fn overview(style: Style) -> String {
    let mut text = String::new();
    for (what, does) in [
        ("help COMMAND", "syntax, cost and meaning of a command"),
        ("help @GROUP", "the commands of a group, or help BM. for those that begin so"),
        ("\\format FORM", "how replies are shown: pretty, raw or json"),
        ("\\timing", "shows how long each command takes, or no longer"),
        ("\\q", "leaves, as Ctrl-D does"),
    ] {
        line(&mut text, &format!("{}  {does}", style.strong(&format!("{what:<14}"))));
    }
    line(&mut text, "");
    for group in GROUPS {
        let count = COMMANDS.iter().filter(|spec| spec.group == group).count();
        let name = format!("@{:<13}", group.name());
        line(&mut text, &format!("{}  {count} commands", style.strong(&name)));
    }
    text
}

fn one(spec: &CommandSpec, style: Style) -> String {
    let mut text = String::new();
    let name = spec.name.to_ascii_uppercase();
    for (at, form) in spec.syntax.split(" | ").enumerate() {
        let between = if at == 0 { "  " } else { "  | " };
        line(&mut text, &format!("{between}{} {form}", style.strong(&name)));
    }
    line(&mut text, &format!("\n  {}\n", spec.summary));
    let whose = if spec.is_own { "Bitroster" } else { "Redis" };
    let flags: Vec<&str> = spec.flags.names().collect();
    for (what, is) in [
        ("cost", spec.complexity.to_owned()),
        ("since", format!("{whose} {}", spec.since)),
        ("group", format!("@{}", spec.group.name())),
        ("flags", flags.join(", ")),
        ("subcommands", spec.subcommands.join(", ")),
    ] {
        if !is.is_empty() {
            line(&mut text, &format!("  {} {is}", style.dim(&format!("{what:<11}"))));
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_groups_and_beginnings_are_explained() {
        let help = |topic| help(topic, Style::default());
        let one = help(Some("bitop"));
        assert!(one.starts_with("  BITOP ") && one.contains("\n  cost "), "{one}");
        assert!(help(Some("@bitmap")).contains("SETBIT"));
        assert!(help(Some("bm.q")).starts_with("BM.QUERY  Counts"));
        assert!(help(Some("nope")).starts_with("no command begins with 'nope'"));
        assert!(help(None).contains("@bitmap"));
    }
}
