//! The mailbox: publications packed for another shard's home, posted, taken and unpacked there; both ends on one thread.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use wirefan::home::{Home, Publish};
use wirefan::ids::{ConnId, ShardId};
use wirefan::mesh::{self, Command, Wake};
use wirefan::protocol::{Id, Payload};
use wirefan::rules::{Permit, Rules};
use wirefan::topic::Topic;

use super::{HotPath, Work, each};

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "publication", units, make };
    vec![path("mailbox: one in a parcel", 1, || parcels(1)), path("mailbox: 100 in a parcel", 100, || parcels(100))]
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

fn parcels(publications: usize) -> Box<dyn Work> {
    let wakes = (0..2).map(|_| Arc::new(Nobody) as Arc<dyn Wake>).collect();
    let mut desks = mesh::join(wakes, wirefan::limits::RING_PARCELS);
    let (mut there, mut here) = (desks.remove(1), desks.remove(0));
    let mut home = Home::new(ShardId(0), 2, Rc::new(Rules::new(Vec::new())), 1 << 20, 7);
    let payload = format!("\"{:062}\"", 0);
    each(move || {
        for _ in 0..publications {
            here.commands_to(ShardId(1)).push_publish(Publish {
                topic: Topic::known("chat/room-42"),
                payload: Payload::Json(payload.as_bytes()),
                shard: ShardId(0),
                conn: ConnId { index: 7, generation: 0 },
                user: None,
                permit: Permit::default(),
                id: Id::Int(7),
                echo: true,
                key: None,
                conflate: None,
            });
        }
        here.post(&mut home);
        let (from, parcel) = there.take_commands(0).expect("it was posted");
        for item in parcel.items {
            if let Command::Publish(publish) = item {
                black_box(publish.unpack(&parcel.bytes, from));
            }
        }
    })
}
