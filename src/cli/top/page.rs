//! The page: what a report says, as lines of at most a given width.
//!
//! `top` asks for one each second and knows of no column; this knows of no terminal. Above stand the totals with their rates
//! and what waits, below the cores side by side, in as many columns as the width has room for. Every number has its place,
//! so that nothing moves but digits.

use super::figure::{bytes, clock, count, duration, milliseconds, time};
use super::line::{Line, Tone};
use super::report::{Part, Report, Times};

/// What is to be shown.
pub(super) struct Page<'a> {
    pub(super) url: &'a str,
    pub(super) now: &'a Report,
    /// The report before, of the same broker.
    pub(super) before: Option<&'a Report>,
    /// For how many seconds the broker has been gone, and why.
    pub(super) gone: Option<(u64, &'a str)>,
}

/// The lines: at most `rows` of them, if that is given, of `columns` at most.
pub(super) fn lines(page: &Page<'_>, columns: usize, rows: Option<usize>) -> Vec<Line> {
    let mut lines = vec![title(page, columns), state(page)];
    let flows = flows(page.now, page.before).into_iter();
    lines.extend(flows.zip(levels(page)).map(|(left, right)| left.pad(LEVELS_AT).join(right)));
    lines.push(Line::default());
    let room = rows.map_or(usize::MAX, |rows| rows.saturating_sub(lines.len()));
    lines.extend(shards(&page.now.shards, columns, room));
    lines.truncate(rows.unwrap_or(usize::MAX));
    lines
}

fn title(page: &Page<'_>, columns: usize) -> Line {
    let up = format!("  up {}", duration(page.now.process.uptime_s));
    let left = Line::of(Tone::Bold, format!("wirefan {}", page.now.version));
    let room = columns.saturating_sub(left.width() + up.len() + 2);
    let url: String = page.url.chars().take(room).collect();
    left.and(Tone::Plain, "  ").and(Tone::Plain, url).pad(columns.saturating_sub(up.len())).and(Tone::Plain, up)
}

/// The line below the title: what is wrong, or the time.
fn state(page: &Page<'_>) -> Line {
    if let Some((s, why)) = page.gone {
        // Most reasons begin with the address, which stands above.
        let why = why.split_once(&format!("{}: ", page.url)).map_or(why, |(_, reason)| reason);
        return Line::of(Tone::Alarm, format!("gone for {s} s, trying again: {why}"));
    }
    let total = &page.now.total;
    let absent = page.now.shards.iter().filter(|shard| shard.is_none()).count();
    let time = Line::of(Tone::Dim, format!("{} UTC", clock(page.now.unix_s)));
    match total.canary_silence_ms {
        _ if absent > 0 => {
            time.and(Tone::Alarm, format!("  {absent} of {} shards did not answer", page.now.shards.len()))
        }
        Some(ms @ SILENCE_MS..) => {
            time.and(Tone::Alarm, format!("  a shard has not been heard of for {}", milliseconds(ms)))
        }
        _ => time,
    }
}

/// Totals with their rates.
fn flows(now: &Report, before: Option<&Report>) -> Vec<Line> {
    let (total, rates) = (&now.total, &now.total.per_s);
    let missed = now.rate(before, |it| it.total.missed);
    let errors = now.rate(before, |it| it.total.errors);
    let bad = |rate| if rate > 0 { Tone::Warn } else { Tone::Plain };
    let row = |name: &str, tone, sum: String, rate: String| {
        Line::of(Tone::Dim, format!("{name:<12}")).right(tone, 10, &sum).right(tone, 11, &rate)
    };
    let plain = Tone::Plain;
    vec![
        Line::of(Tone::Dim, format!("{:<12}{:>10}{:>11}", "", "total", "per second")),
        row("publications", plain, count(total.publications), count(rates.publications)),
        row("deliveries", plain, count(total.deliveries), count(rates.deliveries)),
        row("received", plain, bytes(total.bytes_in), bytes(rates.bytes_in)),
        row("sent", plain, bytes(total.bytes_out), bytes(rates.bytes_out)),
        row("accepted", plain, count(total.accepted), count(rates.accepted)),
        row("missed", bad(missed), count(total.missed), count(missed)),
        row("errors", bad(errors), count(total.errors), count(errors)),
        row("system calls", plain, String::new(), count(rates.syscalls)),
        row("turns", plain, String::new(), count(rates.turns)),
        Line::default(),
    ]
}

