//! `/metrics`: a [`Report`] as OpenMetrics text, or as the older text format for those who do not ask for it.
//!
//! [`families`] is the one list of metrics; docs/operating.md and the dashboard are tested against it. Sums over the shards,
//! and by shard only what is worth comparing. Prometheus's conventions: base units, the unit at the end of the name, `_total`.

use std::borrow::Cow;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Figures, Histogram, Report};

/// The media type of OpenMetrics text.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the older text format.
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The buckets that are told: doublings from 16 microseconds to 8 seconds.
const DOUBLINGS: (u32, u32) = (4, 23);

/// One metric with all its samples.
#[derive(Clone, Debug)]
pub struct Family {
    /// Without the `_total` of a counter, and without the unit.
    stem: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    samples: Samples,
}

#[derive(Clone, Debug)]
enum Samples {
    Counter(Vec<Sample>),
    Gauge(Vec<Sample>),
    Histogram(Box<Histogram>),
}

/// A label, if there is one, and a value.
#[derive(Clone, Debug)]
struct Sample {
    label: Option<(&'static str, Cow<'static, str>)>,
    value: Number,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(u64),
    Seconds(f64),
}

impl Number {
    fn of_ms(ms: u64) -> Self {
        Self::Seconds(seconds(ms * 1000))
    }
}

impl Family {
    /// As its samples are called; a histogram's has `_bucket`, `_sum` and `_count` behind it.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        let total = if matches!(self.samples, Samples::Counter(_)) { "_total" } else { "" };
        format!("{}{unit}{total}", self.stem)
    }

    /// What it means.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help
    }

    fn counter(stem: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { stem, unit: None, help, samples: Samples::Counter(samples) }
    }

    fn gauge(stem: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { stem, unit: None, help, samples: Samples::Gauge(samples) }
    }

    fn histogram(stem: &'static str, help: &'static str, histogram: Histogram) -> Self {
        Self { stem, unit: Some("seconds"), help, samples: Samples::Histogram(Box::new(histogram)) }
    }

    fn bytes(self) -> Self {
        Self { unit: Some("bytes"), ..self }
    }

    fn seconds(self) -> Self {
        Self { unit: Some("seconds"), ..self }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let unit = self.unit.map(|unit| if unit == "bytes" { Unit::Bytes } else { Unit::Seconds });
        let kind = match self.samples {
            Samples::Counter(_) => MetricType::Counter,
            Samples::Gauge(_) => MetricType::Gauge,
            Samples::Histogram(_) => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(self.stem, self.help, unit.as_ref(), kind)?;
        match &self.samples {
            Samples::Counter(samples) | Samples::Gauge(samples) => {
                samples.iter().try_for_each(|sample| sample.encode(&mut metric, kind))
            }
            Samples::Histogram(histogram) => {
                let (first, last) = DOUBLINGS;
                let bound = |(us, count)| (if us > 1 << last { f64::INFINITY } else { seconds(us) }, count);
                let buckets: Vec<_> = histogram.doublings(first, last).map(bound).collect();
                metric.encode_histogram::<NoLabelSet>(seconds(histogram.sum_us()), histogram.count(), &buckets, None)
            }
        }
    }
}

impl Sample {
    fn of(label: &'static str, value: impl Into<Cow<'static, str>>, number: u64) -> Self {
        Self { label: Some((label, value.into())), value: Number::Whole(number) }
    }

    fn encode(&self, metric: &mut MetricEncoder<'_>, kind: MetricType) -> std::fmt::Result {
        match &self.label {
            Some((name, value)) => self.encode_value(&mut metric.encode_family(&[(*name, value.as_ref())])?, kind),
            None => self.encode_value(metric, kind),
        }
    }

    fn encode_value(&self, metric: &mut MetricEncoder<'_>, kind: MetricType) -> std::fmt::Result {
        match (kind, self.value) {
            (MetricType::Counter, Number::Whole(value)) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
            (MetricType::Counter, Number::Seconds(value)) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
            (_, Number::Whole(value)) => metric.encode_gauge(&value),
            (_, Number::Seconds(value)) => metric.encode_gauge(&value),
        }
    }
}

/// A metric without labels.
fn one(number: u64) -> Vec<Sample> {
    vec![Sample { label: None, value: Number::Whole(number) }]
}

/// The same, where it may not be known: then it is not told.
fn some(number: Option<u64>) -> Vec<Sample> {
    number.map_or_else(Vec::new, one)
}

