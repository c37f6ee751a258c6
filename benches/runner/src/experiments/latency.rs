//! 8: from a commit to a browser, beside PostgreSQL's own client of the same log.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm::{Layout, Markers, monotonic_nanoseconds as now};

use super::Experiment;
use crate::bench::{Bench, on_load_cores};
use crate::cell::Figures;
use crate::contestant::{Database, Event};
use crate::plan::{Ask, Field, Plan, Size};
use crate::probe;
use crate::process::on_cores;
use crate::readers::Readers;
use crate::report::{Bar, Budget, Column, Plot};
use crate::stage::Stage;
use crate::statistics::quantile;

/// The fewest commits of which anything is said.
const COMMITS_MIN: usize = 500;

/// The pause between two commits, in milliseconds: from the first on, so many more at random.
const PAUSE_MS: (u64, u64) = (5, 30);

/// How long a commit may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The one that reads PostgreSQL.
const ROWS: &str = "tailrace-rows";

/// The longest marker: three numbers of 64 bits, two commas, two signs.
const MARKER_BYTES_MAX: usize = 64;

/// The slot of PostgreSQL's client.
const SLOT: &str = "runner_latency";

pub(super) struct Latency;

impl Experiment for Latency {
    fn number(&self) -> u32 {
        8
    }

    fn name(&self) -> &'static str {
        "latency"
    }

    fn title(&self) -> &'static str {
        "From a commit to a browser"
    }

    fn about(&self) -> &'static str {
        "An idle node with one stream; one row is inserted at a time, 5 to 35 ms after the one before. \
         The clock starts before the statement is sent and stops when the row has been read: from the \
         stream's socket, and from the pipe of `pg_recvlogical`, which reads the same commits by the \
         same plugin from a slot of its own, each by a thread that waits in read(2). The commit itself \
         is in both. Then the node is ended and `pg_recvlogical` sees as many commits alone, since two \
         walsenders on one core delay each other. Node and `pg_recvlogical` stand on core 0, PostgreSQL \
         and both readers on core 1."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let took = (plan.warm_up + plan.measured) * 2;
        let entrants = plan.entrants(Field::Ours, &[]).into_iter();
        let entrants = entrants.filter(|entrant| entrant.contestant.name() == ROWS);
        entrants.map(|entrant| Ask::of(entrant, "", took)).collect()
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let layout = Layout::Equal {
            streams_per_organisation: 1,
        };
        let mut stage = bench.start(1, layout)?;
        // The one stream is read here.
        stage.readers = Readers::none();
        let database = stage
            .running
            .database
            .clone()
            .context("it has no PostgreSQL")?;
        let mut client = Client::start(&database, &stage.setting.cores.server)?;
        let stream = read(probe::open(&stage.running.target, 0)?)?;
        let rows = client.read()?;
        let beside = [&stream, &rows];
        let (warm_up, commits) = commits(bench.plan);
        // The main thread is the application, and stands where PostgreSQL does.
        let (beside, alone) = on_load_cores(|| {
            commit(&mut stage, &beside, warm_up)?;
            let beside = commit(&mut stage, &beside, commits)?;
            stage.running.check()?;
            // Its walsender ends with it.
            stage.running.server.clear();
            commit(&mut stage, &[&rows], warm_up)?;
            Ok::<_, anyhow::Error>((beside, commit(&mut stage, &[&rows], commits)?))
        })??;
        let [node, floor] = &beside.read[..] else {
            unreachable!("there are two readers")
        };
        let floor_alone = &alone.read[0];
        let mut figures = Figures::default();
        for (name, times) in [("node", node), ("floor", floor), ("alone", floor_alone)] {
            for (percent, share) in [("p50", 0.5), ("p99", 0.99)] {
                figures.set_some(&format!("{name}_{percent}_ms"), quantile(times, share));
            }
        }
        figures.set_some("commit_p50_ms", quantile(&alone.answered, 0.5));
        for percent in ["p50", "p99"] {
            let of = |name: &str| figures.values.get(&format!("{name}_{percent}_ms")).copied();
            let ratio = |floor| Some(of("node")? / of(floor)?);
            let (beside, alone) = (ratio("floor"), ratio("alone"));
            figures.set_some(&format!("times_beside_{percent}"), beside);
            figures.set_some(&format!("times_alone_{percent}"), alone);
        }
        let added: Vec<f64> = node
            .iter()
            .zip(floor)
            .map(|(node, floor)| node - floor)
            .collect();
        figures.set_some("added_p50_ms", quantile(&added, 0.5));
        figures.set("commits", commits as f64);
        Ok(figures)
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("stream p50, ms", "node_p50_ms", 3),
            Column::new("p99", "node_p99_ms", 3),
            Column::new("pg_recvlogical beside it p50, ms", "floor_p50_ms", 3),
            Column::new("p99", "floor_p99_ms", 3),
            Column::new("× p50", "times_beside_p50", 2),
            Column::new("× p99", "times_beside_p99", 2),
            Column::new("pg_recvlogical alone p50, ms", "alone_p50_ms", 3),
            Column::new("p99", "alone_p99_ms", 3),
            Column::new("the commit itself p50, ms", "commit_p50_ms", 3),
            Column::new("median of the differences, ms", "added_p50_ms", 3),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars("commit to browser, p50 in ms", "node_p50_ms", 1.0)
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |title, figure, most, unit| Budget {
            title,
            variant: String::new(),
            figure,
            bar: Bar::Most(most),
            unit,
        };
        vec![
            budget(
                "commit to browser, p50, × pg_recvlogical",
                "times_beside_p50",
                1.3,
                "×",
            ),
            budget(
                "commit to browser, p99, × pg_recvlogical",
                "times_beside_p99",
                1.3,
                "×",
            ),
            budget("commit to browser, p99", "node_p99_ms", 5.0, "ms"),
        ]
    }
}

