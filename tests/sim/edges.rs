//! The last moment of what is kept for a time, and the first one without it: here the model is certain to the tick.
//!
//! While everything rests the clock is set to just before an age or a window ends, then to its end. Whatever was known
//! only to lie between two times in the middle of a run has one time here.

use wirefan::rules::Rule;
use wirefan::shard::TICK_MS;

use crate::commands;
use crate::event::{Begin, Sent};
use crate::model::{Judged, meets};
use crate::plan::TOPICS;
use crate::world::World;

/// Longer times than this are left alone, in seconds.
const TIME_S_MAX: u32 = 10;

impl World {
    /// Publishes something with a key, and asks for it and repeats it on both sides of the edge.
    pub(crate) fn probe_an_edge(&mut self) -> Judged {
        let topic = *self.random.pick(&TOPICS);
        let implicit = Rule::default();
        let rule = self.plan.rules.iter().find(|rule| meets(&rule.filter, topic)).unwrap_or(&implicit);
        let times_s = [rule.idempotency_s, rule.history.map_or(0, |history| history.age_s)];
        let times_s: Vec<u32> = times_s.into_iter().filter(|time_s| (1..=TIME_S_MAX).contains(time_s)).collect();
        if times_s.is_empty() {
            return Ok(());
        }
        let time_ms = u64::from(*self.random.pick(&times_s)) * 1000;
        let key = format!("edge {}", self.random.word());
        let edge_ms = self.now_ms / TICK_MS * TICK_MS + time_ms;
        self.repeat_and_ask(topic, &key)?;
        for ms in [edge_ms - 1, edge_ms] {
            self.now_ms = ms;
            self.settle()?;
            self.repeat_and_ask(topic, &key)?;
        }
        Ok(())
    }

    fn repeat_and_ask(&mut self, topic: &str, key: &str) -> Judged {
        let Some(at) = self.clients.iter().position(|client| client.speaks() && client.open) else { return Ok(()) };
        let [publish, history, subscribe, unsubscribe] = [(); 4].map(|()| (self.random.word() >> 11).to_string());
        let member = |id: &str| format!(r#""id":{id},"#);
        let (number, quoted) = (self.clients[at].number, commands::quoted(topic));
        let since = self.model.newest(topic).map(|(epoch, last)| format!("{epoch}:{}", last.saturating_sub(1)));
        let mut all = vec![(
            format!(r#"{{"op":"history","id":{history},"topic":{quoted}}}"#),
            Sent::History { topic: topic.to_owned(), id: Some(history), since: None, limit: 1000, reverse: false },
        )];
        if let Some(since) = since {
            let json = format!(r#"{{"op":"unsubscribe","id":{unsubscribe},"topic":{quoted}}}"#);
            all.push((json, Sent::Unsubscribe { filter: topic.to_owned(), id: Some(unsubscribe) }));
            let member = member(&subscribe);
            all.push(commands::subscribe(topic, Some(subscribe), &member, Begin::Since(since), false));
        }
        let (id, key) = (member(&publish), Some(key.to_owned()));
        all.push(commands::publish(topic, Some(publish), &id, key, &self.plan, number, &mut self.random));
        self.say_plainly(at, all)?;
        self.settle()
    }
}
