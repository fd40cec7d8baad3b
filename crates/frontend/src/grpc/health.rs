//! The service `grpc.health.v1.Health`: whether keys can be asked for.

use std::time::Duration;

use bitroster_proto::public::{bitmaps_server, commands_server, ids_server, keys_server};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use super::{Outcome, Pages, gate::Gate};

/// How often a watched service is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The services that are asked for by name; the empty name is the server's.
const SERVICES: [&str; 5] = [
    "",
    bitmaps_server::SERVICE_NAME,
    keys_server::SERVICE_NAME,
    ids_server::SERVICE_NAME,
    commands_server::SERVICE_NAME,
];

/// Answers from the front end's state at the moment of the question.
pub(super) struct HealthService(pub(super) Gate);

impl HealthService {
    fn status(gate: &Gate, service: &str) -> Option<ServingStatus> {
        let is_known = SERVICES.contains(&service);
        let is_serving = gate.shared.is_ready() && !gate.shared.is_stopping();
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        is_known.then_some(status)
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Outcome<HealthCheckResponse> {
        let status = Self::status(&self.0, &request.get_ref().service);
        let status = status.ok_or_else(|| Status::not_found("there is no such service"))?;
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Pages<HealthCheckResponse>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Outcome<Self::WatchStream> {
        let mut ticks = interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let service = request.into_inner().service;
        let watch = Watch { gate: self.0.clone(), service, ticks, told: None };
        let changes = stream::unfold(watch, |mut watch| async move {
            let status = watch.next().await?;
            Some((Ok(HealthCheckResponse { status: status.into() }), watch))
        });
        Ok(Response::new(changes.boxed()))
    }
}

/// What a client that watches was told last.
struct Watch {
    gate: Gate,
    service: String,
    ticks: Interval,
    told: Option<ServingStatus>,
}

impl Watch {
    /// The next status that differs; `None` once the server has told that it ends.
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            if *self.gate.closing.borrow() && self.told == Some(ServingStatus::NotServing) {
                return None;
            }
            tokio::select! {
                _ = self.ticks.tick() => {}
                _ = self.gate.closing.wait_for(|closing| *closing) => {}
            }
            let status = HealthService::status(&self.gate, &self.service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(status);
            }
            if *self.gate.closing.borrow() {
                return None;
            }
        }
    }
}
