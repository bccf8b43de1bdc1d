//! Who subscribes to what, through the front door of a shard: subscribe, unsubscribe, disconnect, 50 topics at a time; and
//! unsubscribe where the connection has a thousand.
//!
//! Each is what a client causes: its command in a frame, the registry, the topic's home and its answer, the reply.

use wirefan::ids::ConnId;

use super::{HotPath, Work, framed, rig::Rig};

const TOPICS: usize = 200;
const CONNECTIONS: usize = 100;
const SUBSCRIPTIONS: usize = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Subscribe,
    Unsubscribe,
    Disconnect,
}

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, make| HotPath { name, unit: "subscription", units: 50, make };
    vec![
        path("registry: subscribe", || Box::new(Crowd::new(Part::Subscribe))),
        path("registry: unsubscribe", || Box::new(Crowd::new(Part::Unsubscribe))),
        path("registry: disconnect", || Box::new(Crowd::new(Part::Disconnect))),
        path("registry: unsubscribe among 1,000", || Box::new(Collector::new())),
    ]
}

/// Connections with overlapping subscriptions; one after the other goes and comes again.
struct Crowd {
    rig: Rig,
    conns: Vec<ConnId>,
    /// Of each connection, in frames.
    subscribes: Vec<Vec<u8>>,
    unsubscribes: Vec<Vec<u8>>,
    part: Part,
    turn: usize,
}

impl Crowd {
    fn new(part: Part) -> Self {
        let all = |op: &str| (0..CONNECTIONS).map(|number| commands(number, op)).collect();
        let (subscribes, unsubscribes) = (all("subscribe"), all("unsubscribe"));
        let mut crowd = Self { rig: Rig::new(|_| {}), conns: Vec::new(), subscribes, unsubscribes, part, turn: 0 };
        for number in 0..CONNECTIONS {
            let conn = crowd.rig.connect();
            crowd.conns.push(conn);
            crowd.subscribe(number);
        }
        crowd
    }

    fn subscribe(&mut self, number: usize) {
        self.rig.bytes(self.conns[number], &self.subscribes[number]);
        self.rig.turn();
    }

    fn unsubscribe(&mut self, number: usize) {
        self.rig.bytes(self.conns[number], &self.unsubscribes[number]);
        self.rig.turn();
    }

    /// Ends the connection.
    fn end(&mut self, number: usize) {
        self.rig.shard.handle_end(self.conns[number]);
        self.rig.turn();
    }
}

/// An array of 50 commands.
fn commands(number: usize, op: &str) -> Vec<u8> {
    array(op, (0..SUBSCRIPTIONS).map(|n| (number * 7 + n * 19) % TOPICS))
}

fn array(op: &str, topics: impl Iterator<Item = usize>) -> Vec<u8> {
    let each = topics.map(|topic| format!(r#"{{"op":"{op}","topic":"room/{topic}","id":1}}"#));
    framed(&format!("[{}]", each.collect::<Vec<_>>().join(",")))
}

/// One connection with as many subscriptions as one may have by default; 50 of them, spread, go and come again.
struct Collector {
    rig: Rig,
    conn: ConnId,
    subscribe: Vec<u8>,
    unsubscribe: Vec<u8>,
}

impl Collector {
    fn new() -> Self {
        let some = |op| array(op, (0..1_000).step_by(20));
        let mut rig = Rig::new(|_| {});
        let conn = rig.connect();
        rig.bytes(conn, &array("subscribe", 0..1_000));
        rig.turn();
        Self { rig, conn, subscribe: some("subscribe"), unsubscribe: some("unsubscribe") }
    }
}

impl Work for Collector {
    fn prepare(&mut self) {
        self.rig.bytes(self.conn, &self.subscribe);
        self.rig.turn();
    }

    fn run(&mut self) {
        self.rig.bytes(self.conn, &self.unsubscribe);
        self.rig.turn();
    }
}

impl Work for Crowd {
    fn prepare(&mut self) {
        // Back to where everybody has its subscriptions but for what is about to be measured.
        let last = self.turn;
        self.turn = (self.turn + 37) % CONNECTIONS;
        match self.part {
            Part::Subscribe => self.unsubscribe(self.turn),
            Part::Unsubscribe => self.subscribe(last),
            Part::Disconnect => {
                self.end(last);
                self.conns[last] = self.rig.connect();
                self.subscribe(last);
            }
        }
    }

    fn run(&mut self) {
        match self.part {
            Part::Subscribe => self.subscribe(self.turn),
            Part::Unsubscribe => self.unsubscribe(self.turn),
            Part::Disconnect => self.end(self.turn),
        }
    }
}
