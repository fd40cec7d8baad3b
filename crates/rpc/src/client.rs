//! A client of another node's service `Cluster`, for discovery and for operators.

use std::time::Duration;

use bitroster_proto::internal::cluster_client;
use tokio::time::timeout;
use tonic::{Response, Status, transport::Channel};

use crate::{
    error::{Error, with_causes},
    link::endpoint,
    tls::LinkTls,
};

/// A client of the service `Cluster`. Its methods are the service's.
pub type ClusterClient = cluster_client::ClusterClient<Channel>;

/// Connects to the node at `address`, `host:port`. `patience` bounds the connection, and then each
/// request.
///
/// # Errors
///
/// [`Error::Address`], [`Error::Unreachable`].
pub async fn connect(address: &str, patience: Duration) -> Result<ClusterClient, Error> {
    connect_with(address, patience, None).await
}

/// As [`connect`], by TLS where `tls` is given.
///
/// # Errors
///
/// [`Error::Address`], [`Error::Unreachable`].
pub async fn connect_with(
    address: &str,
    patience: Duration,
    tls: Option<&dyn LinkTls>,
) -> Result<ClusterClient, Error> {
    let unreachable = |reason| Error::Unreachable { address: address.to_owned(), reason };
    let endpoint = endpoint(address, tls)?.timeout(patience);
    let channel = timeout(patience, endpoint.connect()).await;
    let channel = channel
        .map_err(|_| unreachable(format!("no connection within {patience:?}")))?
        .map_err(|error| unreachable(with_causes(&error)))?;
    Ok(ClusterClient::new(channel))
}

/// What a request to a node was answered.
///
/// # Errors
///
/// [`Error::Refused`] with what the node said.
pub fn answer<T>(reply: Result<Response<T>, Status>) -> Result<T, Error> {
    let refused = |status: Status| Error::Refused { reason: status.message().to_owned() };
    reply.map(Response::into_inner).map_err(refused)
}
