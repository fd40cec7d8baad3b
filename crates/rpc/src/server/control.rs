//! The service `Cluster`: what it answers is the node's business.

use std::sync::Arc;

use bitroster_proto::internal::{
    ChangeReply, ChangeRequest, DiscoverReply, DiscoverRequest, FoundReply, FoundRequest,
    JoinReply, JoinRequest, PromiseReply, PromiseRequest, StateReply, StateRequest, StatusReply,
    StatusRequest, cluster_server::Cluster,
};
use futures_util::future::BoxFuture;
use tonic::{Request, Response, Status};

/// What a request to [`Control`] ends with.
type Answer<'a, T> = BoxFuture<'a, Result<T, ControlError>>;

/// Answers operators, and nodes that look for a cluster. Implemented by the node.
///
/// What each request means stands in `proto/bitroster/internal/v1/node.proto`.
pub trait Control: Send + Sync + 'static {
    /// Who answers here.
    fn discover(&self, request: DiscoverRequest) -> Answer<'_, DiscoverReply>;
    /// Promises to be a founding member, and of no other founding for a while.
    fn promise(&self, request: PromiseRequest) -> Answer<'_, PromiseReply>;
    /// All have promised.
    fn found(&self, request: FoundRequest) -> Answer<'_, FoundReply>;
    /// Makes a node a member.
    fn join(&self, request: JoinRequest) -> Answer<'_, JoinReply>;
    /// The newest state that the node knows.
    fn state(&self, request: StateRequest) -> Answer<'_, StateReply>;
    /// What the node sees of itself.
    fn status(&self, request: StatusRequest) -> Answer<'_, StatusReply>;
    /// Changes the cluster.
    fn change(&self, request: ChangeRequest) -> Answer<'_, ChangeReply>;
}

/// Why a request to [`Control`] was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The request makes no sense here, or not now: repeating it does not help.
    #[error("{0}")]
    Refused(String),
    /// Not now: this node, or one that it needs, cannot answer yet.
    #[error("{0}")]
    Unavailable(String),
}

impl From<ControlError> for Status {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused(reason) => Self::failed_precondition(reason),
            ControlError::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

/// The service behind [`Control`].
pub(crate) struct ControlService {
    pub(crate) control: Arc<dyn Control>,
}

#[tonic::async_trait]
impl Cluster for ControlService {
    async fn discover(
        &self,
        request: Request<DiscoverRequest>,
    ) -> Result<Response<DiscoverReply>, Status> {
        Ok(Response::new(self.control.discover(request.into_inner()).await?))
    }

    async fn promise(
        &self,
        request: Request<PromiseRequest>,
    ) -> Result<Response<PromiseReply>, Status> {
        Ok(Response::new(self.control.promise(request.into_inner()).await?))
    }

    async fn found(&self, request: Request<FoundRequest>) -> Result<Response<FoundReply>, Status> {
        Ok(Response::new(self.control.found(request.into_inner()).await?))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        Ok(Response::new(self.control.join(request.into_inner()).await?))
    }

    async fn state(&self, request: Request<StateRequest>) -> Result<Response<StateReply>, Status> {
        Ok(Response::new(self.control.state(request.into_inner()).await?))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(self.control.status(request.into_inner()).await?))
    }

    async fn change(
        &self,
        request: Request<ChangeRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        Ok(Response::new(self.control.change(request.into_inner()).await?))
    }
}
