//! What a read may miss.

/// How fresh the answer to a read must be. Chosen a connection; writes know only one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read was sent. The leader asks a majority,
    /// one question for all reads that wait.
    #[default]
    Linearizable,
    /// Whatever the replica that takes itself for the leader has applied. A leader that was cut off
    /// answers so until it notices, at most an election time-out.
    Leader,
    /// Whatever the nearest replica has applied. It says how old that may be.
    Stale,
}

impl Consistency {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linearizable, Self::Leader, Self::Stale];

    /// The word that clients use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Leader => "leader",
            Self::Stale => "stale",
        }
    }

    /// The one of this name, in either case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().as_bytes().eq_ignore_ascii_case(name))
    }
}
