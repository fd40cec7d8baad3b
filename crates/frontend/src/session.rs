//! One connection: bytes in, turns, bytes out.
//!
//! A turn is what one read brought: all complete requests in the buffer, answered by one write.
//! Long pipelines are cut into turns of at most
//! [`TURN_COMMANDS_MAX`](bitroster_types::limits::TURN_COMMANDS_MAX) commands.

mod acl;
mod calls;
mod dialog;
mod greeting;
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
        }
    }

    /// Serves the client until it leaves, breaks the protocol or is asked to go.
    ///
    /// # Errors
    ///
    /// Those of the stream, and `TimedOut` where the client does not read its replies.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            let need = self.take_turn().await?;
            self.dialog.answer(&mut self.output).await;
            self.write().await?;
            if self.dialog.is_closing() || self.dialog.client().is_ending() {
                return self.stream.shutdown().await;
            }
            if self.read(need).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Works through every complete request in the buffer. Returns how many bytes the next one
    /// lacks at least.
    async fn take_turn(&mut self) -> io::Result<usize> {
        let mut consumed = 0;
        let mut need = 0;
        while !self.dialog.is_closing() {
            match self.decoder.decode(&self.input[consumed..]) {
                Ok(Decoded::Request { consumed: len }) => {
                    let pending = {
                        let args = self.decoder.args(&self.input[consumed..]);
                        let args: SmallVec<[&[u8]; INLINE_ARGS]> = args.iter().collect();
                        self.dialog.take(&args, len)
                    };
                    consumed += len;
                    if let Some(pending) = pending {
                        self.dialog.complete(pending, &mut self.output).await;
                        self.decoder.set_limits(self.dialog.limits());
                    }
                    if self.dialog.is_full() {
                        self.dialog.answer(&mut self.output).await;
                        self.write().await?;
                    }
                }
                Ok(Decoded::Empty { consumed: len }) => consumed += len,
                Ok(Decoded::Incomplete { need_hint }) => {
                    need = need_hint;
                    break;
                }
                Err(error) => {
                    self.refuse(error);
                    break;
                }
            }
        }
        self.input.advance(consumed);
        Ok(need)
    }

    fn refuse(&mut self, error: ProtocolError) {
        if error.is_silent() {
            warn!(client = %self.dialog.addr(), %error, "client dropped");
        }
        self.dialog.refuse(error);
    }

    /// Reads what has arrived, at least one byte; 0 at the stream's end or when the client is
    /// asked to go.
    async fn read(&mut self, need: usize) -> io::Result<usize> {
        self.make_room(need);
        let client = self.dialog.client();
        let mut read = pin!(self.stream.read_buf(&mut self.input));
        let count = poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(count) => Poll::Ready(count),
            Poll::Pending if client.poll_ending(cx.waker()) => Poll::Ready(Ok(0)),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        self.dialog.note_received(count);
        Ok(count)
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
                    timeout(WRITE_STALL_MAX, self.stream.write(rest)).await.map_err(stalled)??
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
