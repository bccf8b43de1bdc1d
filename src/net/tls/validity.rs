//! From when until when a certificate is good: the one thing of it that rustls does not tell (RFC 5280 4.1.2.5).
//!
//! `wirefan check` asks for certificates that rustls has parsed already, to warn of those that clients will refuse. Walks
//! the DER down to the two times and knows nothing else of it; what it does not understand has no dates.

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from_unix_s: u64,
    pub(super) until_unix_s: u64,
}

impl Validity {
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (mut rest, _) = inside(certificate, SEQUENCE)?;
        let (mut signed, _) = inside(rest, SEQUENCE)?;
        // Version, if it is said; serial number, algorithm, issuer.
        let version = usize::from(signed.first() == Some(&VERSION));
        for _ in 0..version + 3 {
            signed = element(signed)?.2;
        }
        (rest, _) = inside(signed, SEQUENCE)?;
        let (tag, from, rest) = element(rest)?;
        let from_unix_s = unix_s(tag, from)?;
        let (tag, until, _) = element(rest)?;
        Some(Self { from_unix_s, until_unix_s: unix_s(tag, until)? })
    }

    /// The end of a sentence about the certificate, if there is something to warn of.
    pub(super) fn warning(self, now_unix_s: u64) -> Option<String> {
        let days = |seconds: u64| match seconds / DAY_S {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        if now_unix_s < self.from_unix_s {
            Some(format!("is not valid yet, but in {}", days(self.from_unix_s - now_unix_s)))
        } else if now_unix_s > self.until_unix_s {
            Some(format!("expired {} ago", days(now_unix_s - self.until_unix_s)))
        } else if self.until_unix_s - now_unix_s < WARN_DAYS * DAY_S {
            Some(format!("expires in {}", days(self.until_unix_s - now_unix_s)))
        } else {
            None
        }
    }
}

/// Tag, content, and what follows (X.690 8.1), where the length is definite and short enough.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

fn inside(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
fn unix_s(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let two = |at: usize| digits.get(at..at + 2).map(|pair| u64::from(pair[0] - b'0') * 10 + u64::from(pair[1] - b'0'));
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => (two(0).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        (GENERALIZED_TIME, 14) => (two(0)? * 100 + two(2)?, 4),
        _ => return None,
    };
    let (month, day) = (two(at)?, two(at + 2)?);
    let of_day = two(at + 4)? * 3600 + two(at + 6)? * 60 + two(at + 8)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || of_day >= DAY_S {
        return None;
    }
    Some(days_since_1970(year, month, day) * DAY_S + of_day)
}

/// The days before 1970 are all day 0: no certificate is that old.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Counted from 0000-03-01, as in `http::civil`.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.saturating_sub(719_468)
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const DAY_S: u64 = 86_400;

/// Who renews does it earlier.
const WARN_DAYS: u64 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn made(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn rfc5280_4_1_2_5_both_forms_of_time_are_read() {
        let day = |year, month, day| days_since_1970(year, month, day) * DAY_S;
        for (from, until) in
            [((1999, 12, 31), (2049, 12, 31)), ((2024, 2, 29), (2050, 1, 1)), ((1970, 1, 1), (4096, 3, 1))]
        {
            let date =
                |(year, month, of_month): (i32, u8, u8)| day(year.unsigned_abs().into(), month.into(), of_month.into());
            let expected = Validity { from_unix_s: date(from), until_unix_s: date(until) };
            assert_eq!(Validity::of(&made(from, until)), Some(expected), "{from:?} {until:?}");
        }
        for unix_s in [0, 951_782_400, 1_700_000_000, 4_102_444_800] {
            let (year, month, of_month) = crate::http::civil(unix_s / DAY_S);
            assert_eq!(day(year, month, of_month), unix_s / DAY_S * DAY_S);
        }
    }

    #[test]
    fn what_is_cut_or_changed_has_other_dates_or_none_and_never_a_panic() {
        let whole = made((2024, 1, 1), (2050, 1, 1));
        for len in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..len]), None, "{len}");
        }
        for at in 0..whole.len().min(200) {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let _ = Validity::of(&changed); // whatever it says, it says something
            }
        }
    }

    #[test]
    fn a_warning_comes_before_during_the_last_days_and_after() {
        let validity = Validity { from_unix_s: 100 * DAY_S, until_unix_s: 200 * DAY_S };
        for (now_unix_s, warning) in [
            (98 * DAY_S, Some("is not valid yet, but in 2 days")),
            (100 * DAY_S, None),
            (186 * DAY_S, None),
            (186 * DAY_S + 1, Some("expires in 13 days")),
            (200 * DAY_S, Some("expires in 0 days")),
            (201 * DAY_S + 1, Some("expired 1 day ago")),
        ] {
            assert_eq!(validity.warning(now_unix_s).as_deref(), warning, "{now_unix_s}");
        }
    }
}
