//! What is made of the parser itself: completion scripts, manual pages, and the version.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use bitroster_telemetry::build;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use serde_json::json;

use super::{
    exit::Code,
    output::{self, OutputArgs},
};

/// Arguments of `bitroster completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: ShellName,
}

/// Shells that there are scripts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ShellName {
    /// source <(bitroster completion bash)
    Bash,
    /// bitroster completion zsh > "$HOME/.zfunc/_bitroster"
    Zsh,
    /// bitroster completion fish > ~/.config/fish/completions/bitroster.fish
    Fish,
}

/// Arguments of `bitroster man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages, one a sub-command; it is made if absent.
    #[arg(required_unless_present = "markdown")]
    folder: Option<PathBuf>,
    /// Prints all of it as one Markdown text instead, as in docs/cli.md.
    #[arg(long, conflicts_with = "folder")]
    markdown: bool,
}

/// Columns of a help text in Markdown.
const MARKDOWN_COLUMNS: usize = 96;

/// Arguments of `bitroster version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `bitroster completion`.
pub(crate) fn completion(args: &CompletionArgs, mut command: Command) -> anyhow::Result<Code> {
    let shell = match args.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "bitroster", &mut script);
    output::print(script)?;
    Ok(Code::Done)
}

/// Runs `bitroster man`.
pub(crate) fn man(args: &ManArgs, command: Command) -> anyhow::Result<Code> {
    let Some(path) = &args.folder else {
        output::print(markdown(command))?;
        return Ok(Code::Done);
    };
    let folder = path.display();
    let write = || {
        fs::create_dir_all(path)?;
        clap_mangen::generate_to(command, path)
    };
    write().with_context(|| format!("cannot write manual pages to {folder}"))?;
    output::print(format!("pages are in {folder}; read one by: man {folder}/bitroster.1\n"))?;
    Ok(Code::Done)
}

/// The help of every sub-command, below one another.
fn markdown(command: Command) -> String {
    let mut command = command.term_width(MARKDOWN_COLUMNS);
    command.build();
    let mut text = String::new();
    describe(&mut command, &mut text);
    text
}

fn describe(command: &mut Command, text: &mut String) {
    // A value that happens to be in the environment is no part of the manual.
    *command = command.clone().mut_args(|arg| arg.hide_env_values(true));
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.trim().lines().map(str::trim_end).collect();
    text.push_str(&format!("## {name}\n\n```text\n{}\n```\n\n", lines.join("\n")));
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        describe(inner, text);
    }
}

/// Runs `bitroster version`.
pub(crate) fn version(args: &VersionArgs) -> anyhow::Result<Code> {
    if args.output.is_json() {
        output::print_json(&json!({
            "version": build::VERSION,
            "commit": build::commit(),
            "profile": build::PROFILE,
        }))?;
    } else {
        output::print(format!("bitroster {}\n", super::version()))?;
    }
    Ok(Code::Done)
}
