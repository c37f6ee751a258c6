//! The kernel's memory: sockets and slab caches. The figures are the whole machine's, so what is
//! learnt from them is learnt from differences and slopes.

use std::collections::BTreeMap;

/// What the kernel holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Buffers of TCP sockets, in bytes (`/proc/net/sockstat`).
    pub(crate) socket_buffers: u64,
    /// The bytes of the objects in use of each slab cache that sockets, watches and operations in
    /// flight are taken from; `None` where only root may know.
    pub(crate) slab: Option<BTreeMap<String, u64>>,
}

impl Kernel {
    /// Reads it.
    pub(crate) fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        Self {
            socket_buffers: read("/proc/net/sockstat")
                .and_then(|text| socket_buffers(&text))
                .unwrap_or(0),
            slab: read("/proc/slabinfo").map(|text| slab(&text)),
        }
    }
}

/// Whether a slab cache may hold something of a connection. Caches of equal objects are merged under
/// one name: epoll's wait entries are found in `anon_vma_chain`. What files and page tables need is
/// left out, since it changes by itself while nothing is measured.
fn is_of_connections(cache: &str) -> bool {
    const NAMES: [&str; 8] = [
        "io_kiocb",
        "ep_head",
        "eventpoll_epi",
        "eventpoll_pwq",
        "anon_vma_chain",
        "sock_inode_cache",
        "TCP",
        "filp",
    ];
    const BEGINNINGS: [&str; 2] = ["kmalloc-", "skbuff_"];
    NAMES.contains(&cache)
        || BEGINNINGS
            .iter()
            .any(|beginning| cache.starts_with(beginning))
}

/// The bytes of the objects in use, by cache.
fn slab(text: &str) -> BTreeMap<String, u64> {
    // Two lines of heading; then the name, the objects in use, all objects, and their size.
    let cache = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?;
        let objects: u64 = fields.next()?.parse().ok()?;
        let bytes: u64 = fields.nth(1)?.parse().ok()?;
        is_of_connections(name).then(|| (name.to_owned(), objects * bytes))
    };
    text.lines().skip(2).filter_map(cache).collect()
}

fn socket_buffers(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line
        .split_ascii_whitespace()
        .skip_while(|word| *word != "mem");
    let pages: u64 = words.nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_caches_of_connections_are_counted() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
            ext4_inode_cache 1000 1000 1128 14 4 : tunables\n\
            io_kiocb 10 304 256 16 1 : tunables\n\
            kmalloc-512 3 16 512 8 1 : tunables\n\
            TCPv6 52 52 2496 13 8 : tunables\n";
        let expected = [("io_kiocb", 10 * 256), ("kmalloc-512", 3 * 512)];
        let expected = expected.map(|(cache, bytes)| (cache.to_owned(), bytes));
        assert_eq!(slab(text), BTreeMap::from(expected));
    }

    #[test]
    fn the_buffers_of_sockets_are_in_pages() {
        let text =
            "sockets: used 16\nTCP: inuse 1 orphan 0 tw 2 alloc 1 mem 7\nUDP: inuse 0 mem 9\n";
        assert_eq!(
            socket_buffers(text),
            Some(7 * rustix::param::page_size() as u64)
        );
        assert_eq!(socket_buffers("UDP: inuse 0 mem 0\n"), None);
    }
}
