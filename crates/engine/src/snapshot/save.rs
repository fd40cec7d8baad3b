//! Writing.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use bitroster_bitmap::Bitmap;
use bitroster_types::{GroupId, Key, UnixMillis, Version};

use super::{PIECE_BITS, Snapshot, block::BlockWriter, kind};
use crate::{
    entry::{Value, View},
    side::{Name, Side, Staged, What},
    spot::Spot,
};

pub(super) fn save(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let mut out = Saver { out: BlockWriter::new(out)?, record: Vec::new(), count: 0 };
    out.head(snapshot)?;
    let written = snapshot.root.visit(Spot::FIRST, |_, key, view| match out.entry(key, &view) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    });
    if let ControlFlow::Break(error) = written {
        return Err(error);
    }
    out.side(&snapshot.side)?;
    out.unfinished(&snapshot.side)?;
    out.sessions(snapshot)?;
    out.spaces(snapshot)?;
    out.record.push(kind::END);
    let count = out.count;
    out.u64(count);
    out.flush()?;
    out.out.finish()
}

struct Saver<'a, W> {
    out: BlockWriter<'a, W>,
    record: Vec<u8>,
    count: u64,
}

impl<W: Write> Saver<'_, W> {
    fn head(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.start(kind::HEAD);
        self.u16(snapshot.config.group.0);
        self.record.push(snapshot.config.width.log2());
        self.u64(snapshot.config.value_bytes_max);
        self.u64(snapshot.applied.0);
        self.u64(snapshot.time.0);
        self.u64(snapshot.side.swept.0);
        let slots: Vec<_> = snapshot.owned.slots().collect();
        self.u16(u16::try_from(slots.len()).expect("a slot's number has 14 bits"));
        for slot in slots {
            self.u16(slot.number());
        }
        self.flush()
    }

    fn entry(&mut self, key: &[u8], view: &View<'_>) -> io::Result<()> {
        self.start(kind::ENTRY);
        self.bytes(key);
        self.u64(view.modified.0);
        self.expiry(view.expiry);
        self.u64(view.version.map_or(0, |version| version.0));
        self.groups(view.spread);
        match view.value {
            Value::Flat(bytes) => self.value(&Bitmap::from_bytes(bytes)),
            Value::Whole(bitmap) => self.value(bitmap),
        }
    }

    fn side(&mut self, side: &Side) -> io::Result<()> {
        for (name, staged) in &side.staged {
            self.staged(name, staged)?;
        }
        for (slot, version) in &side.versions {
            self.start(kind::VERSION);
            self.u16(slot.number());
            self.u64(version.0);
            self.flush()?;
        }
        for (key, floor) in &side.floors {
            self.start(kind::FLOOR);
            self.name(key, floor.leaves);
            self.u64(floor.stages.0);
            self.u64(floor.since.0);
            self.flush()?;
        }
        for ((key, version), time) in &side.aborted {
            self.timed(kind::ABORTED, (key, *version), *time)?;
        }
        Ok(())
    }

    fn staged(&mut self, (key, version): &Name, staged: &Staged) -> io::Result<()> {
        self.start(match staged.what {
            What::Value(_) => kind::STAGED_VALUE,
            What::Void => kind::STAGED_VOID,
            What::Expiry { .. } => kind::STAGED_EXPIRY,
        });
        self.name(key, *version);
        self.expiry(staged.expiry);
        match &staged.what {
            What::Value(value) => return self.value(value),
            What::Void => {}
            What::Expiry { of } => self.u64(of.0),
        }
        self.flush()
    }

    /// What home remembers as not finished.
    fn unfinished(&mut self, side: &Side) -> io::Result<()> {
        for ((key, version), groups) in &side.expired {
            self.start(kind::EXPIRED);
            self.name(key, *version);
            self.groups(groups);
            self.flush()?;
        }
        for ((key, version), row) in &side.reserved {
            let kind = if row.is_exclusive { kind::RESERVED_EXCLUSIVE } else { kind::RESERVED };
            self.timed(kind, (key, *version), row.since)?;
        }
        for ((key, version), row) in &side.published {
            self.start(kind::PUBLISHED);
            self.name(key, *version);
            self.groups(&row.groups);
            self.record.push(u8::from(row.moved.is_some()));
            if let Some(moved) = &row.moved {
                self.name(&moved.key, moved.version);
                self.groups(&moved.staged);
                self.u64(moved.modified.0);
            }
            self.flush()?;
        }
        for (key, version) in &side.abandoned {
            self.start(kind::ABANDONED);
            self.name(key, *version);
            self.flush()?;
        }
        for ((key, version, group), time) in side.enlisted.iter() {
            self.start(kind::ENLISTED);
            self.name(key, *version);
            self.u16(group.0);
            self.u64(time.0);
            self.flush()?;
        }
        Ok(())
    }

    /// A record that is a version of a key and a time.
    fn timed(
        &mut self,
        kind: u8,
        (key, version): (&Key, Version),
        time: UnixMillis,
    ) -> io::Result<()> {
        self.start(kind);
        self.name(key, version);
        self.u64(time.0);
        self.flush()
    }

    /// The newest id first, for it bounds those that follow.
    fn sessions(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let sessions = &snapshot.sessions;
        self.start(kind::SESSIONS);
        self.u64(sessions.newest.0);
        self.flush()?;
        for (id, session) in &sessions.open {
            self.start(kind::SESSION);
            self.u64(id.0);
            self.u64(session.answered);
            self.u64(session.used.0);
            self.u16(u16::try_from(session.window.len()).expect("a window is bounded"));
            for (number, kept) in &session.window {
                self.u64(*number);
                self.record.push(u8::from(kept.is_some()));
                if let Some(outcomes) = kept {
                    self.record.extend_from_slice(&outcomes.count().to_le_bytes());
                    self.bytes(outcomes.bytes());
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    fn spaces(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        for (key, space) in snapshot.spaces.iter() {
            self.start(kind::SPACE);
            self.bytes(key);
            self.u64(space.len());
            for block in space.blocks() {
                self.bytes(block);
                self.flush()?;
            }
            self.bytes(b"");
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the record so far, then the value: its length, and pieces until an empty one.
    fn value(&mut self, value: &Bitmap) -> io::Result<()> {
        self.u64(value.len_bytes());
        if let Some(bytes) = value.as_flat() {
            self.bytes(bytes);
            return self.flush();
        }
        let mut start = 0;
        while let Some(bit) = value.first_set(start..u64::MAX) {
            start = bit / PIECE_BITS * PIECE_BITS;
            let mut piece = Vec::new();
            value.restrict(start..start + PIECE_BITS).encode(&mut piece);
            self.bytes(&piece);
            self.flush()?;
            start += PIECE_BITS;
        }
        self.bytes(b"");
        self.flush()
    }

    fn start(&mut self, kind: u8) {
        self.count += 1;
        self.record.push(kind);
    }

    fn u16(&mut self, number: u16) {
        self.record.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.record.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("keys and pieces are far below 4 GiB");
        self.record.extend_from_slice(&len.to_le_bytes());
        self.record.extend_from_slice(bytes);
    }

    fn name(&mut self, key: &[u8], version: Version) {
        self.bytes(key);
        self.u64(version.0);
    }

    fn expiry(&mut self, expiry: Option<UnixMillis>) {
        self.record.push(u8::from(expiry.is_some()));
        self.u64(expiry.unwrap_or_default().0);
    }

    fn groups(&mut self, groups: &[GroupId]) {
        self.u16(u16::try_from(groups.len()).expect("group ids have 16 bits"));
        for group in groups {
            self.u16(group.0);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.put(&self.record)?;
        self.record.clear();
        Ok(())
    }
}
