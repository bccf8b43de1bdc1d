//! The wildcard matcher: filters in, one number per filter; a topic in, the numbers of all filters that match out.
//!
//! A trie by levels. Nodes lie in a slab; `+` is a link in the node and `#` a value in it, all other edges are in one
//! table keyed by (node, level), levels being interned, so that a node costs no map of its own. Everything a removed
//! filter owned alone goes with it. Nothing recurses. Shards call `find` through [`MatchCache`](super::MatchCache).
//!
//! Cost of `find`: one node per fitting prefix of a filter. With only literal and `#` filters that is at most one per
//! level of the topic; each filter with `+` adds at most `PLUS_FILTER_LEVELS_MAX` nodes, and shared prefixes count once.

use std::collections::HashMap;

use foldhash::fast::SeedableRandomState;
use slab::Slab;
use smallvec::SmallVec;

use super::{Filter, Topic, hasher};

#[cfg(test)]
mod tests;

/// Filters and the value of each. See the module for its shape and cost.
#[derive(Debug)]
pub struct Matcher {
    nodes: Slab<Node>,
    /// The literal edges of all nodes.
    edges: HashMap<Edge, u32, SeedableRandomState>,
    /// The literal levels that any edge uses.
    levels: HashMap<LevelName, Level, SeedableRandomState>,
    /// Level ids below `levels.len() + free_levels.len()` that are not in use.
    free_levels: Vec<u32>,
    /// Scratch of `remove`: the nodes from the root to the filter's own.
    path: Vec<u32>,
    len: usize,
    generation: u64,
}

/// Most levels are short: up to 16 bytes lie in the key itself.
type LevelName = SmallVec<[u8; 16]>;

#[derive(Debug)]
struct Level {
    id: u32,
    /// How many edges bear it, at least 1.
    edges: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Edge {
    from: u32,
    level: u32,
}

#[derive(Debug)]
struct Node {
    /// Of the filter that ends here.
    value: Option<u32>,
    /// Of the filter that ends here with a `#` below.
    hash: Option<u32>,
    /// The child over `+`, or [`NONE`].
    plus: u32,
    /// How many literal edges leave here.
    edges: u32,
}

impl Matcher {
    /// An empty matcher. The seed keeps a stranger from choosing names whose hashes collide.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new());
        debug_assert_eq!(root, ROOT as usize);
        Self {
            nodes,
            edges: HashMap::with_hasher(hasher(seed)),
            levels: HashMap::with_hasher(hasher(seed)),
            free_levels: Vec::new(),
            path: Vec::new(),
            len: 0,
            generation: 0,
        }
    }

    /// How many filters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number that changes whenever a result of `find` may have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Gives `filter` a value and returns its former one.
    pub fn insert(&mut self, filter: Filter<'_>, value: u32) -> Option<u32> {
        self.generation += 1;
        let mut node = ROOT;
        for level in filter.as_str().split('/') {
            if level == "#" {
                let former = self.node_mut(node).hash.replace(value);
                self.len += usize::from(former.is_none());
                return former;
            }
            node = self.child_or_new(node, level);
        }
        let former = self.node_mut(node).value.replace(value);
        self.len += usize::from(former.is_none());
        former
    }

    /// Forgets `filter` and returns its value.
    pub fn remove(&mut self, filter: Filter<'_>) -> Option<u32> {
        let mut path = std::mem::take(&mut self.path);
        let value = self.remove_along(filter, &mut path);
        path.clear();
        self.path = path;
        if self.len == 0 && self.nodes.capacity() > KEPT_NODES {
            self.nodes.shrink_to_fit();
            self.edges.shrink_to_fit();
            self.levels.shrink_to_fit();
            self.free_levels = Vec::new();
        }
        value
    }

    /// Appends the values of all filters that match `topic`, each once, in an order that depends on the filters and
    /// their former insertions only.
    pub fn find(&self, topic: Topic<'_>, out: &mut Vec<u32>) {
        self.search(topic, out);
    }

