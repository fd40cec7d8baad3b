//! What one group answers to BM.PREFIXES: one row for each next name below a prefix.
//!
//! A group answers page by page; [`PrefixCounts`] add up, but for the lengths of keys that several
//! groups hold: only all of them together know how long such a key is, so that each tells what it
//! has of it as a [`SpreadKey`].

use bytes::Bytes;

use crate::{
    EntryError,
    coding::{
        Cursor, Taken,
        put::{Out, list, number, text},
    },
};

/// What the keys below one name take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixCounts {
    /// Live keys. A key over several groups counts at its home alone.
    pub keys: u64,
    /// Those of them that expire.
    pub expiring: u64,
    /// Set bits.
    pub bits: u64,
    /// Bytes of memory, in the allocator's size classes.
    pub bytes: u64,
    /// Bytes that plain Redis strings of their lengths would take, keys and headers included.
    pub plain_bytes: u64,
    /// Bytes of containers that are arrays.
    pub array_bytes: u64,
    /// Bytes of dense containers.
    pub dense_bytes: u64,
    /// Bytes of containers that are runs.
    pub run_bytes: u64,
}

impl PrefixCounts {
    /// The figures in the order of their fields.
    const fn figures(&self) -> [u64; 8] {
        [
            self.keys,
            self.expiring,
            self.bits,
            self.bytes,
            self.plain_bytes,
            self.array_bytes,
            self.dense_bytes,
            self.run_bytes,
        ]
    }

    const fn of_figures(figures: [u64; 8]) -> Self {
        let [keys, expiring, bits, bytes, plain_bytes, array_bytes, dense_bytes, run_bytes] =
            figures;
        Self { keys, expiring, bits, bytes, plain_bytes, array_bytes, dense_bytes, run_bytes }
    }

    /// Adds the figures of other keys.
    pub fn add(&mut self, more: &Self) {
        let mut figures = self.figures();
        for (figure, more) in figures.iter_mut().zip(more.figures()) {
            *figure = figure.saturating_add(more);
        }
        *self = Self::of_figures(figures);
    }

    /// Bytes of memory that are no container: keys, headers, short values, all ones.
    pub const fn other_bytes(&self) -> u64 {
        let contained = self.array_bytes + self.dense_bytes + self.run_bytes;
        self.bytes.saturating_sub(contained)
    }
}

/// What a group holds of a key that other groups hold too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadKey {
    /// The key's slot and hash, the same in every group.
    pub spot: u64,
    /// Length in bytes of what is here: the key's is the greatest of all groups'.
    pub len_bytes: u64,
    /// Bytes that the segments which are here would take as they are.
    pub held_bytes: u64,
}

/// One name below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRow {
    /// The whole name, with the prefix: up to the separator and with it, or a key's.
    pub name: Bytes,
    /// What its keys take; without the lengths of the spread ones.
    pub counts: PrefixCounts,
    /// Those of its keys that other groups hold too.
    pub spread: Vec<SpreadKey>,
}

/// One page of a group's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixPage {
    /// Where the next page begins; 0 at the end.
    pub next: u64,
    /// The rows, ascending by name. A name may be on several pages.
    pub rows: Vec<PrefixRow>,
}

impl PrefixPage {
    /// The page as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() * 32);
        number(&mut out, self.next);
        list(&mut out, &self.rows, row);
        out
    }

    /// The page of its bytes. Names share their memory.
    ///
    /// # Errors
    ///
    /// [`EntryError`] where they are none.
    pub fn decode(bytes: &Bytes) -> Result<Self, EntryError> {
        let mut cursor = Cursor::new(bytes, 0);
        let page = Self { next: cursor.number()?, rows: cursor.list(take_row)? };
        match bytes.len() - cursor.at() {
            0 => Ok(page),
            bytes => Err(EntryError::Trailing { bytes }),
        }
    }
}

fn row(out: &mut Out, row: &PrefixRow) {
    text(out, &row.name);
    row.counts.figures().iter().for_each(|figure| number(out, *figure));
    list(out, &row.spread, |out, key| {
        number(out, key.spot);
        number(out, key.len_bytes);
        number(out, key.held_bytes);
    });
}

fn take_row(cursor: &mut Cursor<'_>) -> Taken<PrefixRow> {
    let name = cursor.value()?;
    let mut figures = [0; 8];
    for figure in &mut figures {
        *figure = cursor.number()?;
    }
    let spread = cursor.list(|cursor| {
        Ok(SpreadKey {
            spot: cursor.number()?,
            len_bytes: cursor.number()?,
            held_bytes: cursor.number()?,
        })
    })?;
    Ok(PrefixRow { name, counts: PrefixCounts::of_figures(figures), spread })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> PrefixPage {
        let counts = PrefixCounts::of_figures([3, 1, 1 << 40, 900, 5000, 200, 300, 100]);
        let spread = SpreadKey { spot: (1 << 46) - 1, len_bytes: 1 << 29, held_bytes: 131_072 };
        let row = |name: &'static str, spread: Vec<SpreadKey>| PrefixRow {
            name: Bytes::from_static(name.as_bytes()),
            counts,
            spread,
        };
        PrefixPage { next: 77, rows: vec![row("a:", vec![spread, spread]), row("b", vec![])] }
    }

    #[test]
    fn a_page_comes_back_from_its_bytes_and_from_no_others() {
        let page = page();
        let bytes = Bytes::from(page.encode());
        assert_eq!(PrefixPage::decode(&bytes).unwrap(), page);
        for len in 0..bytes.len() {
            assert!(PrefixPage::decode(&bytes.slice(..len)).is_err(), "{len} bytes");
        }
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert_eq!(PrefixPage::decode(&longer), Err(EntryError::Trailing { bytes: 1 }));
    }

    #[test]
    fn figures_add_up_and_the_rest_is_what_no_container_takes() {
        let mut sum = page().rows[0].counts;
        sum.add(&page().rows[1].counts);
        assert_eq!((sum.keys, sum.expiring, sum.bytes, sum.run_bytes), (6, 2, 1800, 200));
        assert_eq!(sum.other_bytes(), 1800 - 1200);
        sum.add(&PrefixCounts { bits: u64::MAX, ..PrefixCounts::default() });
        assert_eq!(sum.bits, u64::MAX);
    }
}
