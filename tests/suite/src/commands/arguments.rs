//! The arguments of random commands: mostly near an edge, sometimes wrong.

use super::{Generator, KEYS};

/// What is no bit offset, or hardly one.
const BAD_OFFSETS: &[&str] = &[
    "-1",
    "+1",
    "01",
    "",
    " 1",
    "1 ",
    "0x1",
    "4294967296",
    "18446744073709551616",
    "a",
    "9223372036854775807",
    "1.0",
    "-0",
];

/// What is no number, or hardly one.
const BAD_NUMBERS: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
    "1.0",
    "007",
    "-0",
];

impl Generator {
    pub(super) fn key(&mut self) -> String {
        self.random.pick(KEYS).to_owned()
    }

    pub(super) fn keys(&mut self, count_max: u64) -> Vec<String> {
        (0..1 + self.random.below(count_max)).map(|_| self.key()).collect()
    }

    pub(super) fn existing_or_missing(&mut self) -> String {
        if self.random.one_in(10) { "missing".into() } else { self.key() }
    }

    /// A bit a few places beside a power of two or a segment's edge, below the shape's end.
    fn near_edge(&mut self) -> u64 {
        let (offsets, segment_bits) = (self.shape.offsets, self.shape.segment_bits);
        let edge = if self.shape.has_edges() && !self.random.one_in(4) {
            segment_bits * (1 + self.random.below(offsets / segment_bits))
        } else {
            1 << self.random.below(u64::from(offsets.ilog2()))
        };
        (edge + self.random.below(7)).saturating_sub(3) % offsets
    }

    /// As [`Generator::near_edge`], but for bytes.
    fn near_edge_bytes(&mut self) -> u64 {
        let edge = self.near_edge() / 8;
        (edge + self.random.below(5)).saturating_sub(2)
    }

    /// A bit offset.
    pub(super) fn offset(&mut self) -> String {
        match self.random.below(12) {
            0 => self.random.pick(BAD_OFFSETS).to_owned(),
            1..=4 => self.random.below(64).to_string(),
            5..=9 => self.near_edge().to_string(),
            _ => self.random.below(self.shape.offsets).to_string(),
        }
    }

    /// An index of a range, of bits or bytes: around the ends, negative, sometimes wrong.
    pub(super) fn index(&mut self) -> String {
        match self.random.below(16) {
            7..=9 if self.shape.has_edges() => self.near_edge_bytes().to_string(),
            10 if self.shape.has_edges() => self.near_edge().to_string(),
            11 if self.shape.has_edges() => format!("-{}", 1 + self.near_edge_bytes()),
            12 if self.shape.has_edges() => format!("-{}", 1 + self.near_edge()),
            6 => self.random.below(self.shape.offsets / 4).to_string(),
            _ => self.byte_offset_besides_edges(),
        }
    }

    /// A byte offset to write at.
    pub(super) fn byte_offset(&mut self) -> String {
        if self.shape.has_edges() && !self.random.one_in(3) {
            self.near_edge_bytes().to_string()
        } else if self.random.one_in(14) {
            self.random.below(self.shape.offsets / 8).to_string()
        } else {
            self.byte_offset_besides_edges()
        }
    }

    fn byte_offset_besides_edges(&mut self) -> String {
        match self.random.below(12) {
            0 => self.random.pick(&["", "a", "1.5", "9223372036854775808", "+1"]).to_owned(),
            1 => self
                .random
                .pick(&["9223372036854775807", "-9223372036854775808", "4294967296"])
                .to_owned(),
            2..=4 => format!("-{}", 1 + self.random.below(20)),
            5 => format!("-{}", self.random.below(self.shape.offsets / 4)),
            _ => self.random.below(24).to_string(),
        }
    }

    /// Redis 7.0 looks the key up before it parses a range, newer ones after: see the list.
    pub(super) fn good_index(&mut self) -> String {
        loop {
            let index = self.index();
            if index.parse::<i64>().is_ok() && !index.starts_with('+') {
                return index;
            }
        }
    }

    pub(super) fn unit(&mut self) -> String {
        self.random.pick(&["BIT", "BYTE", "bit", "Byte"]).to_owned()
    }

    pub(super) fn bit(&mut self) -> String {
        match self.random.below(20) {
            0 => self.random.pick(&["2", "-1", "", "x", "01"]).to_owned(),
            n => (n % 2).to_string(),
        }
    }

    /// A value: empty, a number, a few bytes, or long, with other bytes beside the edges.
    pub(super) fn value(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => Vec::new(),
            1 => self.number().into_bytes(),
            2 | 3 => self.long_value(),
            _ => (0..self.random.below(40)).map(|_| self.random.byte()).collect(),
        }
    }

    fn long_value(&mut self) -> Vec<u8> {
        let len = match self.random.below(3) {
            0 => self.random.below(self.shape.offsets / 8),
            // Over the first edges mostly: many short ones tell more than few long ones.
            1 => self.near_edge_bytes() % (self.shape.segment_bits / 2),
            _ => self.near_edge_bytes(),
        };
        let fill = [0, 0xff, self.random.byte()][self.random.index(3)];
        let mut value = vec![fill; usize::try_from(len).expect("a small length")];
        let step = usize::try_from(self.shape.segment_bits / 8).expect("a small length");
        for edge in (0..value.len()).step_by(step) {
            for at in [edge.saturating_sub(1), edge] {
                if self.random.one_in(2) {
                    value[at] = self.random.byte();
                }
            }
        }
        value
    }

    pub(super) fn number(&mut self) -> String {
        match self.random.below(8) {
            0 => self.random.pick(BAD_NUMBERS).to_owned(),
            1 => format!("-{}", self.random.below(1000)),
            _ => self.random.below(1000).to_string(),
        }
    }

    /// Seconds far enough away that nothing expires during the run, or at once.
    pub(super) fn seconds(&mut self) -> String {
        match self.random.below(10) {
            0 => self.random.pick(&["0", "-1", "x", "9223372036854775807", "-99999999"]).to_owned(),
            _ => (10_000 + self.random.below(100_000)).to_string(),
        }
    }

    pub(super) fn millis(&mut self) -> String {
        match self.random.below(10) {
            0 => self.random.pick(&["0", "-1", "x", "9223372036854775807"]).to_owned(),
            _ => (10_000_000 + self.random.below(100_000_000)).to_string(),
        }
    }

    pub(super) fn far_second(&mut self) -> String {
        (4_000_000_000 + self.random.below(1000)).to_string()
    }

    /// A type and an offset of BITFIELD; many reach over a segment's edge.
    pub(super) fn field(&mut self) -> Vec<String> {
        let width = 1 + self.random.below(40);
        let kind = match self.random.below(12) {
            0 => self.random.pick(&["u64", "i65", "u0", "U8", "u08", "x", ""]).to_owned(),
            1 => self.random.pick(&["i64", "u63", "i1", "u1"]).to_owned(),
            _ => format!("{}{width}", self.random.pick(&["u", "i"])),
        };
        let offset = match self.random.below(6) {
            0 => format!("#{}", self.random.below(2000)),
            1 => self.offset(),
            2 => self.near_edge().saturating_sub(self.random.below(64)).to_string(),
            3 => format!("#{}", self.near_edge() / width),
            _ => self.random.below(200).to_string(),
        };
        vec![kind, offset]
    }
}
