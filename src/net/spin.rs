//! Whether a shard's thread looks for more before it sleeps, and for how long (`server.spin_us`).
//!
//! To wake a thread that sleeps costs tens of microseconds, to be found awake next to nothing; but a thread that looks for
//! nothing takes a core from others. So it looks only where that would have paid the last time: when its last sleep was
//! over sooner than it might have looked. One look in vain, and it sleeps at once until a sleep is that short again. A
//! broker that has nothing to do is idle, whatever is configured. Reads no clock; `event_loop` tells the times.

use std::time::Duration;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Spin {
    most: Duration,
    pays: bool,
}

impl Spin {
    /// Never for longer than `most`; not at all if that is zero.
    pub(super) fn new(most: Duration) -> Self {
        Self { most, pays: false }
    }

    /// Whether times are to be told at all.
    pub(super) fn is_on(&self) -> bool {
        !self.most.is_zero()
    }

    /// For how long to look before the next sleep, of which `timeout` is the most.
    pub(super) fn before_sleep(&self, timeout: Option<Duration>) -> Duration {
        if self.pays { timeout.map_or(self.most, |timeout| timeout.min(self.most)) } else { Duration::ZERO }
    }

    /// It looked and found nothing.
    pub(super) fn looked_in_vain(&mut self) {
        self.pays = false;
    }

    /// It slept for so long until something came.
    pub(super) fn slept(&mut self, long: Duration) {
        self.pays = long < self.most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);

    #[test]
    fn looks_after_a_short_sleep_and_no_more_after_a_look_in_vain() {
        let mut spin = Spin::new(MOST);
        assert_eq!(spin.before_sleep(None), Duration::ZERO, "nothing is known yet");
        spin.slept(Duration::from_micros(20));
        assert_eq!(spin.before_sleep(None), MOST);
        assert_eq!(spin.before_sleep(None), MOST, "as long as it finds something");
        spin.looked_in_vain();
        assert_eq!(spin.before_sleep(None), Duration::ZERO);
        spin.slept(Duration::from_micros(60));
        assert_eq!(spin.before_sleep(None), Duration::ZERO, "a look would have been in vain");
    }

    #[test]
    fn never_looks_beyond_the_next_deadline_nor_when_it_is_off() {
        let mut spin = Spin::new(MOST);
        spin.slept(Duration::ZERO);
        assert_eq!(spin.before_sleep(Some(Duration::from_micros(5))), Duration::from_micros(5));
        let mut off = Spin::new(Duration::ZERO);
        off.slept(Duration::ZERO);
        assert!(!off.is_on() && off.before_sleep(None).is_zero());
    }
}
