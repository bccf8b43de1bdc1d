//! Numbers and names in words: how a value is spelled with its unit, and what a figure means to somebody who was not there.
//! Every part of the page asks here, so that a figure has one spelling and one explanation.
//! Invariants: three or four digits that count; a name that is not known has no explanation rather than a wrong one.

/// A value with its unit, as text has it.
pub(super) fn spelled(value: f64, unit: &str) -> String {
    match unit {
        "ns" => time(value, 3),
        "bytes" => bytes(value, 3),
        "per second" => format!("{} / s", counted(value)),
        unit if unit.starts_with('%') => format!("{} {unit}", counted(value)),
        "" => counted(value),
        unit => format!("{} {unit}", counted(value)),
    }
}

/// A value at an axis: round, so short.
pub(super) fn short(value: f64, unit: &str) -> String {
    match unit {
        "ns" => time(value, 1),
        "bytes" => bytes(value, 1),
        unit if unit.starts_with('%') => format!("{} %", plain(value, 1)),
        _ => match value.abs() {
            size if size >= 1e9 => format!("{} G", plain(value / 1e9, 1)),
            size if size >= 1e6 => format!("{} M", plain(value / 1e6, 1)),
            size if size >= 1e4 => format!("{} k", plain(value / 1e3, 1)),
            _ => plain(value, 1),
        },
    }
}

/// A duration of so many nanoseconds.
pub(super) fn time(ns: f64, digits: usize) -> String {
    let (value, unit) = match ns.abs() {
        size if size < 1e3 => (ns, "ns"),
        size if size < 1e6 => (ns / 1e3, "µs"),
        size if size < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", plain(value, digits))
}

fn bytes(value: f64, digits: usize) -> String {
    let (value, unit) = match value.abs() {
        size if size < 1_024.0 => (value, "B"),
        size if size < 1_048_576.0 => (value / 1_024.0, "KiB"),
        size if size < 1_073_741_824.0 => (value / 1_048_576.0, "MiB"),
        _ => (value / 1_073_741_824.0, "GiB"),
    };
    format!("{} {unit}", plain(value, digits))
}

/// So many digits that count, or as many as it has before the point; without zeros at the end.
fn plain(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let before = if value.abs() < 1.0 { 1 } else { value.abs().log10().floor() as usize + 1 };
    let after = digits.max(2).saturating_sub(before);
    let text = format!("{value:.after$}");
    if after == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A count with its thousands apart; what is small and no whole number, with three digits.
pub(super) fn counted(value: f64) -> String {
    if value.fract() != 0.0 && value.abs() < 100.0 {
        return plain(value, 3);
    }
    if !value.is_finite() {
        return "?".to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// What a distribution, a curve or a figure means.
pub(super) fn meaning(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

const KNOWN: [(&str, &str); 37] = [
    ("every delivery", "All deliveries to all subscribers."),
    ("first subscriber", "For each publication, the subscriber that got it before all others."),
    ("median subscriber", "For each publication, the subscriber in the middle: half had it before, half after."),
    ("last subscriber", "For each publication, the subscriber that got it after all others: when everybody had it."),
    (
        "sent late by the load generator",
        "How long after its intended moment a publication left this program. It is part of all other latencies; if it is large, the load generator was the bottleneck, not the server.",
    ),
    ("sent late p99", "99 of 100 publications left the load generator within this time after they were due."),
    ("ack", "From the start of the connect until the server confirmed the subscription."),
    ("last replayed publication", "From the start of the connect until everything that was missed had come."),
    ("deliveries", "Publications that arrived at subscribers."),
    ("publications", "What was published. Each becomes as many deliveries as its topic has subscribers."),
    ("publications per second", "What was published, per second of the clock."),
    ("server CPU", "CPU time of the server per second of the clock; 100 % is one core fully busy."),
    ("server resident memory", "Memory of the server that is in RAM, shared pages included."),
    ("last subscriber, median", "Half of the publications of this moment were with everybody within this time."),
    ("last subscriber, 99 %", "99 of 100 publications of this moment were with everybody within this time."),
    ("last subscriber, slowest", "The publication of this moment that took longest until everybody had it."),
    ("achieved", "What was published and delivered to everybody, at each rate that was offered."),
    (
        "knee: publications per second that held",
        "The highest rate that was achieved as it was offered, with everything delivered and the last subscriber in time. Latencies and costs on this page are those at this rate.",
    ),
    ("resets", "Connections of subscribers that were cut off on purpose."),
    ("resets per second", "Connections of subscribers that were cut off on purpose, per second."),
    ("recovered", "Returns that were told that everything since follows, and got it."),
    (
        "replayed deliveries",
        "Publications that subscribers missed while they were away, and were sent when they came back.",
    ),
    ("server memory before the storm (PSS)", "With everybody connected and nobody cut off yet."),
    ("CPU time", "Time on a processor, of all threads, in the program and in the kernel on its behalf."),
    ("share of a core", "CPU time over the time on the clock. Near 100 % a single thread is at its limit."),
    (
        "units per CPU second",
        "How much one second of CPU time buys. On a shared machine this holds better than what was reached per second on the clock.",
    ),
    ("CPU per unit", "The same the other way around: what one costs."),
    ("voluntary switches", "How often a thread went to sleep because there was nothing to do."),
    (
        "involuntary switches",
        "How often a thread was interrupted for another. Many of them say that the machine was shared, and that latencies are worse than the server alone would have them.",
    ),
    ("system calls", "Requests of the server to the kernel, as it counts them itself, and how many for each."),
    ("memory (PSS)", "RAM of the server at the end, each shared page divided by the number of its users."),
    ("memory (RSS)", "RAM of the server at the end, shared pages included."),
    ("server memory (PSS)", "RAM of the server, each shared page divided by the number of its users."),
    (
        "kernel memory",
        "What the kernel holds for sockets and the like on the whole machine: both ends of each connection are on it.",
    ),
    (
        "server memory per connection",
        "The slope of the server's memory over the number of connections: what one more costs.",
    ),
    (
        "kernel memory per connection, both ends",
        "The slope of the kernel's memory; a server on a machine of its own would see about half.",
    ),
    (
        "server CPU to connect and subscribe",
        "CPU time of the server for each connection that came, from accept to the last subscription.",
    ),
];
