//! Who is there: lists of members, and what is told to those who asked for it.
//!
//! At rest the model knows exactly who is there: whoever is open and has subscribed to the topic by its name. In between a
//! list has to have whoever stays while its pages are asked for, and what is told has to be news to who is told: from its
//! ack on of those that came later or were listed, from its next rest on of everybody.

use std::collections::{BTreeMap, BTreeSet};

use super::coverage::Coverage;
use super::publications::{Publication, Publications};
use super::replies::{Beginning, Call, Reply};
use super::view::View;
use super::{Broken, Judged, Model, Oracle, broken, is_wild};

/// A list of members, all of its pages.
#[derive(Clone, Debug)]
pub(super) struct Roll {
    topic: String,
    /// The step in which its first page was asked for.
    began: u64,
    still: bool,
    names: BTreeSet<String>,
    /// How many there are, said the last page.
    connections: u64,
    next: Option<String>,
}

/// What one who is told knows of another one.
#[derive(Clone, Copy, Debug)]
struct Known {
    there: bool,
    /// From a list, so that it may still be told.
    listed: bool,
}

/// What one is told of one topic, from an ack on until it asked for no more.
#[derive(Debug)]
struct Watch {
    /// The step of the ack.
    since: u64,
    /// Its own join is to come.
    awaits_own: bool,
    known: BTreeMap<String, Known>,
    /// Whoever is not known is not there.
    whole: bool,
}

/// One client's side of it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// What the broker calls it.
    pub(super) name: Option<String>,
    /// Topics of which it will be told, as its shard will see it after its last command.
    pub(super) held: BTreeSet<String>,
    /// Topics of which it is told.
    pub(super) told: Coverage,
    watches: BTreeMap<String, Watch>,
    /// The last command after which it is not told of a topic.
    ended: BTreeMap<String, u64>,
    /// The step in which it subscribed to each topic that it did not have at the last rest.
    came: BTreeMap<String, u64>,
    /// Lists that are being asked for.
    rolls: BTreeMap<String, Roll>,
    /// Where the last page ended, if there are more.
    pub(super) next: Option<(String, String)>,
    asked: bool,
}

impl Presence {
    /// It subscribes. Whether it surely is new there.
    pub(super) fn begins(&mut self, filter: &str, seq: u64, silent: bool, presence: bool, step: u64) -> bool {
        if is_wild(filter) {
            return false;
        }
        self.asked |= presence;
        let comes = !self.came.contains_key(filter);
        self.came.entry(filter.to_owned()).or_insert(step);
        if !presence {
            self.ends(filter, seq, silent);
        } else {
            self.held.insert(filter.to_owned());
            if silent {
                self.told.subscribe_silently(filter, seq);
            }
        }
        comes
    }

    /// It is not told of the topic any more.
    pub(super) fn ends(&mut self, topic: &str, seq: u64, silent: bool) {
        self.held.remove(topic);
        self.watches.remove(topic);
        self.ended.insert(topic.to_owned(), seq);
        if silent {
            self.told.unsubscribe_silently(topic, seq);
        }
    }

    /// Its subscribe to a topic was acknowledged.
    pub(super) fn acked(&mut self, it: &Beginning, seq: u64, step: u64) {
        if !it.presence {
            return self.told.unsubscribed(&it.filter, seq);
        }
        self.told.acked(&it.filter, seq, step);
        if self.ended.get(&it.filter).is_none_or(|ended| *ended < seq) {
            let watch = Watch { since: step, awaits_own: it.comes, known: BTreeMap::new(), whole: false };
            self.watches.entry(it.filter.clone()).or_insert(watch);
        }
    }

    /// Whether it ever asked to be told.
    pub(super) fn was_told(&self) -> bool {
        self.asked
    }
}

impl Watch {
    fn known(&self, name: &str) -> Option<Known> {
        let absent = Known { there: false, listed: false };
        self.known.get(name).copied().or(self.whole.then_some(absent))
    }
}

