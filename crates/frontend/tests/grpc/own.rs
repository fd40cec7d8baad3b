//! The services `Bitmaps` and `Ids`: what Redis has no commands for.

use bitroster_proto::public::{
    AssignRequest, ClearBitsRequest, Cohort, DateRange, DateUnit, DensityRequest, FindRequest,
    GetBitsRequest, InfoRequest, KeyCount, KeyList, LastDates, ListBitsRequest, MarkRequest,
    NamesRequest, OnlineCheckRequest, OnlineCountRequest, OnlineListRequest, QueryCountRequest,
    QueryListRequest, QuerySampleRequest, QueryStoreRequest, RetentionRequest, SetBitsRequest,
    TopKRequest, TouchRequest, Window, WindowCountRequest, WindowListRequest, WindowSampleRequest,
    WindowStoreRequest, top_k_request::Among, window::Span,
};
use tonic::Code;

use crate::harness::{Grpc, details, key};

impl Grpc {
    async fn put(&self, name: &str, offsets: impl IntoIterator<Item = u64>) -> u64 {
        let request = SetBitsRequest { key: key(name), offsets: offsets.into_iter().collect() };
        self.bitmaps().set_bits(request).await.unwrap().into_inner().changed
    }
}

#[tokio::test]
async fn many_bits_are_set_read_and_cleared_at_once() {
    let grpc = Grpc::ready().await;
    assert_eq!(grpc.put("k", [5, 1, 5, 3_000_000]).await, 3);
    assert_eq!(grpc.put("k", [5, 6]).await, 1);
    let mut bitmaps = grpc.bitmaps();
    let request = GetBitsRequest { key: key("k"), offsets: vec![6, 7, 1] };
    let values = bitmaps.get_bits(request).await.unwrap().into_inner().values;
    assert_eq!(values, [true, false, true]);
    let request = ClearBitsRequest { key: key("k"), offsets: vec![6, 7] };
    assert_eq!(bitmaps.clear_bits(request).await.unwrap().into_inner().changed, 1);
    let none = SetBitsRequest { key: key("k"), offsets: vec![] };
    let status = bitmaps.set_bits(none).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let request = InfoRequest { key: key("k") };
    let info = bitmaps.info(request).await.unwrap().into_inner();
    assert!(info.exists && info.owners == [1]);
    assert_eq!((info.length_bytes, info.cardinality, info.segments), (375_001, 3, 2));
    let absent = bitmaps.info(InfoRequest { key: key("none") }).await.unwrap().into_inner();
    assert!(!absent.exists);
}

#[tokio::test]
async fn an_expression_is_counted_listed_sampled_and_stored() {
    let grpc = Grpc::ready().await;
    grpc.put("a", 0..30_000).await;
    grpc.put("b", (0..30_000).map(|at| at * 2)).await;
    let mut bitmaps = grpc.bitmaps();
    let expression = "a & ~b".to_owned();
    let request =
        QueryCountRequest { expression: expression.clone(), ..QueryCountRequest::default() };
    assert_eq!(bitmaps.query_count(request).await.unwrap().into_inner().count, 15_000);
    let inside = QueryCountRequest { expression: "~b".to_owned(), universe: key("a") };
    assert_eq!(bitmaps.query_count(inside).await.unwrap().into_inner().count, 15_000);
    let request =
        QueryListRequest { expression: expression.clone(), ..QueryListRequest::default() };
    let mut stream = bitmaps.query_list(request.clone()).await.unwrap().into_inner();
    let (mut offsets, mut messages) = (Vec::new(), 0);
    while let Some(message) = stream.message().await.unwrap() {
        messages += 1;
        offsets.extend(message.offsets);
    }
    assert_eq!(offsets, (0..15_000).map(|at| at * 2 + 1).collect::<Vec<_>>());
    assert!(messages > 1, "{messages} messages");
    let mut few = bitmaps
        .query_list(QueryListRequest { cursor: 100, limit: 3, ..request })
        .await
        .unwrap()
        .into_inner();
    let message = few.message().await.unwrap().unwrap();
    assert_eq!(message.offsets, [101, 103, 105]);
    assert!(message.next_cursor > 105 && message.next_cursor <= 107);
    assert!(few.message().await.unwrap().is_none());
    let sample = QuerySampleRequest { expression: expression.clone(), ..Default::default() };
    let sample = bitmaps.query_sample(sample).await.unwrap().into_inner().offsets;
    assert!(sample.len() == 10 && sample.iter().all(|offset| offset % 2 == 1), "{sample:?}");
    let request = QueryStoreRequest { expression, target: key("to"), universe: key("") };
    assert_eq!(bitmaps.query_store(request).await.unwrap().into_inner().count, 15_000);
    let wrong = QueryCountRequest { expression: "a &".to_owned(), ..Default::default() };
    let status = bitmaps.query_count(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("expected a name"), "{}", status.message());
    let wrong = QueryListRequest { expression: "~a".to_owned(), ..Default::default() };
    let mut stream = bitmaps.query_list(wrong).await.unwrap().into_inner();
    let status = stream.message().await.unwrap_err();
    assert!(status.message().contains("needs UNIVERSE"), "{}", status.message());
    assert_eq!(details(&status), ("ERR".to_owned(), vec!["BadRequest".to_owned()]));
}

