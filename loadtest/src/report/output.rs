//! Where an outcome goes: to the terminal as a table or JSON, and with `--report` to a page besides.
//! The command line makes one `Output` before the run and has every outcome shown through it.
//! Invariants: the page is made of the outcome that was printed; a page that cannot be written fails the run, after its figures were told.

use std::path::Path;

use super::plain;
use super::{Comparison, Outcome};
use crate::page::{self, Place, Setting};

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    /// One JSON object instead of a table.
    pub(crate) json: bool,
    page: Option<Place>,
}

impl Output {
    /// With a folder for a page, if there is to be one.
    ///
    /// # Errors
    /// A sentence: the page could not be written there.
    pub(crate) fn new(json: bool, report: Option<&Path>) -> Result<Self, String> {
        Ok(Self { json, page: report.map(Place::prepare).transpose()? })
    }

    /// Writes the page of a run; nothing if none is asked for.
    pub(crate) fn page_of_run(&self, outcome: impl FnOnce() -> Outcome) -> Result<(), String> {
        self.write(|setting| page::of_run(&outcome(), setting))
    }

    /// Writes the page of all rounds; nothing if none is asked for.
    pub(crate) fn page_of_comparison(&self, all: impl FnOnce() -> Comparison) -> Result<(), String> {
        self.write(|setting| page::of_comparison(&all(), setting))
    }

    fn write(&self, page: impl FnOnce(&Setting) -> String) -> Result<(), String> {
        let Some(place) = &self.page else {
            return Ok(());
        };
        place.write(&page(&Setting::here()))?;
        eprintln!("report: {}", place.file().display());
        Ok(())
    }
}

/// Shows one run; answers whether all was right.
pub(crate) fn shown(outcome: &Outcome, output: &Output) -> Result<bool, String> {
    let passed = plain::outcome(outcome, output.json);
    output.page_of_run(|| outcome.clone())?;
    Ok(passed)
}

/// Shows all rounds against a yardstick; answers whether all was right.
pub(crate) fn compared(all: &Comparison, output: &Output) -> Result<bool, String> {
    let passed = plain::comparison(all, output.json);
    output.page_of_comparison(|| all.clone())?;
    Ok(passed)
}
