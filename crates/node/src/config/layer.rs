//! File, environment and flags become one set of values.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::Config;

/// The environment variables that are ours begin with this.
const ENV_PREFIX: &str = "BITROSTER_";

/// Variables with our prefix that are not settings: the build's, the image's and those of commands
/// that talk to servers.
const ENV_OTHER: &[&str] = &[
    "BITROSTER_ADDR",
    "BITROSTER_COMMIT",
    "BITROSTER_CONFIG",
    "BITROSTER_HEALTHCHECK",
    "BITROSTER_NODE",
    "BITROSTER_PASSWORD",
    #[cfg(feature = "planted-faults")]
    "BITROSTER_PLANTED",
    "BITROSTER_USER",
];

/// Where a configuration comes from, weakest first.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Defaults of the sub-command, as `table.field` and value.
    pub(crate) presets: Vec<(String, String)>,
    /// The file's path and text.
    pub(crate) file: Option<(PathBuf, String)>,
    /// Environment variables; those without our prefix are passed over.
    pub(crate) env: Vec<(String, String)>,
    /// The flag, `table.field` and value.
    pub(crate) flags: Vec<(String, String, String)>,
}

/// Where one value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// The sub-command's own default.
    Preset,
    /// The file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset => f.write_str("default of this sub-command"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A configuration that has passed all checks.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Where each `table.field` that somebody set comes from.
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where a field's value comes from.
    pub(crate) fn origin(&self, table: &str, field: &str) -> Origin {
        self.origins.get(&format!("{table}.{field}")).cloned().unwrap_or(Origin::Default)
    }
}

/// Lays the sources over each other and checks the result.
///
/// # Errors
///
/// All problems at once, each with the place it comes from.
pub(crate) fn load(sources: Sources) -> Result<Loaded, Vec<String>> {
    let mut layers = Layers::default();
    for (key, value) in sources.presets {
        layers.text(&key, &value, Origin::Preset);
    }
    if let Some((path, text)) = sources.file {
        layers.file(path, &text);
    }
    let mut env = sources.env;
    env.sort();
    for (name, value) in env {
        layers.env(&name, &value);
    }
    for (flag, key, value) in sources.flags {
        layers.text(&key, &value, Origin::Flag(flag));
    }
    layers.problems.extend(layers.config.problems());
    if layers.problems.is_empty() {
        Ok(Loaded { config: layers.config, origins: layers.origins })
    } else {
        Err(layers.problems)
    }
}

#[derive(Default)]
struct Layers {
    config: Config,
    origins: BTreeMap<String, Origin>,
    problems: Vec<String>,
}

impl Layers {
    fn file(&mut self, path: PathBuf, text: &str) {
        let document: toml::Table = match text.parse() {
            Ok(document) => document,
            Err(error) => {
                // The library's message points at line and column.
                self.problems.push(format!("{}: {}", path.display(), error.to_string().trim()));
                return;
            }
        };
        for (table, value) in document {
            let toml::Value::Table(fields) = value else {
                self.unknown(&table, &Origin::File(path.clone()));
                continue;
            };
            for (field, value) in fields {
                self.value(&table, &field, value, Origin::File(path.clone()));
            }
        }
    }

    fn env(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            return;
        };
        if ENV_OTHER.contains(&name) {
            return;
        }
        let key = rest.to_ascii_lowercase().replacen("__", ".", 1);
        self.text(&key, value, Origin::Env(name.to_owned()));
    }

    /// Sets a field from a text: as it is where the field is a text, else as TOML reads it.
    fn text(&mut self, key: &str, text: &str, origin: Origin) {
        let Some((table, field)) = key.split_once('.') else {
            self.unknown(key, &origin);
            return;
        };
        let field = field.replace('-', "_");
        let known = self.config.fields();
        let is_text = known
            .iter()
            .find(|known| known.table == table && known.name == field)
            .is_some_and(|known| known.value.is_str());
        let value = if is_text {
            toml::Value::String(text.to_owned())
        } else {
            let parsed = format!("value = {text}").parse::<toml::Table>().ok();
            parsed
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| toml::Value::String(text.to_owned()))
        };
        self.value(table, &field, value, origin);
    }

    fn value(&mut self, table: &str, field: &str, value: toml::Value, origin: Origin) {
        let field = field.replace('-', "_");
        let key = format!("{table}.{field}");
        match self.config.set(table, &field, value) {
            None => self.unknown(&key, &origin),
            Some(Err(reason)) => self.problems.push(format!("{key} ({origin}): {reason}")),
            Some(Ok(())) => {
                self.origins.insert(key, origin);
            }
        }
    }

    fn unknown(&mut self, key: &str, origin: &Origin) {
        let fields = self.config.fields();
        let closest = fields
            .iter()
            .map(|field| format!("{}.{}", field.table, field.name))
            .min_by_key(|known| edits(known, key))
            .unwrap_or_default();
        self.problems.push(format!("{key} ({origin}): no such field; closest is {closest}"));
    }
}

