//! What an operator may say about the drivers, and what can go wrong at the start. Nothing here
//! touches the kernel.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

/// Which driver is wanted (`engine.driver`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring where the kernel grants it, else epoll, with one log line that says why.
    #[default]
    Auto,
    /// io_uring; the start fails where the kernel refuses it.
    Uring,
    /// epoll.
    Epoll,
}

/// A word that names no driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDriver(String);

/// The driver in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A ring for each engine.
    Uring,
    /// An epoll instance for each engine.
    Epoll,
}

/// What the engines listen on, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. Port 0 lets the kernel choose one, the same for every engine.
    pub listen: SocketAddr,
    /// How many engine threads; 0 for one per processor.
    pub threads: u16,
    /// Which driver.
    pub choice: Choice,
}

/// Why the engines did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// io_uring was demanded, and the kernel refuses it. The text says why and how to get it.
    Refused(String),
    /// A thread, an eventfd or an epoll instance could not be made.
    Resources {
        /// What was wanted.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Kind {
    /// The word for it in logs and on `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl FromStr for Choice {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(UnknownDriver(text.to_owned())),
        }
    }
}

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no driver {:?}: say auto, uring or epoll",
            self.0
        )
    }
}

impl std::error::Error for UnknownDriver {}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Refused(text) => f.write_str(text),
            Self::Resources { what, source } => write!(f, "cannot make {what}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::Resources { source, .. } => Some(source),
            Self::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_from_its_word() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("uring".parse(), Ok(Choice::Uring));
        assert_eq!("epoll".parse(), Ok(Choice::Epoll));
        let error = "kqueue".parse::<Choice>().unwrap_err();
        assert!(error.to_string().contains("say auto, uring or epoll"));
    }
}
