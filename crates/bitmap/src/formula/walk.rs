//! Walks a plan over its operands, node by node and chunk by chunk.
//!
//! A node's part of every operand is looked at first: where a part of the plan is empty there, or
//! is one operand's node as it stands, none of its containers is. For the rest a mask says which
//! slots can have a bit and are needed. Then each of those slots is worked on with everything that
//! the plan needs of it while its containers are in the cache.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::pairs::Pairs;
use super::plan::{Part, Place, Plan};
use crate::BitOp;
use crate::address::{CHUNK_BITS, NODE_BITS, NODE_CHUNKS, narrow_size, slot_spans};
use crate::algebra::{self, Out, Scratch, Want};
use crate::combine::Sink;
use crate::container::Container;
use crate::node::Node;
use crate::tree::Tree;

/// What a part of the plan is within one node.
#[derive(Clone, Copy)]
enum Sight<'a> {
    /// All zero.
    Absent,
    /// This node as it stands.
    Node(&'a Arc<Node>),
    /// To be computed where this mask of slots says; zero elsewhere.
    Mixed(u64),
}

impl Sight<'_> {
    /// The slots that can have a bit.
    fn slots(&self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Node(node) => node.mask(),
            Self::Mixed(slots) => *slots,
        }
    }

    fn is_absent(&self) -> bool {
        self.slots() == 0
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Node(node) if node.is_full())
    }
}

/// Which end a walk begins at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

impl Order {
    pub(super) fn apply<T>(self, items: &mut [T]) {
        if self == Self::Descending {
            items.reverse();
        }
    }
}

/// A part that so many others join is worth a block of its own where it is a long list or runs.
const DECODE_USES_MIN: u32 = 3;

/// Lists with fewer values than this are joined faster as they are.
const DECODE_VALUES_MIN: u32 = 256;

/// A node that the range overlaps: its number and the bits of the range in it.
type Visit = (u32, u32, u32);

/// The state of a walk, by place in the plan.
pub(super) struct Walk<'a> {
    plan: &'a Plan,
    trees: &'a [Arc<Tree>],
    /// Operands that many parts join, where everything is counted.
    often: Vec<Place>,
    seen: Vec<Sight<'a>>,
    /// The slots of this node that are needed.
    need: Vec<u64>,
    /// The parts that have to be computed in this node, in order.
    work: Vec<Place>,
    /// What was computed of the present slot.
    made: Made,
    scratch: Scratch<'a>,
}

/// What was computed of a slot, by place.
struct Made {
    containers: Vec<Option<Container>>,
    /// The places that were filled.
    filled: Vec<Place>,
}

impl Made {
    fn put(&mut self, place: Place, container: Container) {
        self.containers[place as usize] = Some(container);
        self.filled.push(place);
    }

    fn drop(&mut self, place: Place, scratch: &mut Scratch<'_>) {
        if let Some(container) = self.containers[place as usize].take() {
            scratch.recycle(container);
        }
    }

