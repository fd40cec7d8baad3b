//! What waits for its way to the other end of a link, and the stream of frames that takes it there.
//!
//! The stream is polled by the connection whenever it can take more: a frame carries all that waits
//! at that moment, up to [`RPC_FRAME_BYTES`](bitroster_types::limits::RPC_FRAME_BYTES). There is no
//! timer. When the first thing comes the stream yields once, so that what other tasks are about to
//! say goes with it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bitroster_proto::internal::{Frame, Hello, Memory, Published};
use bitroster_types::limits::{RELAY_BYTES_MAX, RPC_FRAME_BYTES};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_stream::Stream;

/// What an outbox holds besides the greeting and the state.
pub(crate) trait Contents: Send + 'static {
    /// Whether nothing waits.
    fn is_empty(&self) -> bool;

    /// Moves what waits into an empty frame, until the frame is full.
    fn fill(&mut self, frame: &mut Frame);
}

/// What waits for its way to the other end. One stream of frames at a time.
pub(crate) struct Outbox<C> {
    inner: Mutex<Inner<C>>,
}

struct Inner<C> {
    contents: C,
    /// The number of the stream; one of an older number has ended.
    stream: u64,
    hello: Option<Hello>,
    state: Bytes,
    memory: Memory,
    published: VecDeque<Published>,
    published_bytes: usize,
    is_ending: bool,
    /// Whether the stream has yielded since the outbox was last empty.
    has_yielded: bool,
    waker: Option<Waker>,
}

impl<C: Contents> Outbox<C> {
    pub(crate) fn new(contents: C) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                contents,
                stream: 0,
                hello: None,
                state: Bytes::new(),
                memory: Memory::Unspecified,
                published: VecDeque::new(),
                published_bytes: 0,
                is_ending: false,
                has_yielded: false,
                waker: None,
            }),
        })
    }

    /// Begins a stream that opens with `hello`; an older one ends.
    pub(crate) fn open(self: &Arc<Self>, hello: Hello) -> Frames<C> {
        let mut inner = self.inner.lock();
        inner.stream += 1;
        inner.hello = Some(hello);
        inner.state = Bytes::new();
        // What was published while there was no way is old now.
        inner.published.clear();
        inner.published_bytes = 0;
        let (stream, waker) = (inner.stream, inner.waker.take());
        drop(inner);
        wake(waker);
        Frames { outbox: Arc::clone(self), stream }
    }

    /// Looks at the contents and changes them; the stream sends what came in.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut C) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = change(&mut inner.contents);
        let waker = if inner.contents.is_empty() { None } else { inner.waker.take() };
        drop(inner);
        wake(waker);
        result
    }

    /// Sends the cluster's state with the next frame.
    pub(crate) fn put_state(&self, state: Bytes) {
        self.change(|inner| inner.state = state);
    }

    /// Says with the next frame whether this node is above its `maxmemory`.
    pub(crate) fn put_memory(&self, memory: Memory) {
        self.change(|inner| inner.memory = memory);
    }

    /// Sends a published message with one of the next frames, unless too many wait.
    pub(crate) fn put_published(&self, published: Published) {
        let bytes = bytes_of(&published);
        let mut inner = self.inner.lock();
        if inner.published_bytes + bytes > RELAY_BYTES_MAX {
            return;
        }
        inner.published_bytes += bytes;
        inner.published.push_back(published);
        let waker = inner.waker.take();
        drop(inner);
        wake(waker);
    }

    /// Ends the stream once nothing waits.
    pub(crate) fn end(&self) {
        self.change(|inner| inner.is_ending = true);
    }

    /// Changes what waits, and wakes the stream.
    fn change(&self, change: impl FnOnce(&mut Inner<C>)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        wake(waker);
    }

    /// The next frame of the stream of this number.
    fn poll(&self, stream: u64, context: &Context<'_>) -> Poll<Option<Frame>> {
        let mut inner = self.inner.lock();
        if inner.stream != stream {
            return Poll::Ready(None);
        }
        let mut frame = Frame { hello: inner.hello.take(), ..Frame::default() };
        if frame.hello.is_some() {
            return Poll::Ready(Some(frame));
        }
        if inner.is_empty() {
            if inner.is_ending {
                return Poll::Ready(None);
            }
            inner.has_yielded = false;
            inner.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        if !inner.has_yielded {
            inner.has_yielded = true;
            drop(inner);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        frame.state = std::mem::take(&mut inner.state);
        frame.memory = std::mem::take(&mut inner.memory).into();
        inner.contents.fill(&mut frame);
        inner.fill_published(&mut frame);
        Poll::Ready(Some(frame))
    }
}

impl<C> Inner<C> {
    /// Whether nothing waits.
    fn is_empty(&self) -> bool
    where
        C: Contents,
    {
        self.contents.is_empty()
            && self.state.is_empty()
            && self.published.is_empty()
            && self.memory == Memory::Unspecified
    }

    /// Moves published messages into a frame, as many as one frame takes.
    fn fill_published(&mut self, frame: &mut Frame) {
        let mut bytes = 0;
        while bytes < RPC_FRAME_BYTES
            && let Some(published) = self.published.pop_front()
        {
            bytes += bytes_of(&published);
            frame.published.push(published);
        }
        self.published_bytes -= bytes;
    }
}

/// What a message counts, in bytes.
fn bytes_of(published: &Published) -> usize {
    published.channel.len() + published.message.len() + size_of::<Published>()
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The frames of an outbox, for as long as no newer stream is opened.
pub(crate) struct Frames<C> {
    outbox: Arc<Outbox<C>>,
    stream: u64,
}

impl<C: Contents> Stream for Frames<C> {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        self.outbox.poll(self.stream, context)
    }
}
