//! The fast reader: simd-json checks the message, and its structural index says where each value lies in it.
//!
//! The parser asks it first. simd-json unescapes in place, so it works on a copy in a reused, padded buffer; values
//! are spans of the message itself. What it refuses may still be JSON (a lone surrogate, 1e400): `fallback` decides.
//! Unescaped text is borrowed from the copy, which is why members live only as long as the call.

use simd_json::{Buffers, INPUT_PADDING, Node, Tape, fill_tape_padded};

use super::command::{Members, Value};
use super::fault::{Kind, Reason};
use crate::limits::{BATCH_COMMANDS_MAX, JSON_DEPTH_MAX, PARSER_KEPT_BYTES};

/// What a reader hands on for each command of a message.
pub(super) type Item<'f> = &'f mut dyn FnMut(Result<&Members<'_>, Reason>);

/// simd-json's buffers, reused from message to message.
pub(super) struct Spans {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Spans {
    pub(super) fn new() -> Self {
        Self { copy: Vec::new(), buffers: Buffers::with_max_depth(0, JSON_DEPTH_MAX), tape: Tape(Vec::new()) }
    }

    /// Hands the commands of `json` to `item`, in order. Whether simd-json took it: if not, nothing was handed on.
    pub(super) fn read(&mut self, json: &[u8], batches: bool, item: Item<'_>) -> bool {
        self.copy.clear();
        self.copy.extend_from_slice(json);
        self.copy.resize(json.len() + INPUT_PADDING, b' ');
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let taken = fill_tape_padded(&mut self.copy, json.len(), &mut self.buffers, &mut tape).is_ok();
        if taken {
            let mut walk = Walk { json, indexes: self.buffers.structural_indexes(), tape: &tape.0, index: 0, node: 0 };
            walk.document(batches, item);
        }
        self.tape = tape.reset();
        // The tape and the indexes take up to about 30 bytes for each byte of a message.
        if json.len() > PARSER_KEPT_BYTES {
            *self = Self::new();
        }
        taken
    }
}

#[cfg(test)]
impl Spans {
    /// What it holds between messages, as far as it can be seen.
    pub(super) fn kept_bytes(&self) -> usize {
        let tape = self.tape.0.capacity() * size_of::<Node<'_>>();
        self.copy.capacity() + tape + size_of_val(self.buffers.structural_indexes())
    }
}

/// Goes over the tape (values, keys) and the structural index (positions) of one document, side by side.
///
/// The index holds the position of every `{ } [ ] : ,` outside strings and of the first byte of every other value.
/// Both describe a document that simd-json took, so no step can fail; should one, it is `None` and not a panic.
struct Walk<'a> {
    json: &'a [u8],
    indexes: &'a [u32],
    tape: &'a [Node<'a>],
    /// Next entry of `indexes`.
    index: usize,
    /// Next entry of `tape`.
    node: usize,
}

impl<'a> Walk<'a> {
    fn document(&mut self, batches: bool, item: Item<'_>) {
        match self.tape.first() {
            Some(&Node::Array { len: 0, .. }) if batches => item(Err(Reason::BatchEmpty)),
            Some(&Node::Array { len, .. }) if batches && len > BATCH_COMMANDS_MAX => {
                item(Err(Reason::BatchTooLong { len }));
            }
            Some(&Node::Array { len, .. }) if batches => {
                (self.index, self.node) = (1, 1);
                for index in 0..len {
                    match self.element(index) {
                        Ok(members) => item(Ok(&members)),
                        Err(reason) => item(Err(reason)),
                    }
                    // The `,` or `]` after it.
                    self.index += 1;
                }
            }
            Some(Node::Object { .. }) => item(self.members().as_ref().ok_or_else(|| self.lost())),
            _ => item(Err(Reason::NotACommand { found: self.kind().unwrap_or(Kind::Null) })),
        }
    }

    fn element(&mut self, index: usize) -> Result<Members<'a>, Reason> {
        if let Some(Node::Object { .. }) = self.tape.get(self.node) {
            return self.members().ok_or_else(|| self.lost());
        }
        let found = self.kind().ok_or_else(|| self.lost())?;
        self.value().ok_or_else(|| self.lost())?;
        Err(Reason::ElementNotACommand { index, found })
    }

    /// The members of the object here, and a step behind it.
    fn members(&mut self) -> Option<Members<'a>> {
        let mut members = Members::default();
        let Node::Object { len, .. } = *self.tape.get(self.node)? else {
            return None;
        };
        self.node += 1;
        self.index += 1;
        for _ in 0..len {
            let Node::String(key) = *self.tape.get(self.node)? else {
                return None;
            };
            self.node += 1;
            // The key and its `:`.
            self.index += 2;
            let value = *self.tape.get(self.node)?;
            let raw = self.value()?;
            members.take(key, raw, || match value {
                Node::String(text) => Value::Text(text),
                _ => Value::Raw(raw),
            });
            // The `,` or `}` after it.
            self.index += 1;
        }
        if len == 0 {
            // No value, so no separator was passed: the `}`.
            self.index += 1;
        }
        Some(members)
    }

    /// The JSON of the value here without whitespace around it, and a step behind it.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.node += match *self.tape.get(self.node)? {
            Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
            Node::String(_) | Node::Static(_) => 1,
        };
        let start = self.position()?;
        let mut depth = 0u32;
        loop {
            match self.json.get(self.position()?)? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.index += 1;
            if depth == 0 {
                break;
            }
        }
        // What follows a member or an element: `,`, `}` or `]`.
        let value = self.json.get(start..self.position()?)?;
        Some(value.trim_ascii_end())
    }

    fn position(&self) -> Option<usize> {
        self.indexes.get(self.index).map(|&at| at as usize)
    }

    fn kind(&self) -> Option<Kind> {
        self.json.get(self.position()?..).map(Kind::of)
    }

    /// The reason for a step that failed although none can.
    fn lost(&self) -> Reason {
        debug_assert!(false, "tape and index disagree at entry {}", self.index);
        Reason::Json { at: self.position().unwrap_or(self.json.len()) }
    }
}
