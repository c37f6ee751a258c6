//! Which cores the server under measurement may use, and which everything else.

use std::sync::OnceLock;

use serde::Serialize;

/// The cores of one measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cores {
    /// Those of the server under measurement, one for each engine thread.
    pub(crate) server: Vec<usize>,
    /// Those of the load: the swarm, the generator and PostgreSQL.
    pub(crate) load: Vec<usize>,
}

impl Cores {
    /// The cores of this machine, for a server of so many threads.
    pub(crate) fn of_machine(threads: usize) -> Self {
        Self::divide(cores_of_machine(), threads)
    }

    /// Divides so many cores: the server has the first, the load the rest, and never fewer than one:
    /// where there are not enough for both, the last core is in both lists.
    fn divide(cores: usize, threads: usize) -> Self {
        let server = threads.clamp(1, cores);
        let load = if server < cores {
            (server..cores).collect()
        } else {
            vec![cores - 1]
        };
        Self {
            server: (0..server).collect(),
            load,
        }
    }

    /// Whether the server and its load stand in each other's way.
    pub(crate) fn overlap(&self) -> bool {
        self.server.iter().any(|core| self.load.contains(core))
    }

    /// For the reports: `server on core 0, load on core 1`.
    pub(crate) fn in_words(&self) -> String {
        let list = |cores: &[usize]| {
            let numbers: Vec<String> = cores.iter().map(usize::to_string).collect();
            let name = if cores.len() == 1 { "core" } else { "cores" };
            format!("{name} {}", numbers.join(", "))
        };
        format!(
            "server on {}, load on {}",
            list(&self.server),
            list(&self.load)
        )
    }
}

/// How many cores this process may use. To be asked first before anything is pinned.
pub(crate) fn cores_of_machine() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_never_lacks_a_core_and_shares_one_only_where_it_must() {
        let two = Cores::divide(2, 1);
        assert_eq!(
            (two.server.as_slice(), two.load.as_slice()),
            (&[0][..], &[1][..])
        );
        assert!(!two.overlap());
        let shared = Cores::divide(2, 2);
        assert_eq!(
            (shared.server.as_slice(), shared.load.as_slice()),
            (&[0, 1][..], &[1][..])
        );
        assert!(shared.overlap());
        assert_eq!(Cores::divide(8, 2).load, [2, 3, 4, 5, 6, 7]);
        assert_eq!(Cores::divide(1, 2).load, [0]);
    }
}
