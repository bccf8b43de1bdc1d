//! What clients do when the seed has them act: come, speak, stop reading, go, in good manners or bad.

use wirefan::ws::Opcode;

use crate::asking::Memory;
use crate::client::Client;
use crate::commands::{self, Said};
use crate::event::{Event, Sent};
use crate::model::Judged;
use crate::plan::TOPICS;
use crate::random::Random;
use crate::stream::Stream;
use crate::world::World;

impl World {
    pub(crate) fn random_act(&mut self) -> Judged {
        let there = self.clients.iter().filter(|client| !client.over).count();
        if !self.closed_to_new && there < self.plan.clients && self.random.chance(30) {
            return if self.random.chance(20) { self.listen() } else { self.connect() };
        }
        let listening: Vec<usize> = (0..self.clients.len()).filter(|&at| self.clients[at].listens()).collect();
        if !listening.is_empty() && self.random.chance(5) {
            let at = *self.random.pick(&listening);
            return self.disturb(at);
        }
        let speaking: Vec<usize> = (0..self.clients.len()).filter(|&at| self.clients[at].speaks()).collect();
        if speaking.is_empty() {
            return Ok(());
        }
        let at = *self.random.pick(&speaking);
        if self.random.chance(self.plan.rude) {
            return self.be_rude(at);
        }
        if self.random.chance(self.plan.stalls) {
            self.clients[at].stalled = !self.clients[at].stalled;
            return Ok(());
        }
        let said = match self.random.below(200) {
            0..3 => commands::no_json(&mut self.random),
            3 if self.plan.stalls > 0 => commands::flood(&mut self.random),
            _ => {
                let person = self.clients[at].person;
                let clients = self.clients.iter().filter(|client| client.person == person);
                let clients = clients.map(|client| client.number).collect();
                let memory = Memory { model: &self.model, former: self.former.as_ref(), clients };
                let (client, random) = (&mut self.clients[at], &mut self.random);
                let new = std::mem::replace(&mut client.new, false);
                match if new { memory.come_back(random) } else { Vec::new() } {
                    nothing if nothing.is_empty() => commands::something(client, &self.plan, &memory, random),
                    all => commands::plain(client, all, random),
                }
            }
        };
        self.say(at, said)
    }

