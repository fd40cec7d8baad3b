//! Goal: what a user may not do is refused, by whatever way it is asked; users are the same on
//! every node and after every start; no password is ever seen again.
//!
//! Method: real processes, a lone node and a cluster with two routers. A user with few rights asks
//! for what it may not, plainly, in transactions, as a source and as a destination; connections
//! are open while rules change; then logs, lists and errors are searched for the passwords.

use bitroster_resp::Frame;
use bitroster_suite::{Client, Cluster, Server, conformance::grpc::execute, wait};
use tonic::Code;

/// A password that nothing else looks like.
const SECRET: &str = "hunter2-0f1e2d3c4b5a";

/// The password of the user `default`.
const ROOT: &str = "root-9a8b7c6d5e4f";

fn text(frame: &Frame) -> String {
    if let Frame::Simple(text) | Frame::Error(text) | Frame::Bulk(text) = frame {
        return String::from_utf8_lossy(text).into_owned();
    }
    let Frame::Array(frames) = frame else { return format!("{frame:?}") };
    frames.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn ask(client: &mut Client, request: &str) -> String {
    text(&client.words(request).expect("an answer"))
}

fn wants(client: &mut Client, request: &str, reply: &str) {
    assert_eq!(ask(client, request), reply, "{request}");
}

const NO_KEY: &str = "NOPERM No permissions to access a key";

const RULES: &str = "on >hunter2-0f1e2d3c4b5a ~own:* %R~shared:* &news -@all +@bitmap +get +set \
                     +multi +exec +ping +acl|whoami";

/// A connection that is the user `alice`.
fn alice(server: &Server) -> Client {
    let mut client = server.client();
    wants(&mut client, &format!("AUTH alice {SECRET}"), "OK");
    client
}

#[test]
fn what_is_not_allowed_is_refused_by_whatever_way_it_is_asked() {
    let server = Server::bitroster(&[]);
    let mut root = server.client();
    wants(&mut root, &format!("ACL SETUSER alice {RULES}"), "OK");
    wants(&mut root, "SETBIT shared:a 1 1", "Integer(0)");
    let mut client = alice(&server);
    wants(&mut client, "ACL WHOAMI", "alice");
    wants(&mut client, "SETBIT own:a 1 1", "Integer(0)");
    wants(&mut client, "GETBIT shared:a 1", "Integer(1)");
    wants(&mut client, "BITOP AND own:b own:a shared:a", "Integer(1)");
    for request in [
        "SETBIT shared:a 1 0",
        "GET other",
        "BITOP AND shared:b own:a own:a",
        "BITOP AND own:b own:a other",
        "BM.QUERY COUNT own:a|other",
        "BM.QUERY STORE shared:b own:a",
        "BM.PURGE 1 MATCH own:*",
    ] {
        wants(&mut client, request, NO_KEY);
    }
    wants(
        &mut client,
        "DEL own:a",
        "NOPERM User alice has no permissions to run the 'del' command",
    );
    let refusal = "NOPERM User alice has no permissions to run the 'acl|setuser' command";
    wants(&mut client, "ACL SETUSER alice +@all", refusal);
    // A refusal while commands are queued spoils the transaction.
    wants(&mut client, "MULTI", "OK");
    wants(&mut client, "SETBIT own:a 9 1", "QUEUED");
    wants(&mut client, "SETBIT other 9 1", NO_KEY);
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    wants(&mut client, "EXEC", aborted);
    wants(&mut client, "GETBIT own:a 9", "Integer(0)");
    let log = ask(&mut root, "ACL LOG");
    assert!(log.contains("alice") && log.contains("acl|setuser"), "{log}");
}

#[test]
fn what_is_not_allowed_is_refused_over_grpc_too() {
    let server = Server::bitroster(&[]);
    wants(&mut server.client(), &format!("ACL SETUSER alice {RULES}"), "OK");
    let asked = |password: &str, request: &str| {
        execute(server.grpc_address(), ("alice", password), request)
    };
    assert_eq!(asked(SECRET, "SETBIT own:a 1 1"), Ok(Frame::Integer(0)));
    for request in [
        "SETBIT shared:a 1 1",
        "BITOP AND own:b own:a other",
        "BITOP AND shared:b own:a own:a",
        "BM.QUERY COUNT own:a|other",
        "BM.QUERY STORE shared:b own:a",
        "BM.PURGE 1 MATCH own:*",
        "DEL own:a",
    ] {
        let (code, message) = asked(SECRET, request).expect_err(request);
        assert_eq!(code, Code::PermissionDenied, "{request}");
        assert!(message.starts_with("NOPERM "), "{request}: {message}");
    }
    let (code, message) = asked("wrong", "SETBIT own:a 1 1").expect_err("a wrong password");
    assert_eq!(code, Code::Unauthenticated, "{message}");
}

#[test]
fn changed_rules_count_for_open_connections_and_queued_commands() {
    let server = Server::bitroster(&[]);
    let mut root = server.client();
    wants(&mut root, &format!("ACL SETUSER alice {RULES}"), "OK");
    let mut client = alice(&server);
    wants(&mut client, "MULTI", "OK");
    wants(&mut client, "SETBIT own:a 9 1", "QUEUED");
    wants(&mut client, "GET own:a", "QUEUED");
    wants(&mut root, "ACL SETUSER alice -get", "OK");
    let replies = ask(&mut client, "EXEC");
    assert!(replies.starts_with("Integer(0)\nNOPERM ACLs rules changed between"), "{replies}");
    wants(&mut root, "ACL SETUSER alice allkeys allchannels allcommands", "OK");
    wants(&mut client, "SETBIT other 1 1", "Integer(0)");
    // A user that is turned off stays in where it is, and does not come in again.
    wants(&mut root, "ACL SETUSER alice off", "OK");
    wants(&mut client, "PING", "PONG");
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    wants(&mut server.client(), &format!("AUTH alice {SECRET}"), wrong);
    wants(&mut root, "ACL DELUSER alice nobody", "Integer(1)");
    assert_eq!(client.receive_until_closed().expect("the end"), b"");
    let users = ask(&mut root, "ACL USERS");
    assert_eq!(users, "default");
}

#[test]
fn users_of_a_lone_node_are_there_after_a_kill_and_before_the_first_client() {
    let mut server = Server::bitroster(&[]);
    let mut root = server.client();
    wants(&mut root, &format!("ACL SETUSER alice {RULES}"), "OK");
    wants(&mut root, &format!("ACL SETUSER default resetpass >{ROOT}"), "OK");
    let list = ask(&mut root, "ACL LIST");
    drop(root);
    for _ in 0..2 {
        server = server.restart();
        let mut client = server.client();
        wants(&mut client, "PING", "NOAUTH Authentication required.");
        wants(&mut client, &format!("AUTH {ROOT}"), "OK");
        assert_eq!(ask(&mut client, "ACL LIST"), list);
        wants(&mut alice(&server), "ACL WHOAMI", "alice");
    }
}

#[test]
fn no_password_is_seen_again() {
    let server = Server::bitroster(&[
        "--set",
        "log.level=debug",
        "--set",
        "server.requirepass=root-9a8b7c6d5e4f",
    ]);
    let mut root = server.client();
    let refused = ask(&mut root, &format!("AUTH {SECRET}"));
    wants(&mut root, &format!("AUTH {ROOT}"), "OK");
    let errors = [
        refused,
        ask(&mut root, &format!("ACL SETUSER alice <{SECRET}")),
        ask(&mut root, &format!("ACL SETUSER alice on >{SECRET} +@all")),
        ask(&mut root, &format!("ACL SETUSER alice !{SECRET}")),
        ask(&mut root, &format!("AUTH alice {ROOT}")),
        ask(&mut root, &format!("HELLO 2 AUTH alice {ROOT}")),
        ask(&mut root, "CONFIG GET *"),
        ask(&mut root, "SLOWLOG GET 100"),
        ask(&mut root, "ACL LOG"),
        ask(&mut root, "ACL LIST"),
        ask(&mut root, "ACL GETUSER alice"),
        ask(&mut root, "CLIENT LIST"),
        ask(&mut root, "INFO everything"),
        server.log(),
    ];
    for seen in errors {
        assert!(!seen.contains(SECRET) && !seen.contains(ROOT), "{seen}");
    }
}

#[test]
fn every_router_of_a_cluster_has_the_same_users_and_keeps_them() {
    let mut cluster = Cluster::builder(3, 2).start();
    let mut first = cluster.client_of(3);
    wants(&mut first, &format!("ACL SETUSER alice {RULES}"), "OK");
    let list = ask(&mut first, "ACL LIST");
    let mut second = cluster.client_of(4);
    wait::until("the second router knows the user", || {
        (ask(&mut second, "ACL LIST") == list).then_some(())
    });
    let mut client = cluster.client_of(4);
    wants(&mut client, &format!("AUTH alice {SECRET}"), "OK");
    wants(&mut client, "SETBIT own:a 1 1", "Integer(0)");
    wants(&mut client, "SETBIT other 1 1", NO_KEY);
    cluster.kill_all(&[0, 1, 2, 3, 4]);
    for at in 0..5 {
        cluster.start_node(at);
    }
    for at in 0..5 {
        cluster.wait_ready(at);
    }
    let mut first = cluster.client_of(3);
    assert_eq!(ask(&mut first, "ACL LIST"), list);
    let mut client = cluster.client_of(4);
    wants(&mut client, &format!("AUTH alice {SECRET}"), "OK");
    wants(&mut first, "ACL DELUSER alice", "Integer(1)");
    assert_eq!(client.receive_until_closed().expect("the other router closes it"), b"");
    for at in 0..5 {
        let log = cluster.node(at).log();
        assert!(!log.contains(SECRET), "{}", cluster.node(at).name());
    }
}
