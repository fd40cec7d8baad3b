//! Where a command goes first. Pure.

use bitroster_bitmap::Bitmap;
use bitroster_command::{Expiry, FieldOp, ReadCommand, WriteCommand};
use bitroster_placement::ClusterMap;
use bitroster_types::{GroupId, Key, limits::ROUTED_SET_BYTES_MAX};

/// What a command that is sent to one group may need beyond it.
///
/// It decides which commands of one key may wait in the queues of one turn together: queues of
/// different groups are sent at once, and what a group could not do is done after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Bits of the first segment: home does it, whatever the key's spread.
    FirstBits,
    /// Bits of one later segment: its group does it, perhaps after enlisting.
    LaterBits,
    /// A whole key of which no bit changes: whether home does it alone or not, bits of its first
    /// segment may overtake it.
    Alone,
    /// A whole key: home does it alone unless the key is spread.
    Whole,
    /// As [`Class::Whole`], and it may make the key spread.
    Growing,
    /// Several keys, or all of the group's.
    Many,
}

/// The group that may do all of a read, or `None` where several are needed.
pub(crate) fn of_read(map: &ClusterMap, command: &ReadCommand) -> Option<(GroupId, Class)> {
    let route = match command {
        ReadCommand::GetBit { key, offset } => return Some(of_bit(map, key, *offset)),
        ReadCommand::BitFieldRo { key, fields } => {
            let spans = fields.iter().map(|field| (field.offset, u64::from(field.kind.width)));
            return of_spans(map, key, spans);
        }
        ReadCommand::BitCount { key, .. }
        | ReadCommand::BitPos { key, .. }
        | ReadCommand::Get { key }
        | ReadCommand::StrLen { key }
        | ReadCommand::GetRange { key, .. } => (map.home(key), Class::Whole),
        ReadCommand::Type { key } | ReadCommand::Ttl { key, .. } => (map.home(key), Class::Alone),
        ReadCommand::Exists { keys } if keys.len() == 1 => (map.home(&keys[0]), Class::Whole),
        ReadCommand::MGet { keys } if keys.len() == 1 => (map.home(&keys[0]), Class::Whole),
        ReadCommand::Exists { keys }
        | ReadCommand::MGet { keys }
        | ReadCommand::BitOpCard { sources: keys, .. } => (common_home(map, keys)?, Class::Many),
        ReadCommand::FindIds { space, .. }
        | ReadCommand::FindNames { space, .. }
        | ReadCommand::SpaceInfo { space } => (map.home(space), Class::Alone),
        ReadCommand::Scan { .. }
        | ReadCommand::Keys { .. }
        | ReadCommand::DbSize
        | ReadCommand::RandomKey
        | ReadCommand::Spaces => (sole(map)?, Class::Many),
    };
    Some(route)
}

/// The group that may do all of a write, or `None` where several are needed.
pub(crate) fn of_write(map: &ClusterMap, command: &WriteCommand) -> Option<(GroupId, Class)> {
    let route = match command {
        WriteCommand::SetBit { key, offset, .. } => return Some(of_bit(map, key, *offset)),
        WriteCommand::BitField { key, ops } => return of_spans(map, key, spans(ops)),
        // Its reply is the length of the whole key, which the bits' group may not know.
        WriteCommand::SetRange { .. } => (sole(map)?, Class::Growing),
        WriteCommand::Set { key, value, .. } => {
            let home = map.home(key);
            if !owns_all(map, key, home, value.len() as u64) {
                return None;
            }
            (home, Class::Whole)
        }
        WriteCommand::GetDel { key }
        | WriteCommand::GetEx { key, .. }
        | WriteCommand::IncrBy { key, .. } => (map.home(key), Class::Whole),
        WriteCommand::Append { key, .. } => (map.home(key), Class::Growing),
        // Bits of the first segment may overtake it: it changes none.
        WriteCommand::Expire { key, expiry: Expiry::In(1..), .. }
        | WriteCommand::Persist { key } => (map.home(key), Class::Alone),
        WriteCommand::Expire { key, .. } => (map.home(key), Class::Whole),
        WriteCommand::Delete { keys } if keys.len() == 1 => (map.home(&keys[0]), Class::Whole),
        WriteCommand::Delete { keys } => (common_home(map, keys)?, Class::Many),
        WriteCommand::BitOp { target, sources, .. } => {
            let home = common_home(map, sources)?;
            (map.home(target) == home).then_some((home, Class::Many))?
        }
        WriteCommand::MSet { pairs, .. } => {
            let home = map.home(&pairs.first()?.0);
            let fits = pairs.iter().all(|(key, value)| {
                map.home(key) == home && owns_all(map, key, home, value.len() as u64)
            });
            fits.then_some((home, Class::Many))?
        }
        WriteCommand::Rename { source, target, .. } | WriteCommand::Copy { source, target, .. } => {
            let home = map.home(source);
            (map.home(target) == home).then_some((home, Class::Many))?
        }
        WriteCommand::Flush => (sole(map)?, Class::Many),
        WriteCommand::Merge { key, bits, .. } => return of_set(map, key, bits),
        WriteCommand::Restore { key, value, .. } => match sole(map) {
            Some(group) => (group, Class::Growing),
            None if value.len() <= ROUTED_SET_BYTES_MAX => (map.home(key), Class::Growing),
            None => return None,
        },
        WriteCommand::Touch { key, id, .. } => return Some(of_bit(map, key, id * 32)),
        WriteCommand::AssignIds { space, .. } | WriteCommand::DropSpace { space } => {
            (map.home(space), Class::Alone)
        }
    };
    Some(route)
}

