//! The HTTP server for operators: is it alive, is it ready, what does it count.
//!
//! These need no password: they show no data. The console beside them has one where its users do.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bitroster_frontend::Frontend;
use bitroster_shard::{GroupHandle, Shard};
use bitroster_telemetry::{build, metric::Recorder};
use tokio::{net::TcpListener, sync::oneshot};

use super::{
    figures::Figures,
    http::{Console, serve::serve},
    tasks::Tasks,
    topology::Topology,
};
use crate::config::RoleWord;

/// What the admin server looks at.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) role: RoleWord,
    pub(crate) topology: Topology,
    pub(crate) shard: Arc<OnceLock<Arc<Shard>>>,
    pub(crate) figures: Arc<Figures>,
    /// Set once the node serves clients.
    pub(crate) front: Arc<OnceLock<Frontend>>,
    pub(crate) clients_ready: Arc<AtomicBool>,
    pub(crate) recorder: Recorder,
    /// Where the node has one.
    pub(super) console: Option<Console>,
    pub(crate) tasks: Arc<Tasks>,
}

/// The query of `/readyz`.
#[derive(Debug, serde::Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

impl Admin {
    /// Answers until `ended` is told.
    pub(crate) async fn serve(self, listener: TcpListener, ended: oneshot::Receiver<()>) {
        let (console, tasks) = (self.console.clone(), Arc::clone(&self.tasks));
        let mut routes = Router::new()
            .route("/", get(index))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/healthz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        if let Some(console) = console {
            routes = routes.merge(console.routes());
        }
        serve(listener, routes, tasks, ended).await;
    }

    /// What must hold for the node to be ready, and whether it does.
    fn checks(&self) -> Vec<(bool, String)> {
        let mut checks = Vec::new();
        if let Topology::Followed(_) = self.topology {
            let state = self.topology.state();
            checks.push(match &state {
                Some(state) => (true, format!("in the cluster at revision {}", state.revision)),
                None => (false, "not in a cluster yet".to_owned()),
            });
        }
        if self.role.keeps_data() {
            let Some(shard) = self.shard.get() else {
                checks.push((false, "the log is being read".to_owned()));
                return checks;
            };
            let ready = shard.groups().filter(GroupHandle::is_ready).count();
            let all = shard.groups().count();
            checks.push((true, "the log is open".to_owned()));
            checks.push((ready == all, format!("{ready} of {all} replicas here answer")));
        }
        if self.role.serves_clients() {
            checks
                .push((self.clients_ready.load(Relaxed), "every group answers clients".to_owned()));
        }
        checks
    }
}

async fn index(State(admin): State<Admin>) -> Response {
    if admin.console.is_some() {
        return (StatusCode::FOUND, [(header::LOCATION, "console/")]).into_response();
    }
    let text = format!(
        "Bitroster {}\n\n/livez    the process runs\n/readyz   all groups answer; ?verbose for \
         each check\n/metrics  for Prometheus\n",
        build::VERSION
    );
    text.into_response()
}

async fn ready(State(admin): State<Admin>, Query(query): Query<ReadyQuery>) -> impl IntoResponse {
    let checks = admin.checks();
    let is_ready = checks.iter().all(|(holds, _)| *holds);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = if query.verbose.is_some() {
        let mark = |holds: bool| if holds { "+" } else { "-" };
        let mut text: String =
            checks.iter().map(|(holds, what)| format!("[{}] {what}\n", mark(*holds))).collect();
        text.push_str(if is_ready { "ready\n" } else { "not ready\n" });
        text
    } else if is_ready {
        "ok\n".to_owned()
    } else {
        let failing = checks.iter().filter(|(holds, _)| !holds);
        failing.map(|(_, what)| format!("not so: {what}\n")).collect()
    };
    (status, text)
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut page = admin.recorder.page();
    admin.figures.publish(&mut page);
    if let Some(frontend) = admin.front.get() {
        frontend.publish(&mut page);
    }
    if let Some(shard) = admin.shard.get() {
        page = shard.publish(page).await;
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.finish())
}
