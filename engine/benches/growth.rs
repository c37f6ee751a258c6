//! Whether anything grows with what is none of an organisation's business: the cost of an event and of
//! a resume, the memory of a stream and the walk over the deadlines, in an engine alone.
//!
//! `cargo bench -p engine --bench growth`. The driver takes everything and does nothing. Columns: one
//! event for an organisation of 10 while up to 1,000,000 streams of others are open, and a resume
//! for an organisation of 10 events while up to 1,000,000 events of others are in the log, each in
//! nanoseconds (which know the caches) and in instructions (which do not, and must stay equal; counted
//! by valgrind's callgrind, where that is installed); resident memory per stream with 1,000,000 open,
//! before and after a burst; one walk over all deadlines. Most of the time is callgrind's, which opens a
//! million streams some fifty times as slowly: half an hour and more; `-- --most 100000` ends the series
//! sooner, and `-- --no-instructions` leaves that column out and takes a minute.
//!
//! Every line is measured by a process of its own: this program again, with `--role`.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads clocks; the engine in it is given its time"
)]
#![expect(clippy::print_stdout, reason = "the table is what a bench is for")]

#[path = "../tests/house/mod.rs"]
mod house;

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use house::{House, Terms, organisation, position, user};
use wire::{Resume, Topic};

/// Members of the organisation that is measured, and events of the one that resumes.
const FEW: usize = 10;

/// Streams of each other organisation.
const MANY: usize = 100;

/// Events, or resumes, that are measured after as many that are not.
const ROUNDS: usize = 2_000;

/// Bytes of data of an event: its block has some 300.
const DATA_BYTES: usize = 120;

/// A log that nothing is evicted from.
const LOG_BYTES_MAX: usize = 8 << 30;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str, default: usize| {
        option(name).map_or(default, |text| text.parse().expect("it is a number"))
    };
    if let Some(role) = option("--role") {
        println!("{}", play(role, number("--others", 0)));
    } else if has("--bench") {
        let most = number("--most", 1_000_000);
        let with_instructions = !has("--no-instructions") && has_callgrind();
        report(most, with_instructions);
    }
}

/// Measures one line; says what it saw, in the role's own words.
fn play(role: &str, others: usize) -> String {
    match role {
        "event" => {
            let mut house = crowd(others);
            format!("{:.0}", nanoseconds(|| event(&mut house)))
        }
        "resume" => {
            let mut house = past(others);
            let mut next = 0;
            format!("{:.0}", nanoseconds(|| resume(&mut house, &mut next)))
        }
        "memory of 100" => memory(others, MANY),
        "memory of 1" => memory(others, 1),
        "walk" => walk(others),
        role => panic!("there is no role {role}"),
    }
}

/// The median of so many rounds, after as many that warm up.
fn nanoseconds(mut round: impl FnMut() -> u128) -> f64 {
    let mut times: Vec<u128> = (0..2 * ROUNDS).map(|_| round()).skip(ROUNDS).collect();
    times.sort_unstable();
    times[ROUNDS / 2] as f64
}

/// So many streams of others, and among them, evenly, the few.
fn crowd(others: usize) -> House {
    let mut house = House::new(LOG_BYTES_MAX);
    let few = organisation("few");
    for part in 0..FEW {
        for other in part * others / FEW..(part + 1) * others / FEW {
            let organisation = organisation(&(other / MANY).to_string());
            house.open(Terms::of(organisation, user(other)));
        }
        house.open(Terms::of(few, user(others + part)));
    }
    house.sockets.sends = 0;
    house
}

/// One event for the few, to its last send. Returns its nanoseconds.
fn event(house: &mut House) -> u128 {
    let batch = house.commit(Topic::Organisation(organisation("few")), 1, DATA_BYTES);
    timed(|| house.take(batch))
}

/// So many events of others in the log, and among them, evenly, the few of one organisation.
fn past(others: usize) -> House {
    let mut house = House::new(LOG_BYTES_MAX);
    let mut append = |name: &str| {
        let topic = Topic::Organisation(organisation(name));
        let batch = house.commit(topic, 1, DATA_BYTES);
        house.take(batch);
    };
    for part in 0..FEW {
        append("few");
        for other in part * others / FEW..(part + 1) * others / FEW {
            append(&(other / MANY).to_string());
        }
    }
    house
}

/// A stream of the few that goes on from before their events, until it is in step; then it leaves.
/// Returns the nanoseconds until it was in step.
fn resume(house: &mut House, next: &mut usize) -> u128 {
    *next += 1;
    let (handle, grant) = house.ask(Terms {
        resume: Resume::After(position(17, 0)),
        ..Terms::of(organisation("few"), user(*next))
    });
    let bytes = house.sockets.bytes;
    let elapsed = timed(|| house.take(grant));
    let sent = house.sockets.bytes - bytes;
    assert!(sent > FEW * DATA_BYTES, "{sent} bytes are not all of them");
    house.leave(handle);
    elapsed
}

fn timed(work: impl FnOnce()) -> u128 {
    let began = Instant::now();
    measured(work);
    began.elapsed().as_nanos()
}

