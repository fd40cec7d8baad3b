//! Goal: the compose files bring up what they promise, from the image that ships, and it goes on
//! serving while containers die and lose their network, and keeps its data when made anew.
//!
//! Method: Debian's dockerd and Compose 1.29 in namespaces of the test's own. The image is built
//! by the target `prebuilt` of the binary under test, in a folder as a release has it. redis-cli
//! and clients with a checker of linearizability use the published ports of both routers. For
//! Prometheus there is an image made of Debian's program; for Grafana there is none, and
//! `deploy.rs` reads its part of the file. Where no engine can be started the tests say so and do
//! nothing.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use bitroster_suite::{
    LoadPlan,
    docker::{Engine, Project, debian, inside, published},
    probe::Probe,
    prometheus,
    scenario::{say, verdict},
    wait,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

const SHARDS: [&str; 3] = ["shard-1", "shard-2", "shard-3"];
const ROUTERS: [&str; 2] = ["router-1", "router-2"];
const NODES: [&str; 5] = ["shard-1", "shard-2", "shard-3", "router-1", "router-2"];

/// Where the routers' ports are published.
const PORTS: [u16; 2] = [6379, 6380];

/// Longest time without an answer to a write after a shard node was lost.
const GAP_MAX: Duration = Duration::from_secs(10);

/// What redis-cli prints, asked by a port with some options.
fn redis_cli(port: u16, request: &str) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(request.split(' '))
        .output()
        .expect("redis-cli starts; `cargo xtask test` installs it");
    let (said, failed) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "redis-cli {request}: {said} {failed}");
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Starts the services, which builds the image where there is none, and waits until all serve.
fn bring_up(project: &Project<'_>, services: &[&str], healthy: &[&str]) {
    project.compose(&[&["up", "--detach"], services].concat());
    project.wait_healthy(healthy);
}

fn routers() -> Vec<SocketAddr> {
    PORTS.map(published).to_vec()
}

/// Keys enough that each group has some of them.
fn keys() -> Vec<String> {
    (0..8).map(|number| format!("probe:{number}")).collect()
}

/// Does harm to a shard node under load; writes to all groups go on within seconds.
fn writes_go_on(what: &str, harm: impl FnOnce()) {
    let probe = Probe::start(&routers(), &keys());
    wait::while_others_work(Duration::from_millis(500));
    say(what);
    let began = Instant::now();
    harm();
    wait::while_others_work(GAP_MAX + Duration::from_secs(2));
    let gap = probe.stop().gap(began, Instant::now());
    say(&format!("{what}: at most {gap:?} without an answer"));
    assert!(gap < GAP_MAX, "{what}: no answer to a write for {gap:?}");
}

#[test]
fn a_cluster_of_containers_serves_while_they_die_and_keeps_its_data() {
    let test = "a_cluster_of_containers_serves_while_they_die_and_keeps_its_data";
    inside(test, |engine| {
        let stand_in = "suite/prometheus";
        engine.image_of(stand_in, debian("prometheus").get_program().as_ref(), "/prometheus");
        let project = engine.project(&["docker-compose.yml"]);
        let project = project.environment("PROMETHEUS_IMAGE", stand_in);
        let services = [&NODES[..], &["prometheus"]].concat();
        bring_up(&project, &services, &NODES);

        assert_eq!(redis_cli(PORTS[0], "SETBIT dau 9000000 1"), "0");
        assert_eq!(redis_cli(PORTS[1], "BITCOUNT dau"), "1");
        every_node_is_scraped();

        let load = LoadPlan::new(routers(), 301).start();
        load.wait_for_answers(1_000);
        writes_go_on("shard-1 is killed", || {
            engine.docker(&["kill", &project.container("shard-1")]);
        });
        engine.docker(&["start", &project.container("shard-1")]);
        project.wait_healthy(&SHARDS);
        cut_off(engine, &project, "shard-2");
        load.wait_for_answers(1_000);
        verdict(load);

        let keys = redis_cli(PORTS[0], "DBSIZE");
        project.compose(&["down"]);
        bring_up(&project, &services, &NODES);
        assert_eq!(redis_cli(PORTS[0], "DBSIZE"), keys);
        assert_eq!(redis_cli(PORTS[1], "GETBIT dau 9000000"), "1");
        project.compose(&["down", "--volumes"]);
    });
}

