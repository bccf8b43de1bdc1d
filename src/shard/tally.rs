//! The figures of all shards, gathered for scrapes and for `$sys/stats`: one question to each, one to the sockets' owner.
//!
//! At most one tally is under way on a shard, and whoever asks meanwhile gets the same, so that many scrapes cost no more
//! than one. It ends with the last answer or after `FIGURES_MS_MAX`, whichever comes first: a shard that stands still is
//! missing in the report and holds up nobody. No lock, and nothing at all while nobody asks.

use super::Shard;
use super::exchange::{Exchange, Part};
use super::requests::Next;
use crate::home::Question;
use crate::http::{Head, weight};
use crate::ids::{ConnId, ShardId, Tick};
use crate::limits;
use crate::protocol::Id;
use crate::telemetry::{Figures, Process, Report, exposition, stats};
use crate::topic::{STATS, Topic};

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: Option<Box<Open>>,
    /// Whether the home of `$sys/stats` is on this shard.
    publishes: bool,
    /// The last report that was published, and when; none while nobody wants any.
    last: Option<(Report, u64)>,
    /// When the next one is due.
    next: Tick,
}

/// One that is under way.
#[derive(Debug)]
struct Open {
    serial: u64,
    deadline: Tick,
    /// By shard, as far as they answered.
    shards: Vec<Option<Box<Figures>>>,
    /// Shards that have not.
    waiting: usize,
    process: Option<Process>,
    /// Requests that want it, and whether as OpenMetrics.
    scrapes: Vec<(ConnId, bool)>,
    /// It is to be published, too.
    published: bool,
}

impl Tally {
    pub(super) fn new(publishes: bool) -> Self {
        Self { publishes, ..Self::default() }
    }

    /// When it ends at the latest.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.open.as_ref().map(|open| open.deadline)
    }
}

impl Shard {
    /// `GET /metrics`
    pub(super) fn ask_metrics(&mut self, index: u32, head: &Head<'_>, exchange: Exchange) -> Next {
        self.begin_one(index, exchange);
        let conn = self.id_of(index);
        if self.stop.is_begun() {
            // The other shards were told that no command follows.
            self.take_part(conn, &Id::None, Part::Failed(503, "the broker stops".to_owned()));
        } else {
            let openmetrics = weight(head, "application/openmetrics-text").unwrap_or(0);
            let wanted = openmetrics > 0 && openmetrics >= weight(head, "text/plain").unwrap_or(0);
            self.gather().scrapes.push((conn, wanted));
        }
        self.all_added(index)
    }

    /// The tally that is under way, begun if none is.
    fn gather(&mut self) -> &mut Open {
        if self.tally.open.is_none() {
            let serial = self.surveys.next_serial();
            self.tally.open = Some(Box::new(Open {
                serial,
                deadline: self.now.after_ms(limits::FIGURES_MS_MAX),
                shards: vec![None; self.shards.into()],
                waiting: self.shards.into(),
                process: None,
                scrapes: Vec::new(),
                published: false,
            }));
            self.put_question(serial, &Question::Figures, 0..self.shards);
        }
        self.tally.open.as_mut().expect("one is open")
    }

    /// Takes a shard's answer. One that comes too late is nobody's.
    pub(super) fn take_figures(&mut self, serial: u64, shard: ShardId, figures: Box<Figures>) {
        if let Some(open) = self.tally.open.as_mut().filter(|open| open.serial == serial) {
            open.shards[shard.index()] = Some(figures);
            open.waiting -= 1;
            self.end_tally_if_whole();
        }
    }

    /// How many are under way.
    pub(super) fn tallies(&self) -> usize {
        usize::from(self.tally.open.is_some())
    }

    /// Whether [`Shard::handle_process`] is to be called in this turn.
    #[must_use]
    pub fn wants_process(&self) -> bool {
        self.tally.open.as_ref().is_some_and(|open| open.process.is_none())
    }

    /// What the process holds at this moment, if that is wanted.
    pub fn handle_process(&mut self, process: Process) {
        if let Some(open) = &mut self.tally.open {
            open.process = Some(process);
            self.end_tally_if_whole();
        }
    }

    fn end_tally_if_whole(&mut self) {
        if self.tally.open.as_ref().is_some_and(|open| open.waiting == 0 && open.process.is_some()) {
            self.end_tally();
        }
    }

    /// Ends it when its time is over.
    pub(super) fn end_tally_in_time(&mut self) {
        if self.tally.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.end_tally();
        }
    }

    fn end_tally(&mut self) {
        let Some(open) = self.tally.open.take() else { return };
        let Open { shards, process, scrapes, published, .. } = *open;
        let connections_max = self.settings.config.limits.connections_max as u64;
        let report = Report { shards, process: process.unwrap_or_default(), connections_max };
        let mut texts: [Option<String>; 2] = [None, None];
        for (conn, openmetrics) in scrapes {
            let (media, write): (_, fn(&Report) -> String) = match openmetrics {
                true => (exposition::OPENMETRICS, exposition::openmetrics),
                false => (exposition::CLASSIC, exposition::classic),
            };
            let text = texts[usize::from(openmetrics)].get_or_insert_with(|| write(&report));
            self.take_part(conn, &Id::None, Part::Text(media, text.clone()));
        }
        if published && !self.stop.is_begun() {
            self.publish_stats(report);
        }
    }

    /// When the next report is to be published: never, but on the home of its topic and while somebody has subscribed.
    pub(super) fn next_stats(&self) -> Option<Tick> {
        let wanted = self.tally.publishes && self.home.is_wanted(Topic::known(STATS));
        (wanted && !self.stop.is_begun()).then_some(self.tally.next)
    }

    /// Begins the next report when it is due.
    pub(super) fn begin_stats(&mut self) {
        if !self.tally.publishes || self.now < self.tally.next {
            return;
        }
        let step = Tick::of_ms(limits::STATS_MS).0;
        let next = Tick((self.now.0 / step + 1) * step);
        if self.next_stats().is_some() {
            self.tally.next = next;
            self.gather().published = true;
        } else {
            self.tally.last = None;
        }
    }

    fn publish_stats(&mut self, report: Report) {
        let (before, at_ms) =
            self.tally.last.as_ref().map_or((None, self.now_ms), |(last, at_ms)| (Some(last), *at_ms));
        let stats = stats::object(&report, before, self.now_ms - at_ms, self.now_unix_s());
        self.tally.last = Some((report, self.now_ms));
        self.publish_own(Topic::known(STATS), stats.to_string().as_bytes());
    }
}