impl View {
    /// Judges a `join` or `leave`.
    pub(super) fn told(&mut self, reply: &Reply<'_>) -> Judged {
        let (topic, there) = (reply.topic.as_deref().unwrap_or(""), reply.op == "join");
        let Some(member) = reply.member.as_ref().filter(|member| member.user.is_none()) else {
            return self.broken(Oracle::Watch, format!("{reply:?}"));
        };
        if !self.presence.told.standing(topic).1 {
            return self.broken(Oracle::Watch, format!("a {} of {topic}, and it did not ask for it", reply.op));
        }
        let Presence { watches, name, .. } = &mut self.presence;
        let Some(watch) = watches.get_mut(topic) else { return Ok(()) };
        if watch.known(&member.client).is_some_and(|known| known.there == there && !known.listed) {
            return self.broken(Oracle::Watch, format!("a {} of {topic} for {member:?} again", reply.op));
        }
        watch.awaits_own &= name.as_ref() != Some(&member.client);
        watch.known.insert(member.client.clone(), Known { there, listed: false });
        Ok(())
    }

    /// Who is a member while it publishes has joined before, and leaves behind it. Whether it was told of that one.
    pub(super) fn between_join_and_leave(
        &self,
        topic: &str,
        position: &str,
        publication: &Publication,
        publications: &Publications,
    ) -> Result<bool, Broken> {
        let Some(watch) = self.presence.watches.get(topic) else { return Ok(false) };
        if watch.awaits_own {
            return self.broken(Oracle::Watch, format!("{topic} {position} before its own join"));
        }
        let name = publications.names.get(&publication.by).filter(|_| publication.by_member);
        match name.and_then(|name| watch.known(name)) {
            Some(known) if !known.there => {
                let what =
                    format!("{topic} {position} by client {} before its join or behind its leave", publication.by);
                self.broken(Oracle::Watch, what)
            }
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Judges a page of members.
    pub(super) fn members(
        &mut self,
        call: &Call,
        reply: &Reply<'_>,
        step: u64,
        publications: &mut Publications,
    ) -> Judged {
        let members = reply.members.as_deref().unwrap_or(&[]);
        let names: BTreeSet<String> = members.iter().map(|member| member.client.clone()).collect();
        let connections = reply.connections.unwrap_or(u64::MAX);
        let (len, limit) = (members.len() as u64, call.limit);
        let last = members.last().map(|member| &member.client);
        let whole = call.after.is_none() && reply.next.is_none();
        let fits = names.len() == members.len()
            && members.iter().all(|member| member.user.is_none())
            && reply.users == Some(0)
            && len <= limit
            && (reply.next.is_none() || (reply.next.as_ref() == last && len == limit))
            && (if whole { connections == len } else { connections >= len });
        if !fits {
            return self.broken(Oracle::Presence, format!("{reply:?} for {call:?}"));
        }
        publications.tally.extend((call.after.is_some() && len > 0).then_some("a second page of members"));
        if let Some(watch) = self.presence.watches.get_mut(&call.topic) {
            let absent = watch.known.keys().filter(|name| whole && !names.contains(*name)).cloned();
            for (name, there) in absent
                .map(|name| (name, false))
                .collect::<Vec<_>>()
                .into_iter()
                .chain(names.iter().map(|name| (name.clone(), true)))
            {
                if watch.known(&name).is_none_or(|known| known.there != there) {
                    watch.known.insert(name, Known { there, listed: true });
                    publications.tally.insert("a list before what is told");
                }
            }
        }
        self.presence.next = reply.next.clone().map(|next| (call.topic.clone(), next));
        let roll = match (&call.after, self.presence.rolls.remove(&call.topic)) {
            (None, _) => Some(Roll {
                topic: call.topic.clone(),
                began: call.step,
                still: call.still,
                names: BTreeSet::new(),
                connections,
                next: None,
            }),
            (Some(after), Some(roll)) if roll.next.as_ref() == Some(after) && roll.still == call.still => Some(roll),
            _ => None,
        };
        let Some(mut roll) = roll else { return Ok(()) };
        if let Some(twice) = names.iter().find(|name| roll.names.contains(*name)) {
            return self.broken(Oracle::Presence, format!("{twice} is on two pages of {}, step {step}", roll.topic));
        }
        roll.names.extend(names);
        (roll.next, roll.connections) = (reply.next.clone(), connections);
        if roll.next.is_some() {
            self.presence.rolls.insert(call.topic.clone(), roll);
        } else {
            publications.rolls.push(roll);
        }
        Ok(())
    }
}

impl Model {
    /// Who is there at rest: open, and subscribed to the topic by its name.
    fn there(&self, topic: &str) -> BTreeSet<String> {
        let all = self.views.values().filter(|view| view.is_open() && view.held.contains(topic));
        all.filter_map(|view| view.presence.name.clone()).collect()
    }

    /// Lists that were asked for while nobody moved have exactly who is there.
    pub(super) fn call_still_rolls(&mut self) -> Judged {
        let (still, other) = std::mem::take(&mut self.publications.rolls).into_iter().partition(|roll| roll.still);
        self.publications.rolls = other;
        let still: Vec<Roll> = still;
        for Roll { topic, names, connections, .. } in still {
            let there = self.there(&topic);
            if names != there || connections != there.len() as u64 {
                let what = format!("{topic}: {names:?} are listed, {connections} counted, {there:?} are there");
                return broken(Oracle::Presence, what);
            }
            self.publications.tally.insert(if names.is_empty() { "a list of nobody" } else { "a list at rest" });
        }
        Ok(())
    }

    /// At rest everybody who is told knows who is there, and lists had whoever stayed.
    pub(super) fn rest_of_presence(&mut self) -> Judged {
        for roll in std::mem::take(&mut self.publications.rolls) {
            let stayed = |view: &&View| {
                let since = view.coverage.since(&roll.topic).filter(|_| view.is_open());
                since.is_some_and(|since| since < roll.began)
            };
            for view in self.views.values().filter(stayed) {
                let name = view.presence.name.as_ref();
                if name.is_some_and(|name| !roll.names.contains(name)) {
                    return view.broken(Oracle::Presence, format!("it was in {} all the time: {roll:?}", roll.topic));
                }
                self.publications.tally.insert("one who stayed was listed");
            }
        }
        let topics: BTreeSet<String> = self.views.values().flat_map(|view| view.held.iter().cloned()).collect();
        let there: BTreeMap<String, BTreeSet<String>> =
            topics.into_iter().map(|topic| (topic.clone(), self.there(&topic))).collect();
        let mut came: BTreeMap<(String, String), u64> = BTreeMap::new();
        for view in self.views.values() {
            let own = view.presence.name.iter().flat_map(|name| view.presence.came.iter().map(move |it| (name, it)));
            came.extend(own.map(|(name, (topic, step))| ((name.clone(), topic.clone()), *step)));
        }
        for view in self.views.values_mut().filter(|view| view.is_open()) {
            view.knows_who_is_there(&there, &came)?;
            let held = view.held.iter().filter(|filter| !is_wild(filter));
            view.presence.came = held.map(|topic| (topic.clone(), 0)).collect();
        }
        Ok(())
    }
}

impl View {
    /// Judges what it was told by who is `there`; `came`: since when at the earliest, by name and topic.
    fn knows_who_is_there(
        &mut self,
        there: &BTreeMap<String, BTreeSet<String>>,
        came: &BTreeMap<(String, String), u64>,
    ) -> Result<(), Broken> {
        for (topic, watch) in &self.presence.watches {
            let there = &there[topic];
            if watch.awaits_own {
                return self.broken(Oracle::Watch, format!("{topic}: its own join did not come"));
            }
            let wrong = watch.known.iter().find(|(name, known)| known.there != there.contains(*name));
            if let Some((name, known)) = wrong {
                return self
                    .broken(Oracle::Watch, format!("{topic}: {name} is known as {known:?}, and {there:?} are there"));
            }
            let news =
                |name: &&String| came.get(&((*name).clone(), topic.clone())).is_some_and(|step| *step > watch.since);
            if let Some(name) = there.iter().find(|name| {
                watch.known(name).is_none() && news(name)
                    || watch.whole && watch.known(name).is_some_and(|known| !known.there)
            }) {
                return self.broken(Oracle::Watch, format!("{topic}: {name} came and it was not told"));
            }
        }
        for (topic, watch) in &mut self.presence.watches {
            let listed = false;
            watch.known = there[topic].iter().map(|name| (name.clone(), Known { there: true, listed })).collect();
            watch.whole = true;
        }
        Ok(())
    }
}
