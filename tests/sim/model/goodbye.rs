//! How one client's stream may end, and what may befall it until then: codes, silence, slowness, drops.

use wirefan::rules::Overflow;

use super::publications::{Publication, Publications};
use super::view::{Phase, View};
use super::{Judged, Limits, Oracle};
use crate::event::{Event, Note};

/// Bytes of the object around a payload, with the frame's header, at most.
pub(super) const AROUND_PAYLOAD: usize = 120;

/// The same where it is an event in base64, with the positions of all its topics.
const AROUND_EVENT: usize = AROUND_PAYLOAD + 220;

/// Bytes of what is remembered of the losses of one topic, at most.
const RECORD_BYTES: usize = 200;

impl View {
    /// Judges a Close frame by what the client did.
    pub(super) fn close(&mut self, code: Option<u16>, ms: u64, limits: &Limits) -> Judged {
        self.phase = Phase::Closed(code);
        match (self.ending, code) {
            (Some(ending), _) if ending == code => match self.replies.next_at_once() {
                Some(due) => self.broken(Oracle::Reply, format!("closed with {code:?} before {due:?}")),
                None => Ok(()),
            },
            (_, Some(1001)) => match self.stopped {
                None => self.broken(Oracle::Close, "1001 without a stop"),
                Some(read) => match self.replies.all().find(|due| due.end <= read) {
                    Some(due) => self.broken(Oracle::Stop, format!("{due:?} was read and not answered before 1001")),
                    None => Ok(()),
                },
            },
            (_, Some(4008)) if self.blocked => Ok(()),
            (_, Some(4008)) => self.broken(Oracle::Slow, "4008, and its socket took everything"),
            (_, Some(4009)) => {
                let silence_ms = self.silence_ms.max(ms - self.heard_ms);
                if silence_ms + 100 >= u64::from(limits.timeout_s) * 1000 {
                    return Ok(());
                }
                self.broken(Oracle::Heartbeat, format!("4009 after {silence_ms} ms of silence"))
            }
            (ending, code) => self.broken(Oracle::Close, format!("closed with {code:?}, due was {ending:?}")),
        }
    }

    /// What befell it, other than frames.
    pub(super) fn befall(&mut self, note: &Note, publications: &Publications, limits: &Limits) -> Judged {
        match &note.event {
            Event::Heard { .. } => {
                self.silence_ms = self.silence_ms.max(note.ms - self.heard_ms);
                self.heard_ms = note.ms;
            }
            Event::Blocked { .. } => (self.blocked, self.was_full) = (true, true),
            Event::Lapsed { .. } => self.lapsed = true,
            // Until its homes have answered nothing of it is written, and the rules count it among the slow.
            Event::Listens { .. } => (self.listens, self.was_full) = (true, true),
            Event::Stopping { read, .. } => self.stopped = Some(*read),
            Event::Pending { bytes, .. } => return self.pending(*bytes, publications, limits),
            Event::Ended { clean, torn, .. } => return self.ended(*clean, *torn, note.ms, limits),
            _ => {}
        }
        Ok(())
    }

    /// What a publication takes on its way to it, at most.
    pub(super) fn bytes_of(&self, publication: &Publication) -> usize {
        let len = publication.payload.len();
        if self.listens { len * 4 / 3 + AROUND_EVENT } else { len + AROUND_PAYLOAD }
    }

    /// Publications within the limit (or the rest of one, when it was cut), and its replies.
    fn pending(&self, bytes: usize, publications: &Publications, limits: &Limits) -> Judged {
        let longest = publications.all().map(|it| self.bytes_of(it)).max().unwrap_or(0);
        let live = limits.outbound_bytes_max.max(longest);
        let bound = live + self.replies.bytes_max() + self.replay_bytes_max(publications) + 1000;
        if bytes > bound {
            return self.broken(Oracle::Pending, format!("{bytes} bytes wait for it, at most {bound} may"));
        }
        Ok(())
    }

    fn ended(&mut self, clean: bool, torn: bool, ms: u64, limits: &Limits) -> Judged {
        let phase = self.phase;
        if !matches!(phase, Phase::Closed(_)) {
            self.phase = Phase::Gone;
        }
        if clean && torn {
            return self.broken(Oracle::Torn, "its stream ended in the middle of a frame");
        }
        let excused = self.lapsed || self.blocked || self.ending.is_some() || self.stopped.is_some();
        match phase {
            Phase::Closed(_) => Ok(()),
            Phase::Asking(_) if !clean && ms - self.asked_ms + 100 >= limits.handshake_ms_max => Ok(()),
            Phase::Open | Phase::Asking(_) if !clean && excused => Ok(()),
            Phase::Open | Phase::Asking(_) => {
                self.broken(Oracle::Dropped, format!("its stream ended (clean: {clean})"))
            }
            Phase::Gone => self.broken(Oracle::Dropped, "its stream ended twice"),
        }
    }

    /// Who got 4008 could have had more than the limit waiting for it.
    pub(super) fn slow_with_cause(&self, publications: &mut Publications, limits: &Limits) -> Judged {
        if self.phase != Phase::Closed(Some(4008)) {
            return Ok(());
        }
        let last = |topic: &str| self.topics.get(topic).map_or(0, |known| known.last);
        // The last one that came may have been the half-sent one that 4008 completed.
        let missed = publications.all().filter(|it| it.offset.is_none_or(|offset| offset >= last(&it.topic)));
        let asked = |topic: &str| self.replies.all().any(|due| due.subscribes_to(topic)); // its ack was cut off
        let missed = missed.filter(|it| publications.rules.of(&it.topic).readable);
        let missed = missed.filter(|it| self.coverage.may_come(&it.topic) || asked(&it.topic));
        let missed: Vec<_> = missed.collect();
        let told = if self.presence.was_told() { publications.comings * AROUND_PAYLOAD } else { 0 };
        let bytes = told + missed.iter().map(|it| self.bytes_of(it)).sum::<usize>();
        if bytes <= limits.outbound_bytes_max && !self.lost_too_much(publications, limits) {
            return self.broken(Oracle::Slow, format!("4008 with at most {bytes} bytes of publications to come"));
        }
        let disconnects = |topic: &str| publications.rules.of(topic).overflow == Overflow::Disconnect;
        let by_rule = bytes > limits.outbound_bytes_max && (told > 0 || missed.iter().any(|it| disconnects(&it.topic)));
        if !by_rule && !self.lost_too_much(publications, limits) {
            return self.broken(Oracle::Slow, "4008, and no topic of what was to come has the rule for it");
        }
        publications.tally.extend((!by_rule).then_some("too many losses to tell"));
        Ok(())
    }

    /// What it lost was of so many topics that telling of them may take as much as the limit itself.
    fn lost_too_much(&self, publications: &Publications, limits: &Limits) -> bool {
        let drops = |topic: &str| publications.rules.of(topic).overflow != Overflow::Disconnect;
        let topics = publications.logs().filter(|(topic, _)| drops(topic) && self.was_exposed(topic));
        topics.count() * RECORD_BYTES > limits.outbound_bytes_max
    }
}
