//! Offers of permessage-deflate, clause by clause (RFC 7692 5 and 7.1), and their grammar (RFC 6455 9.1).

use super::*;

/// What is answered to these headers: the parameters behind those that always are, or that nothing is agreed.
fn answer(values: &[&str]) -> Result<Option<String>, Malformed> {
    let agreed = agree(values.iter().map(|value| value.as_bytes()))?;
    Ok(agreed.map(|agreement| {
        let mut out = Vec::new();
        agreement.respond(&mut out);
        let header = String::from_utf8(out).unwrap();
        let always =
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        header.strip_prefix(always).unwrap().to_owned()
    }))
}

fn assert_agreed(value: &str, parameters: &str) {
    assert_eq!(answer(&[value]), Ok(Some(parameters.to_owned())), "{value}");
}

fn assert_declined(value: &str) {
    assert_eq!(answer(&[value]), Ok(None), "{value}");
    // RFC 7692 5.1: the next offer is looked at.
    assert_agreed(&format!("{value}, permessage-deflate"), "");
}

#[test]
fn s7_1_an_offer_is_answered_without_context_takeover_in_either_direction() {
    for value in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate;client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; client_max_window_bits = 15",
        "permessage-deflate; client_max_window_bits=\"12\"",
        "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
        ",, permessage-deflate ,",
    ] {
        assert_agreed(value, "");
    }
}

#[test]
fn s7_1_2_1_a_window_that_can_be_kept_is_answered_with() {
    for bits in 9..=15 {
        assert_agreed(
            &format!("permessage-deflate; server_max_window_bits={bits}"),
            &format!("; server_max_window_bits={bits}"),
        );
        let agreed = agree([&b"permessage-deflate; server_max_window_bits="[..]].into_iter());
        assert_eq!(agreed, Err(Malformed), "a value is missing behind its sign");
    }
    assert_agreed(r#"permessage-deflate; server_max_window_bits="1\2""#, "; server_max_window_bits=12");
    let bits = |value: &str| agree([value.as_bytes()].into_iter()).unwrap().unwrap().server_window_bits();
    assert_eq!(bits("permessage-deflate; server_max_window_bits=12"), 12);
    assert_eq!(bits("permessage-deflate"), 15);
}

#[test]
fn s5_1_an_offer_with_a_parameter_that_cannot_be_kept_is_declined_and_the_next_one_tried() {
    for value in [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=012",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=900000000000000000000",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=12",
        "permessage-deflate; server_max_window_bits=12; server_max_window_bits=12",
        "permessage-deflate; Client_Max_Window_Bits",
        "permessage-deflate; level=9",
        "permessage-bzip2; client_max_window_bits",
        "Permessage-deflate",
        "permessage-deflate2",
        "foo; bar=\"a\"",
    ] {
        assert_declined(value);
    }
    assert_eq!(answer(&[]), Ok(None));
    assert_eq!(answer(&[""]), Ok(None));
}

#[test]
fn s5_1_the_first_offer_that_can_be_kept_wins_over_all_headers() {
    let nine = "permessage-deflate; server_max_window_bits=9";
    let ten = "permessage-deflate; server_max_window_bits=10";
    let eight = "permessage-deflate; server_max_window_bits=8";
    for values in [&[eight, nine, ten][..], &[&format!("{eight}, {nine}"), ten], &["foo", nine], &["", nine, eight]] {
        assert_eq!(answer(values), Ok(Some("; server_max_window_bits=9".into())), "{values:?}");
    }
}

#[test]
fn s6455_9_1_what_is_no_list_of_extensions_is_malformed_wherever_it_stands() {
    for value in [
        ";",
        "permessage-deflate;",
        "permessage-deflate; ; client_max_window_bits",
        "permessage-deflate; =8",
        "permessage-deflate client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8 9",
        "permessage-deflate; client_max_window_bits==8",
        "permessage-deflate; client_max_window_bits=\"8",
        "permessage-deflate; client_max_window_bits=\"8\\",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; client_max_window_bits=\"8 9\"",
        "permessage-deflate; client_max_window_bits=\"8\"9",
        "permessage-deflate; client_max_window_bits=8\"",
        "per/message",
        "\"permessage-deflate\"",
        "permessage-deflate; caf\u{e9}",
    ] {
        assert_eq!(answer(&[value]), Err(Malformed), "{value}");
        assert_eq!(answer(&[&format!("permessage-deflate, {value}")]), Err(Malformed), "{value} behind a good one");
        assert_eq!(answer(&["permessage-deflate", value]), Err(Malformed), "{value} in a header of its own");
    }
}

#[test]
fn s7_1_an_answer_has_to_promise_what_was_offered_and_may_not_ask_for_more() {
    let promise = "permessage-deflate; server_no_context_takeover";
    for (value, good) in [
        (promise.to_owned(), true),
        (format!("{promise}; client_no_context_takeover"), true),
        (format!("{promise}; server_max_window_bits=10"), true),
        (format!("{promise}; client_max_window_bits=10"), false),
        (format!("{promise}; server_max_window_bits"), false),
        (format!("{promise}; x=1"), false),
        (format!("{promise}, {promise}"), false),
        (format!("{promise} x"), false),
        ("permessage-deflate".into(), false),
        ("permessage-bzip2; server_no_context_takeover".into(), false),
        (";".into(), false),
    ] {
        assert_eq!(is_answer(value.as_bytes()), good, "{value}");
    }
}
