//! Canaries: each shard publishes to a topic whose home is the next shard, every shard hears it, and who is not heard of stands.
//!
//! They fly the way of all publications: command lane, home, delivery lane, from the first to the last shard in a ring and
//! from each home to all. So `/readyz` and the lag are about the real thing. A canary tells when it was sent and how long its
//! sender has heard nothing of somebody, so that each shard knows of all pairs. Invariants: nothing is kept of a canary but
//! two numbers; while a shard stands they come more and more seldom, so that they do not fill its mail.

use super::Shard;
use crate::home::Publish;
use crate::ids::{ConnId, ShardId, TICK_MS, Tick};
use crate::limits;
use crate::protocol::{Id, Payload};
use crate::rules::Permit;
use crate::topic::{Topic, canary};

/// Who publishes what no connection did.
pub(super) const BROKER: ConnId = ConnId { index: u32::MAX, generation: u32::MAX };

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Canary {
    /// By shard, the number of its canary; empty where there are none.
    numbers: Vec<u32>,
    /// By shard, what was heard of it.
    heard: Vec<Heard>,
    /// When the next one is sent.
    next: Tick,
    /// Ticks between two, and how many times as many it is while somebody is silent.
    every: u32,
    times: u32,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When its last canary came.
    at_ms: u64,
    /// How long that was under way.
    lag_ms: u64,
    /// For how long that shard had heard nothing of somebody.
    silence_ms: u64,
}

impl Canary {
    /// After how long without any the canaries become fewer: earlier than anybody is told.
    fn patience_ms(&self) -> u64 {
        u64::from(self.every) * TICK_MS * 4
    }

    /// For how long this shard has heard nothing of some shard.
    fn silence_ms(&self, now_ms: u64) -> Option<u64> {
        self.heard.iter().map(|heard| now_ms.saturating_sub(heard.at_ms)).max()
    }
}

impl Shard {
    /// Begins to listen to the other shards, as all of them must; does nothing where there are none, or where the operator
    /// wants none. Their clocks must agree.
    pub fn begin_canaries(&mut self) {
        let silence_ms_max = self.settings.config.server.silence_ms_max;
        if self.shards == 1 || silence_ms_max == 0 {
            return;
        }
        let mut numbers = vec![None; self.shards.into()];
        for number in 0.. {
            let home = self.home_of(Topic::known(&canary(number))).0;
            let sender = (home + self.shards - 1) % self.shards;
            numbers[usize::from(sender)].get_or_insert(number);
            if numbers.iter().all(Option::is_some) {
                break;
            }
        }
        let numbers: Vec<u32> = numbers.into_iter().flatten().collect();
        let before = numbers[usize::from((self.me.0 + self.shards - 1) % self.shards)];
        self.home.hold_for_all(Topic::known(&canary(before)));
        let every_ms = (silence_ms_max / 4).clamp(TICK_MS, limits::CANARY_MS);
        let heard = vec![Heard { at_ms: self.now_ms, lag_ms: 0, silence_ms: 0 }; self.shards.into()];
        let every = u32::try_from(every_ms / TICK_MS).expect("bounded above");
        self.canary = Canary { numbers, heard, next: self.now, every, times: 1 };
    }

    /// When the next one is due.
    pub(super) fn next_canary(&self) -> Option<Tick> {
        (!self.canary.numbers.is_empty() && !self.stop.is_begun()).then_some(self.canary.next)
    }

    /// Sends one if it is due. All shards do so in the same tick, so that one wake-up of each does for several.
    pub(super) fn send_canary(&mut self) {
        if self.next_canary().is_none_or(|next| self.now < next) {
            return;
        }
        let silence_ms = self.canary.silence_ms(self.now_ms).unwrap_or(0);
        let silent = silence_ms > self.canary.patience_ms();
        self.canary.times = if silent { (self.canary.times * 4).min(limits::CANARY_TIMES_MAX) } else { 1 };
        let step = self.canary.every * self.canary.times;
        self.canary.next = Tick((self.now.0 / step + 1) * step);
        let home = ShardId((self.me.0 + 1) % self.shards);
        if !self.desk.commands_to(home).is_empty() && self.desk.commands_wait() {
            return; // the former one is still here
        }
        let (topic, payload) =
            (canary(self.canary.numbers[self.me.index()]), format!("[{},{silence_ms}]", self.now_ms));
        self.publish_own(Topic::known(&topic), payload.as_bytes());
    }

    /// Publishes JSON to a topic of the broker's own.
    pub(super) fn publish_own(&mut self, topic: Topic<'_>, json: &[u8]) {
        self.publish_now(Publish {
            topic,
            payload: Payload::Json(json),
            shard: self.me,
            conn: BROKER,
            user: None,
            permit: Permit::default(),
            id: Id::None,
            echo: true,
            key: None,
            conflate: None,
        });
    }

    /// A canary came: `frames` are the publications of its topic, the newest last.
    pub(super) fn hear_canary(&mut self, number: u32, frames: &[u8]) {
        let Some(shard) = self.canary.numbers.iter().position(|its| *its == number) else { return };
        let Some((sent_ms, silence_ms)) = read(frames) else { return };
        let lag_ms = self.now_ms.saturating_sub(sent_ms);
        let before = self.canary.heard[shard];
        self.canary.heard[shard] = Heard { at_ms: self.now_ms, lag_ms, silence_ms };
        if self.now_ms.saturating_sub(before.at_ms) > self.canary.patience_ms() {
            self.canary.next = self.now; // it is back: the others are to know soon that all is well again
        }
    }

    /// The longest way of the last canaries, and for how long the most silent shard has not been heard of here, in
    /// milliseconds.
    pub(super) fn canary_ms(&self) -> (Option<u64>, Option<u64>) {
        let lag_ms = self.canary.heard.iter().map(|heard| heard.lag_ms).max();
        (lag_ms, self.canary.silence_ms(self.now_ms))
    }

    /// For tests: nothing was heard of a shard for very long.
    #[cfg(test)]
    pub(super) fn forget_canary(&mut self, shard: usize) {
        self.canary.heard[shard].at_ms = 0;
    }

    /// Whether every shard hears every other one, as far as this one knows.
    pub(super) fn hears_all(&self) -> bool {
        let silence_ms_max = self.settings.config.server.silence_ms_max;
        let fine = |heard: &Heard| {
            self.now_ms.saturating_sub(heard.at_ms) <= silence_ms_max && heard.silence_ms <= silence_ms_max
        };
        self.canary.heard.iter().all(fine)
    }
}

/// What the last of some canaries says: when it was sent, and its sender's longest silence.
fn read(frames: &[u8]) -> Option<(u64, u64)> {
    let start = memchr::memrchr(b'[', frames)? + 1;
    let text = std::str::from_utf8(&frames[start..]).ok()?.strip_suffix("]}")?;
    let (sent_ms, silence_ms) = text.split_once(',')?;
    Some((sent_ms.parse().ok()?, silence_ms.parse().ok()?))
}
