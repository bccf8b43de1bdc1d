//! The `slow` of the command line: its flags, and the rounds that they ask for.
//! `cli::run` calls `run`.
//! Refuses shares that leave nobody healthy or nobody slow, and keys that nothing looks at.

use std::time::Duration;

use clap::{Args, ValueEnum};
use wirefan::rules::Overflow;

use super::pacing::Reach;
use super::{Failure, ServerArguments, Start, positive, seconds};
use crate::envelope::PAYLOAD_BYTES_MIN;
use crate::report::{self, Progress};
use crate::scenario::publishing::Pace;
use crate::scenario::slow_readers::Manner;
use crate::scenario::{fanout, slow};
use crate::spawn::{AROUND_BYTES, Configuration};

/// What else may lie unread before a slow reader's close, in bytes: what the server's kernel holds unsent, and frames.
const UNREAD_SLACK: u64 = 32 * 1024;
/// What a kernel may hold for one connection when it chooses itself, in bytes.
const KERNEL_BUFFER_BYTES: u64 = 1024 * 1024;

#[derive(Args)]
pub(super) struct Slow {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    reach: Reach,
    /// Connections that subscribe to one topic, slow ones included.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    subscribers: u32,
    /// The part of them that is slow.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    slow_share: f64,
    /// Bytes per second that each slow one reads [default: it reads nothing].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(10..))]
    read_bytes_per_second: Option<u32>,
    /// What the started wirefan's rule does with who is too slow.
    #[arg(long, value_enum, default_value_t = Rule::Disconnect)]
    overflow: Rule,
    /// The publisher gives each publication one of so many `conflate` keys, in turn: the newest of each has to come.
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    keys: u32,
    /// Bytes that may wait for a connection in the started wirefan (`limits.outbound_bytes_max`).
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(4_096..=1_073_741_824))]
    outbound_bytes: u32,
    /// Receive buffer of each slow one; 0: the kernel's own choice.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    receive_buffer: u32,
    /// Bytes of the published JSON value.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=1_000_000))]
    payload_bytes: u32,
    /// Publications per second, whatever the server does.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    rate: f64,
    /// Length of the measured stretch.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    duration_s: f64,
    /// Length of the stretch before it, in which the slow ones fall behind: verified, not measured.
    #[arg(long, default_value_t = 8.0, value_parser = seconds)]
    warmup_s: f64,
    /// Rounds of a run with slow ones and one without.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Rule {
    /// It is closed with 4008.
    Disconnect,
    /// Its oldest waiting publications are dropped, and told by a `gap`.
    DropOldest,
    /// Only the newest waits, of each `conflate` key if there are any; the others are told by a `gap`.
    Latest,
}

impl Rule {
    fn overflow(self) -> (Overflow, &'static str) {
        match self {
            Self::Disconnect => (Overflow::Disconnect, "disconnect"),
            Self::DropOldest => (Overflow::DropOldest, "drop_oldest"),
            Self::Latest => (Overflow::Latest, "latest"),
        }
    }
}

impl Slow {
    fn shape(&self, start: &Start<'_>, subscribers: usize) -> Result<slow::Shape, Failure> {
        let slow = (subscribers as f64 * self.slow_share).round() as usize;
        if slow == 0 || slow >= subscribers {
            return Err(Failure::Usage(format!(
                "{slow} of {subscribers} subscribers are slow: one of each kind is needed"
            )));
        }
        if self.keys > 0 && self.overflow != Rule::Latest {
            return Err(Failure::Usage("--keys means something with --overflow latest only".to_owned()));
        }
        if self.payload_bytes.saturating_add(2 * AROUND_BYTES) > self.outbound_bytes {
            return Err(Failure::Usage(format!(
                "{} bytes do not fit into --outbound-bytes {}",
                self.payload_bytes, self.outbound_bytes
            )));
        }
        let fanout = fanout::Shape {
            payload_bytes: self.payload_bytes as usize,
            pace: Pace::Rate(self.rate),
            warmup: Duration::from_secs_f64(self.warmup_s),
            length: Duration::from_secs_f64(self.duration_s),
            others: slow,
            conflate_keys: self.keys,
            ..start.shape(&self.reach, subscribers - slow)
        };
        // The kernel doubles what it is asked for.
        let buffer = if self.receive_buffer == 0 { KERNEL_BUFFER_BYTES } else { 2 * u64::from(self.receive_buffer) };
        let manner = Manner {
            bytes_per_second: self.read_bytes_per_second,
            receive_buffer: (self.receive_buffer > 0).then_some(self.receive_buffer as usize),
            overflow: self.overflow.overflow().0,
            unread_bytes_max: u64::from(self.outbound_bytes) + buffer + UNREAD_SLACK,
        };
        Ok(slow::Shape { fanout, manner })
    }
}

/// Runs the rounds. `Ok(false)` when they ended but not everything was right.
pub(super) fn run(arguments: &Slow) -> Result<bool, Failure> {
    let mut start = Start::of(&arguments.server, 1)?;
    let subscribers = start.fit(arguments.subscribers, 1, "subscribers")?;
    let shape = arguments.shape(&start, subscribers)?;
    let Start { placement, mut notes, .. } = start;
    let output = arguments.server.output()?;
    let json = output.json;
    let progress = Progress::new(json);
    let (_, rule) = arguments.overflow.overflow();
    let configuration = Configuration::overflowing(rule, arguments.outbound_bytes)?;
    let whose = if arguments.server.url.is_some() { "The server has to have" } else { "The server has" };
    let bytes = arguments.outbound_bytes;
    notes.push(format!("{whose} overflow = {rule:?} and at most {bytes} bytes waiting for a connection."));
    let broker = arguments.server.broker(Some(configuration))?;
    let rounds = slow::run(&shape, &broker, &placement, arguments.rounds, &progress)?;
    progress.end();
    let passed = report::slow(&shape, &rounds, &notes, json);
    output.page_of_comparison(|| report::slow_comparison(&shape, &rounds, &notes))?;
    Ok(passed)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("a number between 0 and 1 is needed: 0.1 is a tenth of them".into()),
    }
}
