//! Durable log, votes and snapshot files behind a file-system trait.
