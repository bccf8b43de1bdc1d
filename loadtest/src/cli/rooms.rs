//! The `rooms` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses rooms whose members' sequences would not fit into memory.

use clap::Args;

use super::pacing::{Compared, Pacing};
use super::{Failure, SEQUENCES_MAX, ServerArguments, Start, batches, run_shape};
use crate::floor;
use crate::report::Outcome;
use crate::scenario::against::Yardstick;
use crate::scenario::fanout::Shape;
use crate::scenario::layout::{Seating, sizes};
use crate::scenario::publishing::Pace;
use crate::target::Transport;

#[derive(Args)]
pub(super) struct Rooms {
    #[command(flatten)]
    server: ServerArguments,
    /// Rooms: topics whose members all publish.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Members of a room; with --zipf the mean.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    members: u32,
    /// Rooms that each connection is in.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    each: u32,
    /// Make rooms of unlike sizes: room n is as big as 1 / n to this power; 1 is the usual Zipf.
    #[arg(long, default_value_t = 0.0, value_parser = exponent)]
    zipf: f64,
    #[command(flatten)]
    pacing: Pacing,
    #[command(flatten)]
    compared: Compared,
}

/// Runs them. `Ok(false)` when the run ended but not everything was right.
pub(super) fn run(arguments: &Rooms) -> Result<bool, Failure> {
    let processes = arguments.pacing.spread.processes;
    let mut start = Start::of(&arguments.server, processes)?;
    let (rooms, each) = (arguments.rooms as usize, arguments.each as usize);
    let asked = (rooms * arguments.members as usize).div_ceil(each);
    let connections = start.fit(u32::try_from(asked).unwrap_or(u32::MAX), 0, "connections")?;
    if matches!(arguments.pacing.pace(), Pace::UnderWay(most) if most < u32::from(processes)) {
        return Err(Failure::Usage(format!(
            "in rooms every process publishes: give --rate, or at least --outstanding {processes} for --processes {processes}"
        )));
    }
    let most = connections.min(usize::from(u16::MAX));
    let seats = connections * each;
    if connections < arguments.members as usize || seats < rooms {
        return Err(Failure::Usage(format!(
            "{seats} seats of {connections} connections do not fill {rooms} rooms of {}: nobody is in a room twice",
            arguments.members
        )));
    }
    let sizes = sizes(rooms, seats, most, arguments.zipf);
    let sequences: u64 = sizes.iter().map(|size| u64::from(*size).pow(2)).sum();
    if sequences > SEQUENCES_MAX as u64 {
        return Err(Failure::Usage(format!(
            "each member follows every other of its room: {sequences} sequences are more than {SEQUENCES_MAX}"
        )));
    }
    let shape = Shape {
        publishers: 0,
        topics: rooms,
        seating: Seating::Rooms { seats, zipf: arguments.zipf },
        ..arguments.pacing.shape(&start, connections)
    };
    let (largest, smallest) = (sizes.iter().max().copied(), sizes.iter().min().copied());
    let (largest, smallest) = (largest.unwrap_or(0), smallest.unwrap_or(0));
    let describe = |outcome: &mut Outcome| {
        outcome.title = format!(
            "{rooms} rooms of {smallest} to {largest}, {connections} connections in {each} rooms each, all publishing; {} bytes; {}",
            shape.payload_bytes,
            shape.pace.words()
        );
        let json = &mut outcome.shape;
        (json["seats"], json["each"], json["zipf"]) = (seats.into(), each.into(), arguments.zipf.into());
        (json["largest_room"], json["smallest_room"]) = (largest.into(), smallest.into());
    };
    let manner = floor::Manner { batch: batches(arguments.compared.batch, shape.pace), heartbeat: None };
    let yardstick = arguments.compared.against_floor.then_some(Yardstick::Floor(manner));
    let broker = arguments.server.broker(None)?;
    let Start { placement, notes, .. } = start;
    let run = (&shape, &broker, Transport::Ws, &placement);
    run_shape("rooms", run, yardstick, arguments.compared.rounds, notes, &arguments.server.output()?, describe)
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=4.0).contains(&number) => Ok(number),
        _ => Err("a number from 0 (all alike) to 4 is needed".into()),
    }
}
