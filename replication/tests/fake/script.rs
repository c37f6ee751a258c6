//! What a real server once said on a connection, recorded before the first test that plays it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use replication::{Config, Line, Notice, Rules};

use super::player::Player;
use crate::cluster::Cluster;
use crate::drive::{Drive, config};

const SCHEMA: &str = r#"
    CREATE TYPE mood AS ENUM ('calm');
    CREATE TABLE "Property" (
        id int PRIMARY KEY, "organizationId" text NOT NULL, mood mood, body text,
        tags text[], UNIQUE ("organizationId", id));
    CREATE TABLE "Unit" (id int PRIMARY KEY, "organizationId" text NOT NULL, body text);
    ALTER TABLE "Unit" REPLICA IDENTITY FULL;
    CREATE PUBLICATION tailrace FOR TABLE "Property", "Unit";
"#;

/// Every kind of message that pgoutput sends.
const CHANGES: &[&str] = &[
    r#"INSERT INTO "Property" VALUES (1, 'acme', 'calm', 'häuser', '{a,NULL}'), (2, 'beta', NULL, NULL, NULL)"#,
    r#"BEGIN; UPDATE "Property" SET body = '' WHERE id = 1; UPDATE "Property" SET id = 3 WHERE id = 1;
       SAVEPOINT s; DELETE FROM "Property"; ROLLBACK TO s;
       SELECT pg_logical_emit_message(true, 'tailrace',
           '{"organizationId": "acme", "type": "note", "channel": "notes", "data": 1}');
       INSERT INTO "Unit" VALUES (1, 'acme', 'x'); UPDATE "Unit" SET "organizationId" = 'beta'; COMMIT"#,
    r#"DELETE FROM "Unit"; TRUNCATE "Property""#,
    r#"INSERT INTO "Unit" VALUES (2, 'acme', 'the last of them')"#,
];

/// What a walsender said on one connection, from the beginning of the session.
pub(super) struct Script {
    config: Config,
    pub(super) bytes: Vec<u8>,
    /// Where each message begins that comes after the word that streaming begins.
    pub(super) streamed: Vec<usize>,
    /// The frames that come of it.
    pub(super) frames: Vec<String>,
}

impl Script {
    /// The one that all tests play.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Script> = LazyLock::new(Script::record);
        &SHARED
    }

    fn record() -> Self {
        let cluster = Cluster::start(SCHEMA);
        // Makes the anchor, so that the changes are in the window of the next.
        drop(Drive::streaming(&cluster, Rules::default()));
        for changes in CHANGES {
            cluster.sql(changes);
        }
        let config = config(&cluster);
        let mut socket = UnixStream::connect(config.connect.socket_path().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut player = Player::new(&config);
        player.open();
        let (begun, mut bytes) = (Instant::now(), Vec::new());
        let is_last = |frame: &String| frame.contains("the last of them");
        while !player.frames.iter().any(is_last) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{player:?}");
            player.now_ms = 1 + begun.elapsed().as_millis() as u64;
            if let Some(out) = player.reader.outbox(Line::Stream) {
                socket.write_all(out).unwrap();
                out.clear();
            }
            let mut buffer = [0; 4096];
            match socket.read(&mut buffer) {
                Ok(len) => {
                    bytes.extend_from_slice(&buffer[..len]);
                    player.hear(&buffer[..len]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
        Self::new(config, bytes)
    }

    fn new(config: Config, bytes: Vec<u8>) -> Self {
        let mut streamed = Vec::new();
        let (mut at, mut streams) = (0, false);
        while at < bytes.len() {
            if streams {
                streamed.push(at);
            }
            streams |= bytes[at] == b'W';
            at += 1 + length_at(&bytes, at + 1);
        }
        assert_eq!(at, bytes.len(), "it ends with a message");
        let mut player = Player::new(&config);
        player.open();
        player.hear(&bytes);
        assert!(player.frames.len() >= 9, "{player:?}");
        assert_eq!(player.closed, 0);
        Self {
            config,
            bytes,
            streamed,
            frames: player.frames,
        }
    }

    /// A reader at which nothing was said yet.
    pub(super) fn player(&self) -> Player {
        let mut player = Player::new(&self.config);
        player.open();
        player
    }

    /// A reader that was told the script, with something else at a place in it.
    pub(super) fn with(&self, at: usize, other: &[u8]) -> Player {
        let mut player = self.player();
        player.hear(&self.bytes[..at]);
        player.hear(other);
        player.hear(&self.bytes[at..]);
        player
    }

    /// Where the messages of pgoutput begin, and what each of them is.
    pub(super) fn changes(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.streamed.iter().filter_map(|at| {
            let message = &self.bytes[*at..][..1 + length_at(&self.bytes, at + 1)];
            (message[5] == b'w').then(|| (*at, &message[CHANGE_AT..]))
        })
    }

    /// The reader has given up the connection at the fault, having said nothing that the script does
    /// not say, and then reads everything else once over the next.
    #[track_caller]
    pub(super) fn assert_recovers(&self, mut player: Player, fault: &str) {
        assert_eq!(player.closed, 1, "{fault}: {:?}", player.notices);
        assert!(self.frames.starts_with(&player.frames), "{fault}");
        let waiting = |notice: &Notice| matches!(notice, Notice::Waiting { .. });
        assert!(player.notices.iter().any(waiting), "{fault}");
        player.open();
        player.hear(&self.bytes);
        assert_eq!(player.closed, 1, "{fault}: {:?}", player.notices);
        assert_eq!(player.frames, self.frames, "{fault}");
    }
}

/// Where a message of pgoutput begins: behind the header, a tag, two positions and a time.
pub(super) const CHANGE_AT: usize = 5 + 1 + 8 + 8 + 8;

fn length_at(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}
