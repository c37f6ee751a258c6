//! What is done to what lies between: by the proxies before PostgreSQL and the nodes, and on the link.

use std::time::Duration;

use super::Lane;
use crate::faults::Fault;
use crate::link::Link;
use crate::proxy::{Manner, Proxy};
use crate::random::Random;

impl Lane<'_> {
    /// Strikes what lies between.
    pub(crate) fn strike_network(&self, mut random: Random) {
        let kinds = [
            Fault::DatabaseLatency,
            Fault::DatabaseSlices,
            Fault::DatabaseHalfClose,
            Fault::DatabaseBlackhole,
            Fault::DatabaseReset,
            Fault::ClientLatency,
            Fault::ClientSlices,
            Fault::ClientHalfClose,
            Fault::ClientBlackhole,
            Fault::ClientReset,
            Fault::NarrowLink,
            Fault::LostPackets,
            Fault::FirewallReset,
            Fault::LinkDown,
        ];
        self.strike(&kinds, &mut random, |fault, time, random| {
            let latency = Manner::Latency(Duration::from_millis(20 + random.below(300)));
            let (doors, wires) = (&self.house.doors, &self.house.wires);
            let all = |proxies: &[Proxy], act: fn(&Proxy) -> usize| {
                self.seen_soon("connection", || {
                    proxies.iter().map(act).sum::<usize>() as u64
                })
            };
            match fault {
                Fault::DatabaseLatency => self.behave(wires, latency, time),
                Fault::DatabaseSlices => self.behave(wires, Manner::Slices, time),
                Fault::DatabaseHalfClose => all(wires, Proxy::half_close_all),
                Fault::DatabaseBlackhole => self.behave(wires, Manner::Blackhole, time),
                Fault::DatabaseReset => all(wires, Proxy::reset_all),
                Fault::ClientLatency => self.behave(doors, latency, time),
                Fault::ClientSlices => self.behave(doors, Manner::Slices, time),
                Fault::ClientHalfClose => all(doors, Proxy::half_close_all),
                Fault::ClientBlackhole => self.behave(doors, Manner::Blackhole, time),
                Fault::ClientReset => all(doors, Proxy::reset_all),
                _ => self.strike_link(fault, time),
            }
        });
    }

    fn behave(&self, proxies: &[Proxy], manner: Manner, time: Duration) -> Result<(), String> {
        let struck = || proxies.iter().map(Proxy::struck).sum::<u64>();
        let before = struck();
        proxies.iter().for_each(|proxy| proxy.behave(manner));
        self.pause(time);
        let seen = self.seen_soon("byte came there", || struck() - before);
        proxies.iter().for_each(|proxy| proxy.behave(Manner::Plain));
        seen
    }

    fn strike_link(&self, fault: Fault, time: Duration) -> Result<(), String> {
        type Mend = fn(&Link);
        /// How much it was seen to do.
        type Struck = fn(&Link) -> Result<u64, String>;
        let link = self.house.link.as_ref().expect("else it was skipped");
        let (begun, struck, mend): (_, Struck, Mend) = match fault {
            Fault::NarrowLink => (link.narrow(), Link::held_back, Link::widen),
            Fault::LostPackets => (link.lose_packets(), Link::struck, Link::open_firewall),
            Fault::FirewallReset => (link.reset_connections(), Link::struck, Link::open_firewall),
            _ => (link.down(), |_| Ok(1), Link::up),
        };
        begun.inspect_err(|why| self.house.tally.skipped(fault, why))?;
        self.pause(time);
        let seen = self.seen_soon("packet came there", || struck(link).unwrap_or(0));
        mend(link);
        seen
    }
}
