//! How fast someone may go: a token bucket in eight bytes.
//!
//! `shard` keeps one [`Bucket`] per connection for its commands and one for what it accepts; the [`Rate`] is shared. The
//! time is an argument, in microseconds since the broker began. Whole numbers only, so that nothing drifts. A rate that
//! changes needs no reset: a bucket holds times, not counts.

/// So many per second, twice as many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Time between two at full speed, in microseconds. At least 1.
    interval_us: u64,
    /// How far ahead of that speed someone may be, in microseconds.
    burst_us: u64,
    /// Refusals until it has gone on for too long.
    refusals_max: u16,
}

/// What someone has used of a [`Rate`]. The default has used nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// When all that was used will have been earned back, in microseconds (48 bits, nine years), and below it how often
    /// it was refused since the bucket was last full (16 bits).
    bits: u64,
}

/// What becomes of one command or connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// It may go on.
    Ok,
    /// It is refused: error 429, or 503 with Retry-After.
    TooFast {
        /// When the next one would pass, in milliseconds from now. At least 1.
        retry_ms: u64,
    },
    /// It is refused, and so were ten seconds' worth before it without a pause: the connection is closed with 4029.
    TooLong {
        /// When the bucket would be full again, in milliseconds from now. At least 1.
        retry_ms: u64,
    },
}

impl Rate {
    /// `per_second`, rounded to whole microseconds between two; none if it is 0, which means no limit.
    #[must_use]
    pub fn per_second(per_second: u32) -> Option<Self> {
        Self::shared(per_second, 1)
    }

    /// The share of one of `shards` in a rate that they have together.
    #[must_use]
    pub fn shared(per_second: u32, shards: u16) -> Option<Self> {
        if per_second == 0 {
            return None;
        }
        let (rate, shards) = (u64::from(per_second), u64::from(shards.max(1)));
        let interval_us = ((SECOND_US * shards + rate / 2) / rate).max(1);
        // A slow rate lets one pass at once, too.
        let burst_us = (2 * SECOND_US).max(interval_us);
        let refusals = (10 * rate / shards).clamp(10, u64::from(u16::MAX));
        let refusals_max = u16::try_from(refusals).expect("it was clamped");
        Some(Self { interval_us, burst_us, refusals_max })
    }
}

impl Bucket {
    /// Takes one, `now_us` microseconds after the broker began.
    pub fn take(&mut self, rate: Rate, now_us: u64) -> Pace {
        let now_us = now_us & (u64::MAX >> REFUSAL_BITS);
        let (full_us, refusals) = (self.bits >> REFUSAL_BITS, self.refusals());
        let used_us = full_us.saturating_sub(now_us);
        // More than that is of a slower rate that is no more, or from before the clock came round.
        let used_us = used_us.min(rate.burst_us);
        let refusals = if used_us == 0 { 0 } else { refusals };
        let after_us = used_us + rate.interval_us;
        if after_us <= rate.burst_us {
            self.keep(now_us + after_us, refusals);
            return Pace::Ok;
        }
        let refusals = refusals.saturating_add(1);
        self.keep(now_us + used_us, refusals);
        if refusals > rate.refusals_max {
            return Pace::TooLong { retry_ms: used_us.div_ceil(1000).max(1) };
        }
        Pace::TooFast { retry_ms: (after_us - rate.burst_us).div_ceil(1000).max(1) }
    }

    fn refusals(self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are the refusals")]
        let refusals = self.bits as u16;
        refusals
    }

    fn keep(&mut self, full_us: u64, refusals: u16) {
        self.bits = full_us << REFUSAL_BITS | u64::from(refusals);
    }
}

const SECOND_US: u64 = 1_000_000;
const REFUSAL_BITS: u32 = 16;