    /// Forgets everything, for the next slot.
    fn clear(&mut self, scratch: &mut Scratch<'_>) {
        while let Some(place) = self.filled.pop() {
            self.drop(place, scratch);
        }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(plan: &'a Plan, trees: &'a [Arc<Tree>]) -> Self {
        let parts = plan.parts.len();
        let containers = std::iter::repeat_with(|| None).take(parts).collect();
        Self {
            plan,
            trees,
            often: Vec::new(),
            seen: vec![Sight::Absent; parts],
            need: vec![0; parts],
            work: Vec::new(),
            made: Made { containers, filled: Vec::new() },
            scratch: Scratch::default(),
        }
    }

    /// The nodes that any operand of the plan has in `range`.
    fn visits(&self, range: &Range<u64>, order: Order) -> Vec<Visit> {
        let mut visits = Vec::new();
        for part in &self.plan.parts {
            if let Part::Operand(operand) = part {
                let nodes = self.trees[usize::from(*operand)].overlapping(range);
                visits.extend(nodes.iter().map(|entry| {
                    let (lo, hi) = Tree::within(entry.index, range);
                    (entry.index, lo, hi)
                }));
            }
        }
        visits.sort_unstable();
        visits.dedup();
        order.apply(&mut visits);
        visits
    }

    /// Looks at the node `index` of every operand.
    fn look(&mut self, index: u32) {
        for (place, part) in self.plan.parts.iter().enumerate() {
            self.seen[place] = match part {
                Part::Operand(operand) => {
                    let node = self.trees[usize::from(*operand)].node(index);
                    node.map_or(Sight::Absent, Sight::Node)
                }
                Part::Join(op, args) => sight(*op, args, &self.seen),
            };
        }
    }

    /// Notes what the roots that are to be computed need in `slots`.
    fn plan_work(&mut self, slots: u64) {
        self.need.fill(0);
        self.work.clear();
        for root in &self.plan.roots {
            if let Sight::Mixed(can) = self.seen[*root as usize] {
                self.need[*root as usize] = can & slots;
            }
        }
        for (place, part) in self.plan.parts.iter().enumerate().rev() {
            let need = self.need[place];
            if let (Part::Join(_, args), Sight::Mixed(_)) = (part, self.seen[place])
                && need != 0
            {
                self.work.push(narrow_size(place));
                for arg in args {
                    self.need[*arg as usize] |= need & self.seen[*arg as usize].slots();
                }
            }
        }
        self.work.reverse();
    }

    /// Computes a part in a slot; what it joins has been computed.
    fn join(&mut self, place: Place, slot: u32, want: Want) -> (Out<'_>, &mut Scratch<'a>) {
        let container = |place: &Place| container(&self.made, &self.seen, *place, slot);
        let out = match &self.plan.parts[place as usize] {
            Part::Join(op, args) if matches!(self.seen[place as usize], Sight::Mixed(_)) => {
                let list: SmallVec<[Option<&Container>; 16]> = args.iter().map(container).collect();
                algebra::eval(*op, &list, &mut self.scratch, want)
            }
            Part::Join(..) | Part::Operand(_) => container(&place).map_or(Out::Empty, Out::Share),
        };
        (out, &mut self.scratch)
    }

    /// Computes a part in a slot and keeps it for those that join it.
    fn make(&mut self, place: Place, slot: u32) {
        let (out, scratch) = self.join(place, slot, Want::Bits);
        let container = out.into_container(scratch);
        self.made.put(place, container);
    }

    /// Lets go of what `place` was the last to join, unless it is `kept`.
    fn let_go(&mut self, place: Place, kept: impl Fn(Place) -> bool) {
        if let Part::Join(_, args) = &self.plan.parts[place as usize] {
            let is_last =
                |arg: &&Place| self.plan.last_use[**arg as usize] == place && !kept(**arg);
            for arg in args.iter().filter(is_last) {
                self.made.drop(*arg, &mut self.scratch);
            }
        }
    }

    /// Gives the result of the one formula to the sink until that is done.
    pub(super) fn run<S: Sink>(&mut self, range: &Range<u64>, order: Order, sink: &mut S) {
        let root = self.plan.roots[0] as usize;
        for (index, lo, hi) in self.visits(range, order) {
            if sink.is_done() {
                return;
            }
            self.look(index);
            if let Sight::Node(node) = self.seen[root]
                && hi - lo == NODE_BITS
                && sink.takes(index, node)
            {
                sink.node(index, node);
            } else {
                self.run_node((index, lo, hi), order, sink);
            }
        }
    }

    fn run_node<S: Sink>(&mut self, (index, lo, hi): Visit, order: Order, sink: &mut S) {
        let root = self.plan.roots[0];
        let can = self.seen[root as usize].slots();
        self.plan_work(u64::MAX);
        let mut spans: SmallVec<[(u32, u32, u32); 64]> = slot_spans(lo, hi).collect();
        order.apply(&mut spans);
        for (slot, lo, hi) in spans {
            if can >> slot & 1 == 0 {
                continue;
            }
            for at in 0..self.work.len().saturating_sub(1) {
                let place = self.work[at];
                if self.need[place as usize] >> slot & 1 == 1 {
                    self.make(place, slot);
                    self.let_go(place, |_| false);
                }
            }
            let chunk = u64::from(index) * u64::from(NODE_CHUNKS) + u64::from(slot);
            let want = if hi - lo == CHUNK_BITS { sink.want(chunk) } else { Want::Bits };
            let (out, scratch) = self.join(root, slot, want);
            sink.chunk(chunk, out, scratch, lo, hi);
            self.made.clear(&mut self.scratch);
            if sink.is_done() {
                return;
            }
        }
    }

    /// Counts every formula, by place in the plan.
    pub(super) fn count(&mut self, range: &Range<u64>) -> Vec<u64> {
        let mut pairs = Pairs::new(self.plan);
        self.often = often(self.plan, &pairs);
        let mut counts = vec![0; self.plan.parts.len()];
        for (index, lo, hi) in self.visits(range, Order::Ascending) {
            self.look(index);
            for (place, count) in counts.iter_mut().enumerate() {
                if let (true, Sight::Node(node)) = (self.plan.is_root[place], self.seen[place]) {
                    *count += u64::from(node.count(lo, hi));
                }
            }
            self.plan_work(u64::MAX);
            for (slot, lo, hi) in slot_spans(lo, hi) {
                self.count_slot(slot, (lo, hi), &mut pairs, &mut counts);
            }
        }
        counts
    }

    /// Counts every formula in a slot.
    fn count_slot(
        &mut self,
        slot: u32,
        (lo, hi): (u32, u32),
        pairs: &mut Pairs,
        counts: &mut [u64],
    ) {
        self.decode(slot);
        let is_whole = hi - lo == CHUNK_BITS;
        for at in 0..self.work.len() {
            let place = self.work[at];
            let is_needed = self.need[place as usize] >> slot & 1 == 1;
            if is_needed && !(is_whole && pairs.has(place)) {
                counts[place as usize] += u64::from(self.count_part(place, slot, lo, hi));
                self.let_go(place, |side| pairs.join(side));
            }
        }
        if is_whole {
            let Self { seen, made, need, scratch, .. } = self;
            let next = |place: Place| match seen[place as usize] {
                Sight::Node(node) if slot + 1 < NODE_CHUNKS => node.container(slot + 1),
                Sight::Node(_) | Sight::Absent | Sight::Mixed(_) => None,
            };
            pairs.count(
                |place| need[place as usize] >> slot & 1 == 1,
                |place| container(made, seen, place, slot),
                next,
                scratch,
                counts,
            );
        }
        self.made.clear(&mut self.scratch);
    }

    /// Computes a part in a slot, and counts it where it is the part of a formula.
    fn count_part(&mut self, place: Place, slot: u32, lo: u32, hi: u32) -> u32 {
        let at = place as usize;
        if self.plan.uses[at] == 0 {
            let want = if hi - lo == CHUNK_BITS { Want::Count } else { Want::Bits };
            let (out, scratch) = self.join(place, slot, want);
            return out.card_within(scratch, lo, hi);
        }
        self.make(place, slot);
        let made = self.made.containers[at].as_ref().filter(|_| self.plan.is_root[at]);
        made.map_or(0, |container| container.count(lo, hi))
    }

    /// Makes blocks of the operands that are used often in a slot and are cheaper to join so.
    fn decode(&mut self, slot: u32) {
        for place in &self.often {
            let at = *place as usize;
            let Sight::Node(node) = self.seen[at] else { continue };
            let Some(container) = node.container(slot).filter(|_| self.need[at] >> slot & 1 == 1)
            else {
                continue;
            };
            let card = container.card();
            let is_better = match container {
                Container::Array(_) => card >= DECODE_VALUES_MIN,
                Container::Runs { .. } => true,
                Container::Tiny { .. } | Container::Dense { .. } | Container::Full => false,
            };
            if is_better {
                let mut page = self.scratch.page();
                container.store(&mut page);
                self.made.put(*place, Container::Dense { card, page: Arc::new(page) });
            }
        }
    }
}

/// The operands that many parts join, pairs aside.
fn often(plan: &Plan, pairs: &Pairs) -> Vec<Place> {
    let mut uses = vec![0; plan.parts.len()];
    for (place, part) in plan.parts.iter().enumerate() {
        if let Part::Join(_, args) = part
            && !pairs.has(narrow_size(place))
        {
            args.iter().for_each(|arg| uses[*arg as usize] += 1);
        }
    }
    let places = plan.parts.iter().zip(uses).enumerate();
    let is_often = |part: &Part, uses| matches!(part, Part::Operand(_)) && uses >= DECODE_USES_MIN;
    let often = places.filter(|(_, (part, uses))| is_often(part, *uses));
    often.map(|(place, _)| narrow_size(place)).collect()
}

/// What is known of a part in a slot.
fn container<'c>(
    made: &'c Made,
    seen: &'c [Sight<'_>],
    place: Place,
    slot: u32,
) -> Option<&'c Container> {
    match (&made.containers[place as usize], &seen[place as usize]) {
        (Some(made), _) => Some(made),
        (None, Sight::Node(node)) => node.container(slot),
        (None, Sight::Absent | Sight::Mixed(_)) => None,
    }
}