    /// `find`, and how many nodes it looked at.
    fn search(&self, topic: Topic<'_>, out: &mut Vec<u32>) -> usize {
        let mut visited = 0;
        let (mut here, mut next) = (Frontier::new(), Frontier::new());
        here.push(ROOT);
        // A wildcard first level never matches a topic of the broker, and only the root has those.
        let mut wildcards = !topic.is_broker();
        for level in topic.as_str().split('/') {
            let level = self.levels.get(level.as_bytes()).map(|level| level.id);
            visited += here.len();
            for &from in &here {
                let node = self.node(from);
                if wildcards {
                    out.extend(node.hash);
                    if node.plus != NONE {
                        next.push(node.plus);
                    }
                }
                if node.edges > 0
                    && let Some(level) = level
                    && let Some(&child) = self.edges.get(&Edge { from, level })
                {
                    next.push(child);
                }
            }
            wildcards = true;
            std::mem::swap(&mut here, &mut next);
            next.clear();
            if here.is_empty() {
                return visited;
            }
        }
        for &end in &here {
            let node = self.node(end);
            out.extend(node.value);
            out.extend(node.hash);
        }
        visited + here.len()
    }

    fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    fn new_node(&mut self) -> u32 {
        let index = self.nodes.insert(Node::new());
        u32::try_from(index).expect("2^32 nodes do not fit into memory: each takes 24 bytes")
    }

    /// The child over a literal level or `+`, if it exists.
    fn child(&self, from: u32, level: &str) -> Option<u32> {
        if level == "+" {
            let plus = self.node(from).plus;
            return (plus != NONE).then_some(plus);
        }
        let level = self.levels.get(level.as_bytes())?.id;
        self.edges.get(&Edge { from, level }).copied()
    }

    fn child_or_new(&mut self, from: u32, level: &str) -> u32 {
        if let Some(child) = self.child(from, level) {
            return child;
        }
        let child = self.new_node();
        if level == "+" {
            self.node_mut(from).plus = child;
            return child;
        }
        let level = match self.levels.get_mut(level.as_bytes()) {
            Some(known) => {
                known.edges += 1;
                known.id
            }
            None => self.new_level(level),
        };
        self.edges.insert(Edge { from, level }, child);
        self.node_mut(from).edges += 1;
        child
    }

    /// Interns a level that is about to get its first edge.
    fn new_level(&mut self, level: &str) -> u32 {
        let id = self
            .free_levels
            .pop()
            .unwrap_or_else(|| u32::try_from(self.levels.len()).expect("there are no more levels than nodes"));
        let name = LevelName::from_slice(level.as_bytes());
        self.levels.insert(name, Level { id, edges: 1 });
        id
    }

    fn remove_along(&mut self, filter: Filter<'_>, path: &mut Vec<u32>) -> Option<u32> {
        let levels = filter.as_str();
        let (levels, hash) = match levels.strip_suffix('#') {
            Some(parent) => (parent.strip_suffix('/').unwrap_or(parent), true),
            None => (levels, false),
        };
        path.push(ROOT);
        let mut node = ROOT;
        // The filter `#` leaves no level before it, and `split` would see one.
        for level in levels.split('/').filter(|level| !level.is_empty()) {
            node = self.child(node, level)?;
            path.push(node);
        }
        let end = self.node_mut(node);
        let slot = if hash { &mut end.hash } else { &mut end.value };
        let value = slot.take()?;
        self.len -= 1;
        self.generation += 1;
        for level in levels.rsplit('/') {
            let [.., from, child] = path[..] else { break };
            if !self.node(child).is_bare() {
                break;
            }
            self.remove_edge(from, level);
            self.nodes.remove(child as usize);
            path.pop();
        }
        Some(value)
    }

    fn remove_edge(&mut self, from: u32, level: &str) {
        if level == "+" {
            self.node_mut(from).plus = NONE;
            return;
        }
        let known = self.levels.get_mut(level.as_bytes()).expect("an edge keeps its level interned");
        let id = known.id;
        known.edges -= 1;
        if known.edges == 0 {
            self.levels.remove(level.as_bytes());
            self.free_levels.push(id);
        }
        self.edges.remove(&Edge { from, level: id });
        self.node_mut(from).edges -= 1;
    }
}

impl Node {
    fn new() -> Self {
        Self { value: None, hash: None, plus: NONE, edges: 0 }
    }

    /// Whether nothing ends at or below the node.
    fn is_bare(&self) -> bool {
        self.value.is_none() && self.hash.is_none() && self.plus == NONE && self.edges == 0
    }
}

/// The nodes that fit the levels seen so far. Beyond 32 it spills to the heap.
type Frontier = SmallVec<[u32; 32]>;

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// An emptied matcher keeps the memory of this many nodes.
const KEPT_NODES: usize = 1024;
