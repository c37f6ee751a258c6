//! A blocking loop around the reader, as small as it can be: what the node does with threads.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use replication::{
    Admission, Config, ConnectInfo, Line, LineAction, Notice, Protection, Question, Reader, Rules,
    Wanted,
};
use serde_json::Value;
use wire::{Batch, EventId, Frame, Keys, Topic};

use crate::cluster::Cluster;

/// The time of every verdict, by the clock of a node. It stands still, since its verdicts are asked for at
/// the moment at which the credential was judged.
pub(crate) const UNIX_MS: u64 = 1_800_000_000_000;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reader, its sockets, and what it handed over.
pub(crate) struct Drive {
    pub(crate) reader: Reader,
    pub(crate) keys: Keys,
    /// Every frame that was handed over.
    pub(crate) frames: Vec<Frame>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) notices: Vec<Notice>,
    config: Config,
    stream: Option<UnixStream>,
    anchor: Option<UnixStream>,
    watch: Option<UnixStream>,
    members: Option<UnixStream>,
    begun: Instant,
    /// At most so many bytes are read at a time.
    read_max: usize,
    /// Whether every engine is full.
    is_full: bool,
    /// The pause after every batch that the engines take.
    pause: Duration,
    /// Until when it lasts.
    full_until: Instant,
    held: Option<Batch>,
}

impl Drive {
    /// A reader of the cluster's database.
    pub(crate) fn new(cluster: &Cluster, rules: Rules) -> Self {
        Self::with(cluster, |config| config.rules = rules)
    }

    /// The same, with a configuration that differs from the default.
    pub(crate) fn with(cluster: &Cluster, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(cluster);
        change(&mut config);
        let keys = config.keys.clone();
        let begun = Instant::now();
        Self {
            reader: Reader::new(config.clone(), u64::from(std::process::id()), 0),
            keys,
            frames: Vec::new(),
            batches: Vec::new(),
            notices: Vec::new(),
            config,
            stream: None,
            anchor: None,
            watch: None,
            members: None,
            begun,
            read_max: 64 * 1024,
            is_full: false,
            pause: Duration::ZERO,
            full_until: begun,
            held: None,
        }
    }

    /// Connects elsewhere from now on: to the server whose socket is in this directory.
    pub(crate) fn go_to(&mut self, directory: &std::path::Path) {
        self.config.connect.host = replication::Host::Unix(directory.to_owned());
    }

    /// The reasons of the gaps that were handed over.
    pub(crate) fn gaps(&self) -> Vec<wire::GapReason> {
        let gaps = self.batches.iter().filter_map(|batch| match batch {
            Batch::Gap(gap) => Some(gap.reason),
            _ => None,
        });
        gaps.collect()
    }

