//! One lane to one node: a stream of frames over a connection of its own, opened again whenever it
//! breaks.
//!
//! A node has two lanes to each other node: one for what is short, one for bodies longer than
//! [`RPC_PIECE_BYTES`](bitroster_types::limits::RPC_PIECE_BYTES). The first is open as long as the
//! node is a member; the second when it is needed.
//!
//! | module  | job                                            |
//! |---------|------------------------------------------------|
//! | `calls` | what waits to be sent and for an answer        |
//! | `run`   | the task that opens the stream and follows it  |

mod calls;
mod run;

use std::sync::Arc;

use bitroster_proto::internal::Published;
use bitroster_types::{Deadline, NodeId};
use tokio::{sync::Notify, time::timeout_at};

use crate::{
    error::CallError,
    metrics::Metrics,
    outbox::Outbox,
    request::{Request, Response},
};

use calls::{Calls, Phase};
pub(crate) use run::{Ends, Run, WINDOW_BYTES, endpoint};

/// Where a lane leads and when it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The node that must answer there.
    pub(crate) node: NodeId,
    /// `host:port`.
    pub(crate) address: String,
    /// Whether it is open while nobody calls.
    pub(crate) is_kept_open: bool,
}

/// One lane. Its task is [`Run`].
pub(crate) struct Lane {
    outbox: Arc<Outbox<Calls>>,
    /// Told when a call comes, and when the lane is closed.
    wake: Notify,
}

impl Lane {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { outbox: Outbox::new(Calls::new(metrics)), wake: Notify::new() })
    }

    /// Sends a request and waits for its answer until the deadline.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// A call whose future is dropped is forgotten; it may have arrived all the same.
    pub(crate) async fn call(
        &self,
        request: Request,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        let (pushed, is_up) = self.outbox.update(|calls| {
            let pushed = calls.push(request, deadline);
            (pushed, *calls.phase() == Phase::Up)
        });
        let (id, answer) = pushed?;
        if !is_up {
            self.wake.notify_one();
        }
        let mut ticket = Ticket { lane: self, id: Some(id) };
        match timeout_at(deadline.instant().into(), answer).await {
            Ok(Ok(reply)) => {
                ticket.id = None;
                reply
            }
            Ok(Err(_)) => Err(CallError::lost("the call was dropped")),
            Err(_) => {
                ticket.id = None;
                if self.outbox.update(|calls| calls.forget(id)) {
                    Err(CallError::lost("no answer in time"))
                } else {
                    Err(CallError::not_sent("no way to the node in time"))
                }
            }
        }
    }

    /// Sends a published message, if the lane is up.
    pub(crate) fn publish(&self, published: Published) -> bool {
        let is_up = self.is_up();
        if is_up {
            self.outbox.put_published(published);
        }
        is_up
    }

    /// Whether the lane is up.
    pub(crate) fn is_up(&self) -> bool {
        self.outbox.update(|calls| *calls.phase() == Phase::Up)
    }

    /// Fails all calls and ends the lane's task.
    pub(crate) fn close(&self) {
        self.outbox.update(Calls::close);
        self.outbox.end();
        self.wake.notify_one();
    }
}

/// Has a call forgotten whose future is dropped.
struct Ticket<'a> {
    lane: &'a Lane,
    id: Option<u64>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.lane.outbox.update(|calls| calls.forget(id));
        }
    }
}
