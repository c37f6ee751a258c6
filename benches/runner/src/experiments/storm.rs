//! 6: everybody comes back at once, with a session that is checked, and goes on where it was.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use swarm::{Layout, Reconnected, Resume, Target, Until};

use super::Experiment;
use crate::bench::Bench;
use crate::cell::{Cell, Figures};
use crate::contestant::{Running, Sessions};
use crate::measure::Sample;
use crate::metrics::Metrics;
use crate::plan::{Ask, Field, Plan, Size};
use crate::probe;
use crate::readers::Readers;
use crate::report::{Bar, Budget, Column, Plot};
use crate::stage::Stage;
use crate::statistics::median;

const FLOOR: &str = "floor-connect";

/// Those that look sessions up.
const ROWS: &str = "tailrace-rows";

/// How many come back.
const STREAMS: u32 = 10_000;

const PER_ORGANISATION: u32 = 100;

/// How many of them may be without an answer at a time: half of what a listener's queue holds by the
/// kernel's default, since what does not fit is only tried again after a second.
const UNANSWERED_MAX: u32 = 2_000;

/// From how many addresses they come: a port is not used again within the minute for which the kernel
/// remembers its last connection, also where one server follows another.
const SOURCES: u8 = 100;

/// How many events each of them has missed.
const MISSED: usize = 5;

/// How long the last of them may take, in seconds.
const PATIENCE_SECONDS: u32 = 60;

/// How long a server may take to see that everybody has gone, and to read what was written meanwhile.
const REST: Duration = Duration::from_millis(700);

/// How long a round takes, about: two storms, and until nothing of one is in the way of the next.
const ROUND: Duration = Duration::from_secs(8);

pub(super) struct Storm;

/// The variants: how users are known.
const TOKENS: &str = "tokens";
const SESSIONS: &str = "rows of sessions";
const NOT_CHECKED: &str = "no session checked";

impl Experiment for Storm {
    fn number(&self) -> u32 {
        6
    }

