//! Goal: people see in the console what is so: every page, in a real browser, with data, and with
//! a group that is down.
//!
//! Method: programs with Playwright and Debian's Chromium (`tests/console`) open the pages of real
//! processes. A fault in the browser's console, a failed or an unexpectedly refused request fails
//! them; numbers on the pages are compared with replies over RESP. With `UPDATE_SCREENSHOTS=1`
//! they draw the documents' pictures anew.
//!
//! Mutants killed: a density strip that is off by one bucket; a triangle with rows and columns
//! exchanged; a panel that waits for ever for a group that is down; a page with a script inside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use bitroster_suite::{Cluster, Server, server::workspace};

/// A program of `tests/console`, with the packages that the Python clients have.
fn program(name: &str) -> Command {
    let mut command = Command::new(workspace().join("target/clients/python/bin/python"));
    command.arg(workspace().join("tests/console").join(name));
    command
}

#[test]
fn the_pages_pass_the_type_checker() {
    let checked = Command::new(workspace().join("target/clients/node/node_modules/.bin/tsc"))
        .arg("--project")
        .arg(workspace().join("tests/console/tsconfig.json"))
        .output()
        .expect("tsc starts; `cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "tsc ended with {}:\n{said}", checked.status);
}

#[test]
fn every_page_shows_what_the_server_answers() {
    let server = Server::bitroster(&["--groups", "4", "--demo"]);
    let output = program("pages.py")
        .arg(format!("http://{}", server.admin_address()))
        .arg(server.port().to_string())
        .stdin(Stdio::null())
        .output()
        .expect("Python starts; `cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pages.py ended with {}:\n{said}{faults}", output.status);
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 8, "{said}");
}

/// A program that is led step by step; killed when dropped.
struct Led {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Led {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts; `cargo xtask test` installs it");
        let said = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Self { child, said }
    }

    /// Waits until it has come to a step.
    fn comes_to(&mut self, step: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("its output is text");
        assert_eq!(line.trim_end(), step, "its faults are on standard error");
    }

    fn goes_on(&mut self, told: &str) {
        let input = self.child.stdin.as_mut().expect("its input is a pipe");
        writeln!(input, "{told}").expect("it reads");
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_group_without_a_leader_is_told_on_every_page() {
    let mut cluster = Cluster::builder(3, 1).set(&["cluster.replicas=1"]).start();
    let router = cluster.node(cluster.routers().start);
    let (admin, clients) = (router.admin_address(), router.client_address());
    let mut client = cluster.client();
    for at in 0..64 {
        client.words(&format!("SETBIT k{at} 1 1")).expect("every group serves");
    }
    let mut command = program("trouble.py");
    command.arg(format!("http://{admin}")).arg(clients.port().to_string());
    let mut watcher = Led::start(command);
    watcher.comes_to("serving");
    let address = cluster.node(0).cluster_address();
    cluster.kill(0);
    watcher.goes_on(&address);
    watcher.comes_to("told");
    cluster.start_node(0);
    watcher.goes_on("back");
    watcher.comes_to("ok a group that is down is told, and told no more once it is back");
    assert!(watcher.child.wait().expect("it ends").success());
}
