//! Commands as clients send them, for the benchmarks of whoever reads them.

use std::fmt::Write as _;

/// 113 bytes.
pub(crate) fn small() -> String {
    let text = r#"{"op":"publish","topic":"chat/room-42","id":117,"data":{"user":"alice","text":"hello, how are you?!","n":1.0000}}"#;
    assert_eq!(text.len(), 113);
    text.to_owned()
}

/// A publish of `bytes` bytes or a little more.
pub(crate) fn structured(bytes: usize) -> String {
    let mut text = String::from(r#"{"op":"publish","topic":"orders/eu","id":117,"data":{"rows":[{}"#);
    let mut n = 0u32;
    while text.len() < bytes {
        n += 1;
        write!(
            text,
            r#",{{"id":{n},"sku":"A-{n}","price":{n}.25,"tags":["new","blue"],"stock":{{"here":true,"there":null}}}}"#
        )
        .expect("a String takes all");
    }
    text.push_str("]}}");
    text
}

/// So many of them in an array.
pub(crate) fn batch(len: usize) -> String {
    format!("[{}]", vec![small(); len].join(","))
}
