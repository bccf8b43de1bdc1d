//! The page at every width: nothing is longer than it, numbers have their places, what is wrong is said.

use super::page::{Page, lines};
use super::report::Report;

/// A report as the broker writes it, with `shards` cores.
fn report(shards: usize, deliveries: u64) -> Report {
    let part = format!(
        r#"{{"connections":{{"websocket":18446744073709,"events":2,"poll":3,"http":4}},"subscriptions":99999999,"topics":1234567,
        "accepted":12345,"publications":1234567,"deliveries":{deliveries},"missed":7,"errors":8,"bytes_in":1023,"bytes_out":1048575,
        "outbound_bytes":1047527424,"outbound_queues":12,"history_bytes":1048575,"per_s":{{"accepted":1,"publications":999999,
        "deliveries":123456789,"bytes_in":5,"bytes_out":1047527424,"syscalls":7,"turns":8}},"busy_percent":83,
        "turn_us":{{"p50":96,"p99":114688,"max":8000000}},"fanout_us":null,"canary_lag_ms":1,"canary_silence_ms":900,"later":[1]}}"#
    );
    let each = vec![part.as_str(); shards].join(",");
    let text = format!(
        r#"{{"unix_s":1700000000,"interval_ms":1000,"version":"0.1.0","shards":[{each},null],"total":{part},"process":{{"uptime_s":273129,
        "memory_bytes":20971520,"cpu_us":1500000,"context_switches":{{"voluntary":900,"involuntary":40}},"descriptors":31,
        "descriptors_max":null,"connections_max":1000000}}}}"#
    );
    serde_json::from_str(&text).expect("the shape of docs/protocol.md")
}

fn drawn(page: &Page<'_>, columns: usize, rows: Option<usize>) -> Vec<String> {
    lines(page, columns, rows).iter().map(|line| line.render(usize::MAX, false)).collect()
}

#[test]
fn a_page_has_room_in_80_columns_and_24_rows_and_more_in_more() {
    let (before, now) = (report(128, 1), report(128, 2));
    let page = Page { url: "ws://127.0.0.1:8080/ws", now: &now, before: Some(&before), gone: None };
    for (columns, rows) in [(80, 24), (100, 30), (160, 40), (240, 200)] {
        let drawn = drawn(&page, columns, Some(rows));
        assert!(drawn.len() <= rows, "{columns}x{rows}");
        for line in &drawn {
            assert!(line.chars().count() <= columns, "{columns}: {line:?}");
        }
        let cores = drawn.iter().filter(|line| line.contains("83%")).count();
        assert_eq!(cores, (rows - 16).min(128), "{columns}x{rows}");
        let heads = drawn.iter().find(|line| line.contains("shard  ")).expect("the head of the table");
        assert!(heads.contains("deliv/s") && heads.contains("queued"), "{heads}");
        assert_eq!(heads.contains("calls/s"), columns >= 159, "{heads}");
    }
    assert!(drawn(&page, 80, Some(24)).last().expect("lines").contains("and 121 more"));
}

#[test]
fn all_there_is_room_for_and_a_core_that_does_not_answer_says_so() {
    let now = report(1, 1_234);
    let page = Page { url: "ws://127.0.0.1:8080/ws", now: &now, before: None, gone: None };
    let drawn = drawn(&page, 80, None);
    let has = |words: &str| assert!(drawn.iter().any(|line| line.contains(words)), "{words}: {drawn:#?}");
    has("wirefan 0.1.0  ws://127.0.0.1:8080/ws");
    has("up 3d 03:52:09");
    has("22:13:20 UTC  1 of 2 shards did not answer");
    has("deliveries      1.23 k      123 M");
    has("descriptors        31");
    has("    1  did not answer");
    has("turn            96 us    114 ms    8.00 s");
    assert!(!drawn.iter().any(|line| line.contains("more")), "{drawn:#?}");
}

#[test]
fn rates_that_the_broker_does_not_give_are_those_since_the_report_before() {
    let (before, mut now) = (report(1, 1), report(1, 1));
    now.interval_ms = 500;
    now.total.missed += 20;
    now.process.cpu_us = Some(2_000_000);
    let why = "cannot connect to ws://h/ws: nobody listens there";
    let page = Page { url: "ws://h/ws", now: &now, before: Some(&before), gone: Some((12, why)) };
    let drawn = drawn(&page, 80, Some(24));
    let has = |words: &str| assert!(drawn.iter().any(|line| line.contains(words)), "{words}: {drawn:#?}");
    has("missed              27         40");
    has("cpu             100 %");
    has("gone for 12 s, trying again: nobody listens there");
}
