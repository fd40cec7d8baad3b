//! What a node answers other nodes and operators about the cluster.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use bitroster_placement::state::{ChangeError, Changed};
use bitroster_proto::{convert, internal as wire};
use bitroster_rpc::{ControlError, Links, PeerHost, StateCell};
use bitroster_shard::Shard;
use bitroster_types::NodeId;
use futures_util::future::{BoxFuture, ready};

use super::{super::figures::Figures, super::report, host::Host, lobby::Lobby, meta::Meta};

/// What the answers are made from.
pub(crate) struct Control {
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) cell: StateCell,
    pub(crate) shard: Arc<OnceLock<Arc<Shard>>>,
    pub(crate) figures: Arc<Figures>,
    /// Set once the node is in a cluster.
    pub(crate) meta: OnceLock<Meta>,
    pub(crate) links: OnceLock<Links>,
    pub(crate) host: OnceLock<Arc<PeerHost>>,
    pub(crate) surroundings: Arc<Host>,
}

impl Control {
    async fn join_cluster(&self, request: wire::JoinRequest) -> anyhow::Result<wire::JoinReply> {
        let node = request.node.context("no node was sent")?;
        let current = self.cell.current().context("this node is not in a cluster yet")?;
        if node.token == 0 || node.role == wire::Role::Router as i32 {
            return Ok(wire::JoinReply {
                cluster: convert::cluster_bytes(current.cluster),
                node_id: 0,
                state: current.encode().into(),
            });
        }
        let meta = self.meta.get().context("this node is still starting")?;
        let mut number = NodeId(0);
        let state = meta
            .change(|state| {
                let (node, changed) = state.join(node.token, &node.address);
                number = node;
                Ok(changed)
            })
            .await?;
        Ok(wire::JoinReply {
            cluster: convert::cluster_bytes(state.cluster),
            node_id: number.0,
            state: state.encode().into(),
        })
    }

    fn newest_state(&self) -> wire::StateReply {
        let state = self.cell.current();
        wire::StateReply { state: state.map_or_else(Vec::new, |state| state.encode()).into() }
    }

    fn node_status(&self) -> wire::StatusReply {
        let me = self.lobby.me();
        let links = self.links.get();
        wire::StatusReply {
            node_id: self.lobby.membership().map_or(0, |member| member.node.0),
            role: me.role,
            address: me.address.clone(),
            revision: self.cell.current().map_or(0, |state| state.revision),
            linked: links.map_or_else(Vec::new, |links| {
                links.linked().into_iter().map(|node| node.0).collect()
            }),
            routers: self.host.get().map_or_else(Vec::new, |host| host.routers()),
            host: Some(self.surroundings.status()),
            ..report::figures(&self.figures, self.shard.get().map(|shard| &**shard))
        }
    }

    async fn change_cluster(
        &self,
        request: wire::ChangeRequest,
    ) -> anyhow::Result<wire::ChangeReply> {
        use wire::change_request::Change;
        let change = request.change.context("no change was sent")?;
        let plan = |state: &bitroster_placement::ClusterState| -> anyhow::Result<Option<Changed>> {
            Ok(match &change {
                Change::RemoveNode(wanted) => Some(state.remove(NodeId(wanted.node_id))?),
                Change::ReplaceNode(wanted) => {
                    let with = (wanted.with != 0).then_some(NodeId(wanted.with));
                    Some(state.replace(NodeId(wanted.node_id), with)?)
                }
                Change::Rebalance(_) => state.rebalance(),
            })
        };
        if request.dry_run {
            let state = self.cell.current().context("this node is not in a cluster yet")?;
            let lines = plan(&state)?.map_or_else(Vec::new, |changed| changed.lines);
            return Ok(wire::ChangeReply { lines, revision: state.revision });
        }
        let meta = self.meta.get().context("this node is still starting")?;
        let mut lines = Vec::new();
        let state = meta
            .change(|state| {
                let changed = plan(state)?;
                lines = changed.as_ref().map_or_else(Vec::new, |changed| changed.lines.clone());
                Ok(changed)
            })
            .await?;
        if state.revision == 0 {
            bail!("the cluster has no state");
        }
        Ok(wire::ChangeReply { lines, revision: state.revision })
    }
}

/// Cannot be done, or not now; nodes ask again by themselves, and operators read why.
fn unavailable(error: &anyhow::Error) -> ControlError {
    ControlError::Unavailable(format!("{error:#}"))
}

type Answer<'a, T> = BoxFuture<'a, Result<T, ControlError>>;

impl bitroster_rpc::Control for Control {
    fn discover(&self, request: wire::DiscoverRequest) -> Answer<'_, wire::DiscoverReply> {
        Box::pin(ready(Ok(self.lobby.discover(request))))
    }

    fn promise(&self, request: wire::PromiseRequest) -> Answer<'_, wire::PromiseReply> {
        let refused = |error: anyhow::Error| ControlError::Refused(format!("{error:#}"));
        Box::pin(ready(self.lobby.take_promise(&request).map_err(refused)))
    }

    fn found(&self, request: wire::FoundRequest) -> Answer<'_, wire::FoundReply> {
        let refused = |error: anyhow::Error| ControlError::Refused(format!("{error:#}"));
        let taken = self.lobby.take_founding(&request).map_err(refused);
        Box::pin(ready(taken.map(|()| wire::FoundReply {})))
    }

    fn join(&self, request: wire::JoinRequest) -> Answer<'_, wire::JoinReply> {
        Box::pin(async { self.join_cluster(request).await.map_err(|error| unavailable(&error)) })
    }

    fn state(&self, _request: wire::StateRequest) -> Answer<'_, wire::StateReply> {
        Box::pin(ready(Ok(self.newest_state())))
    }

    fn status(&self, _request: wire::StatusRequest) -> Answer<'_, wire::StatusReply> {
        Box::pin(ready(Ok(self.node_status())))
    }

    fn change(&self, request: wire::ChangeRequest) -> Answer<'_, wire::ChangeReply> {
        let refusal = |error: anyhow::Error| match error.downcast_ref::<ChangeError>() {
            Some(_) => ControlError::Refused(format!("{error:#}")),
            None => unavailable(&error),
        };
        Box::pin(async move { self.change_cluster(request).await.map_err(refusal) })
    }
}
