//! What a seed decides before the first step: how many shards, how tight every limit, how rude the clients.

use wirefan::auth::origin::Origins;
use wirefan::config::Config;
use wirefan::rules::{Access, History, Overflow, Rule};
use wirefan::shard::Settings;

use crate::random::Random;

/// Topics that clients publish to. One begins with a space and one is not ASCII: names are bytes to the broker.
pub(crate) const TOPICS: [&str; 8] = ["a", "b", "chat/1", "chat/2", "chat/1/x", "room/\u{e9}", "say \"hi\"", "a/b/c/d"];

/// Filters with wildcards that meet some of the topics, several of them at once.
pub(crate) const WILD: [&str; 14] = [
    "#", "chat/#", "chat/+", "+", "+/1", "chat/+/x", "a/#", "+/+/#", "none/+", "chat/1/#", "+/#", "room/+", "a/+/c/#",
    "+/+",
];

/// Filters of rules besides the topics themselves.
const RULED: [&str; 5] = ["chat/#", "chat/+", "+", "#", "+/#"];

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every shard is asked to stop, in the middle of everything.
    Stop,
    /// The clients leave, each in its way.
    Leave,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shards: usize,
    /// Shards that clients connect to: the others have homes only.
    pub(crate) crowded: usize,
    /// Parcels of a ring.
    pub(crate) ring: usize,
    pub(crate) outbound_bytes_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) interval_s: u32,
    pub(crate) timeout_s: u32,
    pub(crate) handshake_ms_max: u64,
    /// Clients that are connected at a time, about.
    pub(crate) clients: usize,
    /// Random steps per round, and rounds; each round ends in a rest.
    pub(crate) steps: usize,
    pub(crate) rounds: usize,
    /// Bytes of the read buffer.
    pub(crate) read_bytes: usize,
    /// Bytes that the kernel takes for a client that does not read.
    pub(crate) kernel_bytes: usize,
    /// Longest filling of a payload, in bytes.
    pub(crate) pad_bytes: usize,
    /// Of a hundred acts of clients, how many are rude.
    pub(crate) rude: usize,
    /// Of a hundred acts of clients, how many stop or go on reading.
    pub(crate) stalls: usize,
    /// Of a thousand steps, after how many another shard gets no time for a while.
    pub(crate) starves: usize,
    /// Of a thousand steps, how many are a jump of the time.
    pub(crate) jumps: usize,
    pub(crate) ending: Ending,
    /// What topics keep, and who may use them.
    pub(crate) rules: Vec<Rule>,
    /// Bytes of all histories.
    pub(crate) history_bytes_max: usize,
    /// Who connects is one of so many, and remembers where his earlier connections were.
    pub(crate) people: usize,
    /// After how many of a hundred rests the clock is set to the edge of an age or a window.
    pub(crate) edges: usize,
    /// Idempotency keys that are used.
    pub(crate) keys: usize,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let message_bytes_max = *random.pick(&[700, 4_000, 65_536]);
        let shards = random.between(1, 4);
        let kernel_bytes = *random.pick(&[1, 10, 300, 2_000, 100_000, 100_000]);
        let subscriptions_max = *random.pick(&[1, 3, 6, 1000]);
        Self {
            seed,
            shards,
            crowded: random.between(1, shards),
            ring: random.between(1, 4),
            outbound_bytes_max: *random.pick(&[700, 1_500, 6_000, 40_000, 1 << 20]),
            subscriptions_max,
            message_bytes_max,
            interval_s: *random.pick(&[1, 2, 5, 25]),
            timeout_s: *random.pick(&[1, 2, 10]),
            handshake_ms_max: *random.pick(&[300, 2_000, 10_000]),
            clients: random.between(2, 12),
            steps: *random.pick(&[100, 300, 800]),
            rounds: random.between(1, 3),
            read_bytes: *random.pick(&[1, 7, 64, 1_000, 65_536]),
            kernel_bytes,
            // What drips through a tiny socket has to be small, or a run takes for ever.
            pad_bytes: (*random.pick(&[0, 40, 300, message_bytes_max / 4])).min(kernel_bytes * 40),
            rude: *random.pick(&[0, 1, 3, 10]),
            stalls: *random.pick(&[0, 5, 20]),
            starves: *random.pick(&[0, 3, 20]),
            jumps: *random.pick(&[0, 0, 5, 30]),
            ending: *random.pick(&[Ending::Stop, Ending::Leave]),
            rules: rules(random, subscriptions_max),
            history_bytes_max: *random.pick(&[256 << 20, 256 << 20, 3_000, 20_000, 200_000]),
            people: random.between(1, 4),
            edges: *random.pick(&[0, 60]),
            keys: *random.pick(&[2, 30]),
        }
    }

    /// Whether it is known who subscribed to the topic, if it is one.
    pub(crate) fn has_presence(&self, topic: &str) -> bool {
        let rule = self.rules.iter().find(|rule| crate::model::meets(&rule.filter, topic));
        TOPICS.contains(&topic) && rule.is_some_and(|rule| rule.presence)
    }

    /// Whether anybody may read the topic.
    pub(crate) fn is_readable(&self, topic: &str) -> bool {
        let rule = self.rules.iter().find(|rule| crate::model::meets(&rule.filter, topic));
        rule.is_none_or(|rule| rule.subscribe == Access::Anyone)
    }

    /// What every shard of the run is made with.
    pub(crate) fn settings(&self) -> Settings {
        let mut config = Config::default();
        config.limits.outbound_bytes_max = self.outbound_bytes_max;
        config.limits.subscriptions_max = self.subscriptions_max;
        config.limits.message_bytes_max = self.message_bytes_max;
        config.limits.handshake_ms_max = self.handshake_ms_max;
        config.limits.history_bytes_max = self.history_bytes_max;
        config.rules.clone_from(&self.rules);
        config.heartbeat.interval_s = self.interval_s;
        config.heartbeat.timeout_s = self.timeout_s;
        Settings {
            config,
            origins: Origins::parse(&["same"]).expect("the default is valid"),
            credentials: None,
            began_unix_s: 0,
            seed: self.seed,
        }
    }
}

/// None in some runs; else a few for topics or filters, of which an earlier one may hide a later one.
fn rules(random: &mut Random, subscriptions_max: usize) -> Vec<Rule> {
    if random.chance(25) {
        return Vec::new();
    }
    let rule = |random: &mut Random| {
        let filter = if random.chance(60) { *random.pick(&TOPICS) } else { *random.pick(&RULED) };
        let history = History { count: *random.pick(&[1, 3, 20, 1000]), age_s: *random.pick(&[1, 2, 10, 86_400]) };
        let nobody = |random: &mut Random| if random.chance(8) { Access::Nobody } else { Access::Anyone };
        Rule {
            filter: filter.to_owned(),
            // A subscribe that its home refuses counts until the refusal is back: the model could not tell the limit.
            subscribe: if subscriptions_max < 1000 { Access::Anyone } else { nobody(random) },
            publish: nobody(random),
            history: random.chance(80).then_some(history),
            idempotency_s: *random.pick(&[0, 1, 5, 300]),
            presence: random.chance(50),
            overflow: *random.pick(&[Overflow::Disconnect, Overflow::DropOldest, Overflow::Latest]),
            ..Rule::default()
        }
    };
    (0..random.between(1, 6)).map(|_| rule(random)).collect()
}