/// The only group of the map.
pub(crate) fn sole(map: &ClusterMap) -> Option<GroupId> {
    match map.groups() {
        [group] => Some(*group),
        _ => None,
    }
}

/// Whether `group` owns every segment of a value of `len_bytes` bytes.
pub(crate) fn owns_all(map: &ClusterMap, key: &Key, group: GroupId, len_bytes: u64) -> bool {
    len_bytes <= map.width().bytes()
        || map.groups_of_range(key, 0..len_bytes * 8).iter().all(|owner| *owner == group)
}

/// The bits that BITFIELD's operations touch, as first bit and width.
pub(crate) fn spans(ops: &[FieldOp]) -> impl Iterator<Item = (u64, u64)> + '_ {
    ops.iter().map(|op| (op.field.offset, u64::from(op.field.kind.width)))
}

fn of_bit(map: &ClusterMap, key: &Key, offset: u64) -> (GroupId, Class) {
    if let Some(group) = sole(map) {
        return (group, Class::FirstBits);
    }
    let first = map.width().segment_of(offset).is_first();
    let class = if first { Class::FirstBits } else { Class::LaterBits };
    (map.group_of_bit(key, offset), class)
}

/// The group of a set of bits that all lie in one segment. A set that is longer than a batch of
/// single bits would be is not looked at: its plan decodes it once and divides it.
fn of_set(map: &ClusterMap, key: &Key, bits: &[u8]) -> Option<(GroupId, Class)> {
    if let Some(group) = sole(map) {
        return Some((group, Class::FirstBits));
    }
    if bits.len() > ROUTED_SET_BYTES_MAX {
        return None;
    }
    let set = Bitmap::decode(bits).ok()?;
    let (Some(first), Some(last)) = (set.first_set(0..u64::MAX), set.last_set()) else {
        return Some((map.home(key), Class::FirstBits));
    };
    let width = map.width();
    (width.segment_of(first) == width.segment_of(last)).then(|| of_bit(map, key, first))
}

fn of_spans(
    map: &ClusterMap,
    key: &Key,
    mut spans: impl Iterator<Item = (u64, u64)>,
) -> Option<(GroupId, Class)> {
    if let Some(group) = sole(map) {
        return Some((group, Class::FirstBits));
    }
    let Some((offset, width)) = spans.next() else {
        return Some((map.home(key), Class::FirstBits));
    };
    let segment = map.width().segment_of(offset);
    let within = |offset: u64, width: u64| {
        map.width().segment_of(offset) == segment
            && map.width().segment_of(offset + width - 1) == segment
    };
    if !within(offset, width) || !spans.all(|(offset, width)| within(offset, width)) {
        return None;
    }
    Some(of_bit(map, key, offset))
}

fn common_home(map: &ClusterMap, keys: &[Key]) -> Option<GroupId> {
    if let Some(group) = sole(map) {
        return Some(group);
    }
    let home = map.home(keys.first()?);
    keys.iter().all(|key| map.home(key) == home).then_some(home)
}
