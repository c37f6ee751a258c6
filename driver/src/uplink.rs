//! Where an engine's requests and notices go. The node implements it over its channel to the
//! control thread.

use std::net::IpAddr;

use engine::{Notice, Overloaded};
use wire::ConnectionId;
use wire::http::Request;

/// A request that is not answered by the engine.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// Which connection asked.
    pub connection: ConnectionId,
    /// The address of its peer; `None` where the peer is gone already.
    pub peer: Option<IpAddr>,
    /// The request, whole.
    pub request: Request,
}

/// The way from one engine to the control thread. Called on the engine's thread: it never waits.
pub trait Uplink: Send {
    /// Hands a request over.
    ///
    /// # Errors
    ///
    /// Where the control thread's queue is full; the engine refuses the request itself.
    fn forward(&mut self, request: Forwarded) -> Result<(), Overloaded>;

    /// Says something. Never lost: connections are counted by it.
    fn notify(&mut self, notice: Notice);

    /// Called once a round, when all was said that there is to say before the thread may sleep: the
    /// place to wake whoever listens, once for everything.
    fn flush(&mut self) {}
}
