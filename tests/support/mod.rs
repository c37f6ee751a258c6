//! What the black-box tests stand on: a private PostgreSQL, the real binary, and clients of their
//! own. Nothing here knows the product's code, except to sign a session.

pub(crate) mod application;
pub(crate) mod cable;
pub(crate) mod certificates;
pub(crate) mod commands;
pub(crate) mod config;
pub(crate) mod directory;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod pair;
pub(crate) mod ports;
pub(crate) mod position;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod readers;
pub(crate) mod session;
pub(crate) mod sql;
pub(crate) mod sse;

use std::thread;
use std::time::{Duration, Instant};

pub(crate) use config::Config;
pub(crate) use files::files;
pub(crate) use http::Request;
pub(crate) use node::{Node, World};
pub(crate) use pair::Pair;
pub(crate) use postgres::Database;
pub(crate) use sse::{End, Stream};

/// How the node's engines meet the kernel. Every behaviour is tested with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Uring,
    Epoll,
}

impl Driver {
    /// The value of `engine.driver`.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }

    /// The name that `/readyz` gives it.
    pub(crate) fn reported(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Makes two tests of each function: `uring::name` and `epoll::name`.
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod uring {
            $(#[test] fn $name() { super::$name($crate::support::Driver::Uring); })+
        }
        mod epoll {
            $(#[test] fn $name() { super::$name($crate::support::Driver::Epoll); })+
        }
    };
}
pub(crate) use on_both_drivers;

/// Waits until something is so; a panic that says what, after `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, is_so: impl FnMut() -> bool) {
    assert!(becomes_true(limit, is_so), "not within {limit:?}: {what}");
}

/// Waits until something is so, at most `limit`, and returns whether it was.
pub(crate) fn becomes_true(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
