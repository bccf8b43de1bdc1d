//! One shard's end of the mesh: takes its mail, posts what it made, says when it may sleep.
//!
//! A lane is a crossbeam ring of whole parcels: one turn costs one push per lane however much it holds. When a ring is full
//! the parcel comes back, its lane is marked stalled, and the receiver rings the sender's doorbell as soon as it took one.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

use super::flags::Stalled;
use super::{Command, Delivery, Doorbell, Parcel, Wake};
use crate::home::Home;
use crate::ids::ShardId;

/// One direction of one lane between two shards.
#[derive(Debug)]
struct Lane<T> {
    ring: ArrayQueue<Parcel<T>>,
    /// The sender found the ring full and waits for a bell.
    stalled: CachePadded<Stalled>,
}

impl<T> Lane<T> {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { ring: ArrayQueue::new(capacity), stalled: CachePadded::new(Stalled::new()) })
    }

    /// Pushes the parcel and leaves an empty one, or leaves it as it is when the ring is full.
    fn post(&self, parcel: &mut Parcel<T>) -> bool {
        self.stalled.post(|| self.push(parcel))
    }

    fn push(&self, parcel: &mut Parcel<T>) -> bool {
        match self.ring.push(std::mem::take(parcel)) {
            Ok(()) => true,
            Err(back) => {
                *parcel = back;
                false
            }
        }
    }

    fn take(&self, sender: &Doorbell) -> Option<Parcel<T>> {
        let parcel = self.ring.pop()?;
        if self.stalled.taken() {
            sender.ring();
        }
        Some(parcel)
    }
}

/// What one shard shares with one other.
#[derive(Debug)]
struct Link {
    peer: ShardId,
    bell: Doorbell,
    commands_out: Arc<Lane<Command>>,
    commands_in: Arc<Lane<Command>>,
    deliveries_out: Arc<Lane<Delivery>>,
    deliveries_in: Arc<Lane<Delivery>>,
    /// The ring was too full for what was to be posted.
    commands_left: bool,
    deliveries_left: bool,
}

impl Link {
    /// Whether there is something to do: mail, or room again in a ring that was full.
    fn is_busy(&self, with_commands: bool) -> bool {
        !self.deliveries_in.ring.is_empty()
            || (with_commands && !self.commands_in.ring.is_empty())
            || (self.commands_left && !self.commands_out.stalled.stands())
            || (self.deliveries_left && !self.deliveries_out.stalled.stands())
    }
}

/// One shard's end of the mesh.
#[derive(Debug)]
pub struct Desk {
    me: ShardId,
    bell: Doorbell,
    links: Vec<Link>,
    /// Per shard: commands of this turn, or left over because the ring was full.
    commands: Vec<Parcel<Command>>,
    bells_rung: u64,
}

/// Joins `wakes.len()` shards; `capacity` is the length of each ring, in parcels.
///
/// # Panics
/// If there are more shards than [`crate::limits::SHARDS_MAX`] or `capacity` is 0.
#[must_use]
pub fn join(wakes: Vec<Arc<dyn Wake>>, capacity: usize) -> Vec<Desk> {
    let shards = wakes.len();
    assert!(shards <= crate::limits::SHARDS_MAX, "the mesh joins at most SHARDS_MAX shards");
    let bells: Vec<Doorbell> = wakes.into_iter().map(Doorbell::new).collect();
    let lanes: Vec<_> = (0..shards * shards).map(|_| (Lane::new(capacity), Lane::new(capacity))).collect();
    let id = |index: usize| ShardId(u16::try_from(index).expect("at most SHARDS_MAX"));
    let link = |me: usize, peer: usize| {
        let (to, from) = (&lanes[me * shards + peer], &lanes[peer * shards + me]);
        Link {
            peer: id(peer),
            bell: bells[peer].clone(),
            commands_out: Arc::clone(&to.0),
            commands_in: Arc::clone(&from.0),
            deliveries_out: Arc::clone(&to.1),
            deliveries_in: Arc::clone(&from.1),
            commands_left: false,
            deliveries_left: false,
        }
    };
    let desk = |me: usize| Desk {
        me: id(me),
        bell: bells[me].clone(),
        links: (0..shards).filter(|&peer| peer != me).map(|peer| link(me, peer)).collect(),
        commands: (0..shards).map(|_| Parcel::default()).collect(),
        bells_rung: 0,
    };
    (0..shards).map(desk).collect()
}