/// How many commits warm up, and how many count.
fn commits(plan: &Plan) -> (usize, usize) {
    let within = |time: Duration| (time.as_millis() / 20) as usize;
    match plan.size {
        Size::Smoke => (5, 20),
        Size::Quick | Size::Full => (within(plan.warm_up), within(plan.measured).max(COMMITS_MIN)),
    }
}

/// A reader: for each row that it reads, its number and when that was, in nanoseconds.
type Reader = Receiver<(u64, u64)>;

/// What a series of commits came to, in milliseconds from before each was sent.
struct Series {
    /// Until each reader had it.
    read: Vec<Vec<f64>>,
    /// Until PostgreSQL had answered.
    answered: Vec<f64>,
}

/// Commits one row at a time, each when all readers have had the one before.
fn commit(stage: &mut Stage, readers: &[&Reader], commits: usize) -> Result<Series> {
    let mut series = Series {
        read: vec![Vec::new(); readers.len()],
        answered: Vec::new(),
    };
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..commits {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        sleep(Duration::from_millis(PAUSE_MS.0 + random % PAUSE_MS.1));
        let sent = now();
        let event = stage.sequences.event(0, sent);
        stage
            .running
            .publisher
            .publish(&[event])
            .context("a row cannot be inserted")?;
        stage
            .running
            .publisher
            .settle()
            .context("a row cannot be inserted")?;
        series.answered.push(milliseconds(sent, now()));
        for (reader, times) in readers.iter().zip(&mut series.read) {
            times.push(milliseconds(sent, arrival(reader, &event)?));
        }
    }
    Ok(series)
}

