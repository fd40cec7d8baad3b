//! Before a node is a member: finding others, founding a cluster with them, or joining theirs.
//!
//! Every node asks its seeds who they are, again and again, until one of three things happens:
//!
//! - one of them is a member: the node joins (or, if it is a founding member that crashed before
//!   it had written that down, finishes);
//! - as many candidates as `bootstrap_expect` have found each other: the one with the first address
//!   asks all to promise, writes the founding down, and tells them. A candidate promises itself to
//!   one founding at a time, and a founding needs every promise, so there is one cluster;
//! - a founder tells it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bitroster_placement::{ClusterState, Founding, state::Member};
use bitroster_proto::{convert, internal as wire};
use bitroster_rpc::{ClusterClient, LinkTls, client};
use bitroster_types::{ClusterId, NodeId, SegmentWidth};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};
use tracing::{debug, info, warn};

use super::disk::{Disk, Membership};
use crate::{
    app::data_dir::random_u128,
    config::{Config, RoleWord},
};

/// Pause between two rounds of asking.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// How long one node may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a candidate keeps a promise.
const PROMISE_KEPT: Duration = Duration::from_secs(20);

/// How old promises may be when a founder relies on them: well below the time they are kept, since
/// clocks may differ in rate and a process may be stopped in between.
const PROMISES_AGE_MAX: Duration = Duration::from_secs(5);

/// Rounds between two words about waiting.
const ROUNDS_A_WORD: u32 = 25;

/// Addresses of others that are remembered, at the most.
const KNOWN_MAX: usize = 256;

/// A node that is not a member yet, and answers others about it.
#[derive(Debug)]
pub(crate) struct Lobby {
    me: wire::Candidate,
    disk: Option<Arc<Disk>>,
    tls: Option<Arc<dyn LinkTls>>,
    seeds: Vec<String>,
    plan: Plan,
    known: Mutex<BTreeSet<String>>,
    promise: Mutex<Option<(ClusterId, Instant)>>,
    membership: watch::Sender<Option<Membership>>,
    /// Held while this node is made a member.
    founding: Mutex<()>,
    /// Whether a cluster was ever seen: then this node founds none, it joins.
    has_seen_cluster: AtomicBool,
}

/// What a founder decides.
#[derive(Clone, Copy, Debug)]
struct Plan {
    groups: u16,
    replicas: u8,
    width: SegmentWidth,
}

/// What became of a node.
#[derive(Debug)]
pub(crate) enum Entered {
    /// It keeps data.
    Member(Membership),
    /// It routes.
    Router(ClusterState),
}

