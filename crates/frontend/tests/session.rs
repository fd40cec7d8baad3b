//! Goal: a client is told what Redis would tell it, in the order in which it asked.
//!
//! Method: sessions over in-memory streams, a real router and a real engine behind them; replies
//! are compared byte by byte.

mod support;

use std::sync::atomic::Ordering::Relaxed;

use bitroster_frontend::Options;
use support::Harness;

fn with_password() -> Harness {
    Harness::ready(Options { password: Some("secret".to_owned()), ..Options::default() })
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order_whoever_answers() {
    let mut client = Harness::ready(Options::default()).connect();
    client
        .ask(
            "PING\nSETBIT k 7 1\nGETBIT k 7\nECHO hello\nSETBIT k 7 0\nGETBIT k 7\nNOPE\n\
             SETBIT k x 1\nGET k\nMSET a 1 b 2\nMGET a b c\nDBSIZE",
            "+PONG\r\n:0\r\n:1\r\n$5\r\nhello\r\n:1\r\n:0\r\n\
             -ERR unknown command 'NOPE', with args beginning with: \r\n\
             -ERR bit offset is not an integer or out of range\r\n$1\r\n\0\r\n+OK\r\n\
             *3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n:3\r\n",
        )
        .await;
}

#[tokio::test]
async fn a_long_pipeline_sent_in_pieces_loses_nothing() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    let mut requests = String::new();
    let mut expected = String::new();
    for offset in 0..3000 {
        requests += &format!("*4\r\n$6\r\nSETBIT\r\n$1\r\nk\r\n$4\r\n{:04}\r\n", offset + 1000);
        requests += "$1\r\n1\r\n";
        expected += ":0\r\n";
    }
    for piece in requests.as_bytes().chunks(977).collect::<Vec<_>>().chunks(8) {
        for bytes in piece {
            client.send(bytes).await;
        }
    }
    client.expect(&expected).await;
    client.ask("BITCOUNT k", ":3000\r\n").await;
}

#[tokio::test]
async fn a_large_value_comes_and_goes_whole() {
    let mut client = Harness::ready(Options::default()).connect();
    let value = "x".repeat(3 << 20);
    let len = value.len();
    let mut writer = client;
    let request = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${len}\r\n{value}\r\n");
    writer.send(request).await;
    writer.expect("+OK\r\n").await;
    client = writer;
    client.ask("GET big", &format!("${len}\r\n{value}\r\n")).await;
    client.ask("STRLEN big", &format!(":{len}\r\n")).await;
}

#[tokio::test]
async fn exec_answers_each_queued_command_in_its_place() {
    let mut client = Harness::ready(Options::default()).connect();
    client
        .ask(
            "MULTI\nSETBIT k 1 1\nPING\nSETBIT k 0 x\nGETBIT k 1\nEXEC",
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n:0\r\n+PONG\r\n\
         -ERR bit is not an integer or out of range\r\n:1\r\n",
        )
        .await;
    client.ask("MULTI\nEXEC", "+OK\r\n*0\r\n").await;
    client.ask("EXEC", "-ERR EXEC without MULTI\r\n").await;
    client.ask("DISCARD", "-ERR DISCARD without MULTI\r\n").await;
}

#[tokio::test]
async fn a_mistake_while_queueing_aborts_exec_and_a_nested_multi_does_not() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("MULTI\nSET k", "+OK\r\n-ERR wrong number of arguments for 'set' command\r\n").await;
    client
        .ask(
            "SET k 1\nEXEC",
            "+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n",
        )
        .await;
    client.ask("GET k", "$-1\r\n").await;
    client
        .ask(
            "MULTI\nNOPE a\nEXEC",
            "+OK\r\n-ERR unknown command 'NOPE', with args beginning with: 'a' \r\n\
         -EXECABORT Transaction discarded because of previous errors.\r\n",
        )
        .await;
    client
        .ask(
            "MULTI\nMULTI\nWATCH k\nSET k 2\nEXEC",
            "+OK\r\n-ERR MULTI calls can not be nested\r\n\
         -ERR WATCH inside MULTI is not allowed\r\n+QUEUED\r\n*1\r\n+OK\r\n",
        )
        .await;
    client.ask("MULTI\nSET k 3\nDISCARD\nGET k", "+OK\r\n+QUEUED\r\n+OK\r\n$1\r\n2\r\n").await;
}

