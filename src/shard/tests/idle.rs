//! Many connections that do nothing: what a tick costs, and how evenly it falls. No socket, no peer: only the shard.

use super::*;

/// Sockets that take everything and remember who was pinged.
#[derive(Default)]
struct Deaf {
    pinged: Vec<u32>,
    closed: usize,
}

impl Wire for Deaf {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        if bytes == [0x89, 0] {
            self.pinged.push(conn);
        }
        self.closed += usize::from(bytes[0] == 0x88);
        Sent::Bytes(bytes.len())
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        self.send(conn, &pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>())
    }
}

/// What the busiest tick of two heartbeat intervals did, and the busiest turn.
#[derive(Debug, Default)]
struct Busiest {
    looks: usize,
    pings: usize,
    looks_in_a_turn: usize,
}

/// Opens so many connections in one tick and lets two intervals pass. Everybody answers its pings.
fn two_intervals(connections: u32, interval_s: u32) -> Busiest {
    let mut config = Config::default();
    config.heartbeat.interval_s = interval_s;
    let origins = Origins::parse(&config.server.allowed_origins).expect("valid");
    let desk = mesh::join(vec![Arc::new(Silent) as Arc<dyn Wake>], 4).remove(0);
    let mut shard = Shard::new(Settings { config, origins, credentials: None, began_unix_s: 0, seed: 42 }, desk, 0);
    let mut wire = Deaf::default();
    let pong = masked(Opcode::Pong, b"");
    let mut buf = vec![0; 1024];
    shard.begin_turn(0);
    for _ in 0..connections {
        let id = shard.handle_accept(false);
        buf[..UPGRADE.len()].copy_from_slice(UPGRADE.as_bytes());
        shard.handle_bytes(id, &mut buf, UPGRADE.len());
    }
    while shard.has_work() {
        shard.end_turn(&mut wire);
    }
    let (mut busiest, mut pings) = (Busiest::default(), 0);
    let ticks = u64::from(interval_s) * 1000 / TICK_MS;
    for tick in 1..=2 * ticks {
        let looks = shard.wheel.looks();
        shard.begin_turn(tick * TICK_MS);
        while shard.deadline_ms().is_some_and(|deadline| deadline <= tick * TICK_MS) {
            let looks = shard.wheel.looks();
            shard.end_turn(&mut wire);
            busiest.looks_in_a_turn = busiest.looks_in_a_turn.max(shard.wheel.looks() - looks);
        }
        busiest.looks = busiest.looks.max(shard.wheel.looks() - looks);
        busiest.pings = busiest.pings.max(wire.pinged.len());
        pings += wire.pinged.len();
        for index in wire.pinged.drain(..) {
            buf[..pong.len()].copy_from_slice(&pong);
            shard.handle_bytes(shard.id_of(index), &mut buf, pong.len());
        }
    }
    // The first place in the interval may come before half of it passed in silence.
    assert!(pings >= connections as usize && pings <= 2 * connections as usize, "{pings} pings");
    assert_eq!((shard.connections_len(), wire.closed), (connections as usize, 0), "all of them lived");
    busiest
}

#[test]
fn a_storm_of_connections_does_not_become_a_storm_of_pings() {
    let busiest = two_intervals(10_000, 25);
    assert!(busiest.pings <= 2 * 10_000 / 250, "{busiest:?}");
}

#[test]
fn nor_with_intervals_longer_than_the_wheel() {
    for interval_s in [103, 150, 180, 250, 600] {
        let busiest = two_intervals(10_000, interval_s);
        assert!(busiest.pings <= 4 * 10_000 / (interval_s as usize * 10), "{interval_s} s: {busiest:?}");
        assert!(busiest.looks <= 10_000 / 100, "{interval_s} s: {busiest:?}");
    }
}

#[test]
fn a_hundred_thousand_idle_connections_cost_each_tick_only_its_share() {
    let busiest = two_intervals(100_000, 25);
    // Each is looked at twice in an interval of 250 ticks: for its ping, and for its pong.
    assert!(busiest.looks <= 3 * 100_000 / 250, "{busiest:?}");
    assert!(busiest.pings <= 2 * 100_000 / 250, "{busiest:?}");
}

#[test]
fn a_tick_with_many_deadlines_is_several_turns() {
    let busiest = two_intervals(10_000, 1);
    assert!(busiest.looks > limits::DEADLINES_PER_TURN, "{busiest:?}");
    assert_eq!(busiest.looks_in_a_turn, limits::DEADLINES_PER_TURN);
}
