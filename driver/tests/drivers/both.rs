//! One test, two drivers.

/// Makes a test of each function for each driver: in a module `uring` and a module `epoll`.
macro_rules! for_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test] fn $name() { super::$name(driver::Kind::Uring); })+
        }
        mod epoll {
            $(#[test] fn $name() { super::$name(driver::Kind::Epoll); })+
        }
    };
}

pub(crate) use for_both_drivers;
