//! Harness for tests that run real processes.
