//! Names, filters and the matcher: which topics a filter stands for, and which filters a topic meets.
//!
//! `protocol` parses names out of commands, `home` keeps topics, `shard` asks the matcher. Nothing here knows a
//! connection: filters map to plain numbers whose meaning is the caller's.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

mod cache;
mod index;
mod matcher;
mod name;
mod presence;
mod system;
mod text;

pub use cache::MatchCache;
pub use index::NameIndex;
pub use matcher::Matcher;
pub use name::{Filter, NameError, PLUS_FILTER_LEVELS_MAX, TOPIC_BYTES_MAX, Topic};
pub use presence::{presence_of, subject};
pub use system::{STATS, canary, canary_number};
pub use text::Text;

/// The hash of every map keyed by a stranger's text.
///
/// foldhash's fixed shared constants are public, and a name that holds one of them makes a multiplication by zero
/// whatever the map's own seed is. So its shared half is the process's random one, and `seed` the map's own. Nothing
/// observable depends on either, because no map is ever iterated.
fn hasher(seed: u64) -> SeedableRandomState {
    SeedableRandomState::with_seed(seed, SharedSeed::global_random())
}
