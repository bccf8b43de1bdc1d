//! How much is published, and when: flags that all scenarios with publications share.
//! `fanout`, `rooms` and `mixed` flatten them into theirs.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::{Start, positive, seconds};
use crate::envelope::PAYLOAD_BYTES_MIN;
use crate::scenario::fanout::Shape;
use crate::scenario::publishing::Pace;

#[derive(Args)]
#[group(skip)]
#[command(group(ArgGroup::new("pace").args(["rate", "outstanding"])))]
pub(super) struct Pacing {
    /// Bytes of the published JSON value.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=16_000_000))]
    pub(super) payload_bytes: u32,
    /// Open loop: publications per second in all, whatever the server does.
    #[arg(long, value_parser = positive)]
    pub(super) rate: Option<f64>,
    /// Closed loop: publications under way at once; 1 sends the next one when every subscriber has the last [default: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub(super) outstanding: Option<u32>,
    /// Length of the measured stretch.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(super) duration_s: f64,
    /// End the measured stretch after so many publications.
    #[arg(long)]
    pub(super) publications: Option<u64>,
    /// Length of the warm-up at the same pace, not measured but verified.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    pub(super) warmup_s: f64,
    #[command(flatten)]
    pub(super) spread: Spread,
}

impl Pacing {
    /// When publications are sent.
    pub(super) fn pace(&self) -> Pace {
        self.rate.map_or(Pace::UnderWay(self.outstanding.unwrap_or(1)), Pace::Rate)
    }

    /// A fan-out to one topic at this pace; the scenario changes what is its own.
    pub(super) fn shape(&self, start: &Start<'_>, subscribers: usize) -> Shape {
        Shape {
            payload_bytes: self.payload_bytes as usize,
            pace: self.pace(),
            warmup: Duration::from_secs_f64(self.warmup_s),
            publications_max: self.publications.unwrap_or(u64::MAX),
            length: Duration::from_secs_f64(self.duration_s),
            processes: usize::from(self.spread.processes),
            ..start.shape(&self.spread.reach, subscribers)
        }
    }
}

/// From where connections come, and how fast.
#[derive(Args)]
#[group(skip)]
pub(super) struct Reach {
    /// Client threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) threads: u16,
    /// Source addresses 127.0.0.1, 127.0.0.2 … to connect from.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub(super) sources: u8,
    /// Connects per second in all.
    #[arg(long, default_value_t = 5_000.0, value_parser = positive)]
    pub(super) connects_per_second: f64,
}

/// Over how many processes the connections are spread.
#[derive(Args)]
#[group(skip)]
pub(super) struct Spread {
    /// Processes that hold the connections, each with descriptors of its own and --threads threads; all is verified over all of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) processes: u16,
    #[command(flatten)]
    pub(super) reach: Reach,
}

/// Against the floor, in turn.
#[derive(Args)]
#[group(skip)]
pub(super) struct Compared {
    /// Run the floor in turn with the broker, and print what one costs more than the machine's own limit.
    #[arg(long)]
    pub(super) against_floor: bool,
    /// Let the floor send all publications that one turn of its loop read in one `send` per socket [default: with --outstanding above 1].
    #[arg(long, requires = "against_floor", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) batch: Option<bool>,
    /// Rounds of both sides, with --against-floor.
    #[arg(long, default_value_t = 3, requires = "against_floor", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
}
