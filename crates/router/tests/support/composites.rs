//! Commands made of several, at random, over the keys that other commands change.

use bitroster_bitmap::{Bitmap, Formula, Step};
use bitroster_command::{
    Command, Composite, MergeMode,
    composite::{Ask, Candidates, Expression, Format, Relation},
};
use bitroster_types::Key;
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::commands::{key, offset};

/// Steps that come to one result over different keys, some of which may not be there.
pub(crate) fn expression() -> impl Strategy<Value = Expression> {
    (vec((key(), 0_u8..4, any::<bool>()), 1..8), any::<bool>()).prop_map(|(parts, only)| {
        if only {
            return Expression::only(parts[0].0.clone());
        }
        let mut keys: Vec<Key> = Vec::new();
        let (mut steps, mut depth) = (Vec::new(), 0);
        let join = |kind: u8| match kind {
            0 => Step::And,
            1 => Step::Or,
            2 => Step::Xor,
            _ => Step::AndNot,
        };
        for (key, kind, joins) in &parts {
            let place = keys.iter().position(|known| known == key).unwrap_or_else(|| {
                keys.push(key.clone());
                keys.len() - 1
            });
            steps.push(Step::Operand(u16::try_from(place).unwrap()));
            depth += 1;
            if *joins && depth > 1 {
                steps.push(join(*kind));
                depth -= 1;
            }
        }
        steps.extend(parts.iter().take(depth - 1).map(|(_, kind, _)| join(*kind)));
        let formula = Formula::new(steps, keys.len()).unwrap();
        Expression { formula, keys }
    })
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        (offset(), offset()).prop_map(|(a, b)| (a.min(b), a.max(b) + 1)),
        offset().prop_map(|start| (start, u64::MAX)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let limit = prop_oneof![1_u64..5, 1_u64..1000];
    prop_oneof![
        1 => Just(Ask::Count),
        3 => (range(), limit.clone(), any::<bool>())
            .prop_map(|(range, limit, has_cursor)| Ask::List { range, limit, has_cursor }),
        2 => limit.clone().prop_map(|count| Ask::Sample { count }),
        4 => key().prop_map(|target| Ask::Store { target }),
        1 => any::<bool>().prop_map(|last| Ask::Edge { last }),
        3 => (prop_oneof![-30_i64..30, -100_000_i64..100_000], option::of(limit))
            .prop_map(|(rank, count)| Ask::Select { rank, count }),
        2 => (offset(), offset(), 1_u64..70).prop_map(|(a, b, parts)| {
            Ask::Density { range: (a.min(b), a.max(b) + 1), parts }
        }),
    ]
}

fn set() -> impl Strategy<Value = Bytes> {
    (vec(offset(), 0..12), 0_u64..40_000).prop_map(|(offsets, len)| {
        let mut set = Bitmap::from_offsets(&offsets);
        if len < 10_000 {
            set.extend_len(len);
        }
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        bytes.into()
    })
}

fn pattern() -> impl Strategy<Value = Bytes> {
    select(vec!["*", "?", "{a}*", "events:*", "x*"])
        .prop_map(|text| Bytes::from_static(text.as_bytes()))
}

/// Any command made of several whose reply a twin can tell.
pub(crate) fn composite() -> impl Strategy<Value = Command> {
    let relation = select(vec![
        Relation::Contains,
        Relation::ContainsStrictly,
        Relation::Equal,
        Relation::Intersects,
        Relation::Jaccard { none: 0 },
        Relation::Jaccard { none: -1 },
    ]);
    let mode = select(vec![MergeMode::Or, MergeMode::AndNot, MergeMode::Xor]);
    let format = select(vec![Format::Roaring32, Format::Roaring64, Format::Bytes, Format::Csv]);
    let among = prop_oneof![
        vec(key(), 1..6).prop_map(Candidates::Keys),
        pattern().prop_map(Candidates::Match),
    ];
    let composite = prop_oneof![
        16 => (expression(), ask()).prop_map(|(of, ask)| Composite::Query { of, ask }),
        2 => (key(), vec(offset(), 1..20))
            .prop_map(|(key, offsets)| Composite::GetBits { key, offsets }),
        1 => (key(), offset(), -1_i64..1)
            .prop_map(|(key, offset, absent)| Composite::Rank { key, offset, absent }),
        3 => (key(), key(), relation)
            .prop_map(|(a, b, relation)| Composite::Compare { a, b, relation }),
        2 => (vec(key(), 1..4), vec(key(), 0..4), 1_u32..5).prop_map(
            |(cohorts, more, horizon)| {
                let returns = cohorts.iter().cloned().chain(more).collect();
                Composite::Retention { cohorts, returns, horizon }
            }
        ),
        2 => (expression(), 1_u64..4, among)
            .prop_map(|(of, k, among)| Composite::TopK { of, k, among }),
        2 => (offset(), pattern(), any::<bool>())
            .prop_map(|(id, pattern, dry_run)| Composite::Purge { id, pattern, dry_run }),
        2 => (expression(), format).prop_map(|(of, format)| Composite::Export { of, format }),
        2 => (key(), set(), option::of(mode))
            .prop_map(|(key, bits, mode)| Composite::Import { key, bits, mode }),
        1 => key().prop_map(|key| Composite::ObjectEncoding { key }),
    ];
    composite.prop_map(|composite| Command::Composite(composite.into()))
}
