//! A connection that speaks as a profile says: to a WebSocket of another broker, or to its POST.
//! A `Link` feeds a `Talk` with whole messages and a `Posts` with bytes, and sends what they ask for.
//! Invariants: what a unit is depends on its bytes alone, not on how they were cut; a unit that the profile does not know
//! ends the setup with a sentence, and afterwards goes to the scene, which counts it. Unread bytes are bounded.

use std::sync::Arc;

use memchr::memmem;

use super::answer::{Answer, refusal};
use super::{Message, Subscription};
use crate::envelope::Ack;
use crate::profile::{Framing, Profile, Unit};

/// Longest unit, in bytes.
const UNIT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One connection to a broker's WebSocket.
pub(super) struct Talk {
    profile: Arc<Profile>,
    topics: Vec<String>,
    stage: Stage,
    /// The beginning of a unit, where units go across messages.
    unread: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Subscribing { left: usize },
    Ready,
}

impl Talk {
    /// Right after the upgrade. What it says first is appended to `replies`, each a message.
    pub(super) fn begin(profile: Arc<Profile>, subscriptions: &[Subscription], replies: &mut Vec<Vec<u8>>) -> Self {
        let topics = subscriptions.iter().map(|one| one.filter.clone()).collect();
        let mut talk = Self { profile, topics, stage: Stage::Greeting, unread: Vec::new() };
        if talk.profile.greeting.is_none() {
            talk.greeted(replies);
        }
        talk
    }

    /// True once it has all its subscriptions.
    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether it is sent binary messages.
    pub(super) fn is_binary(&self) -> bool {
        self.profile.binary
    }

