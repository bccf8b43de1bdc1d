//! The two flags by which threads wake each other: a shard sleeps, a sender found a ring full.
//!
//! Both are two-sided: each side writes its own word, then a sequentially consistent fence, then reads the other's. So
//! one of the two sees the other, whatever the order, and no wake-up is lost. [`Doorbell`](super::Doorbell) and the lanes
//! of a desk use them; `under_loom` compiles this very file against loom's atomics and runs every interleaving.

use super::atomic::{AtomicBool, Ordering, fence};

/// Whether a shard sleeps.
#[derive(Debug)]
pub(super) struct Asleep(AtomicBool);

impl Asleep {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// After a push: true if the shard sleeps and this caller is the one to wake it.
    pub(super) fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::SeqCst)
    }

    /// Before the last look at the rings: from here on senders ring.
    pub(super) fn lie_down(&self) {
        self.0.swap(true, Ordering::SeqCst); // a swap reads the last ring, and so stands behind it for everybody
        fence(Ordering::SeqCst);
    }

    /// After sleeping, or when the last look found something: senders need not ring.
    pub(super) fn rise(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Whether the sender of a lane found its ring full and waits for a bell.
#[derive(Debug)]
pub(super) struct Stalled(AtomicBool);

impl Stalled {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Tries `push` until it succeeds or the flag stands and the ring was still full after it was set.
    pub(super) fn post(&self, mut push: impl FnMut() -> bool) -> bool {
        if push() {
            return true;
        }
        self.0.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        push() // the receiver may have emptied it before it could see the flag
    }

    /// After a parcel was taken: true if the sender waits and is to be rung.
    pub(super) fn taken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::SeqCst)
    }

    /// Whether nothing was taken since the ring was found full.
    pub(super) fn stands(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
