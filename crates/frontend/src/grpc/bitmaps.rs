//! The service `Bitmaps`.
//!
//! | module     | job                                          |
//! |------------|----------------------------------------------|
//! | `convert`  | what takes more than a line in either way    |
//! | `import`   | sets in pieces                               |

mod convert;
mod import;

use bitroster_proto::public::{
    ClearBitsRequest, ClearBitsResponse, CombineCountRequest, CombineCountResponse, CombineRequest,
    CombineResponse, CountRequest, CountResponse, DensityRequest, DensityResponse,
    ExportBitsRequest, ExportBitsResponse, GetBitRequest, GetBitResponse, GetBitsRequest,
    GetBitsResponse, ImportBitsRequest, ImportBitsResponse, InfoRequest, InfoResponse,
    ListBitsRequest, ListBitsResponse, MarkRequest, MarkResponse, OnlineCheckRequest,
    OnlineCheckResponse, OnlineCountRequest, OnlineCountResponse, OnlineListRequest,
    OnlineListResponse, PositionRequest, PositionResponse, QueryCountRequest, QueryCountResponse,
    QueryListRequest, QueryListResponse, QuerySampleRequest, QuerySampleResponse,
    QueryStoreRequest, QueryStoreResponse, RetentionRequest, RetentionResponse, SetBitRequest,
    SetBitResponse, SetBitsRequest, SetBitsResponse, TopKRequest, TopKResponse, TouchRequest,
    TouchResponse, WindowCountRequest, WindowCountResponse, WindowListRequest, WindowListResponse,
    WindowSampleRequest, WindowSampleResponse, WindowStoreRequest, WindowStoreResponse,
    bitmaps_server::Bitmaps,
};
use tonic::{Request, Response, Streaming};

use super::{
    Outcome, Pages,
    args::{self, Args},
    fault,
    gate::Gate,
    pages,
};

/// Offsets of a sample where the client does not say how many.
const SAMPLE_DEFAULT: u64 = 10;

/// Sets of numbers, kept as bitmaps.
pub(super) struct BitmapsService(pub(super) Gate);

