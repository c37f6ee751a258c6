//! The loop of a process: orders in, answers out, and between them whatever the sockets have.
//!
//! With a tick it looks at its sockets once a tick and never waits in the kernel for one: a sender on
//! another core would pay for waking the reader, with more than the send itself costs on a virtual
//! machine, and real clients are not on the server's machine. Every latency is then longer by up to
//! a tick. Without one it waits, and is woken by the first segment.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::task::Poll;
use std::time::{Duration, Instant};

use monoio::{LegacyDriver, RuntimeBuilder};

use crate::clock::monotonic_nanoseconds;
use crate::connection::{Shared, open_pending};
use crate::order::{Answer, Order};
use crate::pool::Pool;
use crate::target::Target;

/// How many sockets the kernel names in one call.
const READY_MAX: u32 = 4096;

/// How long a reader without a tick waits before it looks for orders.
const ORDERS_EACH: Duration = Duration::from_millis(5);

/// Holds streams of this target until nobody gives orders any more.
pub fn run(
    target: Target,
    orders: &Receiver<Order>,
    mut answer: impl FnMut(Answer) -> io::Result<()>,
) -> io::Result<()> {
    let tick = Duration::from_micros(target.tick_microseconds);
    let builder = RuntimeBuilder::<LegacyDriver>::new().with_entries(READY_MAX);
    let mut runtime = builder.enable_timer().build()?;
    let shared = Shared::new(Pool::new(target, monotonic_nanoseconds()));
    let mut is_busy = false;
    loop {
        let started = Instant::now();
        if !is_busy {
            match orders.try_recv() {
                Ok(order) => {
                    let begun = runtime.block_on(async { begin(&shared, order) });
                    is_busy = begun.is_none();
                    if let Some(begun) = begun {
                        answer(begun)?;
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        let done = runtime.block_on(turn(&shared, tick));
        if let Some(done) = done {
            is_busy = false;
            answer(done)?;
        }
        // A turn that took longer than a tick is followed by the next at once.
        std::thread::sleep(tick.saturating_sub(started.elapsed()));
    }
}

/// Begins an order. To be called on the runtime, whose tasks it may wake.
fn begin(shared: &Rc<Shared>, order: Order) -> Option<Answer> {
    let now = monotonic_nanoseconds();
    shared.pool.borrow_mut().begin(order, now)
}

/// Lets every stream read that has something to read, and goes on with the order.
async fn turn(shared: &Rc<Shared>, tick: Duration) -> Option<Answer> {
    open_pending(shared);
    if tick.is_zero() {
        wait(shared).await;
    } else {
        look().await;
    }
    let now = monotonic_nanoseconds();
    shared.pool.borrow_mut().go_on(now)
}

/// Waits for sockets, and lets their tasks read, until it is time to look for orders.
async fn wait(shared: &Rc<Shared>) {
    let end = monotonic_nanoseconds() + ORDERS_EACH.as_nanos() as u64;
    let mut quiet = pin!(monoio::time::sleep(ORDERS_EACH));
    poll_fn(|context| {
        if monotonic_nanoseconds() >= end {
            return Poll::Ready(());
        }
        shared.end_turn_at(end, context.waker().clone());
        quiet.as_mut().poll(context)
    })
    .await;
}

/// Looks at the sockets once, without waiting for one, and lets the tasks run that are ready then.
///
/// The runtime waits for sockets when it has no task, and only looks when it has one: so this
/// spawns a task, which makes it go on when the others have run.
async fn look() {
    let mut has_looked = false;
    poll_fn(|context| {
        if has_looked {
            return Poll::Ready(());
        }
        has_looked = true;
        let waker = context.waker().clone();
        monoio::spawn(async move { waker.wake() });
        Poll::Pending
    })
    .await;
}
