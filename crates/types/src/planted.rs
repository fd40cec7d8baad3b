//! Faults that tests plant to see themselves fail.
//!
//! Without the feature `planted-faults`, which no release has, every question is answered "no" when
//! it is compiled and costs nothing. With it, the environment variable `BITROSTER_PLANTED` names
//! the faults of the whole process, separated by commas, and `Fault::plant` plants one for what the
//! calling thread does.

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

    /// Whether it is planted in this process or this thread.
    #[cfg(feature = "planted-faults")]
    pub fn is_planted(self) -> bool {
        if HERE.with(|here| here.get() == Some(self)) {
            return true;
        }
        static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let planted =
            PLANTED.get_or_init(|| std::env::var("BITROSTER_PLANTED").unwrap_or_default());
        planted.split(',').any(|name| name == self.name())
    }

    /// Plants it, and no other, in what this thread does until the answer is dropped.
    #[cfg(feature = "planted-faults")]
    #[must_use]
    pub fn plant(self) -> Planted {
        Planted {
            before: HERE.with(|here| here.replace(Some(self))),
            here: std::marker::PhantomData,
        }
    }
}

#[cfg(feature = "planted-faults")]
thread_local! {
    static HERE: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// A fault that is planted in this thread; pulled out again when this is dropped.
#[cfg(feature = "planted-faults")]
#[derive(Debug)]
pub struct Planted {
    before: Option<Fault>,
    /// Stays in the thread that it was made in.
    here: std::marker::PhantomData<*const ()>,
}

#[cfg(feature = "planted-faults")]
impl Drop for Planted {
    fn drop(&mut self) {
        HERE.with(|here| here.set(self.before));
    }
}