    /// Whether something like this was said.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.notices
            .iter()
            .any(|notice| notice.to_string().contains(text))
    }

    /// Reads so few bytes at a time.
    pub(crate) fn read_at_most(mut self, bytes: usize) -> Self {
        self.read_max = bytes;
        self
    }

    /// Lets every engine be full, or not any more.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Lets every engine be full for so long after every batch.
    pub(crate) fn take_a_batch_every(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// A reader that has begun to stream.
    pub(crate) fn streaming(cluster: &Cluster, rules: Rules) -> Self {
        let mut drive = Self::new(cluster, rules);
        drive.until("streaming", |drive| drive.status().ready);
        drive
    }

    /// Goes on until something is so.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            self.step();
            let status = self.status();
            assert!(
                begun.elapsed() < PATIENCE,
                "not {what}: {status:?} {:?}",
                self.notices
            );
        }
    }

    /// Goes on for a while.
    pub(crate) fn pass(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.step();
        }
    }

    /// Goes on until everything that is committed now has been handed over.
    pub(crate) fn catch_up(&mut self, cluster: &Cluster) {
        let end = cluster
            .sql("SELECT pg_current_wal_insert_lsn()")
            .parse()
            .unwrap();
        cluster.sql("SELECT pg_logical_emit_message(true, 'other', '')");
        self.until("caught up", |drive| {
            drive
                .status()
                .applied
                .is_some_and(|applied: EventId| applied.lsn >= end)
        });
    }

    /// The frames as they are sent.
    pub(crate) fn bytes(&self) -> Vec<&[u8]> {
        self.frames.iter().map(|frame| frame.bytes()).collect()
    }

    /// The events of an organisation, as JSON.
    pub(crate) fn events(&self, organisation: &str) -> Vec<Value> {
        let topic = Topic::Organisation(self.keys.organisation(organisation));
        self.events_of(topic)
    }

    /// The payloads of an organisation's events.
    pub(crate) fn payloads(&self, organisation: &str) -> Vec<Value> {
        let events = self.events(organisation).into_iter();
        events.map(|mut event| event["payload"].take()).collect()
    }

    /// The events of a topic.
    pub(crate) fn events_of(&self, topic: Topic) -> Vec<Value> {
        let frames = self
            .frames
            .iter()
            .filter(|frame| frame.audience().topic == topic);
        frames.map(json).collect()
    }

    pub(crate) fn status(&self) -> replication::Status {
        self.reader.status(self.now_ms())
    }

    /// Whether a user may be let in, whose credential was judged just now.
    pub(crate) fn admit(&self, user: &str, organisation: Wanted) -> Admission {
        let Some(judged) = self.status().applied else {
            return Admission::NotReady;
        };
        let question = Question {
            user: user.to_owned(),
            session: self.keys.session("its session"),
            issued_ms: None,
            organisation,
            judged,
            judged_ms: UNIX_MS,
            claims: None,
        };
        self.reader.admit(&question, self.now_ms(), UNIX_MS)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn step(&mut self) {
        self.reader.handle_timeout(self.now_ms());
        while let Some(action) = self.reader.poll_action() {
            self.act(action);
        }
        for line in [Line::Stream, Line::Anchor, Line::Watch, Line::Members] {
            self.write(line);
        }
        let mut any = false;
        while self.held.is_none() {
            self.held = self.reader.poll_batch(self.now_ms());
            if self.held.is_none() || self.is_full() {
                break;
            }
            any = true;
            self.hand_over();
        }
        if !self.is_full() {
            self.hand_over();
        }
        while let Some(notice) = self.reader.poll_notice() {
            self.notices.push(notice);
        }
        for line in [Line::Anchor, Line::Watch, Line::Members, Line::Stream] {
            any |= self.read(line);
        }
        if !any {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn hand_over(&mut self) {
        let Some(batch) = self.held.take() else {
            return;
        };
        self.take(batch);
        self.reader.handle_handed_over(self.now_ms());
        self.full_until = Instant::now() + self.pause;
    }

    fn is_full(&self) -> bool {
        self.is_full || Instant::now() < self.full_until
    }

    fn act(&mut self, action: LineAction) {
        match action {
            LineAction::Open(line) => {
                let connect: &ConnectInfo = &self.config.connect;
                match UnixStream::connect(connect.socket_path().unwrap()) {
                    Ok(socket) => {
                        socket.set_nonblocking(true).unwrap();
                        *self.socket(line) = Some(socket);
                        self.reader
                            .handle_opened(line, Protection::None, self.now_ms());
                    }
                    Err(error) => {
                        self.reader
                            .handle_failed(line, &error.to_string(), self.now_ms());
                    }
                }
            }
            LineAction::Close(line) => {
                self.write(line);
                *self.socket(line) = None;
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        if let Batch::Commit(commit) = &batch {
            assert!(
                commit
                    .frames
                    .iter()
                    .all(|frame| frame.id() <= commit.through)
            );
            self.frames.extend(commit.frames.iter().cloned());
        }
        self.batches.push(batch);
    }

    fn write(&mut self, line: Line) {
        let Self {
            reader,
            stream,
            anchor,
            watch,
            members,
            ..
        } = self;
        let socket = match line {
            Line::Stream => stream,
            Line::Anchor => anchor,
            Line::Watch => watch,
            Line::Members => members,
        };
        if let (Some(socket), Some(out)) = (socket, reader.outbox(line)) {
            // What we send is so little that a socket always takes it.
            if socket.write_all(out).is_ok() {
                out.clear();
            }
        }
    }

    fn read(&mut self, line: Line) -> bool {
        if !self.reader.reads(line, self.now_ms()) || line == Line::Stream && self.held.is_some() {
            return false;
        }
        let mut buffer = vec![0; self.read_max];
        let Some(socket) = self.socket(line) else {
            return false;
        };
        match socket.read(&mut buffer) {
            Ok(0) => {
                *self.socket(line) = None;
                self.reader.handle_failed(line, "closed", self.now_ms());
            }
            Ok(len) => self
                .reader
                .handle_bytes(line, &buffer[..len], self.now_ms()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => {
                *self.socket(line) = None;
                self.reader
                    .handle_failed(line, &error.to_string(), self.now_ms());
            }
        }
        true
    }

    fn socket(&mut self, line: Line) -> &mut Option<UnixStream> {
        match line {
            Line::Stream => &mut self.stream,
            Line::Anchor => &mut self.anchor,
            Line::Watch => &mut self.watch,
            Line::Members => &mut self.members,
        }
    }
}

/// The configuration of a reader of the cluster's database.
pub(crate) fn config(cluster: &Cluster) -> Config {
    let connect = cluster.url().parse().unwrap();
    Config {
        // Nobody wants to wait a quarter of a minute for what is looked after four times in one.
        visit_ms: 500,
        ..Config::new(connect, Keys::new([3; 16]))
    }
}

/// The JSON of a frame's `data:` line, and nothing else may be in its block.
pub(crate) fn json(frame: &Frame) -> Value {
    let text = std::str::from_utf8(frame.bytes()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(format!("id: {}", frame.id()).as_str()));
    let data = lines.next().unwrap().strip_prefix("data: ").unwrap();
    assert_eq!((lines.next(), lines.next()), (Some(""), None), "{text}");
    serde_json::from_str(data).unwrap()
}
