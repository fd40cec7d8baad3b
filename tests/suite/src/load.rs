//! Clients that change and read random bits, and record what they asked and were told.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bitroster_resp::{Frame, encode_request};
use bytes::BytesMut;

use crate::{
    Client, Random,
    history::{Bit, History, Kind, Operation, Outcome},
    wait,
};

/// Bits between two generations of one place: fresh bits lie in the same segment.
const FRESH_DISTANCE: u64 = 8;

/// Bits of a segment by default: places are spread over as many segments as there are rows.
const SEGMENT_BITS: u64 = 1 << 20;

/// What a load does.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where clients connect; each begins with another one, and goes on to the next on an error.
    pub addresses: Vec<SocketAddr>,
    /// Threads, each with a connection of its own.
    pub clients: u32,
    /// More threads, one an address, that only read, one bit at a time, and never go elsewhere.
    pub watched: Vec<SocketAddr>,
    /// Keys.
    pub keys: u32,
    /// Segments of each key in which there is a bit to change.
    pub segments: u32,
    /// Most requests that one client sends at once, on different bits.
    pub pipeline: usize,
    /// How long a client waits for an answer before it gives up the connection.
    pub patience: Duration,
    /// Seed of what the clients choose. Loads with different seeds use different keys.
    pub seed: u64,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<History>>,
}

#[derive(Debug)]
struct Shared {
    plan: LoadPlan,
    began: Instant,
    stop: AtomicBool,
    answered: AtomicU64,
    /// How often each place has been given a fresh bit.
    generations: Vec<AtomicU64>,
}

impl LoadPlan {
    /// A load of six clients over eight keys and eight segments.
    pub fn new(addresses: Vec<SocketAddr>, seed: u64) -> Self {
        Self {
            addresses,
            clients: 6,
            watched: Vec::new(),
            keys: 8,
            segments: 8,
            pipeline: 8,
            patience: Duration::from_secs(5),
            seed,
        }
    }

    /// Starts the clients.
    pub fn start(self) -> Load {
        let places = (0..self.keys * self.segments).map(|_| AtomicU64::new(0)).collect();
        let (clients, watchers) = (self.clients, self.watched.len());
        let mut random = Random::new(self.seed);
        let shared = Arc::new(Shared {
            plan: self,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            generations: places,
        });
        let start = |number| {
            let (shared, random) = (Arc::clone(&shared), Random::new(random.bits()));
            thread::spawn(move || Worker::new(number, shared, random).run())
        };
        let watchers = u32::try_from(watchers).expect("few watchers");
        let threads = (0..clients + watchers).map(start).collect();
        Load { shared, threads }
    }
}

impl Load {
    /// Nanoseconds since the load began, on the clock of its history.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until that many more requests have been answered.
    ///
    /// # Panics
    ///
    /// If that takes more than a minute.
    pub fn wait_for_answers(&self, more: u64) {
        let enough = self.answered() + more;
        wait::until("the clients' requests are answered", || {
            (self.answered() >= enough).then_some(())
        });
    }

    /// Waits until that many more requests have been answered, or the time is over; which it was.
    pub fn is_answered_within(&self, more: u64, patience: Duration) -> bool {
        let enough = self.answered() + more;
        let look = || (self.answered() >= enough).then_some(());
        wait::within(patience, Duration::from_millis(5), look).is_some()
    }

    /// Stops the clients; what they saw.
    ///
    /// # Panics
    ///
    /// If a client did, such as for an answer that no SETBIT gives.
    pub fn stop(mut self) -> History {
        self.stop_now()
    }

    /// Stops the clients, and reads every bit once more; what all saw.
    ///
    /// # Panics
    ///
    /// As [`Load::stop`], and if a bit cannot be read within a minute.
    pub fn stop_and_read(mut self) -> History {
        let mut history = self.stop_now();
        let bits: Vec<Bit> = history.by_bit().into_keys().collect();
        let mut reader = Worker::new(u32::MAX, Arc::clone(&self.shared), Random::new(1));
        for chunk in bits.chunks(500) {
            let mut left: Vec<Bit> = chunk.to_vec();
            wait::until("every bit can be read", || {
                let reads: Vec<(Bit, Kind)> = left.iter().map(|bit| (*bit, Kind::Get)).collect();
                let before = reader.history.operations.len();
                reader.ask(&reads);
                let read = &reader.history.operations[before..];
                let answered =
                    |operation: &&Operation| matches!(operation.outcome, Outcome::Answered(_));
                let done: Vec<Bit> = read.iter().filter(answered).map(|read| read.bit).collect();
                left.retain(|bit| !done.contains(bit));
                left.is_empty().then_some(())
            });
        }
        history.merge(reader.history);
        history
    }

    fn stop_now(&mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for thread in self.threads.drain(..) {
            history.merge(thread.join().expect("a client saw what no server may say"));
        }
        history
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The test fails for another reason already, and a destructor must not panic.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("centuries fit")
    }

    /// The present bit of a place.
    fn bit(&self, place: usize) -> Bit {
        let keys = self.plan.keys;
        let place_number = u32::try_from(place).expect("few places");
        let generation = self.generations[place].load(Ordering::Relaxed);
        let segment = u64::from(place_number / keys);
        Bit {
            key: place_number % keys,
            offset: segment * SEGMENT_BITS + 3 + generation * FRESH_DISTANCE,
        }
    }
}

/// One client.
struct Worker {
    number: u32,
    shared: Arc<Shared>,
    random: Random,
    history: History,
    connection: Option<Client>,
    /// The next server, by its place among the addresses.
    address: usize,
    /// The one server of a client that only reads.
    watches: Option<SocketAddr>,
}