impl Lobby {
    /// A node that may have been a member before.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn new(
        config: &Config,
        address: String,
        cores: usize,
        disk: Option<Arc<Disk>>,
        tls: Option<Arc<dyn LinkTls>>,
    ) -> anyhow::Result<Self> {
        let token = disk.as_ref().map_or(Ok(0), |disk| disk.token())?;
        let expect = config.cluster.bootstrap_expect;
        let membership = disk.as_ref().map_or(Ok(None), |disk| disk.membership())?;
        Ok(Self {
            me: wire::Candidate {
                token,
                address,
                role: role_of(config.server.role).into(),
                expect: expect.into(),
            },
            disk,
            tls,
            seeds: config.cluster.seeds.0.clone(),
            plan: Plan {
                groups: config.groups_at_founding(usize::from(expect.max(1)), cores),
                replicas: config.cluster.replicas,
                width: SegmentWidth::from_log2(config.cluster.segment_width_log2)
                    .context("cluster.segment_width_log2 is out of range")?,
            },
            known: Mutex::default(),
            promise: Mutex::default(),
            membership: watch::channel(membership).0,
            founding: Mutex::default(),
            has_seen_cluster: AtomicBool::new(false),
        })
    }

    async fn connect(&self, address: &str) -> Result<ClusterClient, bitroster_rpc::Error> {
        client::connect_with(address, ANSWER_TIMEOUT, self.tls.as_deref()).await
    }

    /// This node, as it tells others.
    pub(crate) fn me(&self) -> &wire::Candidate {
        &self.me
    }

    /// Who the node is, once it is a member.
    pub(crate) fn membership(&self) -> Option<Membership> {
        self.membership.borrow().clone()
    }

    /// Asks until the node is in a cluster.
    ///
    /// # Errors
    ///
    /// What the disk says; seeds that belong to another cluster than the data.
    pub(crate) async fn enter(&self) -> anyhow::Result<Entered> {
        let mut rounds = 0_u32;
        loop {
            let replies = self.ask_all().await;
            if let Some(membership) = self.membership() {
                check_cluster(&membership, &replies)?;
                return Ok(Entered::Member(membership));
            }
            if let Some(entered) = self.enter_through(&replies).await? {
                return Ok(entered);
            }
            self.try_to_found(&replies).await?;
            if rounds.is_multiple_of(ROUNDS_A_WORD) {
                info!(
                    answered = replies.len(),
                    expect = self.me.expect,
                    seeds = self.seeds.len(),
                    "looking for the cluster"
                );
            }
            rounds = rounds.saturating_add(1);
            // A founder's word ends the pause.
            let mut told = self.membership.subscribe();
            tokio::select! {
                () = sleep(ROUND_PAUSE) => {}
                _ = told.wait_for(Option::is_some) => {}
            }
        }
    }

    /// Asks seeds and whoever they know; those that answer, by address.
    async fn ask_all(&self) -> Vec<(String, wire::DiscoverReply)> {
        let known = self.known.lock().clone();
        let addresses: BTreeSet<String> = self.seeds.iter().cloned().chain(known).collect();
        let others = addresses.into_iter().filter(|address| *address != self.me.address);
        let asked = others.map(|address| async move {
            let request = wire::DiscoverRequest { from: Some(self.me.clone()) };
            match self.connect(&address).await {
                Ok(mut node) => match client::answer(node.discover(request).await) {
                    Ok(reply) => Some((address, reply)),
                    Err(error) => {
                        debug!(%address, %error, "no word from a seed");
                        None
                    }
                },
                Err(error) => {
                    debug!(%address, %error, "a seed cannot be reached");
                    None
                }
            }
        });
        let replies: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        for (_, reply) in &replies {
            self.remember(reply.known.iter());
            if !reply.cluster.is_empty() {
                self.has_seen_cluster.store(true, Relaxed);
            }
        }
        replies
    }

    fn remember<'a>(&self, addresses: impl Iterator<Item = &'a String>) {
        let mut known = self.known.lock();
        for address in addresses {
            if known.len() < KNOWN_MAX && *address != self.me.address {
                known.insert(address.clone());
            }
        }
    }

    /// Enters a cluster that somebody who answered is a member of.
    async fn enter_through(
        &self,
        replies: &[(String, wire::DiscoverReply)],
    ) -> anyhow::Result<Option<Entered>> {
        for (address, reply) in replies.iter().filter(|(_, reply)| !reply.cluster.is_empty()) {
            if let (Some(disk), Some(founding)) = (&self.disk, &reply.founding) {
                let founding = founding_of(founding)?;
                if founding.members.iter().any(|member| member.token == self.me.token) {
                    info!(cluster = %founding.cluster, "finishing the founding");
                    return Ok(Some(Entered::Member(self.become_founder(disk, &founding)?)));
                }
            }
            match self.join(address).await {
                Ok(entered) => return Ok(Some(entered)),
                Err(error) => warn!(%address, error = format!("{error:#}"), "cannot join yet"),
            }
        }
        Ok(None)
    }

    async fn join(&self, address: &str) -> anyhow::Result<Entered> {
        let mut node = self.connect(address).await?;
        let request = wire::JoinRequest { node: Some(self.me.clone()) };
        let reply = client::answer(node.join(request).await)?;
        let state = ClusterState::decode(&reply.state)?;
        let Some(disk) = &self.disk else { return Ok(Entered::Router(state)) };
        info!(cluster = %state.cluster, node = reply.node_id, "joined");
        let _founding = self.founding.lock();
        if let Some(membership) = self.membership() {
            return Ok(Entered::Member(membership));
        }
        let membership = disk.join(NodeId(reply.node_id), state)?;
        self.membership.send_replace(Some(membership.clone()));
        Ok(Entered::Member(membership))
    }

    /// Founds a cluster if enough candidates are there and it is this node's turn.
    async fn try_to_found(&self, replies: &[(String, wire::DiscoverReply)]) -> anyhow::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        if self.has_seen_cluster.load(Relaxed) {
            return Ok(());
        }
        let expect = self.me.expect as usize;
        let Some(members) = founding_members(&self.me, replies) else { return Ok(()) };
        let founding = Founding {
            cluster: ClusterId(random_u128()),
            members,
            groups: self.plan.groups,
            replicas: self.plan.replicas,
            width: self.plan.width,
        };
        let asked = Instant::now();
        if !self.promise(&founding) {
            return Ok(());
        }
        let request = wire_founding(&founding);
        let others = || founding.members.iter().filter(|member| member.token != self.me.token);
        let promises = others().map(|member| {
            let request = wire::PromiseRequest { founding: Some(request.clone()) };
            async move {
                let mut node = self.connect(&member.address).await?;
                anyhow::Ok(client::answer(node.promise(request).await)?.promised)
            }
        });
        let promised = join_all(promises).await;
        let all = promised.iter().all(|promise| matches!(promise, Ok(true)));
        if !all || asked.elapsed() > PROMISES_AGE_MAX || self.membership().is_some() {
            debug!(?promised, "not all have promised");
            *self.promise.lock() = None;
            return Ok(());
        }
        self.become_founder(disk, &founding)?;
        info!(cluster = %founding.cluster, nodes = expect, "founded a cluster");
        let told = others().map(|member| {
            let request = wire::FoundRequest { founding: Some(request.clone()) };
            async move {
                let mut node = self.connect(&member.address).await?;
                client::answer(node.found(request).await)?;
                anyhow::Ok(())
            }
        });
        for error in join_all(told).await.into_iter().filter_map(Result::err) {
            // It asks by itself, and is told again then.
            debug!(%error, "a founding member was not told");
        }
        Ok(())
    }

    fn become_founder(&self, disk: &Disk, founding: &Founding) -> anyhow::Result<Membership> {
        // A founder's word may come while this node finds the founding by itself.
        let _founding = self.founding.lock();
        if let Some(membership) = self.membership() {
            return Ok(membership);
        }
        let membership = disk.found(founding, self.me.token)?;
        self.membership.send_replace(Some(membership.clone()));
        Ok(membership)
    }

    /// Promises this node to a founding, unless it is promised already or a member.
    fn promise(&self, founding: &Founding) -> bool {
        let is_bound = self.membership().is_some() || self.has_seen_cluster.load(Relaxed);
        if is_bound || self.disk.is_none() {
            return false;
        }
        let mut promise = self.promise.lock();
        let free = promise.is_none_or(|(cluster, made)| {
            cluster == founding.cluster || made.elapsed() > PROMISE_KEPT
        });
        if free {
            *promise = Some((founding.cluster, Instant::now()));
        }
        free
    }

    /// Answers who this node is.
    pub(crate) fn discover(&self, request: wire::DiscoverRequest) -> wire::DiscoverReply {
        if let Some(from) = request.from.filter(|from| from.role != wire::Role::Router as i32) {
            self.remember([&from.address].into_iter());
        }
        let membership = self.membership();
        let cluster = membership.as_ref().map(|member| member.cluster);
        wire::DiscoverReply {
            node: Some(self.me.clone()),
            cluster: cluster.map_or_else(Default::default, convert::cluster_bytes),
            node_id: membership.as_ref().map_or(0, |member| member.node.0),
            founding: membership.map(|member| wire_founding(&member.state.founding)),
            known: self.known.lock().iter().cloned().collect(),
        }
    }

    /// Answers whether this node promises itself.
    ///
    /// # Errors
    ///
    /// A founding that makes no sense.
    pub(crate) fn take_promise(
        &self,
        request: &wire::PromiseRequest,
    ) -> anyhow::Result<wire::PromiseReply> {
        let founding = founding_of(request.founding.as_ref().context("no founding was sent")?)?;
        if founding.members.iter().all(|member| member.token != self.me.token) {
            bail!("this node is not among the founding members");
        }
        let promised = self.promise(&founding);
        let reason = if promised { "" } else { "promised to another founding, or a member" };
        Ok(wire::PromiseReply { promised, reason: reason.to_owned() })
    }

    /// Takes a founder's word that the cluster exists.
    ///
    /// # Errors
    ///
    /// A founding that this node has not promised itself to; what the disk says.
    pub(crate) fn take_founding(&self, request: &wire::FoundRequest) -> anyhow::Result<()> {
        let founding = founding_of(request.founding.as_ref().context("no founding was sent")?)?;
        if let Some(member) = self.membership() {
            if member.cluster == founding.cluster {
                return Ok(());
            }
            bail!("this node is a member of cluster {} already", member.cluster);
        }
        let promised = self.promise.lock().is_some_and(|(cluster, _)| cluster == founding.cluster);
        let disk = self.disk.as_ref().filter(|_| promised);
        self.become_founder(disk.context("this node has promised nothing")?, &founding)?;
        info!(cluster = %founding.cluster, "became a founding member");
        Ok(())
    }
}

