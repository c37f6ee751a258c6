//! One event over many connections: the engine's own work, without a kernel.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use engine::{
    Close, Config, Driver, Engine, Handle, Next, Notice, Now, Outcome, Overloaded, Transmit, Watch,
};
use wire::http::Request;
use wire::{
    Batch, Commit, ConnectionId, EventId, Filter, Format, Grant, Keys, Lineage, Lsn, Resume, Scope,
    Start,
};

/// Small enough that the log is full after a while, and an event costs an eviction as well.
const LOG_BYTES_MAX: usize = 1024 * 1024;

const NOW: Now = Now {
    monotonic_ms: 1_000,
    micros: 0,
    wall_ms: 1_700_000_000_000,
};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sweep");
    for connections in [1, 256, 10_000] {
        group.throughput(Throughput::Elements(connections));
        let id = BenchmarkId::from_parameter(connections);
        group.bench_function(id, |bencher| {
            let mut world = World::with(connections);
            bencher.iter(|| world.deliver());
            assert_eq!(
                world.driver.sends % connections,
                0,
                "everybody was sent everything"
            );
        });
    }
    group.finish();
}

/// An engine with open streams of one organisation.
struct World {
    engine: Engine,
    driver: Nobody,
    lineage: Lineage,
    lsn: Lsn,
}

impl World {
    fn with(connections: u64) -> Self {
        let config = Config {
            engine: 0,
            boot: 1,
            seed: [7; 16],
            streams: Vec::new(),
            heartbeat_ms: 25_000,
            log_bytes_max: LOG_BYTES_MAX,
            reset_spread_ms: 10_000,
            idle_close_ms: 0,
            resume_wait_ms: 15_000,
        };
        let lineage = Lineage::new(1, Vec::new(), 1);
        let mut world = Self {
            engine: Engine::new(config, NOW),
            driver: Nobody::default(),
            lineage: lineage.clone(),
            lsn: Lsn(0x1000_0000),
        };
        let floor = world.lineage.position(world.lsn, 0);
        world.take(Batch::Start(Arc::new(Start {
            lineage,
            floor,
            caught_up: floor,
        })));
        let keys = Keys::new([9; 16]);
        for number in 0..connections {
            world.open(&keys, number);
        }
        world.driver.sends = 0;
        world
    }

    fn open(&mut self, keys: &Keys, number: u64) {
        let descriptor = i32::try_from(number).expect("a small number");
        self.engine.handle_accept(NOW, descriptor, &mut self.driver);
        let handle = self
            .driver
            .watched
            .take()
            .expect("the first watch is armed at once");
        let request = b"GET /api/realtime/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
        self.engine
            .handle_bytes(NOW, handle, request, &mut self.driver);
        let connection = self
            .driver
            .forwarded
            .take()
            .expect("a request is forwarded at once");
        self.take(Batch::Grant(Box::new(Grant {
            connection,
            scope: Scope::Organisation(keys.organisation("acme")),
            user: Some(keys.user(&number.to_string())),
            session: None,
            filter: Filter::default(),
            format: Format::Event,
            expires_ms: None,
            since: None,
            resume: Resume::Live,
            head: wire::http::stream_head(""),
            about: bytes::Bytes::from_static(b"\"organizationId\":\"acme\""),
            purpose: wire::Purpose::Stream,
        })));
    }

    /// One transaction of one event, to the last send.
    fn deliver(&mut self) {
        let id: EventId = self.lineage.position(self.lsn, 1);
        self.lsn.0 += 0x40;
        let through = EventId {
            lsn: self.lsn,
            index: 0,
            ..id
        };
        let frames = vec![super::frame(id)];
        self.take(Batch::Commit(Arc::new(Commit {
            frames,
            through,
            end: Some(self.lsn),
        })));
    }

    fn take(&mut self, batch: Batch) {
        assert!(self.engine.wants_batch(), "everything before was sent");
        self.engine.handle_batch(NOW, batch, &mut self.driver);
        while self.engine.turn(NOW, &mut self.driver) == Next::Now {}
    }
}

/// A driver that takes everything and does nothing.
#[derive(Default)]
struct Nobody {
    watched: Option<Handle>,
    forwarded: Option<ConnectionId>,
    sends: u64,
}

impl Driver for Nobody {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        for transmit in &mut *group {
            transmit.outcome = Outcome::Taken(transmit.bytes.len());
        }
        self.sends += group.len() as u64;
    }

    fn watch(&mut self, connection: Handle, _: Watch) {
        self.watched = Some(connection);
    }

    fn finish(&mut self, _: Handle) {}

    fn close(&mut self, connection: Handle, _: Close) {
        panic!("nothing closes {connection:?}");
    }

    fn forward(&mut self, id: ConnectionId, _: Handle, _: Request) -> Result<(), Overloaded> {
        self.forwarded = Some(id);
        Ok(())
    }

    fn notify(&mut self, _: Notice) {}
}
