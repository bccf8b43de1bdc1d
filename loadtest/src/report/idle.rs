//! The outcome of idle connections: what one of them costs the server in memory, and in CPU time per heartbeat.
//! The command line calls `idle_outcome`, and `idle_comparison` for what only both sides together say.

use serde_json::json;

use super::{Comparison, Figure, Outcome, Series, Spent};
use crate::scenario::idle::{Measured, Sample, Shape};
use crate::scenario::meter::Spending;
use crate::stats::{median, ratio};

/// What is compared between two sides.
const SLOPE: &str = "server memory (slope of PSS)";
const BEAT: &str = "server CPU per heartbeat";

/// What `Measured` says, for whoever shows it. Its units are the heartbeats while they were held, if there were any,
/// else the connections while they came.
pub(crate) fn idle_outcome(shape: &Shape, measured: &Measured, notes: Vec<String>) -> Outcome {
    let connections = shape.connections as f64;
    let [ramp, hold] = [(measured.ramp, measured.ramp_ns), (measured.hold, measured.hold_ns)];
    let (unit, units, (cost, ns), own) = if measured.pings > 0 {
        ("heartbeats", measured.pings, hold, measured.own[1])
    } else {
        ("connections", shape.connections as u64, ramp, measured.own[0])
    };
    let seconds = ns as f64 / 1e9;
    let memory = measured.samples.last().map(|sample| sample.server);
    let spending = Spending { server: Some(cost), system_calls: None, memory, own };
    let (server, load) = Spent::by_both(&spending, units, seconds);
    let curve = |name: &str, of: fn(&Sample) -> u64| Series {
        name: name.to_owned(),
        unit: "bytes",
        along: "connections",
        points: measured.samples.iter().map(|one| (one.connections as f64, of(one) as f64)).collect(),
    };
    let mut figures = Vec::new();
    figures.extend(measured.pss_slope.map(|slope| Figure::new(SLOPE, slope, "bytes per connection")));
    figures.extend(
        measured
            .kernel_slope
            .map(|slope| Figure::new("kernel memory, both ends (slope, whole machine)", slope, "bytes per connection")),
    );
    let each = ratio(measured.ramp.cpu_ns as f64, connections);
    figures.push(Figure::new("server CPU to connect and subscribe each", each, "ns"));
    let held = Spent::new(measured.hold, units, measured.hold_ns as f64 / 1e9).cpu_percent;
    figures.push(Figure::new("server CPU while held", held, "% of a core"));
    if measured.pings > 0 {
        figures.push(Figure::new(BEAT, ratio(measured.hold.cpu_ns as f64, measured.pings as f64), "ns"));
    }
    Outcome {
        scenario: "idle",
        title: format!("{} connections, {} subscriptions each", shape.connections, shape.manner.subscribe_each),
        shape: json!({
            "connections": shape.connections, "subscribe_each": shape.manner.subscribe_each,
            "topics": shape.manner.topics, "processes": shape.processes, "threads": shape.manner.threads,
            "ramp_seconds": measured.ramp_ns as f64 / 1e9, "hold_seconds": measured.hold_ns as f64 / 1e9,
        }),
        notes,
        unit,
        units,
        seconds,
        server,
        load,
        figures,
        latencies: Vec::new(),
        series: vec![
            curve("server PSS", |sample| sample.server.pss_bytes),
            curve("server RSS", |sample| sample.server.rss_bytes),
            curve("kernel slab", |sample| sample.kernel.slab_bytes),
            curve("TCP buffers", |sample| sample.kernel.tcp_bytes),
        ],
        faults: measured.faults.clone(),
        passed: measured.faults.total() == 0,
    }
}

/// Sentences with the medians of both sides.
pub(crate) fn idle_comparison(all: &Comparison) -> Vec<String> {
    let of = |name: &str, broker: bool| {
        let sides = all.rounds.iter().map(|pair| if broker { &pair.broker } else { &pair.yardstick });
        let figures = sides.flat_map(|side| side.figures.iter().filter(|figure| figure.name == name));
        median(&figures.map(|figure| figure.value).collect::<Vec<_>>())
    };
    let (broker, floor) = (of(SLOPE, true), of(SLOPE, false));
    let mut told =
        vec![format!("An idle connection has {broker:.0} bytes of the broker's memory, {floor:.0} of the floor's.")];
    let (broker, floor) = (of(BEAT, true), of(BEAT, false));
    if broker > 0.0 && floor > 0.0 {
        told.push(format!(
            "A heartbeat costs the broker {:.1} µs of CPU time, the floor {:.1}: {:.3} times.",
            broker / 1e3,
            floor / 1e3,
            broker / floor
        ));
    }
    told
}
