//! What is measured: how large, how long, how often, of whom. The cells themselves are named by the
//! experiments.

use std::path::PathBuf;
use std::time::Duration;

use crate::cell::Key;
use crate::contestant::{Contestant, Driver, Kind};
use crate::experiments::Experiment;

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Few streams for seconds: shows that the harness works, and measures nothing.
    Smoke,
    /// About half an hour.
    Quick,
    /// Hours.
    Full,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) size: Size,
    /// How long a load lasts before it is measured, and how long it is.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) repetitions: u32,
    /// The numbers of the experiments; empty: all.
    pub(crate) only: Vec<u32>,
    /// The names of the contestants; empty: all that the size has.
    pub(crate) contestants: Vec<String>,
    /// Where the peers are installed.
    pub(crate) peers: PathBuf,
    /// Where profiles of whole steps of a search go; none where they are not wanted.
    pub(crate) profiles: Option<PathBuf>,
}

/// Who takes part in an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Everyone, and in the quick run the peers that are in it.
    WithPeers,
    /// Ours and the floor, and in the full run the peers of the quick one; in the quick run ours on
    /// one driver.
    SomePeers,
    /// The same where drivers make no difference to what the database adds, which the full run has on
    /// one driver and the quick one not at all.
    EngineAndSomePeers,
    /// Ours alone, without any floor; in the quick run on one driver.
    Ours,
}

/// A contestant, on the driver that it is asked to run on where it has the choice.
#[derive(Clone, Copy)]
pub(crate) struct Entrant {
    pub(crate) contestant: &'static dyn Contestant,
    pub(crate) driver: Option<Driver>,
}

impl Entrant {
    /// Its name in tables: `tailrace-batches, epoll`.
    pub(crate) fn label(&self) -> String {
        let name = self.contestant.name();
        self.driver
            .map_or_else(|| name.to_owned(), |driver| format!("{name}, {driver}"))
    }

    /// Whether it is Tailrace.
    pub(crate) fn is_ours(&self) -> bool {
        self.contestant.kind() == Kind::Ours
    }

    /// Whether it is of somebody else's world.
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.contestant.kind(), Kind::Peer | Kind::Reference)
    }
}

/// A cell that an experiment wants.
#[derive(Clone)]
pub(crate) struct Ask {
    /// Who is measured; none where it is something beside the contestants, which has a name only.
    pub(crate) entrant: Option<Entrant>,
    pub(crate) label: String,
    /// Which of the experiment's cells this is.
    pub(crate) variant: String,
    /// How long it will take, about.
    pub(crate) estimate: Duration,
    /// Whether it is measured in the first repetition alone.
    pub(crate) is_once: bool,
}

impl Ask {
    /// A cell of a contestant.
    pub(crate) fn of(entrant: Entrant, variant: impl Into<String>, estimate: Duration) -> Self {
        Self {
            entrant: Some(entrant),
            label: entrant.label(),
            variant: variant.into(),
            estimate,
            is_once: false,
        }
    }

    /// The same, measured once where it is a peer's: for experiments that say how peers stand, while
    /// no budget compares with them.
    pub(crate) fn once_of_peers(self) -> Self {
        let is_once = self.entrant.is_some_and(|entrant| entrant.is_peer());
        Self { is_once, ..self }
    }

    /// A cell of something else, such as a tool that stands for the floor.
    pub(crate) fn of_other(
        label: impl Into<String>,
        variant: impl Into<String>,
        estimate: Duration,
    ) -> Self {
        Self {
            entrant: None,
            label: label.into(),
            variant: variant.into(),
            estimate,
            is_once: false,
        }
    }
}

impl Plan {
    /// How many streams stand for so many: the smoke run has a fiftieth.
    pub(crate) fn streams(&self, streams: u32) -> u32 {
        match self.size {
            Size::Smoke => (streams / 50).max(10),
            Size::Quick | Size::Full => streams,
        }
    }

    /// How long one of so many loads is measured that make up a cell: in the full run they share its
    /// time, in the others each has all of it.
    pub(crate) fn measured_of(&self, loads: u32) -> Duration {
        match self.size {
            Size::Full => self.measured / loads,
            Size::Quick | Size::Smoke => self.measured,
        }
    }

    /// Who takes part, of the contestants there are; of the floors only those that are named, as
    /// each is the floor of something else.
    pub(crate) fn entrants(&self, field: Field, floors: &[&str]) -> Vec<Entrant> {
        self.select(crate::contestants::ALL, field, floors)
    }

