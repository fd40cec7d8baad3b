//! Client sessions: RESP, admission and authentication.
