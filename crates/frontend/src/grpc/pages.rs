//! Server streams.
//!
//! A stream is pulled: tonic asks for the next message when the client's window has room for it,
//! and only then is the next page read. Nothing is held between two pages but where to go on.

use bitroster_types::limits::{GRPC_CHUNK_BYTES, GRPC_PAGE_OFFSETS};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::Status;

use super::{
    answer::{Answer, Page},
    args::Args,
    gate::Call,
};

/// What a server stream is.
pub(super) type Pages<T> = BoxStream<'static, Result<T, Status>>;

/// Where a listing is.
struct Listing<A> {
    call: Call,
    args: A,
    cursor: u64,
    /// How much may still come.
    left: u64,
}

/// The pages of a listing from `cursor` on, at most `limit` offsets (0: all). `args` makes the
/// command of a cursor and a page's size, `make` a message of a page.
pub(super) fn listing<A, T>(
    call: Call,
    (cursor, limit): (u64, u64),
    args: A,
    make: fn(u64, Vec<u64>) -> T,
) -> Pages<T>
where
    A: Fn(u64, u64) -> Args + Send + 'static,
    T: Send + 'static,
{
    let left = if limit == 0 { u64::MAX } else { limit };
    let first = Some(Listing { call, args, cursor, left });
    let next = move |state: Option<Listing<A>>| async move {
        let Some(mut at) = state else { return Ok::<_, Status>(None) };
        let asked = (at.args)(at.cursor, at.left.min(GRPC_PAGE_OFFSETS));
        let Page { next, items } = at.call.ask(asked).await?.page()?;
        let offsets = items.into_iter().map(Answer::count).collect::<Result<Vec<_>, _>>()?;
        at.left = at.left.saturating_sub(offsets.len() as u64);
        at.cursor = next;
        let goes_on = next != 0 && at.left > 0;
        Ok(Some((make(next, offsets), goes_on.then_some(at))))
    };
    stream::try_unfold(first, next).boxed()
}

/// The names of keys, page by page.
pub(super) fn names<A, T>(
    call: Call,
    cursor: u64,
    args: A,
    make: fn(u64, Vec<Bytes>) -> T,
) -> Pages<T>
where
    A: Fn(u64) -> Args + Send + 'static,
    T: Send + 'static,
{
    let next = move |state: Option<(Call, A, u64)>| async move {
        let Some((mut call, args, cursor)) = state else { return Ok::<_, Status>(None) };
        let Page { next, items } = call.ask(args(cursor)).await?.page()?;
        let name = |item: Answer| Ok::<_, Status>(item.bytes()?.unwrap_or_default());
        let names = items.into_iter().map(name).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((make(next, names), (next != 0).then_some((call, args, next)))))
    };
    stream::try_unfold(Some((call, args, cursor)), next).boxed()
}

/// Bytes, cut; the pieces share the memory of the whole.
pub(super) fn chunks<T: Send + 'static>(whole: Bytes, make: fn(Bytes) -> T) -> Pages<T> {
    let pieces = whole.len().div_ceil(GRPC_CHUNK_BYTES).max(1);
    let piece = move |at: usize| {
        let start = at * GRPC_CHUNK_BYTES;
        Ok(make(whole.slice(start..whole.len().min(start + GRPC_CHUNK_BYTES))))
    };
    stream::iter((0..pieces).map(piece)).boxed()
}