    /// What it is waiting for before it is ready, in words.
    pub(super) fn awaited(&self) -> &'static str {
        match self.stage {
            Stage::Greeting => "what the profile awaits first (open.await)",
            Stage::Subscribing { .. } => "what says that it is subscribed (subscribe.await)",
            Stage::Ready => "nothing",
        }
    }

    fn greeted(&mut self, replies: &mut Vec<Vec<u8>>) {
        replies.extend(self.profile.hello());
        let commands = self.topics.iter().enumerate().filter_map(|(n, topic)| self.profile.subscribe(topic, n + 1));
        replies.extend(commands);
        let left = if self.profile.subscribed.is_some() { self.topics.len() } else { 0 };
        self.stage = if left == 0 { Stage::Ready } else { Stage::Subscribing { left } };
    }

    /// Takes one message; what it answers is appended to `replies`.
    pub(super) fn take(
        &mut self,
        payload: &[u8],
        replies: &mut Vec<Vec<u8>>,
        message: &mut impl FnMut(Message<'_>),
    ) -> Result<(), String> {
        let profile = Arc::clone(&self.profile);
        match &profile.framing {
            Framing::Message => self.unit(payload, replies, message),
            Framing::Separated(separator) => {
                let mut rest = payload;
                while let Some(at) = memmem::find(rest, separator) {
                    self.part(&rest[..at], replies, message)?;
                    rest = &rest[at + separator.len()..];
                }
                self.part(rest, replies, message)
            }
            Framing::Stream | Framing::Length(_) => {
                let mut all = std::mem::take(&mut self.unread);
                let input = if all.is_empty() {
                    payload
                } else {
                    all.extend_from_slice(payload);
                    &all
                };
                let used = self.units(input, replies, message)?;
                let left = &input[used..];
                if left.len() > UNIT_BYTES_MAX {
                    return Err("a unit does not end".into());
                }
                self.unread = left.to_vec();
                Ok(())
            }
        }
    }

    /// Between two separators there may be nothing.
    fn part(
        &mut self,
        part: &[u8],
        replies: &mut Vec<Vec<u8>>,
        message: &mut impl FnMut(Message<'_>),
    ) -> Result<(), String> {
        if part.is_empty() { Ok(()) } else { self.unit(part, replies, message) }
    }

    /// Handles the whole units at the start of `input`; answers how many bytes they are.
    fn units(
        &mut self,
        input: &[u8],
        replies: &mut Vec<Vec<u8>>,
        message: &mut impl FnMut(Message<'_>),
    ) -> Result<usize, String> {
        let profile = Arc::clone(&self.profile);
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            if let Framing::Length(width) = profile.framing {
                let Some((length, after)) = rest.split_at_checked(width) else { break };
                let length = length.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
                if length > UNIT_BYTES_MAX as u64 {
                    return Err(format!("a unit of {length} bytes was announced, the longest are {UNIT_BYTES_MAX}"));
                }
                let Some(unit) = after.get(..length as usize) else { break };
                self.unit(unit, replies, message)?;
                used += width + unit.len();
                continue;
            }
            match profile.recognise(rest) {
                Ok(Some((unit, bytes))) => {
                    self.known(unit, &rest[..bytes], replies, message)?;
                    used += bytes;
                }
                Ok(None) => break,
                // Where the next unit begins, nobody knows: the connection is of no more use.
                Err(()) => return Err(format!("the profile does not know {}", excerpt(rest))),
            }
        }
        Ok(used)
    }

    /// One whole unit.
    fn unit(
        &mut self,
        unit: &[u8],
        replies: &mut Vec<Vec<u8>>,
        message: &mut impl FnMut(Message<'_>),
    ) -> Result<(), String> {
        let profile = Arc::clone(&self.profile);
        match profile.recognise(unit) {
            Ok(Some((known, _))) => self.known(known, unit, replies, message),
            _ if self.is_ready() => {
                message(Message::Text(unit));
                Ok(())
            }
            _ => Err(format!("instead of {} came {}", self.awaited(), excerpt(unit))),
        }
    }

    fn known(
        &mut self,
        known: Unit<'_>,
        whole: &[u8],
        replies: &mut Vec<Vec<u8>>,
        message: &mut impl FnMut(Message<'_>),
    ) -> Result<(), String> {
        match (known, self.stage) {
            (Unit::Delivery { .. }, _) if self.topics.is_empty() && self.profile.publishers_receive => {}
            (Unit::Delivery { topic, payload }, _) => message(Message::Delivered { topic, payload }),
            (Unit::Heartbeat, _) => replies.extend(self.profile.heartbeat.as_ref().map(|(_, answer)| answer.clone())),
            (Unit::Greeting, Stage::Greeting) => self.greeted(replies),
            (Unit::Subscribed, Stage::Subscribing { left }) => {
                message(Message::Acked(Ack::default()));
                self.stage = if left == 1 { Stage::Ready } else { Stage::Subscribing { left: left - 1 } };
            }
            (Unit::Answer, _) if self.topics.is_empty() => {}
            (Unit::Ignored, _) => {}
            _ if self.is_ready() => message(Message::Text(whole)),
            _ => return Err(format!("instead of {} came {}", self.awaited(), excerpt(whole))),
        }
        Ok(())
    }
}

fn excerpt(bytes: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(bytes).chars().take(160).collect();
    format!("{shown:?}")
}

/// One connection that publishes by POST.
#[derive(Default)]
pub(super) struct Posts {
    unread: Vec<u8>,
}

impl Posts {
    /// Takes what was read.
    ///
    /// # Errors
    /// A request was refused, or the answer is none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.unread.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(answer) = Answer::parse(&self.unread[used..])? {
            let rest = &self.unread[used..];
            if !(200..300).contains(&answer.status) {
                return Err(refusal(answer.status, &rest[answer.head_bytes..]));
            }
            // RFC 9110 6.4.1: a 204 has no content.
            let bodiless = answer.status == 204;
            let Some(whole) = answer.whole_bytes().or(bodiless.then_some(answer.head_bytes)) else {
                return Err("the answer to a POST has no length".into());
            };
            if whole > UNIT_BYTES_MAX {
                return Err(format!("the answer to a POST has {whole} bytes, the longest have {UNIT_BYTES_MAX}"));
            }
            if rest.len() < whole {
                break;
            }
            used += whole;
        }
        self.unread.drain(..used);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
