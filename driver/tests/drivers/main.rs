//! One suite for both drivers, with real engines over real sockets. The tests play the control and
//! the replication thread. A ring that is refused fails the suite; it is never skipped.
//!
//! What counts the descriptors of a process is in `descriptors.rs`, which has a process to itself.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod closing;
mod house;
mod requests;
mod streams;
mod threads;

/// Makes a test of each function for each driver: a module of the function's name with a test
/// `uring` and a test `epoll`.
macro_rules! for_both_drivers {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn uring() {
                super::$name(driver::Kind::Uring);
            }

            #[test]
            fn epoll() {
                super::$name(driver::Kind::Epoll);
            }
        }
    )+};
}

pub(crate) use for_both_drivers;