/// When a reader had this event.
fn arrival(reader: &Reader, event: &Event) -> Result<u64> {
    loop {
        match reader.recv_timeout(PATIENCE) {
            Ok((sequence, at)) if sequence == event.sequence => return Ok(at),
            // It was published before this reader was asked for anything.
            Ok((sequence, _)) if sequence < event.sequence => {}
            Ok((sequence, _)) => {
                bail!("event {sequence} came before event {}", event.sequence)
            }
            Err(RecvTimeoutError::Timeout) => bail!("an event did not arrive in {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("a reader's connection has ended"),
        }
    }
}

fn milliseconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

/// Reads in a thread of its own, on the cores of the load, until the end.
fn read(mut source: impl Read + Send + 'static) -> Result<Reader> {
    let (sender, reader) = channel();
    let run = move || {
        let (mut pending, mut buffer, mut last) = (Vec::new(), vec![0; 64 * 1024], 0);
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            let at = now();
            pending.extend_from_slice(&buffer[..count]);
            for marker in Markers::new(&pending) {
                if marker.sequence > last {
                    last = marker.sequence;
                    if sender.send((marker.sequence, at)).is_err() {
                        return;
                    }
                }
            }
            // A marker may arrive in two pieces, and none is longer than this.
            pending.drain(..pending.len().saturating_sub(MARKER_BYTES_MAX));
        }
    };
    on_load_cores(|| std::thread::spawn(run))?;
    Ok(reader)
}

/// PostgreSQL's client of a logical slot, ended when dropped.
struct Client(Child);

impl Client {
    /// Makes a slot, and starts the client on these cores.
    fn start(database: &Database, cores: &[usize]) -> Result<Self> {
        let command = || {
            let mut command = Command::new(database.binaries.join("pg_recvlogical"));
            command
                .args(["--dbname", &database.url, "--slot", SLOT])
                .stdin(Stdio::null());
            command
        };
        let made = command()
            .args(["--create-slot", "--plugin", "pgoutput"])
            .status();
        if !made.context("pg_recvlogical cannot be run")?.success() {
            bail!("pg_recvlogical cannot make a slot: see its message above");
        }
        let mut command = command();
        let publication = format!("publication_names={}", database.publication);
        command
            .args([
                "--start",
                "--file",
                "-",
                "--no-loop",
                "--fsync-interval",
                "0",
            ])
            .args(["--option", "proto_version=1", "--option", &publication])
            .stdout(Stdio::piped());
        let child = on_cores(cores, || command.spawn())?;
        Ok(Self(child.context("pg_recvlogical cannot be run")?))
    }

    /// Reads what it prints.
    fn read(&mut self) -> Result<Reader> {
        read(self.0.stdout.take().context("it is read once")?)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // An error means that it has ended already. Asked to end, it complains of a stream cut short.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm::Marker;

    #[test]
    fn a_reader_says_each_row_once_however_it_arrives() {
        let marker = |sequence| {
            Marker {
                time: 1,
                organisation: 0,
                sequence,
            }
            .to_string()
        };
        let text = format!("data: {}\n\ndata: {}xx\n\n", marker(1), marker(2));
        let (reader, mut writer) = std::io::pipe().unwrap();
        let rows = read(reader).unwrap();
        let (first, second) = text.split_at(text.len() / 2 + 9);
        for piece in [first, second] {
            std::io::Write::write_all(&mut writer, piece.as_bytes()).unwrap();
            sleep(Duration::from_millis(20));
        }
        drop(writer);
        let numbers: Vec<u64> = rows.iter().map(|(sequence, _)| sequence).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn what_came_earlier_is_passed_over_and_what_is_missing_is_an_error() {
        let (sender, reader) = channel();
        let event = |sequence| Event {
            organisation: 0,
            sequence,
            at: 0,
        };
        for row in [(1, 10), (2, 20), (4, 40)] {
            sender.send(row).unwrap();
        }
        assert_eq!(arrival(&reader, &event(2)).unwrap(), 20);
        assert!(
            arrival(&reader, &event(3))
                .unwrap_err()
                .to_string()
                .contains("before event 3")
        );
    }
}
