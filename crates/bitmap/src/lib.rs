//! One bitmap as a value: containers, algebra, kernels and codecs.
//!
//! [`Bitmap`] is a byte string seen as bits, in Redis order: bit 0 is the most significant bit of
//! byte 0. It knows its length, its bits and how many are set. It knows nothing of keys, commands,
//! files or time.
//!
//! # Invariants
//!
//! - No bit is set at or past the length.
//! - A value of at most 64 bytes is flat; a longer one is a tree of nodes of 64 containers of 2^16
//!   bits. No node and no container is empty. Every one keeps its cardinality and allocated bytes,
//!   and so do the sums above it.
//! - Dense containers hold Redis's bytes as they are: raw bytes go in and out by copying.
//! - Clones share; a write copies what it changes and the lists above it, nothing else.
//! - Bytes from outside give errors, never a panic, and never an allocation that their length does
//!   not justify.
//!
//! # Map
//!
//! | module      | job                                                           |
//! |-------------|---------------------------------------------------------------|
//! | `bitmap`    | the public face; flat or tree                                 |
//! | `tree`      | length, sums, and the sorted list of nodes                    |
//! | `node`      | 64 containers, packed                                         |
//! | `container` | array, dense, runs, full                                      |
//! | `algebra`   | joins the containers of one chunk                             |
//! | `combine`   | walks the operands, building or only counting                 |
//! | `formula`   | expressions of several steps over operands                    |
//! | `codec`     | our checksummed encoding                                      |
//! | `roaring`   | the portable Roaring formats, 32 and 64 bits                  |
//! | `csv`       | offsets as decimal numbers                                    |
//! | `bits`      | operations on plain bytes                                     |
//! | `kernels`   | the word loops by CPU; the only `unsafe` of the workspace     |
//! | `address`   | where a bit lies                                              |
//! | `iter`      | iteration over set bits                                       |
//!
//! Start at [`Bitmap`].

mod address;
mod algebra;
mod bitmap;
mod bits;
mod codec;
mod combine;
mod container;
mod csv;
mod formula;
mod iter;
mod kernels;
mod node;
mod roaring;
mod tree;

pub use bitmap::{Bitmap, Form, MergeOp, Stats};
pub use codec::DecodeError;
pub use combine::BitOp;
pub use csv::CsvError;
pub use formula::{Formula, FormulaError, Step, count_all};
pub use roaring::RoaringError;
