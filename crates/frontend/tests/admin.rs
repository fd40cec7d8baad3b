//! Goal: what clients, exporters and tools ask about the server is answered as Redis answers it.
//!
//! Method: as in `session.rs`.

mod support;

use std::sync::atomic::Ordering::Relaxed;

use bitroster_frontend::Options;
use support::Harness;

#[tokio::test]
async fn info_has_the_sections_and_fields_that_exporters_read() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client
        .ask(
            "SETBIT k 1 1\nNOPE",
            ":0\r\n-ERR unknown command 'NOPE', with args beginning with: \r\n",
        )
        .await;
    client.ask("CONFIG RESETSTAT", "+OK\r\n").await;
    client
        .ask("SETBIT k 1 1\nGET", ":1\r\n-ERR wrong number of arguments for 'get' command\r\n")
        .await;
    let usual = client.ask_text("INFO").await;
    for part in [
        "# Server\r\nredis_version:8.2.0\r\n",
        "\r\n\r\n# Clients\r\nconnected_clients:1\r\n",
        "\r\nused_memory:0\r\n",
        "\r\nmaxmemory_policy:noeviction\r\n",
        "\r\nloading:0\r\n",
        "\r\nrole:master\r\n",
        "\r\ncluster_enabled:0\r\n",
        "\r\ntotal_error_replies:1\r\n",
        "\r\nerrorstat_ERR:count=1\r\n",
        "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n",
    ] {
        assert!(usual.contains(part), "{part:?} is missing from:\n{usual}");
    }
    assert!(!usual.contains("cmdstat_"));
    assert!(client.ask_text("INFO commandstats").await.contains("cmdstat_setbit:calls=1,usec="));
    let two = client.ask_text("INFO keyspace cluster").await;
    assert_eq!(
        two,
        "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n"
    );
    let all = client.ask_text("INFO ALL").await;
    assert!(all.contains("cmdstat_info:calls=3") && all.contains("# Server"));
}

#[tokio::test]
async fn config_is_read_by_pattern_and_changed_where_it_may() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n").await;
    client.ask("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n").await;
    client.ask("CONFIG GET nothing*", "*0\r\n").await;
    client
        .ask(
            "CONFIG GET max*mory data?ases",
            "*4\r\n$9\r\ndatabases\r\n$1\r\n1\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n",
        )
        .await;
    client.ask("CONFIG SET maxmemory 100 timeout 5", "+OK\r\n").await;
    client.ask("CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n5\r\n").await;
    client.ask("CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$3\r\n100\r\n").await;
    client
        .ask(
            "CONFIG SET nope 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'\r\n",
        )
        .await;
    client
        .ask(
            "CONFIG SET timeout soon",
            "-ERR CONFIG SET failed (possibly related to argument \
         'timeout') - argument couldn't be parsed into an integer\r\n",
        )
        .await;
    client
        .ask(
            "CONFIG SET port 1",
            "-ERR CONFIG SET failed (possibly related to argument 'port') \
         - can't set immutable config\r\n",
        )
        .await;
    client.ask("CONFIG REWRITE", "-ERR The server is running without a config file\r\n").await;
    client.ask("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n").await;
    client.ask("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n").await;
    client.ask("CONFIG SET requirepass s\nPING", "+OK\r\n+PONG\r\n").await;
    harness.connect().ask("PING", "-NOAUTH Authentication required.\r\n").await;
}