/// What an operation makes of nodes as they stand, without looking into them.
fn sight<'a>(op: BitOp, args: &[Place], seen: &[Sight<'a>]) -> Sight<'a> {
    let of = |place: &Place| seen[*place as usize];
    let Some((first, rest)) = args.split_first() else { return Sight::Absent };
    let first = of(first);
    match op {
        BitOp::And => both(args.iter().map(of)),
        BitOp::Or => any(args.iter().map(of)),
        BitOp::Xor | BitOp::One => odd(args.iter().map(of)),
        BitOp::Diff => less(first, any(rest.iter().map(of))),
        BitOp::Diff1 => less(any(rest.iter().map(of)), first),
        BitOp::AndOr => both([first, any(rest.iter().map(of))].into_iter()),
        BitOp::Not => unreachable!("a formula has no NOT"),
    }
}

/// The intersection.
fn both<'a>(args: impl Iterator<Item = Sight<'a>>) -> Sight<'a> {
    let mut found: Option<Sight<'a>> = None;
    let mut full = Sight::Absent;
    for arg in args {
        if arg.is_full() {
            full = arg;
            continue;
        }
        let slots = arg.slots() & found.map_or(u64::MAX, |found| found.slots());
        if slots == 0 {
            return Sight::Absent;
        }
        found = Some(if found.is_none() { arg } else { Sight::Mixed(slots) });
    }
    found.unwrap_or(full)
}

