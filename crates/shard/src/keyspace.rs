//! The engine of one group, shared between its writer and its readers.

use bitroster_engine::{Engine, EngineConfig};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The engine behind a lock. The state machine's task is the only one that writes; it holds the
/// lock for a few hundred ops at a time, and never while it waits.
pub(crate) struct Keyspace {
    engine: RwLock<Engine>,
    config: EngineConfig,
}

impl Keyspace {
    /// An empty keyspace.
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self { engine: RwLock::new(Engine::new(config.clone())), config }
    }

    /// For a read. Take what is needed and let go.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Engine> {
        self.engine.read()
    }

    /// For the state machine alone.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Engine> {
        self.engine.write()
    }

    /// What the engine was made with.
    pub(crate) fn config(&self) -> &EngineConfig {
        &self.config
    }
}
