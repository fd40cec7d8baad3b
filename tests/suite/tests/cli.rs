//! Goal: the command line tells people and scripts the truth about servers and clusters.
//!
//! Method: the real program runs against real processes: Bitroster, redis-server, and a cluster of
//! three shard nodes and a router of which one is killed. Where redis-cli does the same, both must
//! print the same bytes. Exit codes are what `docs/cli.md` says.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use bitroster_suite::{
    Cluster, Server,
    server::{binary, workspace},
};
use serde_json::Value;

/// Variables that would change what the program does.
const SETTINGS: [&str; 5] = [
    "BITROSTER_ADDR",
    "BITROSTER_CONFIG",
    "BITROSTER_NODE",
    "BITROSTER_PASSWORD",
    "BITROSTER_USER",
];

/// A command line of the program, in an environment without settings of whoever runs the test.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for name in SETTINGS {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    program(args).output().expect("bitroster starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command line that must end with this exit code; what it printed.
fn ends(code: i32, args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}{}",
        stdout(&output),
        stderr(&output)
    );
    stdout(&output)
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ends(0, args)).expect("one JSON value")
}

/// Feeds a script to a command's standard input.
fn fed(mut command: Command, script: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(script).expect("the program reads it all");
    child.wait_with_output().expect("the program ends")
}

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

/// Commands with replies of every kind, of which both servers give the same.
const SCRIPT: &[u8] = b"SETBIT k 7 1\r\nGETBIT k 7\nGET k\nGET absent\nSET \"a key\" 'it\\'s'\n\
    GET \"a key\"\n\nMSET x 1 y \"\\x00\\xff\"\nMGET x y nothing\nNOSUCHCOMMAND a b\n\
    BITFIELD f SET u8 0 200 GET u4 0\nMULTI\nINCR n\nBITCOUNT k\nEXEC\nDISCARD\nGET y\n\
    SET \"unbalanced\nSCAN 0 MATCH nothing*\nEXISTS k\nDEL k n f x y \"a key\"\n";

#[test]
fn a_script_prints_what_redis_cli_prints_with_either_server() {
    for server in [Server::redis(), Server::bitroster(&["--groups", "3"])] {
        let mut redis_cli = Command::new("redis-cli");
        redis_cli.args(["-p", &server.port().to_string()]);
        let theirs = fed(redis_cli, SCRIPT);
        let ours = fed(program(&["cli", "--addr", &address(&server)]), SCRIPT);
        assert_eq!(stdout(&ours), stdout(&theirs));
        // Some of it was refused, and a script must not pass over that.
        assert_eq!(ours.status.code(), Some(1), "{}", stderr(&ours));
        assert!(stderr(&ours).contains("the first is line 10"), "{}", stderr(&ours));
    }
}

#[test]
fn one_command_prints_its_reply_in_the_form_that_is_wanted() {
    for server in [Server::redis(), Server::bitroster(&["--groups", "1"])] {
        let at = address(&server);
        let cli = |form: &str, command: &[&str]| {
            let args = [&["cli", "--addr", at.as_str(), "--output", form], command].concat();
            ends(0, &args)
        };
        assert_eq!(cli("auto", &["SETBIT", "k", "7", "1"]), "0\n");
        assert_eq!(cli("pretty", &["GETBIT", "k", "7"]), "(integer) 1\n");
        assert_eq!(cli("pretty", &["MGET", "k", "absent"]), "1) \"\\x01\"\n2) (nil)\n");
        assert_eq!(cli("json", &["MGET", "k", "absent"]), "[\"\\u0001\",null]\n");
        // An argument that looks like an option is the command's.
        assert_eq!(cli("raw", &["BITCOUNT", "k", "0", "-1"]), "1\n");
        assert!(cli("pretty", &["INFO", "server"]).starts_with("# Server\r\n"));
        let refused = ends(1, &["cli", "--addr", &at, "NOSUCHCOMMAND"]);
        assert!(refused.starts_with("ERR unknown command"), "{refused}");
        let three =
            ends(0, &["cli", "--addr", &at, "--resp3", "-o", "json", "CONFIG", "GET", "maxmemory"]);
        assert!(three.starts_with("{\"maxmemory\":"), "{three}");
    }
}