/// The union.
fn any<'a>(args: impl Iterator<Item = Sight<'a>>) -> Sight<'a> {
    let mut found = Sight::Absent;
    for arg in args.filter(|arg| !arg.is_absent()) {
        if arg.is_full() {
            return arg;
        }
        let slots = found.slots() | arg.slots();
        found = if found.is_absent() { arg } else { Sight::Mixed(slots) };
    }
    found
}

/// What is in an odd number of them.
fn odd<'a>(args: impl Iterator<Item = Sight<'a>>) -> Sight<'a> {
    let mut found = Sight::Absent;
    for arg in args.filter(|arg| !arg.is_absent()) {
        let slots = found.slots() | arg.slots();
        found = if found.is_absent() { arg } else { Sight::Mixed(slots) };
    }
    found
}

/// The first without the second.
fn less<'a>(first: Sight<'a>, second: Sight<'a>) -> Sight<'a> {
    if second.is_full() || first.is_absent() {
        Sight::Absent
    } else if second.is_absent() {
        first
    } else {
        Sight::Mixed(first.slots())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_known_to_be_absent_full_or_as_they_stand_without_looking_inside() {
        let full = Node::full();
        let mut some = Node::default();
        some.set(3, 9, true);
        some.set(5, 9, true);
        let some = Arc::new(some);
        let mut other = Node::default();
        other.set(5, 1, true);
        let other = Arc::new(other);
        let seen = [Sight::Absent, Sight::Node(&full), Sight::Node(&some), Sight::Node(&other)];
        let slots = |op, args: &[Place]| match sight(op, args, &seen) {
            Sight::Absent => "absent".to_string(),
            Sight::Node(node) if node.is_full() => "full".to_string(),
            Sight::Node(node) => format!("as {:b}", node.mask()),
            Sight::Mixed(slots) => format!("mixed {slots:b}"),
        };
        assert_eq!(slots(BitOp::And, &[1, 2, 1]), "as 101000");
        assert_eq!(slots(BitOp::And, &[2, 3]), "mixed 100000");
        assert_eq!(slots(BitOp::And, &[2, 0]), "absent");
        assert_eq!(slots(BitOp::And, &[1, 1]), "full");
        assert_eq!(slots(BitOp::Or, &[0, 2]), "as 101000");
        assert_eq!(slots(BitOp::Or, &[3, 2]), "mixed 101000");
        assert_eq!(slots(BitOp::Or, &[3, 1]), "full");
        assert_eq!(slots(BitOp::Xor, &[3, 1]), format!("mixed {:b}", u64::MAX));
        assert_eq!(slots(BitOp::Xor, &[0, 0]), "absent");
        assert_eq!(slots(BitOp::Diff, &[2, 0, 0]), "as 101000");
        assert_eq!(slots(BitOp::Diff, &[2, 3]), "mixed 101000");
        assert_eq!(slots(BitOp::Diff, &[2, 0, 1]), "absent");
        assert_eq!(slots(BitOp::Diff1, &[3, 2, 0]), "mixed 101000");
        assert_eq!(slots(BitOp::Diff1, &[0, 2]), "as 101000");
        assert_eq!(slots(BitOp::AndOr, &[2, 1, 0]), "as 101000");
        assert_eq!(slots(BitOp::AndOr, &[2, 3, 0]), "mixed 100000");
    }
}
