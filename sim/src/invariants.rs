//! What holds after every round of an engine's thread, whatever happened.

use engine::limits::{ANSWER_MS, BODY_MS, HEAD_MS, LAST_WORDS_MS, LINGER_MS, SCAN_MS, STALL_MS};

use crate::network::Network;
use crate::node::Core;
use crate::time::Time;

/// How often the age of everything is looked at.
const LOOK: Time = Time::from_ms(1_000);

/// How much longer than its bound a socket that takes nothing may be open: a walk over the deadlines,
/// and a thread that gets no processor again and again.
const SLACK_MS: u64 = 2 * SCAN_MS + 10_000;

/// How much longer than its session a stream may be open: its last words may wait for the socket.
pub const OVER_MS: u64 = LAST_WORDS_MS + SLACK_MS;

/// How long a stream may go on that is to end, while its socket takes everything.
const END: Time = Time::from_ms(1_000);

/// How many turns of its engine's thread that may take, and how many more for each connection: with the smallest
/// groups each of them has its turn alone, between sweeps of others.
const END_ROUNDS: (u64, u64) = (16, 4);

/// How long a socket may be open that was not given a stream.
const ASKING_MS: u64 = HEAD_MS + BODY_MS + ANSWER_MS + LAST_WORDS_MS + LINGER_MS + SLACK_MS;

/// Checks an engine that has just had its round; `unix_ms` is the earliest time that the clock of its node would
/// say by any of its settings. Whether it was looked how old everything is.
pub fn check_core(
    now: Time,
    unix_ms: u64,
    core: &mut Core,
    network: &Network,
) -> Result<bool, String> {
    let held = core.live.len() + core.closing();
    let log_bytes_max = core.log_bytes_max;
    let evicted = core.shelf.evicted();
    let counters = core.engine.counters();
    if counters.evicted != evicted {
        let counted = counters.evicted;
        return Err(format!(
            "{counted} frames were evicted, and by their bytes {evicted} have to be"
        ));
    }
    core.frames_most = core.frames_most.max(counters.log_frames);
    if counters.connections != held as u64 {
        let connections = counters.connections;
        return Err(format!("{connections} connections, and {held} sockets"));
    }
    // A single frame that is larger than the log stays until the next comes.
    if counters.log_bytes > log_bytes_max && counters.log_frames > 1 {
        return Err(format!(
            "{} bytes in a log of {log_bytes_max}",
            counters.log_bytes
        ));
    }
    if counters.behind > counters.connections || counters.streams > counters.connections {
        return Err(format!("more streams than connections: {counters:?}"));
    }
    if now.since(core.looked) < LOOK {
        return Ok(false);
    }
    core.looked = now;
    for number in &core.live {
        let connection = &network.connections[*number as usize];
        let handle = connection.handle;
        let admitted = handle.and_then(|it| core.shelf.admitted(it.slot, it.generation));
        let age_ms = now.since(connection.made).ms();
        match admitted {
            None if age_ms > ASKING_MS => {
                return Err(format!(
                    "{number} was given no stream, and is open for {age_ms} ms"
                ));
            }
            Some(admitted)
                if admitted
                    .expires_ms
                    .is_some_and(|ends| ends + OVER_MS < unix_ms) =>
            {
                return Err(format!(
                    "{number} is open at {unix_ms}, and its session has ended: {admitted:?}"
                ));
            }
            _ => {}
        }
        // What was left for it may be nothing by now, since it shows something else.
        let blocked_since = connection.blocked_since;
        let blocked_since = blocked_since.filter(|_| !connection.is_told_writable);
        let stuck = blocked_since.map(|since| now.since(since).ms());
        if stuck.is_some_and(|ms| ms > STALL_MS + SLACK_MS) {
            return Err(format!(
                "{number} takes nothing for {stuck:?} ms and is not closed"
            ));
        }
    }
    Ok(true)
}

/// Checks a stream that has to end, or has not: where its socket takes everything, it does not go on for long. `why`
/// it has to.
pub fn check_end(
    now: Time,
    why: Option<String>,
    core: &Core,
    network: &mut Network,
    number: u32,
) -> Result<(), String> {
    let connection = &mut network.connections[number as usize];
    let Some(why) = why.filter(|_| connection.is_free(now, &network.rules)) else {
        connection.overdue = None;
        return Ok(());
    };
    let (since, rounds) = *connection.overdue.get_or_insert((now, core.rounds));
    let most = END_ROUNDS.0 + END_ROUNDS.1 * core.live.len() as u64;
    let rounds = core.rounds - rounds;
    match now.since(since) >= END && rounds > most {
        true => Err(format!(
            "{number} goes on for {} ms and {rounds} turns although {why}",
            now.since(since).ms()
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use engine::Config;

    use super::*;
    use crate::queue::Queue;
    use crate::random::Random;
    use crate::swarm::Swarm;

    /// An engine without connections, and a network with one that is nobody's yet.
    fn scene() -> (Core, Network) {
        let mut random = Random::new(1);
        let swarm = Swarm::draw(&mut random);
        let config = Config {
            engine: 0,
            boot: 1,
            seed: [0; 16],
            streams: Vec::new(),
            heartbeat_ms: 1_000,
            log_bytes_max: 1 << 20,
            reset_spread_ms: 0,
            idle_close_ms: 0,
            resume_wait_ms: 1_000,
        };
        let core = Core::new(config, Time(0), (Time(0), 0), &swarm.node, random.fork());
        let mut network = Network::new(swarm.sockets, random);
        let place = (0, 1, 0);
        network.connect(Time(0), place, 0, b"GET", &mut Queue::default());
        (core, network)
    }

    #[test]
    fn a_stream_that_has_to_end_does_within_a_second_and_some_turns() {
        let (mut core, mut network) = scene();
        let why = || Some(String::from("it has to"));
        let mut look = |ms, rounds, why, network: &mut Network| {
            core.rounds = rounds;
            check_end(Time::from_ms(ms), why, &core, network, 0)
        };
        assert_eq!(look(0, 0, why(), &mut network), Ok(()));
        assert_eq!(look(900, 100, why(), &mut network), Ok(()), "a second");
        assert_eq!(look(5_000, 16, why(), &mut network), Ok(()), "turns");
        let found = look(5_000, 17, why(), &mut network).unwrap_err();
        assert!(found.contains("goes on for 5000 ms and 17 turns although it has to"));

        // Whoever may go on, or takes nothing, is given its time anew.
        assert_eq!(look(6_000, 100, None, &mut network), Ok(()));
        assert_eq!(look(6_000, 100, why(), &mut network), Ok(()));
        network.connections[0].blocked_since = Some(Time::from_ms(6_500));
        assert_eq!(look(9_000, 200, why(), &mut network), Ok(()));
        network.connections[0].blocked_since = None;
        assert_eq!(look(9_500, 300, why(), &mut network), Ok(()));
        assert!(look(10_500, 400, why(), &mut network).is_err());
    }
}