#[tokio::test]
async fn what_clients_say_on_connecting_is_understood_or_cleanly_refused() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("CLIENT SETNAME app\nCLIENT GETNAME\nCLIENT ID", "+OK\r\n$3\r\napp\r\n:1\r\n").await;
    client
        .ask("CLIENT SETINFO LIB-NAME redis-py\nCLIENT SETINFO lib-ver 8.0", "+OK\r\n+OK\r\n")
        .await;
    client.ask("CLIENT SETINFO COLOUR red", "-ERR Unrecognized option 'COLOUR'\r\n").await;
    client
        .ask(
            "CLIENT SETNAME \"a b\"",
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
        )
        .await;
    client
        .ask(
            "CLIENT MAINT_NOTIFICATIONS ON",
            "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n",
        )
        .await;
    client
        .ask(
            "CLIENT NO-EVICT ON\nCLIENT NO-TOUCH OFF\nCLIENT TRACKING OFF",
            "+OK\r\n+OK\r\n+OK\r\n",
        )
        .await;
    client.ask("CLIENT TRACKING ON", "-ERR CLIENT TRACKING is not supported\r\n").await;
    client.ask("SELECT 0", "+OK\r\n").await;
    client.ask("SELECT 1", "-ERR DB index is out of range\r\n").await;
    client.ask("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n").await;
    let line = client.ask_text("CLIENT LIST").await;
    assert!(line.starts_with("id=1 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 "), "{line}");
    assert!(line.contains(" name=app ") && line.contains(" cmd=client "), "{line}");
    assert!(line.ends_with(" lib-name=redis-py lib-ver=8.0\n"), "{line}");
    assert_eq!(client.ask_text("CLIENT LIST TYPE pubsub").await, "");
}

#[tokio::test]
async fn the_command_table_is_shown_to_clients() {
    let mut client = Harness::ready(Options::default()).connect();
    client.ask("COMMAND INFO getbit nope",
        "*2\r\n*10\r\n$6\r\ngetbit\r\n:3\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n\
         +@bitmap\r\n+@read\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n\
         +access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
         *2\r\n$5\r\n\
         index\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n\
         *6\r\n$7\r\n\
         lastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*-1\r\n").await;
    client.ask("COMMAND GETKEYS BITOP AND d a b", "*3\r\n$1\r\nd\r\n$1\r\na\r\n$1\r\nb\r\n").await;
    client.ask("COMMAND LIST FILTERBY PATTERN setb*", "*1\r\n$6\r\nsetbit\r\n").await;
    client.ask("COMMAND DOCS nope", "*0\r\n").await;
    let count = bitroster_command::COMMANDS.len();
    client.ask("COMMAND COUNT", &format!(":{count}\r\n")).await;
    client.ask("HELLO 3", "%7\r\n").await;
}

#[tokio::test]
async fn the_server_answers_for_itself() {
    let harness = Harness::ready(Options::default());
    let mut client = harness.connect();
    client.ask("CLUSTER KEYSLOT {user1000}.following", ":3443\r\n").await;
    assert!(client.ask_text("CLUSTER INFO").await.starts_with("cluster_state:ok\r\n"));
    client.ask("BGSAVE\nLASTSAVE", "+Background saving started\r\n:1700000000\r\n").await;
    assert_eq!(harness.status.snapshots.load(Relaxed), 1);
    client.ask("WAIT 0 100", ":0\r\n").await;
    client.send("TIME\r\n").await;
    client.expect("*2\r\n$10\r\n").await;
}

#[tokio::test]
async fn a_node_without_keys_of_its_own_shows_the_clusters() {
    let harness = Harness::loading(Options::default());
    harness.status.is_bare.store(true, Relaxed);
    let mut client = harness.connect();
    assert_eq!(client.ask_text("INFO keyspace").await, "# Keyspace\r\n");
    harness.frontend.set_ready();
    harness.give_map();
    assert_eq!(client.ask_text("INFO keyspace").await, "# Keyspace\r\n");
    client.ask("MSET a 1 b 2", "+OK\r\n").await;
    let keyspace = "# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n";
    assert_eq!(client.ask_text("INFO keyspace").await, keyspace);
    assert!(client.ask_text("INFO").await.ends_with(keyspace));
    let queued = format!("+OK\r\n+QUEUED\r\n*1\r\n${}\r\n{keyspace}\r\n", keyspace.len());
    client.ask("MULTI\nINFO keyspace\nEXEC", &queued).await;
}
