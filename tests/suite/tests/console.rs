//! Goal: the console shows what is so, runs what its user may and it shall run, and is no way in
//! for anybody else.
//!
//! Method: real processes and raw HTTP requests. A lone node without a password, one with users of
//! few rights, one with demo data, and a cluster of which one node is killed. BM.PREFIXES is
//! compared with a naive twin that asks about each key by itself.
//!
//! Mutants killed: a console that writes although it shall only read; a session that outlives its
//! user's password; a request of a foreign page that is answered; a killed node that is shown
//! alive; a spread key that counts in each of its groups.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bitroster_resp::Frame;
use bitroster_suite::{
    Client, Cluster, Random, Server,
    browser::{Answered, Browser},
    wait,
};
use serde_json::{Value, json};

/// A password that nothing else looks like.
const SECRET: &str = "hunter2-77aa88bb99cc";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn ok(client: &mut Client, words: &str) {
    let reply = client.words(words).expect("a reply");
    assert!(!matches!(reply, Frame::Error(_)), "{words}: {reply:?}");
}

#[test]
fn pages_and_calls_need_no_login_where_nobody_has_a_password() {
    let server = Server::bitroster(&["--groups", "2"]);
    let mut browser = Browser::new(server.admin_address());
    let root = browser.get("/");
    assert_eq!((root.status, root.header("location")), (302, Some("console/")));
    let page = browser.get("/console/");
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Bitroster"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
    let tag = page.header("etag").expect("a tag").to_owned();
    let again = browser.send("GET", "/console/", &[("If-None-Match", &tag)], b"");
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    assert_eq!(browser.get("/console/../Cargo.toml").status, 404);
    assert_eq!(browser.get("/livez").status, 200);

    let session = browser.get("/api/v1/session").json();
    let node = format!("127.0.0.1:{}", server.port());
    assert_eq!((&session["user"], &session["login_required"]), (&json!("default"), &json!(false)));
    assert_eq!((&session["write"], &session["dev"]), (&json!(false), &json!(true)));
    assert_eq!((&session["role"], &session["node"]), (&json!("all"), &json!(node)));

    let mut client = server.client();
    ok(&mut client, "BM.SETBITS a 1 2 3 99");
    ok(&mut client, "BM.SETBITS b 2 99");
    assert_eq!(browser.reply("BM.QUERY COUNT a&b"), 2);
    assert_eq!(browser.reply("BM.JACCARD a b"), 0.5);
    assert_eq!(browser.reply("GET none"), Value::Null);
    assert_eq!(browser.reply("BM.INFO a")["cardinality"], 4);
    let args = json!({ "args": ["ECHO", { "base64": "/wA=" }] });
    assert_eq!(browser.post("/api/v1/command", &args).json()["reply"], json!({"base64": "/wA="}));
    let wrong = browser.command("GETBIT a x");
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "ERR"));
    assert_eq!(browser.get("/api/v1/nothing").status, 404);
    assert_eq!(browser.get("/api/v1/command").status, 405);
}

#[test]
fn the_console_only_reads_unless_it_is_told_to_write() {
    let server = Server::bitroster(&["--groups", "2"]);
    let mut browser = Browser::new(server.admin_address());
    for line in ["SETBIT k 1 1", "BM.QUERY STORE d k", "FLUSHALL", "CONFIG SET maxclients 9"] {
        let refused = browser.command(line);
        assert_eq!((refused.status, refused.code().as_str()), (403, "READONLY"), "{line}");
    }
    for line in ["SHUTDOWN", "CLIENT LIST", "MULTI", "DEBUG SLEEP 0"] {
        let refused = browser.command(line);
        assert_eq!((refused.status, refused.code().as_str()), (403, "CONSOLE"), "{line}");
    }
    assert_eq!(browser.reply("DBSIZE"), 0);

    let server = Server::bitroster(&["--groups", "2", "--set", "console.write=true"]);
    let mut browser = Browser::new(server.admin_address());
    assert_eq!(browser.reply("SETBIT k 1 1"), 0);
    assert_eq!(browser.reply("GETBIT k 1"), 1);
    assert_eq!(browser.command("SHUTDOWN").status, 403);

    let server = Server::bitroster(&["--groups", "2", "--set", "console.enabled=false"]);
    let mut browser = Browser::new(server.admin_address());
    assert_eq!(browser.get("/api/v1/session").status, 404);
    assert_eq!(browser.get("/console/").status, 404);
    assert!(browser.get("/").text.contains("/livez"));
}

