//! Between protobuf and our own types.

use bitroster_types::{ClusterId, Consistency, GroupId, NodeId};
use bytes::Bytes;

use crate::internal;

/// A field that holds what its type allows and we do not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A cluster's number that is not 16 bytes long.
    #[error("a cluster's number of {0} bytes, not 16")]
    Cluster(usize),
    /// A group past the largest.
    #[error("group {0} is past 65535")]
    Group(u32),
    /// A consistency that this build does not know.
    #[error("unknown consistency {0}")]
    Consistency(i32),
    /// Zero where a node is asked for.
    #[error("node 0")]
    Node,
}

/// The cluster of these 16 bytes, big-endian.
///
/// # Errors
///
/// [`ConvertError::Cluster`].
pub fn cluster(bytes: &[u8]) -> Result<ClusterId, ConvertError> {
    let number = bytes.try_into().map_err(|_| ConvertError::Cluster(bytes.len()))?;
    Ok(ClusterId(u128::from_be_bytes(number)))
}

/// The 16 bytes of a cluster's number, big-endian.
pub fn cluster_bytes(cluster: ClusterId) -> Bytes {
    Bytes::copy_from_slice(&cluster.0.to_be_bytes())
}

/// The group of this number.
///
/// # Errors
///
/// [`ConvertError::Group`].
pub fn group(number: u32) -> Result<GroupId, ConvertError> {
    u16::try_from(number).map(GroupId).map_err(|_| ConvertError::Group(number))
}

/// The node of this number, `None` for 0: a router without data, or nobody.
pub fn optional_node(number: u64) -> Option<NodeId> {
    (number != 0).then_some(NodeId(number))
}

/// The node of this number.
///
/// # Errors
///
/// [`ConvertError::Node`] for 0.
pub fn node(number: u64) -> Result<NodeId, ConvertError> {
    optional_node(number).ok_or(ConvertError::Node)
}

/// The number of a node, 0 for none.
pub fn node_number(node: Option<NodeId>) -> u64 {
    node.map_or(0, |node| node.0)
}

/// The consistency of this number.
///
/// # Errors
///
/// [`ConvertError::Consistency`].
pub fn consistency(number: i32) -> Result<Consistency, ConvertError> {
    match internal::Consistency::try_from(number) {
        Ok(internal::Consistency::Linearizable) => Ok(Consistency::Linearizable),
        Ok(internal::Consistency::Leader) => Ok(Consistency::Leader),
        Ok(internal::Consistency::Stale) => Ok(Consistency::Stale),
        Err(_) => Err(ConvertError::Consistency(number)),
    }
}

impl From<Consistency> for internal::Consistency {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::Linearizable => Self::Linearizable,
            Consistency::Leader => Self::Leader,
            Consistency::Stale => Self::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_others_are_refused_with_their_value() {
        let id = ClusterId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(cluster(&cluster_bytes(id)), Ok(id));
        assert_eq!(cluster(&[0; 15]), Err(ConvertError::Cluster(15)));
        assert_eq!(group(65_535), Ok(GroupId(65_535)));
        assert_eq!(group(65_536), Err(ConvertError::Group(65_536)));
        assert_eq!(node(0), Err(ConvertError::Node));
        assert_eq!(node_number(optional_node(0)), 0);
        assert_eq!(node_number(optional_node(7)), 7);
    }

    #[test]
    fn each_consistency_comes_back() {
        for one in Consistency::ALL {
            assert_eq!(consistency(internal::Consistency::from(one) as i32), Ok(one));
        }
        assert_eq!(consistency(3), Err(ConvertError::Consistency(3)));
    }
}
