//! Starts the server under test, alone or in turn with a yardstick: the floor, or the same broker over WebSocket or without compression.
//! The command line calls it. Each run has a fresh server and fresh connections, both sides change places every
//! round, and the judgement is on medians, because on a shared machine single runs differ by a third.
//! Invariants: both run in the same shape on the same cores; what this program starts, it ends.

use std::path::PathBuf;
use std::sync::Arc;

use super::fanout::{self, Measured, Shape};
use crate::envelope::deflated_payload_bytes;
use crate::floor::Manner;
use crate::machine::Placement;
use crate::profile::Profile;
use crate::report::Progress;
use crate::spawn::{Configuration, Server};
use crate::target::{Target, Tls, Transport};

/// Where the broker comes from.
pub(crate) enum Broker {
    /// It runs already.
    Running {
        /// Where it is.
        target: Target,
        /// Its process, if known.
        pid: Option<u32>,
    },
    /// It is started for each run.
    Start {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// The file that it reads besides, if any.
        configuration: Option<Configuration>,
        /// Whom to trust, where it speaks TLS.
        tls: Option<Tls>,
    },
}

impl Broker {
    /// The broker, spoken to as `profile` says. One that is started is a wirefan.
    pub(crate) fn speaking(mut self, profile: Option<&Arc<Profile>>) -> Self {
        if let Self::Running { target, .. } = &mut self {
            target.profile = profile.cloned();
        }
        self
    }

    /// Lets `run` have the broker by `transport`: where it is, and its process if that is known.
    pub(crate) fn with<T>(
        &self,
        placement: &Placement,
        transport: Transport,
        run: impl FnOnce(&Target, Option<u32>) -> Result<T, String>,
    ) -> Result<T, String> {
        match self {
            Self::Running { target, pid } => run(&Target { transport, ..target.clone() }, *pid),
            Self::Start { program, arguments, configuration, tls } => {
                let mut arguments = arguments.clone();
                arguments.extend(configuration.iter().flat_map(Configuration::arguments));
                let server = Server::start(program, &arguments, &placement.server_cores)?;
                let target = Target { transport, tls: tls.clone(), ..Target::at(server.address) };
                with_started(server, &target, run)
            }
        }
    }
}

/// Lets `run` have the floor, which is this program again.
pub(crate) fn with_floor<T>(
    placement: &Placement,
    manner: Manner,
    run: impl FnOnce(&Target, Option<u32>) -> Result<T, String>,
) -> Result<T, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut arguments = ["floor", "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
    arguments.extend(manner.batch.then(|| "--batch".to_owned()));
    if let Some(interval) = manner.heartbeat {
        arguments.extend(["--heartbeat-s".to_owned(), interval.as_secs_f64().to_string()]);
    }
    let server = Server::start(&own, &arguments, &placement.server_cores)?;
    let target = Target::at(server.address);
    with_started(server, &target, run)
}

fn with_started<T>(
    server: Server,
    target: &Target,
    run: impl FnOnce(&Target, Option<u32>) -> Result<T, String>,
) -> Result<T, String> {
    let found = run(target, Some(server.pid()));
    // A server that died is the reason of a run that failed: its words come first.
    server.end()?;
    found
}

/// What a broker is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yardstick {
    /// A bare loop over the same sockets.
    Floor(Manner),
    /// The same broker, whose subscribers come by WebSocket.
    WebSocket,
    /// The same broker without compression, and so many bytes in a payload.
    OfItsSize(usize),
}

impl Yardstick {
    /// What a compressed fan-out of this shape is compared to.
    pub(crate) fn of_its_size(shape: &Shape) -> Result<Self, String> {
        let bytes = deflated_payload_bytes(shape.payload_bytes);
        bytes.map(Self::OfItsSize).ok_or(format!("payloads of {} bytes are not compressed", shape.payload_bytes))
    }

    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor(_) => "floor",
            Self::WebSocket => "websocket",
            Self::OfItsSize(_) => "plain",
        }
    }

    /// What a reader has to know of it.
    pub(crate) fn note(self) -> Option<String> {
        match self {
            Self::Floor(Manner { batch: true, .. }) => {
                Some("The floor batches: what one turn of its loop read leaves in one send per socket.".to_owned())
            }
            Self::Floor(_) | Self::WebSocket => None,
            Self::OfItsSize(bytes) => {
                Some(format!("Payloads of the plain side: {bytes} bytes, what the others become."))
            }
        }
    }
}

/// Both sides of one round.
pub(crate) struct Round<M> {
    /// The broker's run.
    pub(crate) broker: M,
    /// The yardstick's.
    pub(crate) yardstick: M,
}

impl<M> Round<M> {
    /// The same of what `of` makes of each side.
    pub(crate) fn map<T>(&self, of: impl Fn(&M) -> T) -> Round<T> {
        Round { broker: of(&self.broker), yardstick: of(&self.yardstick) }
    }
}

/// One run against the broker, whose subscribers come by `transport`.
pub(crate) fn run_broker(
    shape: &Shape,
    broker: &Broker,
    transport: Transport,
    placement: &Placement,
    progress: &Progress,
) -> Result<Measured, String> {
    broker.with(placement, transport, |target, pid| fanout::run(target, shape, pid, progress))
}

/// `rounds` rounds of broker and yardstick.
pub(crate) fn run(
    shape: &Shape,
    broker: &Broker,
    (transport, yardstick): (Transport, Yardstick),
    placement: &Placement,
    rounds: u32,
    progress: &Progress,
) -> Result<Vec<Round<Measured>>, String> {
    in_turn(rounds, yardstick.name(), progress, |side| match (side, yardstick) {
        (Side::Broker, _) => run_broker(shape, broker, transport, placement, progress),
        (Side::Yardstick, Yardstick::WebSocket) => run_broker(shape, broker, Transport::Ws, placement, progress),
        (Side::Yardstick, Yardstick::OfItsSize(payload_bytes)) => {
            let plain = Shape { deflate: false, payload_bytes, ..shape.clone() };
            run_broker(&plain, broker, transport, placement, progress)
        }
        (Side::Yardstick, Yardstick::Floor(manner)) => {
            with_floor(placement, manner, |target, pid| fanout::run(target, shape, pid, progress))
        }
    })
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The broker's.
    Broker,
    /// The yardstick's, which has that name.
    Yardstick,
}

/// Runs both sides `rounds` times; who is first changes every round.
pub(crate) fn in_turn<M>(
    rounds: u32,
    yardstick: &str,
    progress: &Progress,
    mut run: impl FnMut(Side) -> Result<M, String>,
) -> Result<Vec<Round<M>>, String> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut run_side = |side| {
            let name = if side == Side::Broker { "broker" } else { yardstick };
            progress.name(format!("round {} of {rounds}, {name}", round + 1));
            run(side).map_err(|sentence| format!("round {}, {name}: {sentence}", round + 1))
        };
        let round = if round % 2 == 0 {
            let broker = run_side(Side::Broker)?;
            Round { broker, yardstick: run_side(Side::Yardstick)? }
        } else {
            let yardstick = run_side(Side::Yardstick)?;
            Round { broker: run_side(Side::Broker)?, yardstick }
        };
        all.push(round);
    }
    Ok(all)
}
