//! The command table, commands, replies, errors and the log-entry codec.
