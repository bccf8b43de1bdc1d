//! What a client says next: one message (or frame) in bytes, and what it means, in the order in which it takes effect.
//!
//! Text and binary, one command or an array, whole or in fragments with a ping between them, right and wrong. Every
//! payload is unique, so that the model can tell publications apart by their bytes alone.

use wirefan::ws::{Opcode, encode};

use crate::asking::Memory;
use crate::client::Client;
use crate::event::{Begin, Sent};
use crate::plan::{Plan, TOPICS, WILD};
use crate::random::Random;

/// Bytes for a client's stream, and their meaning.
pub(crate) type Said = (Vec<u8>, Vec<Sent>);

/// Something that a well-behaved client may say, wrong commands included.
pub(crate) fn something(client: &mut Client, plan: &Plan, memory: &Memory<'_>, random: &mut Random) -> Said {
    match random.below(100) {
        0..10 => publish_binary(client, plan, random),
        10..15 => ping_frame(random, 20),
        _ => text(client, plan, memory, random),
    }
}

/// As many ping frames as make the broker stop reading from a client that does not read.
pub(crate) fn flood(random: &mut Random) -> Said {
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..700 {
        let (frame, meaning) = ping_frame(random, 125);
        bytes.extend(frame);
        sent.extend(meaning);
    }
    (bytes, sent)
}

fn text(client: &mut Client, plan: &Plan, memory: &Memory<'_>, random: &mut Random) -> Said {
    let many = if random.chance(15) { random.between(1, 4) } else { 0 };
    let mut commands: Vec<(String, Sent)> = (0..many.max(1)).map(|_| command(client, plan, memory, random)).collect();
    let join = |commands: &[(String, Sent)]| {
        let all: Vec<&str> = commands.iter().map(|(json, _)| json.as_str()).collect();
        if many > 0 { format!("[{}]", all.join(" , ")) } else { all.concat() }
    };
    while join(&commands).len() > plan.message_bytes_max {
        commands.pop();
    }
    if commands.is_empty() {
        return ping_frame(random, 1);
    }
    let json = join(&commands);
    let mut sent: Vec<Sent> = commands.into_iter().map(|(_, sent)| sent).collect();
    for what in &sent {
        remember(client, what);
    }
    let mut bytes = Vec::new();
    if let Some(payload) = message(&mut bytes, Opcode::Text, json.as_bytes(), random) {
        sent.insert(0, Sent::PingFrame(payload)); // it stood between the fragments
    }
    (bytes, sent)
}

