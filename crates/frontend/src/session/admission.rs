//! Who the client is, and whether it may do what it asks.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::{
    Command, CommandError,
    table::{COMMANDS, CommandSpec, Flags},
};

use super::dialog::{Dialog, Pending, flags_at};
use crate::access::{DEFAULT_USER, Identity, NO_AUTH, commands::Place, log::Context};

impl Dialog {
    /// Whether `spec` may run at all now. Redis: `processCommand` in `server.c`.
    pub(super) fn admit(
        &mut self,
        spec: &'static CommandSpec,
        place: Place,
        args: &[&[u8]],
    ) -> Result<(), CommandError> {
        if !spec.takes(args.len()) {
            return spec.parse(args, &self.shared.settings.parse_limits).map(drop);
        }
        self.admit_now(spec, place)
    }

    /// Whether `spec` may run as things are now, with whatever arguments.
    pub(super) fn admit_now(
        &mut self,
        spec: &'static CommandSpec,
        place: Place,
    ) -> Result<(), CommandError> {
        if self.identity.is_none() {
            // The user `default` may have lost its password meanwhile.
            self.become_user(self.shared.access().default_identity());
        }
        match &self.identity {
            None if !spec.flags.contains(Flags::NO_AUTH) => return Err(NO_AUTH),
            Some(identity) if !identity.is_free() => {
                identity.admit_place(place, self.context(), || self.describe())?;
            }
            None | Some(_) => {}
        }
        if flags_at(spec, place).contains(Flags::DENYOOM) && self.shared.is_over_memory() {
            return Err(CommandError::OutOfMemory);
        }
        self.admit_listener(spec)?;
        if !spec.flags.contains(Flags::LOADING) && !self.shared.is_ready() {
            return Err(CommandError::Loading);
        }
        Ok(())
    }

    /// Whether the client may do this to these keys and channels.
    pub(super) fn admit_command(
        &self,
        place: Place,
        command: &Command,
    ) -> Result<(), CommandError> {
        match &self.identity {
            Some(identity) if !identity.is_free() => {
                identity.admit_from(place, command, self.context(), || self.describe())
            }
            None | Some(_) => Ok(()),
        }
    }

    pub(super) fn refuse_admission(&mut self, error: CommandError) -> Option<Pending> {
        self.tally.reject();
        if let Some(queue) = &mut self.queue {
            queue.spoil();
        }
        self.turn.push_reply(error.into());
        None
    }

    /// Where a command stands, for ACL LOG.
    pub(super) fn context(&self) -> Context {
        if self.queue.is_some() { Context::Multi } else { Context::TopLevel }
    }

    /// The client's line of CLIENT LIST.
    pub(super) fn describe(&self) -> String {
        let last = usize::from(self.client.last_command.load(Relaxed));
        let command = COMMANDS.get(last).map_or("NULL", |spec| spec.name);
        let mut out = String::new();
        self.client.describe(self.shared.now_secs(), command, &self.user_name(), &mut out);
        out
    }

    /// The name of the user that it is; `default` before it has said so.
    pub(super) fn user_name(&self) -> String {
        let name = self.identity.as_ref().map_or(DEFAULT_USER, Identity::name);
        String::from_utf8_lossy(name).into_owned()
    }

    /// Makes the client somebody, or nobody.
    pub(crate) fn become_user(&mut self, identity: Option<Identity>) {
        if self.owns_client {
            self.client.identity.lock().clone_from(&identity);
        }
        self.identity = identity;
    }
}
