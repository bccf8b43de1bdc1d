//! The home: a publication gets its position and is encoded once; one that is kept and that nobody subscribes to; large ones.

use std::rc::Rc;

use wirefan::home::{From, Home, Publish, Subscribe};
use wirefan::ids::{ConnId, ShardId};
use wirefan::protocol::{Id, Payload};
use wirefan::rules::{History, Permit, Rule, Rules};
use wirefan::topic::Topic;
use wirefan::transport::Form;

use super::{HotPath, Work};

const TOPICS: usize = 100;

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, make| HotPath { name, unit: "publication", units: 100, make };
    vec![
        path("home: publish", || Box::new(Publishes(Topics::new(&[Form::Frames], false)))),
        path("home: publish and keep", || Box::new(Publishes(Topics::new(&[Form::Frames], true)))),
        path("home: keep what nobody subscribes to", || Box::new(Publishes(Topics::new(&[], true)))),
        path("home: publish and keep 64 KiB", || Box::new(Publishes(Topics::of(65_536, &[Form::Frames], true)))),
        path("home: keep 64 KiB that nobody subscribes to", || Box::new(Publishes(Topics::of(65_536, &[], true)))),
    ]
}

/// A home with a hundred topics.
pub(super) struct Topics {
    pub(super) home: Home,
    names: Vec<String>,
    payload: String,
}

impl Topics {
    /// Subscribed to in these forms; with a history or without.
    pub(super) fn new(forms: &[Form], keeps: bool) -> Self {
        Self::of(64, forms, keeps)
    }

    /// With publications of so many bytes.
    fn of(payload_bytes: usize, forms: &[Form], keeps: bool) -> Self {
        let history = keeps.then_some(History { count: 1_000, age_s: 3_600 });
        let rules = Rules::new(vec![Rule { filter: "#".to_owned(), history, ..Rule::default() }]);
        let mut home = Home::new(ShardId(0), 1, Rc::new(rules), 64 << 20, 7);
        let names: Vec<String> = (0..TOPICS).map(|number| format!("chat/room-{number}")).collect();
        for (slot, (name, form)) in (0..).zip(names.iter().flat_map(|name| forms.iter().map(move |form| (name, form))))
        {
            let conn = ConnId { index: slot, generation: 0 };
            home.handle_subscribe(Subscribe {
                topic: Topic::known(name),
                shard: ShardId(0),
                conn,
                user: None,
                permit: Permit::default(),
                slot,
                watch: None,
                serial: slot,
                id: Id::None,
                from: From::Now,
                form: *form,
            });
        }
        let mut topics = Self { home, names, payload: format!("\"{:01$}\"", 0, payload_bytes - 2) };
        // What grows to its usual size has grown.
        for _ in 0..20 {
            topics.publish();
            topics.end_turn();
        }
        topics
    }

    /// A publication to each topic.
    pub(super) fn publish(&mut self) {
        for name in &self.names {
            self.home.handle_publish(Publish {
                topic: Topic::known(name),
                payload: Payload::Json(self.payload.as_bytes()),
                shard: ShardId(0),
                conn: ConnId { index: 0, generation: 0 },
                user: None,
                permit: Permit::default(),
                id: Id::None,
                echo: true,
                key: None,
                conflate: None,
            });
        }
    }

    /// Ends the turn and forgets what came of it.
    pub(super) fn end_turn(&mut self) {
        self.home.end_turn();
        let parcel = self.home.parcel(ShardId(0));
        parcel.items.clear();
        parcel.bytes.clear();
    }
}

struct Publishes(Topics);

impl Work for Publishes {
    fn prepare(&mut self) {
        self.0.end_turn();
    }

    fn run(&mut self) {
        self.0.publish();
    }
}
