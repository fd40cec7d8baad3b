//! Expiries as clients give them.

use bitroster_types::{UnixMillis, limits::EXPIRY_MILLIS_MAX};

use super::integer;
use crate::{CommandError, Expiry};

/// What a client's number counts, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Milliseconds instead of seconds.
    pub(super) millis: bool,
    /// Since the epoch instead of from now.
    pub(super) absolute: bool,
}

impl Form {
    /// `EX`, `EXPIRE`.
    pub(super) const SECONDS: Self = Self { millis: false, absolute: false };
    /// `PX`, `PEXPIRE`.
    pub(super) const MILLIS: Self = Self { millis: true, absolute: false };
    /// `EXAT`, `EXPIREAT`.
    pub(super) const AT_SECONDS: Self = Self { millis: false, absolute: true };
    /// `PXAT`, `PEXPIREAT`.
    pub(super) const AT_MILLIS: Self = Self { millis: true, absolute: true };

    /// The number as an expiry; it may be negative. `name` is the command's, for the error.
    pub(super) fn any(self, number: &[u8], name: &str) -> Result<Expiry, CommandError> {
        let number = integer(number)?;
        let millis = if self.millis { Some(number) } else { number.checked_mul(1000) };
        match millis {
            Some(millis) if self.absolute => {
                Ok(Expiry::At(UnixMillis(u64::try_from(millis).unwrap_or(0))))
            }
            Some(millis) if millis <= EXPIRY_MILLIS_MAX => Ok(Expiry::In(millis)),
            _ => Err(CommandError::expire_time(name)),
        }
    }

    /// The number as an expiry; it must be positive. `name` is the command's, for the error.
    pub(super) fn positive(self, number: &[u8], name: &str) -> Result<Expiry, CommandError> {
        if integer(number)? > 0 {
            self.any(number, name)
        } else {
            Err(CommandError::expire_time(name))
        }
    }
}
