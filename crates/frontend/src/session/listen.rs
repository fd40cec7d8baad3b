//! SUBSCRIBE and its relatives, and what the client's own writes tell those who listen to keys.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::{Command, CommandError, Reply, table::CommandSpec};
use bitroster_resp::{Encoder, Version};
use bytes::{Bytes, BytesMut};

use super::dialog::Dialog;
use crate::{
    pubsub::{
        Kind, PubSub,
        event::{self, Event, Events},
    },
    server::Shared,
};

/// What a client that listens may say in RESP2, where it could not tell a reply from a message.
const WHILE_LISTENING: [&str; 9] = [
    "ping",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
];

impl Dialog {
    /// Refuses what a client that listens may not say.
    pub(super) fn admit_listener(&self, spec: &CommandSpec) -> Result<(), CommandError> {
        let is_bound = self.is_listening && self.protocol == Version::Resp2;
        if !is_bound || WHILE_LISTENING.contains(&spec.name) {
            return Ok(());
        }
        Err(CommandError::Message(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            spec.name
        )))
    }

    /// PING of a client that listens, which expects a message's form.
    pub(super) fn pong(&self, message: Option<Bytes>) -> Reply {
        if self.is_listening && self.protocol == Version::Resp2 {
            let message = message.unwrap_or_default();
            return Reply::Array(vec![Reply::bulk("pong"), Reply::Bulk(message)]);
        }
        message.map_or(Reply::Status("PONG"), Reply::Bulk)
    }

    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE: a confirmation for each name.
    pub(super) fn subscribe(&mut self, kind: Kind, names: &[Bytes], out: &mut BytesMut) {
        let mut encoder = Encoder::new(out, self.protocol);
        for name in names {
            match self.shared.pubsub.subscribe(&self.client, kind, name) {
                Ok(count) => confirm(&mut encoder, kind.verb(true), Some(name), count),
                Err(error) => {
                    self.shared.metrics.add_error(&error);
                    encoder.error(error.to_string());
                }
            }
        }
        self.is_listening = self.client.listener.is_listening();
        // The rules may have changed since it was let through, before the names were known.
        let may_hear = self.identity.as_ref().is_none_or(|identity| {
            identity.may_hear(names.iter().map(|name| (&name[..], kind == Kind::Pattern)))
        });
        if !may_hear {
            self.client.end();
        }
    }

    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE: a confirmation for each name, of all where none is
    /// given. Messages that came before go out before, all of them: after the last confirmation a
    /// client of RESP2 would take one for a reply.
    pub(super) fn unsubscribe(&mut self, kind: Kind, names: &[Bytes], out: &mut BytesMut) {
        let all = if names.is_empty() { PubSub::names_of(&self.client, kind) } else { Vec::new() };
        let names = if names.is_empty() { &all } else { names };
        let counts: Vec<usize> = names
            .iter()
            .map(|name| self.shared.pubsub.unsubscribe(&self.client, kind, name))
            .collect();
        self.client.listener.mailbox.take_all(out);
        let mut encoder = Encoder::new(out, self.protocol);
        if names.is_empty() {
            let [channels, patterns, shards] = self.client.listener.counts();
            let count = if kind == Kind::Shard { shards } else { channels + patterns };
            confirm(&mut encoder, kind.verb(false), None, count);
        }
        for (name, count) in names.iter().zip(counts) {
            confirm(&mut encoder, kind.verb(false), Some(name), count);
        }
        self.is_listening = self.client.listener.is_listening();
    }

    /// Forgets all channels.
    pub(super) fn stop_listening(&mut self) {
        self.shared.pubsub.leave(&self.client);
        self.client.listener.mailbox.clear();
        self.is_listening = false;
    }

    /// PUBLISH and SPUBLISH: how many clients of this node got the message.
    pub(super) fn publish(&self, channel: &Bytes, message: &Bytes, sharded: bool) -> Reply {
        let now_secs = self.shared.now_secs();
        let count = self.shared.pubsub.publish(channel, message, sharded, now_secs);
        Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Appends messages that wait for the client, as many as are written at once.
    pub(super) fn take_mail(&self, out: &mut BytesMut) {
        let mailbox = &self.client.listener.mailbox;
        if mailbox.waiting_bytes() > 0 {
            mailbox.take(out);
        }
    }

    /// Remembers what the command that the turn gets next may tell.
    pub(super) fn note_events(&mut self, command: &Command) {
        if is_told(&self.shared) {
            let events = event::of(command);
            if !events.is_empty() {
                self.events.push((self.turn.len(), events));
            }
        }
    }

    /// What the commands of a transaction may tell.
    pub(super) fn events_of(&self, commands: &[Command]) -> Vec<Events> {
        if is_told(&self.shared) { commands.iter().map(event::of).collect() } else { Vec::new() }
    }

    /// Notes how long the client was silent: a message is life.
    pub(super) fn note_mail(&self) {
        self.client.active_secs.store(self.shared.now_secs(), Relaxed);
    }
}

/// Whether events are told and anybody may hear them.
fn is_told(shared: &Shared) -> bool {
    shared.pubsub.classes.is_any() && shared.pubsub.may_be_heard()
}

/// Tells those of `events` that `reply` confirms.
pub(super) fn tell(shared: &Shared, events: &[Event], reply: &Reply) {
    let classes = shared.pubsub.classes.get();
    for event in events.iter().filter(|event| event.is_confirmed(reply)) {
        for (channel, message) in event::messages(event, classes) {
            shared.pubsub.publish(&channel, &message, false, shared.now_secs());
        }
    }
}

fn confirm(encoder: &mut Encoder<'_, BytesMut>, verb: &str, name: Option<&Bytes>, count: usize) {
    encoder.push(3);
    encoder.bulk(verb.as_bytes());
    match name {
        Some(name) => encoder.bulk(name),
        None => encoder.nil(),
    }
    encoder.integer(i64::try_from(count).unwrap_or(i64::MAX));
}
