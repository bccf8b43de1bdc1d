//! A reload: every topic of a home is looked at, in one turn. What it takes times the topics is how long nobody else is
//! served. The rules say something else and keep their filters; where filters change, each topic looks at the rules again.

use wirefan::auth::origin::Origins;
use wirefan::config::Config;
use wirefan::rules::Rule;
use wirefan::shard::Settings;

use super::{HotPath, Work, rig::Rig};

const TOPICS: usize = 8_192;

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, make| HotPath { name, unit: "topic", units: 8_192, make };
    vec![
        path("reload: 10 rules", || Box::new(Reload::new(10))),
        path("reload: 1,000 rules", || Box::new(Reload::new(1_000))),
    ]
}

/// A shard with topics that nobody has subscribed to, and two configurations whose rules differ.
struct Reload {
    rig: Rig,
    settings: [Settings; 2],
    turn: usize,
}

impl Reload {
    fn new(rules: usize) -> Self {
        let settings = [false, true].map(|presence| {
            let rule = |n| Rule { filter: format!("other-{n}/#"), presence, ..Rule::default() };
            let config = Config { rules: (0..rules).map(rule).collect(), ..Config::default() };
            let origins = Origins::parse(&config.server.allowed_origins).expect("the default is valid");
            Settings { config, origins, credentials: None, began_unix_s: 0, seed: 7 }
        });
        let mut rig = Rig::new(|config| config.rules = settings[0].config.rules.clone());
        let publisher = rig.connect();
        for number in 0..TOPICS / 512 {
            let each = (0..512).map(|n| format!(r#"{{"op":"publish","topic":"chat/{}","data":1}}"#, number * 512 + n));
            rig.text(publisher, &format!("[{}]", each.collect::<Vec<_>>().join(",")));
            rig.turn();
        }
        Self { rig, settings, turn: 0 }
    }
}

impl Work for Reload {
    fn run(&mut self) {
        self.turn ^= 1;
        self.rig.shard.handle_reload(&self.settings[self.turn]);
        self.rig.turn();
    }
}
