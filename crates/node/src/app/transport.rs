//! The router's way to the groups of this process: a function call.

use std::{sync::OnceLock, time::Duration};

use bitroster_command::{CommandError, OpBatch, Outcome, ReadOp};
use bitroster_router::{Reading, Target, Transport, TransportError};
use bitroster_shard::{Error, GroupHandle};
use bitroster_types::{Deadline, GroupId};
use futures_util::future::{BoxFuture, ready};

/// The groups of this process, by their numbers. Empty until the log is open.
#[derive(Debug, Default)]
pub(crate) struct LocalTransport {
    groups: OnceLock<Vec<Option<GroupHandle>>>,
}

impl LocalTransport {
    /// Opens the way; later calls change nothing.
    pub(crate) fn connect(&self, groups: impl Iterator<Item = GroupHandle>) {
        let mut by_number = Vec::new();
        for group in groups {
            let number = usize::from(group.id().0);
            if by_number.len() <= number {
                by_number.resize_with(number + 1, || None);
            }
            by_number[number] = Some(group);
        }
        self.groups.get_or_init(|| by_number);
    }

    #[inline]
    fn group(&self, group: GroupId) -> Result<&GroupHandle, TransportError> {
        let Some(groups) = self.groups.get() else {
            return Err(TransportError::Refused(CommandError::Loading));
        };
        let found = groups.get(usize::from(group.0)).and_then(Option::as_ref);
        found.ok_or(TransportError::NoLeader { group })
    }
}

impl Transport for LocalTransport {
    #[inline]
    fn read_now(&self, to: Target, op: &ReadOp) -> Option<Outcome> {
        self.group(to.group).ok()?.read_now(op)
    }

    fn read(
        &self,
        Target { group, .. }: Target,
        op: ReadOp,
        reading: &Reading,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
        match self.group(group) {
            Ok(handle) => {
                let consistency = reading.consistency;
                Box::pin(async move {
                    handle.read(op, consistency, deadline).await.map_err(translate(group))
                })
            }
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn read_short(
        &self,
        Target { group, .. }: Target,
        ops: OpBatch,
        reading: &Reading,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        let consistency = reading.consistency;
        match self.group(group) {
            Ok(handle) => Box::pin(async move {
                let answered = handle.read_batch(ops, consistency, &[], deadline).await;
                let outcomes = answered.map_err(translate(group))?.outcomes.decode();
                outcomes.map_err(|error| {
                    CommandError::Message(format!("ERR a reply cannot be read: {error}")).into()
                })
            }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn write(
        &self,
        Target { group, .. }: Target,
        batch: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>> {
        match self.group(group) {
            Ok(handle) => {
                Box::pin(
                    async move { handle.write(batch, deadline).await.map_err(translate(group)) },
                )
            }
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

/// What a shard's refusal means to the router.
fn translate(group: GroupId) -> impl Fn(Error) -> TransportError {
    move |error| match error {
        Error::NoLeader { group, .. } => TransportError::NoLeader { group },
        Error::OutcomeUnknown { waited } => TransportError::OutcomeUnknown { waited },
        Error::Busy { what } => TransportError::Refused(CommandError::Busy(what)),
        Error::TooLong { .. } | Error::Malformed { .. } => {
            TransportError::Refused(CommandError::Message(format!("ERR {error}")))
        }
        Error::Loading { .. } => TransportError::Refused(CommandError::Loading),
        Error::ShuttingDown | Error::NoReplica { .. } => TransportError::NoLeader { group },
        // The process ends; whether the disk has the write is not known here.
        Error::Stopped { .. } | Error::Log(_) => {
            TransportError::OutcomeUnknown { waited: Duration::ZERO }
        }
        Error::Option { option, problem } => {
            TransportError::Refused(CommandError::Message(format!("ERR {option}: {problem}")))
        }
    }
}
