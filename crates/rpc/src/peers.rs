//! The shard's way to other nodes.

use std::time::{Duration, Instant};

use bitroster_proto::internal::Status;
use bitroster_shard::{Destination, MessageKind, PeerError, Peers};
use bitroster_types::Deadline;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    links::Links,
    request::{Body, Request},
};

impl Peers for Links {
    fn call(
        &self,
        to: Destination,
        kind: MessageKind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let links = self.clone();
        let Destination { node, group, replica } = to;
        Box::pin(async move {
            let deadline = Deadline::at(Instant::now() + timeout);
            let request = Request::Raft { group, replica, kind, body };
            let answered = Self::call(&links, node, request, deadline).await;
            let response = answered
                .map_err(|error| PeerError::Unreachable { node, reason: error.to_string() })?;
            match (response.status, response.body) {
                (Status::Ok, Body::Message(body)) => Ok(body),
                (Status::Ok, _) => {
                    let reason = "an answer of another kind".to_owned();
                    Err(PeerError::Refused { node, reason })
                }
                _ => Err(PeerError::Refused { node, reason: response.reason }),
            }
        })
    }
}