#[tonic::async_trait]
impl Bitmaps for BitmapsService {
    async fn set_bit(&self, request: Request<SetBitRequest>) -> Outcome<SetBitResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("SETBIT").bytes(asked.key).number(asked.offset).number(asked.value);
        let previous = call.ask(args).await?.flag()?;
        Ok(call.respond(SetBitResponse { previous }))
    }

    async fn get_bit(&self, request: Request<GetBitRequest>) -> Outcome<GetBitResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("GETBIT").bytes(asked.key).number(asked.offset);
        let value = call.ask(args).await?.flag()?;
        Ok(call.respond(GetBitResponse { value }))
    }

    async fn set_bits(&self, request: Request<SetBitsRequest>) -> Outcome<SetBitsResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.SETBITS").bytes(asked.key).numbers(&asked.offsets)?;
        let changed = call.ask(args).await?.count()?;
        Ok(call.respond(SetBitsResponse { changed }))
    }

    async fn clear_bits(&self, request: Request<ClearBitsRequest>) -> Outcome<ClearBitsResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.CLEARBITS").bytes(asked.key).numbers(&asked.offsets)?;
        let changed = call.ask(args).await?.count()?;
        Ok(call.respond(ClearBitsResponse { changed }))
    }

    async fn get_bits(&self, request: Request<GetBitsRequest>) -> Outcome<GetBitsResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.GETBITS").bytes(asked.key).numbers(&asked.offsets)?;
        let bits = call.ask(args).await?.counts()?;
        let values = bits.into_iter().map(|bit| bit != 0).collect();
        Ok(call.respond(GetBitsResponse { values }))
    }

    async fn count(&self, request: Request<CountRequest>) -> Outcome<CountResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let count = call.ask(convert::count(asked)?).await?.count()?;
        Ok(call.respond(CountResponse { count }))
    }

    async fn position(&self, request: Request<PositionRequest>) -> Outcome<PositionResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let found = call.ask(convert::position(asked)?).await?.integer()?;
        // -1 says that there is none.
        Ok(call.respond(PositionResponse { offset: u64::try_from(found).ok() }))
    }

    async fn combine(&self, request: Request<CombineRequest>) -> Outcome<CombineResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let word = args::combination(asked.combination)?;
        let args =
            Args::new("BITOP").word(word).bytes(asked.target).all("sources", asked.sources)?;
        let length_bytes = call.ask(args).await?.count()?;
        Ok(call.respond(CombineResponse { length_bytes }))
    }

    async fn combine_count(
        &self,
        request: Request<CombineCountRequest>,
    ) -> Outcome<CombineCountResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let word = args::combination(asked.combination)?;
        let args = Args::new("BITOPCARD").word(word).all("sources", asked.sources)?;
        let count = call.ask(args).await?.count()?;
        Ok(call.respond(CombineCountResponse { count }))
    }

    async fn query_count(
        &self,
        request: Request<QueryCountRequest>,
    ) -> Outcome<QueryCountResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.QUERY").word("COUNT").text(asked.expression);
        let count = call.ask(args.named("UNIVERSE", asked.universe)).await?.count()?;
        Ok(call.respond(QueryCountResponse { count }))
    }

    type QueryListStream = Pages<QueryListResponse>;

    async fn query_list(
        &self,
        request: Request<QueryListRequest>,
    ) -> Outcome<Self::QueryListStream> {
        let (call, asked) = self.0.open(request)?;
        let QueryListRequest { expression, universe, cursor, limit } = asked;
        let args = move |cursor: u64, limit: u64| {
            let args = Args::new("BM.QUERY").word("LIST").text(expression.clone());
            let args = args.named("UNIVERSE", universe.clone());
            args.option("CURSOR", Some(cursor)).option("LIMIT", Some(limit))
        };
        let make = |next_cursor, offsets| QueryListResponse { offsets, next_cursor };
        Ok(Response::new(pages::listing(call, (cursor, limit), args, make)))
    }

    async fn query_sample(
        &self,
        request: Request<QuerySampleRequest>,
    ) -> Outcome<QuerySampleResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.QUERY").word("SAMPLE").text(asked.expression);
        let args = args.named("UNIVERSE", asked.universe);
        let offsets = call.ask(args.option("LIMIT", Some(sample(asked.limit)))).await?.counts()?;
        Ok(call.respond(QuerySampleResponse { offsets }))
    }

    async fn query_store(
        &self,
        request: Request<QueryStoreRequest>,
    ) -> Outcome<QueryStoreResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.QUERY").word("STORE").bytes(asked.target).text(asked.expression);
        let count = call.ask(args.named("UNIVERSE", asked.universe)).await?.count()?;
        Ok(call.respond(QueryStoreResponse { count }))
    }

    type ListBitsStream = Pages<ListBitsResponse>;

    async fn list_bits(&self, request: Request<ListBitsRequest>) -> Outcome<Self::ListBitsStream> {
        let (call, asked) = self.0.open(request)?;
        let bits_max = self.0.shared.settings.parse_limits.bitmap_bits_max;
        let ListBitsRequest { key, cursor, limit, first, last } = asked;
        let range = (first > 0 || last.is_some()).then(|| (first, last.unwrap_or(bits_max - 1)));
        let args = move |cursor: u64, limit: u64| {
            let args = Args::new("BM.SCAN").bytes(key.clone()).number(cursor);
            let args = args.option("COUNT", Some(limit));
            match range {
                Some((first, last)) => args.word("MATCHRANGE").number(first).number(last),
                None => args,
            }
        };
        let make = |next_cursor, offsets| ListBitsResponse { offsets, next_cursor };
        Ok(Response::new(pages::listing(call, (cursor, limit), args, make)))
    }

    async fn import_bits(
        &self,
        request: Request<Streaming<ImportBitsRequest>>,
    ) -> Outcome<ImportBitsResponse> {
        let (mut call, pieces) = self.0.open(request)?;
        let bytes_max = self.0.shared.settings.parse_limits.bulk_bytes_max;
        let args =
            import::gather(pieces, bytes_max, &self.0.shared.gathered_bytes, call.deadline());
        let (args, room) = args.await?;
        let count = call.ask(args).await?.count()?;
        drop(room);
        Ok(call.respond(ImportBitsResponse { count }))
    }

    type ExportBitsStream = Pages<ExportBitsResponse>;

    async fn export_bits(
        &self,
        request: Request<ExportBitsRequest>,
    ) -> Outcome<Self::ExportBitsStream> {
        let (mut call, asked) = self.0.open(request)?;
        let Some(format) = args::format(asked.format)? else {
            return Err(fault::invalid("format", "must be said"));
        };
        let args = Args::new("BM.EXPORT").bytes(asked.key).word("FORMAT").word(format);
        let stream = match call.ask(args).await?.bytes()? {
            Some(whole) => pages::chunks(whole, |data| ExportBitsResponse { data }),
            None => Box::pin(futures_util::stream::empty()),
        };
        Ok(call.respond(stream))
    }

    async fn info(&self, request: Request<InfoRequest>) -> Outcome<InfoResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let answer = call.ask(Args::new("BM.INFO").bytes(asked.key)).await?;
        Ok(call.respond(convert::info(answer)?))
    }

    async fn retention(&self, request: Request<RetentionRequest>) -> Outcome<RetentionResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let answer = call.ask(convert::retention(asked)?).await?;
        Ok(call.respond(RetentionResponse { cohorts: convert::cohorts(answer)? }))
    }

    async fn top_k(&self, request: Request<TopKRequest>) -> Outcome<TopKResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let answer = call.ask(convert::top_k(asked)?).await?;
        Ok(call.respond(TopKResponse { keys: convert::key_counts(answer)? }))
    }

    async fn density(&self, request: Request<DensityRequest>) -> Outcome<DensityResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.DENSITY").bytes(asked.key).number(asked.first).number(asked.end);
        let counts = call.ask(args.number(asked.parts)).await?.counts()?;
        Ok(call.respond(DensityResponse { counts }))
    }

    async fn mark(&self, request: Request<MarkRequest>) -> Outcome<MarkResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let changed = call.ask(convert::mark(asked)?).await?.count()?;
        Ok(call.respond(MarkResponse { changed }))
    }

    async fn window_count(
        &self,
        request: Request<WindowCountRequest>,
    ) -> Outcome<WindowCountResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let count = call.ask(args::window(asked.window)?.word("COUNT")).await?.count()?;
        Ok(call.respond(WindowCountResponse { count }))
    }

    type WindowListStream = Pages<WindowListResponse>;

    async fn window_list(
        &self,
        request: Request<WindowListRequest>,
    ) -> Outcome<Self::WindowListStream> {
        let (call, asked) = self.0.open(request)?;
        let WindowListRequest { window, cursor, limit } = asked;
        let window = args::window(window)?.word("LIST").into_vec();
        let args = move |cursor: u64, limit: u64| {
            let args = Args::of(window.clone());
            args.option("CURSOR", Some(cursor)).option("LIMIT", Some(limit))
        };
        let make = |next_cursor, offsets| WindowListResponse { offsets, next_cursor };
        Ok(Response::new(pages::listing(call, (cursor, limit), args, make)))
    }

    async fn window_sample(
        &self,
        request: Request<WindowSampleRequest>,
    ) -> Outcome<WindowSampleResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = args::window(asked.window)?.word("SAMPLE");
        let offsets = call.ask(args.option("LIMIT", Some(sample(asked.limit)))).await?.counts()?;
        Ok(call.respond(WindowSampleResponse { offsets }))
    }

    async fn window_store(
        &self,
        request: Request<WindowStoreRequest>,
    ) -> Outcome<WindowStoreResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = args::window(asked.window)?.word("STORE").bytes(asked.target);
        let count = call.ask(args).await?.count()?;
        Ok(call.respond(WindowStoreResponse { count }))
    }

    async fn touch(&self, request: Request<TouchRequest>) -> Outcome<TouchResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.TOUCH").bytes(asked.key).number(asked.id);
        let arrived = call.ask(args.option("TTL", Some(asked.ttl_secs))).await?.flag()?;
        Ok(call.respond(TouchResponse { arrived }))
    }

    async fn online_count(
        &self,
        request: Request<OnlineCountRequest>,
    ) -> Outcome<OnlineCountResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.ONLINE").bytes(asked.key).word("COUNT");
        let count = call.ask(args).await?.count()?;
        Ok(call.respond(OnlineCountResponse { count }))
    }

    type OnlineListStream = Pages<OnlineListResponse>;

    async fn online_list(
        &self,
        request: Request<OnlineListRequest>,
    ) -> Outcome<Self::OnlineListStream> {
        let (call, asked) = self.0.open(request)?;
        let OnlineListRequest { key, cursor, limit } = asked;
        let args = move |cursor: u64, limit: u64| {
            let args = Args::new("BM.ONLINE").bytes(key.clone()).word("LIST");
            args.option("CURSOR", Some(cursor)).option("LIMIT", Some(limit))
        };
        let make = |next_cursor, ids| OnlineListResponse { ids, next_cursor };
        Ok(Response::new(pages::listing(call, (cursor, limit), args, make)))
    }

    async fn online_check(
        &self,
        request: Request<OnlineCheckRequest>,
    ) -> Outcome<OnlineCheckResponse> {
        let (mut call, asked) = self.0.open(request)?;
        let args = Args::new("BM.ONLINE").bytes(asked.key).option("IS", Some(asked.id));
        let present = call.ask(args).await?.flag()?;
        Ok(call.respond(OnlineCheckResponse { present }))
    }
}

fn sample(limit: u64) -> u64 {
    if limit == 0 { SAMPLE_DEFAULT } else { limit }
}
