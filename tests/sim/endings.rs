//! How a run comes to rest, is audited there, and ends: by an orderly stop, or by everybody leaving.

use wirefan::rules::Rule;
use wirefan::shard::TICK_MS;

use crate::asking;
use crate::commands;
use crate::event::{Begin, Event};
use crate::model::{Judged, Oracle, broken};
use crate::plan::TOPICS;
use crate::world::World;

/// Rounds in which everything that can move moves, until nothing does. Bytes drip through sockets that take one at a time.
const ROUNDS_MAX: usize = 5_000_000;

/// A ping frame without payload.
const PING_BYTES: usize = 2;

impl World {
    /// Everybody reads and every byte is carried, at one moment of time, until nothing moves any more.
    pub(crate) fn settle(&mut self) -> Judged {
        self.settle_without(None)?;
        self.nobody_overslept()
    }

    /// The same while one shard gets no time: the others have to come to rest without it.
    pub(crate) fn settle_without(&mut self, frozen: Option<usize>) -> Judged {
        for client in &mut self.clients {
            client.stalled = false;
        }
        for _ in 0..ROUNDS_MAX {
            self.step += 1;
            let moved = self.move_everybody()?;
            let mut ran = false;
            let first = self.random.below(self.drivers.len());
            for turn in 0..self.drivers.len() {
                let shard = (first + turn) % self.drivers.len();
                if frozen == Some(shard) {
                    continue;
                }
                ran |= self.drivers[shard].runs(self.now_ms);
                self.step_shard(shard)?;
            }
            if !moved && !ran {
                return Ok(());
            }
        }
        broken(Oracle::Liveness, "the broker does not come to rest")
    }

    fn move_everybody(&mut self) -> Result<bool, crate::model::Broken> {
        let mut moved = false;
        for at in 0..self.clients.len() {
            if self.clients[at].over && self.clients[at].dropped.is_some() {
                continue;
            }
            moved |= self.carry(at, usize::MAX);
            let before = self.arrived(at);
            self.take_in(at, usize::MAX)?;
            moved |= before != self.arrived(at);
        }
        Ok(moved)
    }

    /// Something that changes whenever a client takes something in.
    fn arrived(&mut self, at: usize) -> (usize, bool) {
        let client = &self.clients[at];
        let Some(conn) = client.conn else { return (0, client.over) };
        let waits = self.drivers[client.shard].sockets.at(conn).map_or(0, |socket| socket.outbound.len());
        (waits, client.over)
    }

    fn nobody_overslept(&mut self) -> Judged {
        match self.drivers.iter().position(crate::driver::Driver::overslept) {
            Some(shard) => broken(Oracle::Liveness, format!("shard {shard} sleeps on work: a wake-up was lost")),
            None => Ok(()),
        }
    }

