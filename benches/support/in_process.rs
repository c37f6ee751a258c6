//! The real engine behind the real driver, in a process without PostgreSQL.
//!
//! What control and replication do otherwise is done by a loop here: it admits every stream to the
//! organisation its query names, with a `Grant` as control would make it, and turns every `POST`
//! into a `Commit` of one frame for everybody. Sessions, memberships and decoding are not measured
//! with it; `density` measures the whole node beside it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use driver::{Forwarded, Port};
use engine::{Notice, Overloaded};
use wire::http::{Method, Query};
use wire::{
    Audience, Batch, Commit, EventId, Filter, Format, FrameWriter, Grant, Keys, Lineage, Lsn, Name,
    Resume, Scope, Source, Start, Topic,
};

/// How many requests wait for the loop.
const REQUESTS_MAX: usize = 4096;

/// No heartbeat falls into a measurement.
const HEARTBEAT_MS: u64 = 24 * 60 * 60 * 1000;

/// As `history.max_bytes` is by default.
const LOG_BYTES_MAX: usize = 256 * 1024 * 1024;

const PUBLISHED: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

/// Plays the role of that name: one engine on the driver it names. Serves until it is killed.
pub(super) fn serve(role: &str) {
    let options = driver::Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        threads: 1,
        choice: role.parse().expect("the role is the name of a driver"),
    };
    let config = |engine| engine::Config {
        engine,
        boot: 1,
        seed: [7; 16],
        streams: Vec::new(),
        heartbeat_ms: HEARTBEAT_MS,
        log_bytes_max: LOG_BYTES_MAX,
        reset_spread_ms: 10_000,
        idle_close_ms: 0,
        resume_wait_ms: 15_000,
    };
    let (sender, requests) = sync_channel(REQUESTS_MAX);
    let uplink = |_| Box::new(Uplink(sender.clone())) as Box<dyn driver::Uplink>;
    let engines = driver::start(&options, config, uplink)
        .unwrap_or_else(|error| panic!("the engine does not start: {error}"));
    let address = engines.local_addr();
    writeln!(std::io::stdout(), "listening {address}").expect("the bench reads");
    Control::new(engines.ports()[0].clone()).run(&requests);
}

/// Hands the engine's requests to the loop.
struct Uplink(SyncSender<Forwarded>);

impl driver::Uplink for Uplink {
    fn forward(&mut self, request: Forwarded) -> Result<(), Overloaded> {
        self.0.try_send(request).map_err(|_| Overloaded)
    }

    fn notify(&mut self, _: Notice) {}
}

/// The loop in place of control and replication.
struct Control {
    port: Port,
    keys: Keys,
    lineage: Lineage,
    /// Where the next transaction commits.
    lsn: Lsn,
}

impl Control {
    fn new(port: Port) -> Self {
        let lineage = Lineage::new(0xbe7c_4e55, Vec::new(), 1);
        // LSNs of eight digits from the first to the last, so that all frames are of one length.
        Self {
            port,
            keys: Keys::new([9; 16]),
            lineage,
            lsn: Lsn(0x1000_0000),
        }
    }

    fn run(&mut self, requests: &Receiver<Forwarded>) {
        let floor = self.lineage.position(self.lsn, 0);
        self.hand_over(Batch::Start(Arc::new(Start {
            lineage: self.lineage.clone(),
            floor,
            caught_up: floor,
        })));
        while let Ok(forwarded) = requests.recv() {
            if forwarded.request.head.method() == Method::Post {
                self.publish(&forwarded);
            } else {
                self.admit(&forwarded);
            }
        }
    }

    fn admit(&self, forwarded: &Forwarded) {
        let query = Query::parse(forwarded.request.head.query()).expect("the readers' own query");
        let value = |name| {
            query
                .text(name)
                .ok()
                .flatten()
                .expect("the readers name it")
        };
        let (organisation, user) = (value("organizationId"), value("user"));
        let about = format!("\"userId\":\"{user}\",\"organizationId\":\"{organisation}\"");
        self.hand_over(Batch::Grant(Box::new(Grant {
            connection: forwarded.connection,
            scope: Scope::Organisation(self.keys.organisation(organisation)),
            user: Some(self.keys.user(user)),
            session: Some(self.keys.session(user)),
            filter: Filter::default(),
            format: Format::Event,
            expires_ms: None,
            since: None,
            resume: Resume::Live,
            head: wire::http::stream_head(""),
            about: Bytes::from(about),
            purpose: wire::Purpose::Stream,
        })));
    }

    fn publish(&mut self, forwarded: &Forwarded) {
        let bytes = forwarded.request.body.len();
        let commit = one_event(self.lineage.position(self.lsn, 1), bytes, self.lsn);
        self.lsn.0 += 0x40;
        self.hand_over(Batch::Commit(Arc::new(commit)));
        let connection = forwarded.connection;
        let response = Bytes::from_static(PUBLISHED);
        let command = engine::Command::Respond {
            connection,
            response,
        };
        self.port
            .try_command(command)
            .expect("one command at a time finds room");
    }

    /// Hands a batch to the engine, and waits where its channel is full, as replication does.
    fn hand_over(&self, mut batch: Batch) {
        while let Err(returned) = self.port.try_batch(batch) {
            batch = returned;
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// A transaction of one event for everybody, whose frame has exactly so many bytes.
fn one_event(id: EventId, bytes: usize, lsn: Lsn) -> Commit {
    let name = |text| Name::new(text).expect("the name is a good one");
    let (event_type, channel) = (name("property.update"), name("property"));
    let mut writer = FrameWriter::new(
        id,
        &event_type,
        &channel,
        1_700_000_000_123,
        Source::Postgres,
    );
    writer.json().extend_from_slice(b"{\"record\":");
    let start = writer.json().len();
    // What follows the padding: `"}`, the event's brace, and the blank line.
    const TAIL_BYTES: usize = 1 + 1 + 1 + 2;
    let room = bytes
        .checked_sub(writer.len() + 1 + TAIL_BYTES)
        .expect("a longer event");
    writer.json().push(b'"');
    let padding = writer.json().len() + room;
    writer.json().resize(padding, b'x');
    writer.json().push(b'"');
    writer.mark_data(start);
    writer.json().push(b'}');
    let frame = writer.finish(Audience::of(Topic::Global));
    assert_eq!(
        frame.bytes().len(),
        bytes,
        "the event has the length that was asked for"
    );
    let end = Lsn(lsn.0 + 0x30);
    Commit {
        frames: vec![frame],
        through: EventId {
            lsn: end,
            index: 0,
            ..id
        },
        end: Some(end),
    }
}
