//! Goal: tools and libraries that were made for Redis work unchanged.
//!
//! Method: each runs against Debian's redis-server and against Bitroster in the same run. A
//! library's results must be equal; what an exporter finds at Redis and dashboards are made of it
//! must find at Bitroster too; what redis-cli shows while a person types must be as helpful.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use bitroster_suite::{Server, programs, wait};

fn python(program: &str) -> Command {
    programs::python_program(program)
}

#[test]
fn bitmapist_counts_and_retention_are_those_of_redis() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "4"]));
    let program = || python("bitmapist_usage.py");
    programs::prints_the_same(program, 35, redis.port(), bitroster.port());
}

#[test]
fn redis_cli_hints_at_arguments_as_it_does_with_redis() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "1"]));
    let hints = |port| programs::run(python("hints.py"), port);
    let (of_redis, ours) = (hints(redis.port()), hints(bitroster.port()));
    for command in ["SETBIT ", "BITCOUNT ", "EXPIRE "] {
        let line = |hints: &str| {
            let line = hints.lines().find(|line| line.contains(&format!("[\"{command}\"")));
            line.expect("a hint for every command typed").to_owned()
        };
        assert_eq!(line(&ours), line(&of_redis));
    }
    assert!(ours.lines().all(|line| !line.ends_with("\"\"]")), "a command has no hint: {ours}");
}

/// A running redis_exporter. Killed when dropped.
struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    fn of(server: &Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        drop(listener);
        let child = Command::new("prometheus-redis-exporter")
            .arg(format!("-redis.addr=redis://127.0.0.1:{}", server.port()))
            .arg(format!("-web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-redis-exporter starts; `cargo xtask test` installs it");
        Self { child, port }
    }

    /// What it exports, line by line.
    fn metrics(&self) -> Vec<String> {
        let text = wait::until("the exporter answers", || self.get());
        text.lines().filter(|line| line.starts_with("redis_")).map(str::to_owned).collect()
    }

    fn get(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.contains("redis_up").then_some(text)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn redis_exporter_finds_what_it_finds_at_redis() {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "2"]));
    let exported = |server: &Server| {
        let mut client = server.client();
        for request in ["SETBIT k 9 1", "EXPIRE k 100", "GETBIT k 9", "GET absent", "NOPE"] {
            client.words(request).expect("an answer");
        }
        Exporter::of(server).metrics()
    };
    let (of_redis, ours) = (exported(&redis), exported(&bitroster));
    let value = |name: &str| {
        let line = ours.iter().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(value("redis_up").as_deref(), Some("1"), "{ours:#?}");
    assert_eq!(value("redis_db_keys{db=\"db0\"}").as_deref(), Some("1"), "{ours:#?}");
    assert_eq!(value("redis_db_keys_expiring{db=\"db0\"}").as_deref(), Some("1"), "{ours:#?}");
    let names = |lines: &[String]| -> BTreeSet<String> {
        let name = |line: &String| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
        lines.iter().map(name).collect()
    };
    let missing: Vec<_> = names(&of_redis)
        .into_iter()
        .filter(|name| !names(&ours).contains(name) && !WITHOUT.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "redis_exporter lacks {missing:#?}");
}

/// What Redis tells of parts that Bitroster has not: one main thread.
const WITHOUT: &[&str] =
    &["redis_cpu_sys_main_thread_seconds_total", "redis_cpu_user_main_thread_seconds_total"];
