//! `[[rule]]`: what it takes, how it is printed and explained, and the sentences with which it refuses.

use super::*;
use crate::limits::RULES_MAX;
use crate::rules::{Access, History, Overflow};
use crate::topic::Topic;

fn rules(toml: &str) -> Vec<Rule> {
    load(toml, &[], &Flags::default()).unwrap().rules
}

/// What is refused in a rule whose filter is on line 2 and whose further lines begin at 3.
fn refused(lines: &str) -> String {
    refusal(&format!("[[rule]]\nfilter = \"a\"\n{lines}"))
}

const CHAT: &str = r#"
[[rule]]
filter = "chat/#"
subscribe = "anyone"
publish = "nobody"
history = { count = 1000, age = "10m" }
presence = false
overflow = "disconnect"
from = false
idempotency = "0s"

[[rule]]
filter = "price/+"
subscribe = "nobody"
overflow = "disconnect"
"#;

fn chat() -> Rule {
    Rule {
        filter: "chat/#".to_owned(),
        subscribe: Access::Anyone,
        publish: Access::Nobody,
        history: Some(History { count: 1000, age_s: 600 }),
        presence: false,
        overflow: Overflow::Disconnect,
        from: false,
        idempotency_s: 0,
    }
}

#[test]
fn a_rule_sets_every_key_and_leaves_the_others_at_their_defaults() {
    let price = Rule { filter: "price/+".to_owned(), subscribe: Access::Nobody, ..Rule::default() };
    assert_eq!(rules(CHAT), [chat(), price]);
    assert_eq!(rules(""), []);
    assert_eq!(rules("[[rule]]\nfilter = \"#\""), [Rule::default()]);
    assert_eq!(rules("rule = []"), []);
}

#[test]
fn a_rule_may_be_written_in_any_way_that_toml_has() {
    let kept = Rule { filter: "a".to_owned(), history: Some(History { count: 1, age_s: 1 }), ..Rule::default() };
    for toml in [
        "[[rule]]\nhistory.count = 1\nhistory.age = \"1s\"\nfilter = \"a\"",
        "[[rule]]\nfilter = \"a\"\n[rule.history]\nage = \"1s\"\ncount = 1",
        "rule = [{ filter = \"a\", history = { count = 1, age = \"1s\" } }]",
    ] {
        assert_eq!(rules(toml), std::slice::from_ref(&kept), "{toml}");
    }
}

#[test]
fn what_check_prints_of_rules_can_be_read_again() {
    let config = load(CHAT, &[], &Flags::default()).unwrap();
    assert!(config.to_string().ends_with(concat!(
        "allow_anonymous = \"loopback\"\n\n[[rule]]\nfilter = \"chat/#\"\nsubscribe = \"anyone\"\npublish = \"nobody\"\n",
        "history = { count = 1000, age = \"10m\" }\npresence = false\noverflow = \"disconnect\"\nfrom = false\n",
        "idempotency = \"0s\"\n\n[[rule]]\nfilter = \"price/+\"\nsubscribe = \"nobody\"\npublish = \"anyone\"\n",
        "presence = false\noverflow = \"disconnect\"\nfrom = false\nidempotency = \"5m\"\n"
    )));
    assert_eq!(load(&config.to_string(), &[], &Flags::default()).unwrap(), config);
}

#[test]
fn durations_have_a_unit_and_are_printed_in_the_largest_that_fits() {
    for (written, age_s, printed) in [
        ("1s", 1, "1s"),
        ("59s", 59, "59s"),
        ("60s", 60, "1m"),
        ("90m", 5400, "90m"),
        ("120m", 7200, "2h"),
        ("24h", 86_400, "1d"),
        ("2d", 172_800, "2d"),
        ("365d", 31_536_000, "365d"),
        ("007m", 420, "7m"),
    ] {
        let toml = format!("[[rule]]\nfilter = \"#\"\nhistory = {{ count = 1, age = \"{written}\" }}");
        let config = load(&toml, &[], &Flags::default()).unwrap();
        assert_eq!(config.rules[0].history, Some(History { count: 1, age_s }), "{written}");
        assert!(config.to_string().contains(&format!("age = \"{printed}\"")), "{written}");
    }
    for bad in
        ["", "s", "10", "m10", "-1s", "+1s", "1.5h", "1 h", "1h30m", "1w", "1ms", "1S", "1é", "5000000000s", "50000d"]
    {
        let sentence = r#"must be a whole number with its unit (s, m, h or d) from "0s" to "1d", such as "10m""#;
        assert_eq!(
            refused(&format!("idempotency = \"{bad}\"")),
            format!("wirefan.toml:3: rule.idempotency = \"{bad}\": {sentence}")
        );
    }
}