impl Worker {
    fn new(number: u32, shared: Arc<Shared>, random: Random) -> Self {
        let LoadPlan { clients, watched, addresses, .. } = &shared.plan;
        let watches = number.checked_sub(*clients).and_then(|at| watched.get(at as usize)).copied();
        let address = number as usize % addresses.len();
        let history = History::default();
        Self { number, shared, random, history, connection: None, address, watches }
    }

    fn run(mut self) -> History {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let requests = self.choose();
            let before = self.history.operations.len();
            self.ask(&requests.iter().map(|(_, bit, kind)| (*bit, *kind)).collect::<Vec<_>>());
            let asked = &self.history.operations[before..];
            for ((place, ..), operation) in requests.iter().zip(asked) {
                // A bit with many unknown writes explains anything: mostly take a fresh one.
                if operation.outcome == Outcome::Unknown && !self.random.one_in(4) {
                    self.shared.generations[*place].fetch_add(1, Ordering::Relaxed);
                }
            }
            if asked.iter().all(|operation| !matches!(operation.outcome, Outcome::Answered(_))) {
                thread::park_timeout(Duration::from_millis(10));
            }
        }
        self.history
    }

    /// Requests on different bits: mostly one, sometimes a pipeline.
    fn choose(&mut self) -> Vec<(usize, Bit, Kind)> {
        let most = self.shared.plan.pipeline.max(1);
        let is_many = self.watches.is_none() && self.random.one_in(3);
        let count = if is_many { 1 + self.random.index(most) } else { 1 };
        let places = self.shared.generations.len();
        let first = self.random.index(places);
        // A step that shares no factor with the number of places meets each place once.
        let step = 1 + 2 * self.random.index(places / 2 + 1);
        let request = |at: usize| {
            let place = (first + at * step) % places;
            let kind = match self.random.below(5) {
                0 | 1 => Kind::Get,
                _ if self.watches.is_some() => Kind::Get,
                other => Kind::Set(other % 2 == 0 || self.random.one_in(2)),
            };
            (place, self.shared.bit(place), kind)
        };
        let mut requests: Vec<(usize, Bit, Kind)> = (0..count).map(request).collect();
        requests.dedup_by_key(|(place, ..)| *place);
        requests
    }

    /// Asks and records, in the order of `requests`.
    fn ask(&mut self, requests: &[(Bit, Kind)]) {
        let invoked = self.shared.now();
        let seed = self.shared.plan.seed;
        let Some(client) = self.connect() else {
            // Nothing was sent, so there is nothing to record but that nothing was applied.
            for (bit, kind) in requests {
                self.record(*bit, *kind, invoked, Outcome::Refused);
            }
            return;
        };
        let mut bytes = BytesMut::new();
        for (bit, kind) in requests {
            write_request(seed, *bit, *kind, &mut bytes);
        }
        let mut is_broken = client.send_raw(&bytes).is_err();
        for (bit, kind) in requests {
            let reply = match (is_broken, self.connection.as_mut()) {
                (false, Some(client)) => client.receive().ok(),
                _ => None,
            };
            is_broken |= reply.is_none();
            let outcome = reply.as_ref().map_or(Outcome::Unknown, |reply| outcome(*kind, reply));
            self.record(*bit, *kind, invoked, outcome);
        }
        let asked = &self.history.operations[self.history.operations.len() - requests.len()..];
        let answered = |operation: &Operation| matches!(operation.outcome, Outcome::Answered(_));
        // A router that refuses everything may be cut off or misled: another one may do better.
        if is_broken || !asked.iter().any(answered) {
            self.connection = None;
            self.address += 1;
        }
    }

    fn record(&mut self, bit: Bit, kind: Kind, invoked: u64, outcome: Outcome) {
        if matches!(outcome, Outcome::Answered(_)) {
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        let completed = self.shared.now();
        let client = self.number;
        self.history.operations.push(Operation { client, bit, kind, invoked, completed, outcome });
    }

    /// The connection, made anew with the next server if it was lost.
    fn connect(&mut self) -> Option<&mut Client> {
        if self.connection.is_none() {
            let LoadPlan { addresses, patience, .. } = &self.shared.plan;
            let address = self.watches.unwrap_or(addresses[self.address % addresses.len()]);
            self.connection = Client::connect_to(address, *patience).ok();
            if self.connection.is_none() {
                self.address += 1;
            }
        }
        self.connection.as_mut()
    }
}

/// The seed is part of the key: each load has bits of its own, which are 0 at first.
fn write_request(seed: u64, bit: Bit, kind: Kind, bytes: &mut BytesMut) {
    let (key, offset) = (format!("bits:{seed:x}:{}", bit.key), bit.offset.to_string());
    match kind {
        Kind::Get => encode_request(&["GETBIT", &key, &offset], bytes),
        Kind::Set(true) => encode_request(&["SETBIT", &key, &offset, "1"], bytes),
        Kind::Set(false) => encode_request(&["SETBIT", &key, &offset, "0"], bytes),
    }
}

/// What a reply says about its request.
fn outcome(kind: Kind, reply: &Frame) -> Outcome {
    if let Frame::Integer(bit @ (0 | 1)) = reply {
        return Outcome::Answered(*bit == 1);
    }
    let Frame::Error(text) = reply else { panic!("{kind:?} was answered {reply:?}") };
    let text = String::from_utf8_lossy(text);
    let refused = ["CLUSTERDOWN", "LOADING", "BUSY", "OOM"];
    if refused.iter().any(|word| text.starts_with(word)) {
        return Outcome::Refused;
    }
    assert!(text.starts_with("UNKNOWNOUTCOME"), "{kind:?} was answered {text}");
    Outcome::Unknown
}
