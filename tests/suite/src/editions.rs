//! Keys whose values are whole or wrong: writers that publish numbered values, readers that look at
//! them in many ways, and the judgement of what was seen.
//!
//! Each value is of one *edition*: a number that every block of the value begins with. A block is
//! a segment of the least width, so an edition lies in many groups, and a value put together from
//! two of them gives itself away. Each key has one writer, which notes in the ledger what it
//! wants and what it was told; readers note what they saw and when. Nothing is judged before the
//! end, when it is known how every write ended. Other clients share keys and take each other's
//! values away: that must not happen twice to one value.
//!
//! # Map
//!
//! | module    | job                                                   |
//! |-----------|-------------------------------------------------------|
//! | `value`   | the bytes of an edition, and which edition bytes are  |
//! | `ledger`  | what was written and seen, and whether that fits      |
//! | `link`    | one client's connection to whichever server answers   |
//! | `writer`  | one client that publishes, moves and removes keys     |
//! | `reader`  | one client that looks                                 |
//! | `trades`  | clients that swap the values of keys they share       |

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{Random, wait};

mod ledger;
mod link;
mod reader;
mod trades;
mod value;
mod writer;

pub use ledger::{Ledger, Seen, State, Tally};
pub use link::Link;
pub use value::{BLOCK_BYTES, value};

/// Who takes part.
#[derive(Clone, Debug)]
pub struct EditionsPlan {
    /// Where clients connect; each begins with another one, and goes on to the next on an error.
    pub addresses: Vec<SocketAddr>,
    /// Clients that write, each to keys of its own.
    pub writers: usize,
    /// Clients that read.
    pub readers: usize,
    /// Clients that swap the values of shared keys.
    pub traders: usize,
    /// Seed of what they choose.
    pub seed: u64,
}

/// Writers and readers at work.
#[derive(Debug)]
pub struct Editions {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    began: Instant,
    stop: AtomicBool,
    /// Writes that were acknowledged.
    written: AtomicU64,
    editions: AtomicU64,
    addresses: Mutex<Vec<SocketAddr>>,
    ledger: Mutex<Ledger>,
}

impl EditionsPlan {
    /// Four writers, four readers and three traders.
    pub fn new(addresses: Vec<SocketAddr>, seed: u64) -> Self {
        Self { addresses, writers: 4, readers: 4, traders: 3, seed }
    }

    /// Starts the clients.
    pub fn start(self) -> Editions {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            written: AtomicU64::new(0),
            editions: AtomicU64::new(1),
            addresses: Mutex::new(self.addresses),
            ledger: Mutex::new(Ledger::default()),
        });
        let mut random = Random::new(self.seed);
        let mut threads = Vec::new();
        for number in 0..self.writers {
            let (shared, random) = (Arc::clone(&shared), Random::new(random.bits()));
            threads.push(thread::spawn(move || writer::Writer::new(shared, number, random).run()));
        }
        for number in 0..self.readers {
            let (shared, random) = (Arc::clone(&shared), Random::new(random.bits()));
            threads.push(thread::spawn(move || reader::Reader::new(shared, number, random).run()));
        }
        for number in 0..self.traders {
            let (shared, random) = (Arc::clone(&shared), Random::new(random.bits()));
            threads.push(thread::spawn(move || trades::Trader::new(shared, number, random).run()));
        }
        Editions { shared, threads }
    }
}

impl Editions {
    /// Waits until that many more writes have been acknowledged.
    ///
    /// # Panics
    ///
    /// If that takes more than a minute.
    pub fn wait_for_writes(&self, more: u64) {
        let written = || self.shared.written.load(Ordering::Relaxed);
        let enough = written() + more;
        wait::until("writes are acknowledged", || (written() >= enough).then_some(()));
    }

    /// Tells the clients where the servers are now.
    pub fn move_to(&self, addresses: Vec<SocketAddr>) {
        *lock(&self.shared.addresses) = addresses;
    }

    /// A connection for looks of one's own.
    pub fn link(&self) -> Link {
        Link::new(Arc::clone(&self.shared), 0)
    }

    /// Lets the clients finish what they wait for. The servers must answer by now.
    ///
    /// # Panics
    ///
    /// If a client did.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client does not panic");
        }
    }

    /// Looks at every key once more, whole and at each block, when nobody writes any longer and
    /// the groups have finished all that was begun.
    ///
    /// # Panics
    ///
    /// If a key cannot be read within a minute.
    pub fn read_all(&self) {
        assert!(self.threads.is_empty(), "writers are at work");
        reader::Reader::new(Arc::clone(&self.shared), 0, Random::new(0)).read_all();
        trades::Trader::new(Arc::clone(&self.shared), 0, Random::new(0)).finish();
    }

    /// What was written and seen so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }
}

impl Drop for Editions {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The test fails for another reason already, and a destructor must not panic.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Nanoseconds since the clients began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("centuries fit")
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a client does not panic")
}
