//! The Date header's value, formatted once a second (RFC 9110 5.6.7 and 6.6.1).
//!
//! `net` tells the time, whoever answers keeps one [`Date`] per shard and writes it into every response.

/// A time in the form `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    unix_s: u64,
    /// The whole line of the header, as every response has it.
    line: [u8; NAME.len() + TEXT_BYTES + END.len()],
}

impl Date {
    /// `unix_s`: seconds since 1970-01-01 00:00:00 UTC. What is later than the year 9999 is shown as its last second.
    #[must_use]
    pub fn new(unix_s: u64) -> Self {
        let mut line = [0; _];
        line[..NAME.len()].copy_from_slice(NAME);
        line[NAME.len()..][..TEXT_BYTES].copy_from_slice(&format(unix_s.min(UNIX_S_MAX)));
        line[NAME.len() + TEXT_BYTES..].copy_from_slice(END);
        Self { unix_s, line }
    }

    /// Moves to another time; costs nothing within the same second.
    pub fn set(&mut self, unix_s: u64) {
        if unix_s != self.unix_s {
            *self = Self::new(unix_s);
        }
    }

    /// The header's value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.line[NAME.len()..][..TEXT_BYTES]
    }

    /// The header, with its name and the end of its line.
    pub(super) fn as_line(&self) -> &[u8] {
        &self.line
    }
}

const NAME: &[u8] = b"Date: ";
const TEXT_BYTES: usize = 29;
const END: &[u8] = b"\r\n";

fn format(unix_s: u64) -> [u8; TEXT_BYTES] {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    let name = |names: &[u8], index: u64| -> [u8; 3] {
        let at = usize::try_from(index).map_or(0, |index| index * 3);
        [names[at], names[at + 1], names[at + 2]]
    };
    // 1970-01-01 was a Thursday.
    text[..3].copy_from_slice(&name(DAYS, days % 7));
    two_digits(&mut text, 5, day);
    text[8..11].copy_from_slice(&name(MONTHS, month - 1));
    two_digits(&mut text, 12, year / 100);
    two_digits(&mut text, 14, year % 100);
    two_digits(&mut text, 17, second / 3600);
    two_digits(&mut text, 20, second / 60 % 60);
    two_digits(&mut text, 23, second % 60);
    text
}

fn two_digits(text: &mut [u8; TEXT_BYTES], at: usize, value: u64) {
    let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or(0);
    (text[at], text[at + 1]) = (digit(value / 10), digit(value));
}

/// Year, month 1..=12 and day 1..=31 of the Gregorian calendar, from days since 1970-01-01.
#[must_use]
pub fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that a leap day is the last of its year; 400 years are always 146,097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on have 153 days, whichever five.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const DAYS: &[u8] = b"ThuFriSatSunMonTueWed";
const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// 9999-12-31 23:59:59.
const UNIX_S_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(unix_s: u64) -> String {
        String::from_utf8(Date::new(unix_s).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn rfc9110_5_6_7_dates() {
        for (unix_s, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (978_307_199, "Sun, 31 Dec 2000 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (UNIX_S_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(shown(unix_s), date);
        }
    }

    #[test]
    fn every_day_of_800_years_follows_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, month) = if day == last { (1, month + 1) } else { (day + 1, month) };
            (month, year) = if month == 13 { (1, year + 1) } else { (month, year) };
        }
    }

    #[test]
    fn a_date_moves_with_the_second() {
        let mut date = Date::new(784_111_777);
        date.set(784_111_777);
        assert_eq!(date, Date::new(784_111_777));
        date.set(784_111_778);
        assert_eq!(date, Date::new(784_111_778));
        assert_eq!(date.as_line(), b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
    }
}
