//! What a peer may send.

use bitroster_types::limits::{
    BULK_BYTES_MAX, BULK_BYTES_UNAUTHENTICATED_MAX, INLINE_BYTES_MAX, REPLY_DEPTH_MAX,
    REPLY_ELEMENTS_MAX, REQUEST_ARGS_MAX, REQUEST_ARGS_UNAUTHENTICATED_MAX,
};

/// What a client may put into one request.
///
/// None can be raised above its constant in [`bitroster_types::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most arguments, the command's name included.
    pub args_max: usize,
    /// Longest argument, in bytes.
    pub bulk_bytes_max: usize,
    /// Longest inline request and longest line that announces a length, in bytes; at least 16.
    pub inline_bytes_max: usize,
    /// Whether a refusal says "invalid" (true) or "unauthenticated" (false).
    pub authenticated: bool,
}

impl Limits {
    /// For a client that is logged in or needs not to be: `bulk_bytes_max` is the server's
    /// `proto-max-bulk-len`.
    pub fn authenticated(bulk_bytes_max: usize) -> Self {
        Self {
            args_max: REQUEST_ARGS_MAX,
            bulk_bytes_max,
            inline_bytes_max: INLINE_BYTES_MAX,
            authenticated: true,
        }
    }

    /// For a client that has yet to log in: enough for `AUTH` and `HELLO`, too little to fill
    /// memory with. Redis: `authRequired` in `networking.c`.
    pub fn unauthenticated() -> Self {
        Self {
            args_max: REQUEST_ARGS_UNAUTHENTICATED_MAX,
            bulk_bytes_max: BULK_BYTES_UNAUTHENTICATED_MAX,
            inline_bytes_max: INLINE_BYTES_MAX,
            authenticated: false,
        }
    }
}

impl Default for Limits {
    /// An authenticated client with the default `proto-max-bulk-len`.
    fn default() -> Self {
        Self::authenticated(BULK_BYTES_MAX)
    }
}

/// What a server may put into one reply that our own clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Deepest nesting; a reply that is no aggregate has depth 0.
    pub depth_max: usize,
    /// Most frames inside one reply, over all its levels.
    pub elements_max: usize,
    /// Longest bulk, verbatim text or bulk error, in bytes.
    pub bulk_bytes_max: usize,
    /// Longest line (simple string, error, number, length), in bytes.
    pub line_bytes_max: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            depth_max: REPLY_DEPTH_MAX,
            elements_max: REPLY_ELEMENTS_MAX,
            bulk_bytes_max: BULK_BYTES_MAX,
            line_bytes_max: INLINE_BYTES_MAX,
        }
    }
}