#[tokio::test]
async fn a_transaction_neither_saves_nor_stops_the_node() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    for command in ["SAVE", "SHUTDOWN"] {
        client
            .ask(
                &format!("MULTI\nSET k 1\n{command}\nEXEC\nGET k"),
                "+OK\r\n+QUEUED\r\n-ERR Command not allowed inside a transaction\r\n\
                 -EXECABORT Transaction discarded because of previous errors.\r\n$-1\r\n",
            )
            .await;
    }
    let status = &harness.status;
    assert_eq!((status.snapshots.load(Relaxed), status.stops.load(Relaxed)), (0, 0));
}

#[tokio::test]
async fn a_watched_key_that_changes_stops_the_transaction() {
    let harness = Harness::ready(Options::default());
    let (mut watcher, mut other) = (harness.connect(), harness.connect());
    watcher.ask("SET k 1\nWATCH k", "+OK\r\n+OK\r\n").await;
    other.ask("SET k 2", "+OK\r\n").await;
    watcher.ask("MULTI\nSET k 3\nEXEC\nGET k", "+OK\r\n+QUEUED\r\n*-1\r\n$1\r\n2\r\n").await;
    watcher.ask("WATCH k\nMULTI\nSET k 4\nEXEC", "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n").await;
    watcher.ask("WATCH k\nUNWATCH\nSET k 5", "+OK\r\n+OK\r\n+OK\r\n").await;
    watcher.ask("MULTI\nGET k\nEXEC", "+OK\r\n+QUEUED\r\n*1\r\n$1\r\n5\r\n").await;
}

#[tokio::test]
async fn a_key_watched_again_is_one_watch_with_its_first_state() {
    let harness = Harness::ready(Options::default());
    let (mut watcher, mut other) = (harness.connect(), harness.connect());
    watcher.ask("WATCH k k j\nWATCH k", "+OK\r\n+OK\r\n").await;
    other.ask("SET k 1", "+OK\r\n").await;
    watcher.ask("WATCH k\nMULTI\nEXEC", "+OK\r\n+OK\r\n*-1\r\n").await;
}

#[tokio::test]
async fn hello_answers_a_map_of_seven_and_changes_the_protocol() {
    let mut client = Harness::ready(Options::default()).connect();
    let rows = |proto: char| {
        format!(
            "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n8.2.0\r\n$5\r\nproto\r\n\
             :{proto}\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n\
             $6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
        )
    };
    client.ask("HELLO", &format!("*14\r\n{}", rows('2'))).await;
    client.ask("GET none\nHELLO 3\nGET none", &format!("$-1\r\n%7\r\n{}_\r\n", rows('3'))).await;
    client.ask("HELLO 4", "-NOPROTO unsupported protocol version\r\n").await;
    client.ask("CONFIG GET databases", "%1\r\n$9\r\ndatabases\r\n$1\r\n1\r\n").await;
    client
        .ask(
            "MULTI\nHELLO 2\nEXEC",
            "+OK\r\n-ERR Command not allowed inside a transaction\r\n\
         -EXECABORT Transaction discarded because of previous errors.\r\n",
        )
        .await;
    client.ask("RESET\nGET none", "+RESET\r\n$-1\r\n").await;
}

#[tokio::test]
async fn nothing_but_a_greeting_is_answered_before_the_password() {
    let harness = with_password();
    let mut client = harness.connect();
    client.ask("GET k", "-NOAUTH Authentication required.\r\n").await;
    client.ask("PING", "-NOAUTH Authentication required.\r\n").await;
    client.ask("SET k", "-ERR wrong number of arguments for 'set' command\r\n").await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.ask("AUTH wrong", wrong).await;
    client.ask("AUTH nobody secret", wrong).await;
    client
        .ask(
            "HELLO 3",
            "-NOAUTH HELLO must be called with the client already authenticated, \
         otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
         client and select the RESP protocol version at the same time\r\n",
        )
        .await;
    client.ask("HELLO 3 AUTH default wrong", wrong).await;
    client.ask("AUTH secret\nGET k", "+OK\r\n$-1\r\n").await;
    client.ask("CONFIG GET requirepass", "*2\r\n$11\r\nrequirepass\r\n$8\r\n(hidden)\r\n").await;
    client.ask("RESET\nGET k", "+RESET\r\n-NOAUTH Authentication required.\r\n").await;
    let mut other = harness.connect();
    other.ask("AUTH default secret\nPING", "+OK\r\n+PONG\r\n").await;
}

