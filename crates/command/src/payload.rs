//! What `DUMP` answers and `RESTORE` takes.
//!
//! Redis's frame: a type's byte, the body, a version in two bytes and a CRC-64 of all before in
//! eight, both little-endian. Ours has a type and a version that Redis has not, and the bitmap
//! codec as its body, which keeps a sparse bitmap small. [`restore`] also takes Redis's own strings
//! of RDB versions up to 12. Redis: `createDumpPayload` in `cluster.c`, `rdbLoadStringObject` in
//! `rdb.c`.

mod lzf;

use bitroster_bitmap::Bitmap;
use crc::{CRC_64_REDIS, Crc, Table};

use crate::{CommandError, ParseLimits};

/// The type of our own payloads.
const TYPE_BITMAP: u8 = 0xB1;
/// The version of our own payloads.
const VERSION_BITMAP: u16 = 0xB001;
/// Redis's type of strings.
const TYPE_STRING: u8 = 0;
/// The newest version of Redis's that is read: Redis 7.4's and 8's.
const VERSION_REDIS_MAX: u16 = 12;
/// Version and checksum.
const FOOTER_BYTES: usize = 10;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The payload of a value that is given in the bitmap codec. Allocates it.
pub fn dump(value: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + value.len() + FOOTER_BYTES);
    payload.push(TYPE_BITMAP);
    payload.extend_from_slice(value);
    payload.extend_from_slice(&VERSION_BITMAP.to_le_bytes());
    let checksum = CRC.checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// The value of a payload, in the bitmap codec. Allocates in proportion to the payload and to the
/// value, which is checked against `limits` before.
///
/// # Errors
///
/// Redis's: [`CommandError::DUMP_CHECKSUM`] where version or checksum are wrong,
/// [`CommandError::DUMP_FORMAT`] where there is no bitmap inside, and
/// [`CommandError::VALUE_LENGTH`] where it is too long.
pub fn restore(payload: &[u8], limits: &ParseLimits) -> Result<Vec<u8>, CommandError> {
    let (body, footer) =
        payload.split_last_chunk::<FOOTER_BYTES>().ok_or(CommandError::DUMP_CHECKSUM)?;
    let (kind, body) = body.split_first().ok_or(CommandError::DUMP_CHECKSUM)?;
    let [low, high, checksum @ ..] = *footer;
    let version = u16::from_le_bytes([low, high]);
    let is_known = version <= VERSION_REDIS_MAX || version == VERSION_BITMAP;
    let checked = &payload[..payload.len() - checksum.len()];
    if !is_known || u64::from_le_bytes(checksum) != CRC.checksum(checked) {
        return Err(CommandError::DUMP_CHECKSUM);
    }
    match (*kind, version) {
        (TYPE_BITMAP, VERSION_BITMAP) => {
            let value = Bitmap::decode(body).map_err(|_| CommandError::DUMP_FORMAT)?;
            if value.len_bytes() > limits.bitmap_bits_max / 8 {
                return Err(CommandError::VALUE_LENGTH);
            }
            Ok(body.to_vec())
        }
        (TYPE_STRING, ..=VERSION_REDIS_MAX) => {
            let value = string(body, limits)?;
            let mut encoded = Vec::new();
            value.encode(&mut encoded);
            Ok(encoded)
        }
        _ => Err(CommandError::DUMP_FORMAT),
    }
}

/// One of Redis's strings, which is all there is.
fn string(mut body: &[u8], limits: &ParseLimits) -> Result<Bitmap, CommandError> {
    let rest = &mut body;
    let value = match length(rest)? {
        Length::Bytes(len) => {
            let bytes = take(rest, len)?;
            check(bytes.len() as u64, limits)?;
            Bitmap::from_bytes(bytes)
        }
        Length::Integer(width) => {
            let bytes = take(rest, width.into())?;
            let negative = bytes.last().is_some_and(|last| *last >= 0x80);
            let mut wide = [if negative { 0xFF } else { 0 }; 8];
            wide[..usize::from(width)].copy_from_slice(bytes);
            Bitmap::from_bytes(i64::from_le_bytes(wide).to_string().as_bytes())
        }
        Length::Packed => {
            let (Length::Bytes(packed), Length::Bytes(len)) = (length(rest)?, length(rest)?) else {
                return Err(CommandError::DUMP_FORMAT);
            };
            check(len, limits)?;
            let packed = take(rest, packed)?;
            let len = usize::try_from(len).map_err(|_| CommandError::DUMP_FORMAT)?;
            let bytes = lzf::unpack(packed, len).ok_or(CommandError::DUMP_FORMAT)?;
            Bitmap::from_bytes(&bytes)
        }
    };
    if rest.is_empty() { Ok(value) } else { Err(CommandError::DUMP_FORMAT) }
}

/// Whether a value of so many bytes may be.
fn check(len: u64, limits: &ParseLimits) -> Result<(), CommandError> {
    let max = (limits.bulk_bytes_max as u64).min(limits.bitmap_bits_max / 8);
    if len > max { Err(CommandError::VALUE_LENGTH) } else { Ok(()) }
}

/// What stands before a string.
enum Length {
    /// So many bytes follow.
    Bytes(u64),
    /// The string is the decimal form of an integer of so many bytes.
    Integer(u8),
    /// The string is compressed by LZF; its length so and its real length follow.
    Packed,
}

/// A length: two bits of form, then 6 or 14 bits, or 32 or 64 bits that follow, big-endian.
fn length(rest: &mut &[u8]) -> Result<Length, CommandError> {
    let [first] = take_array(rest)?;
    Ok(match (first >> 6, first & 0x3F) {
        (0, len) => Length::Bytes(len.into()),
        (1, high) => {
            let [low] = take_array(rest)?;
            Length::Bytes(u16::from_be_bytes([high, low]).into())
        }
        (2, 0) => Length::Bytes(u32::from_be_bytes(take_array(rest)?).into()),
        (2, 1) => Length::Bytes(u64::from_be_bytes(take_array(rest)?)),
        (3, 0) => Length::Integer(1),
        (3, 1) => Length::Integer(2),
        (3, 2) => Length::Integer(4),
        (3, 3) => Length::Packed,
        _ => return Err(CommandError::DUMP_FORMAT),
    })
}

fn take<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], CommandError> {
    let split = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let (taken, after) = split.ok_or(CommandError::DUMP_FORMAT)?;
    *rest = after;
    Ok(taken)
}

fn take_array<const LEN: usize>(rest: &mut &[u8]) -> Result<[u8; LEN], CommandError> {
    let (taken, after) = rest.split_first_chunk().ok_or(CommandError::DUMP_FORMAT)?;
    *rest = after;
    Ok(*taken)
}
