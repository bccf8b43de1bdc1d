//! What a talk makes of a broker's messages, wherever they are cut.

use proptest::prelude::*;

use super::*;

/// A subscriber of `topics` by a built-in profile or the text of one, and what it said first.
fn subscriber(profile: Profile, topics: &[&str]) -> (Talk, Vec<String>) {
    let subscriptions: Vec<_> = topics.iter().map(|topic| Subscription::live((*topic).to_owned())).collect();
    let mut replies = Vec::new();
    let talk = Talk::begin(Arc::new(profile), &subscriptions, &mut replies);
    (talk, words(replies))
}

fn words(replies: Vec<Vec<u8>>) -> Vec<String> {
    replies.into_iter().map(|reply| String::from_utf8(reply).unwrap()).collect()
}

/// Messages in; what the scene was told and what was answered.
fn hear(talk: &mut Talk, messages: &[&[u8]]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut told, mut replies) = (Vec::new(), Vec::new());
    for message in messages {
        talk.take(message, &mut replies, &mut |one| {
            told.push(match one {
                Message::Delivered { topic, payload } => {
                    let topic = topic.map_or("-".into(), String::from_utf8_lossy);
                    format!("{topic} {}", String::from_utf8_lossy(payload))
                }
                Message::Acked(_) => "acked".to_owned(),
                Message::Text(text) | Message::Binary(text) => format!("odd {}", String::from_utf8_lossy(text)),
            });
        })?;
    }
    Ok((told, words(replies)))
}

const NATS: &[u8] = b"INFO {\"a\":1} \r\nPONG\r\nPONG\r\nMSG t 1 3\r\nabc\r\nPING\r\n+OK\r\nMSG u 2 5\r\n\r\nMSG\r\n";

#[test]
fn nats_greets_subscribes_delivers_and_is_answered() {
    let (mut talk, first) = subscriber(Profile::load("nats").unwrap(), &["t", "u"]);
    assert!(first.is_empty() && !talk.is_ready());
    let (told, replies) = hear(&mut talk, &[NATS]).unwrap();
    assert_eq!(told, ["acked", "acked", "t abc", "u \r\nMSG"]);
    assert!(replies[0].starts_with("CONNECT {\"verbose\":false") && replies[0].ends_with("}\r\n"));
    assert_eq!(replies[1..], ["SUB t 1\r\nPING\r\n", "SUB u 2\r\nPING\r\n", "PONG\r\n"]);
    assert!(talk.is_ready() && talk.is_binary());
    let refusal = hear(&mut talk, &[b"-ERR 'no'\r\n"]).unwrap_err();
    assert!(refusal.contains("-ERR"), "{refusal}");
}

#[test]
fn a_publisher_takes_answers_and_nothing_else() {
    let (mut talk, first) = subscriber(Profile::load("nchan").unwrap(), &[]);
    assert!(first.is_empty() && talk.is_ready());
    let answer = b"queued messages: 3\r\nlast requested: 0 sec. ago\r\n".as_slice();
    assert_eq!(hear(&mut talk, &[answer]).unwrap().0, [""; 0]);
    let (mut talk, _) = subscriber(Profile::load("nchan").unwrap(), &["t"]);
    assert_eq!(hear(&mut talk, &[answer]).unwrap().0.len(), 1, "a subscriber was not meant");
}

#[test]
fn what_others_publish_is_passed_over_only_where_the_profile_says_so() {
    let (mut talk, _) = subscriber(Profile::load("ws").unwrap(), &[]);
    assert_eq!(hear(&mut talk, &[b"\"x\""]).unwrap().0, [""; 0]);
    let (mut talk, _) = subscriber(Profile::load("bun").unwrap(), &[]);
    assert_eq!(hear(&mut talk, &[b"\"x\""]).unwrap().0, ["- \"x\""]);
}