#[tokio::test]
async fn a_client_without_the_password_may_not_send_much() {
    let harness = with_password();
    let mut client = harness.connect();
    client.send("*11\r\n").await;
    let rest = client.rest().await;
    assert_eq!(rest, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let mut client = harness.connect();
    client.ask("AUTH secret", "+OK\r\n").await;
    client.send("*11\r\n$3\r\nDEL\r\n".to_owned() + &"$1\r\nk\r\n".repeat(10)).await;
    client.expect(":0\r\n").await;
}

#[tokio::test]
async fn auth_without_a_password_set_says_so() {
    let mut client = Harness::ready(Options::default()).connect();
    client
        .ask(
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the \
         default user. Are you sure your configuration is correct?\r\n",
        )
        .await;
    client.ask("AUTH default anything", "+OK\r\n").await;
}

#[tokio::test]
async fn a_breach_of_the_protocol_is_answered_after_what_came_before_and_closes() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.send("PING\r\n*1\r\nfoo\r\nPING\r\n").await;
    assert_eq!(client.rest().await, "+PONG\r\n-ERR Protocol error: expected '$', got 'f'\r\n");
    let mut client = harness.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    let mut client = harness.connect();
    client.send("QUIT\r\nPING\r\n").await;
    assert_eq!(client.rest().await, "+OK\r\n");
}

#[tokio::test]
async fn while_loading_only_what_needs_no_data_is_answered() {
    let harness = Harness::loading(Options::default());
    let mut client = harness.connect();
    client.ask("GET k", "-LOADING Bitroster is loading the dataset in memory\r\n").await;
    client.ask("SETBIT k 1 1", "-LOADING Bitroster is loading the dataset in memory\r\n").await;
    assert!(client.ask_text("INFO persistence").await.contains("\r\nloading:1\r\n"));
    harness.frontend.set_ready();
    harness.give_map();
    client.ask("GET k", "$-1\r\n").await;
    assert!(client.ask_text("INFO persistence").await.contains("\r\nloading:0\r\n"));
}

#[tokio::test]
async fn above_maxmemory_what_may_grow_is_refused_and_the_rest_goes_on() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    let refusal = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    client.ask("SET k 1\nMULTI\nSET k 2", "+OK\r\n+OK\r\n+QUEUED\r\n").await;
    harness.is_over_memory.store(true, Relaxed);
    client
        .ask(
            "EXEC",
            "-EXECABORT Transaction discarded because of: OOM command not allowed when \
         used memory > 'maxmemory'.\r\n",
        )
        .await;
    client.ask("SETBIT k 1 1\nGET k\nDEL k", &format!("{refusal}$1\r\n1\r\n:1\r\n")).await;
    harness.is_over_memory.store(false, Relaxed);
    client.ask("SETBIT k 1 1", ":0\r\n").await;
}

#[tokio::test]
async fn client_reply_holds_back_what_it_was_asked_to() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("CLIENT REPLY SKIP\nPING\nECHO a", "$1\r\na\r\n").await;
    client
        .ask("CLIENT REPLY OFF\nPING\nSET k 1\nCLIENT REPLY ON\nGET k", "+OK\r\n$1\r\n1\r\n")
        .await;
}

#[tokio::test]
async fn no_more_clients_than_maxclients_are_served() {
    let harness = Harness::ready(Options { clients_max: 1, ..Options::default() });
    let mut first = harness.connect();
    first.ask("PING", "+PONG\r\n").await;
    let mut second = harness.connect();
    assert_eq!(second.rest().await, "-ERR max number of clients reached\r\n");
    first.ask("CONFIG SET maxclients 2", "+OK\r\n").await;
    let mut third = harness.connect();
    third.ask("PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn a_killed_client_ends_although_it_says_nothing() {
    let harness = Harness::ready(Options::default());
    let (mut victim, mut killer) = (harness.connect(), harness.connect());
    victim.ask("CLIENT SETNAME poor", "+OK\r\n").await;
    killer.ask("CLIENT KILL ID 77", ":0\r\n").await;
    killer.ask("CLIENT KILL ID 1", ":1\r\n").await;
    assert_eq!(victim.rest().await, "");
    killer.ask("PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn the_end_lets_every_client_have_its_replies() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("SET k 1", "+OK\r\n").await;
    client.send("GET k\r\n").await;
    let left = harness.frontend.shutdown(std::time::Duration::from_secs(20)).await;
    assert_eq!(left, 0);
    assert_eq!(client.rest().await, "$1\r\n1\r\n");
}
