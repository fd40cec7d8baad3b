//! `bitroster config`: shows and checks configurations. Needs no running node.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{
    exit::{Code, Failing as _},
    output::{self, Cell, OutputArgs, Tone},
    serve::{ConfigArgs, gather},
};
use crate::config::{Loaded, Origin, example};

/// What is shown in place of a secret.
const HIDDEN: &str = "(hidden)";

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
    /// Prints the fields that somebody set, each with its value and where that comes from.
    Print {
        #[command(flatten)]
        config: ConfigArgs,
        /// Shows all fields, also those that nobody set.
        #[arg(long)]
        effective: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Runs `bitroster config`.
pub(crate) fn run(task: ConfigTask) -> anyhow::Result<Code> {
    match task {
        ConfigTask::Example => output::print(example())?,
        ConfigTask::Check { file } => {
            let args = ConfigArgs { config: Some(file.clone()), set: Vec::new() };
            gather(&args, Vec::new(), Vec::new()).failing_with(
                Code::Bad,
                "'bitroster config example' prints every field with what it may be",
            )?;
            output::print(format!("{} is well\n", file.display()))?;
        }
        ConfigTask::Print { config, effective, output } => {
            let loaded = gather(&config, Vec::new(), Vec::new())?;
            if output.is_json() {
                output::print_json(&as_json(&loaded, effective))?;
            } else {
                output::print(as_table(&loaded, effective, output))?;
            }
        }
    }
    Ok(Code::Done)
}

/// Every field that is to be shown: table, name, value and origin.
fn shown(
    loaded: &Loaded,
    effective: bool,
) -> impl Iterator<Item = (&'static str, &'static str, toml::Value, Origin)> {
    let fields = loaded.config.fields().into_iter();
    fields.filter_map(move |field| {
        let origin = loaded.origin(field.table, field.name);
        if !effective && origin == Origin::Default {
            return None;
        }
        let is_secret = field.name == "requirepass" && field.value.as_str() != Some("");
        let value = if is_secret { toml::Value::String(HIDDEN.to_owned()) } else { field.value };
        Some((field.table, field.name, value, origin))
    })
}

fn as_table(loaded: &Loaded, effective: bool, output: OutputArgs) -> String {
    let rows = shown(loaded, effective).map(|(table, name, value, origin)| {
        let tone = if origin == Origin::Default { Tone::Dim } else { Tone::Good };
        let is_hidden = value.as_str() == Some(HIDDEN);
        let value = if is_hidden { HIDDEN.to_owned() } else { value.to_string() };
        vec![format!("{table}.{name}").into(), value.into(), Cell::new(origin.to_string(), tone)]
    });
    output::table(&["FIELD", "VALUE", "ORIGIN"], rows.collect(), &[], output.style())
}

fn as_json(loaded: &Loaded, effective: bool) -> Value {
    let fields = shown(loaded, effective).map(|(table, name, value, origin)| {
        (format!("{table}.{name}"), json!({ "value": value, "origin": origin.to_string() }))
    });
    Value::Object(fields.collect::<Map<String, Value>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn every_value_has_its_origin_and_no_password_is_shown() {
        let sources = Sources {
            presets: Vec::new(),
            file: Some(("b.toml".into(), "[server]\nport = 1\n".to_owned())),
            env: vec![("BITROSTER_SERVER__REQUIREPASS".to_owned(), "secret".to_owned())],
            flags: Vec::new(),
        };
        let loaded = load(sources).unwrap();
        let json = as_json(&loaded, true);
        assert_eq!(json["server.port"], json!({ "value": 1, "origin": "file b.toml" }));
        assert_eq!(json["server.bind"], json!({ "value": "127.0.0.1", "origin": "default" }));
        assert_eq!(json["server.requirepass"]["value"], HIDDEN);
        let table = as_table(&loaded, false, OutputArgs::default());
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.contains("(hidden)  environment BITROSTER_SERVER__REQUIREPASS"), "{table}");
        assert!(!table.contains("secret") && !json.to_string().contains("secret"));
    }
}
