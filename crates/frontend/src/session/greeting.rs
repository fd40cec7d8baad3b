//! HELLO, AUTH, RESET, CLIENT REPLY and CLIENT CONSISTENCY: what changes how a client is spoken
//! to.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::{CommandError, Reply};
use bitroster_resp::Version;
use bitroster_router::Reading;
use bitroster_types::Consistency;
use bytes::Bytes;

use super::dialog::{Dialog, Mute};
use crate::{
    access::DEFAULT_USER,
    admin::{self, client::check_name},
};

const NO_PASSWORD_SET: CommandError = CommandError::Text(
    "ERR AUTH <password> called without any password configured for the default user. Are you \
     sure your configuration is correct?",
);

const HELLO_UNAUTHENTICATED: CommandError = CommandError::Text(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
     <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
     protocol version at the same time",
);

impl Dialog {
    /// AUTH, alone or within HELLO, which `command` says for ACL LOG.
    pub(super) fn authenticate(
        &mut self,
        command: &'static str,
        user: Option<&[u8]>,
        password: &[u8],
    ) -> Result<Reply, CommandError> {
        let access = self.shared.access();
        if user.is_none() && access.default_needs_no_password() {
            return Err(NO_PASSWORD_SET);
        }
        let user = user.unwrap_or(DEFAULT_USER);
        match access.authenticate(user, password) {
            Ok(identity) => {
                self.become_user(Some(identity));
                Ok(Reply::Ok)
            }
            Err(error) => {
                let client = self.describe();
                access.log().lock().note_wrong_password(command.as_bytes(), user, &client);
                Err(error)
            }
        }
    }

    /// HELLO. Nothing is changed unless all of it can be.
    pub(super) fn hello(
        &mut self,
        version: Option<i64>,
        auth: Option<(Bytes, Bytes)>,
        name: Option<Bytes>,
    ) -> Result<Reply, CommandError> {
        let protocol = match version {
            None => self.protocol,
            Some(2) => Version::Resp2,
            Some(3) => Version::Resp3,
            Some(_) => return Err(CommandError::Text("NOPROTO unsupported protocol version")),
        };
        let name = name.map(|name| check_name(&name)).transpose()?;
        if let Some((user, password)) = auth {
            self.authenticate("HELLO", Some(&user), &password)?;
        }
        if self.identity.is_none() {
            return Err(HELLO_UNAUTHENTICATED);
        }
        if let Some(name) = name {
            self.client.names.lock().name = name;
        }
        self.set_protocol(protocol);
        Ok(self.greeting())
    }

    fn set_protocol(&mut self, protocol: Version) {
        self.protocol = protocol;
        self.client.protocol.store(self.protocol_number(), Relaxed);
    }

    fn protocol_number(&self) -> u16 {
        match self.protocol {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        }
    }

    /// The map of seven that HELLO answers.
    fn greeting(&self) -> Reply {
        let id = i64::try_from(self.client.id).unwrap_or(i64::MAX);
        let rows = [
            ("server", Reply::bulk("redis")),
            ("version", Reply::bulk(admin::info::REDIS_VERSION)),
            ("proto", Reply::Integer(i64::from(self.protocol_number()))),
            ("id", Reply::Integer(id)),
            ("mode", Reply::bulk("standalone")),
            ("role", Reply::bulk("master")),
            ("modules", Reply::Array(Vec::new())),
        ];
        Reply::Map(rows.into_iter().map(|(key, value)| (Reply::bulk(key), value)).collect())
    }

    /// RESET.
    pub(super) fn reset(&mut self) -> Reply {
        self.end_transaction();
        self.stop_listening();
        self.set_protocol(Version::Resp2);
        self.mute = Mute::Nothing;
        self.set_consistency(Consistency::default());
        self.client.names.lock().name.clear();
        self.become_user(self.shared.access().default_identity());
        Reply::Status("RESET")
    }

    /// CLIENT CONSISTENCY: sets what reads may miss, or tells it and how old answers were.
    pub(super) fn consistency(&mut self, args: &[Bytes]) -> Result<Reply, CommandError> {
        match args {
            [] => {
                let age_ms = self.reading.age_ms.swap(0, Relaxed);
                Ok(Reply::Array(vec![
                    Reply::bulk(self.reading.consistency.name()),
                    Reply::Integer(i64::try_from(age_ms).unwrap_or(i64::MAX)),
                ]))
            }
            [name] => {
                let Some(consistency) = Consistency::from_name(name) else {
                    let given = String::from_utf8_lossy(name);
                    let given: String = given.chars().take(128).collect();
                    return Err(CommandError::Message(format!(
                        "ERR consistency is linearizable, leader or stale, not '{given}'"
                    )));
                };
                self.set_consistency(consistency);
                Ok(Reply::Ok)
            }
            _ => Err(CommandError::wrong_arity("client|consistency")),
        }
    }

    fn set_consistency(&mut self, consistency: Consistency) {
        self.reading = Reading::new(consistency);
        self.turn.set_reading(self.reading.clone());
    }

    /// CLIENT REPLY ON|OFF|SKIP; only ON is answered.
    pub(super) fn set_mute(&mut self, args: &[Bytes]) -> Option<Reply> {
        let mode = args.get(1).map(|mode| mode.to_ascii_lowercase()).unwrap_or_default();
        match mode.as_slice() {
            b"on" => {
                self.mute = Mute::Nothing;
                Some(Reply::Ok)
            }
            b"off" => {
                self.mute = Mute::All;
                None
            }
            b"skip" => {
                if self.mute == Mute::Nothing {
                    self.mute = Mute::Next;
                }
                None
            }
            _ => Some(CommandError::Syntax.into()),
        }
    }
}
