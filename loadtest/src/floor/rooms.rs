//! The floor's topics: who is in which, and the loop that everything here is about.
//! `Floor` calls `enter` and `publish` for commands, `flush` at the end of each turn, `leave` for who is gone.
//! Invariants: a topic's subscribers are slots of one dense array of sockets; without batching each publication is one `send` per
//! socket, at once; with it all frames that a turn made for a socket are one. Answers the slots whose connections are over.

use std::collections::HashMap;
use std::io::{self, IoSlice, Write};

use mio::net::TcpStream;
use wirefan::ws::{Opcode, encode};

use super::send_all;
use crate::envelope::{Position, write_message};

/// The epoch of all topics here.
const EPOCH: u32 = 0x0000_f100;
/// Topics whose frames leave in one `writev`.
const SLICES_MAX: usize = 64;

/// All topics.
pub(super) struct Rooms {
    batch: bool,
    names: HashMap<String, u32>,
    topics: Vec<Topic>,
    /// The first topic of each slot: most have one.
    first: Vec<u32>,
    /// The others.
    more: HashMap<u32, Vec<u32>>,
    /// Topics with frames that wait for the end of the turn.
    dirty: Vec<u32>,
    /// Slots of several topics with something to send, and the topics, while a turn ends.
    mixed: HashMap<u32, Vec<u32>>,
    message: Vec<u8>,
    frame: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    offset: u64,
    subscribers: Vec<u32>,
    /// Frames of this turn, with batching.
    frames: Vec<u8>,
    /// A subscriber has other topics too: its frames of all of them leave together.
    shares: bool,
}

/// The slot has no topic.
const NONE: u32 = u32::MAX;

impl Rooms {
    /// No topics yet.
    pub(super) fn new(batch: bool) -> Self {
        Self {
            batch,
            names: HashMap::new(),
            topics: Vec::new(),
            first: Vec::new(),
            more: HashMap::new(),
            dirty: Vec::new(),
            mixed: HashMap::new(),
            message: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// One more subscriber; answers where live begins for it.
    pub(super) fn enter(&mut self, slot: u32, name: &str) -> Position {
        let number = match self.names.get(name) {
            Some(number) => *number,
            None => {
                let number = self.topics.len() as u32;
                self.names.insert(name.to_owned(), number);
                self.topics.push(Topic::default());
                number
            }
        };
        if self.first.len() <= slot as usize {
            self.first.resize(slot as usize + 1, NONE);
        }
        match self.first[slot as usize] {
            NONE => self.first[slot as usize] = number,
            first => {
                let more = self.more.entry(slot).or_default();
                more.push(number);
                for topic in [first].iter().chain(more.iter()) {
                    self.topics[*topic as usize].shares = true;
                }
            }
        }
        let topic = &mut self.topics[number as usize];
        topic.subscribers.push(slot);
        Position { epoch: EPOCH, offset: topic.offset }
    }

    /// The slot is nobody's any more.
    pub(super) fn leave(&mut self, slot: u32) {
        let Some(first) = self.first.get_mut(slot as usize) else {
            return;
        };
        let first = std::mem::replace(first, NONE);
        let more = self.more.remove(&slot).unwrap_or_default();
        for topic in more.into_iter().chain((first != NONE).then_some(first)) {
            let subscribers = &mut self.topics[topic as usize].subscribers;
            if let Some(at) = subscribers.iter().position(|subscriber| *subscriber == slot) {
                subscribers.swap_remove(at);
            }
        }
    }

    /// One publication: to everybody at once, or at the end of the turn.
    pub(super) fn publish(&mut self, name: &str, data: &[u8], sockets: &[Option<TcpStream>]) -> Vec<u32> {
        let Some(number) = self.names.get(name).copied() else {
            return Vec::new();
        };
        let topic = &mut self.topics[number as usize];
        topic.offset += 1;
        let position = Position { epoch: EPOCH, offset: topic.offset };
        self.message.clear();
        write_message(&mut self.message, name, position, data);
        if self.batch {
            if topic.frames.is_empty() {
                self.dirty.push(number);
            }
            encode::frame(&mut topic.frames, Opcode::Text, &self.message);
            return Vec::new();
        }
        self.frame.clear();
        encode::frame(&mut self.frame, Opcode::Text, &self.message);
        send_to(&topic.subscribers, &self.frame, sockets)
    }

    /// Sends what the turn made.
    pub(super) fn flush(&mut self, sockets: &[Option<TcpStream>]) -> Vec<u32> {
        if self.dirty.is_empty() {
            return Vec::new();
        }
        let mut failed = Vec::new();
        for number in &self.dirty {
            let topic = &self.topics[*number as usize];
            if !topic.shares {
                failed.extend(send_to(&topic.subscribers, &topic.frames, sockets));
                continue;
            }
            for slot in &topic.subscribers {
                self.mixed.entry(*slot).or_default().push(*number);
            }
        }
        for (slot, topics) in self.mixed.drain() {
            let frames: Vec<&[u8]> = topics.iter().map(|topic| &*self.topics[*topic as usize].frames).collect();
            let Some(socket) = &sockets[slot as usize] else { continue };
            if !frames.chunks(SLICES_MAX).all(|some| send_slices(socket, some)) {
                failed.push(slot);
            }
        }
        for number in self.dirty.drain(..) {
            self.topics[number as usize].frames.clear();
        }
        failed
    }
}

/// One `send` per socket.
fn send_to(slots: &[u32], bytes: &[u8], sockets: &[Option<TcpStream>]) -> Vec<u32> {
    let mut failed = Vec::new();
    for slot in slots {
        let Some(mut socket) = sockets[*slot as usize].as_ref() else {
            continue;
        };
        match socket.write(bytes) {
            Ok(n) if n == bytes.len() => {}
            Ok(n) if send_all(socket, &bytes[n..]) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && send_all(socket, bytes) => {}
            _ => failed.push(*slot),
        }
    }
    failed
}

/// One `writev`; what the socket did not take follows piece by piece.
fn send_slices(mut socket: &TcpStream, pieces: &[&[u8]]) -> bool {
    let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut sent = match socket.write_vectored(&slices) {
        Ok(sent) => sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(_) => return false,
    };
    pieces.iter().all(|piece| {
        let done = sent.min(piece.len());
        sent -= done;
        send_all(socket, &piece[done..])
    })
}