#[test]
fn exit_codes_say_why_it_failed() {
    let nobody = nowhere();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let password_file = file.to_str().expect("a name");
    for command in [
        &["cli", "--addr", &nobody, "PING"][..],
        &["query", "--addr", &nobody, "a & b"],
        &["top", "--addr", &nobody, "--once"],
        &["cluster", "status", "--addr", &nobody],
        &["healthcheck", "--admin", &nobody],
    ] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(3), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: ") && stderr(&output).contains(&nobody));
    }
    ends(1, &["doctor", "--addr", &nobody]);
    let server = Server::bitroster(&["--groups", "1", "--set", "server.requirepass=right"]);
    let at = address(&server);
    let cli = ["cli", "--addr", &at, "--password-file", password_file, "PING"];
    fs::write(&file, "wrong\n").expect("the password's file");
    ends(4, &cli);
    ends(4, &["cli", "--addr", &at, "PING"]);
    fs::write(&file, "right\n").expect("the password's file");
    assert_eq!(ends(0, &cli), "PONG\n");
    let by_environment = program(&["cli", "--addr", &at, "PING"])
        .env("BITROSTER_PASSWORD", "right")
        .output()
        .expect("bitroster starts");
    assert_eq!(stdout(&by_environment), "PONG\n");
    ends(2, &["cli", "--output", "nonsense", "PING"]);
    ends(2, &["query", "a & (b |"]);
}

#[test]
fn a_query_counts_and_says_how_much_of_each_operand_is_in_it() {
    let server = Server::bitroster(&["--groups", "3"]);
    let at = address(&server);
    let mut client = server.client();
    for (key, first, last) in [("dau:2026-11-20", 0, 99), ("dau:2026-11-21", 50, 149)] {
        client.words(&format!("BM.SETRANGE {key} {first} {last}")).expect("an answer");
    }
    client.words("BM.SETRANGE premium 0 74").expect("an answer");
    client.words("BM.SETRANGE far 5000000 5000009").expect("an answer");
    let query = |rest: &[&str]| {
        let args = ["query", "--addr", &at, "--output", "json"];
        json(&args.iter().chain(rest).copied().collect::<Vec<_>>())
    };
    let found = query(&["dau:{2026-11-20..2026-11-21} & premium - far", "--list", "3"]);
    assert_eq!(found["count"], 75);
    assert_eq!(found["ids"], serde_json::json!([0, 1, 2]));
    let share = |key: &str| {
        let operands = found["operands"].as_array().expect("operands");
        let operand = operands.iter().find(|operand| operand["key"] == key).expect("the operand");
        (operand["count"].as_u64(), operand["in_result"].as_u64())
    };
    assert_eq!(share("dau:2026-11-20"), (Some(100), Some(75)));
    assert_eq!(share("dau:2026-11-21"), (Some(100), Some(25)));
    assert_eq!(share("far"), (Some(10), Some(0)));
    let stored = query(&["premium | far", "--store", "kept"]);
    assert_eq!((&stored["count"], &stored["stored"]), (&Value::from(85), &Value::from("kept")));
    assert_eq!(query(&["kept"])["count"], 85);
    let sample = query(&["far", "--sample", "4"]);
    let ids = sample["ids"].as_array().expect("ids");
    assert!(
        ids.len() == 4
            && ids.iter().all(|id| (5_000_000..=5_000_009).contains(&id.as_u64().unwrap_or(0)))
    );
    let table = ends(0, &["query", "--addr", &at, "premium & ~kept"]);
    assert!(table.starts_with("0 in ") && table.contains("\npremium"), "{table}");
    let slip = run(&["query", "--addr", &at, "a & (b |"]);
    assert!(stderr(&slip).contains("hint: a & (b |\n"), "{}", stderr(&slip));
}

/// The verdict of a check.
fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no check {name} in {report:#}"))["verdict"]
        .as_str()
        .expect("a verdict")
}

fn doctor(args: &[&str]) -> (Option<i32>, Value) {
    let args = ["doctor", "--output", "json"].iter().chain(args).copied().collect::<Vec<_>>();
    let output = run(&args);
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", stderr(&output))))
}

