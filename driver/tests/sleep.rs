//! The sleep-and-wake protocol of the engine threads under `loom`, which tries every order in which
//! threads can see each other's stores: no item is slept over. The flag is the driver's own source,
//! compiled with loom's atomics; the eventfd and the channel are models of what the kernel and the
//! channel promise, and no more.
//!
//! Loom 0.7 gets one thing wrong: a swap stands right behind the value that it read, in the order in
//! which a variable's values follow each other, and loom lets a store that follows the same value
//! stand on either side of it (<https://github.com/tokio-rs/loom/issues/254>). With two producers that
//! is a deadlock which no machine can have: the first swaps the flag after `end` stored false, the
//! sleeper announces its next sleep, and the second, whose fence comes after the sleeper's, is shown
//! the first one's false, which is older. So a store is a swap here, whose result nobody looks at:
//! then the values of the flag follow each other one by one. What a swap adds to a store is that
//! whoever replaces its value and then passes a fence sees what the other had done by its own last
//! fence; and of two fences one comes first, so that they say as much by themselves.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../src/sleep_flag.rs"]
mod sleep_flag;

/// What `sleep_flag` is made of.
mod atomic {
    use loom::sync::atomic;
    pub(crate) use loom::sync::atomic::{Ordering, fence};

    /// A flag whose stores are swaps.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicBool(atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) fn load(&self, order: Ordering) -> bool {
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            self.0.swap(value, order);
        }

        pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
            self.0.swap(value, order)
        }
    }
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

/// How often a thread may be interrupted where it could have gone on, with two producers. The deadlock
/// of loom's mistake needs three; without a bound there are more orders than minutes.
const PREEMPTIONS_MAX: usize = 3;

/// Producers who put an item each, and a sleeper who has to see them all. A sleeper whom nobody wakes
/// is a deadlock, which loom finds.
fn try_every_order<F: Flag>(producers: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (producers > 1).then_some(PREEMPTIONS_MAX);
    model.check(move || {
        let port = Arc::new(Port::<F>::new());
        let put = |_| {
            let port = Arc::clone(&port);
            loom::thread::spawn(move || port.put())
        };
        let threads: Vec<_> = (0..producers).map(put).collect();
        port.see(producers);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn no_item_of_one_producer_is_slept_over() {
    try_every_order::<SleepFlag>(1);
}

#[test]
fn no_item_of_two_producers_is_slept_over() {
    try_every_order::<SleepFlag>(2);
}

/// Either the swap comes first, and what is stored stays; or it reads what was stored. Once loom knows,
/// this fails, and a store may be a store above.
#[test]
fn loom_does_not_know_where_a_swap_stands() {
    let tried = std::panic::catch_unwind(|| {
        loom::model(|| {
            let flag = Arc::new(loom::sync::atomic::AtomicBool::new(false));
            let swapper = {
                let flag = Arc::clone(&flag);
                loom::thread::spawn(move || flag.swap(false, Ordering::Relaxed))
            };
            flag.store(true, Ordering::Relaxed);
            let has_read_it = swapper.join().unwrap();
            assert!(has_read_it || flag.load(Ordering::Relaxed));
        });
    });
    assert!(tried.is_err(), "loom has learned it");
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
    for producers in [1, 2] {
        let tried =
            std::panic::catch_unwind(|| try_every_order::<WithoutTheSleepersFence>(producers));
        assert!(tried.is_err(), "of {producers}");
    }
}

#[test]
fn without_the_producers_fence_a_wake_up_is_lost() {
    for producers in [1, 2] {
        let tried =
            std::panic::catch_unwind(|| try_every_order::<WithoutTheProducersFence>(producers));
        assert!(tried.is_err(), "of {producers}");
    }
}