#[test]
fn what_comes_instead_of_what_is_awaited_is_told() {
    let (mut talk, first) = subscriber(Profile::load("bun").unwrap(), &["t"]);
    assert_eq!(first, ["subscribe t"]);
    assert_eq!(hear(&mut talk, &[b"subscribed t"]).unwrap().0, ["acked"]);
    let (mut talk, _) = subscriber(Profile::load("wirefan").unwrap(), &["t"]);
    let refusal = hear(&mut talk, &[b"{\"op\":\"error\",\"code\":503}"]).unwrap_err();
    assert!(refusal.contains("open.await") && refusal.contains("503"), "{refusal}");
    let (told, replies) =
        hear(&mut talk, &[b"{\"op\":\"welcome\",\"client\":\"x\"}", b"{\"op\":\"ack\",\"id\":1}"]).unwrap();
    assert_eq!(
        (told, replies),
        (vec!["acked".to_owned()], vec!["{\"op\":\"subscribe\",\"id\":1,\"topic\":\"t\"}".to_owned()])
    );
    let odd = b"{\"op\":\"error\",\"code\":500}".as_slice();
    assert_eq!(hear(&mut talk, &[odd]).unwrap().0, ["odd {\"op\":\"error\",\"code\":500}"]);
}

fn framed(framing: &str) -> Profile {
    let text = format!(
        "name = \"x\"\nabout = \"X.\"\n{framing}\n[subscribe]\nsend = \"S {{topic}}\"\n[publish]\nsend = \"{{payload}}\"\n\
         [delivery]\nmatch = \"d {{payload}}\"\n"
    );
    Profile::parse(&text).unwrap()
}

#[test]
fn several_units_in_a_message_are_told_apart() {
    let (mut talk, _) = subscriber(framed("framing = \"separated\"\nseparator = \"\\n\""), &["t"]);
    let (told, _) = hear(&mut talk, &[b"d 1\nd 2\n", b"d 3", b"\n\nx"]).unwrap();
    assert_eq!(told, ["- 1", "- 2", "- 3", "odd x"]);
}

#[test]
fn a_length_that_is_beyond_all_measure_ends_the_connection() {
    let (mut talk, _) = subscriber(framed("framing = \"length\"\nlength_bytes = 8"), &["t"]);
    assert!(hear(&mut talk, &[&[0xff; 8]]).unwrap_err().contains("announced"));
}

#[test]
fn what_is_sent_has_its_length_before_it_too() {
    let profile = framed("framing = \"length\"\nlength_bytes = 2");
    assert_eq!(profile.subscribe("abc", 1).unwrap(), b"\0\x05S abc");
}

#[test]
fn answers_to_posts_are_read_one_after_the_other_and_a_refusal_ends() {
    let all = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 202 A\r\nContent-Length: 0\r\n\r\n";
    for cut in 0..=all.len() {
        let mut posts = Posts::default();
        posts.take(&all[..cut]).unwrap();
        posts.take(&all[cut..]).unwrap();
        assert!(posts.unread.is_empty());
    }
    let refusal = Posts::default().take(b"HTTP/1.1 413 Big\r\nContent-Length: 3\r\n\r\nbig").unwrap_err();
    assert!(refusal.contains("413") && refusal.contains("big"), "{refusal}");
    assert!(Posts::default().take(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
}

proptest! {
    #[test]
    fn a_stream_says_the_same_wherever_it_is_cut(mut cuts in proptest::collection::vec(0..NATS.len(), 0..8)) {
        let (mut at_once, _) = subscriber(Profile::load("nats").unwrap(), &["t", "u"]);
        let expected = hear(&mut at_once, &[NATS]).unwrap();
        cuts.sort_unstable();
        cuts.push(NATS.len());
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts.iter().map(|cut| &NATS[std::mem::replace(&mut from, *cut)..*cut]).collect();
        let (mut talk, _) = subscriber(Profile::load("nats").unwrap(), &["t", "u"]);
        prop_assert_eq!(hear(&mut talk, &pieces).unwrap(), expected);
        prop_assert!(talk.unread.is_empty());
    }

    #[test]
    fn lengths_divide_alike_wherever_they_are_cut(
        units in proptest::collection::vec("d [a-z]{0,9}", 1..6),
        mut cuts in proptest::collection::vec(0..90_usize, 0..8),
    ) {
        let mut all = Vec::new();
        for unit in &units {
            all.extend_from_slice(&(unit.len() as u32).to_be_bytes());
            all.extend_from_slice(unit.as_bytes());
        }
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(all.len()));
        cuts.sort_unstable();
        cuts.push(all.len());
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts.iter().map(|cut| &all[std::mem::replace(&mut from, *cut)..*cut]).collect();
        let (mut talk, _) = subscriber(framed("framing = \"length\"\nlength_bytes = 4"), &["t"]);
        let expected: Vec<String> = units.iter().map(|unit| unit.replacen("d ", "- ", 1)).collect();
        prop_assert_eq!(hear(&mut talk, &pieces).unwrap().0, expected);
    }
}
