//! Questions of operators to all shards, or to some, and the answers put together.
//!
//! `operate` begins a survey for a request that waits; each shard asked answers once, whatever becomes of its connections,
//! so a survey always ends, and whoever asked may be gone by then. A list is put together of the shards' parts in the order
//! of their slots: a shard that ended its part early bounds what the page can say. How the parts are made is in `sweep`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shard;
use super::exchange::Part;
use crate::home::{Answer, Listed, Page, Question};
use crate::ids::{ConnId, Mark, ShardId};
use crate::limits;
use crate::mesh::Command as Envelope;
use crate::protocol::{Id, listing};
use crate::topic::{Filter, Topic};

/// The questions of one shard that wait for answers, by number.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    open: BTreeMap<u64, Survey>,
    serial: u64,
}

impl Surveys {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A number for a question.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Whether no further request may ask.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= limits::SURVEYS_MAX
    }
}

/// One of them.
#[derive(Debug)]
struct Survey {
    /// Who gets the answer.
    conn: ConnId,
    /// Shards that have not answered yet.
    waiting: usize,
    gathered: Gathered,
}

/// What came so far.
#[derive(Debug)]
enum Gathered {
    /// Parts of a list of topics.
    Topics { parts: Vec<(ShardId, Page)>, limit: usize },
    /// A list of topics that lacks its subscribers, and those of the shards so far.
    Subscribers { list: List, counts: Vec<usize> },
    /// Parts of a list of connections.
    Connections { parts: Vec<(ShardId, Page)>, limit: usize },
    /// A page of one connection at most.
    Connection(Option<Page>),
    /// The connection that was asked for ended, or was none.
    End(usize),
    /// So many connections of the user ended.
    EndUser(usize),
}

/// A page of a list: names, JSON, and where to go on.
#[derive(Debug)]
struct List {
    items: Vec<(Box<str>, Vec<u8>)>,
    next: Option<Mark>,
}

impl List {
    /// Puts it together. What lies behind the first slot that some shard did not look at is left for the next page.
    fn of(parts: &[(ShardId, Page)], limit: usize) -> Self {
        let mark = |slot, shard| Mark { slot, shard };
        let end = parts.iter().filter_map(|(shard, page)| Some(mark(page.next?, *shard))).min();
        let mut all: Vec<(Mark, &Listed, &Page)> = Vec::new();
        for (shard, page) in parts {
            all.extend(page.items.iter().map(|item| (mark(item.slot, *shard), item, page)));
        }
        all.retain(|(at, ..)| end.is_none_or(|end| *at < end));
        all.sort_unstable_by_key(|(at, ..)| *at);
        let next = all.get(limit).map(|(at, ..)| *at).or(end);
        all.truncate(limit);
        let each = |(_, item, page): (Mark, &Listed, &Page)| {
            (item.name.text(&page.bytes).into(), item.json.of(&page.bytes).to_vec())
        };
        Self { items: all.into_iter().map(each).collect(), next }
    }

    fn write(&self, out: &mut Vec<u8>, name: &str, behind: impl Fn(&mut Vec<u8>, usize)) {
        let items = self.items.iter().enumerate().map(|(number, (_, json))| {
            let behind = &behind;
            move |out: &mut Vec<u8>| {
                out.extend_from_slice(json);
                behind(out, number);
            }
        });
        listing::page(out, name, items, self.next.as_ref().map(|next| next as _));
    }
}

impl Shard {
    /// A page of the topics that a filter stands for.
    pub(super) fn survey_topics(&mut self, conn: ConnId, filter: Filter<'_>, from: Mark, limit: usize) {
        let question = Question::Topics { filter: filter.as_str().into(), from, limit };
        let only = filter.as_topic().map(|topic| self.home_of(topic));
        self.ask_shards(conn, Gathered::Topics { parts: Vec::new(), limit }, &question, only);
    }

    /// A page of the connections, or of those of a user.
    pub(super) fn survey_connections(&mut self, conn: ConnId, user: Option<&str>, from: Mark, limit: usize) {
        let question = Question::Connections { user: user.map(Box::from), from, limit };
        self.ask_shards(conn, Gathered::Connections { parts: Vec::new(), limit }, &question, None);
    }

    /// One connection of a shard that there is, to be told of.
    pub(super) fn survey_connection(&mut self, conn: ConnId, shard: ShardId, asked: ConnId) {
        self.ask_shards(conn, Gathered::Connection(None), &Question::Connection(asked), Some(shard));
    }

    /// One connection of a shard that there is, to be ended.
    pub(super) fn survey_end(&mut self, conn: ConnId, shard: ShardId, asked: ConnId) {
        self.ask_shards(conn, Gathered::End(0), &Question::End(asked), Some(shard));
    }

    /// All connections of a user, to be ended.
    pub(super) fn survey_end_user(&mut self, conn: ConnId, user: &str) {
        let spared = self.client_of(conn);
        self.ask_shards(conn, Gathered::EndUser(0), &Question::EndUser { user: user.into(), spared }, None);
    }

    /// Asks one shard, or all.
    fn ask_shards(&mut self, conn: ConnId, gathered: Gathered, question: &Question, only: Option<ShardId>) {
        let asked = only.map_or_else(|| 0..self.shards, |shard| shard.0..shard.0 + 1);
        let serial = self.surveys.next_serial();
        self.surveys.open.insert(serial, Survey { conn, waiting: asked.len(), gathered });
        self.put_question(serial, question, asked);
    }

