//! Faults in random order, under load, and the verdict on what the clients saw.

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    Cluster, Load, Random,
    checker::check,
    history::{History, Tally},
    network::Network,
    wait,
};

/// Seconds of a scenario, or the minutes that `SUITE_MINUTES` says.
///
/// # Panics
///
/// If `SUITE_MINUTES` is not a number.
pub fn duration(default_seconds: u64) -> Duration {
    let minutes = env::var("SUITE_MINUTES").ok();
    let minutes = minutes.map(|text| text.parse::<f64>().expect("SUITE_MINUTES is a number"));
    let seconds = Duration::from_secs(default_seconds);
    minutes.map_or(seconds, |minutes| Duration::from_secs_f64(minutes * 60.0))
}

/// Says on stderr what a scenario does, so that a failure can be followed.
#[expect(clippy::print_stderr, reason = "a failing test's output tells what was done to the nodes")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// Repeats `round` until the time is over, at least once; how often.
pub fn repeat(duration: Duration, mut round: impl FnMut(usize)) -> usize {
    let began = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || began.elapsed() < duration {
        round(rounds);
        rounds += 1;
    }
    rounds
}

/// Some time: from a quarter of a second to the given most.
pub fn some_time(random: &mut Random, most_ms: u64) -> Duration {
    Duration::from_millis(250 + random.below(most_ms.saturating_sub(250).max(1)))
}

/// Stops the load, reads all bits again, and checks the history; its counts.
///
/// # Panics
///
/// With the contradiction, if the history is not linearizable; or if hardly anything was answered.
pub fn verdict(load: Load) -> Tally {
    let history = load.stop_and_read();
    say(&check(&history).unwrap_or_else(|report| panic!("{report}")));
    let tally = history.tally();
    assert!(tally.sets + tally.gets > 500, "hardly anything was answered: {tally}");
    tally
}

/// The contradiction in what clients saw so far, if there is one. Stops the load.
pub fn contradiction(load: Load) -> Option<String> {
    let history: History = load.stop_and_read();
    check(&history).err()
}

/// A key for each group but the meta group, whose bits below the first segment's end lie there.
///
/// # Panics
///
/// If the cluster does not tell its slots.
pub fn key_of_each_group(cluster: &Cluster) -> Vec<String> {
    let status = cluster.wait_settled();
    let mut client = cluster.client();
    let groups = status.groups.iter().map(|group| group.group).filter(|group| *group != 0);
    groups
        .map(|group| {
            let key = (0..10_000).map(|number| format!("probe:{number}")).find(|key| {
                let slot = client.call(&["CLUSTER", "KEYSLOT", key]).expect("an answer");
                let bitroster_resp::Frame::Integer(slot) = slot else {
                    panic!("CLUSTER KEYSLOT answered {slot:?}")
                };
                status.owner(slot.unsigned_abs()) == Some(group)
            });
            key.unwrap_or_else(|| panic!("group {group} owns no slot: {status:?}"))
        })
        .collect()
}

/// The thread of a node that writes the log.
const LOG_THREAD: &str = "bitroster-wal";

/// Keeps the threads that write the nodes' logs from running, or nearly so, as a disk does that
/// hangs: they only get what processor time nobody else wants, and somebody wants all of it.
#[derive(Debug)]
pub struct HangingDisks {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl HangingDisks {
    /// Lets them hang until this is dropped. The nodes' log threads stay modest afterwards: kill
    /// the nodes before.
    ///
    /// # Panics
    ///
    /// If a node does not run, or has no thread of that name.
    pub fn of(cluster: &Cluster, nodes: &[usize]) -> Self {
        for at in nodes {
            let process = cluster.node(*at).process_id().expect("the node runs");
            let threads = fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
            let names_log = |thread: &PathBuf| {
                fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == LOG_THREAD)
            };
            let thread = threads.flatten().map(|it| it.path()).find(names_log);
            let thread = thread.expect("a node has a thread that writes its log");
            let number = thread.file_name().expect("a number");
            let set = Command::new("chrt").args(["--idle", "--pid", "0"]).arg(number).status();
            assert!(set.expect("chrt starts; it is part of util-linux").success());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        };
        // Two for each processor: none is idle while the threads are moved between them.
        let processors = thread::available_parallelism().map_or(2, usize::from);
        let threads = (0..2 * processors).map(start).collect();
        Self { stop, threads }
    }
}

impl Drop for HangingDisks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The test has failed for another reason then, and a destructor must not panic.
            drop(thread.join());
        }
    }
}

/// One way to hurt a process and to make it well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL, and start again.
    Kill,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// SIGTERM, and start again.
    Stop,
}

impl Blow {
    /// Hurts a node, waits, and makes it well. Does not wait until it is ready again.
    ///
    /// # Panics
    ///
    /// If a stopped node ends badly.
    pub fn strike(self, cluster: &mut Cluster, at: usize, meanwhile: Duration) {
        say(&format!("{self:?} {} for {meanwhile:?}", cluster.node(at).name()));
        match self {
            Self::Kill => {
                cluster.kill(at);
                wait::while_others_work(meanwhile);
                cluster.start_node(at);
            }
            Self::Pause => {
                cluster.pause(at);
                wait::while_others_work(meanwhile);
                cluster.resume(at);
            }
            Self::Stop => {
                let code = cluster.terminate(at);
                assert_eq!(code, Some(0), "{} ended badly", cluster.node(at).name());
                wait::while_others_work(meanwhile);
                cluster.start_node(at);
            }
        }
    }
}

/// Cuts some links for a while, or slows one down, and mends all.
pub fn cut_links(cluster: &Cluster, network: &Network, random: &mut Random) {
    let shards = cluster.shards();
    let most = 4_000;
    let (one, other) = (random.index(shards.len()), random.index(shards.len()));
    match random.below(8) {
        0 | 1 => {
            let leader = any_leader(cluster, random);
            say(&format!("cut {} off, which leads a group", cluster.node(leader).name()));
            network.isolate(leader);
        }
        2 => {
            say(&format!("nobody hears shard {one}"));
            network.mute(one);
        }
        3 => {
            say(&format!("shard {one} hears nobody"));
            network.deafen(one);
        }
        4 => {
            say(&format!("from shard {one} nothing reaches shard {other}"));
            network.cut_one_way(one, other);
        }
        5 => {
            let router = shards.len() + random.index(cluster.routers().len());
            say(&format!("cut between shard {one} and router {router}"));
            network.cut(one, router);
        }
        6 => {
            say(&format!("shard {one} flickers"));
            repeat(some_time(random, most), |_| {
                network.isolate(one);
                wait::while_others_work(Duration::from_millis(30));
                network.heal();
                wait::while_others_work(Duration::from_millis(70));
            });
        }
        _ => {
            let how = network.slow(one).expect("a way to slow a link down");
            say(&format!("shard {one} is slow: {how}"));
        }
    }
    wait::while_others_work(some_time(random, most));
    network.heal();
    network.hasten(one);
}

/// The node that leads one of the groups.
pub fn any_leader(cluster: &Cluster, random: &mut Random) -> usize {
    let groups = cluster.until("the cluster tells its groups", |status| {
        let groups: Vec<u64> = status.groups.iter().map(|group| group.group).collect();
        (!groups.is_empty()).then_some(groups)
    });
    cluster.leader_of(groups[random.index(groups.len())])
}
