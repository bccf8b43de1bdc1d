//! The only types that cross cores: envelopes, the rings between shards, the doorbell of each.
//!
//! [`join`] makes one [`Desk`] per shard. Between each ordered pair of shards there are two lanes, each a bounded ring of
//! [`Parcel`]s in order: *commands* go to homes, *deliveries* come from homes. A delivery never causes more deliveries, so
//! the delivery lane always drains (later, where a shard is late with its writes); a full lane is told to the caller, who stops making more. Nothing is dropped, no
//! thread is blocked. Refuses to know what the mail means.

mod command;
mod desk;
mod doorbell;
mod flags;
#[cfg(test)]
mod under_loom;

/// What `flags` is made of; its twin in `under_loom` is loom's.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

pub use crate::home::{Delivery, Parcel};
pub use command::{Command, PackedPublish};
pub use desk::{Desk, join};
pub use doorbell::{Doorbell, Wake};

/// All that crosses threads must be able to: asserted here, at compile time.
const _: () = {
    const fn crosses<T: Send>() {}
    crosses::<Parcel<Command>>();
    crosses::<Parcel<Delivery>>();
    crosses::<Desk>();
};
