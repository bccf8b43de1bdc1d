//! Profiles that are right, and what is said of those that are not.

use super::*;

const LEAST: &str = "name = \"x\"\nabout = \"X.\"\n[subscribe]\nsend = \"S {topic}\"\n[publish]\nsend = \"P {topic} {payload}\"\n\
    [delivery]\nmatch = \"{payload}\"\n";

fn changed(from: &str, to: &str) -> String {
    assert!(LEAST.contains(from), "{from}");
    Profile::parse(&LEAST.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn every_built_in_profile_is_right_and_has_its_name() {
    for (name, _) in BUILT_IN {
        let profile = Profile::load(name).unwrap();
        assert_eq!(profile.name, name);
        assert!(profile.about.ends_with('.'), "{name}");
    }
    Profile::parse(LEAST).unwrap();
}

#[test]
fn what_is_wrong_is_told_with_key_value_and_reason() {
    for (from, to, told) in [
        ("S {topic}", "S {topik}", r#"subscribe.send = "S {topik}": {topik} is no hole"#),
        ("S {topic}", "S {payload}", r#"subscribe.send = "S {payload}": {payload} is no hole"#),
        ("S {topic}", "S", "topics_max: no {topic}"),
        ("P {topic} {payload}", "P {topic}", "publish.send: {payload} is missing"),
        ("match = \"{payload}\"", "match = \"M\"", r#"delivery.match = "M": {payload} is missing"#),
        ("match = \"{payload}\"", "", "delivery: one of match and json"),
        ("match = \"{payload}\"", "match = \"{payload}\"\njson = \"a\"", "delivery.json is there, too"),
        ("match = \"{payload}\"", "json = \"a..b\"", r#"delivery.json = "a..b": names"#),
        ("match = \"{payload}\"", "match = \"{any}{payload}\"", "nothing tells where {any} ends"),
        ("[subscribe]", "[subscribe]\npath = \"sub\"", r#"subscribe.path = "sub": a path begins"#),
        ("[subscribe]", "[subscribe]\npath = \"/a b\"", r#"subscribe.path = "/a b": a path holds"#),
        ("[subscribe]", "framing = \"separated\"\n[subscribe]", "it needs a separator"),
        ("[subscribe]", "separator = \"x\"\n[subscribe]", r#"separator = "x": only"#),
        ("[subscribe]", "framing = \"length\"\nlength_bytes = 3\n[subscribe]", "1, 2, 4 or 8"),
        ("[subscribe]", "framing = \"stream\"\n[subscribe]", "delivery.match"),
        ("[subscribe]", "topics_max = 0\n[subscribe]", "topics_max = 0"),
        ("[subscribe]", "topic = \"t/{run}\"\n[subscribe]", r#"topic = "t/{run}": {number} is missing"#),
        ("[subscribe]", "topic = \"{run} {number}\"\n[subscribe]", "visible ASCII"),
        ("[subscribe]", "subprotocol = \"a,b\"\n[subscribe]", r#"subprotocol = "a,b": it is no token"#),
        ("[subscribe]", "ignore = [\"\"]\n[subscribe]", r#"ignore = "": it is empty"#),
        ("[publish]", "[publish]\nby = \"post\"", "publish.path: a POST needs one"),
        ("[publish]", "[publish]\nby = \"post\"\npath = \"/p\"\nanswer = \"ok\"", "publish.answer: a POST"),
        ("[publish]", "[publish]\ncontent_type = \"a\\r\\nX: y\"", "control character"),
        ("[subscribe]", "color = 1\n[subscribe]", "unknown field `color`"),
        ("[publish]", "[publish]\nby = \"pigeon\"", "unknown variant `pigeon`"),
        ("about = \"X.\"", "", "missing field `about`"),
    ] {
        let refusal = changed(from, to);
        assert!(refusal.contains(told), "{to:?}: {refusal}");
    }
}

#[test]
fn a_file_that_is_not_there_or_too_long_is_a_sentence() {
    let refusal = Profile::load("/nonexistent/profile.toml").unwrap_err();
    assert!(refusal.contains("/nonexistent/profile.toml") && refusal.contains("nats"), "{refusal}");
    let path = std::env::temp_dir().join(format!("wirefan-loadtest-profile-{}.toml", std::process::id()));
    std::fs::write(&path, "#".repeat(70_000)).unwrap();
    let refusal = Profile::load(path.to_str().unwrap()).unwrap_err();
    assert!(refusal.contains("70000"), "{refusal}");
    std::fs::write(&path, LEAST).unwrap();
    assert_eq!(Profile::load(path.to_str().unwrap()).unwrap().name, "x");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn paths_go_below_the_path_of_the_address() {
    let nchan = Profile::load("nchan").unwrap();
    assert_eq!(nchan.path("/", "a/b", false), "/sub/a/b");
    assert_eq!(nchan.path("/below/", "a", true), "/below/pub/a");
    assert_eq!(nchan.topics_max, Some(1));
    let plain = Profile::parse(LEAST).unwrap();
    assert_eq!(plain.path("/ws?a=b", "t", true), "/ws?a=b");
}

#[test]
fn a_post_is_a_whole_request() {
    let profile = Profile::load("nchan-post").unwrap();
    let mut out = Vec::new();
    profile.publication(&mut out, "127.0.0.1:8", "/", "a/b", b"\"x\"");
    let expected = "POST /post/a/b HTTP/1.1\r\nHost: 127.0.0.1:8\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n\"x\"";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_member_of_json_is_found_as_it_is_spelled() {
    let text = LEAST.replacen("match = \"{payload}\"", "json = \"push.pub.data\"\njson_topic = \"push.channel\"", 1);
    let profile = Profile::parse(&text).unwrap();
    let unit = br#"{"push":{"pub":{"offset":1,"data": "\u0041b" },"channel":"t"}}"#;
    let expected = Unit::Delivery { topic: Some(b"t"), payload: br#""\u0041b""# };
    assert_eq!(profile.recognise(unit), Ok(Some((expected, unit.len()))));
    for other in [&b"{}"[..], b"[]", b"", b"{\"push\":1}", br#"{"push":{"pub":{"data":1}}}"#, &unit[..40]] {
        assert_eq!(profile.recognise(other), Err(()));
    }
}
