//! How fast an import may go.

use std::{
    fmt,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::config::Size;

/// Keys or bytes a second: `500`, `500keys/s`, `20MB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Keys a second.
    Keys(u64),
    /// Bytes a second.
    Bytes(u64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is no rate such as 500keys/s or 20MB/s");
        let amount = text.strip_suffix("/s").unwrap_or(text).trim();
        let keys = amount.strip_suffix("keys").unwrap_or(amount).trim();
        let rate = match keys.parse() {
            Ok(keys) => Self::Keys(keys),
            Err(_) => Self::Bytes(amount.parse::<Size>().map_err(|_| wrong())?.0),
        };
        let is_zero = matches!(rate, Self::Keys(0) | Self::Bytes(0));
        if is_zero { Err(wrong()) } else { Ok(rate) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "{keys} keys/s"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes/s"),
        }
    }
}

/// Keeps what several threads do below a rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    /// When the next one may begin.
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, next: Mutex::new(Instant::now()) }
    }

    /// Waits until another key may be begun.
    pub(super) fn begin_keys(&self, keys: usize) {
        if let Some(Rate::Keys(rate)) = self.rate {
            self.wait(keys as f64 / rate as f64);
        }
    }

    /// Waits until so many bytes more may be copied.
    pub(super) fn begin_bytes(&self, bytes: usize) {
        if let Some(Rate::Bytes(rate)) = self.rate {
            self.wait(bytes as f64 / rate as f64);
        }
    }

    fn wait(&self, seconds: f64) {
        let now = Instant::now();
        let begin = {
            let mut next = self.next.lock();
            let begin = now.max(*next);
            *next = begin + Duration::from_secs_f64(seconds);
            begin
        };
        thread::sleep(begin - now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!("500".parse(), Ok(Rate::Keys(500)));
        assert_eq!("500 keys/s".parse(), Ok(Rate::Keys(500)));
        assert_eq!("20MB/s".parse(), Ok(Rate::Bytes(20 << 20)));
        assert_eq!("1gb".parse(), Ok(Rate::Bytes(1 << 30)));
        for wrong in ["", "0", "0MB/s", "fast", "-1", "5/h"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