/// Edits that make one text of the other (Levenshtein's distance). Cost: the lengths' product.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Size, SyncWord, example};

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn sources(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
        let flags = pairs(flags).into_iter().map(|(key, value)| ("--set".to_owned(), key, value));
        Sources {
            presets: Vec::new(),
            file: Some((PathBuf::from("b.toml"), file.to_owned())),
            env: pairs(env),
            flags: flags.collect(),
        }
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let file = "[server]\nport = 1\nadmin_port = 2\nmaxclients = 3\n";
        let env = [("BITROSTER_SERVER__PORT", "11"), ("BITROSTER_SERVER__ADMIN_PORT", "12")];
        let loaded = load(sources(file, &env, &[("server.port", "21")])).unwrap();
        assert_eq!(loaded.config.server.port, 21);
        assert_eq!(loaded.config.server.admin_port, 12);
        assert_eq!(loaded.config.server.maxclients, 3);
        assert_eq!(loaded.origin("server", "port"), Origin::Flag("--set".to_owned()));
        let env = Origin::Env("BITROSTER_SERVER__ADMIN_PORT".to_owned());
        assert_eq!(loaded.origin("server", "admin_port"), env);
        assert_eq!(loaded.origin("server", "maxclients"), Origin::File("b.toml".into()));
        assert_eq!(loaded.origin("server", "timeout"), Origin::Default);
    }

    #[test]
    fn values_are_read_by_the_type_of_their_field() {
        let env = [
            ("BITROSTER_SERVER__REQUIREPASS", "12345"),
            ("BITROSTER_STORAGE__SYNC", "interval"),
            ("BITROSTER_STORAGE__MAXMEMORY", "4gb"),
            ("BITROSTER_LIMITS__PROTO_MAX_BULK_LEN", "1048576"),
            ("HOME", "/nowhere"),
        ];
        let config = load(sources("", &env, &[])).unwrap().config;
        assert_eq!(config.server.requirepass, "12345");
        assert_eq!(config.storage.sync, SyncWord::Interval);
        assert_eq!(config.storage.maxmemory, Size(4 << 30));
        assert_eq!(config.limits.proto_max_bulk_len, Size(1 << 20));
    }

    #[test]
    fn all_problems_are_told_at_once_each_with_its_place() {
        let file = "[server]\nprot = 1\nmaxclients = 0\n[nonsense]\na = 1\n[log]\nlevel = \"loud\"";
        let env = [("BITROSTER_SERVER__PORT", "many"), ("BITROSTER_SERVRE__PORT", "1")];
        let flags = [("storage.sync", "sometimes"), ("cluster.segment_width_log2", "40")];
        let problems = load(sources(file, &env, &flags)).unwrap_err();
        let all = problems.join("\n");
        for part in [
            "server.prot (file b.toml): no such field; closest is server.port",
            "nonsense.a (file b.toml): no such field",
            "server.port (environment BITROSTER_SERVER__PORT): ",
            "servre.port (environment BITROSTER_SERVRE__PORT): no such field; closest is server.po",
            "storage.sync (flag --set): ",
            "server.maxclients is 0; must be 1 to",
            "cluster.segment_width_log2 is 40; must be 16 to 26",
            "log level 'loud'",
        ] {
            assert!(all.contains(part), "{part} is missing from:\n{all}");
        }
        assert_eq!(problems.len(), 8, "{all}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_refused_with_its_line() {
        let problems = load(sources("[server]\nport = = 1\n", &[], &[])).unwrap_err();
        assert!(problems[0].starts_with("b.toml: ") && problems[0].contains("line 2"));
    }

    #[test]
    fn the_example_is_the_default_configuration() {
        let loaded = load(sources(&example(), &[], &[])).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(example().contains("# Port that clients connect to.\n"));
    }

    #[test]
    fn dashes_may_stand_for_underscores() {
        let config = load(sources("[limits]\nproto-max-bulk-len = \"1mb\"\n", &[], &[])).unwrap();
        assert_eq!(config.config.limits.proto_max_bulk_len, Size(1 << 20));
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("port", "port"), 0);
        assert_eq!(edits("port", "prot"), 2);
        assert_eq!(edits("", "abc"), 3);
    }
}
