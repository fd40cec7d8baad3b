use std::collections::BTreeMap;

use bitroster_types::{GroupId, Version};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize, Option<u64>, bool),
    Take(u8),
    Extend(u8, usize),
    SetBit(u8, u64),
    Split,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..90usize, any::<Option<u64>>(), prop::bool::weighted(0.1))
            .prop_map(|(key, len, expiry, spread)| Step::Put(key, len, expiry, spread)),
        3 => any::<u8>().prop_map(Step::Take),
        2 => (any::<u8>(), 0..90usize).prop_map(|(key, len)| Step::Extend(key, len)),
        3 => (any::<u8>(), 0..600u64).prop_map(|(key, offset)| Step::SetBit(key, offset)),
        1 => Just(Step::Split),
    ]
}

/// A key and a hash; many keys share one, so that pages order equals too.
fn name(key: u8) -> (Vec<u8>, u32) {
    (vec![key; usize::from(key % 64) * 5], u32::from(key / 3).wrapping_mul(0x0361_9C6D))
}

fn entry(len: usize, expiry: Option<u64>, spread: bool) -> Entry {
    Entry {
        value: Bitmap::from_bytes(&vec![0xA5; len]),
        expiry: expiry.map(UnixMillis),
        modified: LogIndex(1),
        version: spread.then_some(Version(3)),
        spread: if spread { Box::new([GroupId(4)]) } else { Box::default() },
    }
}

fn same(view: View<'_>, entry: &Entry) -> bool {
    view.value.to_bitmap() == entry.value
        && (view.expiry, view.modified, view.version)
            == (entry.expiry, entry.modified, entry.version)
        && *view.spread == *entry.spread
}

/// Does one step on both; answers whether they agree on what came of it.
fn step(page: &mut Leaf, twin: &mut BTreeMap<u8, Entry>, step: &Step) -> bool {
    let now = (UnixMillis(0), LogIndex(9));
    match *step {
        Step::Put(key, len, expiry, spread) => {
            let (bytes, hash) = name(key);
            let entry = entry(len, expiry.map(|time| time | 1), spread);
            let old = page.put(hash, &bytes, entry.clone());
            let wanted = twin.insert(key, entry);
            old.is_some() == wanted.is_some()
        }
        Step::Take(key) => {
            let (bytes, hash) = name(key);
            page.take(hash, &bytes).is_some() == twin.remove(&key).is_some()
        }
        Step::Extend(key, len) => {
            let (bytes, hash) = name(key);
            let change = |entry: &mut Entry| entry.value.extend_len(len as u64);
            let there = page.edit(hash, &bytes, change).is_some();
            there == twin.get_mut(&key).map(change).is_some()
        }
        Step::SetBit(key, offset) => {
            let (bytes, hash) = name(key);
            let (mut told, bits) = (Vec::new(), [(offset, false), (offset, offset % 3 == 0)]);
            let written = page.set_bits(hash, &bytes, &bits, now, |old| told.push(old));
            let Some(entry) = twin.get_mut(&key) else { return written == Err(Unwritten::Absent) };
            if written == Err(Unwritten::Grow) {
                return told.is_empty() && entry.value.len_bytes() <= offset / 8;
            }
            let len = entry.value.len_bytes();
            let old = bits.map(|(offset, value)| entry.value.set(offset, value));
            if old != bits.map(|(_, value)| value) || len != entry.value.len_bytes() {
                entry.modified = now.1;
            }
            written.is_ok() && told == old
        }
        Step::Split => true,
    }
}

proptest! {
    #[test]
    fn a_page_is_a_map(script in prop::collection::vec(steps(), 1..150)) {
        let mut page = Leaf::default();
        let mut twin = BTreeMap::new();
        for line in &script {
            let shared = page.clone();
            let before = shared.iter_from(0).count();
            prop_assert!(step(&mut page, &mut twin, line), "{:?}", line);
            prop_assert_eq!(page.len(), twin.len());
            for (key, entry) in &twin {
                let (bytes, hash) = name(*key);
                let view = page.find(hash, &bytes);
                prop_assert!(view.is_some_and(|view| same(view, entry)), "{:?}", line);
            }
            prop_assert_eq!(shared.iter_from(0).count(), before);
            let hashes: Vec<u32> = page.iter_from(0).map(|(hash, ..)| hash).collect();
            prop_assert!(hashes.is_sorted());
            let (packed, value_bytes, _) = page.packed_figures();
            let flat = page.iter_from(0).filter_map(|(.., view)| match view.value {
                Value::Flat(bytes) => Some(bytes.len()),
                Value::Whole(_) => None,
            });
            let flat: Vec<usize> = flat.collect();
            prop_assert_eq!((flat.len(), flat.iter().sum()), (packed, value_bytes));
            if matches!(line, Step::Split) {
                let pages = page.clone().split(28);
                let split: Vec<u32> =
                    pages.iter().flat_map(|p| p.iter_from(0).map(|(hash, ..)| hash)).collect();
                prop_assert_eq!(split, hashes);
                for (key, entry) in &twin {
                    let (bytes, hash) = name(*key);
                    let view = pages[(hash >> 28) as usize].find(hash, &bytes);
                    prop_assert!(view.is_some_and(|view| same(view, entry)));
                }
            }
        }
    }
}
