//! One engine thread: the loop that drives an engine. What the engine does is in `engine`; what the
//! kernel is asked, in the two drivers.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Engine, Handle, Next, Now, Watch};

use crate::acceptor::{ACCEPTS_MAX, Acceptor};
use crate::connections::Connections;
use crate::poller::{EVENTS_MAX, Event, Poller};
use crate::port::{COMMANDS_MAX, Inbox};
use crate::socket::{self, RECEIVE_BYTES_MAX, Received};
use crate::uplink::Uplink;
use crate::world::World;

/// How old published counters may be while the thread works.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// The longest sleep: time is looked at this often, whatever happens.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What one engine thread holds.
pub(crate) struct EngineThread<P> {
    engine: Engine,
    world: World<P>,
    acceptor: Acceptor,
    inbox: Inbox,
    clock: Clock,
    published_at: Instant,
    scratch: Box<[u8]>,
    released: Vec<Handle>,
}

/// The clocks of one boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        // A clock before 1970 is a machine without one; sessions then last longer, never shorter.
        let wall_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, milliseconds);
        Now {
            monotonic_ms: milliseconds(elapsed),
            micros: (elapsed.subsec_micros() % 1_000) as u16,
            wall_ms,
        }
    }
}

impl<P: Poller> EngineThread<P> {
    pub(crate) fn new(
        config: engine::Config,
        poller: P,
        listener: OwnedFd,
        inbox: Inbox,
        uplink: Box<dyn Uplink>,
        clock: Clock,
    ) -> Self {
        let now = Instant::now();
        Self {
            engine: Engine::new(config, clock.now()),
            world: World {
                poller,
                connections: Connections::default(),
                uplink,
            },
            acceptor: Acceptor::new(listener, now),
            inbox,
            clock,
            published_at: now,
            scratch: vec![0; RECEIVE_BYTES_MAX].into_boxed_slice(),
            released: Vec::new(),
        }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        while !self.inbox.shared.is_stopping() {
            self.take_commands();
            self.take_batches();
            let now = self.clock.now();
            let next = self.engine.turn(now, &mut self.world);
            self.engine.handle_sent(self.clock.now());
            self.tend_listener();
            self.world.uplink.flush();
            self.sleep(next);
            self.release();
            self.hand_out_events();
        }
        self.acceptor.close();
        self.world.connections.shut_down_all();
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMANDS_MAX {
            let Ok(command) = self.inbox.commands.try_recv() else {
                break;
            };
            self.engine
                .handle_command(self.clock.now(), command, &mut self.world);
        }
    }

    /// Takes batches while the engine wants them: load becomes lag in PostgreSQL, not memory here.
    fn take_batches(&mut self) {
        for _ in 0..crate::port::BATCHES_MAX {
            if !self.engine.wants_batch() {
                break;
            }
            let Ok(batch) = self.inbox.batches.try_recv() else {
                break;
            };
            self.engine
                .handle_batch(self.clock.now(), batch, &mut self.world);
        }
    }

    /// Keeps the listener armed; closes it when that is wanted and nobody waits in it any more.
    fn tend_listener(&mut self) {
        let now = Instant::now();
        if self.is_to_close_listener(now) {
            if self.accept_waiting(now) {
                self.acceptor.close();
            }
            return;
        }
        if self.acceptor.is_time_to_look(now) {
            self.accept_waiting(now);
        }
        if let Some((listener, arming)) = self.acceptor.take_unarmed(now) {
            self.world.poller.arm_listener(listener, arming);
        }
    }

    /// Whether listening is to end. While accepting pauses, those who wait keep their places.
    fn is_to_close_listener(&self, now: Instant) -> bool {
        self.inbox.shared.is_stop_listening()
            && self.acceptor.is_open()
            && !self.acceptor.is_paused(now)
    }

