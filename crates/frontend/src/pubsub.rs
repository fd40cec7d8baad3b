//! Channels: who listens to what, and the way of a message to them.
//!
//! A message goes to the clients of the node that it was published at, and through
//! [`Relay`] to the other nodes, whose front ends [`deliver`](crate::Frontend::deliver) it to
//! theirs. Messages are not kept: who is not connected does not get them.
//!
//! Redis: `pubsub.c`, `notify.c`.

pub(crate) mod event;
mod mailbox;
pub(crate) mod notify;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bitroster_command::{CommandError, glob::glob_match};
use bitroster_resp::{Encoder, Version};
use bitroster_types::limits::SUBSCRIPTION_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

pub(crate) use self::mailbox::{Mailbox, MailboxLimit};
use self::notify::Classes;
use crate::{access::Identity, client::Client};

/// What a name takes beside its bytes: its places in the client's list and in the node's, and the
/// node's list of who listens to it.
const NAME_BYTES: usize = 256;

/// The way to the other nodes of the cluster.
pub trait Relay: Send + Sync + 'static {
    /// Sends a message to every other node, as well as may be: nobody is told whether it arrived.
    /// Must not wait.
    fn relay(&self, channel: &Bytes, message: &Bytes, sharded: bool);
}

/// What a client can listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}

impl Kind {
    pub(crate) fn new(patterned: bool, sharded: bool) -> Self {
        match (patterned, sharded) {
            (true, _) => Self::Pattern,
            (false, true) => Self::Shard,
            (false, false) => Self::Channel,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Channel => 0,
            Self::Pattern => 1,
            Self::Shard => 2,
        }
    }

    /// What a confirmation begins with.
    pub(crate) fn verb(self, subscribes: bool) -> &'static str {
        match (self, subscribes) {
            (Self::Channel, true) => "subscribe",
            (Self::Channel, false) => "unsubscribe",
            (Self::Pattern, true) => "psubscribe",
            (Self::Pattern, false) => "punsubscribe",
            (Self::Shard, true) => "ssubscribe",
            (Self::Shard, false) => "sunsubscribe",
        }
    }
}

/// What one client listens to, and its mail.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    pub(crate) mailbox: Mailbox,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    of: [BTreeSet<Bytes>; 3],
    bytes: usize,
}

impl Names {
    /// Adds a name, if it is not there yet; whether there is room for it.
    fn add(&mut self, kind: Kind, name: &Bytes) -> bool {
        let of_kind = &mut self.of[kind.place()];
        if !of_kind.contains(name) {
            let bytes = self.bytes.saturating_add(name.len() + NAME_BYTES);
            if bytes > SUBSCRIPTION_BYTES_MAX {
                return false;
            }
            of_kind.insert(name.clone());
            self.bytes = bytes;
        }
        true
    }

    fn remove(&mut self, kind: Kind, name: &Bytes) {
        if self.of[kind.place()].remove(name) {
            self.bytes -= name.len() + NAME_BYTES;
        }
    }
}

impl Listener {
    /// Channels, patterns and shard channels that it listens to.
    pub(crate) fn counts(&self) -> [usize; 3] {
        let names = self.names.lock();
        [names.of[0].len(), names.of[1].len(), names.of[2].len()]
    }

    /// What a confirmation counts: shard channels by themselves, the others together.
    fn count(&self, kind: Kind) -> usize {
        let [channels, patterns, shards] = self.counts();
        if kind == Kind::Shard { shards } else { channels + patterns }
    }

    /// Whether it listens to anything.
    pub(crate) fn is_listening(&self) -> bool {
        self.counts() != [0; 3]
    }

    /// Whether `identity` may listen to all that it listens to.
    pub(crate) fn is_allowed(&self, identity: &Identity) -> bool {
        let names = self.names.lock();
        identity.may_hear([Kind::Channel, Kind::Pattern, Kind::Shard].iter().flat_map(|kind| {
            let of_kind = names.of[kind.place()].iter();
            of_kind.map(move |name| (&name[..], *kind == Kind::Pattern))
        }))
    }

    /// All that it listens to of one kind, in order.
    fn names(&self, kind: Kind) -> Vec<Bytes> {
        self.names.lock().of[kind.place()].iter().cloned().collect()
    }
}

type Listeners = BTreeMap<Bytes, BTreeMap<u64, Arc<Client>>>;

/// All channels of a node.
#[derive(Default)]
pub(crate) struct PubSub {
    listeners: RwLock<[Listeners; 3]>,
    /// How many names have a listener; read without the lock.
    names: AtomicUsize,
    pub(crate) limit: MailboxLimit,
    pub(crate) classes: Classes,
    relay: OnceLock<Arc<dyn Relay>>,
    /// Clients that were dropped because they did not take their messages.
    dropped: AtomicU64,
}

impl PubSub {
    /// Names the way to other nodes; later calls change nothing.
    pub(crate) fn set_relay(&self, relay: Arc<dyn Relay>) {
        self.relay.get_or_init(|| relay);
    }

    /// How many clients were dropped because they did not take their messages.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Whether anybody may hear a message.
    #[inline]
    pub(crate) fn may_be_heard(&self) -> bool {
        self.names.load(Relaxed) > 0 || self.relay.get().is_some()
    }

