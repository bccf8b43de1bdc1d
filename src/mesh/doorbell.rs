//! Wakes a sleeping shard, at the price of a system call only when it really sleeps.
//!
//! The sleeper says so, looks at its rings once more, and only then sleeps; the sender pushes first and asks afterwards
//! whether somebody sleeps. With sequentially consistent order on both sides one of the two sees the other, so no wake-up
//! is lost (see `flags`).

use std::sync::Arc;

use super::flags::Asleep;

/// What really wakes the thread: a `mio::Waker` in `net`, a flag in the simulator.
pub trait Wake: Send + Sync {
    /// Makes the sleeper's poll return, now or at its next call.
    fn wake(&self);
}

/// One shard's doorbell, shared by all that send to it.
#[derive(Clone)]
pub struct Doorbell {
    asleep: Arc<Asleep>,
    wake: Arc<dyn Wake>,
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorbell").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}

impl Doorbell {
    /// A doorbell whose shard is awake.
    #[must_use]
    pub fn new(wake: Arc<dyn Wake>) -> Self {
        Self { asleep: Arc::new(Asleep::new()), wake }
    }

    /// After a push: wakes the shard if it sleeps. True if it did.
    pub(super) fn ring(&self) -> bool {
        let sleeping = self.asleep.ring();
        if sleeping {
            self.wake.wake();
        }
        sleeping
    }

    /// Before the last look at the rings: from here on senders ring.
    pub(super) fn lie_down(&self) {
        self.asleep.lie_down();
    }

    /// After sleeping, or when the last look found mail: senders need not ring.
    pub(super) fn rise(&self) {
        self.asleep.rise();
    }
}
