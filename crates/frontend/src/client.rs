//! The open connections, and how to end one.
//!
//! A session sleeps in its read; whoever wants it to end sets a flag and wakes it. So a session
//! needs no timer and no channel.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

use bitroster_resp::Version;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use crate::{
    access::{DEFAULT_USER, Identity},
    metrics::Carrier,
    pubsub::{Listener, MailboxLimit},
};

/// One connection, as others see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) carrier: Carrier,
    pub(crate) addr: SocketAddr,
    pub(crate) local_addr: SocketAddr,
    /// The front end's clock when it was accepted, in seconds.
    pub(crate) since_secs: u64,
    /// The front end's clock at its last request, in seconds.
    pub(crate) active_secs: AtomicU64,
    /// Index of the last command in the table, or past its end before the first.
    pub(crate) last_command: AtomicU16,
    /// Commands queued by MULTI, or -1.
    pub(crate) queued: AtomicI64,
    /// Keys watched.
    pub(crate) watched: AtomicU64,
    /// 2 or 3.
    pub(crate) protocol: AtomicU16,
    pub(crate) names: Mutex<Names>,
    /// What it listens to, and the messages that wait for it.
    pub(crate) listener: Listener,
    /// Who it is; `None` before it has said so.
    pub(crate) identity: Mutex<Option<Identity>>,
    ending: AtomicBool,
    aborting: AtomicBool,
    waker: AtomicWaker,
}

/// What a client calls itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

impl Client {
    /// Asks the session to end at its next read.
    pub(crate) fn end(&self) {
        self.ending.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether the session was asked to end; registers who is to be told of it.
    pub(crate) fn poll_ending(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.ending.load(Relaxed)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    /// Whether the session must end at once; registers who is to be told of it.
    pub(crate) fn poll_aborting(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.aborting.load(Relaxed)
    }

    /// Hands over a message, or ends a client that takes too few of them: false then.
    pub(crate) fn post(&self, message: Bytes, limit: &MailboxLimit, now_secs: u64) -> bool {
        if self.listener.mailbox.post(message, limit, now_secs) {
            self.waker.wake();
            return true;
        }
        if !self.aborting.swap(true, Relaxed) {
            warn!(client = %self.addr, "client dropped: it does not take its messages");
            self.end();
            return false;
        }
        true
    }

    /// The protocol that the client has chosen.
    pub(crate) fn version(&self) -> Version {
        if self.protocol.load(Relaxed) == 3 { Version::Resp3 } else { Version::Resp2 }
    }

    /// Whether its user may listen to all that it listens to.
    pub(crate) fn may_listen(&self) -> bool {
        let identity = self.identity.lock().clone();
        identity.is_none_or(|identity| self.listener.is_allowed(&identity))
    }

    /// The name of the user that it is; `default` before it has said so.
    pub(crate) fn user_name(&self) -> String {
        let identity = self.identity.lock();
        let name = identity.as_ref().map_or(DEFAULT_USER, Identity::name);
        String::from_utf8_lossy(name).into_owned()
    }

    /// Appends the client's line of CLIENT LIST, without the line's end.
    pub(crate) fn describe(&self, now_secs: u64, command: &str, user: &str, out: &mut String) {
        let names = self.names.lock();
        let queued = self.queued.load(Relaxed);
        let [channels, patterns, shards] = self.listener.counts();
        let flags = match (channels + patterns + shards > 0, queued >= 0) {
            (true, true) => "Px",
            (true, false) => "P",
            (false, true) => "x",
            (false, false) => "N",
        };
        let written = write!(
            out,
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db=0 sub={channels} \
             psub={patterns} ssub={shards} multi={} watch={} qbuf=0 qbuf-free=0 argv-mem=0 \
             multi-mem=0 rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem=0 events=r cmd={} user={} \
             redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.addr,
            self.local_addr,
            names.name,
            now_secs.saturating_sub(self.since_secs),
            now_secs.saturating_sub(self.active_secs.load(Relaxed)),
            flags,
            queued,
            self.watched.load(Relaxed),
            self.listener.mailbox.len(),
            self.listener.mailbox.waiting_bytes(),
            command,
            user,
            self.protocol.load(Relaxed),
            names.library,
            names.library_version,
        );
        written.expect("writing to a string does not fail");
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    next_id: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
    emptied: Notify,
}

impl Clients {
    /// Adds a connection, or `None` where there are `clients_max` already.
    pub(crate) fn add(
        &self,
        carrier: Carrier,
        (addr, local_addr): (SocketAddr, SocketAddr),
        now_secs: u64,
        clients_max: usize,
    ) -> Option<Arc<Client>> {
        let mut open = self.open.lock();
        if open.len() >= clients_max {
            return None;
        }
        let id = self.next_id.fetch_add(1, Relaxed) + 1;
        let client = Arc::new(Client {
            id,
            carrier,
            addr,
            local_addr,
            since_secs: now_secs,
            active_secs: AtomicU64::new(now_secs),
            last_command: AtomicU16::new(u16::MAX),
            queued: AtomicI64::new(-1),
            watched: AtomicU64::new(0),
            protocol: AtomicU16::new(2),
            names: Mutex::default(),
            listener: Listener::default(),
            identity: Mutex::default(),
            ending: AtomicBool::new(false),
            aborting: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        open.insert(id, Arc::clone(&client));
        Some(client)
    }

    pub(crate) fn remove(&self, client: &Client) {
        let mut open = self.open.lock();
        open.remove(&client.id);
        if open.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// How many there are of one kind.
    pub(crate) fn len_of(&self, carrier: Carrier) -> usize {
        self.open.lock().values().filter(|client| client.carrier == carrier).count()
    }

    /// All connections, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.open.lock().values().cloned().collect()
    }

    /// Ends the clients that have been idle for `timeout_secs`; 0 ends none.
    pub(crate) fn end_idle(&self, now_secs: u64, timeout_secs: u64) {
        if timeout_secs == 0 {
            return;
        }
        for client in self.open.lock().values() {
            // Who listens may be silent, as in Redis.
            let is_idle = now_secs.saturating_sub(client.active_secs.load(Relaxed)) > timeout_secs;
            if is_idle && !client.listener.is_listening() {
                client.end();
            }
        }
    }

    /// Ends the clients whose user was deleted.
    pub(crate) fn end_deleted(&self) {
        for client in self.open.lock().values() {
            if client.identity.lock().as_ref().is_some_and(Identity::is_deleted) {
                client.end();
            }
        }
    }

    /// Ends the clients that listen to what their users may not hear any more. Redis:
    /// `ACLKillPubsubClientsIfNeeded`.
    pub(crate) fn end_forbidden_listeners(&self) {
        // Patterns take their time: without the lock.
        let clients = self.all();
        let forbidden = clients.iter().filter(|client| !client.may_listen());
        forbidden.for_each(|client| client.end());
    }

    pub(crate) fn end_all(&self) {
        for client in self.open.lock().values() {
            client.end();
        }
    }

    /// Waits until no connection is open.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }
}