/// Any one command, in JSON.
fn command(client: &Client, plan: &Plan, memory: &Memory<'_>, random: &mut Random) -> (String, Sent) {
    let id = id(random);
    let member = id.as_ref().map_or(String::new(), |id| format!(r#""id":{id},"#));
    match random.below(100) {
        0..26 => {
            let filter = filter(random);
            let begin = if TOPICS.contains(&filter) { memory.begin(filter, id.as_ref(), random) } else { Begin::Now };
            let presence = random.chance(40) && TOPICS.contains(&filter);
            subscribe(filter, id, &member, begin, presence)
        }
        26..37 => {
            let known = !client.tried.is_empty() && random.chance(80);
            let filter = if known { random.pick(&client.tried).clone() } else { filter(random).to_owned() };
            let json = format!(r#"{{"op":"unsubscribe",{member}"topic":{}}}"#, quoted(&filter));
            (json, Sent::Unsubscribe { filter, id })
        }
        37..41 => (format!(r#"{{{member}"op":"ping"}}"#), Sent::Ping { id }),
        41..47 => wrong(id, &member, random),
        47..53 => memory.history((random.word() >> 11).to_string(), random),
        53..57 => memory.presence(client.number, (random.word() >> 11).to_string(), random),
        _ => {
            let (topic, key) = (*random.pick(&TOPICS), key(plan, random));
            publish(topic, id, &member, key, plan, client.number, random)
        }
    }
}

/// A subscribe; also for the world, which asks again where a client does not know.
pub(crate) fn subscribe(
    filter: &str,
    id: Option<String>,
    member: &str,
    begin: Begin,
    presence: bool,
) -> (String, Sent) {
    let from = match &begin {
        Begin::Now => String::new(),
        Begin::Since(position) => format!(r#""since":"{position}","#),
        Begin::Last(last) => format!(r#""last":{last},"#),
    };
    let told = if presence { r#""presence":true,"# } else { "" };
    let json = format!(r#"{{"op":"subscribe",{member}{from}{told}"topic":{}}}"#, quoted(filter));
    (json, Sent::Subscribe { filter: filter.to_owned(), id, begin, presence })
}

/// A publication of JSON. One that is not to come back is acknowledged, so that the model knows its position.
pub(crate) fn publish(
    topic: &str,
    id: Option<String>,
    member: &str,
    key: Option<String>,
    plan: &Plan,
    client: u32,
    random: &mut Random,
) -> (String, Sent) {
    let echo = id.is_none() || random.chance(70);
    let echo_member = if echo && random.chance(80) { "" } else { &format!(r#""echo": {echo},"#) };
    let (unique, pad) = (random.word(), "x".repeat(random.between(0, plan.pad_bytes)));
    let data = match random.below(3) {
        0 => format!(r#"{{"by":{client},"n":{unique},"x":1.0, "x":1E30,"pad":"{pad}"}}"#),
        1 => format!("[{client} , {unique}, 1e400, \"\u{e9}\\u0041{pad}\"]"),
        _ => format!("\"{client}-{unique}-{pad}\""),
    };
    let key_member = key.as_ref().map_or(String::new(), |key| format!(r#""key":"{key}","#));
    let (conflate, conflate_member) = conflate(random);
    let json = format!(
        r#"{{"op":"publish",{member}{echo_member}{key_member}{conflate_member}"topic":{},"data":{data}}}"#,
        quoted(topic)
    );
    (json, Sent::Publish { topic: topic.to_owned(), id, echo, text: true, payload: data.into_bytes(), key, conflate })
}

/// What a publication makes obsolete, for some, and the member that says so.
fn conflate(random: &mut Random) -> (Option<String>, String) {
    let kind = random.chance(40).then(|| format!("kind {}", random.below(3)));
    let member = kind.as_ref().map_or(String::new(), |kind| format!(r#""conflate":"{kind}","#));
    (kind, member)
}

/// An idempotency key, for some; few of them, so that they come again.
fn key(plan: &Plan, random: &mut Random) -> Option<String> {
    random.chance(15).then(|| format!("key {}", random.below(plan.keys)))
}

fn publish_binary(client: &Client, plan: &Plan, random: &mut Random) -> Said {
    let (topic, id) = (*random.pick(&TOPICS), id(random));
    let echo = id.is_none() || random.chance(70);
    let member = id.as_ref().map_or(String::new(), |id| format!(r#""id":{id},"#));
    let key = key(plan, random);
    let key_member = key.as_ref().map_or(String::new(), |key| format!(r#""key":"{key}","#));
    let (conflate, conflate_member) = conflate(random);
    let topic_member = format!(r#""topic":{}"#, quoted(topic));
    let header = format!(r#"{{"op":"publish",{member}{key_member}{conflate_member}"echo":{echo},{topic_member}}}"#);
    let mut all = header.into_bytes();
    all.push(b'\n');
    let mut payload = format!("{}\n\0{}", client.number, random.word()).into_bytes();
    payload.resize(payload.len() + random.between(0, plan.pad_bytes), 0xff);
    all.extend_from_slice(&payload);
    if all.len() > plan.message_bytes_max {
        return ping_frame(random, 2);
    }
    let mut bytes = Vec::new();
    let mut sent = vec![Sent::Publish { topic: topic.to_owned(), id, echo, text: false, payload, key, conflate }];
    if let Some(between) = message(&mut bytes, Opcode::Binary, &all, random) {
        sent.insert(0, Sent::PingFrame(between));
    }
    (bytes, sent)
}

fn wrong(id: Option<String>, member: &str, random: &mut Random) -> (String, Sent) {
    let (json, code, named) = match random.below(18) {
        0 => (format!(r#"{{"op":"publish",{member}"topic":"a"}}"#), 400, true),
        1 => (format!(r#"{{{member}"op":"fly"}}"#), 404, true),
        2 => (format!(r#"{{{member}"op":"publish","topic":"a/+","data":1}}"#), 400, true),
        3 => (format!(r##"{{{member}"op":"subscribe","topic":"$sys/#"}}"##), 403, true),
        4 => (format!(r#"{{{member}"op":"publish","topic":"$sys","data":{{}}}}"#), 403, true),
        5 => (format!(r##"{{{member}"op":"subscribe","topic":"a/#/b"}}"##), 400, true),
        6 => (r#"{"op":"ping","id":-1}"#.to_owned(), 400, false),
        7 => ("17".to_owned(), 400, false),
        8 => (format!(r##"{{{member}"op":"subscribe","topic":"a/#","since":"00000000:0"}}"##), 400, true),
        9 => (format!(r#"{{{member}"op":"subscribe","topic":"+","last":1}}"#), 400, true),
        10 => (format!(r#"{{{member}"op":"subscribe","topic":"a","since":"00000000:0","last":1}}"#), 400, true),
        11 => (format!(r#"{{{member}"op":"subscribe","topic":"a","since":"nowhere"}}"#), 400, true),
        12 => (format!(r#"{{{member}"op":"history","topic":"a","limit":1001}}"#), 400, true),
        13 => (format!(r#"{{{member}"op":"presence","topic":"a","limit":0}}"#), 400, true),
        14 => (format!(r#"{{{member}"op":"presence","topic":"a","limit":2,"after":"nobody"}}"#), 400, true),
        15 => (format!(r#"{{{member}"op":"presence","topic":"chat/+"}}"#), 400, true),
        16 => (format!(r#"{{{member}"op":"subscribe","topic":"chat/+","presence":true}}"#), 400, true),
        _ => (format!(r#"{{{member}"op":7}}"#), 400, true),
    };
    (json, Sent::Wrong { code, id: id.filter(|_| named) })
}

/// What is no JSON at all: it spoils a whole message, so it comes alone.
pub(crate) fn no_json(random: &mut Random) -> Said {
    let deep = "[".repeat(random.between(1, 500));
    let json = *random.pick(&["", "{", "nonsense", "[]", "{\"op\":\"ping\",}", "NaN", deep.as_str()]);
    let mut bytes = Vec::new();
    encode::masked_frame(&mut bytes, Opcode::Text, json.as_bytes(), random.key());
    (bytes, vec![Sent::Wrong { code: 400, id: None }])
}

/// What breaks RFC 6455, and the code that it costs.
pub(crate) fn violation(plan: &Plan, random: &mut Random) -> Said {
    let mut bytes = Vec::new();
    let key = random.key();
    let code = match random.below(10) {
        0 => raw(&mut bytes, &[0x81, 0x02, b'h', b'i'], 1002),
        1 => raw(&mut bytes, &[0xc1, 0x80, 0, 0, 0, 0], 1002),
        2 => raw(&mut bytes, &[0x83, 0x80, 0, 0, 0, 0], 1002),
        3 => raw(&mut bytes, &[0x09, 0x80, 0, 0, 0, 0], 1002),
        4 => raw(&mut bytes, &[0x89, 0xfe, 0, 126], 1002),
        5 => raw(&mut bytes, &[0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002),
        6 => raw(&mut bytes, &[0x80, 0x80, 0, 0, 0, 0], 1002),
        7 => {
            encode::masked_frame(&mut bytes, Opcode::Text, b"{\"op\":\xff", key);
            1007
        }
        8 => {
            let long = vec![b' '; plan.message_bytes_max + 1];
            encode::masked_frame(&mut bytes, Opcode::Binary, &long, key);
            1009
        }
        _ => {
            encode::masked_frame(&mut bytes, Opcode::Close, &[3, 237], key); // 1005 is never on the wire
            1002
        }
    };
    (bytes, vec![Sent::End(Some(code))])
}

fn raw(out: &mut Vec<u8>, bytes: &[u8], code: u16) -> u16 {
    out.extend_from_slice(bytes);
    code
}

/// The client's own Close.
pub(crate) fn close(random: &mut Random) -> Said {
    let mut bytes = Vec::new();
    let code = *random.pick(&[Some(1000), Some(3000), Some(4999), None]);
    match code {
        Some(code) => encode::masked_close(&mut bytes, code, "enough", random.key()),
        None => encode::masked_frame(&mut bytes, Opcode::Close, b"", random.key()),
    }
    (bytes, vec![Sent::End(code)])
}

/// Commands that are not left to chance, as one message each.
pub(crate) fn plain(client: &mut Client, commands: Vec<(String, Sent)>, random: &mut Random) -> Said {
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    for (json, what) in commands {
        encode::masked_frame(&mut bytes, Opcode::Text, json.as_bytes(), random.key());
        remember(client, &what);
        sent.push(what);
    }
    (bytes, sent)
}

fn remember(client: &mut Client, what: &Sent) {
    if let Sent::Subscribe { filter, id, .. } = what {
        client.tried.push(filter.clone());
        match id {
            None => client.silent.push(filter.clone()),
            Some(_) => client.silent.retain(|silent| silent != filter),
        }
    }
}

/// Frames a message whole or in fragments; the payload of a ping that came between them.
fn message(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    if random.chance(85) {
        encode::masked_frame(out, opcode, payload, random.key());
        return None;
    }
    let (first, last) = payload.split_at(random.below(payload.len() + 1));
    let start = out.len();
    encode::masked_frame(out, opcode, first, random.key());
    out[start] &= 0x7f; // no FIN
    let between = random.chance(50).then(|| {
        let (frame, sent) = ping_frame(random, 9);
        out.extend(frame);
        match sent.into_iter().next() {
            Some(Sent::PingFrame(payload)) => payload,
            _ => unreachable!("a ping frame means a ping frame"),
        }
    });
    encode::masked_frame(out, Opcode::Continuation, last, random.key());
    between
}

fn ping_frame(random: &mut Random, len: usize) -> Said {
    let payload: Vec<u8> = (0..len).map(|_| random.word() as u8).collect();
    let mut bytes = Vec::new();
    encode::masked_frame(&mut bytes, Opcode::Ping, &payload, random.key());
    (bytes, vec![Sent::PingFrame(payload)])
}

/// Unique, for one client at least; mostly there.
fn id(random: &mut Random) -> Option<String> {
    match random.below(10) {
        0..2 => None,
        2..4 => Some(format!("\"{:x}\"", random.word())),
        _ => Some((random.word() >> 11).to_string()),
    }
}

fn filter(random: &mut Random) -> &'static str {
    if random.chance(60) { random.pick::<&str>(&TOPICS) } else { random.pick::<&str>(&WILD) }
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}
