//! What a front end is started with, and what may change while it runs.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bitroster_command::ParseLimits;
use bitroster_types::limits::CLIENTS_MAX_DEFAULT;

use crate::Access;

/// What a front end is started with.
#[derive(Clone)]
pub struct Options {
    /// The address it listens on, for INFO and CONFIG GET.
    pub bind: String,
    /// The port it listens on, for INFO and CONFIG GET.
    pub port: u16,
    /// Most clients at a time.
    pub clients_max: usize,
    /// Seconds after which an idle client is dropped; 0 for never.
    pub timeout_secs: u64,
    /// The password of the user `default` as long as the cluster's users have none; `None` where
    /// it needs none.
    pub password: Option<String>,
    /// Serve only this machine's own clients while the user `default` needs no password
    /// (Redis: `protected-mode`).
    pub is_protected: bool,
    /// Bounds of what a command may name: bits of a bitmap, bytes of a value.
    pub parse_limits: ParseLimits,
    /// The port of the node's console, which browsers that come to the RESP port are sent to.
    pub console_port: Option<u16>,
}

impl fmt::Debug for Options {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("bind", &self.bind)
            .field("port", &self.port)
            .field("has_password", &self.password.is_some())
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".to_owned(),
            port: 6379,
            clients_max: CLIENTS_MAX_DEFAULT,
            timeout_secs: 0,
            password: None,
            is_protected: true,
            parse_limits: ParseLimits::default(),
            console_port: None,
        }
    }
}

/// Whether clients at `address` may be served without a password: only this machine's own.
pub fn is_safe_without_password(address: IpAddr) -> bool {
    address.is_loopback()
}

/// The settings that CONFIG SET may change, and the fixed ones beside them.
pub(crate) struct Settings {
    pub(crate) bind: String,
    pub(crate) port: u16,
    pub(crate) parse_limits: ParseLimits,
    pub(crate) console_port: Option<u16>,
    clients_max: AtomicUsize,
    timeout_secs: AtomicU64,
    pub(crate) is_protected: bool,
    pub(crate) access: Access,
}

impl Settings {
    pub(crate) fn new(options: Options) -> Self {
        let password = options.password.as_deref().map(str::as_bytes);
        Self {
            bind: options.bind,
            port: options.port,
            parse_limits: options.parse_limits,
            console_port: options.console_port,
            clients_max: AtomicUsize::new(options.clients_max),
            timeout_secs: AtomicU64::new(options.timeout_secs),
            is_protected: options.is_protected,
            access: Access::new(password),
        }
    }

    pub(crate) fn clients_max(&self) -> usize {
        self.clients_max.load(Relaxed)
    }

    pub(crate) fn set_clients_max(&self, clients: usize) {
        self.clients_max.store(clients, Relaxed);
    }

    pub(crate) fn timeout_secs(&self) -> u64 {
        self.timeout_secs.load(Relaxed)
    }

    pub(crate) fn set_timeout_secs(&self, secs: u64) {
        self.timeout_secs.store(secs, Relaxed);
    }

    /// Whether the user `default` has a password.
    pub(crate) fn has_password(&self) -> bool {
        !self.access.default_needs_no_password()
    }

    /// Sets the configuration's password; an empty one lets everybody in. Clients that are in stay
    /// in.
    ///
    /// # Errors
    ///
    /// Where the cluster's users have a `default`, whose password it would not be.
    pub(crate) fn set_password(&self, password: &[u8]) -> Result<(), String> {
        self.access.set_configured_password(password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_safe_without_a_password() {
        let safe = |text: &str| is_safe_without_password(text.parse().unwrap());
        assert!(safe("127.0.0.1") && safe("::1") && safe("127.9.9.9"));
        assert!(!safe("0.0.0.0") && !safe("::") && !safe("10.0.0.1"));
    }
}
