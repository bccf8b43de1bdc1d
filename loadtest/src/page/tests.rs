//! Pages are well formed, load nothing, and show what comes from outside as text.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::process::{Cost, Memory};
use crate::report::{Distribution, Figure, Series, Spent};
use crate::scenario::against::Round;
use crate::stats::Latencies;
use crate::verify::Faults;

const EVIL: &str = "</pre><script>alert('x')</script><img src=x onerror=\"y\">&lt;\u{202e}\u{0}";

fn run(words: &str, passed: bool) -> Outcome {
    let mut latencies = Latencies::new();
    for late_us in 1..2_000 {
        latencies.record(late_us * 1_000);
    }
    let cost = Cost { cpu_ns: 2_000_000_000, voluntary_switches: 7, involuntary_switches: 8 };
    let memory = Memory { rss_bytes: 9_000_000, pss_bytes: 5_000_000 };
    let series = |name: &str, unit, along| Series {
        name: name.to_owned(),
        unit,
        along,
        points: (1..40).map(|n| (f64::from(n), f64::from(n * n))).collect(),
    };
    let mut faults = Faults::default();
    if !passed {
        faults.lost = 12_345;
        faults.say(|| words.to_owned());
    }
    Outcome {
        scenario: "fanout",
        title: format!("1,000 subscribers {words}"),
        shape: json!({ "subscribers": 1_000, "rate": null, "name": words }),
        notes: vec![words.to_owned()],
        unit: "deliveries",
        units: 1_234_567,
        seconds: 2.5,
        server: Some(Spent { system_calls: Some(99), memory: Some(memory), ..Spent::new(cost, 1_234_567, 2.5) }),
        load: Spent::new(cost, 1_234_567, 2.5),
        figures: vec![Figure::new(words, 3.0, ""), Figure::new("knee", 20.0, "per second")],
        latencies: ["every delivery", "first subscriber", "last subscriber", words]
            .map(|name| Distribution::new(name, "the intended send", &latencies))
            .into(),
        series: vec![
            series("deliveries", "per second", "seconds"),
            series(words, "ns", "seconds"),
            series("last subscriber, median", "ns", "seconds"),
            series("achieved", "per second", "offered per second"),
        ],
        faults,
        passed,
    }
}

fn setting(words: &str) -> Setting {
    Setting {
        command: words.to_owned(),
        when: "2026-11-30 20:15 UTC".into(),
        facts: vec![("kernel", words.to_owned())],
    }
}

fn comparison(words: &str) -> Comparison {
    let rounds = (0..4).map(|_| Round { broker: run(words, true), yardstick: run(words, true) });
    Comparison::new("floor", rounds.collect())
}

/// The elements of a page, each closed where it has to be; text and attributes hold no character that begins or ends them.
fn elements(page: &str) -> Vec<String> {
    let body = page.strip_prefix(place::FIRST_LINE).expect("our first line");
    let (mut open, mut all, mut rest) = (Vec::new(), Vec::new(), body);
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "text: {}", &rest[..at]);
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closes what was opened last");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_end_matches('/').split(' ').next().unwrap().to_owned();
        let empty = tag.ends_with('/') || name == "meta" || name == "br";
        if name == "style" {
            let end = rest.find("</style>").unwrap();
            rest = &rest[end..];
        }
        if !empty {
            open.push(name.clone());
        }
        all.push(name);
    }
    assert_eq!(open, [""; 0]);
    all
}