    /// Sends a question, this very shard's own included.
    pub(super) fn put_question(&mut self, serial: u64, question: &Question, asked: std::ops::Range<u16>) {
        for shard in asked.map(ShardId) {
            if shard == self.me {
                self.handle_question(shard, serial, question.clone());
            } else {
                let question = Box::new(question.clone());
                self.desk.commands_to(shard).items.push(Envelope::Survey { serial, question });
            }
        }
    }

    /// Takes a shard's part of an answer; the last one makes it whole.
    pub(super) fn take_answer(&mut self, serial: u64, shard: ShardId, answer: Answer) {
        let answer = match answer {
            Answer::Figures(figures) => return self.take_figures(serial, shard, figures),
            answer => answer,
        };
        let Some(survey) = self.surveys.open.get_mut(&serial) else { return };
        survey.waiting -= 1;
        match (&mut survey.gathered, answer) {
            (Gathered::Topics { parts, .. } | Gathered::Connections { parts, .. }, Answer::Page(page)) => {
                parts.push((shard, page));
            }
            (Gathered::Connection(found), Answer::Page(page)) => *found = Some(page),
            (Gathered::Subscribers { counts, .. }, Answer::Counts(more)) => {
                counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
            (Gathered::End(count) | Gathered::EndUser(count), Answer::Ended(more)) => *count += more,
            (gathered, answer) => unreachable!("{answer:?} answers no {gathered:?}"),
        }
        if survey.waiting == 0
            && let Some(Survey { conn, gathered, .. }) = self.surveys.open.remove(&serial)
        {
            self.conclude(conn, gathered);
        }
    }

    /// Every shard has answered.
    fn conclude(&mut self, conn: ConnId, gathered: Gathered) {
        match gathered {
            Gathered::Topics { parts, limit } => self.count_subscribers(conn, List::of(&parts, limit)),
            Gathered::Subscribers { list, counts } => self.take_document(conn, |out| {
                list.write(out, "topics", |out, number| listing::subscribers(out, counts[number]));
            }),
            Gathered::Connections { parts, limit } => {
                let list = List::of(&parts, limit);
                self.take_document(conn, |out| list.write(out, "connections", |_, _| {}));
            }
            Gathered::Connection(page) => match page.as_ref().and_then(|page| Some((page, page.items.first()?))) {
                Some((page, item)) => {
                    self.take_document(conn, |out| out.extend_from_slice(item.json.of(&page.bytes)));
                }
                None => self.take_part(conn, &Id::None, no_connection()),
            },
            Gathered::End(0) => self.take_part(conn, &Id::None, no_connection()),
            Gathered::End(_) => self.take_part(conn, &Id::None, Part::Done),
            Gathered::EndUser(count) => self.take_document(conn, |out| listing::ended(out, count)),
        }
    }

    /// A home knows which shards have subscribers; how many there are they know alone.
    fn count_subscribers(&mut self, conn: ConnId, list: List) {
        if self.stop.is_begun() {
            // The other shards were told that no command follows.
            return self.take_part(conn, &Id::None, Part::Failed(503, "the broker stops".to_owned()));
        }
        let names: Arc<[Box<str>]> = list.items.iter().map(|(name, _)| name.clone()).collect();
        let counts = vec![0; names.len()];
        self.ask_shards(conn, Gathered::Subscribers { list, counts }, &Question::Subscribers(names), None);
    }

    /// How many connections of this shard subscribe to each of these topics by its name.
    pub(super) fn counts_of(&self, names: &[Box<str>]) -> Vec<usize> {
        let slot = |name: &str| self.registry.find(Topic::known(name).into());
        names.iter().map(|name| slot(name).map_or(0, |slot| self.registry.subscribers(slot).len())).collect()
    }
}

fn no_connection() -> Part {
    Part::Failed(404, "client: there is no such connection, or it has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard's part with these slots, which ended before `next`.
    fn part(shard: u16, slots: &[u32], next: Option<u32>) -> (ShardId, Page) {
        let mut page = Page::new(0, 100);
        for slot in slots {
            page.push(*slot, "", |out| out.extend_from_slice(format!("{slot}-{shard}").as_bytes()));
        }
        page.next = next;
        (ShardId(shard), page)
    }

    fn list(parts: &[(ShardId, Page)], limit: usize) -> (String, Option<String>) {
        let list = List::of(parts, limit);
        let items: Vec<_> = list.items.into_iter().map(|(_, json)| String::from_utf8(json).expect("text")).collect();
        (items.join(" "), list.next.map(|next| next.to_string()))
    }

    fn expected(items: &str, next: &str) -> (String, Option<String>) {
        (items.to_owned(), Some(next.to_owned()).filter(|next| !next.is_empty()))
    }

    #[test]
    fn a_list_is_in_the_order_of_slots_and_a_limit_says_where_it_goes_on() {
        let parts = [part(1, &[0, 3], None), part(0, &[1, 3], None)];
        assert_eq!(list(&parts, 4), expected("0-1 1-0 3-0 3-1", ""));
        assert_eq!(list(&parts, 3), expected("0-1 1-0 3-0", "3-1"));
        assert_eq!(list(&[], 3), expected("", ""));
    }

    #[test]
    fn a_part_that_ended_early_bounds_what_a_page_can_say() {
        let parts = [part(0, &[1, 2], Some(3)), part(1, &[2, 3, 9], None), part(2, &[0, 2, 3], Some(7))];
        assert_eq!(list(&parts, 100), expected("0-2 1-0 2-0 2-1 2-2", "3-0"));
        assert_eq!(list(&parts, 2), expected("0-2 1-0", "2-0"));
    }
}
