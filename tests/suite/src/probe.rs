//! How long groups could not be written to, as their clients see it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bitroster_resp::Frame;

use crate::Client;

/// How long a probe waits for an answer before it takes another connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// One client a key, each of which writes as fast as it is answered.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Instant>>>,
}

/// When writes to each key were answered.
#[derive(Clone, Debug)]
pub struct Answers(Vec<Vec<Instant>>);

impl Probe {
    /// Starts writing to each key.
    pub fn start(addresses: &[SocketAddr], keys: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(at, key): (usize, &String)| {
            let (stop, addresses, key) = (Arc::clone(&stop), addresses.to_vec(), key.clone());
            thread::spawn(move || write_until(&stop, &addresses, at, &key))
        };
        let threads = keys.iter().enumerate().map(start).collect();
        Self { stop, threads }
    }

    /// Stops writing.
    ///
    /// # Panics
    ///
    /// If a probe did.
    pub fn stop(mut self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<_>| thread.join().expect("a probe does not panic");
        Answers(self.threads.drain(..).map(join).collect())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The test fails for another reason already, and a destructor must not panic.
            drop(thread.join());
        }
    }
}

impl Answers {
    /// The longest time between `from` and `until` in which a key had no answer, of all keys.
    pub fn gap(&self, from: Instant, until: Instant) -> Duration {
        let gap = |answers: &Vec<Instant>| {
            let within = answers.iter().filter(|answer| (from..until).contains(*answer));
            let mut last = from;
            let mut longest = Duration::ZERO;
            for answer in within.chain([&until]) {
                longest = longest.max(answer.duration_since(last));
                last = *answer;
            }
            longest
        };
        self.0.iter().map(gap).max().unwrap_or(Duration::ZERO)
    }
}

fn write_until(stop: &AtomicBool, addresses: &[SocketAddr], at: usize, key: &str) -> Vec<Instant> {
    let mut answers = Vec::new();
    let mut address = at;
    let mut connection: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let reply = match connection.as_mut() {
            Some(client) => {
                let value = if answers.len() % 2 == 0 { "1" } else { "0" };
                client.call(&["SETBIT", key, "7", value])
            }
            None => match Client::connect_to(addresses[address % addresses.len()], PATIENCE) {
                Ok(client) => {
                    connection = Some(client);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match reply {
            Ok(Frame::Integer(_)) => answers.push(Instant::now()),
            // Refused or unknown: ask again.
            Ok(_) => thread::park_timeout(Duration::from_millis(5)),
            Err(_) => {
                connection = None;
                address += 1;
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_of_any_key_and_ends_with_the_time_looked_at() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let answers = Answers(vec![vec![at(1), at(50), at(90)], vec![at(10), at(30), at(95)]]);
        assert_eq!(answers.gap(at(0), at(100)), Duration::from_millis(65));
        assert_eq!(answers.gap(at(40), at(60)), Duration::from_millis(20));
        assert_eq!(answers.gap(at(200), at(300)), Duration::from_millis(100));
    }
}
