//! One node's replicas: raft, engine and log.
