//! What an import did, in numbers.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::{
        exit::Code,
        output::{bytes, seconds, thousands},
    },
    work::Outcome,
};

/// Failed keys that are named; the others are only counted.
const NAMED_MAX: usize = 20;

/// Why an endless key is named.
const ENDLESS: &str =
    "it was to end while bits were merged into it, and has no end now: give it one";

/// Keys by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Totals {
    pub(super) copied: u64,
    pub(super) copied_bytes: u64,
    /// They were there already.
    pub(super) skipped: u64,
    /// Keys that are no strings, by type.
    pub(super) others: BTreeMap<String, u64>,
    /// They went while they were copied, or were about to.
    pub(super) gone: u64,
    /// They differed when they were compared, and were copied (again).
    pub(super) mended: u64,
    /// Equal at both ends when they were last compared.
    pub(super) same: u64,
    /// Not equal at both ends when they were last compared.
    pub(super) differing: u64,
    /// The source had them no more.
    pub(super) deleted: u64,
    pub(super) failed: u64,
    /// They were to end while bits were merged into them, and have no end now. No comparison finds
    /// them again.
    #[serde(default)]
    pub(super) endless: u64,
    /// Names of keys that differ or failed, and why.
    pub(super) named: Vec<Named>,
}

/// A key that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) key: String,
    pub(super) why: String,
}

impl Named {
    fn new(key: &Bytes, why: String) -> Self {
        Self { key: key.escape_ascii().to_string(), why }
    }
}

impl Totals {
    /// Notes what became of a key.
    pub(super) fn add(&mut self, key: &Bytes, outcome: Outcome) {
        match outcome {
            Outcome::Copied { bytes } => {
                self.copied += 1;
                self.copied_bytes += bytes;
            }
            Outcome::Skipped => self.skipped += 1,
            Outcome::Gone => self.gone += 1,
            Outcome::Other { kind } => *self.others.entry(kind).or_default() += 1,
            Outcome::Failed { why } => {
                self.failed += 1;
                self.name(key, why);
            }
            Outcome::Endless => {
                self.endless += 1;
                // Before the others, whose keys are found again.
                self.named.truncate(NAMED_MAX - 1);
                self.named.insert(0, Named::new(key, ENDLESS.to_owned()));
            }
            Outcome::Same => self.same += 1,
            Outcome::Mended { bytes } => {
                self.mended += 1;
                self.same += 1;
                self.copied_bytes += bytes;
            }
            Outcome::Differing { how } => {
                self.differing += 1;
                self.name(key, how);
            }
            Outcome::Deleted => self.deleted += 1,
            Outcome::Kept => {}
        }
    }

    fn name(&mut self, key: &Bytes, why: String) {
        if self.named.len() < NAMED_MAX {
            self.named.push(Named::new(key, why));
        }
    }

    /// Forgets what every key will be asked again.
    pub(super) fn forget_checks(&mut self, mends: bool) {
        (self.same, self.differing) = (0, 0);
        self.others.clear();
        if mends {
            self.failed = 0;
        }
        self.named.retain(|named| named.why == ENDLESS);
    }

    /// How the import ends.
    pub(super) fn code(&self) -> Code {
        match (self.failed + self.endless, self.differing) {
            (0, 0) => Code::Done,
            (0, _) => Code::Bad,
            _ => Code::Partly,
        }
    }

    /// For people.
    pub(super) fn text(&self, source: &str, target: &str, took: Duration, dry: bool) -> String {
        let secs = took.as_secs_f64();
        let copied = if dry { "to copy" } else { "copied" };
        let mut lines = vec![(copied, self.copied, format!(", {}", bytes(self.copied_bytes)))];
        let mut line = |name, keys: u64, what: &str| {
            if keys > 0 {
                lines.push((name, keys, what.to_owned()));
            }
        };
        line("skipped", self.skipped, ": they were there already");
        for (kind, keys) in &self.others {
            line("not copied", *keys, &format!(" of type {kind}"));
        }
        line("gone", self.gone, ": they went while they were copied, or were about to");
        line("updated", self.mended, ": they differed");
        line("deleted", self.deleted, ": the source had them no more");
        line("equal", self.same, " at both ends");
        line("differing", self.differing, ": being written, or changed by others");
        line("endless", self.endless, ": they were to end, and have no end now");
        line("failed", self.failed, "");
        let mut text = format!("{source} to {target} in {}\n", seconds(secs));
        for (name, keys, what) in lines {
            let noun = if keys == 1 { "key" } else { "keys" };
            text.push_str(&format!("  {name:<13} {:>12} {noun}{what}\n", thousands(keys)));
        }
        for Named { key, why } in &self.named {
            text.push_str(&format!("  {key}: {why}\n"));
        }
        text
    }

    /// For programs.
    pub(super) fn json(
        &self,
        source: &str,
        target: &str,
        took: Duration,
        dry: bool,
    ) -> serde_json::Value {
        json!({
            "source": source,
            "target": target,
            "dry_run": dry,
            "seconds": took.as_secs_f64(),
            "copied": self.copied,
            "copied_bytes": self.copied_bytes,
            "skipped": self.skipped,
            "other_types": self.others,
            "gone": self.gone,
            "updated": self.mended,
            "deleted": self.deleted,
            "equal": self.same,
            "differing": self.differing,
            "endless": self.endless,
            "failed": self.failed,
            "named": self.named,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_and_decide_the_exit_code() {
        let mut totals = Totals::default();
        let key = Bytes::from_static(b"k\xff");
        totals.add(&key, Outcome::Copied { bytes: 3 << 20 });
        totals.add(&key, Outcome::Other { kind: "hash".to_owned() });
        totals.add(&key, Outcome::Same);
        assert_eq!(totals.code(), Code::Done);
        totals.add(&key, Outcome::Differing { how: "1 and 2 bits".to_owned() });
        assert_eq!(totals.code(), Code::Bad);
        totals.add(&key, Outcome::Failed { why: "ERR no".to_owned() });
        assert_eq!(totals.code(), Code::Partly);
        let text = totals.text("a:1", "b:2", Duration::from_secs(2), false);
        assert!(text.contains("copied                   1 key, 3.0 MiB\n"), "{text}");
        assert!(text.contains("not copied               1 key of type hash\n"), "{text}");
        assert!(text.contains("  k\\xff: ERR no\n"), "{text}");
        assert!(!text.contains("skipped"), "{text}");
        totals.forget_checks(true);
        assert_eq!((totals.code(), totals.copied), (Code::Done, 1));
    }

    #[test]
    fn a_key_that_lost_its_end_is_named_to_the_end() {
        let mut totals = Totals::default();
        for _ in 0..=NAMED_MAX {
            totals.add(&Bytes::from_static(b"k"), Outcome::Failed { why: "ERR no".to_owned() });
        }
        totals.add(&Bytes::from_static(b"lives"), Outcome::Endless);
        assert_eq!(totals.named.len(), NAMED_MAX);
        // To a comparison it is like a key that the target gave no end to.
        totals.forget_checks(true);
        assert_eq!((totals.code(), totals.endless, totals.failed), (Code::Partly, 1, 0));
        let text = totals.text("a:1", "b:2", Duration::from_secs(2), false);
        assert!(text.contains(&format!("  lives: {ENDLESS}\n")), "{text}");
    }
}
