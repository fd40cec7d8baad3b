//! Faults that tests plant to see themselves fail.
//!
//! Without the feature `planted-faults`, which no release has, every question is answered "no" when
//! it is compiled and costs nothing. With it, the environment variable `BITROSTER_PLANTED` names
//! the faults, separated by commas.

/// A promise that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Entries count as synced once they are queued for the disk.
    AckBeforeSync,
    /// A leader answers reads without asking a majority.
    ReadFromDeposedLeader,
    /// A batch that was applied before is applied again.
    ForgetSession,
    /// A group takes requests for slots that it does not own.
    SkipEpochCheck,
    /// A router follows a map on which two groups are exchanged.
    Misroute,
    /// A change that was published is forgotten before it is activated.
    SkipActivation,
    /// Parts that a change retires are not staged, so that they answer until they are dropped.
    SkipSeal,
    /// A change is published under a version that was used before.
    ReuseVersion,
}

impl Fault {
    /// Its name in the environment variable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::ReadFromDeposedLeader => "read-from-deposed-leader",
            Self::ForgetSession => "forget-session",
            Self::SkipEpochCheck => "skip-epoch-check",
            Self::Misroute => "misroute",
            Self::SkipActivation => "skip-activation",
            Self::SkipSeal => "skip-seal",
            Self::ReuseVersion => "reuse-version",
        }
    }

    /// Whether it is planted in this process.
    #[cfg(not(feature = "planted-faults"))]
    #[inline]
    pub const fn is_planted(self) -> bool {
        false
    }

    /// Whether it is planted in this process.
    #[cfg(feature = "planted-faults")]
    pub fn is_planted(self) -> bool {
        static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let planted =
            PLANTED.get_or_init(|| std::env::var("BITROSTER_PLANTED").unwrap_or_default());
        planted.split(',').any(|name| name == self.name())
    }
}
