//! Arguments to commands.
