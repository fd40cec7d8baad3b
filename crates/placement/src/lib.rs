//! Slots, the hash ring and the cluster map.
