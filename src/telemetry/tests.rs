//! The exposition, read back by a strict reader of our own, and the documents that name its metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::exposition::{classic, families, openmetrics};
use super::*;

/// A report of two shards and one that did not answer, with something everywhere.
pub(super) fn report() -> Report {
    let figures = |n: u64| {
        let mut figures = Figures {
            websockets: 10 * n,
            streams: n,
            polls: 1,
            others: 2,
            accepted: 100 * n,
            closed: vec![("reset", n), ("idle", 3)],
            delivered: 1_000 * n,
            published: 7,
            canary_lag_ms: Some(3 * n),
            canary_silence_ms: Some(450),
            ..Figures::default()
        };
        figures.refused.note(Refused::Token);
        figures.machine.refused.note(Refused::Tls);
        figures.machine.traffic = Traffic { reads: 5, writes: 6, bytes_in: 700, bytes_out: 800, tls_handshakes: 1 };
        for us in [3, 20, 20, 900, 70_000, 60_000_000] {
            figures.machine.turns.record(us * n);
        }
        Some(Box::new(figures))
    };
    let process = Process {
        resident_bytes: Some(5_000_000),
        cpu_us: Some(1_500_000),
        switches: Some((8, 9)),
        descriptors: Some(30),
        descriptors_max: Some(1024),
        began_unix_s: 1_700_000_000,
    };
    Report { shards: vec![figures(1), None, figures(2)], process, connections_max: 1_000_000 }
}

/// What one metric is said to be.
#[derive(Debug, Default)]
struct Read {
    kind: String,
    unit: String,
    help: String,
    /// By name with labels.
    samples: BTreeMap<String, f64>,
}

/// Reads OpenMetrics text and refuses whatever the specification does: what is not in its order, twice there, or misnamed.
fn read(text: &str) -> BTreeMap<String, Read> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    assert!(!body.contains("\n\n") && !body.contains("# EOF") && body.ends_with('\n'), "one line after the other");
    let mut all: BTreeMap<String, Read> = BTreeMap::new();
    let mut name = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let [word, metric, value] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if metric != name {
                assert!(!all.contains_key(metric), "{metric} is told in two places");
                name = metric.to_owned();
                all.insert(name.clone(), Read::default());
            }
            all.get_mut(&name).expect("inserted").describe(word, value);
        } else {
            all.get_mut(&name).expect("described before").take(&name, line);
        }
    }
    all.iter().for_each(|(name, read)| read.check(name));
    all
}

impl Read {
    fn describe(&mut self, word: &str, value: &str) {
        assert!(self.samples.is_empty(), "{word} {value}: behind its samples");
        let place = match word {
            "TYPE" => &mut self.kind,
            "UNIT" => &mut self.unit,
            "HELP" => &mut self.help,
            _ => panic!("{word}"),
        };
        assert!(place.is_empty() && !value.is_empty() && !value.contains(['"', '\\']), "{word} {value}");
        *place = value.to_owned();
    }

    fn take(&mut self, name: &str, line: &str) {
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a number");
        let (bare, labels) =
            sample.split_once('{').map_or((sample, ""), |(bare, rest)| (bare, rest.strip_suffix('}').expect("closed")));
        let suffix = bare.strip_prefix(name).unwrap_or_else(|| panic!("{line}: among the samples of {name}"));
        let suffixes: &[&str] = match &self.kind[..] {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("{kind}"),
        };
        assert!(suffixes.contains(&suffix) && value >= 0.0 && value.is_finite(), "{line}");
        for label in labels.split(',').filter(|labels| !labels.is_empty()) {
            let (label, value) = label.split_once("=\"").expect("a label");
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            let value = value.strip_suffix('"').expect("it is quoted");
            assert!(value.len() <= 20 && !value.contains(['"', '\\']), "{line}");
        }
        assert!(self.samples.insert(sample.to_owned(), value).is_none(), "{line}: twice");
    }

