//! Goal: what a client publishes at one node is heard once at every other node, whoever has a link
//! to whom.
//!
//! Method: three members and two routers in one process over loopback; each notes what it hears.
//! Kills these mutants: a router's message passed on by every member; one passed back to its
//! sender; one not passed on at all.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod support;

use std::sync::{Arc, Mutex};

use bitroster_placement::ClusterState;
use bitroster_rpc::{Audience, Links, PeerHost};
use bitroster_types::limits::RELAY_MESSAGE_BYTES_MAX;
use bytes::Bytes;
use support::{cluster, router, until};

/// What one node has heard.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Ear {
    fn listen(links: &Links) -> Arc<Self> {
        let ear = Arc::<Self>::default();
        links.set_audience(Arc::clone(&ear) as _);
        ear
    }

    fn heard(&self) -> Vec<String> {
        let mut heard = self.0.lock().unwrap().clone();
        heard.sort_unstable();
        heard
    }
}

impl Audience for Ear {
    fn hear(&self, channel: Bytes, message: Bytes, sharded: bool) {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.0.lock().unwrap().push(format!("{} {} {sharded}", text(&channel), text(&message)));
    }
}

/// A router at an address of its own, and what other routers are told through.
fn host(state: &ClusterState, address: &str) -> (Links, Arc<PeerHost>) {
    let (links, _) = router(state, address);
    let host = PeerHost::new();
    host.admit(links.clone());
    (links, host)
}

#[tokio::test]
async fn a_message_of_any_node_is_heard_once_at_every_other() {
    let (nodes, _, state) = cluster(3).await;
    let (first, first_host) = host(&state, "router:1");
    let (second, _) = host(&state, "router:2");
    until("the routers are linked", || {
        [&first, &second].iter().all(|links| links.linked().len() == 3)
            && nodes
                .iter()
                .all(|node| node.host.routers().len() == 2 && node.links.linked().len() == 2)
    })
    .await;
    let ears: Vec<_> =
        nodes.iter().map(|node| &node.links).chain([&first, &second]).map(Ear::listen).collect();
    let long = Bytes::from(vec![b'x'; RELAY_MESSAGE_BYTES_MAX]);
    first_host.publish(&"long".into(), &long, false);
    first_host.publish(&"a".into(), &"router".into(), false);
    nodes[1].host.publish(&"a".into(), &"member".into(), true);
    let (router, member) = ("a router false", "a member true");
    let expected: [&[&str]; 5] =
        [&[member, router], &[router], &[member, router], &[member], &[member, router]];
    until("all have heard", || {
        ears.iter().zip(expected).all(|(ear, expected)| ear.heard().len() >= expected.len())
    })
    .await;
    // What might come twice would come before this, which takes the same links.
    nodes[1].host.publish(&"z".into(), &"end".into(), false);
    first_host.publish(&"z".into(), &"end".into(), false);
    let ends = [2, 1, 2, 1, 2];
    until("the end is heard", || {
        let count = |ear: &Ear| ear.heard().iter().filter(|it| *it == "z end false").count();
        ears.iter().zip(ends).all(|(ear, ends)| count(ear) == ends)
    })
    .await;
    for (ear, expected) in ears.iter().zip(expected) {
        let mut heard = ear.heard();
        heard.retain(|it| it != "z end false");
        assert_eq!(heard, expected);
    }
}