#[tokio::test]
async fn a_bitmap_is_listed_within_bounds_and_gone_on_from() {
    let grpc = Grpc::ready().await;
    grpc.put("k", (0..20_000).map(|at| at * 3)).await;
    let mut bitmaps = grpc.bitmaps();
    let request = ListBitsRequest { key: key("k"), ..ListBitsRequest::default() };
    let mut stream = bitmaps.list_bits(request.clone()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    drop(stream);
    let rest = ListBitsRequest { cursor: first.next_cursor, ..request.clone() };
    let mut stream = bitmaps.list_bits(rest).await.unwrap().into_inner();
    let mut offsets = first.offsets;
    while let Some(message) = stream.message().await.unwrap() {
        offsets.extend(message.offsets);
    }
    assert_eq!(offsets, (0..20_000).map(|at| at * 3).collect::<Vec<_>>());
    let bounded = ListBitsRequest { first: 4, last: Some(12), ..request.clone() };
    let mut stream = bitmaps.list_bits(bounded).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().offsets, [6, 9, 12]);
    let open = ListBitsRequest { first: 59_990, limit: 2, ..request };
    let mut stream = bitmaps.list_bits(open).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().offsets, [59_991, 59_994]);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn retention_overlap_and_density_are_told() {
    let grpc = Grpc::ready().await;
    grpc.put("new:2026-11-01", [1, 2, 3]).await;
    grpc.put("new:2026-11-02", [4, 5]).await;
    grpc.put("seen:2026-11-01", [1, 2, 3]).await;
    grpc.put("seen:2026-11-02", [1, 4, 5]).await;
    let mut bitmaps = grpc.bitmaps();
    let request = RetentionRequest {
        cohort_prefix: key("new"),
        from: "2026-11-01".to_owned(),
        to: "2026-11-02".to_owned(),
        returning_prefix: key("seen"),
        unit: DateUnit::Day.into(),
        horizon: 1,
    };
    let row = |name: &str, size, returned: &[u64]| Cohort {
        name: key(name),
        size,
        returned: returned.to_vec(),
    };
    let cohorts = bitmaps.retention(request.clone()).await.unwrap().into_inner().cohorts;
    assert_eq!(cohorts, [row("new:2026-11-01", 3, &[3]), row("new:2026-11-02", 2, &[2])]);
    let all = RetentionRequest { horizon: 0, unit: 0, ..request };
    let cohorts = bitmaps.retention(all).await.unwrap().into_inner().cohorts;
    assert_eq!(cohorts[0], row("new:2026-11-01", 3, &[3, 1]));
    let names = ["new:2026-11-01", "new:2026-11-02", "none"];
    let ask = |k, among| TopKRequest {
        expression: "seen:2026-11-02".to_owned(),
        k,
        among: Some(among),
        ..TopKRequest::default()
    };
    let list = Among::Keys(KeyList { keys: names.map(key).to_vec() });
    let found = bitmaps.top_k(ask(5, list)).await.unwrap().into_inner().keys;
    let found_key = |name: &str, count| KeyCount { key: key(name), count };
    assert_eq!(found, [found_key("new:2026-11-02", 2), found_key("new:2026-11-01", 1)]);
    let matching = ask(1, Among::Match(key("new:*")));
    let found = bitmaps.top_k(matching).await.unwrap().into_inner().keys;
    assert_eq!(found, [found_key("new:2026-11-02", 2)]);
    let request = DensityRequest { key: key("new:2026-11-01"), first: 0, end: 4, parts: 2 };
    assert_eq!(bitmaps.density(request).await.unwrap().into_inner().counts, [1, 2]);
}

