//! The answers to `history`: which publications have to be on a page, which may be, and in which order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use wirefan::limits;

use super::goodbye::AROUND_PAYLOAD;
use super::past::Past;
use super::publications::Publications;
use super::replies::{Call, Page, Reply};
use super::{Broken, Judged, Oracle, broken};

impl Publications {
    /// Judges an error instead of a page.
    pub(super) fn no_page(&self, page: &Page, code: u16) -> Judged {
        let known = self.log(&page.topic).and_then(|log| log.epoch.as_ref());
        match (code, &page.since) {
            (400, Some((epoch, offset))) if known != Some(epoch) || *offset > page.known => Ok(()),
            // So much of it waits for this shard already that it must be a good part of all there is, many times over.
            (429, _) if self.bytes_listed() > limits::HISTORY_PARCEL_BYTES_MAX / 200 => Ok(()),
            _ => broken(Oracle::History, format!("an error {code} for {page:?}")),
        }
    }

    /// Judges an error instead of a list of members.
    pub(super) fn no_call(&self, call: &Call, code: u16) -> Judged {
        if code == 429 && self.bytes_listed() > limits::HISTORY_PARCEL_BYTES_MAX / 200 {
            return Ok(());
        }
        broken(Oracle::Presence, format!("an error {code} for {call:?}"))
    }

    /// More bytes than all publications have in a list.
    fn bytes_listed(&self) -> usize {
        self.all().map(|it| it.payload.len() * 4 / 3 + 4 + AROUND_PAYLOAD).sum()
    }

    /// Judges a page of the topic at `position`.
    pub(super) fn page(&mut self, page: &Page, position: &str, messages: &[&RawValue]) -> Judged {
        let newest = self.offset(&page.topic, position)?;
        let epoch = position.split_once(':').map(|(epoch, _)| epoch);
        let since = page.since.as_ref();
        let is_none = since.is_some_and(|(life, offset)| Some(life.as_str()) != epoch || *offset > newest);
        if newest < page.known || is_none {
            return broken(Oracle::History, format!("a page at {position} for {page:?}"));
        }
        let mut offsets = Vec::new();
        for message in messages {
            offsets.push(self.listed(&page.topic, message.get())?);
        }
        let past = self.past(&page.topic, newest, page.asked_ms);
        let since = since.map(|(_, offset)| *offset);
        let (low, high) = match (since, page.reverse) {
            (Some(since), true) => (1, since.saturating_sub(1).min(newest)),
            (Some(since), false) => (since + 1, newest),
            (None, _) => (1, newest),
        };
        let listed: usize = messages.iter().map(|message| message.get().len() + 1).sum();
        let longest = self.all().map(|it| it.payload.len() * 4 / 3 + 4 + AROUND_PAYLOAD).max().unwrap_or(0);
        let full = offsets.len() as u64 == page.limit || listed + longest > limits::HISTORY_REPLY_BYTES_MAX;
        if listed > limits::HISTORY_REPLY_BYTES_MAX && offsets.len() > 1 {
            return broken(Oracle::History, format!("{listed} bytes for {page:?}"));
        }
        match fault(&offsets, page, low, high, past, full) {
            Some(fault) => broken(Oracle::History, format!("{fault}: {offsets:?} of {past:?} for {page:?}")),
            None => {
                let kind = if offsets.is_empty() { "an empty page" } else { "a page" };
                self.tally.insert(kind);
                Ok(())
            }
        }
    }

    /// The offset of one element, which must be what was published there.
    fn listed(&mut self, topic: &str, json: &str) -> Result<u64, Broken> {
        let no_message = |what: &str| broken(Oracle::History, format!("{what} in a page of {topic}: {json}"));
        let Ok(reply) = serde_json::from_str::<Reply<'_>>(json) else { return no_message("no object") };
        let (Some(position), Some(data)) = (&reply.position, reply.data) else { return no_message("no message") };
        if reply.op != "message" || reply.topic.as_deref() != Some(topic) {
            return no_message("no message of the topic");
        }
        match reply.encoding.as_deref() {
            None => Ok(self.recognize(topic, position, data.get().as_bytes(), true)?.1),
            Some("base64") => match STANDARD.decode(data.get().trim_matches('"')) {
                Ok(bytes) => Ok(self.recognize(topic, position, &bytes, false)?.1),
                Err(_) => no_message("no base64"),
            },
            Some(_) => no_message("an unknown encoding"),
        }
    }
}

/// What is wrong with a page of what is wanted, `low..=high`.
fn fault(offsets: &[u64], page: &Page, low: u64, high: u64, past: Past, full: bool) -> Option<&'static str> {
    if offsets.len() as u64 > page.limit {
        return Some("more than the limit");
    }
    let follows = |pair: &[u64]| if page.reverse { pair[1] + 1 == pair[0] } else { pair[0] + 1 == pair[1] };
    if !offsets.windows(2).all(follows) {
        return Some("not one after the other");
    }
    if offsets.iter().any(|offset| !(low..=high).contains(offset)) {
        return Some("not what was asked for");
    }
    if offsets.iter().any(|offset| *offset <= past.gone) {
        return Some("what must be gone");
    }
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return (low.max(past.kept) <= high).then_some("nothing, and something is kept");
    };
    let (oldest, newest) = if page.reverse { (last, first) } else { (first, last) };
    // All that is kept, or as much of it as was asked for, from the end where the page begins.
    let old_enough = oldest <= low.max(past.kept) || (page.reverse && full);
    let new_enough = newest == high || (!page.reverse && full);
    (!old_enough || !new_enough).then_some("a part of it")
}
