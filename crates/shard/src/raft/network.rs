//! How a replica reaches the other replicas of its group.
//!
//! [`Network`] is the one place where a transport plugs in: openraft asks it for a client a peer
//! and a purpose (log, heartbeat, snapshot). Groups of one replica have nobody to ask, so this
//! release carries no transport and every call answers "unreachable".

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};

use super::snapshot::SnapshotFile;
use super::types::{Host, TypeConfig, Vote};

/// Makes clients for one group's replica.
#[derive(Debug)]
pub(crate) struct Network;

/// A client of one peer.
#[derive(Debug)]
pub(crate) struct Peer {
    replica: u64,
    host: Host,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, replica: u64, host: &Host) -> Peer {
        Peer { replica, host: *host }
    }
}

impl Peer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let Self { replica, host } = self;
        Unreachable::new(&AnyError::error(format!(
            "no transport to replica {replica} on node {}",
            host.0
        )))
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    // The default grants without asking, which would make pre-votes worthless.
    async fn pre_vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
