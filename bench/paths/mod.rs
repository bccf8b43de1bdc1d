//! The hot paths, one file each: the work that `hot_paths` times for people and `wirefan-counts` counts for the gate.
//!
//! A [`HotPath`] is made anew for each measurement, with everything around the work already done: buffers grown, topics
//! known, subscribers there. Its work is the same in each round and on each machine: no clock, no chance, fixed seeds.
//! What a round needs and is not to be measured is [`Work::prepare`].

use wirefan::ws::{Opcode, encode};

use crate::rig;

mod batch;
mod command;
mod fan_out;
mod frames;
mod home;
mod http;
mod mailbox;
mod matching;
mod registry;
mod reload;
mod unmask;
mod wheel;

/// One hot path.
pub(crate) struct HotPath {
    /// `path: case`, as the record has it.
    pub(crate) name: &'static str,
    /// What is counted, one of them.
    pub(crate) unit: &'static str,
    /// How many of these a round has.
    pub(crate) units: u32,
    /// Makes the work.
    pub(crate) make: fn() -> Box<dyn Work>,
}

/// What a hot path does in one round.
pub(crate) trait Work {
    /// Makes the round ready; not measured.
    fn prepare(&mut self) {}

    /// The round.
    fn run(&mut self);
}

/// Work that needs no preparation.
struct Each<F>(F);

impl<F: FnMut()> Work for Each<F> {
    fn run(&mut self) {
        (self.0)();
    }
}

/// A text message as its client sends it.
fn framed(message: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::masked_frame(&mut frame, Opcode::Text, message.as_bytes(), [1, 2, 3, 4]);
    frame
}

/// A closure that is a round.
fn each(round: impl FnMut() + 'static) -> Box<dyn Work> {
    Box::new(Each(round))
}

/// All of them, in the order of a publication's walk.
pub(crate) fn all() -> Vec<HotPath> {
    [
        unmask::paths(),
        frames::paths(),
        command::paths(),
        http::paths(),
        matching::paths(),
        registry::paths(),
        home::paths(),
        batch::paths(),
        mailbox::paths(),
        fan_out::paths(),
        wheel::paths(),
        reload::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
