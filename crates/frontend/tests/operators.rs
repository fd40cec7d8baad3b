//! Goal: what operators and their tools ask - slow log, latency, memory, pauses, registries that
//! are empty - is answered in Redis's shapes and words.
//!
//! Method: as in `session.rs`; the texts were compared with redis-server 7.0.

mod support;

use std::sync::atomic::Ordering::Relaxed;

use bitroster_frontend::{Options, Users};
use support::Harness;

#[tokio::test]
async fn slow_requests_are_kept_without_their_secrets() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("SLOWLOG LEN\nSLOWLOG GET", ":0\r\n*0\r\n").await;
    client.ask("CLIENT SETNAME app\nCONFIG SET slowlog-log-slower-than 0", "+OK\r\n+OK\r\n").await;
    client.ask("SLOWLOG RESET", "+OK\r\n").await;
    client.ask("SETBIT k 1 1", ":0\r\n").await;
    client.ask("AUTH me secret", "-WRONGPASS").await;
    client.skip_to("\r\n").await;
    client.ask("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n").await;
    // The newest first. CONFIG SET itself was done when nothing was slow any more.
    client.send("SLOWLOG GET -1\r\n").await;
    client.expect("*3\r\n*6\r\n").await;
    client.skip_to("*3\r\n$4\r\nAUTH\r\n$10\r\n(redacted)\r\n$10\r\n(redacted)\r\n").await;
    client.expect("$14\r\n127.0.0.1:5000\r\n$3\r\napp\r\n*6\r\n").await;
    client.skip_to("*4\r\n$6\r\nSETBIT\r\n$1\r\nk\r\n$1\r\n1\r\n$1\r\n1\r\n").await;
    client.skip_to("RESET\r\n$14\r\n127.0.0.1:5000\r\n$3\r\napp\r\n").await;
    client.ask("SLOWLOG LEN\nSLOWLOG RESET\nSLOWLOG LEN", ":3\r\n+OK\r\n:0\r\n").await;
    client.ask("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n").await;
    client.ask("SLOWLOG FOO", "-ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.\r\n").await;
}

#[tokio::test]
async fn latency_is_told_as_events_and_as_histograms() {
    let mut client = Harness::ready(Options::default()).connect();
    client
        .ask("LATENCY LATEST\nLATENCY HISTORY command\nLATENCY RESET", "*0\r\n*0\r\n:0\r\n")
        .await;
    assert!(client.ask_text("LATENCY DOCTOR").await.contains("latency-monitor-threshold"));
    client.ask("CONFIG SET latency-monitor-threshold 1", "+OK\r\n").await;
    client.ask("DEBUG SLEEP 0", "-ERR DEBUG command not allowed.").await;
    client.skip_to("server.\r\n").await;
    client.ask("CONFIG SET enable-debug-command local", "+OK\r\n").await;
    client.ask("DEBUG SLEEP 0.01", "+OK\r\n").await;
    client
        .ask(
            "DEBUG JMAP",
            "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.\r\n",
        )
        .await;
    client.send("LATENCY LATEST\r\n").await;
    client.expect("*1\r\n*4\r\n$7\r\ncommand\r\n").await;
    client.skip_to("\r\n").await;
    client.skip_to("\r\n").await;
    client.skip_to("\r\n").await;
    client.ask("LATENCY GRAPH other", "-ERR No samples available for event 'other'\r\n").await;
    client.ask("LATENCY RESET command", ":1\r\n").await;
    client.ask("SETBIT k 1 1", ":0\r\n").await;
    client
        .ask(
            "LATENCY HISTOGRAM setbit nothing",
            "*2\r\n$6\r\nsetbit\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n*2\r\n:",
        )
        .await;
    client.skip_to("\r\n:1\r\n").await;
    let stats = client.ask_text("INFO latencystats").await;
    assert!(stats.contains("latency_percentiles_usec_setbit:p50="), "{stats}");
}

#[tokio::test]
async fn every_command_is_counted_with_its_time_and_its_failures() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("SETBIT k 1 1\nSETBIT k 1 1\nGETBIT k 1", ":0\r\n:1\r\n:1\r\n").await;
    client.ask("SETBIT k x 1\nSETBIT k", "-ERR bit offset").await;
    client.skip_to("command\r\n").await;
    let stats = client.ask_text("INFO commandstats").await;
    let line = stats.lines().find(|line| line.starts_with("cmdstat_setbit:")).unwrap();
    assert!(line.starts_with("cmdstat_setbit:calls=3,usec="), "{line}");
    assert!(line.ends_with(",rejected_calls=1,failed_calls=1"), "{line}");
    client.ask("CONFIG RESETSTAT", "+OK\r\n").await;
    assert!(!client.ask_text("INFO commandstats").await.contains("setbit"));
}

#[tokio::test]
async fn a_pause_holds_writes_until_it_ends() {
    let harness = Harness::ready(Options::default());
    let (mut operator, mut writer) = (harness.connect(), harness.connect());
    operator.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n").await;
    writer.ask("GETBIT k 1", ":0\r\n").await;
    writer.ask("MULTI\nSETBIT k 1 1", "+OK\r\n+QUEUED\r\n").await;
    // The read's reply does not wait with the write.
    writer.send("EXEC\r\n").await;
    let mut second = harness.connect();
    second.send("GETBIT k 1\r\nSETBIT k 1 1\r\nGETBIT k 1\r\n").await;
    second.expect(":0\r\n").await;
    operator.ask("GETBIT k 1\nCLIENT UNPAUSE", ":0\r\n+OK\r\n").await;
    writer.expect("*1\r\n:").await;
    second.skip_to(":1\r\n").await;
    operator.ask("CLIENT PAUSE 1", "+OK\r\n").await;
    operator.ask("GETBIT k 1", ":1\r\n").await;
    operator.ask("CLIENT PAUSE 10 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n").await;
    operator.ask("CLIENT PAUSE -1", "-ERR timeout is negative\r\n").await;
    operator.ask("CLIENT PAUSE abc", "-ERR timeout is not an integer or out of range\r\n").await;
}