#[test]
fn wrong_values_of_a_rule_name_line_key_value_and_reason() {
    let shape = "{ count = 1000, age = \"10m\" }";
    let age = r#"must be a whole number with its unit (s, m, h or d) from "1s" to "365d", such as "10m""#;
    for (line, reason) in [
        ("subscribe = \"all\"", r#"must be "anyone", "user", "granted" or "nobody""#.to_owned()),
        ("publish = true", r#"must be "anyone", "user", "granted" or "nobody""#.to_owned()),
        ("overflow = \"newest\"", r#"must be "disconnect", "drop_oldest" or "latest""#.to_owned()),
        ("presence = \"yes\"", "must be true or false".to_owned()),
        ("from = 1", "must be true or false".to_owned()),
        (
            "idempotency = 300",
            r#"must be a whole number with its unit (s, m, h or d) from "0s" to "1d", such as "10m""#.to_owned(),
        ),
        (
            "idempotency = \"25h\"",
            r#"must be a whole number with its unit (s, m, h or d) from "0s" to "1d", such as "10m""#.to_owned(),
        ),
        ("history = 1000", format!("must be a table, {shape}")),
        ("history = {}", format!("lacks its count: write both, as in {shape}")),
        ("history = { count = 1 }", format!("lacks its age: write both, as in {shape}")),
        ("history = { age = \"1s\" }", format!("lacks its count: write both, as in {shape}")),
        ("history = { count = 0, age = \"1s\" }", "its count must be a whole number from 1 to 1000000".to_owned()),
        (
            "history = { count = 1000001, age = \"1s\" }",
            "its count must be a whole number from 1 to 1000000".to_owned(),
        ),
        ("history = { count = 1, age = \"0s\" }", format!("its age {age}")),
        ("history = { count = 1, age = \"366d\" }", format!("its age {age}")),
        (
            "history = { count = 1, age = \"1s\", size = 1 }",
            format!("has the unknown key size; it has two, as in {shape}"),
        ),
    ] {
        let (key, value) = line.split_once(" = ").unwrap();
        assert_eq!(refused(line), format!("wirefan.toml:3: rule.{key} = {value}: {reason}"));
    }
}

#[test]
fn a_rule_may_want_to_know_who_is_there_and_who_it_is() {
    let all = "[[rule]]\nfilter = \"a\"\npresence = true\nfrom = true\nsubscribe = \"user\"\npublish = \"granted\"";
    let (filter, subscribe, publish) = ("a".to_owned(), Access::User, Access::Granted);
    assert_eq!(rules(all), [Rule { filter, presence: true, from: true, subscribe, publish, ..Rule::default() }]);
    for wrong in ["subscribe = \"users\"", "publish = true"] {
        let (key, value) = wrong.split_once(" = ").unwrap();
        let reason = r#"must be "anyone", "user", "granted" or "nobody""#;
        assert_eq!(refused(wrong), format!("wirefan.toml:3: rule.{key} = {value}: {reason}"));
    }
}

#[test]
fn a_rule_that_admits_nobody_without_saying_so_is_worth_a_warning() {
    let toml = "[[rule]]\nfilter = \"a\"\n[[rule]]\nfilter = \"b/#\"\nsubscribe = \"user\"\npublish = \"granted\"";
    let warnings = load(toml, &[], &Flags::default()).unwrap().warnings();
    let why = "admits nobody, because without [auth] nobody can say who they are";
    let expected = [("subscribe", "user"), ("publish", "granted")];
    assert_eq!(warnings, expected.map(|(key, word)| format!("rule 2 (filter \"b/#\"): {key} = \"{word}\" {why}")));
    assert_eq!(load(CHAT, &[], &Flags::default()).unwrap().warnings(), [""; 0]);
    let known = [("WIREFAN_AUTH__API_KEYS_FILE", "keys")];
    assert_eq!(load(toml, &known, &Flags::default()).unwrap().warnings(), [""; 0], "with [auth] there are users");
    let open = load(CHAT, &known, &Flags::default()).unwrap().warnings();
    assert!(matches!(&open[..], [one] if one.starts_with("[auth]: no rule says \"granted\", so ")), "{open:?}");
}

#[test]
fn a_rule_has_a_filter_that_is_one() {
    let lacks = r##"[[rule]]: lacks its filter: write filter = "#" for all topics"##;
    assert_eq!(refusal("\n[[rule]]\npresence = false"), format!("wirefan.toml:2: {lacks}"));
    assert_eq!(refusal("[[rule]]"), format!("wirefan.toml:1: {lacks}"));
    for (filter, reason) in [
        ("\"\"", "is no filter: it is empty; a name has 1 to 255 bytes"),
        ("\"a//b\"", "is no filter: the level at byte 2 is empty; each needs 1 character"),
        ("\"#/a\"", "is no filter: the `#` at byte 0 has to be the whole last level"),
        ("3", "must be a filter, such as \"chat/#\""),
        ("[\"a\"]", "must be a filter, such as \"chat/#\""),
    ] {
        assert_eq!(
            refusal(&format!("[[rule]]\nfilter = {filter}")),
            format!("wirefan.toml:2: rule.filter = {filter}: {reason}")
        );
    }
}

#[test]
fn a_filter_that_has_a_rule_already_is_refused_because_the_second_would_never_apply() {
    assert_eq!(
        refusal("[[rule]]\nfilter = \"a\"\n[[rule]]\nfilter = \"b\"\n[[rule]]\npresence = false\nfilter = \"b\""),
        "wirefan.toml:7: rule.filter = \"b\": the rule of line 3 has this filter and comes first, so this one never applies"
    );
}

#[test]
fn an_unknown_key_of_a_rule_is_refused_with_the_nearest_known_one() {
    for (toml, sentence) in [
        ("presense = true", "3: rule.presense: unknown key; did you mean rule.presence?"),
        ("idempotency_s = 3", "3: rule.idempotency_s: unknown key; did you mean rule.idempotency?"),
        ("shards = 3", "3: rule.shards: unknown key; did you mean server.shards?"),
        (
            "colour = 3",
            "3: rule.colour: unknown key; a rule has filter, subscribe, publish, history, presence, overflow, from, \
             idempotency",
        ),
        ("[[rules]]\nfilter = \"a\"", "3: [[rules]]: unknown table; did you mean [[rule]]?"),
        ("[rules]\nfilter = \"a\"", "3: [rules]: unknown table; did you mean [[rule]]?"),
    ] {
        assert_eq!(refused(toml), format!("wirefan.toml:{sentence}"));
    }
    assert_eq!(
        refusal("[server]\noverflow = \"latest\""),
        "wirefan.toml:2: server.overflow: unknown key; did you mean rule.overflow?"
    );
}

#[test]
fn rules_are_a_list_of_tables() {
    let sentence = "wirefan.toml:1: rule: must be a list of tables, each of which begins with [[rule]]";
    for toml in
        ["[rule]\nfilter = \"a\"", "rule = 3", "rule = [3]", "rule = [{filter = \"a\"}, 3]", "rule.filter = \"a\""]
    {
        assert_eq!(refusal(toml), sentence, "{toml}");
    }
}

#[test]
fn problems_of_rules_and_of_keys_are_told_in_the_order_of_the_file() {
    let toml = "[server]\nshards = -1\n[[rule]]\nfrom = 1\nx = 1\n[limits]\nconnections_max = 0\n[[rule]]\nfilter = 1";
    let refused = refusal(toml);
    let places: Vec<_> = refused.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "wirefan.toml:2: server.shards",
            "wirefan.toml:4: rule.from",
            "wirefan.toml:5: rule.x:",
            "wirefan.toml:3: [[rule]]:",
            "wirefan.toml:7: limits.connections_max",
            "wirefan.toml:9: rule.filter",
        ]
    );
}

#[test]
fn there_are_at_most_a_thousand_rules() {
    let toml =
        |count: usize| (0..count).map(|number| format!("[[rule]]\nfilter = \"t/{number}\"\n")).collect::<String>();
    assert_eq!(rules(&toml(RULES_MAX)).len(), RULES_MAX);
    assert_eq!(
        refusal(&toml(RULES_MAX + 1)),
        "wirefan.toml:2002: rule.filter = \"t/1000\": is one rule more than 1000, the most"
    );
}

#[test]
fn rules_have_no_environment_variables() {
    for name in ["WIREFAN_RULE__FILTER", "WIREFAN_RULE__0__FILTER", "WIREFAN_RULES", "WIREFAN_RULE"] {
        assert_eq!(
            load("", &[(name, "a")], &Flags::default()).unwrap_err(),
            format!("{name}: unknown variable; rules have none, they are written in the file: [[rule]]")
        );
    }
}

#[test]
fn a_topic_is_told_its_rule_and_all_that_it_says() {
    let config = load(CHAT, &[], &Flags::default()).unwrap();
    assert_eq!(
        config.explain(Topic::known("chat/1")),
        concat!(
            "# chat/1 gets rule 1 of 2, the first whose filter matches.\nfilter = \"chat/#\"\nsubscribe = \"anyone\"\n",
            "publish = \"nobody\"\nhistory = { count = 1000, age = \"10m\" }\npresence = false\n",
            "overflow = \"disconnect\"\nfrom = false\nidempotency = \"0s\"\n"
        )
    );
    let price = config.explain(Topic::known("price/x"));
    assert!(price.starts_with("# price/x gets rule 2 of 2, the first whose filter matches.\nfilter = \"price/+\"\n"));
    assert!(price.contains("\n# history: none\n"), "{price}");
    let implicit = concat!(
        "filter = \"#\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n# history: none\npresence = false\n",
        "overflow = \"disconnect\"\nfrom = false\nidempotency = \"5m\"\n"
    );
    let none = "# x gets the implicit rule: no filter of the 2 rules matches.\n";
    assert_eq!(config.explain(Topic::known("x")), format!("{none}{implicit}"));
    let none = "# x gets the implicit rule: the configuration has no other.\n";
    assert_eq!(Config::default().explain(Topic::known("x")), format!("{none}{implicit}"));
    assert_eq!(
        config.explain(Topic::known("$own/load")),
        "# $own/load gets no rule: a topic of the broker needs one that names it, and there is none.\n"
    );
    let stats = config.explain(Topic::known("$sys/stats"));
    let start = "# $sys/stats gets the implicit rule: no filter of the 2 rules matches.\nfilter = \"$sys/#\"\n";
    assert!(stats.starts_with(start) && stats.contains("subscribe = \"granted\"\npublish = \"nobody\"\n"), "{stats}");
}

#[test]
fn the_examples_of_the_reference_are_true() {
    let reference = shipped("docs/configuration.md");
    let block = |fence: &str| {
        let (_, after) = reference.split_once("## Rules").unwrap();
        let (_, after) = after.split_once(fence).unwrap();
        after.split_once("```").unwrap().0.to_owned()
    };
    let config = load(&block("```toml\n"), &[], &Flags::default()).unwrap();
    let shown = format!(
        "$ wirefan check --config wirefan.toml --topic price/eur\n{}",
        config.explain(Topic::known("price/eur"))
    );
    assert_eq!(block("```text\n"), shown);
}
