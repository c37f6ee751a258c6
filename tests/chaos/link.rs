//! A network namespace with one link to this machine, which can be made narrow, lossy, hostile or dead
//! by `tc`, `nft` and `ip`. It goes with its owner; what a killed run left goes at the next start.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::process::{Pid, is_alive};

/// What the names of our namespaces begin with; the id of their process follows.
const PREFIX: &str = "tailrace-chaos-";

/// The link, its far end in the namespace.
pub(crate) struct Link {
    name: String,
    /// The two ends of the link: a name has room for 15 letters.
    near: String,
    far: String,
    /// Of the near end, where a server may listen.
    pub(crate) address: IpAddr,
}

impl Link {
    /// Makes it, or says why not.
    pub(crate) fn new() -> Result<Self, String> {
        remove_leftovers();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (id, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let number = id.wrapping_mul(4).wrapping_add(count);
        let link = Self {
            name: format!("{PREFIX}{id}-{count}"),
            near: format!("tr{id}n{count}"),
            far: format!("tr{id}f{count}"),
            address: address(number, 1),
        };
        let (name, near, far) = (&link.name, &link.near, &link.far);
        let (own, theirs) = (link.address, address(number, 2));
        run(&["ip", "netns", "add", name])?;
        run(&[
            "ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name,
        ])?;
        run(&["ip", "address", "add", &format!("{own}/30"), "dev", near])?;
        run(&["ip", "link", "set", near, "up"])?;
        link.inside(&["ip", "address", "add", &format!("{theirs}/30"), "dev", far])?;
        link.inside(&["ip", "link", "set", far, "up"])?;
        Ok(link)
    }

    /// The calling thread goes into the namespace; the sockets that it makes belong there.
    pub(crate) fn enter(&self) {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("whoever makes a namespace may enter it");
    }

    /// Lets half a megabit a second through, towards the clients.
    pub(crate) fn narrow(&self) -> Result<(), String> {
        run(&[
            "tc", "qdisc", "add", "dev", &self.near, "root", "tbf", "rate", "512kbit", "burst",
            "8kb", "latency", "500ms",
        ])
    }

    pub(crate) fn widen(&self) {
        self.mended(run(&["tc", "qdisc", "del", "dev", &self.near, "root"]));
    }

    /// Drops a fifth of the packets in each direction.
    pub(crate) fn lose_packets(&self) -> Result<(), String> {
        self.firewall(&[
            "add table inet chaos",
            "add chain inet chaos in { type filter hook input priority 0 ; }",
            "add chain inet chaos out { type filter hook output priority 0 ; }",
            "add rule inet chaos in numgen random mod 10 < 2 drop",
            "add rule inet chaos out numgen random mod 10 < 2 drop",
        ])
    }

    /// Resets both ends of every connection that has something to say.
    pub(crate) fn reset_connections(&self) -> Result<(), String> {
        self.firewall(&[
            "add table inet chaos",
            "add chain inet chaos in { type filter hook input priority 0 ; }",
            "add chain inet chaos out { type filter hook output priority 0 ; }",
            "add rule inet chaos in meta l4proto tcp reject with tcp reset",
            "add rule inet chaos out meta l4proto tcp reject with tcp reset",
        ])
    }

    /// Takes the rules away.
    pub(crate) fn open_firewall(&self) {
        self.mended(self.inside(&["nft", "delete", "table", "inet", "chaos"]));
    }

    pub(crate) fn down(&self) -> Result<(), String> {
        self.inside(&["ip", "link", "set", &self.far, "down"])
    }

    pub(crate) fn up(&self) {
        self.mended(self.inside(&["ip", "link", "set", &self.far, "up"]));
    }

    fn firewall(&self, rules: &[&str]) -> Result<(), String> {
        rules
            .iter()
            .try_for_each(|rule| self.inside(&["nft", rule]))
    }

    /// Runs a command inside.
    fn inside(&self, command: &[&str]) -> Result<(), String> {
        let words: Vec<&str> = ["ip", "netns", "exec", &self.name]
            .iter()
            .chain(command)
            .copied()
            .collect();
        run(&words)
    }

    /// What was made can be unmade.
    fn mended(&self, result: Result<(), String>) {
        result.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The link goes with its far end, and the rules with the namespace.
        if let Err(error) = run(&["ip", "netns", "delete", &self.name]) {
            eprintln!("the namespace {} stays: {error}", self.name);
        }
        // Where the namespace was never made, the near end may be there alone.
        let _ = run(&["ip", "link", "delete", &self.near]);
    }
}

/// Runs beside each other have networks of their own, of four addresses each.
fn address(number: u32, host: u8) -> IpAddr {
    let [high, low] = ((number % 0x4000) as u16 * 4).to_be_bytes();
    Ipv4Addr::new(10, 213, high, low + host).into()
}

fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.map_err(|error| format!("{}: {error}", words[0]))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}", words.join(" "), why.trim()))
        }
    }
}

/// Namespaces that carry the id of a process that is gone.
fn remove_leftovers() {
    for entry in std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let owner = name.strip_prefix(PREFIX).and_then(|id| id.parse().ok());
        if owner
            .and_then(Pid::from_raw)
            .is_some_and(|id| !is_alive(id))
        {
            // Another run removes it at this moment: not ours to mend.
            let _ = run(&["ip", "netns", "delete", name]);
        }
    }
}
