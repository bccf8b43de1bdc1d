//! What the user sees of publications by HTTP, alone or against the floor's bare responder.
//! The command line calls it.
//! Invariants: medians decide; every round is shown.

use serde_json::json;

use super::{new_table, print_json, print_notes, println};
use crate::scenario::against::Round;
use crate::scenario::http_publish::{Measured, Shape};
use crate::stats::{median, ratio};

/// Reports the broker's rounds.
pub(crate) fn http_publish(shape: &Shape, rounds: &[Measured], notes: &[String], json: bool) {
    let cost = median_cost(rounds.iter());
    if json {
        return print_json(&json!({
            "scenario": "http publish", "shape": shape_json(shape), "notes": notes, "rounds": rounds,
            "cpu_ns_per_request": cost, "requests_per_cpu_second": ratio(1e9, cost),
        }));
    }
    begin(shape, notes);
    let mut table = new_table(&HEAD);
    for (number, round) in rounds.iter().enumerate() {
        table.add_row(row(number, "broker", round, String::new()));
    }
    println(&table.to_string());
    println(&format!("Median of {} rounds: {:.0} requests per CPU second.", rounds.len(), ratio(1e9, cost)));
}

/// Reports broker against floor.
pub(crate) fn http_publish_comparison(shape: &Shape, rounds: &[Round<Measured>], notes: &[String], json: bool) {
    let broker = median_cost(rounds.iter().map(|round| &round.broker));
    let floor = median_cost(rounds.iter().map(|round| &round.yardstick));
    let of_round =
        |round: &Round<Measured>| ratio(round.broker.cpu_ns_per_request(), round.yardstick.cpu_ns_per_request());
    let ratios: Vec<f64> = rounds.iter().map(of_round).collect();
    if json {
        let sides: Vec<_> = rounds
            .iter()
            .map(|round| json!({ "broker": round.broker, "floor": round.yardstick, "ratio": of_round(round) }))
            .collect();
        return print_json(&json!({
            "scenario": "http publish against floor", "shape": shape_json(shape), "notes": notes, "rounds": sides,
            "broker_cpu_ns_per_request": broker, "floor_cpu_ns_per_request": floor,
            "broker_requests_per_cpu_second": ratio(1e9, broker), "floor_requests_per_cpu_second": ratio(1e9, floor),
            "ratio": ratio(broker, floor),
        }));
    }
    begin(shape, notes);
    let mut table = new_table(&HEAD);
    for (number, round) in rounds.iter().enumerate() {
        table.add_row(row(number, "broker", &round.broker, format!("{:.3}", of_round(round))));
        table.add_row(row(number, "floor", &round.yardstick, String::new()));
    }
    println(&table.to_string());
    println(&format!(
        "Median of {} rounds: broker {:.0}, floor {:.0} requests per CPU second; a request costs {:.3} times the floor's \
         ({:.3} to {:.3} by round).",
        rounds.len(),
        ratio(1e9, broker),
        ratio(1e9, floor),
        ratio(broker, floor),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
    ));
}

const HEAD: [&str; 6] = ["round", "side", "requests", "CPU per request", "server CPU", "ratio"];

fn row(number: usize, side: &str, measured: &Measured, ratio_to_floor: String) -> [String; 6] {
    let percent = 100.0 * ratio(measured.spending.server.unwrap_or_default().cpu_ns as f64, measured.wall_ns as f64);
    [
        (number + 1).to_string(),
        side.to_owned(),
        measured.requests.to_string(),
        format!("{:.0} ns", measured.cpu_ns_per_request()),
        format!("{percent:.0} %"),
        ratio_to_floor,
    ]
}

fn begin(shape: &Shape, notes: &[String]) {
    println(&format!(
        "{} connections, {} requests under way on each, {} bytes",
        shape.connections, shape.depth, shape.payload_bytes
    ));
    print_notes(notes);
}

fn shape_json(shape: &Shape) -> serde_json::Value {
    json!({ "connections": shape.connections, "depth": shape.depth, "payload_bytes": shape.payload_bytes })
}

fn median_cost<'m>(rounds: impl Iterator<Item = &'m Measured>) -> f64 {
    median(&rounds.map(Measured::cpu_ns_per_request).collect::<Vec<_>>())
}
