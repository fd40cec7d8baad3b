//! Commands that are made of several reads and writes.
//!
//! | module       | job                                                            |
//! |--------------|----------------------------------------------------------------|
//! | [`tree`]     | expressions without what is not there, divided by homes; pure  |
//! | [`operands`] | keys and their records                                         |
//! | [`places`]   | one expression, and where its bits lie                         |
//! | [`query`]    | BM.QUERY and its relatives                                     |
//! | [`select`]   | offsets by rank                                                |
//! | [`store`]    | BM.QUERY STORE                                                 |
//! | [`many`]     | counts of many expressions at once                             |
//! | [`matrix`]   | BM.CONTAINS and its relatives, BM.RETENTION, BM.TOPK           |
//! | [`bits`]     | BM.GETBITS, BM.RANK, BM.SET                                    |
//! | [`dated`]    | BM.MARK, BM.WINDOW                                             |
//! | [`presence`] | BM.ONLINE                                                      |
//! | [`prefixes`] | BM.PREFIXES                                                    |
//! | [`purge`]    | BM.PURGE                                                       |
//! | [`transfer`] | BM.EXPORT, BM.IMPORT, DUMP                                     |
//! | [`inspect`]  | BM.INFO, MEMORY USAGE, OBJECT ENCODING, BM.SPACE LIST          |

use bitroster_command::{Composite, Reply, composite::Ask};

use crate::call::{Call, Step};

mod bits;
mod dated;
mod inspect;
mod many;
mod matrix;
mod operands;
mod places;
mod prefixes;
mod presence;
mod purge;
mod query;
mod select;
mod store;
mod transfer;
mod tree;

/// Whether a command changes anything.
pub(crate) fn writes(composite: &Composite) -> bool {
    match composite {
        Composite::Query { ask, .. } | Composite::Window { ask, .. } => {
            matches!(ask, Ask::Store { .. })
        }
        Composite::Mark { .. }
        | Composite::SetNames { .. }
        | Composite::Purge { .. }
        | Composite::Import { .. } => true,
        Composite::GetBits { .. }
        | Composite::Rank { .. }
        | Composite::Compare { .. }
        | Composite::Info { .. }
        | Composite::Retention { .. }
        | Composite::TopK { .. }
        | Composite::Online { .. }
        | Composite::Export { .. }
        | Composite::SpaceList
        | Composite::Prefixes { .. }
        | Composite::Dump { .. }
        | Composite::MemoryUsage { .. }
        | Composite::ObjectEncoding { .. } => false,
    }
}

/// Answers one command.
pub(crate) async fn run(call: &Call, composite: &Composite) -> Step<Reply> {
    call.inner.metrics.plan_begun();
    match composite {
        Composite::Query { of, ask } => query::run(call, of, ask).await,
        Composite::GetBits { key, offsets } => bits::get(call, key, offsets).await,
        Composite::Rank { key, offset, absent } => bits::rank(call, key, *offset, *absent).await,
        Composite::Compare { a, b, relation } => matrix::compare(call, a, b, *relation).await,
        Composite::Info { key } => inspect::info(call, key).await,
        Composite::Retention { cohorts, returns, horizon } => {
            matrix::retention(call, cohorts, returns, *horizon).await
        }
        Composite::TopK { of, k, among } => matrix::top(call, of, *k, among).await,
        Composite::Mark { family, id, at, units, keep_secs } => {
            dated::mark(call, family, *id, *at, (units, *keep_secs)).await
        }
        Composite::Window { family, span, rolled_up, ask } => {
            dated::window(call, family, (*span, *rolled_up), ask).await
        }
        Composite::Online { key, ask } => presence::run(call, key, *ask).await,
        Composite::SetNames { key, space, names } => bits::set_names(call, key, space, names).await,
        Composite::Purge { id, pattern, dry_run } => purge::run(call, *id, pattern, *dry_run).await,
        Composite::Export { of, format } => transfer::export(call, of, *format).await,
        Composite::Import { key, bits, mode } => transfer::import(call, key, bits, *mode).await,
        Composite::SpaceList => inspect::spaces(call).await,
        Composite::Prefixes { prefix, separator, limit } => {
            prefixes::run(call, prefix, *separator, *limit).await
        }
        Composite::Dump { key } => transfer::dump(call, key).await,
        Composite::MemoryUsage { key } => inspect::memory(call, key).await,
        Composite::ObjectEncoding { key } => inspect::encoding(call, key).await,
    }
}
