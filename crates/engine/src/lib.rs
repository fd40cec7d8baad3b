//! The keyspace of one group as a deterministic state machine.
