//! One connection: bytes in, turns, bytes out.
//!
//! A turn is what one read brought: all complete requests in the buffer, answered by one write.
//! Long pipelines are cut into turns of at most
//! [`TURN_COMMANDS_MAX`](bitroster_types::limits::TURN_COMMANDS_MAX) commands.

mod acl;
mod admission;
mod browser;
mod calls;
mod dialog;
mod greeting;
mod listen;
mod replies;
mod tally;
mod transaction;

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bitroster_resp::{Decoded, Decoder, ProtocolError};
use bitroster_types::limits::{
    CLIENT_WRITE_STALL_SECS_MAX, SESSION_BUFFER_BYTES, SESSION_BUFFER_GROWTH_BYTES_MAX,
    SESSION_BUFFER_RETAINED_BYTES_MAX,
};
use bytes::{Buf as _, BytesMut};
use futures_util::FutureExt as _;
use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{error::Elapsed, timeout},
};
use tracing::warn;

pub(crate) use self::dialog::Dialog;
use self::{dialog::Pending, tally::Turned};
use crate::{client::Client, server::Shared};

/// Longest time without progress of a write.
const WRITE_STALL_MAX: Duration = Duration::from_secs(CLIENT_WRITE_STALL_SECS_MAX);

/// Arguments of one request that need no allocation of their own.
const INLINE_ARGS: usize = 8;

/// One connection's task.
pub(crate) struct Session<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    decoder: Decoder,
    dialog: Dialog,
    /// Where in the input the first request of the turn is.
    turn_start: usize,
    /// Where in the input the first request is that was not taken.
    consumed: usize,
}