    /// Waits in the kernel, unless there is something to do.
    fn sleep(&mut self, next: Next) {
        let now = Instant::now();
        let mut timeout = match next {
            Next::Now => Duration::ZERO,
            Next::At(at_ms) => {
                Duration::from_millis(at_ms.saturating_sub(self.clock.now().monotonic_ms))
            }
        };
        timeout = timeout
            .min(self.acceptor.due_in(now).unwrap_or(SLEEP_MAX))
            .min(SLEEP_MAX);
        if self.world.connections.has_released() {
            timeout = Duration::ZERO;
        }
        if !timeout.is_zero() || now - self.published_at >= PUBLISH_EVERY {
            self.inbox.shared.counters.publish(self.engine.counters());
            self.published_at = now;
        }
        if timeout.is_zero() {
            self.world.poller.wait(timeout);
            return;
        }
        let waker = &self.inbox.shared.waker;
        waker.announce_sleep();
        let has_work = !self.inbox.commands.is_empty()
            || (!self.inbox.batches.is_empty() && self.engine.wants_batch())
            || self.inbox.shared.is_stopping()
            || self.is_to_close_listener(now);
        self.world
            .poller
            .wait(if has_work { Duration::ZERO } else { timeout });
        waker.end_sleep();
    }

    /// Gives slots back that were closed before the wait.
    fn release(&mut self) {
        self.world.connections.take_released(&mut self.released);
        for handle in self.released.drain(..) {
            self.engine.handle_released(handle);
        }
    }

    fn hand_out_events(&mut self) {
        // One look at the clock for all of a round: in a storm of connects a look for each is felt.
        let (now, at) = (self.clock.now(), Instant::now());
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.world.poller.next(&mut self.world.connections) else {
                break;
            };
            match event {
                Event::Accepted(socket) => self.accept(at, now, socket),
                Event::Acceptable => {
                    self.acceptor.set_unarmed();
                    self.accept_waiting(at);
                }
                Event::AcceptFailed(error) => {
                    self.acceptor.set_unarmed();
                    self.acceptor.heed(error, at);
                }
                // Its channels are looked at in every round.
                Event::Woken => {}
                Event::Ready(handle, Watch::Readable) => self.receive(now, handle),
                Event::Ready(handle, Watch::Hangup) => {
                    self.engine.handle_hangup(now, handle, &mut self.world);
                }
                Event::Ready(handle, Watch::Writable) => {
                    self.engine.handle_writable(now, handle, &mut self.world);
                }
            }
        }
    }

    fn receive(&mut self, now: Now, handle: Handle) {
        let socket = self.world.connections.socket(handle);
        match socket::receive(socket, &mut self.scratch) {
            Received::Bytes(count) => {
                let bytes = &self.scratch[..count];
                self.engine
                    .handle_bytes(now, handle, bytes, &mut self.world);
            }
            Received::Nothing => {
                self.world
                    .poller
                    .arm(&mut self.world.connections, handle, Watch::Readable);
            }
            Received::Broken => self.engine.handle_hangup(now, handle, &mut self.world),
        }
    }

    /// Takes a socket over, where its descriptor is one for clients.
    fn accept(&mut self, at: Instant, now: Now, socket: OwnedFd) {
        let is_admitted = self.acceptor.admits(&socket, at);
        if self.acceptor.is_scarce(at) {
            self.world.poller.disarm_listener();
        }
        if !is_admitted {
            // Without a word: whoever hears nothing comes back, and a native `EventSource` gives up for
            // good on any answer that we could give before it has asked.
            drop(socket);
            return;
        }
        let descriptor = self.world.connections.begin_accept(socket);
        self.engine.handle_accept(now, descriptor, &mut self.world);
        self.world.connections.end_accept();
    }

    /// Accepts who waits, within a bound. Whether nobody is left.
    fn accept_waiting(&mut self, at: Instant) -> bool {
        let now = self.clock.now();
        for _ in 0..ACCEPTS_MAX {
            if self.acceptor.is_paused(at) {
                return false;
            }
            match self.acceptor.accept(at) {
                None => return true,
                Some(Ok(socket)) => self.accept(at, now, socket),
                Some(Err(rustix::io::Errno::AGAIN)) => return true,
                Some(Err(error)) => self.acceptor.heed(error, at),
            }
        }
        false
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("500 million years fit")
}
