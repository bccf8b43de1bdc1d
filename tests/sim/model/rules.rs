//! What the rules of a run say of a topic, looked up by the model itself.

use wirefan::rules::{Access, Overflow, Rule};

use super::meets;
use crate::plan::Plan;

/// Milliseconds of a tick: the broker's clock goes by these, and so its ages do.
const TICK_MS: u64 = 100;
const TICKS_PER_S: u64 = 1000 / TICK_MS;

/// The tick of a time in milliseconds.
pub(super) fn tick(ms: u64) -> u64 {
    ms / TICK_MS
}

/// What holds for one topic. Times are in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruled {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// How many publications are kept, and for how long.
    pub(super) kept: Option<(u64, u64)>,
    /// How long keys are known; 0: not at all.
    pub(super) window: u64,
    /// What happens to who is slow.
    pub(super) overflow: Overflow,
    /// Whether it is known who is there.
    pub(super) presence: bool,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn new(plan: &Plan) -> Self {
        Self(plan.rules.clone())
    }

    /// What the first rule that meets the topic says; else the defaults of protocol.md.
    pub(super) fn of(&self, topic: &str) -> Ruled {
        let Some(rule) = self.0.iter().find(|rule| meets(&rule.filter, topic)) else {
            let (readable, writable, window) = (true, true, 300 * TICKS_PER_S);
            return Ruled { readable, writable, kept: None, window, overflow: Overflow::Disconnect, presence: false };
        };
        Ruled {
            readable: rule.subscribe == Access::Anyone,
            writable: rule.publish == Access::Anyone,
            kept: rule.history.map(|history| (history.count.into(), u64::from(history.age_s) * TICKS_PER_S)),
            window: u64::from(rule.idempotency_s) * TICKS_PER_S,
            overflow: rule.overflow,
            presence: rule.presence,
        }
    }
}