/// Takes a node's network away and gives it back.
fn cut_off(engine: &Engine, project: &Project<'_>, service: &str) {
    let (network, container) = (project.network(), project.container(service));
    writes_go_on(&format!("{service} loses its network"), || {
        engine.docker(&["network", "disconnect", &network, &container]);
    });
    engine.docker(&["network", "connect", "--alias", service, &network, &container]);
    project.wait_healthy(&[service]);
}

fn every_node_is_scraped() {
    let address = published(9090);
    wait::until("Prometheus has scraped every node", || {
        let up = prometheus::query(address, "up{job=~\"bitroster.*\"} == 1").ok()?;
        (up.len() == NODES.len()).then_some(())
    });
    let served = prometheus::query(address, "bitroster_build_info").expect("an answer");
    assert_eq!(served.len(), NODES.len(), "{served:?}");
    let rules = prometheus::query(address, "count(ALERTS) or vector(0)").expect("an answer");
    assert_eq!(rules.len(), 1);
}

#[test]
fn a_single_container_serves_and_keeps_its_data() {
    inside("a_single_container_serves_and_keeps_its_data", |engine| {
        let project = engine.project(&["deploy/compose/single.yml"]);
        bring_up(&project, &[], &["bitroster"]);
        assert_eq!(redis_cli(PORTS[0], "SETBIT dau 4711 1"), "0");
        project.compose(&["down"]);
        bring_up(&project, &[], &["bitroster"]);
        assert_eq!(redis_cli(PORTS[0], "GETBIT dau 4711"), "1");
        // The file system of the image cannot be written to, and nobody in it is root.
        let state = engine.docker(&["inspect", &project.container("bitroster")]);
        assert!(state.contains("\"ReadonlyRootfs\": true"), "{state}");
        assert!(state.contains("\"User\": \"65532:65532\""), "{state}");
        project.compose(&["down", "--volumes"]);
    });
}

/// Writes an authority and a certificate of all nodes into a folder of the project.
fn certificates(project: &Project<'_>) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    // Names that differ, or OpenSSL takes the node's certificate for one that signs itself.
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let issuer = issuer.expect("an authority");
    let names = [&NODES[..], &["localhost"]].concat();
    let names = names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(names).expect("good names");
    params.distinguished_name.push(DnType::CommonName, "node");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let folder = project.folder().join("certificates");
    fs::create_dir(&folder).expect("a folder");
    let files = [
        ("ca.pem", issuer.pem()),
        ("node.pem", certificate.pem()),
        ("node-key.pem", key.serialize_pem()),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file");
    }
}

#[test]
fn a_cluster_of_containers_speaks_tls_where_it_is_told() {
    inside("a_cluster_of_containers_speaks_tls_where_it_is_told", |engine| {
        let project = engine.project(&["docker-compose.yml", "deploy/compose/tls.yml"]);
        let project = project.environment("BITROSTER_CERTS", "./certificates");
        certificates(&project);
        bring_up(&project, &NODES, &NODES);
        let authority = project.folder().join("certificates/ca.pem");
        let by_tls = format!("--tls --cacert {} -h localhost", authority.display());
        assert_eq!(redis_cli(PORTS[0], &format!("{by_tls} SETBIT dau 9000000 1")), "0");
        assert_eq!(redis_cli(PORTS[1], &format!("{by_tls} BITCOUNT dau")), "1");
        // Without TLS nobody answers, and by TLS only who trusts the authority asks.
        for options in ["", "--tls "] {
            let output = Command::new("redis-cli")
                .args(["-p", &PORTS[0].to_string()])
                .args(format!("{options}PING").split(' '))
                .output()
                .expect("redis-cli starts");
            let said = text(&output.stdout);
            assert!(!said.contains("PONG"), "{options}: {said}");
        }
        let between = project.compose(&["exec", "-T", ROUTERS[0], "/bitroster", "healthcheck"]);
        assert!(between.contains("ok"), "{between}");
        project.compose(&["down", "--volumes"]);
    });
}
