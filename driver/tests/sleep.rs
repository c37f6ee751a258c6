//! The sleep-and-wake protocol of the engine threads under `loom`, which tries every order in which
//! threads can see each other's stores: no item is slept over. The flag is the driver's own source,
//! compiled with loom's atomics; the eventfd and the channel are models of what the kernel and the
//! channel promise, and no more.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../src/sleep_flag.rs"]
mod sleep_flag;

/// What `sleep_flag` is made of.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

use atomic::{AtomicBool, Ordering, fence};
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use sleep_flag::SleepFlag;

/// The flag, or one that is wrong on purpose.
trait Flag: Default + Send + Sync + 'static {
    fn announce(&self);
    fn end(&self);
    fn take(&self) -> bool;
}

impl Flag for SleepFlag {
    fn announce(&self) {
        self.announce();
    }

    fn end(&self) {
        self.end();
    }

    fn take(&self) -> bool {
        self.take()
    }
}

/// An eventfd: a count that a read sets to zero, and a wait that ends while it is not.
struct Eventfd {
    count: Mutex<u64>,
    written: Condvar,
}

impl Eventfd {
    fn new() -> Self {
        Self {
            count: Mutex::new(0),
            written: Condvar::new(),
        }
    }

    fn write(&self) {
        *self.count.lock().unwrap() += 1;
        self.written.notify_one();
    }

    /// The wait in the kernel, and the read that follows it.
    fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.written.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// What the threads share.
struct Port<F> {
    flag: F,
    eventfd: Eventfd,
    /// How many items were put into the channel. Relaxed: a real channel promises more.
    items: AtomicUsize,
}

impl<F: Flag> Port<F> {
    fn new() -> Self {
        Self {
            flag: F::default(),
            eventfd: Eventfd::new(),
            items: AtomicUsize::new(0),
        }
    }

    /// Steps (a) to (d) of a producer.
    fn put(&self) {
        self.items.fetch_add(1, Ordering::Relaxed);
        if self.flag.take() {
            self.eventfd.write();
        }
    }

    /// Steps (1) to (5) of the sleeper, until it has seen so many items.
    fn see(&self, items: usize) {
        let mut seen = 0;
        while seen < items {
            self.flag.announce();
            if self.items.load(Ordering::Relaxed) == seen {
                self.eventfd.wait();
            }
            self.flag.end();
            seen = self.items.load(Ordering::Relaxed);
        }
    }
}

/// A producer who puts an item, and a sleeper who has to see it. A sleeper whom nobody wakes is a
/// deadlock, which loom finds.
///
/// Of two producers loom finds one that is none: it lets the second read what the first one's swap
/// wrote, though the sleeper has stored since what the swap had read. A swap stands right behind what it
/// reads in the order of a variable's values, which loom does not seem to keep, so
/// that nothing can be said of two here; `waker`'s own argument covers any number.
fn try_every_order<F: Flag>() {
    loom::model(|| {
        let port = Arc::new(Port::<F>::new());
        let producer = {
            let port = Arc::clone(&port);
            loom::thread::spawn(move || port.put())
        };
        port.see(1);
        producer.join().unwrap();
    });
}

#[test]
fn no_item_of_one_producer_is_slept_over() {
    try_every_order::<SleepFlag>();
}

/// A flag without the fence of step (2): the sleeper may look at the channels before anybody sees that
/// it sleeps.
#[derive(Default)]
struct WithoutTheSleepersFence(AtomicBool);

impl Flag for WithoutTheSleepersFence {
    fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// A flag without the fence of step (b): a producer may look at the flag before anybody sees its item.
#[derive(Default)]
struct WithoutTheProducersFence(AtomicBool);

impl Flag for WithoutTheProducersFence {
    fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// The test of the test: what is wrong is found.
#[test]
fn without_the_sleepers_fence_a_wake_up_is_lost() {
    let tried = std::panic::catch_unwind(try_every_order::<WithoutTheSleepersFence>);
    assert!(tried.is_err());
}

#[test]
fn without_the_producers_fence_a_wake_up_is_lost() {
    let tried = std::panic::catch_unwind(try_every_order::<WithoutTheProducersFence>);
    assert!(tried.is_err());
}