    /// A cell for each of them; of peers once, unless everyone takes part.
    pub(crate) fn asks(&self, field: Field, floors: &[&str], estimate: Duration) -> Vec<Ask> {
        let entrants = self.entrants(field, floors).into_iter();
        let asks = entrants.map(|entrant| Ask::of(entrant, "", estimate));
        match field {
            Field::WithPeers => asks.collect(),
            Field::SomePeers | Field::EngineAndSomePeers | Field::Ours => {
                asks.map(Ask::once_of_peers).collect()
            }
        }
    }

    fn select(
        &self,
        all: &[&'static dyn Contestant],
        field: Field,
        floors: &[&str],
    ) -> Vec<Entrant> {
        let takes_part = |contestant: &dyn Contestant| {
            let name = contestant.name();
            let is_named = self.contestants.iter().any(|wanted| wanted == name);
            let takes_part_by_kind = match contestant.kind() {
                Kind::Ours => true,
                Kind::Floor => floors.contains(&name),
                Kind::Peer | Kind::Reference => match field {
                    Field::Ours => false,
                    _ if is_named => true,
                    Field::WithPeers => self.size == Size::Full || contestant.is_quick(),
                    Field::SomePeers | Field::EngineAndSomePeers => {
                        self.size == Size::Full && contestant.is_quick()
                    }
                },
            };
            let is_wanted = self.contestants.is_empty() || is_named;
            let is_left_out = self.size == Size::Quick
                && field == Field::EngineAndSomePeers
                && contestant.has_database()
                && !is_named;
            takes_part_by_kind && is_wanted && !is_left_out
        };
        let mut entrants = Vec::new();
        for &contestant in all.iter().filter(|contestant| takes_part(**contestant)) {
            let drivers = match (self.size, field) {
                (Size::Full, Field::EngineAndSomePeers) => contestant.quick_drivers(),
                (Size::Full, _) => contestant.drivers(),
                (_, Field::WithPeers) => contestant.quick_drivers(),
                // One driver is enough where drivers make no difference to what is shown.
                (_, Field::SomePeers | Field::EngineAndSomePeers | Field::Ours) => {
                    contestant.quick_drivers().get(..1).unwrap_or_default()
                }
            };
            if drivers.is_empty() {
                entrants.push(Entrant {
                    contestant,
                    driver: None,
                });
            }
            let with = |driver: &Driver| Entrant {
                contestant,
                driver: Some(*driver),
            };
            entrants.extend(drivers.iter().map(with));
        }
        entrants
    }

    /// Every cell in the order of measuring: each repetition goes through all of them, so that what
    /// is compared within a repetition was measured in the same hour.
    pub(crate) fn cells(
        &self,
        experiments: &[&'static dyn Experiment],
    ) -> Vec<(&'static dyn Experiment, Ask, Key)> {
        let wanted = |experiment: &&&'static dyn Experiment| {
            self.only.is_empty() || self.only.contains(&experiment.number())
        };
        let mut cells = Vec::new();
        for repetition in 1..=self.repetitions {
            for experiment in experiments.iter().filter(wanted) {
                let asks = experiment.cells(self).into_iter();
                for ask in asks.filter(|ask| repetition == 1 || !ask.is_once) {
                    let key = Key {
                        experiment: experiment.name().to_owned(),
                        contestant: ask.label.clone(),
                        variant: ask.variant.clone(),
                        repetition,
                    };
                    cells.push((*experiment, ask, key));
                }
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant::{Running, Setting};

    struct Server(&'static str, Kind, bool);

    impl Contestant for Server {
        fn name(&self) -> &'static str {
            self.0
        }

        fn kind(&self) -> Kind {
            self.1
        }

        fn has_database(&self) -> bool {
            self.0 == "ours-of-rows"
        }

        fn drivers(&self) -> &'static [Driver] {
            if self.1 == Kind::Ours {
                Driver::BOTH
            } else {
                &[]
            }
        }

        fn quick_drivers(&self) -> &'static [Driver] {
            let count = if self.has_database() { 1 } else { 2 };
            self.drivers().get(..count).unwrap_or_default()
        }

        fn is_quick(&self) -> bool {
            self.2
        }

        fn start(&self, _: &Setting) -> anyhow::Result<Running> {
            anyhow::bail!("only its name is used here")
        }
    }

    const SERVERS: &[&dyn Contestant] = &[
        &Server("ours-of-rows", Kind::Ours, true),
        &Server("ours", Kind::Ours, true),
        &Server("floor-send", Kind::Floor, true),
        &Server("floor-other", Kind::Floor, true),
        &Server("quick-peer", Kind::Peer, true),
        &Server("slow-peer", Kind::Peer, false),
    ];

    fn plan(size: Size) -> Plan {
        Plan {
            size,
            warm_up: Duration::from_secs(5),
            measured: Duration::from_secs(10),
            repetitions: 1,
            only: Vec::new(),
            contestants: Vec::new(),
            peers: PathBuf::new(),
            profiles: None,
        }
    }

    fn labels(plan: &Plan, field: Field) -> Vec<String> {
        plan.select(SERVERS, field, &["floor-send"])
            .iter()
            .map(Entrant::label)
            .collect()
    }

    #[test]
    fn the_quick_run_has_its_peers_only_where_they_are_wanted() {
        let quick = plan(Size::Quick);
        assert_eq!(
            labels(&quick, Field::SomePeers),
            ["ours-of-rows, uring", "ours, uring", "floor-send"]
        );
        assert_eq!(
            labels(&quick, Field::EngineAndSomePeers),
            ["ours, uring", "floor-send"]
        );
        let all = [
            "ours-of-rows, uring",
            "ours, uring",
            "ours, epoll",
            "floor-send",
            "quick-peer",
        ];
        assert_eq!(labels(&quick, Field::WithPeers), all);
    }

    #[test]
    fn the_full_run_has_everyone_where_peers_are_compared_and_some_elsewhere() {
        let full = plan(Size::Full);
        let all = [
            "ours-of-rows, uring",
            "ours-of-rows, epoll",
            "ours, uring",
            "ours, epoll",
            "floor-send",
            "quick-peer",
            "slow-peer",
        ];
        assert_eq!(labels(&full, Field::WithPeers), all);
        assert_eq!(labels(&full, Field::SomePeers), all[..6]);
        let engine = [all[0], all[2], all[3], all[4], all[5]];
        assert_eq!(labels(&full, Field::EngineAndSomePeers), engine);
    }

    #[test]
    fn ours_alone_has_nobody_else_even_if_he_is_named() {
        let mut full = plan(Size::Full);
        full.contestants = vec!["ours".to_owned(), "quick-peer".to_owned()];
        let ours = full.select(SERVERS, Field::Ours, &[]);
        assert!(ours.len() == 2 && ours.iter().all(Entrant::is_ours));
    }

    #[test]
    fn who_is_named_takes_part_and_nobody_else() {
        let mut quick = plan(Size::Quick);
        quick.contestants = vec!["slow-peer".to_owned(), "floor-other".to_owned()];
        assert_eq!(labels(&quick, Field::SomePeers), ["slow-peer"]);
    }

    #[test]
    fn some_cells_of_peers_are_measured_once() {
        let asks = plan(Size::Full)
            .select(SERVERS, Field::WithPeers, &["floor-send"])
            .into_iter()
            .map(|entrant| Ask::of(entrant, "", Duration::ZERO).once_of_peers());
        let once: Vec<bool> = asks.map(|ask| ask.is_once).collect();
        assert_eq!(once, [false, false, false, false, false, true, true]);
    }

    #[test]
    fn every_repetition_goes_through_all_cells() {
        struct Three;
        impl Experiment for Three {
            fn number(&self) -> u32 {
                4
            }
            fn name(&self) -> &'static str {
                "three"
            }
            fn title(&self) -> &'static str {
                "Three"
            }
            fn about(&self) -> &'static str {
                ""
            }
            fn cells(&self, _: &Plan) -> Vec<Ask> {
                let mut asks =
                    ["a", "b", "once"].map(|name| Ask::of_other(name, "", Duration::ZERO));
                asks[2].is_once = true;
                asks.into()
            }
            fn measure(&self, _: &crate::bench::Bench<'_>) -> anyhow::Result<crate::cell::Figures> {
                anyhow::bail!("only its cells are used here")
            }
            fn columns(&self) -> Vec<crate::report::Column> {
                Vec::new()
            }
            fn plot(&self) -> crate::report::Plot {
                crate::report::Plot::bars("", "", 1.0)
            }
        }
        let mut plan = plan(Size::Full);
        plan.repetitions = 2;
        let names = |plan: &Plan| -> Vec<(String, u32)> {
            let cells = plan.cells(&[&Three]).into_iter();
            cells
                .map(|(_, _, key)| (key.contestant, key.repetition))
                .collect()
        };
        let expected = [("a", 1), ("b", 1), ("once", 1), ("a", 2), ("b", 2)];
        assert_eq!(
            names(&plan),
            expected.map(|(name, number)| (name.to_owned(), number))
        );
        plan.only = vec![3];
        assert_eq!(names(&plan), []);
    }
}
