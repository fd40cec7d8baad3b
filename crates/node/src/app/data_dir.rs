//! Identity and cluster map: made once, kept with the data.
//!
//! Groups and segment width decide where each bit lies, so they are read from the data directory
//! and never from the configuration once the directory exists. A configuration that says something
//! else is refused, lest an operator believe that it was changed.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use bitroster_placement::ClusterMap;
use bitroster_types::{GroupId, SegmentWidth, limits::CLUSTER_STATE_BYTES_MAX};
use bitroster_wal::{DataDir, FileSystem, Identity, RealFileSystem};

use super::files::Files;
use crate::config::{Loaded, Origin};

/// The cluster map's file within the data directory.
pub(crate) const MAP_NAME: &str = "cluster-map";

/// The file that only members of a cluster have: the newest state that they have seen.
pub(crate) const STATE_NAME: &str = "cluster-state";

/// Longest map that is read: 16 384 owners and 65 536 groups take 160 KiB.
pub(crate) const MAP_BYTES_MAX: u64 = 1 << 20;

/// A data directory that is ready to be used.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) map: Arc<ClusterMap>,
}

impl Home {
    /// Reads identity and map, or makes them in a new directory.
    ///
    /// # Errors
    ///
    /// A directory in use or damaged, or one whose map differs from what is configured.
    pub(crate) fn open(loaded: &Loaded, cores: usize) -> anyhow::Result<Self> {
        let path = PathBuf::from(&loaded.config.server.data_dir);
        let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        // The lock ends with this function and the shard takes it again: both are made under it.
        let dir = DataDir::open(Arc::clone(&fs), &path)?;
        let files = Files::new(fs, &path);
        if files.read(STATE_NAME, CLUSTER_STATE_BYTES_MAX as u64)?.is_some() {
            bail!(
                "{} holds the data of a node of a cluster; start it with cluster.seeds or \
                 cluster.bootstrap_expect, or give this node a folder of its own",
                path.display()
            );
        }
        let identity = if let Some(identity) = dir.identity()? {
            identity
        } else {
            let identity = Identity { cluster: random_u128(), node: 1 };
            dir.create_identity(&identity)?;
            identity
        };
        let map = match read_map(&files)? {
            Some(map) => map,
            None => create_map(loaded, cores, &files)?,
        };
        check(loaded, &map, &path)?;
        Ok(Self { path, identity, map: Arc::new(map) })
    }
}

/// Sixteen bytes that no other cluster has. The standard library seeds each map's hasher with the
/// system's randomness; that is enough for a name.
pub(crate) fn random_u128() -> u128 {
    let word = || u128::from(RandomState::new().hash_one(0_u8));
    word() << 64 | word()
}

fn read_map(files: &Files) -> anyhow::Result<Option<ClusterMap>> {
    let Some(bytes) = files.read(MAP_NAME, MAP_BYTES_MAX)? else { return Ok(None) };
    let path = files.dir().join(MAP_NAME);
    ClusterMap::decode(&bytes)
        .map(Some)
        .with_context(|| format!("the cluster map {} is damaged", path.display()))
}

fn create_map(loaded: &Loaded, cores: usize, files: &Files) -> anyhow::Result<ClusterMap> {
    let config = &loaded.config;
    let groups: Vec<GroupId> = (1..=config.groups_at_creation(cores)).map(GroupId).collect();
    let width = SegmentWidth::from_log2(config.cluster.segment_width_log2)
        .context("cluster.segment_width_log2 is out of range")?;
    let map = ClusterMap::plan(&groups, width);
    files.write(MAP_NAME, &map.encode())?;
    Ok(map)
}

/// Refuses a configuration that somebody set and that differs from the data.
fn check(loaded: &Loaded, map: &ClusterMap, path: &Path) -> anyhow::Result<()> {
    let path = path.display();
    let is_set = |field| loaded.origin("cluster", field) != Origin::Default;
    let (groups, there) = (usize::from(loaded.config.cluster.groups), map.groups().len());
    if groups != 0 && groups != there {
        bail!(
            "cluster.groups is {groups}, but the data in {path} was created with {there}; it is \
             fixed at creation: say {there}, or nothing"
        );
    }
    let (width, there) = (loaded.config.cluster.segment_width_log2, map.width().log2());
    if is_set("segment_width_log2") && width != there {
        bail!(
            "cluster.segment_width_log2 is {width}, but the data in {path} was created with \
             {there}; it is fixed at creation: say {there}, or nothing"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn open(dir: &Path, flags: &[(&str, &str)]) -> anyhow::Result<Home> {
        let dir = ("server.data_dir", dir.to_str().unwrap());
        let flags = flags
            .iter()
            .chain([&dir])
            .map(|(key, value)| ("--set".to_owned(), (*key).to_owned(), (*value).to_owned()));
        let loaded = load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
        Home::open(&loaded, 3)
    }

    #[test]
    fn a_new_directory_gets_a_map_that_later_starts_find() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(&dir.path().join("new"), &[]).unwrap();
        assert_eq!(first.map.groups().len(), 3);
        assert_eq!(first.map.width(), SegmentWidth::DEFAULT);
        let second = open(&dir.path().join("new"), &[("cluster.groups", "3")]).unwrap();
        assert_eq!(second.identity, first.identity);
        assert_eq!(second.map, first.map);
    }

    #[test]
    fn a_configuration_that_differs_from_the_data_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &[("cluster.groups", "4"), ("cluster.segment_width_log2", "16")]).unwrap();
        assert_eq!(open(dir.path(), &[]).unwrap().map.width().log2(), 16);
        let error = open(dir.path(), &[("cluster.groups", "5")]).unwrap_err().to_string();
        assert!(error.contains("was created with 4"), "{error}");
        let error = open(dir.path(), &[("cluster.segment_width_log2", "20")]).unwrap_err();
        assert!(error.to_string().contains("was created with 16"), "{error}");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test damages a file")]
    fn a_damaged_map_refuses_to_start() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &[]).unwrap();
        let path = dir.path().join(MAP_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = open(dir.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
}
