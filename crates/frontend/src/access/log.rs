//! What ACL LOG shows: refusals of this node, the newest first.
//!
//! Redis: `addACLLogEntry` in `acl.c`.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitroster_command::Reply;
use bitroster_types::limits::{ACCESS_LOG_ENTRIES_MAX, ACCESS_LOG_TEXT_BYTES_MAX};

use super::Denial;

/// How long after the first refusal the same one is counted and not noted anew.
const GROUPING_TIME: Duration = Duration::from_secs(60);

/// Where a refused command stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// By itself.
    TopLevel,
    /// Within a transaction.
    Multi,
}

/// The refusals of this node.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    last_id: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    count: u64,
    reason: &'static str,
    context: Context,
    object: Vec<u8>,
    user: Vec<u8>,
    client: String,
    first: Instant,
    created_ms: u64,
    updated_ms: u64,
}

impl Log {
    /// Notes a refused command.
    pub(crate) fn note_denial(
        &mut self,
        denial: &Denial,
        context: Context,
        user: &[u8],
        client: &str,
    ) {
        let (reason, object) = match denial {
            Denial::Command(place) => ("command", place.name().as_bytes()),
            Denial::Key(key) => ("key", &key[..]),
            Denial::Channel(channel) => ("channel", &channel[..]),
        };
        self.note(reason, context, object, user, client);
    }

    /// Notes a wrong password, given to the command `object`.
    pub(crate) fn note_wrong_password(&mut self, object: &[u8], user: &[u8], client: &str) {
        self.note("auth", Context::TopLevel, object, user, client);
    }

    fn note(
        &mut self,
        reason: &'static str,
        context: Context,
        object: &[u8],
        user: &[u8],
        client: &str,
    ) {
        let (object, user) = (cut(object), cut(user));
        let (now, now_ms) = (Instant::now(), unix_ms());
        let same = |entry: &Entry| {
            entry.reason == reason
                && entry.context == context
                && entry.object == object
                && entry.user == user
                && now.duration_since(entry.first) <= GROUPING_TIME
        };
        if let Some(at) = self.entries.iter().take(10).position(same)
            && let Some(mut entry) = self.entries.remove(at)
        {
            entry.count += 1;
            entry.updated_ms = now_ms;
            client.clone_into(&mut entry.client);
            self.entries.push_front(entry);
            return;
        }
        self.entries.truncate(ACCESS_LOG_ENTRIES_MAX - 1);
        self.entries.push_front(Entry {
            id: self.last_id,
            count: 1,
            reason,
            context,
            object: object.to_vec(),
            user: user.to_vec(),
            client: client.to_owned(),
            first: now,
            created_ms: now_ms,
            updated_ms: now_ms,
        });
        self.last_id += 1;
    }

    /// Forgets all.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
    }

    /// The newest `count` refusals.
    pub(crate) fn show(&self, count: usize) -> Reply {
        Reply::Array(self.entries.iter().take(count).map(Entry::show).collect())
    }
}

impl Entry {
    fn show(&self) -> Reply {
        let integer = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let context = match self.context {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
        };
        let rows = [
            ("count", integer(self.count)),
            ("reason", Reply::bulk(self.reason)),
            ("context", Reply::bulk(context)),
            ("object", Reply::bulk(self.object.clone())),
            ("username", Reply::bulk(self.user.clone())),
            ("age-seconds", Reply::Double(self.first.elapsed().as_secs_f64())),
            ("client-info", Reply::bulk(self.client.clone())),
            ("entry-id", integer(self.id)),
            ("timestamp-created", integer(self.created_ms)),
            ("timestamp-last-updated", integer(self.updated_ms)),
        ];
        Reply::Map(rows.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(ACCESS_LOG_TEXT_BYTES_MAX)]
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_counted_and_the_log_is_bounded() {
        let mut log = Log::default();
        for _ in 0..3 {
            log.note_wrong_password(b"AUTH", b"eve", "id=1");
        }
        assert_eq!((log.entries.len(), log.entries[0].count), (1, 3));
        for at in 0..1000 {
            log.note_wrong_password(b"AUTH", format!("user{at}").as_bytes(), "id=1");
        }
        assert_eq!(log.entries.len(), ACCESS_LOG_ENTRIES_MAX);
        assert_eq!(log.entries[0].user, b"user999");
        log.note_wrong_password(b"AUTH", &[b'x'; 100_000], "id=1");
        assert_eq!(log.entries[0].user.len(), ACCESS_LOG_TEXT_BYTES_MAX);
        let Reply::Array(two) = log.show(2) else { panic!("an array") };
        assert_eq!(two.len(), 2);
        log.reset();
        assert_eq!(log.show(10), Reply::Array(Vec::new()));
    }
}