#[test]
fn what_is_too_large_is_refused_both_ways() {
    let server = Server::bitroster(&["--groups", "2"]);
    let mut browser = Browser::new(server.admin_address());
    let mut client = server.client();
    ok(&mut client, "SETBIT k 9000000 1");
    ok(&mut client, "BM.SETRANGE many 0 400000");
    for line in ["GET k", "BM.RANGE many 0 400000 LIMIT 400000"] {
        let refused = browser.command(line);
        assert_eq!(refused.status, 413, "{line}: {}", refused.text);
        assert!(refused.text.contains("ask for less"), "{}", refused.text);
    }
    let long = json!({ "args": ["ECHO", "x".repeat(70 << 10)] });
    let refused = browser.post("/api/v1/command", &long);
    assert_eq!((refused.status, refused.code().as_str()), (413, "HTTP"));
    let mut stream = TcpStream::connect(server.admin_address()).expect("somebody listens");
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(64 << 10));
    // The server may hang up before all is sent.
    drop(stream.write_all(head.as_bytes()));
    assert_eq!(browser.reply("PING"), "PONG");
}

#[test]
fn pages_of_other_sites_may_not_call() {
    let server = Server::bitroster(&["--groups", "2", "--set", "console.write=true"]);
    let mut browser = Browser::new(server.admin_address());
    let body = json!({ "args": ["SETBIT", "k", "1", "1"] }).to_string();
    let mut send = |headers: &[(&str, &str)]| {
        browser.send("POST", "/api/v1/command", headers, body.as_bytes()).status
    };
    let json = ("Content-Type", "application/json");
    assert_eq!(send(&[json, ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(send(&[json, ("Sec-Fetch-Site", "same-site")]), 403);
    assert_eq!(send(&[json, ("Origin", "http://evil.example")]), 403);
    assert_eq!(send(&[json, ("Host", "evil.example")]), 403);
    assert_eq!(send(&[("Content-Type", "text/plain")]), 415);
    assert_eq!(send(&[]), 415);
    assert_eq!(
        browser.send("GET", "/api/v1/cluster", &[("Host", "evil.example")], b"").status,
        403
    );
    assert_eq!(browser.reply("EXISTS k"), 0);
}

#[test]
fn a_user_sees_what_it_may_and_only_while_it_is_who_it_was() {
    let server =
        Server::bitroster(&["--groups", "2", "--set", &format!("server.requirepass={SECRET}")]);
    let mut client = server.client();
    ok(&mut client, &format!("AUTH {SECRET}"));
    ok(&mut client, "MSET dau:1 x dau:2 y secret:1 z");
    ok(&mut client, "ACL SETUSER ann on >annspass %R~dau:* +@read");
    let mut browser = Browser::new(server.admin_address());
    for path in ["/api/v1/cluster", "/api/v1/series"] {
        let refused = browser.get(path);
        assert_eq!((refused.status, refused.code().as_str()), (401, "NOAUTH"), "{path}");
    }
    assert_eq!(browser.command("PING").status, 401);
    let session = browser.get("/api/v1/session").json();
    assert_eq!((&session["user"], &session["login_required"]), (&Value::Null, &json!(true)));
    let refused = browser.log_in("ann", "wrong");
    assert_eq!((refused.status, refused.code().as_str()), (401, "WRONGPASS"));
    assert_eq!(browser.cookie(), None);

    let entered = browser.log_in("ann", "annspass");
    assert_eq!((entered.status, entered.json()), (200, json!({ "user": "ann" })));
    let cookie = entered.header("set-cookie").expect("a cookie").to_owned();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert_eq!(browser.get("/api/v1/session").json()["user"], "ann");
    assert_eq!(browser.get("/api/v1/cluster").status, 200);
    assert_eq!(browser.reply("STRLEN dau:1"), 1);
    assert_eq!(list(&browser.reply("BM.PREFIXES dau:")).len(), 2);
    for line in
        ["STRLEN secret:1", "BM.PREFIXES secret:", "BM.PREFIXES d", "CONFIG GET requirepass"]
    {
        let refused = browser.command(line);
        assert_eq!((refused.status, refused.code().as_str()), (403, "NOPERM"), "{line}");
    }
    // Another browser's cookie of as many digits is none.
    let forged = format!("bitroster_session={}", "0".repeat(32));
    let mut stranger = Browser::new(server.admin_address());
    let refused = stranger.send("GET", "/api/v1/cluster", &[("Cookie", &forged)], b"");
    assert_eq!(refused.status, 401);

    ok(&mut client, "ACL SETUSER ann >another");
    assert_eq!(browser.command("STRLEN dau:1").status, 401, "the session goes with the change");
    assert_eq!(browser.log_in("ann", "another").status, 200);
    ok(&mut client, "ACL DELUSER ann");
    assert_eq!(browser.command("STRLEN dau:1").status, 401);

    let mut root = Browser::new(server.admin_address());
    assert_eq!(root.log_in("default", SECRET).status, 200);
    assert_eq!(root.reply("STRLEN secret:1"), 1);
    assert_eq!(root.post("/api/v1/logout", &json!({})).status, 200);
    assert_eq!(root.command("PING").status, 401);
    assert!(!server.log().contains(SECRET) && !server.log().contains("annspass"));
}

#[test]
fn who_guesses_passwords_has_to_wait() {
    let server =
        Server::bitroster(&["--groups", "2", "--set", &format!("server.requirepass={SECRET}")]);
    let mut browser = Browser::new(server.admin_address());
    for _ in 0..10 {
        assert_eq!(browser.log_in("default", "guess").status, 401);
    }
    assert_eq!(browser.log_in("default", "guess").status, 429);
    assert_eq!(browser.log_in("default", SECRET).status, 429, "nor is it told that it is right");
}

#[test]
fn a_browser_at_the_resp_port_is_sent_to_the_console() {
    let server = Server::bitroster(&["--groups", "2"]);
    let ask = |request: &str| {
        let mut client = server.client();
        client.send_raw(request.as_bytes()).expect("send");
        String::from_utf8(client.receive_until_closed().expect("an end")).expect("text")
    };
    let port = server.admin_address().port();
    let answer = ask("GET / HTTP/1.1\r\nHost: localhost:6379\r\nAccept: */*\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
    let location = format!("\r\nLocation: http://localhost:{port}/console/\r\n");
    assert!(answer.contains(&location), "{answer}");
    assert_eq!(ask("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "");
    assert!(!ask("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("302"));
}

/// The last value of a line of the series.
fn last(series: &Value, name: &str, cmd: Option<&str>) -> Option<f64> {
    let lines = list(&series["series"]);
    let found = lines.iter().find(|it| it["name"] == name && it["cmd"].as_str() == cmd)?;
    list(&found["values"]).last()?.as_f64()
}

#[test]
fn the_series_have_the_traffic() {
    let server = Server::bitroster(&["--groups", "2"]);
    let mut browser = Browser::new(server.admin_address());
    let mut client = server.client();
    let series = wait::until("a sample has the traffic", || {
        for n in 0..50 {
            ok(&mut client, &format!("SETBIT k{n} 7 1"));
        }
        ok(&mut client, "GETBIT k1 7");
        assert!(matches!(client.words("GETBIT k1 x").expect("a reply"), Frame::Error(_)));
        let series = browser.get("/api/v1/series?seconds=60").json();
        let rate = last(&series, "commands_per_second", Some("setbit"))?;
        let keys = last(&series, "keys", None)?;
        (rate >= 10.0 && keys >= 50.0).then_some(series)
    });
    assert_eq!((&series["step_seconds"], list(&series["series"]).len() > 5), (&json!(5), true));
    let p99 = last(&series, "p99_seconds", Some("setbit")).expect("it ran");
    assert!(p99 > 0.0 && p99 < 10.0, "{p99} seconds");
    assert!(last(&series, "errors_per_second", None).is_some_and(|rate| rate > 0.0), "{series}");
    assert!(last(&series, "connections", None).is_some_and(|count| count >= 1.0), "{series}");
    assert!(last(&series, "memory_bytes", None).is_some_and(|bytes| bytes > 1e5), "{series}");
    assert!(list(&series["series"]).iter().all(|line| list(&line["values"]).len() == 12));
}

#[test]
fn a_node_that_is_killed_is_told_within_two_seconds() {
    let mut cluster = Cluster::builder(3, 1).start();
    let router = cluster.routers().start;
    let mut browser = Browser::new(cluster.node(router).admin_address());
    let mut client = cluster.client();
    for n in 0..64 {
        ok(&mut client, &format!("SETBIT k{n} 5000000 1"));
    }
    let look = |browser: &mut Browser| browser.get("/api/v1/cluster").json();
    let whole = wait::until("every group has three replicas with everything", || {
        let json = look(&mut browser);
        let groups = list(&json["groups"]);
        let is_whole = |group: &Value| {
            let replicas = list(&group["replicas"]);
            replicas.len() == 3 && replicas.iter().all(|it| it["lag_entries"] == 0)
        };
        groups.iter().all(is_whole).then_some(json)
    });
    assert_eq!((&whole["slots"], &whole["slots_served"]), (&json!(16384), &json!(16384)));
    assert_eq!(list(&whole["groups"]).len(), 4);
    assert_eq!(list(&whole["routers"]).len(), 1);
    let keys: u64 = list(&whole["groups"]).iter().map(|group| number(&group["keys"])).sum();
    assert_eq!(keys, 64);
    let slots = list(&whole["groups"]).iter().flat_map(|group| list(&group["slots"]));
    assert_eq!(slots.map(|it| number(&it[1]) - number(&it[0]) + 1).sum::<u64>(), 16384);
    for node in list(&whole["nodes"]) {
        assert_eq!((&node["alive"], &node["error"]), (&json!(true), &Value::Null));
        assert!(number(&node["memory_bytes"]) > 0 && number(&node["disk_bytes"]) > 0, "{node}");
    }
    assert_eq!(browser.get("/api/v1/session").json()["role"], "router");

    cluster.kill(0);
    let killed = Instant::now();
    let address = cluster.node(0).cluster_address();
    let dead = wait::until("the killed node is told", || {
        let json = look(&mut browser);
        let node = list(&json["nodes"]).iter().find(|it| it["address"] == address.as_str());
        (node.expect("it is still a member")["alive"] == false).then_some(json)
    });
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    let node = list(&dead["nodes"]).iter().find(|it| it["address"] == address.as_str()).cloned();
    let node = node.expect("it is still a member");
    assert!(!text(&node["error"]).is_empty());
    let mine = |group: &Value| {
        let replica = list(&group["replicas"]).iter().find(|it| it["node"] == node["id"]).cloned();
        replica.expect("it has a replica of each group")
    };
    assert!(list(&dead["groups"]).iter().all(|group| mine(group)["alive"] == false));
    let served = wait::until("the others lead all groups", || {
        let json = look(&mut browser);
        (json["slots_served"] == 16384).then_some(json)
    });
    assert!(list(&served["groups"]).iter().all(|group| group["leader"] != node["id"]));
}

/// What a naive twin knows of one name.
#[derive(Debug, Default, PartialEq)]
struct Row {
    keys: u64,
    expiring: u64,
    bits: u64,
    bytes: u64,
    plain_bytes: u64,
}

/// Asks about each key by itself.
fn twin(client: &mut Client, prefix: &str, separator: char) -> BTreeMap<String, Row> {
    let Ok(Frame::Array(keys)) = client.words("KEYS *") else { panic!("KEYS answers an array") };
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for key in keys {
        let Frame::Bulk(key) = key else { panic!("{key:?} is no name") };
        let key = String::from_utf8(key.to_vec()).expect("names are text here");
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let name = match rest.find(separator) {
            Some(end) => &key[..=prefix.len() + end],
            None => &key,
        };
        let row = rows.entry(name.to_owned()).or_default();
        let mut count = |words: &str| match client.words(&format!("{words} {key}")) {
            Ok(Frame::Integer(number)) => number,
            other => panic!("{words} {key}: {other:?}"),
        };
        let whole = |number: i64| u64::try_from(number).expect("a count");
        row.keys += 1;
        row.expiring += u64::from(count("TTL") >= 0);
        row.bits += whole(count("BITCOUNT"));
        row.bytes += whole(count("MEMORY USAGE"));
        row.plain_bytes += whole(count("STRLEN")) + key.len() as u64 + 56;
    }
    rows
}

/// What BM.PREFIXES says; the rest stands at an empty name.
fn told(reply: &Value) -> BTreeMap<String, Row> {
    let row = |row: &Value| {
        let figure = |name: &str| number(&row[name]);
        let parts = ["array_bytes", "dense_bytes", "run_bytes", "other_bytes"].map(figure);
        assert_eq!(parts.iter().sum::<u64>(), figure("bytes"), "{row}");
        let told = Row {
            keys: figure("keys"),
            expiring: figure("expiring"),
            bits: figure("bits"),
            bytes: figure("bytes"),
            plain_bytes: figure("plain_bytes"),
        };
        (text(&row["name"]), told)
    };
    list(reply).iter().map(row).collect()
}

#[test]
fn prefixes_are_counted_as_a_naive_twin_counts_them() {
    let mut random = Random::announced(903);
    let server = Server::bitroster(&["--groups", "4", "--set", "cluster.segment_width_log2=16"]);
    let mut client = server.client();
    let mut browser = Browser::new(server.admin_address());
    for n in 0..300 {
        let name = format!("{}:{}:{n}", ["dau", "flag", "x"][random.index(3)], random.below(5));
        let offset = if random.below(3) == 0 { random.below(1 << 22) } else { random.below(200) };
        ok(&mut client, &format!("SETBIT {name} {offset} 1"));
        match random.below(4) {
            // Over several groups.
            0 => ok(&mut client, &format!("SETBIT {name} {} 1", random.below(1 << 23))),
            1 => ok(&mut client, &format!("EXPIRE {name} 5000")),
            2 => ok(&mut client, &format!("BM.SETRANGE {name} 0 {}", random.below(300_000))),
            _ => {}
        }
    }
    ok(&mut client, "SET dau leaf");
    for (prefix, separator) in [("dau:", ':'), ("flag:2:", ':'), ("d", ':'), ("x:1", ':')] {
        let line = format!("BM.PREFIXES {prefix} LIMIT 10000 SEPARATOR {separator}");
        let reply = browser.reply(&line);
        assert_eq!(told(&reply), twin(&mut client, prefix, separator), "{line}");
        let bytes: Vec<u64> = list(&reply).iter().map(|row| number(&row["bytes"])).collect();
        assert!(bytes.is_sorted_by(|a, b| a >= b), "{line}: {bytes:?}");
    }
    let args = json!({ "args": ["BM.PREFIXES", ""] });
    let all = browser.post("/api/v1/command", &args).json()["reply"].clone();
    let whole = told(&all);
    assert_eq!(whole, twin(&mut client, "", ':'));
    let leaf = list(&all).iter().find(|row| row["name"] == "dau").expect("the key itself");
    assert_eq!(leaf["leaf"], 1);
    let args = json!({ "args": ["BM.PREFIXES", "", "LIMIT", "1"] });
    let cut = told(&browser.post("/api/v1/command", &args).json()["reply"]);
    assert_eq!(cut.len(), 2);
    let sum = |rows: &BTreeMap<String, Row>| rows.values().map(|row| row.bytes).sum::<u64>();
    let keys = |rows: &BTreeMap<String, Row>| rows.values().map(|row| row.keys).sum::<u64>();
    assert_eq!((sum(&cut), keys(&cut)), (sum(&whole), 301));
}

#[test]
fn the_demo_has_something_on_every_page() {
    let server = Server::bitroster(&["--groups", "2", "--demo"]);
    let mut browser = Browser::new(server.admin_address());
    let args = json!({ "args": ["BM.PREFIXES", ""] });
    let reply = browser.post("/api/v1/command", &args).json()["reply"].clone();
    let rows = told(&reply);
    for (name, keys) in [("dau:", 90), ("new:", 90), ("hau:", 24), ("feature:", 4)] {
        assert_eq!(rows[name].keys, keys, "{name}");
    }
    for name in ["premium", "churned", "beta", "online", "device:", "consent:", "visitors:"] {
        assert_eq!(rows[name].keys, 1, "{name}");
    }
    assert!(rows["hau:"].expiring == 24 && rows["trial:"].expiring == 14);
    let today = number(&browser.reply("BM.WINDOW dau LAST 1d COUNT"));
    let month = number(&browser.reply("BM.WINDOW dau LAST 28d COUNT"));
    assert!(today > 3_000 && month > 2 * today, "{today} today, {month} in 28 days");
    assert!(number(&browser.reply("BM.ONLINE online")) > 1000);
    assert_eq!(browser.reply("BM.FIND emails user7@example.com"), json!([7]));
    // A second start does not load it again.
    let server = server.restart();
    let mut browser = Browser::new(server.admin_address());
    assert_eq!(number(&browser.reply("BM.WINDOW dau LAST 28d COUNT")), month);
}

#[test]
fn too_many_commands_at_a_time_are_refused_and_not_queued() {
    let server = Server::bitroster(&["--groups", "2"]);
    let address: SocketAddr = server.admin_address();
    ok(&mut server.client(), "CLIENT PAUSE 3000 ALL");
    let threads: Vec<_> = (0..24)
        .map(|_| {
            std::thread::spawn(move || -> Answered { Browser::new(address).command("DBSIZE") })
        })
        .collect();
    let statuses: Vec<u16> =
        threads.into_iter().map(|it| it.join().expect("an answer").status).collect();
    let count = |status: u16| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((count(200), count(429)), (16, 8), "{statuses:?}");
}
