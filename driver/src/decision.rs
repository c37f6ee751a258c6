//! Which driver all engines use, given what each of their threads could have.

use crate::choice::{Choice, Kind, StartError};

/// What a thread says of its ring: the ring in the words of the log, or why there is none.
pub(crate) type Offer = Result<String, String>;

/// The driver of all engines, and what the log says of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// io_uring, with this ring.
    Uring(String),
    /// epoll, for want of io_uring: the reason.
    EpollInstead(String),
    /// epoll, as configured.
    Epoll,
}

impl Decision {
    /// Decides: a ring for every thread, or for none.
    ///
    /// # Errors
    ///
    /// Where io_uring is demanded, and refused to one thread.
    pub(crate) fn of(choice: Choice, offers: Vec<Offer>) -> Result<Self, StartError> {
        let rings: Result<Vec<String>, String> = offers.into_iter().collect();
        match (choice, rings) {
            (Choice::Epoll, _) => Ok(Self::Epoll),
            // The last one stands for all: memory runs short towards the end, if at all.
            (_, Ok(mut rings)) => Ok(Self::Uring(rings.pop().expect("there is an engine"))),
            (Choice::Auto, Err(reason)) => Ok(Self::EpollInstead(reason)),
            (Choice::Uring, Err(reason)) => Err(StartError::Refused(format!(
                "io_uring is not to be had: {reason}"
            ))),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Uring(_) => Kind::Uring,
            Self::EpollInstead(_) | Self::Epoll => Kind::Epoll,
        }
    }

    /// The one line of the log.
    pub(crate) fn log(&self, engines: usize, address: std::net::SocketAddr) {
        match self {
            Self::Uring(ring) => {
                tracing::info!(engines, %address, "the driver is io_uring: {ring}");
            }
            Self::EpollInstead(reason) => {
                tracing::warn!(
                    engines, %address,
                    "the driver is epoll, for want of io_uring: {reason}"
                );
            }
            Self::Epoll => tracing::info!(engines, %address, "the driver is epoll, as configured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(last: Offer) -> Vec<Offer> {
        vec![Ok(String::from("a ring")), last]
    }

    #[test]
    fn all_have_a_ring_or_none() {
        let ring = || Ok(String::from("a small ring"));
        let none = || Err(String::from("seccomp"));
        for choice in [Choice::Auto, Choice::Uring] {
            let decision = Decision::of(choice, offers(ring())).unwrap();
            assert_eq!(decision, Decision::Uring(String::from("a small ring")));
        }
        let decision = Decision::of(Choice::Auto, offers(none())).unwrap();
        assert_eq!(decision, Decision::EpollInstead(String::from("seccomp")));
        assert_eq!(decision.kind(), Kind::Epoll);
        assert_eq!(
            Decision::of(Choice::Epoll, offers(ring())).unwrap(),
            Decision::Epoll
        );
    }

    #[test]
    fn a_ring_that_is_demanded_and_refused_is_an_error_that_says_why() {
        let refused = Err(String::from("seccomp"));
        let error = Decision::of(Choice::Uring, offers(refused)).unwrap_err();
        assert_eq!(error.to_string(), "io_uring is not to be had: seccomp");
    }
}
