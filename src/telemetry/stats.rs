//! `$sys/stats`: what a [`Report`] says, and what of it came since the one before, as one JSON object.
//!
//! The shard that is the topic's home writes one a second while somebody has subscribed. The object's shape is a promise to
//! the console and to `wirefan top`, in docs/protocol.md; members may be added.

use serde_json::{Value, json};

use super::{Figures, Histogram, Report};

/// One shard's figures, and what they were, if that is known.
type Pair<'r> = (&'r Figures, Option<&'r Figures>);

/// The object. `before` is the last report, and `elapsed_ms` how long ago it was.
#[must_use]
pub fn object(report: &Report, before: Option<&Report>, elapsed_ms: u64, unix_s: u64) -> Value {
    let former = |number: usize| before.and_then(|before| before.shards.get(number)?.as_deref());
    let pairs: Vec<Option<Pair<'_>>> =
        report.shards.iter().enumerate().map(|(number, figures)| Some((figures.as_deref()?, former(number)))).collect();
    let all: Vec<Pair<'_>> = pairs.iter().flatten().copied().collect();
    let each = |pair: &Option<Pair<'_>>| pair.map_or(Value::Null, |pair| part(&[pair], elapsed_ms));
    let process = &report.process;
    let switches = process.switches.unwrap_or_default();
    json!({
        "unix_s": unix_s,
        "interval_ms": elapsed_ms,
        "version": env!("CARGO_PKG_VERSION"),
        "shards": pairs.iter().map(each).collect::<Vec<_>>(),
        "total": part(&all, elapsed_ms),
        "process": {
            "uptime_s": unix_s.saturating_sub(process.began_unix_s),
            "memory_bytes": process.resident_bytes,
            "cpu_us": process.cpu_us,
            "context_switches": { "voluntary": switches.0, "involuntary": switches.1 },
            "descriptors": process.descriptors,
            "descriptors_max": process.descriptors_max,
            "connections_max": report.connections_max,
        },
    })
}

/// Of one shard, or of several together.
fn part(pairs: &[Pair<'_>], elapsed_ms: u64) -> Value {
    let sum = |each: fn(&Figures) -> u64| pairs.iter().map(|(now, _)| each(now)).sum::<u64>();
    let most = |each: fn(&Figures) -> Option<u64>| pairs.iter().filter_map(|(now, _)| each(now)).max();
    let since = |each: fn(&Figures) -> u64| {
        let since = |(now, before): &Pair<'_>| before.map_or(0, |before| each(now).saturating_sub(each(before)));
        pairs.iter().map(since).sum::<u64>()
    };
    let rate = |each: fn(&Figures) -> u64| since(each) * 1000 / elapsed_ms.max(1);
    let busy_us = since(|it| it.machine.turns.sum_us());
    let shards_ms = elapsed_ms.max(1) * pairs.len().max(1) as u64;
    json!({
        "connections": {
            "websocket": sum(|it| it.websockets),
            "events": sum(|it| it.streams),
            "poll": sum(|it| it.polls),
            "http": sum(|it| it.others),
        },
        "subscriptions": sum(|it| it.subscriptions),
        "topics": sum(|it| it.topics),
        "accepted": sum(|it| it.accepted),
        "publications": sum(|it| it.published),
        "deliveries": sum(|it| it.delivered),
        "missed": sum(|it| it.missed),
        "errors": sum(|it| it.faults),
        "bytes_in": sum(|it| it.machine.traffic.bytes_in),
        "bytes_out": sum(|it| it.machine.traffic.bytes_out),
        "outbound_bytes": sum(|it| it.outbound_bytes),
        "outbound_queues": sum(|it| it.outbound_queues),
        "history_bytes": sum(|it| it.history_bytes),
        "per_s": {
            "accepted": rate(|it| it.accepted),
            "publications": rate(|it| it.published),
            "deliveries": rate(|it| it.delivered),
            "bytes_in": rate(|it| it.machine.traffic.bytes_in),
            "bytes_out": rate(|it| it.machine.traffic.bytes_out),
            "syscalls": rate(Figures::syscalls),
            "turns": rate(|it| it.machine.turns.count()),
        },
        "busy_percent": (busy_us / 10 / shards_ms).min(100),
        "turn_us": times(pairs, |it| &it.machine.turns),
        "fanout_us": times(pairs, |it| &it.machine.fanouts),
        "canary_lag_ms": most(|it| it.canary_lag_ms),
        "canary_silence_ms": most(|it| it.canary_silence_ms),
    })
}

/// Percentiles of what came since, in microseconds; `null` if nothing did.
fn times(pairs: &[Pair<'_>], which: fn(&Figures) -> &Histogram) -> Value {
    let mut all = Histogram::default();
    for (now, before) in pairs {
        match before {
            Some(before) => all.add(&which(now).since(which(before))),
            None => all.add(which(now)),
        }
    }
    if all.count() == 0 {
        return Value::Null;
    }
    json!({ "p50": all.quantile_us(500), "p99": all.quantile_us(990), "max": all.quantile_us(1000) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn each_shard_has_its_part_and_the_total_is_their_sum() {
        let stats = object(&report(), None, 1000, 1_700_000_100);
        assert_eq!(stats["shards"].as_array().map(Vec::len), Some(3));
        assert!(stats["shards"][1].is_null(), "it did not answer");
        assert_eq!((&stats["shards"][0]["deliveries"], &stats["total"]["deliveries"]), (&1000.into(), &3000.into()));
        assert_eq!(stats["total"]["connections"]["websocket"], 30);
        assert_eq!((&stats["total"]["canary_lag_ms"], &stats["process"]["uptime_s"]), (&6.into(), &100.into()));
        assert_eq!(stats["total"]["per_s"]["deliveries"], 0, "nothing is known of before");
        assert_eq!(stats["shards"][0]["fanout_us"], Value::Null);
    }

    #[test]
    fn rates_and_times_are_those_since_the_last_report() {
        let (before, mut now) = (report(), report());
        let first = now.shards[0].as_mut().expect("it answered");
        first.delivered += 500;
        first.machine.turns.record(100_000);
        let stats = object(&now, Some(&before), 500, 1_700_000_000);
        assert_eq!(
            (&stats["shards"][0]["per_s"]["deliveries"], &stats["shards"][0]["busy_percent"]),
            (&1000.into(), &20.into())
        );
        assert_eq!(
            (&stats["total"]["per_s"]["deliveries"], &stats["total"]["busy_percent"]),
            (&1000.into(), &10.into())
        );
        assert_eq!(stats["shards"][0]["turn_us"]["p50"], 114_688, "the end of its bucket");
        assert_eq!(stats["shards"][2]["turn_us"], Value::Null);
    }
}
