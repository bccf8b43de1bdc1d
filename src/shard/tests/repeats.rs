//! Publications with the head of the one before them: answered, byte for byte, as if each head were looked at.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::rules::{Access, History, Rule};

/// A broker with everything that a verdict on a head depends on.
fn world(shards: usize, anonymous: bool, rate: u32) -> World {
    let credentials = Arc::new(Credentials { tokens: identity::verifier(), ..Credentials::default() });
    World::guarded(shards, 4, Some(credentials), |config| {
        config.server.allow_anonymous = if anonymous { AllowAnonymous::Always } else { AllowAnonymous::Loopback };
        config.server.allowed_origins = vec!["https://ok.example".to_owned()];
        config.limits.commands_per_second_max = rate;
        config.limits.message_bytes_max = 64;
        let rule = |filter: &str, publish| Rule {
            filter: filter.to_owned(),
            history: Some(History { count: 10, age_s: 20 }),
            from: true,
            idempotency_s: 60,
            publish,
            ..Rule::default()
        };
        config.rules = vec![
            rule("mute/#", Access::Nobody),
            rule("granted/#", Access::Granted),
            rule("users/#", Access::User),
            rule("#", Access::Anyone),
        ];
    })
}

/// Heads of publications, `NUMBER` being where a header stands that means nothing, `LENGTH` their Content-Length.
fn head() -> impl Strategy<Value = String> {
    let queries = [
        "topic=chat/1",
        "topic=chat/1",
        "topic=chat%2f2",
        "topic=chat/1&conflate=c",
        "topic=chat/1&topic=chat/2",
        "topic=mute/1",
        "topic=granted/1",
        "topic=users/1",
        "topic=$presence/1",
        "topic=a//b",
        "topic=chat/1&access_token=TOKEN",
        "",
    ];
    let media = ["Content-Type: application/json\r\n", "Content-Type: text/plain\r\n", "", "Content-Type: x\r\n"];
    let fields = [
        "Authorization: Bearer TOKEN\r\n",
        "Authorization: Bearer x\r\n",
        "Origin: https://ok.example\r\n",
        "Origin: https://evil.example\r\n",
        "Idempotency-Key: k\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X-Other: y\r\n",
    ];
    let lengths = ["LENGTHNUMBER", "NUMBERLENGTH"];
    (
        select(&queries),
        select(&media),
        prop::option::of(select(&fields)),
        prop::option::of(select(&fields)),
        select(&lengths),
    )
        .prop_map(|(query, media, one, other, lengths)| {
            let fields = [media, one.unwrap_or_default(), lengths, other.unwrap_or_default()].concat();
            format!("POST /v1/publish?{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
        })
}

fn select<const N: usize>(from: &[&'static str; N]) -> impl Strategy<Value = &'static str> + use<N> {
    prop::sample::select(from.to_vec())
}

fn body() -> impl Strategy<Value = &'static [u8]> {
    let bodies: [&[u8]; 9] =
        [b"1", b"2", b"\"as long as many\"", b" {\"a\":[1,2]} ", b"{\"a\":", b"", b"\xff", &[b'7'; 64], &[b'7'; 65]];
    prop::sample::select(bodies.to_vec())
}

/// Runs of publications whose heads are the same, as a client pipelines them.
fn runs() -> impl Strategy<Value = Vec<(String, Vec<&'static [u8]>)>> {
    vec((head(), vec(body(), 1..6)), 1..5)
}

/// The bytes of all requests; where no two heads that follow each other are to be the same, they count.
fn stream(runs: &[(String, Vec<&'static [u8]>)], counted: bool) -> Vec<u8> {
    let (mut bytes, mut number) = (Vec::new(), 0);
    for (head, bodies) in runs {
        for body in bodies {
            number = (number + usize::from(counted)) % 2;
            let length = format!("Content-Length: {}\r\n", body.len());
            let head = head.replace("LENGTH", &length).replace("NUMBER", &format!("X-Number: {number}\r\n"));
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(body);
        }
    }
    bytes
}

/// What publishers and a subscriber are told when these bytes come in one read or in two, and what was counted.
fn told(mut world: World, bytes: &[u8], cut: usize) -> (Vec<Vec<u8>>, String) {
    let token = identity::token("sub", &["#"], &[], 600);
    let subscriber = world.open_with(0, &token);
    world.tell(subscriber, r##"{"op":"subscribe","id":1,"topic":"#"}"##);
    let publisher = world.accept(0);
    let (first, second) = bytes.split_at(cut);
    for piece in [first, second] {
        if !world.peers[publisher].shut && !piece.is_empty() {
            world.send(publisher, piece);
            world.settle();
        }
    }
    let counts = world.shards.iter().map(|shard| format!("{:?}", shard.counters())).collect();
    (world.peers.iter().map(|peer| peer.got.clone()).collect(), counts)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_head_that_was_judged_before_is_answered_as_one_that_was_not(
        runs in runs(),
        (shards, anonymous, rate) in (1..3_usize, any::<bool>(), prop::sample::select(vec![0, 3])),
        broken in prop::option::weighted(0.3, (any::<Index>(), any::<u8>())),
        cut in any::<Index>(),
    ) {
        let token = identity::token("ann", &["#"], &["granted/#"], 600);
        let with_token = |bytes: Vec<u8>| -> Vec<u8> {
            let text = bytes.iter().map(|&byte| char::from(byte)).collect::<String>().replace("TOKEN", &token);
            text.chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect()
        };
        let mut streams = [false, true].map(|counted| with_token(stream(&runs, counted)));
        if let Some((index, byte)) = broken {
            for bytes in &mut streams {
                *index.get_mut(bytes) = byte;
            }
        }
        let cut = cut.index(streams[0].len());
        let [same, counted] = streams.map(|bytes| told(world(shards, anonymous, rate), &bytes, cut));
        prop_assert_eq!(&same.1, &counted.1);
        for (same, counted) in same.0.iter().zip(&counted.0) {
            prop_assert_eq!(String::from_utf8_lossy(same), String::from_utf8_lossy(counted));
        }
    }
}