#[tokio::test]
async fn dated_keys_are_marked_and_windows_read() {
    let grpc = Grpc::ready().await;
    let mut bitmaps = grpc.bitmaps();
    // 2025-11-21T09:30:00Z
    let at_secs = Some(1_763_717_400);
    for (id, secs_before) in [(3, 0), (4, 0), (5, 86_400)] {
        let request = MarkRequest {
            family: key("v"),
            id,
            at_secs: at_secs.map(|at: u64| at - secs_before),
            units: vec![DateUnit::Day.into(), DateUnit::Week.into()],
            keep_secs: None,
        };
        assert_eq!(bitmaps.mark(request).await.unwrap().into_inner().changed, 2);
    }
    let range = |from: &str, to: &str| Window {
        family: key("v"),
        span: Some(Span::Range(DateRange { from: from.to_owned(), to: to.to_owned() })),
        rollup: false,
    };
    let window = Some(range("2025-11-20", "2025-11-21"));
    let request = WindowCountRequest { window: window.clone() };
    assert_eq!(bitmaps.window_count(request).await.unwrap().into_inner().count, 3);
    let week = Some(range("2025-W47", "2025-W47"));
    let request = WindowListRequest { window: week, ..WindowListRequest::default() };
    let mut stream = bitmaps.window_list(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().offsets, [3, 4, 5]);
    assert!(stream.message().await.unwrap().is_none());
    let request = WindowSampleRequest { window: window.clone(), limit: 1 };
    let sample = bitmaps.window_sample(request).await.unwrap().into_inner().offsets;
    assert_eq!(sample.len(), 1);
    let request = WindowStoreRequest { window, target: key("to") };
    assert_eq!(bitmaps.window_store(request).await.unwrap().into_inner().count, 3);
    let mark = MarkRequest { family: key("v"), id: 9, ..MarkRequest::default() };
    assert_eq!(bitmaps.mark(mark).await.unwrap().into_inner().changed, 1);
    let last = LastDates { count: 2, unit: DateUnit::Day.into() };
    let window = Window { family: key("v"), span: Some(Span::Last(last)), rollup: true };
    let request = WindowCountRequest { window: Some(window) };
    assert_eq!(bitmaps.window_count(request).await.unwrap().into_inner().count, 1);
    let status = bitmaps.window_count(WindowCountRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn presence_is_touched_counted_listed_and_asked_for() {
    let grpc = Grpc::ready().await;
    let mut bitmaps = grpc.bitmaps();
    let mut touch = async |id| {
        let request = TouchRequest { key: key("on"), id, ttl_secs: 60 };
        bitmaps.touch(request).await.unwrap().into_inner().arrived
    };
    // The engine's clock stands still, the router's runs: what ended long ago is not present.
    assert!(touch(7).await);
    assert!(!touch(7).await);
    let request = OnlineCountRequest { key: key("on") };
    let count = bitmaps.online_count(request).await.unwrap().into_inner().count;
    let request = OnlineCheckRequest { key: key("on"), id: 7 };
    let present = bitmaps.online_check(request).await.unwrap().into_inner().present;
    assert_eq!(count, u64::from(present));
    let request = OnlineListRequest { key: key("on"), ..OnlineListRequest::default() };
    let mut stream = bitmaps.online_list(request).await.unwrap().into_inner();
    let ids = stream.message().await.unwrap().unwrap().ids;
    assert_eq!(ids.len() as u64, count);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn names_get_numbers_and_numbers_their_names() {
    let grpc = Grpc::ready().await;
    let mut ids = grpc.ids();
    let names = |names: &[&str]| names.iter().map(|name| key(name)).collect::<Vec<_>>();
    let assign = |given: &[&str]| AssignRequest { space: key("s"), names: names(given) };
    let given = ids.assign(assign(&["a", "b", "a"])).await.unwrap().into_inner().ids;
    assert_eq!(given, [0, 1, 0]);
    let request = FindRequest { space: key("s"), names: names(&["b", "c"]) };
    let found = ids.find(request).await.unwrap().into_inner().found;
    assert_eq!(found.into_iter().map(|found| found.id).collect::<Vec<_>>(), [Some(1), None]);
    let request = NamesRequest { space: key("s"), ids: vec![1, 9] };
    let found = ids.names(request).await.unwrap().into_inner().found;
    let found: Vec<_> = found.into_iter().map(|found| found.name).collect();
    assert_eq!(found, [Some(key("b")), None]);
}
