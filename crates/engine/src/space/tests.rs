use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Name, Space, Spaces, bytes_of, parse};
use bitroster_types::Key;

fn names() -> impl Strategy<Value = Vec<u8>> {
    let uuid = any::<[u8; 16]>().prop_map(|id| Name::Uuid(id).to_bytes());
    let nearly = (0..36usize, any::<u8>()).prop_map(|(at, byte)| {
        let mut text = Name::Uuid([0xA5; 16]).to_bytes();
        text[at] = byte;
        text
    });
    let small = (0..400u16).prop_map(|n| n.to_string().into_bytes());
    let sized = prop_oneof![Just(253usize), Just(254), Just(255), Just(4096), 0..300usize]
        .prop_map(|len| vec![b'x'; len]);
    prop_oneof![2 => uuid, 1 => nearly, 4 => small, 1 => sized]
}

proptest! {
    #[test]
    fn a_name_has_one_kept_form_and_comes_back(text in names()) {
        let name = Name::of(&text);
        prop_assert_eq!(name.to_bytes(), text.clone());
        let mut kept = Vec::new();
        name.push(&mut kept);
        prop_assert_eq!(kept.len(), name.kept_bytes());
        prop_assert_eq!(Name::read(&kept), Some((name, kept.len())));
        prop_assert_eq!(parse(&kept).collect::<Vec<_>>(), vec![Ok(name)]);
        for cut in [kept.len() - 1, kept.len() / 2].into_iter().filter(|cut| *cut > 0) {
            prop_assert!(parse(&kept[..cut]).any(|name| name.is_err()));
        }
    }

    #[test]
    fn bytes_that_are_no_names_harm_nobody(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let kept: usize = parse(&bytes).map_while(Result::ok).map(|name| name.kept_bytes()).sum();
        prop_assert!(kept <= bytes.len());
    }

    #[test]
    fn spaces_are_maps_and_clones_stand_still(
        script in prop::collection::vec((0..3u8, names(), 0..40u8), 1..300),
    ) {
        let (mut spaces, mut twin) = (Spaces::default(), BTreeMap::new());
        let mut held = (spaces.clone(), twin.clone());
        for (space, text, what) in script {
            let key = Key::new(&[space + b'a']).unwrap();
            if what == 0 {
                prop_assert_eq!(spaces.drop_space(&key), twin.remove(&space).is_some());
            }
            if what == 1 {
                held = (spaces.clone(), twin.clone());
            }
            let list: &mut Vec<Vec<u8>> = twin.entry(space).or_default();
            let wanted = list.iter().position(|known| *known == text);
            let name = Name::of(&text);
            let found = spaces.get(&key).and_then(|space| space.find(&name));
            prop_assert_eq!(found.map(|id| id as usize), wanted);
            let id = spaces.edit(&key, 5, |space| match found {
                Some(id) => id,
                None => space.push(&name),
            });
            if wanted.is_none() {
                list.push(text);
            }
            prop_assert_eq!(id as usize, wanted.unwrap_or(list.len() - 1));
        }
        for (spaces, twin) in [(spaces, twin), held] {
            check(&spaces, &twin)?;
        }
    }
}

fn check(spaces: &Spaces, twin: &BTreeMap<u8, Vec<Vec<u8>>>) -> Result<(), TestCaseError> {
    let total: usize = twin.values().map(Vec::len).sum();
    prop_assert_eq!((spaces.len(), spaces.names()), (twin.len() as u64, total as u64));
    let mut bytes = 0;
    for ((key, space), (name, list)) in spaces.iter().zip(twin) {
        prop_assert_eq!(&key[..], &[*name + b'a'][..]);
        prop_assert_eq!(space.len(), list.len() as u64);
        for (id, text) in list.iter().enumerate() {
            prop_assert_eq!(space.name(id as u64), Some(text.clone()));
            prop_assert_eq!(space.find(&Name::of(text)), u32::try_from(id).ok());
        }
        prop_assert_eq!(space.name(list.len() as u64), None);
        let kept: Vec<Vec<u8>> =
            space.blocks().flat_map(parse).map(|name| name.unwrap().to_bytes()).collect();
        prop_assert_eq!(&kept, list);
        prop_assert_eq!(space.table.heap_bytes(), space.table.counted_bytes());
        bytes += bytes_of(key, space);
    }
    prop_assert_eq!(spaces.bytes(), bytes);
    Ok(())
}

#[test]
fn names_with_one_hash_are_told_apart() {
    let mut table = super::table::Table::default();
    for id in 0..2_000 {
        assert_eq!(table.find(7, |other| other == id), None);
        table.insert(7, id);
    }
    for id in (0..2_000).step_by(17) {
        assert_eq!(table.find(7, |other| other == id), Some(id));
        assert_eq!(table.find(8, |_| true), None);
    }
    assert_eq!(table.heap_bytes(), table.counted_bytes());
}

#[test]
fn a_table_of_many_rows_finds_each_of_them() {
    let hash = |id: u32| crate::spot::hash_of(&id.to_le_bytes());
    let mut table = super::table::Table::default();
    let mut held = table.clone();
    for id in 0..60_000 {
        table.insert(hash(id), id);
        if id == 30_000 {
            held = table.clone();
        }
    }
    for id in 0..60_000 {
        assert_eq!(table.find(hash(id), |other| other == id), Some(id));
        assert_eq!(held.find(hash(id), |other| other == id), (id <= 30_000).then_some(id));
    }
    assert_eq!(table.heap_bytes(), table.counted_bytes());
    assert_eq!(held.heap_bytes(), held.counted_bytes());
}

#[test]
fn names_fill_blocks_and_are_found_by_their_numbers() {
    let mut space = Space::default();
    let text = |id: u64| "n".repeat((id * 37 % 900) as usize) + &id.to_string();
    for id in 0..3_000 {
        let text = text(id);
        assert_eq!(u64::from(space.push(&Name::of(text.as_bytes()))), id);
    }
    assert!(space.blocks().count() > 15);
    assert!(space.blocks().all(|block| block.len() <= super::BLOCK_BYTES));
    for id in 0..3_000 {
        assert_eq!(space.name(id), Some(text(id).into_bytes()));
    }
}