    /// Somebody connects. Few ask for something else than an upgrade, or never finish asking.
    pub(crate) fn connect(&mut self) -> Judged {
        let number = u32::try_from(self.clients.len()).expect("a run has few clients");
        let shard = self.random.below(self.plan.crowded);
        let mut client = Client::new(number, shard, self.random.below(self.plan.people), &mut self.random);
        let (status, request, whole) = match self.random.below(60) {
            0 => (200, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", true),
            1 => (426, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", true),
            2 => (400, "nonsense\r\n\r\n", true),
            3 => (101, "GET /ws HTTP/1.1\r\nHost: a\r\nUpgra", false),
            4 => (101, "", false),
            _ => (101, "", true),
        };
        if status == 101 && whole {
            client.ask();
        } else {
            client.say(request.as_bytes());
        }
        self.clients.push(client);
        self.drivers[shard].backlog.push_back(number);
        self.note(Event::Asked { client: number, status })?;
        if whole { Ok(()) } else { self.note(Event::Lapsed { client: number }) }
    }

    /// Somebody listens to some topics, or polls one, where he was before if he was.
    fn listen(&mut self) -> Judged {
        let number = u32::try_from(self.clients.len()).expect("a run has few clients");
        let (shard, person) = (self.random.below(self.plan.crowded), self.random.below(self.plan.people));
        let clients =
            self.clients.iter().filter(|client| client.person == person).map(|client| client.number).collect();
        let memory = Memory { model: &self.model, former: self.former.as_ref(), clients };
        let begin = |topic: &str, id: &String, random: &mut Random| memory.begin(topic, Some(id), random);
        let asked = if self.random.chance(40) {
            let (topic, id) = (*self.random.pick(&TOPICS), String::new());
            let known = self.model.newest(topic).map_or(0, |(_, offset)| offset);
            let begin = begin(topic, &id, &mut self.random);
            Stream::poll(&self.plan, &mut self.random, known, topic, begin)
        } else {
            Stream::ask(&self.plan, &mut self.random, begin)
        };
        let Some((stream, request, sent)) = asked else { return Ok(()) };
        let mut client = Client::new(number, shard, person, &mut self.random);
        let waits = stream.waits;
        client.stream = Some(stream);
        self.clients.push(client);
        self.drivers[shard].backlog.push_back(number);
        self.note(Event::Asked { client: number, status: 101 })?;
        self.note(Event::Listens { client: number })?;
        if waits {
            self.note(Event::Lapsed { client: number })?;
        }
        self.say(self.clients.len() - 1, (request, sent))
    }

    /// One that listens stops to read, or goes on, or goes.
    fn disturb(&mut self, at: usize) -> Judged {
        if self.random.chance(self.plan.rude) {
            return if self.random.chance(50) { self.reset(at) } else { self.half_close(at) };
        }
        if self.plan.stalls > 0 {
            self.clients[at].stalled = !self.clients[at].stalled;
        }
        Ok(())
    }

    /// Puts words into a client's mouth.
    pub(crate) fn say(&mut self, at: usize, (bytes, sent): Said) -> Judged {
        let client = &mut self.clients[at];
        client.say(&bytes);
        let (number, end, first) = (client.number, client.sent, client.seq);
        client.seq += sent.len() as u64;
        client.done |= sent.iter().any(|what| matches!(what, Sent::End(_)));
        for (what, seq) in sent.into_iter().zip(first..) {
            self.note(Event::Sent { client: number, seq, end, what })?;
        }
        Ok(())
    }

    /// Says so many commands, one message each, right after one another.
    pub(crate) fn say_plainly(&mut self, at: usize, all: Vec<(String, Sent)>) -> Judged {
        let said = commands::plain(&mut self.clients[at], all, &mut self.random);
        self.say(at, said)
    }

    pub(crate) fn be_rude(&mut self, at: usize) -> Judged {
        match self.random.below(6) {
            0 => self.reset(at),
            1 => self.half_close(at),
            2 => self.fall_mute(at),
            3 => {
                let said = commands::close(&mut self.random);
                self.say(at, said)
            }
            4 => {
                let said = commands::violation(&self.plan, &mut self.random);
                self.say(at, said)?;
                self.mumble(at);
                Ok(())
            }
            _ => {
                // In the middle of a frame.
                self.clients[at].say(&[0x80 | Opcode::Text as u8, 0xfe, 0]);
                self.half_close(at)
            }
        }
    }

    /// Bytes behind what broke the RFC, which nobody is to look at.
    fn mumble(&mut self, at: usize) {
        if self.random.chance(50) {
            let bytes: Vec<u8> = (0..self.random.below(100)).map(|_| self.random.word() as u8).collect();
            self.clients[at].say(&bytes);
        }
    }

    pub(crate) fn reset(&mut self, at: usize) -> Judged {
        let client = &mut self.clients[at];
        (client.ends, client.ended, client.over) = (true, true, true);
        client.out.clear();
        let (number, conn, shard) = (client.number, client.conn, client.shard);
        match conn {
            Some(conn) => self.drivers[shard].sockets.arrive_end(conn, true),
            None => self.drivers[shard].backlog.retain(|waiting| *waiting != number),
        }
        self.note(Event::Lapsed { client: number })?;
        self.note(Event::Ended { client: number, clean: false, torn: false })
    }

    pub(crate) fn half_close(&mut self, at: usize) -> Judged {
        self.clients[at].ends = true;
        let client = self.clients[at].number;
        self.note(Event::Lapsed { client })
    }

    pub(crate) fn fall_mute(&mut self, at: usize) -> Judged {
        self.clients[at].mute = true;
        let client = self.clients[at].number;
        self.note(Event::Lapsed { client })
    }
}
