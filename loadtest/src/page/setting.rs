//! Where and how a run was made: the command line, the machine, its limits, the time.
//! The command line asks for it once; the page tells it.
//! Invariants: what cannot be read is left out; tokens in addresses are not told.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    /// As a shell would take it.
    pub(super) command: String,
    /// The day and minute, in UTC.
    pub(super) when: String,
    /// Names and values.
    pub(super) facts: Vec<(&'static str, String)>,
}

impl Setting {
    /// This process on this machine, now.
    pub(crate) fn here() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { command: command(std::env::args()), when: when(since.as_secs()), facts: facts() }
    }
}

/// The words of a command, quoted where a shell needs it, the program without its folder.
fn command(mut words: impl Iterator<Item = String>) -> String {
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let rest = words.map(|word| quoted(&masked(&word)));
    std::iter::once(program).chain(rest).collect::<Vec<_>>().join(" ")
}

/// A word without the tokens that an address may carry in its query.
fn masked(word: &str) -> String {
    let Some((address, query)) = word.split_once('?') else {
        return word.to_owned();
    };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if name.contains("token") || name.contains("key") || name.contains("secret") => {
            format!("{name}=...")
        }
        _ => part.to_owned(),
    });
    format!("{address}?{}", parts.collect::<Vec<_>>().join("&"))
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,=@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `2026-11-30 20:15 UTC` of seconds since 1970, by the civil calendar.
fn when(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since the first of March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

fn facts() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let kernel = read("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}"));
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let memory = read("/proc/meminfo").and_then(|text| {
        let kib: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(super::spelled(kib * 1_024.0, "bytes"))
    });
    let ports = read("/proc/sys/net/ipv4/ip_local_port_range").map(|text| text.replace(['\t', ' '], " to "));
    let backlog = read("/proc/sys/net/core/somaxconn");
    let load = read("/proc/loadavg").map(|text| text.split(' ').take(3).collect::<Vec<_>>().join(", "));
    let descriptors = rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| super::counted(soft as f64));
    let cores = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let all = [
        ("kernel", kernel),
        ("processor", cpu),
        ("cores", cores.map(|cores| format!("{} (numbers of those that are online)", cores.trim()))),
        ("memory", memory),
        ("open files", descriptors.map(|count| format!("{count} at most per process"))),
        ("ports", ports.map(|range| format!("{range} for each source address (net.ipv4.ip_local_port_range)"))),
        ("accept queue", backlog.map(|length| format!("{length} connections at most (net.core.somaxconn)"))),
        ("load average", load.map(|load| format!("{load} at the end, over 1, 5 and 15 minutes"))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, told) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_709_208_000, "2024-02-29 12:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(when(seconds), told);
        }
    }

    #[test]
    fn a_command_can_be_pasted_and_gives_no_token_away() {
        let words =
            ["/a/b/wirefan-loadtest", "fanout", "--url", "ws://127.0.0.1:1/ws?access_token=s3cr3t&a=b", "it's", ""];
        let told = command(words.into_iter().map(str::to_owned));
        assert_eq!(told, r"wirefan-loadtest fanout --url 'ws://127.0.0.1:1/ws?access_token=...&a=b' 'it'\''s' ''");
    }

    #[test]
    fn this_machine_has_a_kernel_and_cores() {
        let setting = Setting::here();
        let names: Vec<&str> = setting.facts.iter().map(|fact| fact.0).collect();
        assert!(names.contains(&"kernel") && names.contains(&"cores") && names.contains(&"open files"), "{names:?}");
    }
}