impl Desk {
    /// Whose desk it is.
    #[must_use]
    pub fn me(&self) -> ShardId {
        self.me
    }

    /// The other shards.
    pub fn peers(&self) -> impl Iterator<Item = ShardId> + use<> {
        let (me, shards) = (self.me.0, u16::try_from(self.commands.len()).expect("at most SHARDS_MAX"));
        (0..shards).filter(move |&id| id != me).map(ShardId)
    }

    /// The commands of this turn for a home on another shard, to be added to.
    pub fn commands_to(&mut self, shard: ShardId) -> &mut Parcel<Command> {
        debug_assert_ne!(shard, self.me, "a shard speaks to its own home directly");
        &mut self.commands[shard.index()]
    }

    /// Posts this turn's commands and what the home of this shard has for the others. What a full ring does not take
    /// stays where it is and goes first in the next turn.
    pub fn post(&mut self, home: &mut Home) {
        for link in &mut self.links {
            let (commands, deliveries) = (&mut self.commands[link.peer.index()], home.parcel(link.peer));
            let some = (!commands.is_empty(), !deliveries.is_empty());
            link.commands_left = some.0 && !link.commands_out.post(commands);
            link.deliveries_left = some.1 && !link.deliveries_out.post(deliveries);
            if (some.0 && !link.commands_left) || (some.1 && !link.deliveries_left) {
                self.bells_rung += u64::from(link.bell.ring());
            }
        }
    }

    /// Whether a ring was too full for commands: no connection of this shard may be read until it is not.
    #[must_use]
    pub fn commands_wait(&self) -> bool {
        self.links.iter().any(|link| link.commands_left)
    }

    /// Whether a ring was too full for deliveries: the home of this shard may take no command until it is not.
    #[must_use]
    pub fn deliveries_wait(&self) -> bool {
        self.links.iter().any(|link| link.deliveries_left)
    }

    /// The next parcel of commands for this shard's home, of one peer after the other. `turn` numbers the peers.
    pub fn take_commands(&mut self, turn: usize) -> Option<(ShardId, Parcel<Command>)> {
        let link = self.links.get(turn)?;
        link.commands_in.take(&link.bell).map(|parcel| (link.peer, parcel))
    }

    /// The next parcel of deliveries from the home of the peer numbered `turn`.
    pub fn take_deliveries(&mut self, turn: usize) -> Option<(ShardId, Parcel<Delivery>)> {
        let link = self.links.get(turn)?;
        link.deliveries_in.take(&link.bell).map(|parcel| (link.peer, parcel))
    }

    /// How many peers there are: the numbers for the `take_` calls are below it.
    #[must_use]
    pub fn peers_len(&self) -> usize {
        self.links.len()
    }

    /// Before sleeping: true if there is nothing to do, and from now on whoever posts or makes room will ring. `with_commands` is false while the
    /// home cannot take commands: then only deliveries count as mail.
    #[must_use]
    pub fn lie_down(&self, with_commands: bool) -> bool {
        self.bell.lie_down();
        let quiet = !self.has_mail(with_commands);
        if !quiet {
            self.bell.rise();
        }
        quiet
    }

    /// Whether there is something to do; `with_commands` as for [`Desk::lie_down`].
    #[must_use]
    pub fn has_mail(&self, with_commands: bool) -> bool {
        self.links.iter().any(|link| link.is_busy(with_commands))
    }

    /// After sleeping.
    pub fn rise(&self) {
        self.bell.rise();
    }

    /// How often this shard had to wake another: one system call each.
    #[must_use]
    pub fn bells_rung(&self) -> u64 {
        self.bells_rung
    }
}

#[cfg(test)]
mod tests;