#[test]
fn a_page_is_well_formed_and_loads_nothing() {
    for page in [of_run(&run("x", true), &setting("x")), of_comparison(&comparison("x"), &setting("x"))] {
        let elements = elements(&page);
        for never in ["script", "img", "link", "iframe", "object", "base", "a", "form", "use", "image", "foreignObject"]
        {
            assert!(!elements.iter().any(|name| name == never), "{never}");
        }
        assert!(elements.iter().filter(|name| *name == "svg").count() >= 3);
        assert!(!page.contains("://") && !page.contains("url(") && !page.contains("@import"), "nothing from elsewhere");
        assert!(page.contains("default-src 'none'") || page.contains("default-src &#39;none&#39;"));
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    let (plain, odd) = (of_run(&run("x", false), &setting("x")), of_run(&run(EVIL, false), &setting(EVIL)));
    assert_eq!(elements(&plain), elements(&odd), "the same elements, whatever the words are");
    assert!(odd.contains("&lt;script&gt;alert(&#39;x&#39;)") && odd.contains("&amp;lt;"));
    assert!(!odd.contains('\u{202e}') && !odd.contains('\u{0}'));
    assert_eq!(
        elements(&of_comparison(&comparison(EVIL), &setting(EVIL))),
        elements(&of_comparison(&comparison("x"), &setting("x")))
    );
}

#[test]
fn the_verdict_says_what_was_wrong_and_the_raw_data_are_the_outcome() {
    let (good, bad) = (run("x", true), run("x", false));
    assert!(of_run(&good, &setting("x")).contains("All 1,234,567 deliveries were verified"));
    let page = of_run(&bad, &setting("x"));
    assert!(page.contains("verdict failed") && page.contains("Of 1,234,567 deliveries: 12,345 lost."), "{page}");
    let (_, raw) = page.split_once("<pre id=\"raw\">").unwrap();
    let raw = raw.split_once("</pre>").unwrap().0.replace("&quot;", "\"");
    assert_eq!(raw, serde_json::to_string(&bad).unwrap());
}

#[test]
fn what_was_not_measured_is_not_told() {
    let bare = Outcome {
        server: None,
        load: Spent::default(),
        latencies: Vec::new(),
        series: Vec::new(),
        figures: Vec::new(),
        notes: Vec::new(),
        units: 0,
        seconds: 0.0,
        passed: false,
        ..run("x", true)
    };
    let page = of_run(&bare, &setting("x"));
    elements(&page);
    for absent in ["What it cost", "Over time", "Latency, from", "Further figures", "CPU second"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("There were no deliveries"));
    elements(&of_comparison(&Comparison::new("floor", Vec::new()), &setting("x")));
}

#[test]
fn numbers_are_spelled_as_people_do() {
    for (value, unit, told) in [
        (1_234_567.0, "", "1,234,567"),
        (999.0, "", "999"),
        (-1_000.0, "", "-1,000"),
        (0.123456, "", "0.12"),
        (1.2345, "", "1.23"),
        (0.0, "ns", "0 ns"),
        (1_250.0, "ns", "1.25 µs"),
        (48_000_000.0, "ns", "48 ms"),
        (131.0, "bytes", "131 B"),
        (5_242_880.0, "bytes", "5 MiB"),
        (12_500.4, "per second", "12,500 / s"),
        (97.0, "% of a core", "97 % of a core"),
    ] {
        assert_eq!(spelled(value, unit), told);
    }
}

/// Whoever reads a sweep wants the rate first, and has to be told whose limit it was.
#[test]
fn a_sweep_begins_with_its_rate_and_with_what_speaks_against_it() {
    let mut run = run("x", true);
    run.figures = vec![Figure::new(KNEE, 1_600.0, "per second")];
    run.load.cpu_percent = 99.0;
    let page = of_run(&run, &setting("x"));
    let at = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words} is missing"));
    assert!(at("Up to 1,600 publications per second held.") < at("But: "));
    assert!(at("But: ") < at("<strong>1,600 / s</strong>") && at("<strong>1,600 / s</strong>") < at("Latency, from"));
    run.load.cpu_percent = 50.0;
    assert!(!of_run(&run, &setting("x")).contains("But: "));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_words_break_a_page(words in ".{0,40}") {
        let page = of_run(&run(&words, false), &setting(&words));
        prop_assert_eq!(elements(&page).iter().filter(|name| *name == "script").count(), 0);
    }

    #[test]
    fn no_numbers_break_a_chart(values in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..9), knee in any::<f64>()) {
        let series = ["ns", "per second", "bytes"].map(|unit| Series { name: unit.into(), unit, along: "offered per second", points: values.clone() });
        let mut odd = run("x", true);
        odd.series = series.into();
        odd.figures = vec![Figure::new("knee", knee, "per second")];
        odd.seconds = knee;
        let page = of_run(&odd, &setting("x"));
        elements(&page);
        prop_assert!(!page.contains("=\"NaN") && !page.contains("=\"inf"));
    }
}
