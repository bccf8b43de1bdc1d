//! The command parser: what clients send most.

use std::hint::black_box;

use wirefan::protocol::Parser;

use super::{HotPath, Work, each};
use crate::texts;

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "command", units, make };
    vec![
        path("command: publish of 113 B", 1, || text(texts::small(), 1)),
        path("command: publish of 4 KiB of structure", 1, || text(texts::structured(4_096), 1)),
        path("command: subscribe", 1, || text(r#"{"op":"subscribe","topic":"chat/room-42","id":7}"#.to_owned(), 1)),
        path("command: array of 32 publishes", 32, || text(texts::batch(32), 32)),
        path("command: what only the careful reader takes", 1, || text(texts::small().replace("1.0000", "1e9999"), 1)),
    ]
}

fn text(message: String, commands: usize) -> Box<dyn Work> {
    let mut parser = Parser::new();
    each(move || {
        let mut count = 0;
        parser.text(black_box(message.as_bytes()), &mut |command| {
            count += usize::from(black_box(command).is_ok());
        });
        assert_eq!(count, commands);
    })
}
