//! A front end over one engine, without sockets or disks.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bitroster_command::{CommandError, Op, OpBatch, Outcome, ReadOp, WriteOp};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_frontend::{ClusterView, Frontend, NodeStatus, Options, Spawn, Status};
use bitroster_placement::{ClusterMap, slot_of_key};
use bitroster_router::{Reading, Router, RouterOptions, Target, Transport, TransportError};
use bitroster_types::{Consistency, Deadline, GroupId, LogIndex, SegmentWidth, UnixMillis};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::watch,
};

/// Longest wait for a reply: far beyond any that comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One group: an engine that applies at once, and may hold its answers to writes back.
struct OneGroup(Mutex<Engine>, Arc<Hold>);

/// Whether answers to writes are held back, and of how many that was so.
pub(crate) struct Hold {
    is_on: watch::Sender<bool>,
    held: watch::Sender<usize>,
    dropped: watch::Sender<usize>,
}

impl Default for Hold {
    fn default() -> Self {
        let (is_on, held, dropped) =
            (watch::Sender::default(), Default::default(), Default::default());
        Self { is_on, held, dropped }
    }
}

/// Counts itself as dropped, unless it was let go.
struct Held(Option<Arc<Hold>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(hold) = &self.0 {
            hold.dropped.send_modify(|count| *count += 1);
        }
    }
}

/// How old every stale answer is.
const STALE_AGE_MS: u64 = 12;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

impl Transport for OneGroup {
    fn read_now(&self, _to: Target, op: &ReadOp) -> Option<Outcome> {
        Some(self.0.lock().unwrap().read(op, NOW))
    }

    fn read(
        &self,
        _to: Target,
        op: ReadOp,
        reading: &Reading,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
        if reading.consistency == Consistency::Stale {
            reading.note_age(STALE_AGE_MS);
        }
        ready(Ok(self.0.lock().unwrap().read(&op, NOW))).boxed()
    }

    fn write(
        &self,
        _to: Target,
        batch: OpBatch,
        _deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        let engine = &mut *self.0.lock().unwrap();
        engine.begin(LogIndex(engine.applied().0 + 1), NOW);
        let mut reader = batch.into_reader();
        let mut outcomes = Vec::new();
        while let Some(op) = reader.next_op().unwrap() {
            outcomes.push(match op {
                Op::Read(read) => engine.read(&read, NOW),
                Op::Write(write) => engine.apply(&write),
            });
        }
        let hold = Arc::clone(&self.1);
        if !*hold.is_on.borrow() {
            return ready(Ok(outcomes)).boxed();
        }
        async move {
            let mut held = Held(Some(Arc::clone(&hold)));
            hold.held.send_modify(|count| *count += 1);
            let mut is_on = hold.is_on.subscribe();
            is_on.wait_for(|is_on| !is_on).await.unwrap();
            held.0 = None;
            Ok(outcomes)
        }
        .boxed()
    }
}

/// A node whose figures are fixed.
#[derive(Default)]
pub(crate) struct FixedStatus {
    maxmemory: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) stops: AtomicU64,
    /// Keys that are elsewhere.
    pub(crate) is_bare: AtomicBool,
    pub(crate) view: Mutex<ClusterView>,
}

impl NodeStatus for FixedStatus {
    fn status(&self) -> Status {
        Status {
            run_id: "r".repeat(40),
            keys: if self.is_bare.load(Relaxed) { 0 } else { 3 },
            expires: u64::from(!self.is_bare.load(Relaxed)),
            groups: 1,
            snapshot_ok: true,
            ..Status::default()
        }
    }

    fn start_snapshot(&self) -> Result<(), CommandError> {
        self.snapshots.fetch_add(1, Relaxed);
        Ok(())
    }

    fn stop(&self) -> Result<(), CommandError> {
        self.stops.fetch_add(1, Relaxed);
        Ok(())
    }

    fn snapshot_time_secs(&self) -> u64 {
        1_700_000_000
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("maxmemory", self.maxmemory.load(Relaxed).to_string())]
    }

    fn change_setting(&self, name: &str, value: &str) -> Option<Result<(), String>> {
        (name == "maxmemory").then(|| {
            let bytes = value.parse().map_err(|_| "argument must be a memory value".to_owned())?;
            self.maxmemory.store(bytes, Relaxed);
            Ok(())
        })
    }

    fn key_slot(&self, key: &[u8]) -> u16 {
        slot_of_key(key).number()
    }

    fn epoch(&self) -> u64 {
        1
    }

    fn cluster(&self) -> ClusterView {
        self.view.lock().unwrap().clone()
    }
}

struct TokioSpawn;

impl Spawn for TokioSpawn {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        #[allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
        drop(tokio::spawn(task));
    }
}

/// A front end and the switches that a node would turn.
pub(crate) struct Harness {
    pub(crate) frontend: Frontend,
    pub(crate) router: Router,
    map: Arc<ClusterMap>,
    hold: Arc<Hold>,
    pub(crate) status: Arc<FixedStatus>,
    pub(crate) is_over_memory: Arc<AtomicBool>,
}

