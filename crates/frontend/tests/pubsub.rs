//! Goal: messages reach those who listen, in the form that their protocol has, and nobody else; who
//! listens to keys hears what changed.
//!
//! Method: as in `session.rs`. A client's own requests are answered before the next one is sent, so
//! that the order of what two clients do is known.

mod support;

use bitroster_frontend::Options;
use support::{Harness, TestClient};

/// A bulk string.
fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A confirmation or message, as RESP2 has it.
fn array(head: char, parts: &[&str], count: Option<usize>) -> String {
    let mut out = format!("{head}{}\r\n", parts.len() + usize::from(count.is_some()));
    parts.iter().for_each(|part| out.push_str(&bulk(part)));
    count.iter().for_each(|count| out.push_str(&format!(":{count}\r\n")));
    out
}

async fn hello_3(client: &mut TestClient) {
    client.ask("HELLO 3", "%7\r\n").await;
    client.skip_to(&bulk("modules")).await;
    client.expect("*0\r\n").await;
}

#[tokio::test]
async fn messages_reach_channels_and_patterns_of_both_protocols() {
    let harness = Harness::ready(Options::default());
    let (mut old, mut new, mut publisher) =
        (harness.connect(), harness.connect(), harness.connect());
    hello_3(&mut new).await;
    let confirmed =
        array('*', &["subscribe", "news"], Some(1)) + &array('*', &["subscribe", "sport"], Some(2));
    old.ask("SUBSCRIBE news sport", &confirmed).await;
    new.ask("PSUBSCRIBE n*", &array('>', &["psubscribe", "n*"], Some(1))).await;
    publisher.ask("PUBLISH news hi\nPUBLISH weather rain", ":2\r\n:0\r\n").await;
    old.expect(&array('*', &["message", "news", "hi"], None)).await;
    new.expect(&array('>', &["pmessage", "n*", "news", "hi"], None)).await;
    // A client of RESP3 goes on with other commands, and publishes to itself.
    new.ask("SETBIT k 1 1", ":0\r\n").await;
    new.ask("PUBLISH n1 me", ":1\r\n").await;
    new.expect(&array('>', &["pmessage", "n*", "n1", "me"], None)).await;
    new.ask("PUNSUBSCRIBE", &array('>', &["punsubscribe", "n*"], Some(0))).await;
    publisher.ask("PUBLISH news again", ":1\r\n").await;
    old.expect(&array('*', &["message", "news", "again"], None)).await;
    new.ask("PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn shard_channels_are_apart_from_the_others() {
    let harness = Harness::ready(Options::default());
    let (mut client, mut publisher) = (harness.connect(), harness.connect());
    client.ask("SSUBSCRIBE a", &array('*', &["ssubscribe", "a"], Some(1))).await;
    client.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    publisher.ask("SPUBLISH a x", ":1\r\n").await;
    client.expect(&array('*', &["smessage", "a", "x"], None)).await;
    publisher.ask("PUBLISH a y", ":1\r\n").await;
    client.expect(&array('*', &["message", "a", "y"], None)).await;
    publisher.ask("PUBSUB SHARDCHANNELS", &format!("*1\r\n{}", bulk("a"))).await;
    publisher.ask("PUBSUB SHARDNUMSUB a b", "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n").await;
    client.ask("SUNSUBSCRIBE", &array('*', &["sunsubscribe", "a"], Some(0))).await;
    client.ask("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n").await;
}

#[tokio::test]
async fn a_listener_of_resp2_may_say_little_else() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    client
        .ask(
            "GET k",
            "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context\r\n",
        )
        .await;
    client.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    client.ask("PING hi", "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n").await;
    client.ask("UNSUBSCRIBE b", &array('*', &["unsubscribe", "b"], Some(1))).await;
    client.ask("UNSUBSCRIBE", &array('*', &["unsubscribe", "a"], Some(0))).await;
    client.ask("PING", "+PONG\r\n").await;
    client.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    client.ask("RESET\nGET k", "+RESET\r\n$-1\r\n").await;
    client.ask("MULTI\nSUBSCRIBE a", "+OK\r\n-ERR Command not allowed").await;
}

