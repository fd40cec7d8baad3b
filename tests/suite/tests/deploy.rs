//! Goal: what is shipped for running Bitroster elsewhere is well-formed, and names only what is
//! there.
//!
//! Method: each file is read by the tool that will read it: Compose 1.29, hadolint, kustomize and
//! Kubernetes' schemas, systemd. The dashboards are what their generator writes and keep its rules.
//! Every alert has its page, and every command in those pages is run. What runs from these files is
//! tested in `compose.rs` and `prometheus.rs`.
//!
//! Mutants killed: manifests with a misspelt field, a port that no container has, a seed that is no
//! node, a volume that is not there, a container that may write its file system.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bitroster_resp::Frame;
use bitroster_suite::{
    Server,
    scenario::say,
    server::{binary, workspace},
};

fn run(command: &mut Command) -> Output {
    let output = command.current_dir(workspace()).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}; run `cargo xtask test`"))
}

/// What a command printed that had to succeed.
fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}{printed}", output.status);
    printed
}

/// A program of those that `requirements.txt` pins.
fn python_tool(name: &str) -> Command {
    Command::new(workspace().join("target/clients/python/bin").join(name))
}

/// Whether a program is there; says so on stderr where `test` cannot run for it.
fn is_here(test: &str, program: &str, version: &str) -> bool {
    let found = Command::new(program).args(version.split(' ')).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        say(&format!("NOT RUN: {test}: there is no {program} here"));
    }
    found
}

#[test]
fn compose_reads_the_compose_files() {
    for files in [
        &["docker-compose.yml"][..],
        &["docker-compose.yml", "deploy/compose/tls.yml"],
        &["deploy/compose/single.yml"],
    ] {
        let mut command = Command::new("docker-compose");
        for file in files {
            command.args(["--file", file]);
        }
        succeeds(command.args(["config", "--quiet"]).env("BITROSTER_CERTS", "/certificates"));
    }
}

#[test]
fn the_dockerfile_has_nothing_to_complain_of() {
    succeeds(python_tool("hadolint").arg("deploy/docker/Dockerfile"));
}

#[test]
fn dashboards_are_as_their_generator_writes_them() {
    succeeds(Command::new("python3").args(["deploy/grafana/generate.py", "--check"]));
}

/// What kustomize makes of a folder of manifests.
fn kustomized(folder: &str) -> String {
    succeeds(
        Command::new("kubectl").arg("kustomize").arg(Path::new("deploy/kubernetes").join(folder)),
    )
}

