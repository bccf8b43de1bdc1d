//! The batch of a turn: sealed behind its publications, whose topics came in turn; and made in a second form beside frames.

use wirefan::transport::Form;

use super::home::Topics;
use super::{HotPath, Work};

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "publication", units, make };
    vec![
        path("batch: seal, a run for each", 100, || Box::new(Seal(Topics::new(&[Form::Frames], false), 1))),
        path("batch: seal, ten in each run", 1_000, || Box::new(Seal(Topics::new(&[Form::Frames], false), 10))),
        path("batch: encode as events, too", 100, || {
            Box::new(Encode(Topics::new(&[Form::Frames, Form::Events], false)))
        }),
    ]
}

/// Seals so many publications to each topic.
struct Seal(Topics, usize);

impl Work for Seal {
    fn prepare(&mut self) {
        (0..self.1).for_each(|_| self.0.publish());
    }

    fn run(&mut self) {
        self.0.end_turn();
    }
}

/// Publishes and seals.
struct Encode(Topics);

impl Work for Encode {
    fn run(&mut self) {
        self.0.publish();
        self.0.end_turn();
    }
}