    fn check(&self, name: &str) {
        assert!(!self.kind.is_empty() && self.help.ends_with('.'), "{name} is described");
        assert!(self.unit.is_empty() || name.ends_with(&format!("_{}", self.unit)), "{name} in {}", self.unit);
        for unit in ["seconds", "bytes"] {
            assert!(!name.ends_with(unit) || self.unit == unit, "{name} says no unit");
        }
        assert!(!name.ends_with("_total"), "{name}: the samples say that");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

#[test]
fn the_exposition_is_strict_openmetrics_and_says_what_was_counted() {
    let all = read(&openmetrics(&report()));
    let value = |name: &str, sample: &str| all[name].samples[sample];
    assert_eq!(value("wirefan_connections", "wirefan_connections{transport=\"websocket\"}"), 30.0);
    assert_eq!(value("wirefan_connections_closed", "wirefan_connections_closed_total{reason=\"reset\"}"), 3.0);
    assert_eq!(value("wirefan_refused", "wirefan_refused_total{cause=\"tls\"}"), 2.0);
    assert_eq!(value("wirefan_deliveries", "wirefan_deliveries_total"), 3000.0);
    assert_eq!(value("wirefan_syscalls", "wirefan_syscalls_total{call=\"write\"}"), 12.0);
    assert_eq!(value("wirefan_received_bytes", "wirefan_received_bytes_total"), 1400.0);
    assert_eq!(
        (value("wirefan_shards", "wirefan_shards"), value("wirefan_shards_answered", "wirefan_shards_answered")),
        (3.0, 2.0)
    );
    assert_eq!(value("wirefan_canary_lag_seconds", "wirefan_canary_lag_seconds{shard=\"2\"}"), 0.006);
    assert_eq!(all["wirefan_shard_connections"].samples.len(), 2, "the silent one is missing");
    assert_eq!(value("process_cpu_seconds", "process_cpu_seconds_total"), 1.5);
    assert_eq!(value("process_resident_memory_bytes", "process_resident_memory_bytes"), 5e6);
}

#[test]
fn a_histogram_grows_with_its_bounds_up_to_its_count() {
    let all = read(&openmetrics(&report()));
    let turns = &all["wirefan_turn_seconds"].samples;
    let mut buckets: Vec<(f64, f64)> = turns
        .iter()
        .filter_map(|(sample, count)| {
            let bound = sample.strip_prefix("wirefan_turn_seconds_bucket{le=\"")?.strip_suffix("\"}")?;
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") }, *count))
        })
        .collect();
    buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    assert_eq!((buckets.len(), buckets[0], buckets[1]), (21, (1.6e-5, 2.0), (3.2e-5, 4.0)));
    assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
    assert_eq!(buckets[20], (f64::INFINITY, turns["wirefan_turn_seconds_count"]));
    assert_eq!((buckets[19].1, turns["wirefan_turn_seconds_count"]), (10.0, 12.0), "a minute is beyond all bounds");
    assert!((turns["wirefan_turn_seconds_sum"] - 180.212_829).abs() < 1e-6);
}

#[test]
fn the_older_format_has_the_same_samples_and_names_counters_as_they_are_called() {
    let (modern, classic) = (openmetrics(&report()), classic(&report()));
    let samples =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&modern), samples(&classic));
    assert!(classic.contains("# HELP wirefan_deliveries_total Publications handed"));
    assert!(classic.contains("\n# TYPE wirefan_deliveries_total counter\nwirefan_deliveries_total 3000\n"));
    assert!(classic.contains("\n# TYPE wirefan_turn_seconds histogram\n"));
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
}

#[test]
fn what_is_not_known_is_not_told() {
    let all = read(&openmetrics(&Report { shards: vec![None], ..Report::default() }));
    assert!(all["process_open_fds"].samples.is_empty() && all["wirefan_canary_lag_seconds"].samples.is_empty());
    assert_eq!(all["wirefan_shards_answered"].samples["wirefan_shards_answered"], 0.0);
}

#[test]
fn every_cause_and_its_label_are_there_once() {
    let labels: BTreeSet<_> = Refused::ALL.iter().map(|(_, label)| label).collect();
    assert_eq!(labels.len(), Refused::ALL.len());
    for (number, (cause, _)) in Refused::ALL.iter().enumerate() {
        assert_eq!(*cause as usize, number);
    }
    for (status, cause) in [(400, Refused::Malformed), (401, Refused::Unauthorized), (503, Refused::Unavailable)] {
        assert_eq!(Refused::of_status(status), cause);
    }
}

fn shipped(path: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a shipped file")
}

/// All names of metrics in a text, without what a histogram's samples have behind theirs.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.starts_with("wirefan_") || word.starts_with("process_"))
        .map(|word| ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_is_explained_and_everything_that_is_asked_for_is_a_metric() {
    let known: BTreeSet<String> = families(&report()).iter().map(super::exposition::Family::name).collect();
    let manual = shipped("docs/operating.md");
    let rows: String = manual.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
    let explained: BTreeSet<String> = named(&rows);
    assert_eq!(explained, known, "the table of docs/operating.md");
    assert!(named(&manual).is_subset(&known), "{:?}", named(&manual).difference(&known));
    let alerts = named(&shipped("config/prometheus/alerts.yml"));
    assert!(alerts.len() > 10 && alerts.is_subset(&known), "{:?}", alerts.difference(&known));
    let dashboard: serde_json::Value = serde_json::from_str(&shipped("config/grafana.json")).expect("JSON");
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let names = named(target["expr"].as_str().expect("a query"));
            assert!(!names.is_empty() && names.is_subset(&known), "{} asks for {names:?}", panel["title"]);
            shown.extend(names);
        }
    }
    assert!(shown.len() * 10 > known.len() * 8, "the dashboard shows most: {:?}", known.difference(&shown));
}

#[test]
fn every_cause_is_explained() {
    let manual = shipped("docs/operating.md");
    for (_, label) in Refused::ALL {
        assert!(manual.contains(&format!("`{label}`")), "{label}");
    }
}
