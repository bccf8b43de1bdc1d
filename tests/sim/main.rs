//! Whole brokers on one thread under a seed: real shards and the real mesh, simulated sockets, clients, time and chance.
//!
//! `cargo test --test sim` runs a thousand seeds, `SIM_SEEDS=5000` so many, `SIM_SEED=17` replays one and prints all
//! that happened. A run fails with its seed, the broken promise ([`model::Oracle`]) and the last notes before it.

mod acts;
mod asking;
mod client;
mod commands;
mod driver;
mod edges;
mod endings;
mod event;
mod faults;
mod lives;
mod model;
mod plan;
mod pressure;
mod random;
mod sockets;
mod stream;
mod world;

use event::{Event, Frame};
use plan::Plan;
use world::{Failure, World};

/// Seeds that are run when nothing else is said.
const SEEDS: u64 = 1000;

/// What must happen in one seed or another: else the simulator proves less than it says.
const CORNERS: [&str; 38] = [
    "a full ring",
    "a pause of reading",
    "101",
    "200",
    "400",
    "426",
    "1001",
    "1002",
    "1007",
    "1009",
    "4008",
    "4009",
    "4999",
    "a replay",
    "a replay that is not possible",
    "the last ones",
    "a page",
    "an empty page",
    "a repeat",
    "a key after its window",
    "an eviction",
    "a position of another life",
    "a gap, exactly",
    "a gap, about",
    "a gap behind a replay",
    "a hole before its gap",
    "one that was obsolete",
    "the newest of a kind was dropped",
    "an old one that was dropped",
    "too many losses to tell",
    "a second page of members",
    "a list before what is told",
    "a list at rest",
    "a list of nobody",
    "one who stayed was listed",
    "a publication of one whose join was told",
    "a stream that goes on",
    "a gap of a stream",
];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Runs `seeds`, or only the one of `SIM_SEED`, and shows the first that fails and the numbers of the others.
fn run(seeds: impl Iterator<Item = u64>) {
    let only = number("SIM_SEED");
    if let Some(seed) = only {
        println!("{:#?}", Plan::of(seed));
    }
    let seeds = seeds.filter(|_| only.is_none()).chain(only);
    let world = |seed| World::new(Plan::of(seed), only.is_some());
    let failures: Vec<(u64, Failure)> = seeds.filter_map(|seed| Some((seed, world(seed).run().err()?))).collect();
    let Some((seed, Failure { broken, step, recent })) = failures.first() else { return };
    let notes: Vec<String> = recent.iter().map(|note| format!("  {note}\n")).collect();
    let others: Vec<String> =
        failures[1..].iter().map(|(seed, failure)| format!("  {seed}: {}\n", failure.broken)).collect();
    panic!(
        "seed {seed}, step {step}\n{}{broken}\nSIM_SEED={seed} cargo test --test sim replays it; others:\n{}",
        notes.concat(),
        others.concat()
    );
}

#[test]
fn a_seeded_broker_keeps_every_promise() {
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    run((0..seeds).step_by(2));
}

#[test]
fn a_seeded_broker_keeps_every_promise_with_odd_seeds_too() {
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    if number("SIM_SEED").is_none() {
        run((1..seeds).step_by(2));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_twice() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let run =
            || World::new(Plan::of(seed), false).run().map(|report| (report.hash, report.steps, report.notes.len()));
        let (first, second) = (run(), run());
        match (first, second) {
            (Ok(first), Ok(second)) => {
                assert_eq!(first, second, "seed {seed}");
                hashes.insert(first.0);
            }
            _ => panic!("seed {seed} breaks a promise: see the other tests"),
        }
    }
    assert_eq!(hashes.len(), 20, "different seeds give different bytes");
}

#[test]
fn the_seeds_reach_every_corner() {
    let mut corners = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let Ok(report) = World::new(Plan::of(seed), false).run() else { panic!("seed {seed} breaks a promise") };
        corners.extend((report.stalls > 0).then_some(CORNERS[0]));
        corners.extend((report.resumes > 0).then_some(CORNERS[1]));
        corners.extend(report.tally);
        for note in report.notes {
            if let Event::Got { frame: Frame::Close(Some(code)) | Frame::Http(code), .. } = note.event {
                corners.extend(CORNERS.iter().find(|corner| **corner == code.to_string()));
            }
        }
        if corners.len() == CORNERS.len() {
            return;
        }
    }
    panic!("only {corners:?} of {CORNERS:?}");
}

/// A shard without connections ended while its last deliveries waited for room in a ring: whom they were for waited until
/// `STOP_MS_MAX`.
#[test]
fn a_shard_that_has_nothing_left_to_stop_for_still_tells_the_others_before_it_ends() {
    for seed in 700..1000 {
        let mut plan = Plan::of(seed);
        (plan.shards, plan.crowded, plan.clients) = (if seed % 2 == 0 { 3 } else { 4 }, 2, 3);
        (plan.ring, plan.starves, plan.steps, plan.rounds) = (1, 50, 150, 1);
        (plan.kernel_bytes, plan.read_bytes, plan.pad_bytes) = (100_000, 1000, 40);
        plan.ending = plan::Ending::Stop;
        if let Err(failure) = World::new(plan, false).run() {
            panic!("seed {seed}: {}", failure.broken);
        }
    }
}
