//! Numbers for people, in columns that stay where they are: three digits, a unit, ASCII alone.
//!
//! `page` writes every number through these. They are cut, not rounded, so that 999,999 never shows as 1000 k.

/// A count, 6 characters at most up to 999 T: `999`, `1.23 k`, `12.3 M`.
pub(super) fn count(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// Bytes, 8 characters at most: `999 B`, `1.23 KiB`, `1023 MiB`.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Microseconds, 7 characters at most up to 999 s: `85 us`, `1.23 ms`, `12.3 s`.
pub(super) fn time(us: u64) -> String {
    scaled(us, 1000, &["us", "ms", "s", "ks", "Ms", "Gs", "Ts"])
}

/// Milliseconds, as [`time`].
pub(super) fn milliseconds(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { time(ms.saturating_mul(1000)) }
}

/// How long something has been going on: `00:01:13`, `3d 04:12:09`.
pub(super) fn duration(s: u64) -> String {
    let clock = clock(s);
    if s < DAY_S { clock } else { format!("{}d {clock}", s / DAY_S) }
}

/// The time of day, UTC.
pub(super) fn clock(unix_s: u64) -> String {
    let s = unix_s % DAY_S;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

const DAY_S: u64 = 86_400;

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut unit, mut power) = (0, 1_u128);
    let number = u128::from(number);
    while number >= power * u128::from(step) && unit + 1 < units.len() {
        power *= u128::from(step);
        unit += 1;
    }
    let hundredths = number * 100 / power;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    let digits = match (unit, whole) {
        (0, _) | (_, 100..) => whole.to_string(),
        (_, 10..) => format!("{whole}.{}", rest / 10),
        _ => format!("{whole}.{rest:02}"),
    };
    format!("{digits} {}", units[unit]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let counts = [0, 999, 1000, 9_999, 12_345, 999_999, 1_234_567, u64::MAX].map(count);
        assert_eq!(counts, ["0", "999", "1.00 k", "9.99 k", "12.3 k", "999 k", "1.23 M", "18.4 E"]);
        let sizes = [0, 1023, 1024, 1024 * 1024 - 1, 5_000_000_000, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.00 KiB", "1023 KiB", "4.65 GiB", "15.9 EiB"]);
        assert_eq!([0, 85, 1_234, 12_345_678].map(time), ["0 us", "85 us", "1.23 ms", "12.3 s"]);
        assert_eq!([0, 1, 1_500].map(milliseconds), ["0 ms", "1 ms", "1.50 s"]);
        assert_eq!([73, 3 * DAY_S + 15_129].map(duration), ["00:01:13", "3d 04:12:09"]);
    }
}
