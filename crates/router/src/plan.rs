//! What to do where one group cannot do it alone. One module a kind of plan.
//!
//! A plan may start again from its first line as long as it has changed nothing that is visible:
//! it stops with [`Stop::Again`](crate::call::Stop::Again). After its first visible change every
//! failure is "unknown".
//!
//! | module          | job                                                                |
//! |-----------------|--------------------------------------------------------------------|
//! | [`enlist`]      | the first touch of a segment                                       |
//! | [`gather`]      | reads of a whole key                                               |
//! | [`keys`]        | commands of several keys with different homes                      |
//! | [`write`]       | SETRANGE, APPEND and friends over segments                         |
//! | [`field`]       | BITFIELD over segments                                             |
//! | [`merge`]       | changes of many bits over segments                                 |
//! | [`restore`]     | RESTORE of a spread key                                            |
//! | [`string`]      | SET, GETDEL, GETEX and INCR of a spread key                        |
//! | [`publish`]     | a change that shows at once: reserve, stage, publish, activate     |
//! | [`combine`]     | BITOP and BITOPCARD                                                |
//! | [`composite`]   | commands that are made of several reads and writes                 |
//! | [`rename`]      | RENAME and COPY                                                    |
//! | [`expire`]      | DEL, EXPIRE and PERSIST of a spread key                            |
//! | [`finish`]      | what is left to do when home has decided a change                  |
//! | [`scan`]        | commands of the whole keyspace                                     |
//! | [`transaction`] | WATCH and EXEC                                                     |

use bitroster_command::{Header, ReadCommand, Reply, WriteCommand};

use crate::call::{Call, Step, Stop};

pub(crate) mod combine;
pub(crate) mod composite;
pub(crate) mod enlist;
pub(crate) mod expire;
pub(crate) mod field;
pub(crate) mod finish;
pub(crate) mod gather;
pub(crate) mod keys;
pub(crate) mod merge;
pub(crate) mod publish;
pub(crate) mod rename;
pub(crate) mod restore;
pub(crate) mod scan;
pub(crate) mod string;
pub(crate) mod transaction;
pub(crate) mod write;

/// Answers a read that one group could not answer; `header` is the record that said so.
pub(crate) async fn read(
    call: &Call,
    command: &ReadCommand,
    header: Option<Box<Header>>,
) -> Step<Reply> {
    call.inner.metrics.plan_begun();
    match (command, header) {
        (ReadCommand::BitFieldRo { key, fields }, _) => field::read(call, key, fields).await,
        (ReadCommand::MGet { keys }, _) => keys::get(call, keys).await,
        (ReadCommand::Exists { keys }, _) if keys.len() > 1 => keys::exists(call, keys).await,
        (ReadCommand::BitOpCard { logic, sources }, _) => {
            combine::count(call, *logic, sources).await
        }
        (ReadCommand::Scan { .. }, _) => scan::scan(call, command).await,
        (ReadCommand::Keys { .. }, _) => scan::keys(call, command).await,
        (ReadCommand::DbSize, _) => scan::db_size(call).await,
        (ReadCommand::RandomKey, _) => scan::random_key(call).await,
        (ReadCommand::GetBit { key, offset }, _) => gather::bit(call, key, *offset).await,
        (_, None) => Err(Stop::Again),
        (_, Some(header)) => gather::read(call, command, &header).await,
    }
}

/// Does a write that one group could not do.
pub(crate) async fn write(call: &Call, command: &WriteCommand) -> Step<Reply> {
    call.inner.metrics.plan_begun();
    match command {
        WriteCommand::BitField { key, ops } => field::write(call, key, ops).await,
        WriteCommand::SetRange { key, offset, value } => {
            write::set_range(call, key, *offset, value).await
        }
        WriteCommand::Append { key, value } => write::append(call, key, value).await,
        WriteCommand::Set { .. } => string::set(call, command).await,
        WriteCommand::GetDel { key } => string::get_delete(call, key).await,
        WriteCommand::GetEx { key, expiry } => string::get_expire(call, key, *expiry).await,
        WriteCommand::IncrBy { key, by } => string::increment(call, key, *by).await,
        WriteCommand::MSet { pairs, only_if_none } => keys::set(call, pairs, *only_if_none).await,
        WriteCommand::Delete { keys } => match keys.as_slice() {
            [key] => expire::delete(call, key).await,
            keys => keys::delete(call, keys).await,
        },
        WriteCommand::Expire { key, expiry, condition } => {
            expire::expire(call, key, *expiry, *condition).await
        }
        WriteCommand::Persist { key } => expire::persist(call, key).await,
        WriteCommand::BitOp { logic, target, sources } => {
            combine::store(call, *logic, target, sources).await
        }
        WriteCommand::Rename { source, target, only_if_new } => {
            rename::rename(call, source, target, *only_if_new).await
        }
        WriteCommand::Copy { source, target, replace } => {
            rename::copy(call, source, target, *replace).await
        }
        WriteCommand::Flush => scan::flush(call).await,
        WriteCommand::Merge { key, mode, bits } => merge::merge(call, key, *mode, bits).await,
        WriteCommand::Restore { .. } => restore::restore(call, command).await,
        WriteCommand::SetBit { .. }
        | WriteCommand::Touch { .. }
        | WriteCommand::AssignIds { .. }
        | WriteCommand::DropSpace { .. } => Err(Stop::Again),
    }
}
