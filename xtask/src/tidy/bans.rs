//! What a place must not contain.

use crate::source::Source;

/// One rule: where it holds, where it does not, and what must not stand there.
struct Ban {
    /// Path prefixes that the rule covers.
    under: &'static [&'static str],
    /// Path prefixes within them that it does not.
    except: &'static [&'static str],
    /// Texts that must not occur outside comments.
    words: &'static [&'static str],
    /// Which of the files there it covers.
    scope: Scope,
    /// Why.
    reason: &'static str,
}

/// Which files a rule covers.
#[derive(PartialEq, Eq)]
enum Scope {
    /// What ships.
    Product,
    /// Tests; not benches, examples and tools.
    Tests,
    /// Both, and everything else.
    All,
}

/// The crates without clocks, randomness, tasks and locks.
const PURE: &[&str] = &[
    "crates/types",
    "crates/bitmap",
    "crates/resp",
    "crates/command",
    "crates/placement",
    "crates/engine",
];

const BANS: &[Ban] = &[
    Ban {
        under: PURE,
        except: &[],
        words: &["Instant::now", "SystemTime", "tokio::", "async fn", ".await", "rand::"],
        scope: Scope::Product,
        reason: "layers 0 to 2 have no clock, randomness or task",
    },
    Ban {
        under: &["crates/engine", "crates/command", "crates/placement", "crates/resp"],
        except: &[],
        words: &["Mutex", "RwLock", "RandomState"],
        scope: Scope::Product,
        reason: "the state machine has no lock and no randomness",
    },
    Ban {
        under: &["crates"],
        except: &[
            "crates/wal",
            "crates/node/src/config",
            "crates/node/src/app/tls.rs",
            "crates/node/src/cli",
            "crates/telemetry",
        ],
        words: &["std::fs::", "use std::fs", "fs::File"],
        scope: Scope::Product,
        reason: "files belong to the wal",
    },
    Ban {
        under: &["crates"],
        except: &["crates/shard/src/raft", "crates/shard/src/raft.rs"],
        words: &["openraft::", "use openraft"],
        scope: Scope::Product,
        reason: "openraft is named in shard::raft alone",
    },
    Ban {
        under: &["crates"],
        except: &["crates/rpc", "crates/proto", "crates/frontend/src/grpc"],
        words: &["tonic::", "use tonic"],
        scope: Scope::Product,
        reason: "tonic belongs to rpc and frontend::grpc",
    },
    Ban {
        under: &["crates", "xtask", "tests"],
        except: &["crates/bitmap/src/kernels", "crates/bitmap/src/kernels.rs", "tests/fuzz"],
        words: &["unsafe {", "unsafe fn", "unsafe impl"],
        scope: Scope::Product,
        reason: "unsafe belongs to bitmap's kernels",
    },
    Ban {
        under: &["crates", "tests/suite"],
        except: &[],
        words: &["thread::sleep", "time::sleep(", "#[ignore"],
        scope: Scope::Tests,
        reason: "a test waits for a condition, and is not ignored",
    },
    Ban {
        under: &["crates", "xtask/src/verify.rs", "tests/suite"],
        except: &[],
        words: &["unbounded_channel", "todo!(", "unimplemented!("],
        scope: Scope::All,
        reason: "every queue is bounded and nothing is left undone",
    },
];

/// Checks every Rust file against every ban.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| source.has_extension("rs"))
        .flat_map(|source| BANS.iter().flat_map(move |ban| ban.check(source)))
        .collect()
}

impl Ban {
    fn check(&self, source: &Source) -> Vec<String> {
        let covered = self.under.iter().any(|prefix| source.is_under(prefix))
            && !self.except.iter().any(|prefix| source.is_under(prefix))
            && match self.scope {
                Scope::Product => !source.is_test(),
                Scope::Tests => source.is_under("tests") || source.is_in("tests"),
                Scope::All => true,
            };
        if !covered {
            return Vec::new();
        }
        let mut complaints = Vec::new();
        for (at, line) in source.body() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = self.words.iter().find(|word| code.contains(**word)) {
                let path = source.path.display();
                complaints.push(format!("{path}:{at} has '{word}': {}", self.reason));
            }
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_clock_in_the_engine_is_told_and_in_a_comment_is_not() {
        let clock = source("crates/engine/src/lib.rs", "let now = Instant::now();\n");
        assert_eq!(check(&[clock]).len(), 1);
        let comment = source("crates/engine/src/lib.rs", "// no Instant::now here\n");
        assert_eq!(check(&[comment]), Vec::<String>::new());
    }

    #[test]
    fn openraft_outside_its_module_is_told() {
        let inside = source("crates/shard/src/raft/log.rs", "use openraft::Raft;\n");
        assert_eq!(check(&[inside]), Vec::<String>::new());
        let outside = source("crates/shard/src/group.rs", "use openraft::Raft;\n");
        assert_eq!(check(&[outside]).len(), 1);
    }

    #[test]
    fn a_sleep_in_a_test_is_told() {
        let sleep = source("crates/wal/tests/crash.rs", "std::thread::sleep(second);\n");
        assert_eq!(check(&[sleep]).len(), 1);
    }
}
