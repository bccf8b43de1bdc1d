//! A stranger's message: no panic, a payload is a valid piece of the message, every command keeps to its limits, and
//! what came before changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use std::cell::RefCell;
use wirefan::limits;
use wirefan::protocol::{Command, Fault, Op, Parser, Payload};

thread_local! {
    /// Of all inputs: its buffers are as used as a shard's.
    static USED: RefCell<Parser> = RefCell::new(Parser::new());
}

// The first byte says whether the message is text or binary.
fuzz_target!(|data: &[u8]| {
    if let Some((kind, message)) = data.split_first() {
        let used = USED.with_borrow_mut(|parser| read(parser, kind % 2 == 0, message));
        assert_eq!(read(&mut Parser::new(), kind % 2 == 0, message), used);
    }
});

fn read(parser: &mut Parser, text: bool, message: &[u8]) -> Vec<String> {
    let mut read = Vec::new();
    let mut each = |command: Result<Command<'_>, Fault>| {
        if let Ok(Command { op, .. }) = &command {
            check_limits(*op);
            if let Op::Publish { payload, .. } = op {
                check(*payload, message);
            }
        }
        read.push(format!("{command:?}"));
    };
    if text {
        parser.text(message, &mut each)
    } else {
        parser.binary(message, &mut each)
    }
    assert!(!read.is_empty(), "every message is answered by a command or a fault");
    read
}

fn check_limits(op: Op<'_>) {
    let short = |text: Option<&str>, max: usize| assert!(text.is_none_or(|text| (1..=max).contains(&text.len())));
    match op {
        Op::Subscribe { filter, since, last, presence } => {
            assert!(!filter.is_broker() && (since.is_none() || last.is_none()));
            assert!(!filter.has_wildcard() || (since.is_none() && last.is_none() && !presence));
            assert!(last.is_none_or(|last| last <= limits::HISTORY_LAST_MAX));
        }
        Op::Publish { topic, key, conflate, .. } => {
            assert!(!topic.is_broker());
            short(key, limits::KEY_BYTES_MAX);
            short(conflate, limits::CONFLATE_BYTES_MAX);
        }
        Op::History { topic, limit, .. } => {
            assert!(!topic.is_broker());
            assert!(limit.is_none_or(|limit| (1..=limits::HISTORY_LIMIT_MAX).contains(&limit)));
        }
        Op::Presence { topic, limit, after } => {
            assert!(!topic.is_broker());
            assert!(limit.is_none_or(|limit| (1..=limits::PRESENCE_LIMIT_MAX).contains(&limit)));
            let after = after.map(|after| after.to_string());
            short(after.as_deref(), limits::AFTER_BYTES_MAX);
        }
        Op::Auth { token } => short(Some(token.0), limits::TOKEN_BYTES_MAX),
        Op::Unsubscribe { .. } | Op::Ping => {}
    }
}

fn check(payload: Payload<'_>, message: &[u8]) {
    let (Payload::Json(bytes) | Payload::Binary(bytes)) = payload;
    assert!(message.as_ptr_range().start <= bytes.as_ptr_range().start);
    assert!(bytes.as_ptr_range().end <= message.as_ptr_range().end);
    if let Payload::Json(json) = payload {
        serde_json::from_slice::<IgnoredAny>(json).expect("a payload that was accepted as JSON");
    }
}
