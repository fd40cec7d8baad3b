//! `bitroster config`: shows and checks configurations. Needs no running node.

use std::path::PathBuf;

use clap::Subcommand;

use super::serve::{ConfigArgs, gather};
use crate::config::{Origin, example};

/// Sub-commands of `bitroster config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigTask {
    /// Prints a commented file with every field at its default.
    Example,
    /// Checks a file together with the environment; tells all problems at once.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Prints every field's value and where it comes from.
    Print {
        #[command(flatten)]
        config: ConfigArgs,
        /// Shows also the fields that nobody set.
        #[arg(long)]
        effective: bool,
    },
}

/// Runs `bitroster config`.
#[expect(clippy::print_stdout, reason = "the text is this command's output")]
pub(crate) fn run(task: ConfigTask) -> anyhow::Result<()> {
    match task {
        ConfigTask::Example => print!("{}", example()),
        ConfigTask::Check { file } => {
            let args = ConfigArgs { config: Some(file.clone()), set: Vec::new() };
            gather(&args, Vec::new(), Vec::new())?;
            println!("{} is well", file.display());
        }
        ConfigTask::Print { config, effective } => {
            let loaded = gather(&config, Vec::new(), Vec::new())?;
            for field in loaded.config.fields() {
                let origin = loaded.origin(field.table, field.name);
                if !effective && origin == Origin::Default {
                    continue;
                }
                let value = if field.name == "requirepass" && field.value.as_str() != Some("") {
                    "(hidden)".to_owned()
                } else {
                    field.value.to_string()
                };
                println!("{}.{} = {value} # {origin}", field.table, field.name);
            }
        }
    }
    Ok(())
}
