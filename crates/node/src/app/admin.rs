//! The HTTP server for operators: is it alive, is it ready, what does it count.
//!
//! No password: it shows no data, and it belongs on a private address.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use bitroster_frontend::Frontend;
use bitroster_shard::Shard;
use bitroster_telemetry::{build, metric::Recorder};
use tokio::{net::TcpListener, sync::oneshot};
use tracing::error;

use super::figures::Figures;

/// What the admin server looks at.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) shard: Arc<OnceLock<Arc<Shard>>>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) frontend: Frontend,
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

    /// How many groups answer, and how many there are.
    fn ready_groups(&self) -> (usize, usize) {
        let Some(shard) = self.shard.get() else {
            return (0, 0);
        };
        let ready = shard.groups().filter(|group| group.is_ready()).count();
        (ready, shard.groups().count())
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
    let (ready, all) = admin.ready_groups();
    let is_ready = all > 0 && ready == all;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mark = |good: bool| if good { "+" } else { "-" };
    let text = if query.verbose.is_some() {
        format!(
            "[{}] log is open\n[{}] {ready} of {all} groups answer\n{}\n",
            mark(all > 0),
            mark(is_ready),
            if is_ready { "ready" } else { "not ready" }
        )
    } else if is_ready {
        "ok\n".to_owned()
    } else if all == 0 {
        "the log is being read\n".to_owned()
    } else {
        format!("{ready} of {all} groups answer\n")
    };
    (status, text)
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    admin.frontend.publish();
    admin.figures.publish();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.recorder.render())
}