/// What there is now: connections, memory, queues, times.
fn levels(page: &Page<'_>) -> Vec<Line> {
    let Report { total, process, .. } = page.now;
    let all = &total.connections;
    let used = |some: Option<u64>, most: Option<u64>| match (some, most) {
        (Some(some), Some(most)) if some >= most / 10 * 9 => Tone::Alarm,
        _ => Tone::Plain,
    };
    let known = |value: Option<u64>, show: fn(u64) -> String| value.map_or_else(|| "-".to_owned(), show);
    let cpu_us = |it: &Report| it.process.cpu_us.unwrap_or(0);
    let cpu = format!("{} %", page.now.rate(page.before, cpu_us) / 10_000);
    let pair = |left: &str, first: String, right: &str, second: String| {
        named(left).right(Tone::Plain, 9, &first).and(Tone::Dim, format!("  {right:<12}")).right(
            Tone::Plain,
            9,
            &second,
        )
    };
    let slow = total.canary_lag_ms.is_some_and(|ms| ms >= LAG_MS);
    vec![
        named("connections")
            .right(used(Some(all.sum()), Some(process.connections_max)), 9, &count(all.sum()))
            .and(Tone::Dim, format!("  of {}", count(process.connections_max))),
        pair(" websocket", count(all.websocket), "events", count(all.events)),
        pair(" polls", count(all.poll), "http", count(all.http)),
        pair("subscribed", count(total.subscriptions), "topics", count(total.topics)),
        pair("memory", known(process.memory_bytes, bytes), "history", bytes(total.history_bytes)),
        pair("queued", bytes(total.outbound_bytes), "queues", count(total.outbound_queues)),
        named("cpu").right(Tone::Plain, 9, &cpu).and(Tone::Dim, format!("  {:<12}", "descriptors")).right(
            used(process.descriptors, process.descriptors_max),
            9,
            &known(process.descriptors, count),
        ),
        named("canary lag")
            .right(if slow { Tone::Warn } else { Tone::Plain }, 9, &known(total.canary_lag_ms, milliseconds))
            .and(Tone::Dim, format!("  {:<12}", "silence"))
            .right(Tone::Plain, 9, &known(total.canary_silence_ms, milliseconds)),
        named("").and(Tone::Dim, format!("{:>9}{:>10}{:>10}", "p50", "p99", "max")),
        times("turn", total.turn_us.as_ref()),
        times("fan-out", total.fanout_us.as_ref()),
    ]
}

fn named(name: &str) -> Line {
    Line::of(Tone::Dim, format!("{name:<12}"))
}

fn times(name: &str, times: Option<&Times>) -> Line {
    let show = |which: fn(&Times) -> u64| times.map_or_else(|| "-".to_owned(), |times| time(which(times)));
    let (p50, p99, max) = (show(|it| it.p50), show(|it| it.p99), show(|it| it.max));
    named(name).right(Tone::Plain, 9, &p50).right(Tone::Plain, 10, &p99).right(Tone::Plain, 10, &max)
}

/// The cores, in at most `room` lines.
fn shards(shards: &[Option<Part>], columns: usize, room: usize) -> Vec<Line> {
    let shown = fitting(columns);
    let heads = shown.iter().fold(String::new(), |heads, column| heads + &format!("{:>1$}", column.head, column.width));
    let mut lines = vec![Line::of(Tone::Dim, heads)];
    let fit = if shards.len() < room { shards.len() } else { room.saturating_sub(2) };
    for (number, part) in shards.iter().enumerate().take(fit) {
        let Some(part) = part else {
            let absent = Line::default().right(Tone::Bold, COLUMNS[0].width, &number.to_string());
            lines.push(absent.and(Tone::Alarm, "  did not answer"));
            continue;
        };
        let cell = |line: Line, column: &&Column| {
            let (tone, text) = (column.cell)(number, part);
            line.right(tone, column.width, &text)
        };
        lines.push(shown.iter().fold(Line::default(), cell));
    }
    if fit < shards.len() {
        lines.push(Line::of(Tone::Dim, format!("and {} more, in a higher window", shards.len() - fit)));
    }
    lines
}

