//! The report of a storm: how subscribers came back, what that cost the server, and whether anything was lost or doubled.
//! The command line calls `storm`.

use serde_json::json;

use super::{FanoutFigures, bytes, fanout_rows, print_faults, print_json, print_notes, print_percentiles, print_rows};
use super::{println, shape_json, shape_sentence};
use crate::scenario::storm::{Measured, Shape};
use crate::stats::ratio;

/// Reports one storm.
pub(crate) fn storm(shape: &Shape, measured: &Measured, notes: &[String], json: bool) -> bool {
    let passed = measured.passed();
    let figures = FanoutFigures { passed, ..FanoutFigures::of(&measured.fanout) };
    let recoveries = &measured.recoveries;
    let (to_ack, to_recovered) = (recoveries.to_ack.summary(), recoveries.to_recovered.summary());
    let (live, sent_late) = (figures.latency.all, figures.latency.sent_late);
    let resets_per_second = ratio(recoveries.resets as f64, figures.seconds);
    let away_seconds = shape.away_ns_max as f64 / 1e9;
    if json {
        print_json(&json!({
            "scenario": "storm", "shape": shape_json(&shape.fanout), "reconnect_share": shape.share_per_second,
            "away_seconds_max": away_seconds, "notes": notes,
            "result": {
                "publications": figures.publications, "deliveries": figures.deliveries, "seconds": figures.seconds,
                "resets": recoveries.resets, "resets_per_second": resets_per_second, "replayed": recoveries.replayed,
                "recovered": to_recovered.count, "to_ack": to_ack, "to_recovered": to_recovered,
                "live_latency": live, "sent_late": sent_late, "server": figures.server,
                "server_memory_before": measured.memory_before,
                "generator_cpu_percent": figures.generator_cpu_percent, "passed": passed, "faults": figures.faults,
            },
        }));
        return passed;
    }
    println(&format!(
        "{}; each second {} of the subscribers are reset, and away for up to {away_seconds} s",
        shape_sentence(&shape.fanout),
        shape.share_per_second,
    ));
    print_notes(notes);
    let mut rows = fanout_rows(&figures);
    rows.push(("resets", format!("{} ({resets_per_second:.0} per second)", recoveries.resets)));
    rows.push(("recovered", format!("{}, with {} replayed deliveries", to_recovered.count, recoveries.replayed)));
    if let Some(before) = measured.memory_before {
        let (pss, rss) = (bytes(before.pss_bytes), bytes(before.rss_bytes));
        rows.push(("server memory before the storm", format!("PSS {pss}, RSS {rss}")));
    }
    print_rows(rows);
    print_percentiles("from the start of the connect", &[("ack", to_ack), ("last replayed publication", to_recovered)]);
    print_percentiles(
        "from the intended send",
        &[("every live delivery", live), ("sent late by the load generator", sent_late)],
    );
    if passed {
        println(&format!(
            "Verified: {} deliveries over {} connections cut off, nothing lost, doubled or out of order.",
            figures.deliveries, recoveries.resets
        ));
    } else if to_recovered.count == 0 {
        println("FAILED: nobody was cut off and came back.");
    }
    print_faults(passed, figures.faults);
    passed
}