/// The same in seconds.
fn some_seconds(us: Option<u64>) -> Vec<Sample> {
    us.map(|us| Sample { label: None, value: Number::Seconds(seconds(us)) }).into_iter().collect()
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// All metrics, in the order in which they are told.
#[must_use]
pub fn families(report: &Report) -> Vec<Family> {
    [connections(report), messages(report), memory(report), machine(report), shards(report), process(report)].concat()
}

fn connections(report: &Report) -> Vec<Family> {
    let sum = |each: fn(&Figures) -> u64| report.sum(each);
    let mut refused = super::Refusals::default();
    let mut closed: Vec<(&'static str, u64)> = Vec::new();
    for (_, figures) in report.answered() {
        refused.add(&figures.refused);
        refused.add(&figures.machine.refused);
        closed.resize(figures.closed.len(), ("", 0));
        closed.iter_mut().zip(&figures.closed).for_each(|(sum, (label, count))| *sum = (label, sum.1 + count));
    }
    let transport = |name, each: fn(&Figures) -> u64| Sample::of("transport", name, report.sum(each));
    let transports = vec![
        transport("websocket", |it| it.websockets),
        transport("events", |it| it.streams),
        transport("poll", |it| it.polls),
        transport("http", |it| it.others),
    ];
    let by = |label, counts: Vec<_>| counts.into_iter().map(|(value, count)| Sample::of(label, value, count)).collect();
    vec![
        Family::gauge(
            "wirefan_connections",
            "Connections now, by transport; http has those whose end has begun.",
            transports,
        ),
        Family::gauge("wirefan_connections_max", "The setting limits.connections_max.", one(report.connections_max)),
        Family::counter("wirefan_connections_accepted", "Connections accepted.", one(sum(|it| it.accepted))),
        Family::counter("wirefan_connections_closed", "Connections ended, by reason.", by("reason", closed)),
        Family::counter(
            "wirefan_refused",
            "Handshakes and requests of HTTP that were refused, by cause.",
            by("cause", refused.iter().collect()),
        ),
        Family::counter(
            "wirefan_accept_pauses",
            "Times that accepting paused for want of descriptors or memory.",
            one(sum(|it| it.machine.accept_pauses)),
        ),
        Family::counter(
            "wirefan_tls_handshakes",
            "TLS handshakes completed.",
            one(sum(|it| it.machine.traffic.tls_handshakes)),
        ),
    ]
}

fn messages(report: &Report) -> Vec<Family> {
    let sum = |each: fn(&Figures) -> u64| one(report.sum(each));
    vec![
        Family::counter("wirefan_publications", "Publications from connections.", sum(|it| it.published)),
        Family::counter("wirefan_deliveries", "Publications handed to a subscriber's queue.", sum(|it| it.delivered)),
        Family::counter(
            "wirefan_missed",
            "Publications dropped for slow consumers by a rule's overflow.",
            sum(|it| it.missed),
        ),
        Family::counter("wirefan_gaps", "Times that a slow consumer was told of what it missed.", sum(|it| it.gaps)),
        Family::counter("wirefan_errors", "Commands and publications answered with an error.", sum(|it| it.faults)),
        Family::counter(
            "wirefan_received",
            "Bytes read from sockets, TLS included.",
            sum(|it| it.machine.traffic.bytes_in),
        )
        .bytes(),
        Family::counter(
            "wirefan_sent",
            "Bytes written to sockets, TLS included.",
            sum(|it| it.machine.traffic.bytes_out),
        )
        .bytes(),
        Family::counter("wirefan_inflated_messages", "Compressed messages that were inflated.", sum(|it| it.inflated)),
        Family::counter("wirefan_inflated", "Bytes that compressed messages became.", sum(|it| it.inflated_bytes))
            .bytes(),
        Family::counter("wirefan_deflated_publications", "Publications that were compressed.", sum(|it| it.deflated)),
    ]
}

fn memory(report: &Report) -> Vec<Family> {
    let sum = |each: fn(&Figures) -> u64| one(report.sum(each));
    vec![
        Family::gauge(
            "wirefan_topics",
            "Topics now: with a subscriber, a history, or a remembered position.",
            sum(|it| it.topics),
        ),
        Family::gauge("wirefan_subscriptions", "Subscriptions now.", sum(|it| it.subscriptions)),
        Family::gauge(
            "wirefan_filters",
            "Filters and topics now that have a subscriber, counted on each core.",
            sum(|it| it.filters),
        ),
        Family::gauge("wirefan_outbound", "Bytes now that wait for connections.", sum(|it| it.outbound_bytes)).bytes(),
        Family::gauge(
            "wirefan_outbound_queues",
            "Connections now for which something waits.",
            sum(|it| it.outbound_queues),
        ),
        Family::gauge("wirefan_history", "Bytes now of kept publications.", sum(|it| it.history_bytes)).bytes(),
        Family::counter(
            "wirefan_history_evictions",
            "Publications forgotten before their time, because limits.history_bytes_max was reached.",
            sum(|it| it.history_evicted),
        ),
        Family::gauge("wirefan_idempotency_keys", "Idempotency keys now.", sum(|it| it.keys)),
        Family::counter(
            "wirefan_idempotency_evictions",
            "Idempotency keys forgotten before their time.",
            sum(|it| it.keys_evicted),
        ),
    ]
}

fn machine(report: &Report) -> Vec<Family> {
    let (mut turns, mut fanouts) = (Histogram::default(), Histogram::default());
    for (_, figures) in report.answered() {
        turns.add(&figures.machine.turns);
        fanouts.add(&figures.machine.fanouts);
    }
    let call = |name, each: fn(&Figures) -> u64| Sample::of("call", name, report.sum(each));
    let calls = vec![
        call("poll", |it| it.machine.polls),
        call("read", |it| it.machine.traffic.reads),
        call("write", |it| it.machine.traffic.writes),
        call("accept", |it| it.machine.accepts),
        call("wake", |it| it.doorbells),
    ];
    vec![
        Family::histogram("wirefan_turn", "Time of one turn of an event loop, without its wait.", turns),
        Family::histogram(
            "wirefan_fanout",
            "Time from the turn in which publications came to a core until each of its subscribers was written to.",
            fanouts,
        ),
        Family::counter("wirefan_syscalls", "System calls, by kind.", calls),
        Family::counter("wirefan_doorbells", "Times that a core woke another one.", one(report.sum(|it| it.doorbells))),
    ]
}

/// A sample of each shard of which it is known.
fn each(report: &Report, value: fn(&Figures) -> Option<Number>) -> Vec<Sample> {
    let sample = |(number, figures): (usize, &Figures)| {
        Some(Sample { label: Some(("shard", number.to_string().into())), value: value(figures)? })
    };
    report.answered().filter_map(sample).collect()
}

fn shards(report: &Report) -> Vec<Family> {
    vec![
        Family::gauge("wirefan_shards", "Shards, one thread each.", one(report.shards.len() as u64)),
        Family::gauge(
            "wirefan_shards_answered",
            "Shards that answered this scrape in time.",
            one(report.answered().count() as u64),
        ),
        Family::gauge(
            "wirefan_shard_connections",
            "Connections now, by shard.",
            each(report, |it| Some(Number::Whole(it.connections()))),
        ),
        Family::counter(
            "wirefan_shard_deliveries",
            "Deliveries, by shard.",
            each(report, |it| Some(Number::Whole(it.delivered))),
        ),
        Family::counter(
            "wirefan_shard_busy",
            "Time not spent waiting for events, by shard.",
            each(report, |it| Some(Number::Seconds(seconds(it.machine.turns.sum_us())))),
        )
        .seconds(),
        Family::gauge(
            "wirefan_canary_lag",
            "How long the slowest canary of the last round was under way, by the shard that heard it.",
            each(report, |it| it.canary_lag_ms.map(Number::of_ms)),
        )
        .seconds(),
        Family::gauge(
            "wirefan_canary_silence",
            "Time since the shard was last reached by the one that has been silent longest.",
            each(report, |it| it.canary_silence_ms.map(Number::of_ms)),
        )
        .seconds(),
    ]
}

/// Under the names that Prometheus's libraries give them.
fn process(report: &Report) -> Vec<Family> {
    let process = &report.process;
    let switches = process.switches.map(|(voluntary, forced)| {
        vec![Sample::of("kind", "voluntary", voluntary), Sample::of("kind", "involuntary", forced)]
    });
    let version = Sample::of("version", env!("CARGO_PKG_VERSION"), 1);
    vec![
        Family::gauge("wirefan_build_info", "The version that runs.", vec![version]),
        Family::counter(
            "process_cpu",
            "CPU time of all threads, in user and kernel mode.",
            some_seconds(process.cpu_us),
        )
        .seconds(),
        Family::counter(
            "process_context_switches",
            "Context switches of all threads, by kind.",
            switches.unwrap_or_default(),
        ),
        Family::gauge("process_resident_memory", "Resident memory.", some(process.resident_bytes)).bytes(),
        Family::gauge("process_open_fds", "Open file descriptors.", some(process.descriptors)),
        Family::gauge("process_max_fds", "How many file descriptors may be open.", some(process.descriptors_max)),
        Family::gauge("process_start_time", "When the process began, since 1970.", one(process.began_unix_s)).seconds(),
    ]
}

/// The families of one report, as `prometheus-client` asks for them.
#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

/// OpenMetrics 1.0 text.
#[must_use]
pub fn openmetrics(report: &Report) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families(report))));
    let mut text = String::with_capacity(16 * 1024);
    text::encode(&mut text, &registry).expect("a string takes all that is written to it");
    text
}

/// The same in Prometheus's older format: there a counter's `_total` belongs to its name, and a unit is not told.
#[must_use]
pub fn classic(report: &Report) -> String {
    let mut text = String::with_capacity(16 * 1024);
    let (mut help, mut name) = ("", "");
    let modern = openmetrics(report);
    for line in modern.lines() {
        let suffix = if line.ends_with(" counter") { "_total" } else { "" };
        if let Some(rest) = line.strip_prefix("# HELP ") {
            (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
        } else if let Some(kind) = line.strip_prefix("# TYPE ").and_then(|rest| rest.rsplit(' ').next()) {
            text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