impl Harness {
    /// A front end that is not ready yet and has no map.
    pub(crate) fn loading(options: Options) -> Self {
        let map = ClusterMap::plan(&[GroupId(1)], SegmentWidth::DEFAULT);
        let mut engine = Engine::new(EngineConfig::new(GroupId(1), map.width()));
        engine.begin(LogIndex(1), UnixMillis(1));
        engine.apply(&WriteOp::Adopt { slots: map.slots_of(GroupId(1)) });
        let hold = Arc::<Hold>::default();
        let transport = Arc::new(OneGroup(Mutex::new(engine), Arc::clone(&hold)));
        let router_options =
            RouterOptions { request_timeout: PATIENCE, fan_out_max: 8, value_bytes_max: 512 << 20 };
        let router = Router::without_map(transport, router_options);
        let (status, is_over_memory) = (Arc::<FixedStatus>::default(), Arc::default());
        let (node, over) = (Arc::clone(&status) as _, Arc::clone(&is_over_memory));
        let frontend = Frontend::new(router.clone(), node, Arc::new(TokioSpawn), over, options);
        Self { frontend, router, map: Arc::new(map), hold, status, is_over_memory }
    }

    /// A front end that answers everything.
    pub(crate) fn ready(options: Options) -> Self {
        let harness = Self::loading(options);
        harness.frontend.set_ready();
        harness.give_map();
        harness
    }

    /// Tells the router of the map.
    pub(crate) fn give_map(&self) {
        assert!(self.router.follow(Arc::clone(&self.map)));
    }

    /// Whether the group answers writes, which it does all the same.
    pub(crate) fn hold(&self, is_on: bool) {
        self.hold.is_on.send_replace(is_on);
    }

    /// Waits until `count` answers have been held back.
    pub(crate) async fn held(&self, count: usize) {
        self.hold.held.subscribe().wait_for(|held| *held >= count).await.unwrap();
    }

    /// Waits until nobody waits any more for `count` answers that are held back.
    pub(crate) async fn dropped(&self, count: usize) {
        self.hold.dropped.subscribe().wait_for(|dropped| *dropped >= count).await.unwrap();
    }

    /// A client of it.
    pub(crate) fn connect(&self) -> TestClient {
        let (near, far) = tokio::io::duplex(64 << 10);
        let frontend = self.frontend.clone();
        let addr: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let local_addr: SocketAddr = "127.0.0.1:6379".parse().unwrap();
        TokioSpawn.spawn(
            "session",
            async move { frontend.converse(far, addr, local_addr).await }.boxed(),
        );
        TestClient { stream: near }
    }
}

/// A client that says requests and checks replies byte by byte.
pub(crate) struct TestClient {
    stream: DuplexStream,
}

impl TestClient {
    pub(crate) async fn send(&mut self, request: impl AsRef<[u8]>) {
        self.stream.write_all(request.as_ref()).await.unwrap();
    }

    /// Reads as many bytes as `expected` has and compares.
    pub(crate) async fn expect(&mut self, expected: &str) {
        let mut reply = vec![0; expected.len()];
        let read = tokio::time::timeout(PATIENCE, async {
            let mut done = 0;
            while done < reply.len() {
                match self.stream.read(&mut reply[done..]).await.unwrap() {
                    0 => break,
                    count => done += count,
                }
                if !expected.as_bytes().starts_with(&reply[..done]) {
                    break;
                }
            }
            done
        });
        let done = read.await.expect("a reply comes");
        assert_eq!(String::from_utf8_lossy(&reply[..done]), expected);
    }

    /// Sends inline requests, one a line, and checks all their replies.
    pub(crate) async fn ask(&mut self, requests: &str, expected: &str) {
        self.send(requests.replace('\n', "\r\n") + "\r\n").await;
        self.expect(expected).await;
    }

    /// Reads until `end` has come, it included.
    #[allow(dead_code, reason = "not every test has replies that it cannot know")]
    pub(crate) async fn skip_to(&mut self, end: &str) {
        let mut seen = Vec::new();
        let read = tokio::time::timeout(PATIENCE, async {
            while !seen.ends_with(end.as_bytes()) {
                seen.push(self.stream.read_u8().await.unwrap());
            }
        });
        let came = read.await.is_ok();
        assert!(came, "{end:?} does not come in {:?}", String::from_utf8_lossy(&seen));
    }

    /// Asks again until the reply is `expected`; all other replies must be as long.
    #[allow(dead_code, reason = "not every test has something to wait for")]
    pub(crate) async fn until(&mut self, request: &str, expected: &str) {
        let asked = tokio::time::timeout(PATIENCE, async {
            let mut reply = vec![0; expected.len()];
            while reply != expected.as_bytes() {
                self.send(format!("{request}\r\n")).await;
                self.stream.read_exact(&mut reply).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        asked.await.expect("the reply becomes what is expected");
    }

    /// Reads to the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, read).await.expect("the stream ends").unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// One bulk or verbatim text.
    pub(crate) async fn ask_text(&mut self, request: &str) -> String {
        self.send(format!("{request}\r\n")).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(['$', '=']), "{head}");
        let mut text = vec![0; head[1..].trim().parse::<usize>().unwrap() + 2];
        self.stream.read_exact(&mut text).await.unwrap();
        text.truncate(text.len() - 2);
        String::from_utf8(text).unwrap()
    }
}
