//! What a front end is started with, and what may change while it runs.

use std::{
    hint,
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bitroster_command::ParseLimits;
use bitroster_types::limits::CLIENTS_MAX_DEFAULT;
use parking_lot::RwLock;

/// What a front end is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address it listens on, for INFO and CONFIG GET.
    pub bind: String,
    /// The port it listens on, for INFO and CONFIG GET.
    pub port: u16,
    /// Most clients at a time.
    pub clients_max: usize,
    /// Seconds after which an idle client is dropped; 0 for never.
    pub timeout_secs: u64,
    /// What clients must say with AUTH; `None` where anybody may ask.
    pub password: Option<String>,
    /// Bounds of what a command may name: bits of a bitmap, bytes of a value.
    pub parse_limits: ParseLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".to_owned(),
            port: 6379,
            clients_max: CLIENTS_MAX_DEFAULT,
            timeout_secs: 0,
            password: None,
            parse_limits: ParseLimits::default(),
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
    clients_max: AtomicUsize,
    timeout_secs: AtomicU64,
    has_password: AtomicBool,
    password: RwLock<Vec<u8>>,
}

impl Settings {
    pub(crate) fn new(options: Options) -> Self {
        let password = options.password.unwrap_or_default();
        Self {
            bind: options.bind,
            port: options.port,
            parse_limits: options.parse_limits,
            clients_max: AtomicUsize::new(options.clients_max),
            timeout_secs: AtomicU64::new(options.timeout_secs),
            has_password: AtomicBool::new(!password.is_empty()),
            password: RwLock::new(password.into_bytes()),
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

    /// Whether clients must authenticate.
    pub(crate) fn has_password(&self) -> bool {
        self.has_password.load(Relaxed)
    }

    /// Sets the password; an empty one lets everybody in. Clients that are in stay in.
    pub(crate) fn set_password(&self, password: &[u8]) {
        let mut current = self.password.write();
        current.clear();
        current.extend_from_slice(password);
        self.has_password.store(!password.is_empty(), Relaxed);
    }

    /// Whether `given` is the password. Takes a time that depends on `given`'s length alone.
    pub(crate) fn is_password(&self, given: &[u8]) -> bool {
        let password = self.password.read();
        if password.is_empty() {
            return false;
        }
        let differing = given
            .iter()
            .zip(password.iter().cycle())
            .fold(0, |differing, (a, b)| hint::black_box(differing | (a ^ b)));
        differing == 0 && given.len() == password.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_the_password() {
        let settings =
            Settings::new(Options { password: Some("abab".to_owned()), ..Options::default() });
        assert!(settings.has_password() && settings.is_password(b"abab"));
        for wrong in [&b""[..], b"ab", b"abababab", b"abac", b"ABAB", b"aba\0"] {
            assert!(!settings.is_password(wrong), "{wrong:?}");
        }
        settings.set_password(b"");
        assert!(!settings.has_password() && !settings.is_password(b""));
    }

    #[test]
    fn only_loopback_is_safe_without_a_password() {
        let safe = |text: &str| is_safe_without_password(text.parse().unwrap());
        assert!(safe("127.0.0.1") && safe("::1") && safe("127.9.9.9"));
        assert!(!safe("0.0.0.0") && !safe("::") && !safe("10.0.0.1"));
    }
}
