//! The report of slow readers: what they cost the healthy, the server and the kernel, and whether each was treated as its
//! topic's rule says. The command line calls `slow`.

use serde_json::{Value, json};

use super::fanout::{fanout_outcome, shape_json, shape_sentence};
use super::{Outcome, bytes, new_table, print_faults, print_json, print_notes, println, time};
use crate::scenario::slow::{Measured, Pair, Round, Shape};
use crate::verify::Faults;

/// Reports all rounds.
pub(crate) fn slow(shape: &Shape, rounds: &[Round], notes: &[String], json: bool) -> bool {
    let passed = rounds.iter().all(|round| round.with.passed() && round.without.passed());
    let p99 = Pair::of(rounds, Measured::p99_ns, f64::min);
    let per_cpu = Pair::of(rounds, Measured::deliveries_per_cpu_second, f64::max);
    if json {
        let each: Vec<Value> = rounds
            .iter()
            .map(|round| json!({ "with": figures(shape, &round.with), "without": figures(shape, &round.without) }))
            .collect();
        print_json(&json!({
            "scenario": "slow", "shape": shape_json(&shape.fanout), "slow_readers": shape.fanout.others,
            "read_bytes_per_second": shape.manner.bytes_per_second.unwrap_or(0),
            "conflate_keys": shape.fanout.conflate_keys, "notes": notes, "healthy_p99_ns": p99,
            "deliveries_per_cpu_second": per_cpu, "rounds": each, "passed": passed,
        }));
        return passed;
    }
    let manner = match shape.manner.bytes_per_second {
        Some(bytes) => format!("read {bytes} bytes per second"),
        None => "read nothing".to_owned(),
    };
    println(&format!("{}; {} more {manner}", shape_sentence(&shape.fanout), shape.fanout.others));
    print_notes(notes);
    print_rounds(rounds);
    print_memory(rounds);
    println(&format!(
        "Medians with slow readers and without: p99 of the healthy {} and {} ({:.3} times; {:.3} between the best \
         rounds); deliveries per CPU second {:.0} and {:.0} ({:.3} times; {:.3} between the best rounds).",
        time(p99.with as u64),
        time(p99.without as u64),
        p99.ratio,
        p99.ratio_of_best_rounds,
        per_cpu.with,
        per_cpu.without,
        per_cpu.ratio,
        per_cpu.ratio_of_best_rounds,
    ));
    print_verdict(rounds, passed);
    passed
}

fn figures(shape: &Shape, measured: &Measured) -> Value {
    let passed = measured.passed();
    json!({
        "fanout": Outcome { passed, ..fanout_outcome("slow", &shape.fanout, &measured.fanout, Vec::new()) }, "slow": measured.slow,
        "memory_before": measured.memory_before, "memory": measured.samples,
    })
}

fn print_rounds(rounds: &[Round]) {
    let mut table = new_table(&[
        "round",
        "slow readers",
        "deliveries",
        "per CPU second",
        "healthy p50",
        "p99",
        "slow got",
        "missed",
        "gaps",
        "4008",
    ]);
    for (number, measured) in sides(rounds) {
        let late = measured.fanout.lateness.all.summary();
        let slow = &measured.slow;
        table.add_row([
            number.to_string(),
            slow.readers.to_string(),
            measured.fanout.deliveries.to_string(),
            format!("{:.0}", measured.deliveries_per_cpu_second()),
            time(late.p50_ns),
            time(late.p99_ns),
            slow.delivered.to_string(),
            slow.missed.to_string(),
            slow.gaps.to_string(),
            slow.refused.to_string(),
        ]);
    }
    println(&table.to_string());
}

fn print_memory(rounds: &[Round]) {
    let mut table =
        new_table(&["round", "slow readers", "memory of", "nobody behind", "begin", "middle", "end", "end over begin"]);
    for (number, measured) in sides(rounds) {
        let (Some(before), Some(during)) = (measured.memory_before, measured.memory()) else { continue };
        let samples = [before, during[0], during[1], during[2]];
        let server = samples.map(|sample| sample.server.pss_bytes);
        let kernel = samples.map(|sample| sample.kernel.tcp_bytes);
        for (name, of) in [("server (PSS)", server), ("TCP buffers (machine)", kernel)] {
            let head = [number.to_string(), measured.slow.readers.to_string(), name.to_owned()];
            let growth = (of[3] as f64 - of[1] as f64) / 1_048_576.0;
            table.add_row(head.into_iter().chain(of.map(bytes)).chain([format!("{growth:+.2} MiB")]));
        }
    }
    println(&table.to_string());
}

fn sides(rounds: &[Round]) -> impl Iterator<Item = (usize, &Measured)> {
    rounds.iter().enumerate().flat_map(|(at, round)| [(at + 1, &round.with), (at + 1, &round.without)])
}

fn print_verdict(rounds: &[Round], passed: bool) {
    let mut faults = Faults::default();
    let (mut deliveries, mut slow, mut late) = (0, 0, true);
    for (_, measured) in sides(rounds) {
        faults.merge(measured.fanout.faults.clone());
        deliveries += measured.fanout.deliveries;
        slow += measured.slow.readers;
        late &= measured.slow.readers == 0 || measured.slow.missed + measured.slow.refused > 0;
    }
    if passed {
        println(&format!(
            "Verified: {deliveries} measured deliveries, nothing lost, doubled or out of order for the healthy; what {slow} slow \
             readers got and what they were told adds up."
        ));
    } else if !late {
        println("FAILED: nobody was too slow. Publish more, or longer, or let less wait.");
    }
    print_faults(passed, &faults);
}