/// What is counted. Its name is what callgrind counts within.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    black_box(work)();
}

/// Resident bytes per stream, idle and then after a burst of 1,000 events and a minute.
fn memory(streams: usize, per_organisation: usize) -> String {
    let mut house = House::new(LOG_BYTES_MAX >> 5);
    let half = streams / 2;
    let mut resident = [0; 3];
    for number in 0..streams {
        if number == half {
            resident[0] = resident_bytes();
        }
        let organisation = organisation(&(number / per_organisation).to_string());
        house.open(Terms::of(organisation, user(number)));
    }
    resident[1] = resident_bytes();
    for _ in 0..1_000 {
        let batch = house.commit(Topic::Global, 1, DATA_BYTES);
        house.take(batch);
    }
    house.pass(60_000);
    resident[2] = resident_bytes();
    let [middle, idle, rested] = resident.map(|bytes| bytes as f64);
    let slope = (idle - middle) / (streams - half) as f64;
    format!("{slope:.1} {:.1}", (rested - idle) / streams as f64)
}

/// The resident memory of this process.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("it is ours");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.and_then(|text| text.parse().ok()).expect("in kB");
    kilobytes * 1024
}

/// One walk over the deadlines where nothing is due, and where every stream is due a heartbeat: the
/// whole walk, and the longest turn of it. In microseconds.
fn walk(streams: usize) -> String {
    let mut house = crowd(streams);
    let pass = |house: &mut House, ms: u64| {
        house.now.monotonic_ms += ms;
        if ms > engine::limits::STANDSTILL_MS {
            // After such a time without a turn the sockets are heard before deadlines are looked at.
            while house.engine.turn(house.now, &mut house.sockets) == engine::Next::Now {}
            house.now.monotonic_ms += engine::limits::SCAN_MS;
        }
        let mut longest = 0;
        let began = Instant::now();
        let mut turn_began = began;
        while house.engine.turn(house.now, &mut house.sockets) == engine::Next::Now {
            longest = longest.max(turn_began.elapsed().as_micros());
            turn_began = Instant::now();
        }
        longest = longest.max(turn_began.elapsed().as_micros());
        (began.elapsed().as_micros(), longest)
    };
    pass(&mut house, 1_000);
    let (idle, _) = pass(&mut house, 1_000);
    house.sockets.sends = 0;
    let (all, longest) = pass(&mut house, 30_000);
    assert_eq!(house.sockets.sends, streams + FEW, "each has a heartbeat");
    format!("{idle} {all} {longest}")
}

fn report(most: usize, with_instructions: bool) {
    let series = |values: &[usize]| -> Vec<usize> {
        values
            .iter()
            .copied()
            .filter(|value| *value <= most)
            .collect()
    };
    let heading = |what: &str| println!("\n{what:<52} {:>8} {:>14}", "ns", "instructions");
    heading("one event for 10 streams, while others are open");
    for others in series(&[0, 1_000, 10_000, 100_000, 1_000_000]) {
        line("event", others, with_instructions);
    }
    heading("a resume over 10 events, while others are in the log");
    for others in series(&[0, 100_000, 1_000_000]) {
        line("resume", others, with_instructions);
    }
    println!(
        "\nresident bytes per stream, {most} streams: idle, and more after 1,000 events to each"
    );
    for (role, what) in [
        ("memory of 100", "100 streams per organisation"),
        ("memory of 1", "one stream per organisation"),
    ] {
        println!("{what:<52} {}", run(role, most));
    }
    println!(
        "\na walk over the deadlines, in microseconds: nothing due; all due; longest turn of that"
    );
    for others in series(&[1_000, 100_000, 1_000_000]) {
        println!("{others:>52} {}", run("walk", others));
    }
}

fn line(role: &str, others: usize, with_instructions: bool) {
    let instructions = if with_instructions {
        count_instructions(role, others).to_string()
    } else {
        "not counted".to_owned()
    };
    println!("{others:>52} {:>8} {instructions:>14}", run(role, others));
}

/// This program in a role.
fn this(role: &str, others: usize) -> Vec<String> {
    let program = std::env::current_exe().expect("it runs");
    let program = program.to_str().expect("a path in UTF-8").to_owned();
    let others = others.to_string();
    let arguments = ["--role", role, "--others", &others].map(str::to_owned);
    [vec![program], arguments.to_vec()].concat()
}

fn run(role: &str, others: usize) -> String {
    let command = this(role, others);
    let output = Command::new(&command[0]).args(&command[1..]).output();
    let output = output.expect("it is this very program");
    assert!(
        output.status.success(),
        "{role} with {others}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn has_callgrind() -> bool {
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    valgrind.is_ok_and(|status| status.success())
}

/// Instructions of one round, over all rounds.
fn count_instructions(role: &str, others: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=growth::measured*"])
        .args(this(role, others))
        .output()
        .expect("it is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let collected: Option<u64> = collected.and_then(|(_, count)| count.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind counted nothing: {text}")) / (2 * ROUNDS as u64)
}