/// The most important columns that there is room for, in the order in which they stand.
fn fitting(columns: usize) -> Vec<&'static Column> {
    let mut by_rank: Vec<&Column> = COLUMNS.iter().collect();
    by_rank.sort_by_key(|column| column.rank);
    let mut left = columns;
    let fits = by_rank.into_iter().take_while(|column| {
        let fits = column.width <= left;
        left = left.saturating_sub(column.width);
        fits
    });
    let least = fits.last().map_or(0, |column| column.rank);
    COLUMNS.iter().filter(|column| column.rank <= least).collect()
}

/// A column of the cores' table.
struct Column {
    head: &'static str,
    /// With the gap before it.
    width: usize,
    /// From 0, all different: a narrow page has the low ones only.
    rank: u8,
    cell: fn(usize, &Part) -> (Tone, String),
}

const fn column(head: &'static str, width: usize, rank: u8, cell: fn(usize, &Part) -> (Tone, String)) -> Column {
    Column { head, width, rank, cell }
}

/// Widths hold the widest number that the cell can have, and a gap.
const COLUMNS: [Column; 19] = [
    column("shard", 5, 0, |number, _| (Tone::Bold, number.to_string())),
    column("busy", 6, 1, |_, it| (busy_tone(it), format!("{}%", it.busy_percent))),
    column("", 12, 14, |_, it| (busy_tone(it), format!("{:<10}", "#".repeat(tenths(it.busy_percent))))),
    column("conns", 8, 2, |_, it| plain(count(it.connections.sum()))),
    column("subs", 8, 4, |_, it| plain(count(it.subscriptions))),
    column("topics", 8, 8, |_, it| plain(count(it.topics))),
    column("acc/s", 8, 13, |_, it| plain(count(it.per_s.accepted))),
    column("pub/s", 8, 3, |_, it| plain(count(it.per_s.publications))),
    column("deliv/s", 9, 5, |_, it| plain(count(it.per_s.deliveries))),
    column("in/s", 10, 10, |_, it| plain(bytes(it.per_s.bytes_in))),
    column("out/s", 10, 9, |_, it| plain(bytes(it.per_s.bytes_out))),
    column("queued", 10, 6, |_, it| plain(bytes(it.outbound_bytes))),
    column("history", 10, 11, |_, it| plain(bytes(it.history_bytes))),
    column("turn99", 9, 15, |_, it| plain(p99(it.turn_us.as_ref()))),
    column("fan-out99", 11, 7, |_, it| plain(p99(it.fanout_us.as_ref()))),
    column("canary", 9, 12, |_, it| lag(it)),
    column("silence", 9, 16, |_, it| plain(it.canary_silence_ms.map_or_else(|| "-".to_owned(), milliseconds))),
    column("calls/s", 9, 17, |_, it| plain(count(it.per_s.syscalls))),
    column("turns/s", 9, 18, |_, it| plain(count(it.per_s.turns))),
];

fn plain(text: String) -> (Tone, String) {
    (Tone::Plain, text)
}

fn p99(times: Option<&Times>) -> String {
    times.map_or_else(|| "-".to_owned(), |times| time(times.p99))
}

fn lag(part: &Part) -> (Tone, String) {
    let tone = if part.canary_lag_ms.is_some_and(|ms| ms >= LAG_MS) { Tone::Warn } else { Tone::Plain };
    (tone, part.canary_lag_ms.map_or_else(|| "-".to_owned(), milliseconds))
}

fn busy_tone(part: &Part) -> Tone {
    match part.busy_percent {
        95.. => Tone::Alarm,
        80.. => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn tenths(percent: u64) -> usize {
    usize::try_from(percent.min(100).div_ceil(10)).unwrap_or(0)
}

/// Where the right half begins.
const LEVELS_AT: usize = 36;

/// What the alerts of docs/operating.md call a slow canary and a silent core.
const LAG_MS: u64 = 100;
const SILENCE_MS: u64 = 3000;