/// What the check of manifests says, and whether it passed.
fn checked(manifests: &str, options: &[&str]) -> (bool, String) {
    let mut check = python_tool("python")
        .arg(workspace().join("deploy/kubernetes/check.py"))
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts; `cargo xtask test` installs it");
    let mut input = check.stdin.take().expect("its input");
    input.write_all(manifests.as_bytes()).expect("it reads all");
    drop(input);
    let output = check.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn manifests_are_what_kubernetes_takes_and_fit_each_other() {
    let test = "manifests_are_what_kubernetes_takes_and_fit_each_other";
    if !is_here(test, "kubectl", "kustomize --help") {
        return;
    }
    let (base, dev) = (kustomized("base"), kustomized("overlays/dev"));
    for (manifests, options) in [(&base, &["--secrets", "bitroster"][..]), (&dev, &[])] {
        let (passed, said) = checked(manifests, options);
        assert!(passed, "{said}");
        assert!(said.contains("StatefulSet bitroster-shard"), "{said}");
    }
    // A check that lets everything pass would be worth nothing.
    for (is, is_not) in [
        ("replicas: 3", "replicaz: 3"),
        ("targetPort: grpc", "targetPort: grcp"),
        ("bitroster-shard-2.bitroster-shard", "bitroster-shard-3.bitroster-shard"),
        ("mountPath: /data\n          name: data", "mountPath: /data\n          name: date"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ] {
        let damaged = dev.replacen(is, is_not, 1);
        assert_ne!(damaged, dev, "the manifests have no {is}");
        assert!(!checked(&damaged, &[]).0, "{is_not} passes");
    }
}

#[test]
fn the_configuration_of_the_manifests_is_one_that_the_binary_takes() {
    let mut check = Command::new(binary());
    check.args(["config", "check", "deploy/kubernetes/base/bitroster.toml"]);
    // Names in the environment are checked as those in the file are.
    let folder = workspace().join("deploy/kubernetes");
    let files = ["base/shard.yaml", "base/router.yaml", "overlays/dev/kustomization.yaml"];
    let text = files.map(|file| fs::read_to_string(folder.join(file)).expect("a file")).join("\n");
    let words = text.split(|char: char| !(char.is_ascii_uppercase() || char == '_'));
    let names: BTreeSet<&str> = words.filter(|word| word.starts_with("BITROSTER_")).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let value = match name {
            "BITROSTER_CLUSTER__BOOTSTRAP_EXPECT" => "3",
            "BITROSTER_STORAGE__MAXMEMORY" => "600mb",
            _ => "host:7380",
        };
        check.env(name, value);
    }
    succeeds(&mut check);
}

#[test]
fn systemd_takes_the_unit_and_finds_it_locked_down() {
    let test = "systemd_takes_the_unit_and_finds_it_locked_down";
    if !is_here(test, "systemd-analyze", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = folder.path().join("bitroster.service");
    let shipped = workspace().join("deploy/systemd/bitroster.service");
    let shipped = fs::read_to_string(shipped).expect("the unit");
    // It must be there to be verified.
    let installed = shipped.replace("/usr/bin/bitroster", binary().to_str().expect("in UTF-8"));
    assert_ne!(installed, shipped);
    fs::write(&unit, installed).expect("a file");
    let verified = run(Command::new("systemd-analyze").arg("verify").arg(&unit));
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("bitroster.service"), "{said}");
    // From 0 to 10: an unlocked service has 9.6.
    let security = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    succeeds(Command::new("systemd-analyze").args(security).arg(&unit));
}

/// The pages about alerts.
fn runbooks() -> Vec<(PathBuf, String)> {
    let folder = workspace().join("docs/runbooks");
    let files = fs::read_dir(folder).expect("the folder of runbooks");
    let paths = files.map(|file| file.expect("a file").path());
    paths.map(|path| (path.clone(), fs::read_to_string(path).expect("a page"))).collect()
}

/// The lines of a page's blocks of commands, without comments.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|it| it.strip_prefix("sh\n"));
    let lines = blocks.flat_map(str::lines);
    lines.map(|line| line.split("  #").next().unwrap_or_default().trim()).collect()
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let alerts = workspace().join("deploy/prometheus/rules/alerts.yml");
    let alerts = fs::read_to_string(alerts).expect("the alerts");
    let after = |text: &str| -> Vec<String> {
        let words = alerts.split(text).skip(1);
        let words = words.map(|rest| rest.split_whitespace().next().unwrap_or_default());
        words.map(str::to_owned).collect()
    };
    let (names, pages) = (after("- alert: "), after("/docs/runbooks/"));
    assert_eq!(names.len(), pages.len(), "an alert has no runbook_url");
    let found = runbooks();
    for (name, page) in names.iter().zip(&pages) {
        let file = found.iter().find(|(path, _)| path.ends_with(page));
        let (_, text) = file.unwrap_or_else(|| panic!("there is no docs/runbooks/{page}"));
        assert!(text.starts_with(&format!("# {name}\n")), "{page} is not about {name}");
        assert!(commands(text).len() >= 3, "{page} has fewer than three commands to run");
    }
    assert_eq!(found.len(), pages.len(), "a page has no alert");
}

#[test]
fn every_command_of_the_pages_can_be_run() {
    let server = Server::bitroster(&["--groups", "1"]);
    let mut client = server.client();
    for (path, page) in runbooks() {
        for command in commands(&page) {
            let page = path.display();
            let words: Vec<&str> = command.split_whitespace().collect();
            match words.as_slice() {
                ["bitroster", words @ ..] => is_understood(words),
                ["redis-cli", "-h", "ROUTER", "-p", "6379", request @ ..] => {
                    let reply = client.call(request).expect("an answer");
                    // A lone node has no cluster to tell of, but knows the command.
                    let mut known = true;
                    if let Frame::Error(text) = &reply {
                        known = !String::from_utf8_lossy(text).contains("unknown");
                    }
                    assert!(known, "{page}: {command}: {reply:?}");
                }
                _ => panic!("{page}: {command} is no command of ours"),
            }
        }
    }
}

/// Whether the command line knows these sub-commands and options.
fn is_understood(words: &[&str]) {
    let is_name = |word: &&&str| word.chars().all(|char| char.is_ascii_lowercase());
    let names: Vec<&&str> = words.iter().take_while(is_name).collect();
    let help = succeeds(Command::new(binary()).args(names).arg("--help"));
    for option in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{words:?}: there is no {option} in\n{help}");
    }
}
