//! What the broker says to one connection. Each function appends one JSON object to `out` and allocates nothing else.
//!
//! `shard` calls these while it handles a turn. An [`Id::None`] leaves the member `id` out; whether a success without
//! an id is answered at all is the caller's business.

use std::fmt;

use super::json_text::{write_decimal, write_display, write_string};
use super::{Id, Position};
use crate::ids::ClientName;

/// The first object on every connection. `user` is `null` for an anonymous one; `heartbeat_s` is in seconds,
/// `message_bytes` and `subscriptions` are the connection's limits.
pub fn welcome(
    out: &mut Vec<u8>,
    client: &dyn fmt::Display,
    user: Option<&str>,
    heartbeat_s: u32,
    message_bytes: usize,
    subscriptions: usize,
) {
    out.extend_from_slice(br#"{"op":"welcome","client":"#);
    write_display(out, client);
    out.extend_from_slice(br#","user":"#);
    write_user(out, user);
    out.extend_from_slice(br#","server":"#);
    write_string(out, SERVER);
    out.extend_from_slice(br#","heartbeat":"#);
    write_decimal(out, u64::from(heartbeat_s));
    out.extend_from_slice(br#","limits":{"message_bytes":"#);
    write_decimal(out, message_bytes as u64);
    out.extend_from_slice(br#","subscriptions":"#);
    write_decimal(out, subscriptions as u64);
    out.extend_from_slice(b"}}");
}

/// A subscribe succeeded. A filter that is a topic has the position at which live begins; `recovered` says, where the
/// subscriber named a position, whether everything after it follows.
pub fn ack_subscribe(out: &mut Vec<u8>, id: &Id, filter: &str, position: Option<Position>, recovered: Option<bool>) {
    ack(out, id, filter);
    if let Some(position) = position {
        write_position(out, position);
    }
    match recovered {
        Some(true) => out.extend_from_slice(br#","recovered":true"#),
        Some(false) => out.extend_from_slice(br#","recovered":false"#),
        None => {}
    }
    out.push(b'}');
}

/// An unsubscribe succeeded.
pub fn ack_unsubscribe(out: &mut Vec<u8>, id: &Id, filter: &str) {
    ack(out, id, filter);
    out.push(b'}');
}

/// The connection is that user from here on, or still.
pub fn ack_auth(out: &mut Vec<u8>, id: &Id, user: &str) {
    out.extend_from_slice(br#"{"op":"ack""#);
    write_id(out, id);
    out.extend_from_slice(br#","user":"#);
    write_string(out, user);
    out.push(b'}');
}

/// A publish succeeded, at this position.
pub fn ack_publish(out: &mut Vec<u8>, id: &Id, topic: &str, position: Position) {
    ack(out, id, topic);
    write_position(out, position);
    out.push(b'}');
}

/// The history of a topic: its newest position, and what `messages` appends by
/// [`write_listed`](super::publication::write_listed).
pub fn ack_history(out: &mut Vec<u8>, id: &Id, topic: &str, position: Position, messages: impl FnOnce(&mut Vec<u8>)) {
    ack(out, id, topic);
    write_position(out, position);
    out.extend_from_slice(br#","messages":["#);
    messages(out);
    out.extend_from_slice(b"]}");
}

/// Who is there: one page of members, each a client and its user, of which `members_len` is the number.
///
/// `users` and `connections` count the whole topic. `next`, if more members follow the page, is the `after` with which a
/// client goes on.
#[expect(clippy::too_many_arguments, reason = "one for each member of the object")]
pub fn ack_presence<'m>(
    out: &mut Vec<u8>,
    id: &Id,
    topic: &str,
    members: impl Iterator<Item = (ClientName, Option<&'m str>)>,
    members_len: usize,
    users: usize,
    connections: usize,
    next: Option<ClientName>,
) {
    ack(out, id, topic);
    out.reserve(MEMBER_BYTES_USUAL * members_len);
    out.extend_from_slice(br#","members":["#);
    for (index, (client, user)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_member(out, &client, user);
    }
    out.extend_from_slice(br#"],"users":"#);
    write_decimal(out, users as u64);
    out.extend_from_slice(br#","connections":"#);
    write_decimal(out, connections as u64);
    if let Some(next) = next {
        out.extend_from_slice(br#","next":"#);
        write_display(out, &next);
    }
    out.push(b'}');
}

/// Publications of a topic were withheld by its overflow rule: how many, and the position of the newest of them.
pub fn gap(out: &mut Vec<u8>, topic: &str, missed: u64, position: Position) {
    out.extend_from_slice(br#"{"op":"gap","topic":"#);
    write_string(out, topic);
    out.extend_from_slice(br#","missed":"#);
    write_decimal(out, missed);
    write_position(out, position);
    out.push(b'}');
}

/// Somebody came (`join`) or left. For a user with several connections it is the first or the last of them.
pub fn presence_event(out: &mut Vec<u8>, join: bool, topic: &str, client: &dyn fmt::Display, user: Option<&str>) {
    out.extend_from_slice(if join { br#"{"op":"join","topic":"# } else { br#"{"op":"leave","topic":"# });
    write_string(out, topic);
    out.extend_from_slice(br#","member":"#);
    write_member(out, client, user);
    out.push(b'}');
}

/// Answers a `ping`.
pub fn pong(out: &mut Vec<u8>, id: &Id) {
    out.extend_from_slice(br#"{"op":"pong""#);
    write_id(out, id);
    out.push(b'}');
}

/// A command was refused: `code` is one of HTTP's, `reason` a sentence.
pub fn error(out: &mut Vec<u8>, id: &Id, code: u16, reason: &dyn fmt::Display) {
    out.extend_from_slice(br#"{"op":"error""#);
    write_id(out, id);
    out.extend_from_slice(br#","code":"#);
    write_decimal(out, u64::from(code));
    out.extend_from_slice(br#","reason":"#);
    write_display(out, reason);
    out.push(b'}');
}

/// A subscription ends, or goes on without its presence (404), and no command was the cause.
pub fn error_of_topic(out: &mut Vec<u8>, topic: &str, code: u16, reason: &dyn fmt::Display) {
    out.extend_from_slice(br#"{"op":"error","topic":"#);
    write_string(out, topic);
    out.extend_from_slice(br#","code":"#);
    write_decimal(out, u64::from(code));
    out.extend_from_slice(br#","reason":"#);
    write_display(out, reason);
    out.push(b'}');
}

fn write_member(out: &mut Vec<u8>, client: &dyn fmt::Display, user: Option<&str>) {
    out.extend_from_slice(br#"{"client":"#);
    write_display(out, client);
    out.extend_from_slice(br#","user":"#);
    write_user(out, user);
    out.push(b'}');
}

pub(super) fn write_user(out: &mut Vec<u8>, user: Option<&str>) {
    match user {
        Some(user) => write_string(out, user),
        None => out.extend_from_slice(b"null"),
    }
}

fn ack(out: &mut Vec<u8>, id: &Id, topic: &str) {
    out.extend_from_slice(br#"{"op":"ack""#);
    write_id(out, id);
    out.extend_from_slice(br#","topic":"#);
    write_string(out, topic);
}

fn write_id(out: &mut Vec<u8>, id: &Id) {
    if !id.is_none() {
        out.extend_from_slice(br#","id":"#);
        id.write_json(out);
    }
}

pub(super) fn write_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(br#","position":""#);
    position.write(out);
    out.push(b'"');
}

/// `{"client":"0-1f-2","user":null},` and a little more.
const MEMBER_BYTES_USUAL: usize = 48;

const SERVER: &str = concat!("wirefan/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