    fn name(&self) -> &'static str {
        "storm"
    }

    fn title(&self) -> &'static str {
        "Everybody comes back at once"
    }

    fn about(&self) -> &'static str {
        "10,000 users in organisations of 100 come back as fast as they are answered, 2,000 requests \
         under way at a time, with the id of the last event they had, or with a server's own word for the \
         beginning where it has one; every organisation has had five events since. None of the sessions is known to the server: it is as after its restart. Then \
         the same streams are dropped and come back once more, as after a restart of the proxy: what \
         was verified a moment ago may be known now. CPU is that of the whole server from the first \
         connect until the last stream has had everything; × floor is against a bare loop that \
         accepts, reads and writes. A server that cannot resume is asked for new streams. In the full run the peers of the quick \
         one take part, once; they check no session."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let rounds = Rounds::of(plan);
        let took = Duration::from_secs(5) + ROUND * (rounds.warm_up + rounds.counted);
        let mut asks = Vec::new();
        for entrant in plan.entrants(Field::SomePeers, &[FLOOR]) {
            let variants: &[&str] = match (entrant.contestant.name(), plan.size) {
                (ROWS, _) => &[TOKENS, SESSIONS],
                (FLOOR, _) | (_, Size::Full) => &[NOT_CHECKED],
                (_, Size::Quick | Size::Smoke) => &[],
            };
            asks.extend(
                variants
                    .iter()
                    .map(|variant| Ask::of(entrant, *variant, took).once_of_peers()),
            );
        }
        asks
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let streams = bench.plan.streams(STREAMS);
        let rounds = Rounds::of(bench.plan);
        let layout = Layout::Equal {
            streams_per_organisation: PER_ORGANISATION.min(streams),
        };
        // Every round has users of its own.
        let users = streams * (rounds.warm_up + rounds.counted);
        let is_rows = bench.ask.variant == SESSIONS;
        let mut stage = bench.start_with(users, layout, |setting| {
            setting.sessions = if is_rows {
                Sessions::Rows
            } else {
                Sessions::Tokens
            };
        })?;
        // Each storm brings its own.
        stage.readers = Readers::none();
        let mut seen = Seen::default();
        for round in 0..rounds.warm_up + rounds.counted {
            let storm = Streams {
                first: round * streams,
                count: streams,
            };
            let (new, known) = play(&mut stage, storm)?;
            if round >= rounds.warm_up {
                seen.new.push(new);
                seen.known.push(known);
            }
        }
        Ok(seen.figures(streams))
    }

    /// What a connection costs, as a multiple of the bare loop's in the same repetition.
    fn derive(&self, cells: &mut [Cell]) {
        let is_floor = |cell: &&Cell| cell.key.contestant == FLOOR;
        let floor = cells
            .iter()
            .find(is_floor)
            .and_then(|cell| cell.figure("cpu_us"));
        let Some(floor) = floor else { return };
        for cell in cells {
            for (figure, times) in [
                ("cpu_us", "times_floor"),
                ("known_cpu_us", "known_times_floor"),
            ] {
                let value = cell.figure(figure);
                cell.add(times, value.map(|value| value / floor));
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("connects/s", "per_second", 0),
            Column::new("all caught up, s", "caught_up_s", 2),
            Column::new("p99 of an answer, ms", "answer_p99_ms", 1),
            Column::new("CPU, µs per connection", "cpu_us", 1),
            Column::new("× floor", "times_floor", 2),
            Column::new("SQL statements", "statements", 0),
            Column::new("known: connects/s", "known_per_second", 0),
            Column::new("CPU, µs", "known_cpu_us", 1),
            Column::new("× floor", "known_times_floor", 2),
            Column::new("statements", "known_statements", 0),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars("CPU, µs per connection", "cpu_us", 1.0)
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |title, variant: &str, figure, most, unit| Budget {
            title,
            variant: variant.to_owned(),
            figure,
            bar: Bar::Most(most),
            unit,
        };
        let statements = 1.0 + f64::from(STREAMS) / 500.0;
        vec![
            budget(
                "CPU of a connection with a token, × floor-connect",
                TOKENS,
                "times_floor",
                2.0,
                "",
            ),
            budget(
                "CPU of a connection with a row, × floor-connect",
                SESSIONS,
                "times_floor",
                2.0,
                "",
            ),
            budget(
                "SQL statements for 10,000 with tokens",
                TOKENS,
                "statements",
                statements,
                "",
            ),
            budget(
                "SQL statements for 10,000 with rows",
                SESSIONS,
                "statements",
                statements,
                "",
            ),
        ]
    }
}

/// How often it is done.
struct Rounds {
    warm_up: u32,
    counted: u32,
}

impl Rounds {
    fn of(plan: &Plan) -> Self {
        let (warm_up, counted) = match plan.size {
            Size::Smoke => (0, 2),
            Size::Quick => (1, 5),
            Size::Full => (1, 8),
        };
        Self { warm_up, counted }
    }
}

/// A range of streams.
#[derive(Clone, Copy)]
struct Streams {
    first: u32,
    count: u32,
}

/// What one storm came to.
struct Came {
    reconnected: Reconnected,
    cpu: f64,
    statements: Option<f64>,
}

/// One round: the same users come twice, the first time as strangers.
fn play(stage: &mut Stage, storm: Streams) -> Result<(Came, Came)> {
    let target = coming_from(&stage.running.target, place(&stage.running, storm)?);
    let mut readers = Readers::start(&target, storm.count, &stage.setting.cores.load)?;
    let until = miss(stage, storm)?;
    let new = come(stage, &mut readers, storm, &until)?;
    readers.drop_streams(storm.first, storm.count)?;
    // They say the place from before this round again, so that they have missed what they had missed.
    sleep(REST);
    let known = come(stage, &mut readers, storm, &until)?;
    // Nobody was given what is somebody else's.
    readers.report()?;
    drop(readers);
    sleep(REST);
    stage.running.check()?;
    Ok((new, known))
}

/// The place before what they miss, for those that can name one.
fn place(running: &Running, storm: Streams) -> Result<Option<String>> {
    match (&running.target.resume, running.beginning) {
        (Resume::Never, _) => Ok(None),
        // Their organisations are new.
        (_, Some(beginning)) => Ok(Some(beginning.to_owned())),
        (_, None) => probe::place(&running.target, storm.first).map(Some),
    }
}

/// The target of streams that all come from this place.
fn coming_from(target: &Target, place: Option<String>) -> Target {
    let mut target = target.clone();
    target.unanswered_max = UNANSWERED_MAX;
    target.sources = swarm::sources(SOURCES);
    match (&mut target.resume, place) {
        (Resume::Offset { first, .. }, Some(place)) => *first = place,
        (resume, place) => {
            *resume = Resume::Never;
            let line = place.map(|place| format!("last-event-id: {place}"));
            target.headers.extend(line);
        }
    }
    target
}

/// Publishes what they miss, where they can hear of it afterwards, and says what that is.
fn miss(stage: &mut Stage, storm: Streams) -> Result<Until> {
    if stage.running.target.resume == Resume::Never {
        sleep(REST);
        return Ok(Until::new());
    }
    let layout = stage.setting.layout;
    let mut organisations: Vec<u32> = (storm.first..storm.first + storm.count)
        .map(|stream| layout.organisation(stream))
        .collect();
    organisations.dedup();
    for _ in 0..MISSED {
        stage.publish(&organisations)?;
    }
    stage.running.publisher.settle().context("publishing")?;
    sleep(REST);
    let newest = |organisation: &u32| (*organisation, stage.sequences.newest(*organisation));
    Ok(organisations.iter().map(newest).collect())
}

/// Lets them come, and measures it.
fn come(stage: &Stage, readers: &mut Readers, storm: Streams, until: &Until) -> Result<Came> {
    let statements = statements(stage)?;
    let before = stage.sample();
    let came = readers.reconnect(storm.first, storm.count, false, until, PATIENCE_SECONDS)?;
    let cpu = settled(stage, &before);
    if came.caught_up < came.streams {
        bail!(
            "of {} streams {} were open and {} had caught up after {PATIENCE_SECONDS} s",
            came.streams,
            came.opened,
            came.caught_up
        );
    }
    let statements = statements
        .zip(self::statements(stage)?)
        .map(|(before, after)| after - before);
    Ok(Came {
        reconnected: came,
        cpu,
        statements,
    })
}

/// How often the server has asked the database about people so far, where it says so.
fn statements(stage: &Stage) -> Result<Option<f64>> {
    let Some((address, line)) = &stage.running.metrics else {
        return Ok(None);
    };
    Ok(Metrics::fetch(*address, line)?.value("tailrace_identity_statements_total"))
}

/// The CPU time since then, in seconds, when the server has nothing left to do.
fn settled(stage: &Stage, before: &Sample) -> f64 {
    const SETTLE: Duration = Duration::from_millis(50);
    let began = Instant::now();
    let mut cpu = stage.sample().since(before).cpu;
    // A server that is never idle is not waited for.
    while began.elapsed() < REST {
        sleep(SETTLE);
        let next = stage.sample().since(before).cpu;
        if next - cpu < 0.002 {
            return next;
        }
        cpu = next;
    }
    cpu
}

/// The storms of all rounds.
#[derive(Default)]
struct Seen {
    new: Vec<Came>,
    known: Vec<Came>,
}

impl Seen {
    fn figures(&self, streams: u32) -> Figures {
        let mut figures = Figures::default();
        let middle = |storms: &[Came], of: &dyn Fn(&Came) -> f64| {
            median(&storms.iter().map(of).collect::<Vec<_>>())
        };
        let cpu = |came: &Came| came.cpu * 1e6 / f64::from(streams);
        let per_second = |came: &Came| came.reconnected.connects_per_second();
        figures.set_some("cpu_us", middle(&self.new, &cpu));
        figures.set_some("known_cpu_us", middle(&self.known, &cpu));
        figures.set_some("per_second", middle(&self.new, &per_second));
        figures.set_some("known_per_second", middle(&self.known, &per_second));
        let caught_up = |came: &Came| came.reconnected.seconds_until_caught_up;
        figures.set_some("caught_up_s", middle(&self.new, &caught_up));
        let answer = |came: &Came| came.reconnected.connect.percentile_milliseconds(99.0);
        figures.set_some("answer_p99_ms", middle(&self.new, &answer));
        figures.set_some("statements", most_statements(&self.new));
        figures.set_some("known_statements", most_statements(&self.known));
        figures.set("storms", self.new.len() as f64);
        let again: u64 = self.new.iter().chain(&self.known).map(tried_again).sum();
        if again > 0 {
            figures.note(format!(
                "{again} requests were refused or failed and were tried again"
            ));
        }
        figures
    }
}

/// The worst storm's statements, where they are counted: a bound holds for each.
fn most_statements(storms: &[Came]) -> Option<f64> {
    storms
        .iter()
        .filter_map(|came| came.statements)
        .reduce(f64::max)
}

fn tried_again(came: &Came) -> u64 {
    let Reconnected {
        refused, failed, ..
    } = &came.reconnected;
    refused.values().chain(failed.values()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::test_cell;

    fn cell(contestant: &str, cpu_us: f64) -> Cell {
        test_cell(contestant, TOKENS, 1, &[("cpu_us", cpu_us)])
    }

    #[test]
    fn a_connection_is_compared_with_the_floor() {
        let mut cells = [cell("tailrace-rows", 26.0), cell(FLOOR, 13.0)];
        Storm.derive(&mut cells);
        assert_eq!(cells[0].figure("times_floor"), Some(2.0));
        assert_eq!(cells[1].figure("times_floor"), Some(1.0));
        let mut alone = [cell("tailrace-rows", 26.0)];
        Storm.derive(&mut alone);
        assert_eq!(alone[0].figure("times_floor"), None);
    }

    #[test]
    fn who_comes_from_a_place_says_it_and_nothing_else() {
        let mut target = Target::new("127.0.0.1:1".parse().unwrap(), "/");
        target.resume = Resume::LastEventId;
        let request = coming_from(&target, Some("1.2.3.4".to_owned())).request(0, Some("5.6.7.8"));
        assert!(
            request.contains("\r\nlast-event-id: 1.2.3.4\r\n"),
            "{request}"
        );
        assert!(!request.contains("5.6.7.8"), "{request}");
        let request = coming_from(&target, None).request(0, None);
        assert!(!request.contains("last-event-id"), "{request}");

        let mut target = Target::new("127.0.0.1:1".parse().unwrap(), "/?offset={offset}");
        target.resume = Resume::Offset {
            field: "next".to_owned(),
            first: "now".to_owned(),
        };
        let request = coming_from(&target, Some("-1".to_owned())).request(0, None);
        assert!(request.starts_with("GET /?offset=-1 "), "{request}");
    }
}