    /// Comes to rest, has what is owed judged, then publishes once more to every topic and judges again.
    pub(crate) fn rest_and_audit(&mut self) -> Judged {
        self.settle()?;
        self.note(Event::Rest { audited: false })?;
        for at in 0..self.clients.len() {
            if self.clients[at].speaks() {
                self.ask_about_silent(at)?;
            }
        }
        self.settle()?;
        if !self.clients.iter().any(|client| client.speaks() && client.open) {
            self.connect()?;
            self.settle()?;
        }
        let Some(auditor) = self.clients.iter().position(|client| client.speaks() && client.open) else {
            return Ok(()); // whoever came asked for something else
        };
        let number = self.clients[auditor].number;
        let mut all = Vec::new();
        for topic in TOPICS {
            let id = (self.random.word() >> 11).to_string();
            let member = format!(r#""id":{id},"#);
            all.push(commands::publish(topic, Some(id), &member, None, &self.plan, number, &mut self.random));
        }
        self.say_plainly(auditor, all)?;
        self.settle()?;
        let audited = self.clients[auditor].speaks(); // it may have been too slow for its own publications
        self.note(Event::Rest { audited })?;
        if audited { self.call_the_roll(auditor) } else { Ok(()) }
    }

    /// Asks for all members of some topics, page by page, while nobody comes or goes.
    fn call_the_roll(&mut self, at: usize) -> Judged {
        for _ in 0..2 {
            let (topic, limit) = (*self.random.pick(&TOPICS), *self.random.pick(&[1, 2, 1000]));
            let mut after = None;
            loop {
                let id = (self.random.word() >> 11).to_string();
                let said = asking::page(topic, id, limit, after, true);
                self.say_plainly(at, vec![said])?;
                self.settle()?;
                after =
                    self.model.next_page(self.clients[at].number).filter(|(it, _)| *it == topic).map(|(_, next)| next);
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A subscribe without an id stays uncertain: asked again with one, it is not.
    fn ask_about_silent(&mut self, at: usize) -> Judged {
        let mut all = Vec::new();
        for filter in std::mem::take(&mut self.clients[at].silent) {
            let id = (self.random.word() >> 11).to_string();
            let member = format!(r#""id":{id},"#);
            let presence = self.random.chance(50) && self.plan.has_presence(&filter);
            all.push(commands::subscribe(&filter, Some(id), &member, Begin::Now, presence));
        }
        self.say_plainly(at, all)
    }

    /// Asks every shard to stop, one after the other, while everything goes on.
    pub(crate) fn stop(&mut self) -> Judged {
        self.closed_to_new = true;
        let mut order: Vec<usize> = (0..self.drivers.len()).collect();
        while !order.is_empty() {
            let next = self.random.below(order.len());
            let shard = order.swap_remove(next);
            self.drivers[shard].ask_to_stop();
            self.turn_away(shard)?;
            for _ in 0..self.random.below(60) {
                self.random_step()?;
            }
        }
        for _ in 0..self.random.below(200) {
            self.random_step()?;
        }
        self.settle()?;
        let until_ms = self.now_ms + wirefan::limits::STOP_MS_MAX;
        while self.drivers.iter().any(|driver| !driver.finished) {
            if self.now_ms >= until_ms {
                return broken(Oracle::Stop, "a shard did not come to its end in STOP_MS_MAX");
            }
            self.now_ms += 100;
            self.settle()?;
        }
        self.settle()?;
        self.note(Event::Finish)?;
        self.nothing_held(&["topics held at the home", "filters watched at the home", "members"])
    }

    /// Who was not accepted before the stop is not any more.
    fn turn_away(&mut self, shard: usize) -> Judged {
        let waiting = std::mem::take(&mut self.drivers[shard].backlog);
        for at in 0..self.clients.len() {
            if waiting.contains(&self.clients[at].number) {
                self.reset(at)?;
            }
        }
        Ok(())
    }

    /// Everybody leaves, some only when their heartbeat is missed; then nothing may be left.
    pub(crate) fn leave(&mut self) -> Judged {
        self.closed_to_new = true;
        let mut stay = Vec::new();
        for at in 0..self.clients.len() {
            if self.clients[at].over {
                continue;
            }
            match self.random.below(4) {
                0 if self.clients[at].speaks() => stay.push(at),
                1 if !self.clients[at].listens() => self.fall_mute(at)?,
                2 => self.half_close(at)?,
                _ if self.clients[at].speaks() => self.be_rude(at)?,
                _ => self.reset(at)?,
            }
            self.random_step()?;
        }
        self.wait_out()?;
        self.note(Event::Rest { audited: false })?;
        for &at in stay.iter().filter(|&&at| self.clients[at].speaks()).collect::<Vec<_>>() {
            let said = commands::close(&mut self.random);
            self.say(at, said)?;
        }
        self.wait_out()?;
        for at in 0..self.clients.len() {
            // A ping that does not fit into the socket at once shows a peer that takes bytes: that counts as life.
            if self.clients[at].mute && !self.clients[at].over && self.plan.kernel_bytes < PING_BYTES {
                self.reset(at)?;
            }
        }
        self.settle()?;
        if let Some(client) = self.clients.iter().find(|client| !client.over) {
            return broken(Oracle::Heartbeat, format!("client {} is still there after all", client.number));
        }
        self.note(Event::Finish)?;
        self.nothing_held(&[])?;
        self.outlast_the_past()
    }

    /// What is kept goes with its time, although nobody comes to wake the shards for it.
    pub(crate) fn outlast_the_past(&mut self) -> Judged {
        let rules = self.plan.rules.iter();
        let longest = |rule: &Rule| rule.history.map_or(0, |history| history.age_s).max(rule.idempotency_s);
        let longest_s = rules.map(longest).max().unwrap_or(0).max(Rule::default().idempotency_s);
        self.now_ms += u64::from(longest_s) * 1000 + TICK_MS;
        self.settle()?;
        for (number, driver) in self.drivers.iter().enumerate() {
            let kept = driver.shard.kept();
            left_behind(number, &[("bytes of history", kept.bytes), ("keys", kept.keys)], &[])?;
        }
        Ok(())
    }

    /// Longer than any deadline, in steps that let everybody answer in time.
    fn wait_out(&mut self) -> Judged {
        let step_ms = u64::from(self.plan.timeout_s.min(self.plan.interval_s)) * 250;
        let longest_s = 2 * self.plan.interval_s + self.plan.timeout_s;
        let until_ms =
            self.now_ms + u64::from(longest_s) * 1000 + self.plan.handshake_ms_max + 2 * wirefan::limits::CLOSE_MS_MAX;
        self.settle()?;
        while self.now_ms < until_ms {
            self.now_ms += step_ms;
            self.settle()?;
        }
        Ok(())
    }

    fn nothing_held(&self, except: &[&str]) -> Judged {
        for (number, driver) in self.drivers.iter().enumerate() {
            left_behind(number, &driver.shard.held(), except)?;
        }
        Ok(())
    }
}

/// Judges what a shard holds when all is over.
pub(crate) fn left_behind(shard: usize, held: &[(&'static str, usize)], except: &[&str]) -> Judged {
    match held.iter().find(|(what, count)| *count > 0 && !except.contains(what)) {
        Some((what, count)) => broken(Oracle::Held, format!("shard {shard} still holds {count} {what}")),
        None => Ok(()),
    }
}
