//! Reading.

use std::{io::Read, sync::Arc};

use bitroster_bitmap::Bitmap;
use bitroster_command::{Moved, OutcomeBatch};
use bitroster_types::{
    GroupId, Key, LogIndex, SegmentWidth, SessionId, Slot, UnixMillis, Version,
    limits::{
        BITMAP_BITS_MAX, KEY_BYTES_MAX, SESSION_REPLY_BYTES_MAX, SESSION_WINDOW_MAX, SESSIONS_MAX,
        SMALL_VALUE_BYTES_MAX, SPACE_NAMES_MAX,
    },
};

use super::{PIECE_BYTES_MAX, RestoreError, block::BlockReader, kind};
use crate::{
    Engine, EngineConfig,
    entry::Entry,
    leaf::MODIFIED_END,
    owned::Owned,
    session::{Session, Sessions},
    side::{Floor, Published, Reserved, Side, Staged, What},
    space::{BLOCK_BYTES, Damage, Space, parse},
    spot::Spot,
};

type Result<T> = std::result::Result<T, RestoreError>;

pub(super) fn load(config: EngineConfig, input: &mut impl Read) -> Result<Engine> {
    let mut input = Loader(BlockReader::new(input)?);
    let mut engine = Engine::new(config);
    let mut side = Side::default();
    if input.u8()? != kind::HEAD {
        return Err(malformed("no head"));
    }
    input.head(&mut engine, &mut side)?;
    let mut count = 1;
    loop {
        let kind = input.u8()?;
        if kind == kind::END {
            break;
        }
        if kind > kind::last_of(input.0.format()) {
            return Err(malformed("kind of record"));
        }
        input.record(kind, &mut engine, &mut side)?;
        count += 1;
    }
    if input.u64()? != count {
        return Err(malformed("number of records"));
    }
    engine.side = side.into();
    engine.ends_entries = true;
    Ok(engine)
}

fn malformed(what: &'static str) -> RestoreError {
    RestoreError::Malformed(what)
}

struct Loader<'a, R>(BlockReader<'a, R>);