#[tokio::test]
async fn who_listens_is_told_and_forgotten_with_the_connection() {
    let harness = Harness::ready(Options::default());
    let (mut one, mut two) = (harness.connect(), harness.connect());
    one.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    one.ask("PSUBSCRIBE b*", &array('*', &["psubscribe", "b*"], Some(2))).await;
    two.ask("PUBSUB CHANNELS\nPUBSUB CHANNELS x*", &format!("*1\r\n{}*0\r\n", bulk("a"))).await;
    two.ask("PUBSUB NUMSUB a\nPUBSUB NUMPAT", "*2\r\n$1\r\na\r\n:1\r\n:1\r\n").await;
    let listed = two.ask_text("CLIENT LIST TYPE pubsub").await;
    assert!(listed.contains(" flags=P ") && listed.contains(" sub=1 psub=1 "), "{listed}");
    assert!(two.ask_text("INFO clients").await.contains("pubsub_clients:1\r\n"));
    two.ask("CLIENT KILL TYPE pubsub", ":1\r\n").await;
    assert_eq!(one.rest().await, "");
    two.until("PUBSUB NUMPAT", ":0\r\n").await;
    two.ask("PUBLISH a x", ":0\r\n").await;
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_dropped() {
    let harness = Harness::ready(Options::default());
    let (mut idle, mut publisher) = (harness.connect(), harness.connect());
    publisher.ask("CONFIG SET client-output-buffer-limit \"pubsub 200000 0 0\"", "+OK\r\n").await;
    idle.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    // What the pipe and the session hold, and the mailbox's limit, together.
    let message = "x".repeat(30_000);
    for _ in 0..60 {
        publisher.send(format!("PUBLISH a {message}\r\n")).await;
        publisher.expect(":").await;
        publisher.skip_to("\r\n").await;
    }
    publisher.until("PUBSUB NUMSUB a", "*2\r\n$1\r\na\r\n:0\r\n").await;
    let stats = publisher.ask_text("INFO stats").await;
    assert!(stats.contains("client_output_buffer_limit_disconnections:1\r\n"), "{stats}");
}

/// Has as many messages wait as are written at once several times over; they, as they come.
async fn flood(harness: &Harness) -> String {
    let mut publisher = harness.connect();
    let message = "x".repeat(30_000);
    for _ in 0..60 {
        publisher.ask(&format!("PUBLISH a {message}"), ":1\r\n").await;
    }
    array('*', &["message", "a", &message], None).repeat(60)
}

#[tokio::test]
async fn no_message_comes_after_the_last_confirmation() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    let messages = flood(&harness).await;
    let confirmed = array('*', &["unsubscribe", "a"], Some(0));
    client.ask("UNSUBSCRIBE\nPING", &format!("{messages}{confirmed}+PONG\r\n")).await;
}

#[tokio::test]
async fn a_listener_is_answered_before_all_of_its_messages_and_reset_drops_the_rest() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    let messages = flood(&harness).await;
    client.send("RESET\r\nPING\r\nQUIT\r\n").await;
    let came = client.rest().await;
    let ending = "+RESET\r\n+PONG\r\n+OK\r\n";
    let heard = came.strip_suffix(ending).expect("the replies come last");
    assert!(heard.len() < messages.len() && messages.starts_with(heard), "{}", heard.len());
}

