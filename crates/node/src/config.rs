//! A node's configuration: a file, overlaid by the environment, overlaid by flags.
//!
//! The same names everywhere: `port` in the table `[server]` of the file is
//! `BITROSTER_SERVER__PORT` in the environment and `--set server.port=...` as a flag. Names that
//! do not exist are refused, and all problems are told at once.
//!
//! | module   | job                                                    |
//! |----------|--------------------------------------------------------|
//! | `schema` | every field: its type, default, range and reason       |
//! | `layer`  | file, environment and flags become one set of values   |
//! | `seeds`  | addresses of other nodes                               |
//! | `size`   | sizes such as `512mb`                                  |

mod layer;
mod schema;
mod seeds;
mod size;

pub(crate) use layer::{Loaded, Origin, Sources, load};
#[cfg(test)]
pub(crate) use schema::ClientsWord;
pub(crate) use schema::{AuthWord, Config, RoleWord, SyncWord, TlsConfig, example};
pub(crate) use seeds::Seeds;
pub(crate) use size::Size;