/// Why a session that waited goes on.
enum Arrival {
    /// So many bytes came; none at the stream's end.
    Bytes(usize),
    /// Messages wait for the client.
    Mail,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>, stream: S) -> Self {
        let dialog = Dialog::new(shared, client);
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            decoder: Decoder::new(dialog.limits()),
            dialog,
            turn_start: 0,
            consumed: 0,
        }
    }

    /// Serves the client until it leaves, breaks the protocol or is asked to go.
    ///
    /// # Errors
    ///
    /// Those of the stream, and `TimedOut` where the client does not read its replies.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let mut is_new = true;
        loop {
            if is_new && let Some(redirection) = self.dialog.redirection(&self.input) {
                self.output.extend_from_slice(redirection.as_bytes());
                self.write().await?;
                return self.stream.shutdown().await;
            }
            let need = self.take_turn().await?;
            is_new &= self.consumed == 0;
            self.answer().await;
            self.input.advance(self.consumed);
            (self.turn_start, self.consumed) = (0, 0);
            // One round; what is left goes out after the client's next requests, if there are any.
            self.dialog.take_mail(&mut self.output);
            self.write().await?;
            if self.dialog.is_closing() || self.dialog.client().is_ending() {
                return self.stream.shutdown().await;
            }
            match self.read(need).await? {
                Arrival::Bytes(0) => return Ok(()),
                Arrival::Bytes(_) => {}
                Arrival::Mail => self.dialog.note_mail(),
            }
        }
    }

    /// Works through every complete request in the buffer. Returns how many bytes the next one
    /// lacks at least.
    async fn take_turn(&mut self) -> io::Result<usize> {
        while !self.dialog.is_closing() {
            match self.decoder.decode(&self.input[self.consumed..]) {
                Ok(Decoded::Request { consumed: len }) => {
                    let pending = {
                        let args = self.decoder.args(&self.input[self.consumed..]);
                        let args: SmallVec<[&[u8]; INLINE_ARGS]> = args.iter().collect();
                        self.dialog.take(&args, len)
                    };
                    if let Some(pending) = pending {
                        self.finish(pending).await?;
                        self.decoder.set_limits(self.dialog.limits());
                    }
                    self.consumed += len;
                    if self.dialog.is_full() {
                        self.answer().await;
                        self.write().await?;
                    }
                }
                Ok(Decoded::Empty { consumed: len }) => self.consumed += len,
                Ok(Decoded::Incomplete { need_hint }) => return Ok(need_hint),
                Err(error) => {
                    self.refuse(error);
                    break;
                }
            }
        }
        Ok(0)
    }

    /// Finishes the request at hand, which has to wait.
    async fn finish(&mut self, pending: Pending) -> io::Result<()> {
        if pending.comes_after_all() {
            self.answer().await;
        }
        if pending.is_held() {
            self.write().await?;
        }
        let took = self.dialog.complete(pending, &mut self.output).await;
        if self.dialog.is_slow(took) {
            let args = self.decoder.args(&self.input[self.consumed..]);
            let args: SmallVec<[&[u8]; INLINE_ARGS]> = args.iter().collect();
            self.dialog.log_slow(&args, 0, took);
        }
        Ok(())
    }

    /// Answers what the turn holds.
    async fn answer(&mut self) {
        if let Some(turned) = self.dialog.answer(&mut self.output).await {
            self.log_slow(turned);
        }
        self.turn_start = self.consumed;
    }

    /// Reads the first request of a slow turn once more, for the slow log.
    #[cold]
    fn log_slow(&self, turned: Turned) {
        let input = &self.input[self.turn_start..];
        let mut decoder = Decoder::new(self.dialog.limits());
        if let Ok(Decoded::Request { .. }) = decoder.decode(input) {
            let args = decoder.args(input);
            let args: SmallVec<[&[u8]; INLINE_ARGS]> = args.iter().collect();
            self.dialog.log_slow(&args, turned.requests.saturating_sub(1), turned.took);
        }
    }

    fn refuse(&mut self, error: ProtocolError) {
        if error.is_silent() {
            warn!(client = %self.dialog.addr(), %error, "client dropped");
        }
        self.dialog.refuse(error);
    }

    /// Reads what has arrived, at least one byte, or waits for a message; no bytes at the stream's
    /// end or when the client is asked to go.
    async fn read(&mut self, need: usize) -> io::Result<Arrival> {
        self.make_room(need);
        let client = self.dialog.client();
        let mut read = pin!(self.stream.read_buf(&mut self.input));
        let arrival = poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(count) => Poll::Ready(count.map(Arrival::Bytes)),
            Poll::Pending if client.poll_ending(cx.waker()) => Poll::Ready(Ok(Arrival::Bytes(0))),
            Poll::Pending if client.listener.mailbox.waiting_bytes() > 0 => {
                Poll::Ready(Ok(Arrival::Mail))
            }
            Poll::Pending => Poll::Pending,
        })
        .await?;
        if let Arrival::Bytes(count) = arrival {
            self.dialog.note_received(count);
        }
        Ok(arrival)
    }

    /// Room for the next read: as much as has arrived so far, or the rest of the request.
    fn make_room(&mut self, need: usize) {
        let growth = self.input.len().max(need).min(SESSION_BUFFER_GROWTH_BYTES_MAX);
        let spare = self.input.capacity() - self.input.len();
        if spare < growth || spare < SESSION_BUFFER_BYTES / 4 {
            // Takes back what was consumed at the buffer's front before it asks for more memory.
            self.input.reserve(growth.max(SESSION_BUFFER_BYTES));
        }
        if self.input.is_empty() && self.input.capacity() > SESSION_BUFFER_RETAINED_BYTES_MAX {
            self.input = BytesMut::with_capacity(growth.max(SESSION_BUFFER_BYTES));
        }
    }

    /// Writes all of the output. A timer is made only where the socket is full.
    async fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.output.len() {
            let rest = &self.output[written..];
            let count = match self.stream.write(rest).now_or_never() {
                Some(count) => count?,
                None => {
                    let client = self.dialog.client();
                    let mut write = pin!(self.stream.write(rest));
                    let write = poll_fn(|cx| match write.as_mut().poll(cx) {
                        Poll::Pending if client.poll_aborting(cx.waker()) => {
                            Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
                        }
                        progress @ (Poll::Ready(_) | Poll::Pending) => progress,
                    });
                    timeout(WRITE_STALL_MAX, write).await.map_err(stalled)??
                }
            };
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += count;
        }
        // What TLS has taken it may still hold; for a plain socket this does nothing.
        if written > 0 {
            match self.stream.flush().now_or_never() {
                Some(flushed) => flushed?,
                None => timeout(WRITE_STALL_MAX, self.stream.flush()).await.map_err(stalled)??,
            }
        }
        self.dialog.note_sent(written);
        if self.output.capacity() > SESSION_BUFFER_RETAINED_BYTES_MAX {
            self.output = BytesMut::new();
        } else {
            self.output.clear();
        }
        Ok(())
    }
}

/// The end of a client that does not read.
fn stalled(_elapsed: Elapsed) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the client read none of its replies for {WRITE_STALL_MAX:?}"),
    )
}
