//! What the engines of a node tell its control thread: requests, of which only so many wait, and
//! notices, of which none is lost.

use std::collections::VecDeque;

use engine::{Notice, Overloaded};
use wire::ConnectionId;
use wire::http::Request;

use crate::time::Time;

/// Something that an engine said.
#[derive(Debug)]
pub enum Said {
    /// Somebody asks.
    Request(ConnectionId, Request),
    /// Something is to be known.
    Notice(u32, Notice),
}

/// The way from the engines to the control thread.
#[derive(Debug)]
pub struct Uplink {
    /// Requests for which there is no room, in thousandths.
    pub overloaded: u32,
    said: VecDeque<(Time, Said)>,
}

impl Uplink {
    /// One in which nothing waits.
    pub fn new(overloaded: u32) -> Self {
        Self {
            overloaded,
            said: VecDeque::new(),
        }
    }

    /// A request, where there is room.
    pub(crate) fn forward(
        &mut self,
        now: Time,
        id: ConnectionId,
        request: Request,
        is_full: bool,
    ) -> Result<(), Overloaded> {
        if is_full {
            return Err(Overloaded);
        }
        self.said.push_back((now, Said::Request(id, request)));
        Ok(())
    }

    /// A notice.
    pub(crate) fn notify(&mut self, now: Time, core: u32, notice: Notice) {
        self.said.push_back((now, Said::Notice(core, notice)));
    }

    /// The next thing that was said, and when.
    pub fn take(&mut self) -> Option<(Time, Said)> {
        self.said.pop_front()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }
}
