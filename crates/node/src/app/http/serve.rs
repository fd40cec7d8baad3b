//! Connections of the admin server, and their bounds: whoever reaches the port may connect, so that
//! nobody may hold much, or anything for long.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router};
use bitroster_router::Spawn as _;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot, watch},
};
use tracing::{debug, warn};

use super::{super::tasks::Tasks, Ends};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// How long the head of a request may take, and how long a connection may be idle: longer than the
/// usual time between two scrapes, so that those find their connection open.
const HEAD_TIME_MAX: Duration = Duration::from_secs(70);

/// How long what was written may wait to be taken, in milliseconds.
#[cfg(target_os = "linux")]
const WRITE_MILLIS_MAX: u32 = 20_000;

/// Bytes of a request's head, and of what is read ahead.
const BUFFER_BYTES_MAX: usize = 32 << 10;

/// Time between two attempts to accept while the system has no more file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Answers requests by `routes` until `ended` is told, and lets the last ones be answered.
pub(in super::super) async fn serve(
    listener: TcpListener,
    routes: Router,
    tasks: Arc<Tasks>,
    ended: oneshot::Receiver<()>,
) {
    let (close, closing) = watch::channel(());
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut ended = pin!(ended);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            // A dropped sender is an end as well.
            _ = &mut ended => break,
        };
        let Some((stream, ends, permit)) = accepted else { continue };
        let (routes, closing) = (routes.clone().layer(Extension(ends)), closing.clone());
        let connection = async move {
            converse(stream, routes, closing).await;
            drop(permit);
        };
        tasks.spawn("admin-connection", Box::pin(connection));
    }
    drop(close);
}

type Accepted = (TcpStream, Ends, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let local = stream.local_addr().ok()?;
            // Whoever asks and does not read is let go by the kernel.
            #[cfg(target_os = "linux")]
            if let Err(error) =
                rustix::net::sockopt::set_tcp_user_timeout(&stream, WRITE_MILLIS_MAX)
            {
                debug!(%error, "an admin client may take its time to read");
            }
            Some((stream, Ends { peer, local }, permit))
        }
        Err(error) => {
            warn!(%error, "cannot accept an admin client");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

async fn converse(stream: TcpStream, routes: Router, mut closing: watch::Receiver<()>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        // Ends when the sender is dropped.
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "an admin client was lost");
    }
}