#[test]
fn doctor_and_status_see_that_a_shard_is_gone_and_top_shows_it() {
    let mut cluster = Cluster::builder(3, 1).start();
    cluster.wait_whole();
    let router = cluster.router_addresses()[0].to_string();
    let mut client = cluster.client();
    client.words("SETBIT k 7 1").expect("an answer");

    // From a clients' port alone, all nodes are found.
    let (code, report) = doctor(&["--addr", &router]);
    for name in ["nodes", "versions", "leaders", "majorities", "replicas", "slots", "links"] {
        assert_eq!(verdict(&report, name), "PASS", "{name} of {report:#}");
    }
    // How fast disk and network are is not this test's.
    let failed = report["fail"].as_u64().expect("a number");
    assert_eq!(code, Some(i32::from(failed > 0)), "{report:#}");
    let count = report["checks"].as_array().map_or(0, Vec::len);
    assert!(count >= 15, "{count} checks: {report:#}");
    assert_eq!(cluster.command(0, &["status"]).status.code(), Some(0));
    let top = ends(0, &["top", "--addr", &router, "--once", "--interval-ms", "200"]);
    for part in ["3/3 nodes", "5/5 groups led", "1 routers", "\nsetbit", "node "] {
        assert!(top.contains(part), "{part} is not in\n{top}");
    }

    cluster.kill(2);
    let gone = cluster.node(2).cluster_address();
    cluster.until("the other two lead all groups", |status| {
        let led = status.groups.iter().all(|group| group.leader.is_some());
        let node = status.nodes.iter().find(|node| node.address == gone)?;
        (led && !node.reachable).then_some(())
    });
    let (code, report) = doctor(&["--addr", &router]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(verdict(&report, "nodes"), "FAIL");
    assert_eq!(verdict(&report, "majorities"), "WARN");
    assert_eq!(verdict(&report, "slots"), "PASS");
    let found = report.to_string();
    assert!(found.contains(&gone), "{found}");
    let status = cluster.command(0, &["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(stdout(&status).contains(&format!("at {gone} does not answer")), "{}", stdout(&status));
    let node = cluster.node(0).cluster_address();
    let top =
        ends(0, &["top", "--addr", &router, "--node", &node, "--once", "--interval-ms", "200"]);
    assert!(top.contains("2/3 nodes") && top.contains("no answer"), "{top}");
}

#[test]
fn doctor_looks_at_a_lone_server_at_redis_and_at_files() {
    for server in [Server::redis(), Server::bitroster(&["--groups", "1"])] {
        let (code, report) = doctor(&["--addr", &address(&server)]);
        assert_eq!(code, Some(0), "{report:#}");
        assert_ne!(verdict(&report, "reachable"), "FAIL", "{report:#}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("b.toml");
    let path = |path: &Path| path.to_str().expect("a name").to_owned();
    let (at, config) = (path(folder.path()), path(&file));
    fs::write(&file, "[server]\nbind = \"0.0.0.0\"\n").expect("a file");
    let (code, report) = doctor(&["--offline", "--config", &config, "--data-dir", &at]);
    assert_eq!((code, verdict(&report, "listening")), (Some(1), "FAIL"), "{report:#}");
    // How fast the disk is, nobody knows; that it was measured, the words say.
    assert!(report.to_string().contains("measured)") && verdict(&report, "disk").len() == 4);
    fs::write(&file, "[server]\nprot = 1\n").expect("a file");
    let (code, report) = doctor(&["--offline", "--config", &config]);
    assert_eq!((code, verdict(&report, "config")), (Some(1), "FAIL"), "{report:#}");
}

#[test]
fn top_shows_the_commands_of_a_lone_server_and_of_redis() {
    for (server, product) in
        [(Server::redis(), "Redis 7"), (Server::bitroster(&["--groups", "1"]), "Bitroster ")]
    {
        server.client().words("SETBIT k 7 1").expect("an answer");
        let at = address(&server);
        let top = ends(0, &["top", "--addr", &at, "--once", "--interval-ms", "100"]);
        assert!(top.starts_with(product), "{top}");
        let row = top.lines().find(|line| line.starts_with("setbit ")).expect("a row");
        assert!(row.ends_with(" 1"), "{row}");
    }
}

#[test]
fn completion_scripts_manual_pages_and_versions_are_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    for shell in ["bash", "zsh", "fish"] {
        let text = ends(0, &["completion", shell]);
        assert!(text.contains("doctor"), "{shell} completes no sub-command");
        fs::write(&script, text).expect("a file");
        if shell == "bash" {
            let parsed = Command::new("bash").arg("-n").arg(&script).status();
            assert!(parsed.expect("bash starts").success());
        }
    }
    let pages = folder.path().join("man1");
    ends(0, &["man", pages.to_str().expect("a name")]);
    let page = fs::read_to_string(pages.join("bitroster-cluster-status.1")).expect("a page");
    assert!(page.contains(".TH") && page.contains("addr"), "{page}");
    let version = json(&["version", "--output", "json"]);
    let told = ends(0, &["--version"]);
    assert!(told.contains(version["version"].as_str().expect("a version")), "{told}");
}

#[test]
fn a_reader_that_goes_ends_the_program_in_silence() {
    let mut child = program(&["man", "--markdown"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bitroster starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_page_on_the_command_line_is_what_the_program_says() {
    let page = fs::read_to_string(workspace().join("docs/cli.md")).expect("the page");
    let (_, reference) = page.split_once("\n# Reference\n\n").expect("the part that is made");
    let output = program(&["man", "--markdown"]).env_clear().output().expect("bitroster starts");
    assert_eq!(
        reference.trim_end(),
        stdout(&output).trim_end(),
        "write what 'bitroster man --markdown' prints below '# Reference' of docs/cli.md"
    );
}