#[tokio::test]
async fn who_listens_to_keys_hears_what_changed() {
    let harness = Harness::ready(Options::default());
    let (mut listener, mut client) = (harness.connect(), harness.connect());
    listener.ask("PSUBSCRIBE __key*", &array('*', &["psubscribe", "__key*"], Some(1))).await;
    client.ask("SETBIT quiet 1 1", ":0\r\n").await;
    client.ask("CONFIG SET notify-keyspace-events KEA", "+OK\r\n").await;
    client
        .ask(
            "CONFIG GET notify-keyspace-events",
            "*2\r\n$22\r\nnotify-keyspace-events\r\n$3\r\nAKE\r\n",
        )
        .await;
    let heard = |event: &str, key: &str| {
        let space = format!("__keyspace@0__:{key}");
        let keyevent = format!("__keyevent@0__:{event}");
        array('*', &["pmessage", "__key*", &space, event], None)
            + &array('*', &["pmessage", "__key*", &keyevent, key], None)
    };
    client.ask("SETBIT k 7 1\nGET k\nDEL nothing\nDEL k", ":0\r\n$1\r\n\x01\r\n:0\r\n:1\r\n").await;
    listener.expect(&(heard("setbit", "k") + &heard("del", "k"))).await;
    client
        .ask(
            "MULTI\nSET a v EX 100\nINCR b\nEXEC",
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n",
        )
        .await;
    listener.expect(&(heard("set", "a") + &heard("expire", "a") + &heard("incrby", "b"))).await;
    client.ask("RENAME a c", "+OK\r\n").await;
    listener.expect(&(heard("rename_from", "a") + &heard("rename_to", "c"))).await;
    client
        .ask(
            "CONFIG SET notify-keyspace-events Q",
            "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - \
             Invalid event class character. Use 'Ag$lshzxeKEtmdn'.\r\n",
        )
        .await;
    client
        .ask("CONFIG SET notify-keyspace-events E$\nSETBIT k 7 1\nDEL k", "+OK\r\n:0\r\n:1\r\n")
        .await;
    client.ask("CONFIG SET notify-keyspace-events \"\"\nSETBIT k 7 1", "+OK\r\n:0\r\n").await;
    client.ask("PUBLISH __key:end x", ":1\r\n").await;
    let last = array('*', &["pmessage", "__key*", "__keyevent@0__:setbit", "k"], None)
        + &array('*', &["pmessage", "__key*", "__key:end", "x"], None);
    listener.expect(&last).await;
}

#[tokio::test]
async fn what_was_written_before_a_publish_is_there_when_it_is_heard() {
    let harness = Harness::ready(Options::default());
    let (mut listener, mut client) = (harness.connect(), harness.connect());
    listener.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    client.ask("SETBIT k 1 1\nPUBLISH a go\nGETBIT k 1", ":0\r\n:1\r\n:1\r\n").await;
    listener.expect(&array('*', &["message", "a", "go"], None)).await;
}

#[tokio::test]
async fn messages_of_other_nodes_are_delivered() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("SUBSCRIBE a", &array('*', &["subscribe", "a"], Some(1))).await;
    assert_eq!(harness.frontend.deliver(&"a".into(), &"far".into(), false), 1);
    assert_eq!(harness.frontend.deliver(&"a".into(), &"far".into(), true), 0);
    client.expect(&array('*', &["message", "a", "far"], None)).await;
}

#[tokio::test]
async fn who_may_not_listen_any_more_is_ended() {
    let harness = Harness::ready(Options::default());
    let follow = |revision, channels: &str| {
        let rules = format!("on nopass +@all resetchannels {channels}").into_bytes();
        harness.frontend.follow_users(revision, &[(b"alice".to_vec(), rules)].into());
    };
    follow(1, "&a &b*");
    let mut clients = Vec::new();
    for (request, verb, name) in [
        ("SUBSCRIBE a", "subscribe", "a"),
        ("SSUBSCRIBE b1", "ssubscribe", "b1"),
        ("PSUBSCRIBE b*", "psubscribe", "b*"),
    ] {
        let mut client = harness.connect();
        client.ask("AUTH alice x", "+OK\r\n").await;
        client.ask(request, &array('*', &[verb, name], Some(1))).await;
        clients.push(client);
    }
    // What they listen to is covered still, then a pattern is not the same any more, then no name.
    follow(2, "&a &b* &c");
    clients[2].ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    follow(3, "&a &b?");
    assert_eq!(clients[2].rest().await, "");
    clients[1].ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    follow(4, "&a");
    assert_eq!(clients[1].rest().await, "");
    clients[0].ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    follow(5, "");
    assert_eq!(clients[0].rest().await, "");
}
