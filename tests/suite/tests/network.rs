//! Goal: the test network's links can be cut one way and mended, and nothing of it stays.
//!
//! Method: two nodes' namespaces, each with a program that tells over TCP what it hears; the bytes
//! that arrive, or do not, are the proof.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bitroster_suite::{network, network::Network, wait};

/// Reads a byte within half a second.
fn hears(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out");
    stream.read(&mut [0]).is_ok_and(|count| count == 1)
}

/// A redis-server in a node's namespace: something that answers.
fn answerer(network: &Network, node: usize) -> Child {
    Command::new("ip")
        .args(["netns", "exec", &network.namespace(node), "redis-server"])
        .args(["--port", "7000", "--bind", &network.address(node).to_string(), "--save", ""])
        .args(["--protected-mode", "no", "--dir", "/"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts; `cargo xtask test` installs it")
}

#[test]
fn a_link_is_cut_one_way_and_mended() {
    network::inside("a_link_is_cut_one_way_and_mended", 2, |network| {
        let mut servers = [answerer(network, 0), answerer(network, 1)];
        let address = SocketAddr::from((network.address(0), 7000));
        let mut client = wait::until("the server listens", || TcpStream::connect(address).ok());
        client.write_all(b"PING\r\n").expect("it listens");
        assert!(hears(&mut client), "the hub reaches the nodes");

        let ask = |node: usize| {
            let output = Command::new("ip")
                .args(["netns", "exec", &network.namespace(node), "timeout", "1", "redis-cli"])
                .args(["-h", &network.address(1 - node).to_string(), "-p", "7000", "PING"])
                .output()
                .expect("redis-cli starts");
            String::from_utf8_lossy(&output.stdout).contains("PONG")
        };
        wait::until("both answer", || (ask(0) && ask(1)).then_some(()));
        network.cut_one_way(0, 1);
        assert!(!ask(0), "what 0 sends is dropped");
        assert!(!ask(1), "what 0 answers is dropped");
        network.heal();
        assert!(ask(0) && ask(1));
        network.isolate(1);
        assert!(!ask(0) && !ask(1));
        network.heal();
        assert!(ask(0) && ask(1));
        let how = network.slow(0).expect("a way to slow a link down");
        assert!(ask(0) && ask(1), "{how}");
        network.hasten(0);
        for server in &mut servers {
            server.kill().expect("kill");
            server.wait().expect("wait");
        }
    });
    let left = fs::read_dir("/run/netns").map_or(0, |entries| {
        let mine = format!("bitroster-suite-{}-", std::process::id());
        entries.flatten().filter(|it| it.file_name().to_string_lossy().starts_with(&mine)).count()
    });
    assert_eq!(left, 0, "namespaces are left");
}
