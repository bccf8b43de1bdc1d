//! The outcomes of what publishes nothing: echoes, and connections that come and go.
//! The command line calls one function per scenario.

use serde_json::json;

use super::{Distribution, Figure, Outcome, Spent};
use crate::scenario::{connect, echo};
use crate::stats::ratio;

/// What an echo found, for whoever shows it.
pub(crate) fn echo_outcome(shape: &echo::Shape, measured: &echo::Measured, notes: Vec<String>) -> Outcome {
    let (units, seconds) = (measured.echoes, measured.wall_ns as f64 / 1e9);
    let (server, load) = Spent::by_both(&measured.spending, units, seconds);
    let content = format!("{:?}", shape.content).to_lowercase();
    let bytes = units as f64 * shape.payload_bytes as f64;
    let mut figures =
        vec![Figure::new("payload there and back", ratio(bytes, seconds * 1_048_576.0), "MiB per second")];
    if let Some(cost) = measured.spending.server {
        let per_cpu = ratio(bytes * 1e9, cost.cpu_ns as f64 * 1_048_576.0);
        figures.push(Figure::new("payload per CPU second of the server", per_cpu, "MiB per second"));
    }
    Outcome {
        scenario: "echo",
        title: format!(
            "{} connections, {} messages under way on each, {} bytes of {content}",
            shape.connections, shape.depth, shape.payload_bytes
        ),
        shape: json!({
            "connections": shape.connections, "depth": shape.depth, "payload_bytes": shape.payload_bytes, "content": content,
        }),
        notes,
        unit: "echoes",
        units,
        seconds,
        server,
        load,
        figures,
        latencies: vec![Distribution::new("every echo", "the send", &measured.latencies)],
        series: Vec::new(),
        faults: measured.faults.clone(),
        passed: measured.faults.total() == 0 && units > 0,
    }
}

/// What cycles of connections found, for whoever shows it.
pub(crate) fn connect_outcome(shape: &connect::Shape, measured: &connect::Measured, notes: Vec<String>) -> Outcome {
    let (units, seconds) = (measured.cycles, measured.wall_ns as f64 / 1e9);
    let (server, load) = Spent::by_both(&measured.spending, units, seconds);
    let before = measured.memory_before.map(|memory| memory.pss_bytes as f64);
    Outcome {
        scenario: "connect",
        title: format!(
            "{} connections that connect, subscribe to one of {} topics, and are reset, over and over",
            shape.connections, shape.topics
        ),
        shape: json!({ "connections": shape.connections, "topics": shape.topics, "threads": shape.threads }),
        notes,
        unit: "cycles",
        units,
        seconds,
        server,
        load,
        figures: before
            .map(|bytes| Figure::new("server memory before the first connection (PSS)", bytes, "bytes"))
            .into_iter()
            .collect(),
        latencies: vec![Distribution::new("ack of the subscribe", "the start of the connect", &measured.to_ack)],
        series: Vec::new(),
        faults: measured.faults.clone(),
        passed: measured.faults.total() == 0 && units > 0,
    }
}