// One per connection.
const _: () = assert!(size_of::<Bucket>() == 8);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u32) -> Rate {
        Rate::per_second(per_second).unwrap()
    }

    /// How many of `count` at the same moment pass.
    fn passed(bucket: &mut Bucket, rate: Rate, now_us: u64, count: u32) -> u32 {
        (0..count).map(|_| u32::from(bucket.take(rate, now_us) == Pace::Ok)).sum()
    }

    #[test]
    fn nothing_is_no_limit() {
        assert_eq!(Rate::per_second(0), None);
        assert_eq!(Rate::shared(0, 8), None);
    }

    #[test]
    fn twice_the_rate_passes_at_once_and_the_rate_after_that() {
        for per_second in [1, 2, 10, 1_000, 100_000] {
            let (rate, mut bucket) = (rate(per_second), Bucket::default());
            assert_eq!(passed(&mut bucket, rate, 5, 3 * per_second), 2 * per_second);
            assert_eq!(passed(&mut bucket, rate, 5 + SECOND_US, 3 * per_second), per_second);
            assert_eq!(passed(&mut bucket, rate, 5 + 100 * SECOND_US, 3 * per_second), 2 * per_second);
        }
    }

    #[test]
    fn who_waits_as_told_passes() {
        let (rate, mut bucket) = (rate(4), Bucket::default());
        assert_eq!(passed(&mut bucket, rate, 0, 8), 8);
        assert_eq!(bucket.take(rate, 0), Pace::TooFast { retry_ms: 250 });
        assert_eq!(bucket.take(rate, 249_000), Pace::TooFast { retry_ms: 1 });
        assert_eq!(bucket.take(rate, 250_000), Pace::Ok);
        assert_eq!(bucket.take(rate, 250_000), Pace::TooFast { retry_ms: 250 });
    }

    #[test]
    fn ten_seconds_worth_of_refusals_without_a_pause_are_too_long() {
        let (rate, mut bucket) = (rate(10), Bucket::default());
        assert_eq!(passed(&mut bucket, rate, 0, 20), 20);
        for _ in 0..100 {
            assert!(matches!(bucket.take(rate, 0), Pace::TooFast { .. }));
        }
        assert_eq!(bucket.take(rate, 0), Pace::TooLong { retry_ms: 2000 });
        // A pause in which all is earned back forgets it.
        assert_eq!(passed(&mut bucket, rate, 2 * SECOND_US, 20), 20);
        assert_eq!(bucket.take(rate, 2 * SECOND_US), Pace::TooFast { retry_ms: 100 });
    }

    #[test]
    fn a_little_too_fast_is_a_refusal_now_and_then() {
        let (rate, mut bucket) = (rate(100), Bucket::default());
        // 101 per second for a minute: 6,060 of which 6,000 and the burst are due.
        let refused = (0..6_060_u64).filter(|n| bucket.take(rate, n * SECOND_US / 101) != Pace::Ok).count();
        assert_eq!(refused, 0, "the burst of 200 covers it");
        let pace: Vec<_> = (6_060..60_600_u64).map(|n| bucket.take(rate, n * SECOND_US / 101)).collect();
        let refused = pace.iter().filter(|pace| **pace != Pace::Ok).count();
        assert!((300..=420).contains(&refused), "{refused}");
        assert!(pace.iter().all(|pace| !matches!(pace, Pace::TooLong { .. })));
    }

    #[test]
    fn shards_share_a_rate() {
        let (share, mut bucket) = (Rate::shared(10, 4).unwrap(), Bucket::default());
        assert_eq!(passed(&mut bucket, share, 0, 100), 5);
        assert_eq!(passed(&mut bucket, share, SECOND_US * 2, 100), 5);
        // Less than one in the time of a burst: still one at a time.
        let (share, mut bucket) = (Rate::shared(1, 8).unwrap(), Bucket::default());
        assert_eq!(passed(&mut bucket, share, 0, 100), 1);
        assert_eq!(passed(&mut bucket, share, 8 * SECOND_US - 1, 100), 0);
        assert_eq!(passed(&mut bucket, share, 8 * SECOND_US, 100), 1);
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let mut bucket = Bucket::default();
        let slow = Rate::shared(1, 100).unwrap();
        assert_eq!(bucket.take(slow, 0), Pace::Ok);
        // The slow one would have it wait for 100 seconds.
        let fast = rate(10);
        assert_eq!(bucket.take(fast, 0), Pace::TooFast { retry_ms: 100 });
        assert_eq!(bucket.take(fast, 100_000), Pace::Ok);
    }

    #[test]
    fn a_clock_that_comes_round_stops_nobody_for_long() {
        let (rate, mut bucket) = (rate(10), Bucket::default());
        let end_us = 1 << 48;
        assert_eq!(passed(&mut bucket, rate, end_us - 3 * SECOND_US, 100), 20);
        assert_eq!(passed(&mut bucket, rate, end_us, 100), 0);
        assert_eq!(passed(&mut bucket, rate, end_us + SECOND_US, 100), 10);
        assert_eq!(passed(&mut bucket, rate, end_us + 2 * SECOND_US, 100), 10);
    }

    proptest! {
        #[test]
        fn no_span_of_time_lets_more_pass_than_the_rate_and_the_burst(
            per_second in 1..5_000u32,
            steps in prop::collection::vec((0..500_000u64, 1..200u32), 1..60),
        ) {
            let (rate, mut bucket) = (rate(per_second), Bucket::default());
            let (mut now_us, mut all) = (1u64, Vec::new());
            for (wait_us, count) in steps {
                now_us += wait_us;
                all.push((now_us, passed(&mut bucket, rate, now_us, count)));
            }
            for (first, (from_us, _)) in all.iter().enumerate() {
                let mut sum = 0;
                for (to_us, count) in &all[first..] {
                    sum += u64::from(*count);
                    let earned = (to_us - from_us) / rate.interval_us + 1;
                    prop_assert!(sum <= earned + rate.burst_us / rate.interval_us, "{sum} from {from_us} to {to_us}");
                }
            }
        }
    }
}