/// The founding members, if enough candidates are there and `me` has the first address.
fn founding_members(
    me: &wire::Candidate,
    replies: &[(String, wire::DiscoverReply)],
) -> Option<Vec<Member>> {
    let expect = me.expect as usize;
    let mut candidates: Vec<&wire::Candidate> = replies
        .iter()
        .filter(|(_, reply)| reply.cluster.is_empty())
        .filter_map(|(_, reply)| reply.node.as_ref())
        .filter(|node| node.expect == me.expect && node.token != 0)
        .chain([me])
        .collect();
    candidates.sort_unstable_by(|a, b| (&a.address, a.token).cmp(&(&b.address, b.token)));
    candidates.dedup_by_key(|candidate| candidate.token);
    candidates.truncate(expect);
    let is_mine = candidates.first().is_some_and(|first| first.token == me.token);
    if expect == 0 || candidates.len() < expect || !is_mine {
        return None;
    }
    let member = |(number, candidate): (u64, &wire::Candidate)| Member {
        node: NodeId(number),
        token: candidate.token,
        address: candidate.address.clone(),
    };
    Some((1..).zip(candidates).map(member).collect())
}

/// Refuses data of one cluster beside seeds of another.
fn check_cluster(
    membership: &Membership,
    replies: &[(String, wire::DiscoverReply)],
) -> anyhow::Result<()> {
    for (address, reply) in replies.iter().filter(|(_, reply)| !reply.cluster.is_empty()) {
        let theirs = convert::cluster(&reply.cluster)?;
        if theirs != membership.cluster {
            bail!(
                "the data directory belongs to cluster {}, but the node at {address} to cluster \
                 {theirs}: give this node the data directory or the seeds of the cluster that it \
                 is meant for",
                membership.cluster
            );
        }
    }
    Ok(())
}

