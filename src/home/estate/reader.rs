//! Reads an estate, however its bytes are split, and gives out each topic once it is whole.
//!
//! The bytes come from another process of the same user, which may be of another build, may break off and may be wrong:
//! every record is checked against what came before it, and after the first [`Fault`] nothing more is taken. Invariants:
//! memory grows with what came and not with what was promised; of one topic at most `topic_bytes_max` of publications and a
//! record are kept, the newest.

use std::fmt;

use super::{Bequest, Fields, Kind, publications_of};
use crate::limits;

/// Why an estate is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A record is longer than any may be, or empty.
    Length(u32),
    /// There is no such kind of record.
    Kind(u8),
    /// A record of a kind that does not belong there.
    Order,
    /// A record does not hold what its kind should.
    Body,
    /// The numbers of topics or homes are not those that came.
    Count,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "a record of {len} bytes"),
            Self::Kind(kind) => write!(f, "a record of the unknown kind {kind}"),
            Self::Order => f.write_str("a record where it does not belong"),
            Self::Body => f.write_str("a record that does not hold what it should"),
            Self::Count => f.write_str("not as many topics or homes as it says"),
        }
    }
}

impl std::error::Error for Fault {}

/// See the module's page.
#[derive(Debug)]
pub struct Reader {
    topic_bytes_max: usize,
    /// The length of the record to come, as far as it is known.
    header: [u8; 4],
    header_len: usize,
    /// What came of the record, with its kind.
    pub(super) record: Vec<u8>,
    /// The topic that has begun.
    open: Option<Open>,
    /// Topics of the home that has begun.
    topics: u64,
    homes: u64,
    whole: bool,
    fault: Option<Fault>,
}

/// A topic that is not whole.
#[derive(Debug)]
struct Open {
    bequest: Bequest,
    /// The offset of the publication to come, if any came.
    next: Option<u64>,
    /// Of its publications.
    bytes: usize,
}

impl Reader {
    /// Keeps at most so many bytes of a topic's publications.
    #[must_use]
    pub fn new(topic_bytes_max: usize) -> Self {
        Self {
            topic_bytes_max,
            header: [0; 4],
            header_len: 0,
            record: Vec::new(),
            open: None,
            topics: 0,
            homes: 0,
            whole: false,
            fault: None,
        }
    }

    /// Whether all of it came.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole && self.fault.is_none()
    }

    /// Takes some more bytes and gives each topic that is whole to `take`.
    ///
    /// # Errors
    /// What is wrong with them; the same for all that follow.
    pub fn read(&mut self, mut bytes: &[u8], take: &mut impl FnMut(Bequest)) -> Result<(), Fault> {
        while self.fault.is_none() && !bytes.is_empty() {
            if self.whole {
                self.fault = Some(Fault::Order);
                break;
            }
            bytes = match self.take_some(bytes, take) {
                Ok(rest) => rest,
                Err(fault) => {
                    self.fault = Some(fault);
                    (self.open, self.record) = (None, Vec::new());
                    break;
                }
            };
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Takes bytes up to the end of a record at most; the rest.
    fn take_some<'b>(&mut self, bytes: &'b [u8], take: &mut impl FnMut(Bequest)) -> Result<&'b [u8], Fault> {
        if self.header_len < self.header.len() {
            let (some, rest) = bytes.split_at(bytes.len().min(self.header.len() - self.header_len));
            self.header[self.header_len..][..some.len()].copy_from_slice(some);
            self.header_len += some.len();
            if self.header_len == self.header.len() {
                let len = u32::from_le_bytes(self.header);
                if !(1..=limits::ESTATE_RECORD_BYTES_MAX).contains(&(len as usize)) {
                    return Err(Fault::Length(len));
                }
                self.record.reserve_exact((len as usize).min(limits::ESTATE_RECORD_BYTES));
            }
            return Ok(rest);
        }
        let len = u32::from_le_bytes(self.header) as usize;
        let (some, rest) = bytes.split_at(bytes.len().min(len - self.record.len()));
        self.record.extend_from_slice(some);
        if self.record.len() == len {
            self.header_len = 0;
            let mut body = std::mem::take(&mut self.record);
            let kind = body.remove(0);
            self.take_record(Kind::of(kind).ok_or(Fault::Kind(kind))?, body, take)?;
        }
        Ok(rest)
    }

    fn take_record(&mut self, kind: Kind, body: Vec<u8>, take: &mut impl FnMut(Bequest)) -> Result<(), Fault> {
        match (kind, &mut self.open) {
            (Kind::Topic, None) => {
                let bequest = Fields(&body).topic().ok_or(Fault::Body)?;
                self.open = Some(Open { bequest, next: None, bytes: 0 });
            }
            (Kind::Publications, Some(open)) => open.take_publications(body, self.topic_bytes_max)?,
            (Kind::Keys, Some(open)) => open.take_keys(body)?,
            (Kind::TopicEnd, Some(_)) if !body.is_empty() => return Err(Fault::Body),
            (Kind::TopicEnd, Some(open)) if open.next.is_some_and(|next| next - 1 != open.bequest.offset) => {
                return Err(Fault::Body);
            }
            (Kind::TopicEnd, Some(_)) => {
                self.topics += 1;
                self.open.take().into_iter().for_each(|open| take(open.bequest));
            }
            (Kind::HomeEnd, None) => {
                self.homes += 1;
                count(&body, std::mem::take(&mut self.topics))?;
            }
            (Kind::End, None) if self.topics == 0 => {
                count(&body, self.homes)?;
                self.whole = true;
            }
            _ => return Err(Fault::Order),
        }
        Ok(())
    }
}

/// Whether the body is that number.
fn count(body: &[u8], came: u64) -> Result<(), Fault> {
    let mut fields = Fields(body);
    let said = fields.u64().filter(|_| fields.is_empty()).ok_or(Fault::Body)?;
    if said == came { Ok(()) } else { Err(Fault::Count) }
}

impl Open {
    fn take_publications(&mut self, body: Vec<u8>, bytes_max: usize) -> Result<(), Fault> {
        let (first, mut fields) = publications_of(&body).ok_or(Fault::Body)?;
        let mut next = first;
        if first == 0 || self.next.is_some_and(|next| next != first) || fields.is_empty() {
            return Err(Fault::Body);
        }
        while !fields.is_empty() {
            fields.publication().filter(|_| next <= self.bequest.offset).ok_or(Fault::Body)?;
            next = next.checked_add(1).ok_or(Fault::Body)?;
        }
        self.next = Some(next);
        self.bytes += body.len();
        self.bequest.publications.push_back(body);
        // More than the heir may keep of everything: the oldest go first there, too.
        while self.bytes > bytes_max
            && self.bequest.publications.len() > 1
            && let Some(oldest) = self.bequest.publications.pop_front()
        {
            self.bytes -= oldest.len();
        }
        Ok(())
    }

    fn take_keys(&mut self, body: Vec<u8>) -> Result<(), Fault> {
        let mut fields = Fields(&body);
        while !fields.is_empty() {
            let key = fields.key().ok_or(Fault::Body)?;
            if !(1..=self.bequest.offset).contains(&key.offset) {
                return Err(Fault::Body);
            }
        }
        self.bequest.keys.push(body);
        Ok(())
    }
}
