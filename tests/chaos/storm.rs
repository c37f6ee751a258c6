//! Reconnect storms: everybody comes back at once with the id that was seen last, and leaves with a reset.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::clients::request;
use crate::crowd::{connect, is_crowd};
use crate::house::House;
use crate::leaks::Search;
use crate::stage::Stage;

/// How often everybody comes back; every other time they wait for what comes first.
const ROUNDS: usize = 4;

/// How many come back side by side.
const SIDE_BY_SIDE: usize = 8;

/// How long they wait for what comes first.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// What became of those who came back.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    opened: AtomicU64,
    /// Of those who waited: they go on where they were, are told to come later, or the node was away.
    resumed: AtomicU64,
    put_off: AtomicU64,
    cut_off: AtomicU64,
}

/// Somebody who came back.
struct Comer {
    organisation: &'static str,
    socket: TcpStream,
    /// Whether an event of its organisation was seen before, after which it goes on.
    has_id: bool,
}

impl Storm {
    /// Lets so many come. The error is a promise that was not kept.
    pub(crate) fn blow(
        address: SocketAddr,
        count: usize,
        house: &House,
        stage: &Stage,
    ) -> Result<Self, String> {
        let storm = Self::default();
        let side = |side: usize, waits: bool| {
            let numbers = (side..count).step_by(SIDE_BY_SIDE);
            let open: Vec<Comer> = numbers
                .filter_map(|number| Comer::new(address, number, house))
                .collect();
            storm.opened.fetch_add(open.len() as u64, Ordering::Relaxed);
            let mut waiting = open
                .into_iter()
                .take_while(|_| waits && !stage.is_broken_off());
            waiting.try_for_each(|comer| storm.take(comer, house))
        };
        for round in 0..ROUNDS {
            thread::scope(|scope| {
                let sides: Vec<_> = (0..SIDE_BY_SIDE)
                    .map(|number| scope.spawn(move || side(number, round % 2 == 0)))
                    .collect();
                sides
                    .into_iter()
                    .try_for_each(|side| side.join().expect("whoever comes back does not fail"))
            })?;
        }
        Ok(storm)
    }

    /// Whether it was one: enough came, were told something, and somebody went on.
    pub(crate) fn is_one(&self, count: usize) -> Result<(), String> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as usize;
        is_crowd("who came back", of(&self.opened), count * ROUNDS)?;
        let told = of(&self.resumed) + of(&self.put_off);
        is_crowd("who were told something", told, count * ROUNDS / 2)?;
        is_crowd("who went on", of(&self.resumed), 1)
    }

    /// Takes what comes first for somebody.
    fn take(&self, mut comer: Comer, house: &House) -> Result<(), String> {
        let first = comer.first();
        Search::new(house.markers.foreign(comer.organisation)).look(first.as_bytes())?;
        let counter = match first.as_str() {
            it if it.contains(r#""resume":"resumed""#) => &self.resumed,
            it if it.contains("event: refused") => &self.put_off,
            it if it.starts_with("HTTP/1.1 503 ") => &self.put_off,
            // Nothing that happens here is a reason for it; the table says it.
            it if it.contains(r#""resume":"reset""#) => &house.counts.resets,
            it if it.contains(r#""resume":""#) && comer.has_id => {
                return Err(format!("it came back, and was not resumed: {it}"));
            }
            _ => &self.cut_off,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Comer {
    /// One of many, which takes turns to be a user of each organisation; none, where the node takes no
    /// connection.
    fn new(address: SocketAddr, number: usize, house: &House) -> Option<Self> {
        let (organisation, user) = &house.users[number % house.users.len()];
        let newest = house.counts.newest(organisation);
        let request = match newest.as_str() {
            "" => request(organisation, user),
            id => request(organisation, user).last_event_id(id),
        };
        let mut socket = connect(address)?;
        let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        // A reset is a way to end it, too.
        let _ = socket.write_all(&request.bytes());
        Some(Self {
            organisation,
            socket,
            has_id: !newest.is_empty(),
        })
    }

    /// What comes first on its stream: the head and the first event, or as much of them as comes in time.
    fn first(&mut self) -> String {
        let mut first = Vec::new();
        let mut buffer = [0; 4 * 1024];
        let _ = self.socket.set_read_timeout(Some(FIRST_MAX));
        loop {
            let text = String::from_utf8_lossy(&first);
            let event = text.split_once("\nevent: ");
            if event.is_some_and(|(_, event)| event.contains("\n\n")) {
                return text.into_owned();
            }
            match self.socket.read(&mut buffer) {
                Ok(count @ 1..) => first.extend_from_slice(&buffer[..count]),
                _ => return text.into_owned(),
            }
        }
    }
}
