//! What operators are told of topics and connections: items of lists, and the lists around them, as JSON.
//!
//! `home` and `shard` write the items, the shard that was asked puts them together. Like `reply` it allocates nothing but
//! what `out` grows by.

use std::fmt;

use super::Position;
use super::json_text::{write_decimal, write_display, write_string};
use super::reply::{write_position, write_user};
use crate::ids::ClientName;

/// A topic as its home knows it. The object is left open: [`subscribers`] ends it.
pub fn topic(
    out: &mut Vec<u8>,
    name: &str,
    position: Position,
    history: Option<(usize, usize)>,
    members: Option<(usize, usize)>,
) {
    out.extend_from_slice(br#"{"topic":"#);
    write_string(out, name);
    write_position(out, position);
    write_pair(out, "history", history, ["messages", "bytes"]);
    write_pair(out, "presence", members, ["users", "connections"]);
}

/// How many connections subscribe to a topic by its name, behind [`topic`].
pub fn subscribers(out: &mut Vec<u8>, count: usize) {
    write_number(out, "subscribers", count as u64);
    out.push(b'}');
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Its name.
    pub client: ClientName,
    /// Its user, if it has authenticated as one.
    pub user: Option<&'a str>,
    /// What it speaks.
    pub transport: &'a str,
    /// When it came, in seconds since 1970.
    pub since_unix_s: u64,
    /// How many filters it has subscribed to.
    pub subscriptions: usize,
    /// Bytes that wait for it.
    pub pending_bytes: usize,
}

/// A connection, as an item or alone.
pub fn connection(out: &mut Vec<u8>, connection: &Connection<'_>) {
    out.extend_from_slice(br#"{"client":"#);
    write_display(out, &connection.client);
    out.extend_from_slice(br#","user":"#);
    write_user(out, connection.user);
    out.extend_from_slice(br#","transport":"#);
    write_string(out, connection.transport);
    write_number(out, "since", connection.since_unix_s);
    write_number(out, "subscriptions", connection.subscriptions as u64);
    write_number(out, "pending_bytes", connection.pending_bytes as u64);
    out.push(b'}');
}

/// A page of a list: what it has, the items, and where to go on if there may be more.
pub fn page(
    out: &mut Vec<u8>,
    name: &str,
    items: impl Iterator<Item = impl FnOnce(&mut Vec<u8>)>,
    next: Option<&dyn fmt::Display>,
) {
    out.push(b'{');
    write_string(out, name);
    out.extend_from_slice(b":[");
    for (number, item) in items.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        item(out);
    }
    out.push(b']');
    if let Some(next) = next {
        out.extend_from_slice(br#","next":"#);
        write_display(out, next);
    }
    out.push(b'}');
}

/// How many connections were ended.
pub fn ended(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(br#"{"disconnected":"#);
    write_decimal(out, count as u64);
    out.push(b'}');
}

/// A member that is an object of two numbers, or `null`.
fn write_pair(out: &mut Vec<u8>, name: &str, pair: Option<(usize, usize)>, names: [&str; 2]) {
    out.push(b',');
    write_string(out, name);
    out.push(b':');
    let Some((first, second)) = pair else { return out.extend_from_slice(b"null") };
    out.push(b'{');
    write_string(out, names[0]);
    out.push(b':');
    write_decimal(out, first as u64);
    write_number(out, names[1], second as u64);
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, name: &str, number: u64) {
    out.push(b',');
    write_string(out, name);
    out.push(b':');
    write_decimal(out, number);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_topic_is_told_with_what_its_rule_lets_it_have() {
        let position = Position { epoch: 0xf3a9_b2c1, offset: 7 };
        let bare = written(|out| {
            topic(out, "a/\"b", position, None, None);
            subscribers(out, 3);
        });
        let expected = r#"{"topic":"a/\"b","position":"f3a9b2c1:7","history":null,"presence":null,"subscribers":3}"#;
        assert_eq!(bare, expected);
        let full = written(|out| topic(out, "a", position, Some((2, 100)), Some((1, 4))));
        assert!(full.ends_with(r#""history":{"messages":2,"bytes":100},"presence":{"users":1,"connections":4}"#));
    }

    #[test]
    fn a_page_has_its_items_and_where_to_go_on() {
        let connection = |user| {
            let client = "0-1f-2".parse().expect("a name");
            let (transport, since_unix_s, subscriptions, pending_bytes) = ("websocket", 1_700_000_000, 2, 3);
            Connection { client, user, transport, since_unix_s, subscriptions, pending_bytes }
        };
        let both = [connection(Some("ann")), connection(None)];
        let items = || both.iter().map(|one| |out: &mut Vec<u8>| super::connection(out, one));
        let text = written(|out| page(out, "connections", items(), Some(&"20-0")));
        let rest = r#""transport":"websocket","since":1700000000,"subscriptions":2,"pending_bytes":3}"#;
        let [ann, nobody] = [r#""ann""#, "null"].map(|user| format!(r#"{{"client":"0-1f-2","user":{user},{rest}"#));
        assert_eq!(text, format!(r#"{{"connections":[{ann},{nobody}],"next":"20-0"}}"#));
        assert_eq!(written(|out| page(out, "topics", items().take(0), None)), r#"{"topics":[]}"#);
        assert_eq!(written(|out| ended(out, 12)), r#"{"disconnected":12}"#);
    }
}
