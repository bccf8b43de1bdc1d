//! What a client asks of a topic's past: where its subscriptions begin, which pages of history it wants.
//!
//! Positions are mostly those that its person really had, on this connection or an earlier one, on whatever shard that
//! was; some are of other topics, of other lives, too old or in the future.

use crate::commands::{quoted, subscribe};
use crate::event::{Begin, Sent};
use crate::model::Model;
use crate::plan::TOPICS;
use crate::random::Random;

/// What a person remembers: the connections that were his, and what they got.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) model: &'a Model,
    /// What was known in the topics' former lives.
    pub(crate) former: Option<&'a Model>,
    pub(crate) clients: Vec<u32>,
}

impl Memory<'_> {
    /// Where a subscribe to the topic is to begin. Only one with an id asks for the past: what came would be a riddle else.
    pub(crate) fn begin(&self, topic: &str, id: Option<&String>, random: &mut Random) -> Begin {
        if id.is_none() {
            return Begin::Now;
        }
        match random.below(10) {
            0..5 if self.model.newest(topic).is_some() || random.chance(5) => {
                Begin::Since(self.position(topic, random))
            }
            5..7 => Begin::Last(*random.pick(&[0, 1, 2, 5, 1000])),
            _ => Begin::Now,
        }
    }

    fn position(&self, topic: &str, random: &mut Random) -> String {
        let newest = self.model.newest(topic);
        let former = self.former.and_then(|former| former.newest(topic)).filter(|_| random.chance(40));
        if let Some((epoch, offset)) = former {
            return format!("{epoch}:{}", random.between(0, offset as usize));
        }
        match (random.below(20), newest) {
            (0, _) => "00000000:0".to_owned(),
            (1, Some((_, offset))) => format!("0badcafe:{offset}"),
            (2, _) => self.own(random.pick::<&str>(&TOPICS), random).unwrap_or_else(|| "00000001:1".to_owned()),
            (3, Some((epoch, _))) => format!("{epoch}:0"),
            (4, Some((epoch, offset))) => format!("{epoch}:{}", offset + random.between(1, 50) as u64),
            (5, Some((epoch, _))) => format!("{epoch}:{}", u64::MAX),
            (6..9, Some((epoch, offset))) => {
                format!("{epoch}:{}", offset.saturating_sub(random.below(8) as u64))
            }
            (_, newest) => self.own(topic, random).unwrap_or_else(|| match newest {
                Some((epoch, offset)) => format!("{epoch}:{offset}"),
                None => "00000002:7".to_owned(),
            }),
        }
    }

    /// What a person says first who was here before: some of the topics that he had, after what he had of them.
    pub(crate) fn come_back(&self, random: &mut Random) -> Vec<(String, Sent)> {
        let mut all = Vec::new();
        for topic in TOPICS {
            if let Some(had) = self.own(topic, random).filter(|_| random.chance(50)) {
                let id = (random.word() >> 11).to_string();
                let member = format!(r#""id":{id},"#);
                all.push(subscribe(topic, Some(id), &member, Begin::Since(had), false));
            }
        }
        all
    }

    /// Asks who is there: a first page, the one behind the last one, or one behind somebody.
    pub(crate) fn presence(&self, client: u32, id: String, random: &mut Random) -> (String, Sent) {
        let limit = *random.pick(&[1, 2, 5, 1000]);
        let (topic, after) = match (random.below(10), self.model.next_page(client)) {
            (0..6, Some((topic, next))) => (topic, Some(next)),
            (6, _) => (*random.pick(&TOPICS), Some("0-1-0".to_owned())),
            _ => (*random.pick(&TOPICS), None),
        };
        page(topic, id, limit, after, false)
    }

    /// The last position that one of the person's connections had.
    fn own(&self, topic: &str, random: &mut Random) -> Option<String> {
        let had: Vec<String> = self.clients.iter().filter_map(|&client| self.model.position(client, topic)).collect();
        if had.is_empty() { None } else { Some(random.pick(&had).clone()) }
    }

    /// Asks for a page.
    pub(crate) fn history(&self, id: String, random: &mut Random) -> (String, Sent) {
        let topic = *random.pick(&TOPICS);
        let positioned = self.model.newest(topic).is_some() && random.chance(60);
        let since = positioned.then(|| self.position(topic, random));
        let limit = *random.pick(&[1, 2, 5, 1000]);
        let reverse = random.chance(40);
        let since_member = since.as_ref().map_or(String::new(), |since| format!(r#""since":"{since}","#));
        let limit_member = if limit == 1000 { String::new() } else { format!(r#""limit":{limit},"#) };
        let reverse_member = if reverse { r#""reverse":true,"# } else { "" };
        let json = format!(
            r#"{{"op":"history",{since_member}{limit_member}{reverse_member}"id":{id},"topic":{}}}"#,
            quoted(topic)
        );
        (json, Sent::History { topic: topic.to_owned(), id: Some(id), since, limit, reverse })
    }
}

/// One page of who is there.
pub(crate) fn page(topic: &str, id: String, limit: u64, after: Option<String>, still: bool) -> (String, Sent) {
    let limit_member = if limit == 1000 { String::new() } else { format!(r#""limit":{limit},"#) };
    let after_member = after.as_ref().map_or(String::new(), |after| format!(r#""after":"{after}","#));
    let json = format!(r#"{{"op":"presence",{limit_member}{after_member}"id":{id},"topic":{}}}"#, quoted(topic));
    (json, Sent::Presence { topic: topic.to_owned(), id: Some(id), limit, after, still })
}