impl<R: Read> Loader<'_, R> {
    fn head(&mut self, engine: &mut Engine, side: &mut Side) -> Result<()> {
        let group = GroupId(self.u16()?);
        let width = SegmentWidth::from_log2(self.u8()?).ok_or(malformed("segment width"))?;
        let found = EngineConfig { group, width, value_bytes_max: self.u64()? };
        if found != engine.config {
            return Err(RestoreError::Foreign {
                expected: format!("{:?}", engine.config),
                found: format!("{found:?}"),
            });
        }
        engine.applied = LogIndex(self.u64()?);
        if engine.applied.0 >= MODIFIED_END {
            return Err(malformed("log index"));
        }
        engine.time = UnixMillis(self.u64()?);
        side.swept = UnixMillis(self.u64()?);
        let slots: Result<Vec<Slot>> = (0..self.u16()?).map(|_| self.slot()).collect();
        engine.store.adopt(Owned::of(&slots?));
        Ok(())
    }

    fn record(&mut self, kind: u8, engine: &mut Engine, side: &mut Side) -> Result<()> {
        match kind {
            kind::ENTRY => self.entry(engine)?,
            kind::STAGED_VALUE | kind::STAGED_VOID | kind::STAGED_EXPIRY => {
                let name = self.name()?;
                let expiry = self.expiry()?;
                let what = match kind {
                    kind::STAGED_VALUE => What::Value(self.value()?),
                    kind::STAGED_VOID => What::Void,
                    _ => What::Expiry { of: self.version()? },
                };
                side.unstage(&name);
                side.put_staged(name, Staged { what, expiry });
            }
            kind::VERSION => {
                side.versions.insert(self.slot()?, self.version()?);
            }
            kind::DROPPED => {
                let (key, version) = self.name()?;
                side.raise_floor(&key, (version, version), UnixMillis(self.u64()?));
            }
            kind::FLOOR => {
                let (key, leaves) = self.name()?;
                let (stages, since) = (Version(self.u64()?), UnixMillis(self.u64()?));
                side.floors.insert(key, Floor { leaves, stages, since });
            }
            kind::ABORTED => {
                let name = self.name()?;
                side.aborted.insert(name, UnixMillis(self.u64()?));
            }
            kind::SESSIONS => engine.sessions_mut().newest = SessionId(self.u64()?),
            kind::SESSION => {
                let time = engine.time;
                self.session(engine.sessions_mut(), time)?;
            }
            kind::SPACE => self.space(engine)?,
            _ => self.unfinished(kind, side)?,
        }
        Ok(())
    }

    /// What home remembers as not finished.
    fn unfinished(&mut self, kind: u8, side: &mut Side) -> Result<()> {
        match kind {
            kind::EXPIRED => {
                let name = self.name()?;
                side.expired.insert(name, self.groups()?.into());
            }
            kind::RESERVED | kind::RESERVED_EXCLUSIVE => {
                let name = self.name()?;
                let since = UnixMillis(self.u64()?);
                let is_exclusive = kind == kind::RESERVED_EXCLUSIVE;
                side.reserved.insert(name, Reserved { since, is_exclusive });
            }
            kind::PUBLISHED => {
                let name = self.name()?;
                let groups = self.groups()?.into();
                let moved = if self.u8()? == 1 { Some(Box::new(self.moved()?)) } else { None };
                side.published.insert(name, Published { groups, moved });
            }
            kind::ABANDONED => {
                side.abandoned.insert(self.name()?);
            }
            kind::ENLISTED => {
                let (key, version) = self.name()?;
                let group = GroupId(self.u16()?);
                side.enlisted.insert((key, version, group), UnixMillis(self.u64()?));
            }
            _ => return Err(malformed("kind of record")),
        }
        Ok(())
    }

    fn moved(&mut self) -> Result<Moved> {
        let (key, version) = self.name()?;
        let (staged, modified) = (self.groups()?, LogIndex(self.u64()?));
        Ok(Moved { key, version, staged, modified })
    }

    fn entry(&mut self, engine: &mut Engine) -> Result<()> {
        let key = self.key()?;
        let modified = LogIndex(self.u64()?);
        if modified > engine.applied {
            return Err(malformed("an entry changed after the snapshot"));
        }
        let expiry = self.expiry()?;
        let version = Some(self.version()?).filter(|version| version.0 > 0);
        let spread = self.groups()?.into();
        let value = self.value()?;
        let entry = Entry { value, expiry, modified, version, spread };
        if version.is_none() && !entry.spread.is_empty() {
            return Err(malformed("a spread without a version"));
        }
        match engine.store.put(Spot::of(&key), &key, entry) {
            None => Ok(()),
            Some(_) => Err(malformed("a key twice")),
        }
    }

    fn session(&mut self, sessions: &mut Sessions, time: UnixMillis) -> Result<()> {
        let id = SessionId(self.u64()?);
        let mut session =
            Session { answered: self.u64()?, used: UnixMillis(self.u64()?), ..Session::default() };
        if id > sessions.newest || session.used > time || sessions.open.len() >= SESSIONS_MAX {
            return Err(malformed("a session"));
        }
        let rows = usize::from(self.u16()?);
        if rows > SESSION_WINDOW_MAX {
            return Err(malformed("number of a session's batches"));
        }
        for _ in 0..rows {
            let number = self.u64()?;
            let kept = if self.u8()? == 1 { Some(self.outcomes()?) } else { None };
            if number <= session.answered || session.window.insert(number, kept).is_some() {
                return Err(malformed("number of a batch"));
            }
        }
        if sessions.put(id, session) { Ok(()) } else { Err(malformed("a session twice")) }
    }

    fn space(&mut self, engine: &mut Engine) -> Result<()> {
        let (key, count) = (self.key()?, self.u64()?);
        if count > SPACE_NAMES_MAX || engine.spaces.get(&key).is_some() {
            return Err(malformed("an id space"));
        }
        let seed = engine.applied.0;
        Arc::make_mut(&mut engine.spaces).edit(&key, seed, |space| self.names(space, count))
    }

    fn names(&mut self, space: &mut Space, count: u64) -> Result<()> {
        loop {
            let len = self.u32()?;
            if len as usize > BLOCK_BYTES {
                return Err(malformed("length of a piece of names"));
            }
            if len == 0 {
                break;
            }
            for name in parse(&self.0.take_vec(len.into())?) {
                let name = name.map_err(|Damage| malformed("a name"))?;
                if space.len() == count || space.find(&name).is_some() {
                    return Err(malformed("a name too many"));
                }
                space.push(&name);
            }
        }
        if space.len() == count { Ok(()) } else { Err(malformed("number of names")) }
    }

    fn outcomes(&mut self) -> Result<OutcomeBatch> {
        let (count, len) = (self.u32()?, self.u32()?);
        if len as usize > SESSION_REPLY_BYTES_MAX {
            return Err(malformed("length of outcomes"));
        }
        Ok(OutcomeBatch::from_encoded(count, self.0.take_vec(len.into())?.into()))
    }

    fn value(&mut self) -> Result<Bitmap> {
        let len = self.u64()?;
        if len > BITMAP_BITS_MAX / 8 {
            return Err(malformed("length of a value"));
        }
        let piece_len = self.u32()?;
        if len <= SMALL_VALUE_BYTES_MAX as u64 {
            if u64::from(piece_len) != len {
                return Err(malformed("length of a small value"));
            }
            return Ok(Bitmap::from_bytes(&self.0.take_vec(len)?));
        }
        let mut value = Bitmap::zeros(len);
        let mut piece_len = piece_len;
        while piece_len > 0 {
            if u64::from(piece_len) > PIECE_BYTES_MAX {
                return Err(malformed("length of a piece"));
            }
            let bytes = self.0.take_vec(u64::from(piece_len))?;
            let piece = Bitmap::decode(&bytes).map_err(|_| malformed("a bitmap"))?;
            if piece.len_bytes() != len {
                return Err(malformed("length of a piece's value"));
            }
            value.merge_disjoint(&piece);
            piece_len = self.u32()?;
        }
        Ok(value)
    }

    fn key(&mut self) -> Result<Key> {
        let len = self.u32()?;
        if len as usize > KEY_BYTES_MAX {
            return Err(malformed("length of a key"));
        }
        Key::new(&self.0.take_vec(u64::from(len))?).ok_or(malformed("length of a key"))
    }

    fn name(&mut self) -> Result<(Key, Version)> {
        Ok((self.key()?, self.version()?))
    }

    /// Versions count up from one; none comes near the end of its type.
    fn version(&mut self) -> Result<Version> {
        match self.u64()? {
            number if number <= u64::MAX / 2 => Ok(Version(number)),
            _ => Err(malformed("a version")),
        }
    }

    fn groups(&mut self) -> Result<Vec<GroupId>> {
        (0..self.u16()?).map(|_| Ok(GroupId(self.u16()?))).collect()
    }

    fn expiry(&mut self) -> Result<Option<UnixMillis>> {
        let is_some = self.u8()? == 1;
        let time = UnixMillis(self.u64()?);
        Ok(is_some.then_some(time))
    }

    fn slot(&mut self) -> Result<Slot> {
        Slot::new(self.u16()?).ok_or(malformed("a slot"))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.0.take_array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.0.take_array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.0.take_array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.0.take_array()?))
    }
}