#[tokio::test]
async fn a_held_client_can_be_ended() {
    let harness = Harness::ready(Options::default());
    let (mut operator, mut writer) = (harness.connect(), harness.connect());
    operator.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n").await;
    writer.ask("CLIENT ID", ":2\r\n").await;
    writer.send("SETBIT k 1 1\r\n").await;
    operator.ask("CLIENT KILL ID 2", ":1\r\n").await;
    assert_eq!(writer.rest().await, "");
    operator.ask("GETBIT k 1", ":0\r\n").await;
}

#[tokio::test]
async fn what_there_is_none_of_is_an_empty_registry() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("MODULE LIST\nFUNCTION LIST\nFUNCTION FLUSH", "*0\r\n*0\r\n+OK\r\n").await;
    client
        .ask(
            "FUNCTION STATS",
            "*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n*4\r\n",
        )
        .await;
    client.skip_to("functions_count\r\n:0\r\n").await;
    client.ask("SCRIPT EXISTS a b\nSCRIPT FLUSH", "*2\r\n:0\r\n:0\r\n+OK\r\n").await;
    client.ask("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n").await;
    client
        .ask(
            "SCRIPT LOAD \"return 1\"",
            "-ERR scripts and functions are not supported by Bitroster\r\n",
        )
        .await;
    client.ask("CLIENT TRACKINGINFO", "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n").await;
    client.skip_to("*0\r\n").await;
    client.ask("CLIENT GETREDIR\nCLIENT UNBLOCK 3", ":-1\r\n:0\r\n").await;
    client.ask("SWAPDB 0 0", "+OK\r\n").await;
    client.ask("READONLY", "-ERR This instance has cluster support disabled\r\n").await;
}

#[tokio::test]
async fn keys_and_memory_are_told_of_as_far_as_they_are_known() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("SETBIT k 1 1", ":0\r\n").await;
    client
        .ask("OBJECT IDLETIME k\nOBJECT REFCOUNT k\nOBJECT REFCOUNT nokey", ":0\r\n:1\r\n$-1\r\n")
        .await;
    client.ask("OBJECT FREQ k", "-ERR An LFU maxmemory policy is not selected").await;
    client.skip_to("adjust.\r\n").await;
    client.ask("OBJECT FOO k", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.\r\n").await;
    client.ask("MEMORY PURGE", "+OK\r\n").await;
    assert!(client.ask_text("MEMORY DOCTOR").await.contains("very little data"));
    client.ask("MEMORY STATS", "*54\r\n$14\r\npeak.allocated\r\n:0\r\n").await;
    client.skip_to("$19\r\nfragmentation.bytes\r\n:0\r\n").await;
    client.ask("SAVE\nBGREWRITEAOF", "+OK\r\n+Background append only").await;
    client.skip_to("started\r\n").await;
    assert_eq!(harness.status.snapshots.load(Relaxed), 2);
    client.ask("SHUTDOWN SAVE NOSAVE", "-ERR syntax error\r\n").await;
    client.ask("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n").await;
    assert_eq!(harness.status.stops.load(Relaxed), 0);
    client.ask("SHUTDOWN NOSAVE NOW", "+OK\r\n").await;
    assert_eq!(harness.status.stops.load(Relaxed), 1);
}

#[tokio::test]
async fn sub_commands_and_the_access_of_keys_are_shown() {
    let mut client = Harness::ready(Options::default()).connect();
    client
        .ask(
            "COMMAND GETKEYSANDFLAGS BITOP AND d a",
            "*2\r\n*2\r\n$1\r\nd\r\n*2\r\n+OW\r\n+update\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n\
            +access\r\n",
        )
        .await;
    client.ask("COMMAND INFO slowlog|get", "*1\r\n*10\r\n$11\r\nslowlog|get\r\n").await;
    client.skip_to("*0\r\n*0\r\n*0\r\n").await;
    client.ask("COMMAND LIST FILTERBY PATTERN slowlog|g*", "*1\r\n$11\r\nslowlog|get\r\n").await;
    client.ask("COMMAND GETKEYS PING a", "-ERR The command has no key arguments\r\n").await;
    client
        .ask("COMMAND GETKEYS", "-ERR wrong number of arguments for 'command|getkeys' command\r\n")
        .await;
}

/// Users of a cluster, by name.
fn users(list: &[(&str, &str)]) -> Users {
    list.iter().map(|(name, rules)| (name.as_bytes().to_vec(), rules.as_bytes().to_vec())).collect()
}

#[tokio::test]
async fn a_held_command_runs_by_the_rights_of_the_pauses_end() {
    let harness = Harness::ready(Options::default());
    harness.frontend.follow_users(1, &users(&[("alice", "on nopass ~* &* +@all")]));
    let (mut alice, mut operator) = (harness.connect(), harness.connect());
    alice.ask("AUTH alice x", "+OK\r\n").await;
    operator.ask("CLIENT PAUSE 1000000", "+OK\r\n").await;
    alice.send("SET k 1\r\nGET k\r\n").await;
    while !operator.ask_text("CLIENT LIST").await.contains(" cmd=set ") {
        tokio::task::yield_now().await;
    }
    harness.frontend.follow_users(2, &users(&[("alice", "on nopass %R~* &* +@all")]));
    operator.ask("CLIENT UNPAUSE", "+OK\r\n").await;
    alice.expect("-NOPERM No permissions to access a key\r\n$-1\r\n").await;
}