    /// Makes `client` listen to `name`; what its confirmation counts.
    ///
    /// # Errors
    ///
    /// Where the client's names would take too much memory.
    pub(crate) fn subscribe(
        &self,
        client: &Arc<Client>,
        kind: Kind,
        name: &Bytes,
    ) -> Result<usize, CommandError> {
        {
            let mut names = client.listener.names.lock();
            if !names.add(kind, name) {
                return Err(CommandError::Message(format!(
                    "ERR the names of a client's channels exceed {SUBSCRIPTION_BYTES_MAX} bytes"
                )));
            }
        }
        let mut listeners = self.listeners.write();
        let of_name = listeners[kind.place()].entry(name.clone()).or_default();
        of_name.insert(client.id, Arc::clone(client));
        self.note_names(&listeners);
        drop(listeners);
        Ok(client.listener.count(kind))
    }

    /// Makes `client` listen to `name` no more; what its confirmation counts.
    pub(crate) fn unsubscribe(&self, client: &Client, kind: Kind, name: &Bytes) -> usize {
        {
            let mut names = client.listener.names.lock();
            names.remove(kind, name);
        }
        let mut listeners = self.listeners.write();
        let of_kind = &mut listeners[kind.place()];
        if let Some(of_name) = of_kind.get_mut(name) {
            of_name.remove(&client.id);
            if of_name.is_empty() {
                of_kind.remove(name);
            }
        }
        self.note_names(&listeners);
        drop(listeners);
        client.listener.count(kind)
    }

    /// All that `client` listens to of one kind.
    pub(crate) fn names_of(client: &Client, kind: Kind) -> Vec<Bytes> {
        client.listener.names(kind)
    }

    /// Forgets a client that has left or was reset.
    pub(crate) fn leave(&self, client: &Client) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in Self::names_of(client, kind) {
                self.unsubscribe(client, kind, &name);
            }
        }
    }

    fn note_names(&self, listeners: &[Listeners; 3]) {
        self.names.store(listeners.iter().map(BTreeMap::len).sum(), Relaxed);
    }

    /// Sends a message to all that listen, at this node and the others; how many at this node.
    pub(crate) fn publish(
        &self,
        channel: &Bytes,
        message: &Bytes,
        sharded: bool,
        now_secs: u64,
    ) -> usize {
        if let Some(relay) = self.relay.get() {
            relay.relay(channel, message, sharded);
        }
        self.deliver(channel, message, sharded, now_secs)
    }

    /// Sends a message to those that listen at this node; how many.
    pub(crate) fn deliver(
        &self,
        channel: &Bytes,
        message: &Bytes,
        sharded: bool,
        now_secs: u64,
    ) -> usize {
        if self.names.load(Relaxed) == 0 {
            return 0;
        }
        let listeners = self.listeners.read();
        let mut count = 0;
        let kind = Kind::new(false, sharded);
        if let Some(clients) = listeners[kind.place()].get(channel) {
            let verb: &[u8] = if sharded { b"smessage" } else { b"message" };
            count += self.post(clients, &[verb, channel, message], now_secs);
        }
        if !sharded {
            for (pattern, clients) in &listeners[Kind::Pattern.place()] {
                if glob_match(pattern, channel) {
                    let parts = [&b"pmessage"[..], pattern, channel, message];
                    count += self.post(clients, &parts, now_secs);
                }
            }
        }
        count
    }

    /// Puts one message into the mailboxes of `clients`, encoded once for each protocol.
    fn post(&self, clients: &BTreeMap<u64, Arc<Client>>, parts: &[&[u8]], now_secs: u64) -> usize {
        let mut encoded: [Option<Bytes>; 2] = [None, None];
        for client in clients.values() {
            let version = client.version();
            let place = usize::from(version == Version::Resp3);
            let message = encoded[place].get_or_insert_with(|| frame(parts, version));
            if !client.post(message.clone(), &self.limit, now_secs) {
                self.dropped.fetch_add(1, Relaxed);
            }
        }
        clients.len()
    }

    /// The names of one kind that have a listener and that `pattern` matches.
    pub(crate) fn active(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let listeners = self.listeners.read();
        let names = listeners[kind.place()].keys();
        names.filter(|name| pattern.is_none_or(|p| glob_match(p, name))).cloned().collect()
    }

    /// How many clients listen to a name.
    pub(crate) fn count(&self, kind: Kind, name: &[u8]) -> usize {
        self.listeners.read()[kind.place()].get(name).map_or(0, BTreeMap::len)
    }

    /// How many names of one kind have a listener.
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.listeners.read()[kind.place()].len()
    }
}

/// A message as one protocol has it.
fn frame(parts: &[&[u8]], version: Version) -> Bytes {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(&mut out, version);
    encoder.push(parts.len());
    parts.iter().for_each(|part| encoder.bulk(part));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_count_with_what_they_take() {
        let mut names = Names::default();
        let name = |at: usize| Bytes::from(format!("{at:05}"));
        let count = (0..).take_while(|at| names.add(Kind::Channel, &name(*at))).count();
        assert_eq!(count, SUBSCRIPTION_BYTES_MAX / (NAME_BYTES + 5));
        assert!(names.add(Kind::Channel, &name(0)), "it is there already");
        names.remove(Kind::Channel, &name(0));
        assert!(names.add(Kind::Shard, &name(0)));
        (0..count).for_each(|at| names.remove(Kind::Channel, &name(at)));
        names.remove(Kind::Shard, &name(0));
        assert_eq!(names.bytes, 0);
    }
}
