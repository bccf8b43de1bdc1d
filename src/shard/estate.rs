//! What a shard does for its home where one broker takes the place of another.
//!
//! The one that leaves is told [`Shard::handle_freeze`] once its port is the successor's, asked with [`Shard::bequeath`] until
//! that was all, and then drained or stopped; in its successor [`Shard::inherit`] comes before the first turn. Whoever is
//! refused a publication is not kept waiting: of those who are sent away these are the first.

use super::Shard;
use crate::home::estate::Bequest;
use crate::ids::{ConnId, ShardId, Tick};
use crate::limits;

impl Shard {
    /// Which shard of its broker it is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.me
    }

    /// From here on nothing is published in topics of this shard's home, by whichever connection. Everything else goes on.
    pub fn handle_freeze(&mut self) {
        self.home.handle_freeze();
    }

    /// Appends more of what the home remembered then. Whether there is still more.
    pub fn bequeath(&mut self, out: &mut Vec<u8>) -> bool {
        self.home.bequeath(out)
    }

    /// Takes a topic of another broker as it was when the clock of [`Shard::begin_turn`] stood at `as_of_ms`. It must be at home
    /// here, by [`super::Placement`].
    pub fn inherit(&mut self, bequest: Bequest, as_of_ms: u64) {
        debug_assert_eq!(self.home_of(bequest.topic()), self.me, "it is at home elsewhere");
        self.home.inherit(bequest, Tick::of_ms(as_of_ms));
    }

    /// That were all of them.
    pub fn end_inheritance(&mut self) {
        let drain_ms = u64::from(self.settings.config.server.drain_s) * 1000;
        self.home.end_inheritance(self.now.after_ms(2 * drain_ms + limits::BEQUEST_KEPT_MS));
    }

    /// The connection wants what only the successor can do.
    pub(super) fn hasten(&mut self, conn: ConnId) {
        if self.index_of(conn).is_some() {
            self.hasty.insert(conn);
        }
    }
}
