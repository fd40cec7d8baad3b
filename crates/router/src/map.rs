//! The cluster map that a router follows, and its changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Acquire, Ordering::Release},
    },
    time::{Duration, Instant},
};

use bitroster_placement::ClusterMap;
use bitroster_types::{
    Deadline, GroupId, SegmentWidth, Slot,
    limits::{REROUTE_PAUSE_MS_MAX, REROUTE_PAUSE_MS_MIN},
    planted::Fault,
};
use tokio::{sync::watch, time::timeout_at};

/// The epoch of a router that has no map yet. The first map's is 1.
pub(crate) const NO_EPOCH: u64 = 0;

/// The newest map known, and who waits for a newer one.
pub(crate) struct Maps {
    newest: watch::Sender<Arc<ClusterMap>>,
    /// The newest map's epoch, for those who only want to know whether they have it.
    epoch: AtomicU64,
}

impl Maps {
    pub(crate) fn new(map: Arc<ClusterMap>) -> Self {
        let map = planted(map);
        let epoch = AtomicU64::new(map.epoch());
        Self { newest: watch::Sender::new(map), epoch }
    }

    /// No map yet: one that nothing is routed by.
    pub(crate) fn none() -> Self {
        let mut map = ClusterMap::plan(&[GroupId::META], SegmentWidth::DEFAULT);
        map.epoch = NO_EPOCH;
        Self::new(Arc::new(map))
    }

    pub(crate) fn newest(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.newest.borrow())
    }

    /// The newest map's epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// Whether the map is followed now: not where it is no newer, or of another width.
    pub(crate) fn follow(&self, map: Arc<ClusterMap>) -> bool {
        let map = planted(map);
        self.newest.send_if_modified(|newest| {
            let is_first = newest.epoch() == NO_EPOCH;
            if map.epoch() <= newest.epoch() {
                return false;
            }
            if !is_first && map.width() != newest.width() {
                tracing::error!(
                    epoch = map.epoch(),
                    width = map.width().log2(),
                    expected = newest.width().log2(),
                    "a cluster map of another segment width is not followed"
                );
                return false;
            }
            self.epoch.store(map.epoch(), Release);
            *newest = map;
            true
        })
    }

    /// Waits for a map newer than this epoch, `pause` at most. Whether there is time left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn wait_newer(
        &self,
        epoch: u64,
        pause: Option<Duration>,
        deadline: Deadline,
    ) -> bool {
        let mut newest = self.newest.subscribe();
        let end = deadline.instant();
        let until = pause.map_or(end, |pause| end.min(Instant::now() + pause));
        let newer = newest.wait_for(|map| map.epoch() > epoch);
        let came = matches!(timeout_at(until.into(), newer).await, Ok(Ok(_)));
        came || Instant::now() < end
    }
}

/// Pauses that double.
#[derive(Clone)]
pub(crate) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: Duration::from_millis(REROUTE_PAUSE_MS_MIN) }
    }
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Duration::from_millis(REROUTE_PAUSE_MS_MAX));
        pause
    }
}

/// The map itself, unless a test wants to see requests go astray.
fn planted(map: Arc<ClusterMap>) -> Arc<ClusterMap> {
    if Fault::Misroute.is_planted() { Arc::new(misrouted(&map)) } else { map }
}

/// The map with its first two groups exchanged.
fn misrouted(map: &ClusterMap) -> ClusterMap {
    let [first, second, ..] = *map.groups() else { return map.clone() };
    let moved = |from, to| move |slot: Slot| (map.owner(slot) == from).then_some((slot, to));
    let slots = || (0..map.owners().len()).filter_map(|slot| Slot::new(u16::try_from(slot).ok()?));
    let moves: Vec<(Slot, GroupId)> = slots()
        .filter_map(moved(first, second))
        .chain(slots().filter_map(moved(second, first)))
        .collect();
    let mut exchanged = map.reassign(&moves);
    exchanged.epoch = map.epoch();
    exchanged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(groups: &[u16], epoch: u64) -> Arc<ClusterMap> {
        let groups: Vec<GroupId> = groups.iter().copied().map(GroupId).collect();
        let mut map = ClusterMap::plan(&groups, SegmentWidth::DEFAULT);
        map.epoch = epoch;
        Arc::new(map)
    }

    #[test]
    fn only_a_newer_map_of_the_same_width_is_followed() {
        let maps = Maps::new(map(&[1], 5));
        assert!(!maps.follow(map(&[1, 2], 4)));
        assert!(!maps.follow(map(&[1, 2], 5)));
        let mut wider = ClusterMap::clone(&map(&[1, 2], 6));
        wider.width = SegmentWidth::from_log2(16).unwrap();
        assert!(!maps.follow(Arc::new(wider)));
        assert_eq!((maps.epoch(), maps.newest().groups().len()), (5, 1));
        assert!(maps.follow(map(&[1, 2], 7)));
        assert_eq!((maps.epoch(), maps.newest().groups().len()), (7, 2));
    }

    #[test]
    fn the_first_map_may_have_any_width() {
        let maps = Maps::none();
        assert_eq!(maps.epoch(), NO_EPOCH);
        let mut first = ClusterMap::clone(&map(&[1, 2], 1));
        first.width = SegmentWidth::from_log2(16).unwrap();
        assert!(maps.follow(Arc::new(first)));
        assert_eq!(maps.epoch(), 1);
    }

    #[test]
    fn a_misrouted_map_differs_in_every_slot_of_two_groups() {
        let right = map(&[1, 2, 3], 9);
        let wrong = misrouted(&right);
        assert_eq!(wrong.epoch(), 9);
        assert_eq!(wrong.slots_of(GroupId(1)), right.slots_of(GroupId(2)));
        assert_eq!(wrong.slots_of(GroupId(2)), right.slots_of(GroupId(1)));
        assert_eq!(wrong.slots_of(GroupId(3)), right.slots_of(GroupId(3)));
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut pauses = Pauses::default();
        let all: Vec<u64> =
            (0..8).map(|_| u64::try_from(pauses.next().as_millis()).unwrap()).collect();
        assert_eq!(all, [2, 4, 8, 16, 32, 64, 64, 64]);
    }
}