pub(super) fn role_of(role: RoleWord) -> wire::Role {
    match role {
        RoleWord::All => wire::Role::All,
        RoleWord::Shard => wire::Role::Shard,
        RoleWord::Router => wire::Role::Router,
    }
}

fn wire_founding(founding: &Founding) -> wire::Founding {
    let member = |member: &Member| wire::Member {
        node_id: member.node.0,
        token: member.token,
        address: member.address.clone(),
    };
    wire::Founding {
        cluster: convert::cluster_bytes(founding.cluster),
        members: founding.members.iter().map(member).collect(),
        groups: founding.groups.into(),
        replicas: founding.replicas.into(),
        width_log2: founding.width.log2().into(),
    }
}

fn founding_of(founding: &wire::Founding) -> anyhow::Result<Founding> {
    let member = |member: &wire::Member| Member {
        node: NodeId(member.node_id),
        token: member.token,
        address: member.address.clone(),
    };
    let width = u8::try_from(founding.width_log2).ok().and_then(SegmentWidth::from_log2);
    let founding = Founding {
        cluster: convert::cluster(&founding.cluster)?,
        members: founding.members.iter().map(member).collect(),
        groups: u16::try_from(founding.groups).context("too many groups")?,
        replicas: u8::try_from(founding.replicas).context("too many replicas")?,
        width: width.context("the segment width is out of range")?,
    };
    // By way of bytes, which check the rest.
    Ok(Founding::decode(&founding.encode())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(token: u64, address: &str) -> wire::Candidate {
        wire::Candidate { token, address: address.to_owned(), role: 1, expect: 3 }
    }

    fn reply(node: wire::Candidate) -> (String, wire::DiscoverReply) {
        let address = node.address.clone();
        (address, wire::DiscoverReply { node: Some(node), ..wire::DiscoverReply::default() })
    }

    #[test]
    fn only_the_first_of_enough_candidates_founds() {
        let (a, b, c) = (candidate(9, "a:1"), candidate(5, "b:1"), candidate(7, "c:1"));
        let members = founding_members(&a, &[reply(c.clone()), reply(b.clone())]).unwrap();
        let tokens: Vec<_> = members.iter().map(|member| (member.node.0, member.token)).collect();
        assert_eq!(tokens, [(1, 9), (2, 5), (3, 7)]);
        assert_eq!(founding_members(&b, &[reply(a.clone()), reply(c.clone())]), None);
        assert_eq!(founding_members(&a, &[reply(b.clone())]), None);
        let other = wire::Candidate { expect: 5, ..c };
        assert_eq!(founding_members(&a, &[reply(b.clone()), reply(other)]), None);
        // The same node under two addresses is one node.
        assert_eq!(founding_members(&a, &[reply(b), reply(candidate(5, "d:1"))]), None);
    }

    #[test]
    fn a_founding_comes_back_from_the_wire() {
        let member = Member { node: NodeId(1), token: 5, address: "a:1".to_owned() };
        let founding = Founding {
            cluster: ClusterId(77),
            members: vec![member],
            groups: 4,
            replicas: 3,
            width: SegmentWidth::DEFAULT,
        };
        assert_eq!(founding_of(&wire_founding(&founding)).unwrap(), founding);
        let bad = wire::Founding { width_log2: 99, ..wire_founding(&founding) };
        assert!(founding_of(&bad).is_err());
    }
}
