//! The world as an engine asks for it: the engine's trait over one of the two drivers. When the
//! engine is called is in `thread`.

use engine::{Close, Driver, Handle, Notice, Overloaded, Transmit, Watch};
use rustix::net::Shutdown;
use wire::ConnectionId;
use wire::http::Request;

use crate::connections::Connections;
use crate::poller::Poller;
use crate::socket;
use crate::uplink::{Forwarded, Uplink};

/// One engine's world.
pub(crate) struct World<P> {
    pub(crate) poller: P,
    pub(crate) connections: Connections,
    pub(crate) uplink: Box<dyn Uplink>,
}

impl<P: Poller> Driver for World<P> {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        assert!(
            group.len() <= engine::limits::GROUP_MAX,
            "a group is at most GROUP_MAX sends"
        );
        self.poller.send(&self.connections, group);
    }

    fn watch(&mut self, connection: Handle, what: Watch) {
        self.connections.adopt(connection);
        self.poller.arm(&mut self.connections, connection, what);
    }

    fn finish(&mut self, connection: Handle) {
        self.connections.adopt(connection);
        // A broken connection has nothing to finish; its watch reports it.
        let _ = rustix::net::shutdown(self.connections.socket(connection), Shutdown::Write);
    }

    fn close(&mut self, connection: Handle, how: Close) {
        self.connections.adopt(connection);
        self.poller.close(&mut self.connections, connection, how);
    }

    fn forward(
        &mut self,
        id: ConnectionId,
        from: Handle,
        request: Request,
    ) -> Result<(), Overloaded> {
        let peer = socket::peer(self.connections.socket(from));
        self.uplink.forward(Forwarded {
            connection: id,
            peer,
            request,
        })
    }

    fn notify(&mut self, notice: Notice) {
        self.uplink.notify(notice);
    }
}
