//! The HTTP server for operators: is it alive, is it ready, what does it count.
//!
//! No password: it shows no data, and it belongs on a private address.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use bitroster_frontend::Frontend;
use bitroster_shard::{GroupHandle, Shard};
use bitroster_telemetry::{build, metric::Recorder};
use tokio::{net::TcpListener, sync::oneshot};
use tracing::error;

use super::{figures::Figures, topology::Topology};
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
}

/// The query of `/readyz`.
#[derive(Debug, serde::Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

impl Admin {
    /// Answers until `ended` is told.
    pub(crate) async fn serve(self, listener: TcpListener, ended: oneshot::Receiver<()>) {
        let routes = Router::new()
            .route("/", get(index))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/healthz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        let served = axum::serve(listener, routes).with_graceful_shutdown(async move {
            // A dropped sender is an end as well.
            ended.await.ok();
        });
        if let Err(error) = served.await {
            error!(%error, "the admin server ended");
        }
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

async fn index() -> String {
    format!(
        "Bitroster {}\n\n/livez    the process runs\n/readyz   all groups answer; ?verbose for \
         each check\n/metrics  for Prometheus\n",
        build::VERSION
    )
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
