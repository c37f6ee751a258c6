//! The bodies of the fuzz targets, compiled on stable so that they cannot rot: `fuzz/` calls them,
//! and a test replays the committed corpus.

mod backend;
mod values;

pub use backend::backend;
pub use values::values;

use wire::{Batch, Format, Frame, Keys, Lineage, Lsn};

use crate::application::Application;
use crate::events::{EventWriter, Place};
use crate::feed::Feed;
use crate::protocol::backend::{Inbox, Message};
use crate::protocol::stream::{self, Streamed};
use crate::{
    Config, ConnectInfo, Identity, Line, LineAction, MembershipSource, MembershipTable,
    OrganisationTable, Protection, Reader, Rules, SessionTable, UserTable, limits, publishing,
};

/// Reads the bytes as a server's stream, from its framing to the batches, cut in two at every one of
/// a few places: nothing may panic, and where the cut is may make no difference.
pub fn pgoutput(bytes: &[u8]) {
    let whole = run(bytes, bytes.len());
    for cut in [1, 5, bytes.len() / 3, bytes.len() / 2] {
        assert_eq!(run(bytes, cut.min(bytes.len())), whole, "cut at {cut}");
    }
    session(bytes, bytes.len());
    // The same rows as those of members, sessions, users and organisations.
    run_with(identities(), bytes, bytes.len());
    let _ = identities().handle_message(bytes);
    // And as a single message of pgoutput, whose framing a fuzzer would have to guess.
    let _ = feed().handle_message(bytes);
}

/// Lets a reader have the bytes as the answers of its server, from the start-up on, and returns the
/// events that came of them.
fn session(bytes: &[u8], cut: usize) -> Vec<String> {
    let connect = "postgresql://app:password@localhost/app".parse();
    let config = Config::new(connect.expect("it is one"), Keys::new([0; 16]));
    let mut reader = Reader::new(config, 1, 0);
    reader.handle_timeout(0);
    assert_eq!(reader.poll_action(), Some(LineAction::Open(Line::Stream)));
    reader.handle_opened(Line::Stream, Protection::None, 0);
    let mut events = Vec::new();
    for (now_ms, part) in [(1, &bytes[..cut]), (2, &bytes[cut..])] {
        reader.handle_bytes(Line::Stream, part, now_ms);
        while let Some(batch) = reader.poll_batch(now_ms) {
            reader.handle_handed_over(now_ms);
            let Batch::Commit(commit) = batch else {
                continue;
            };
            events.extend(commit.frames.iter().map(frame_text));
        }
        reader.handle_timeout(now_ms);
        while let Some(action) = reader.poll_action() {
            if action == LineAction::Close(Line::Stream) {
                return events;
            }
        }
    }
    events
}

/// Reads the bytes as a connection URL.
pub fn connect_info(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<ConnectInfo>();
    }
}

/// Reads the bytes as the body of a publication. What is accepted is taken by the reader of the log as
/// well, and no byte of it ends a line or a block of the stream.
pub fn publication(bytes: &[u8]) {
    let keys = Keys::new([0; 16]);
    let Ok(entries) = publishing::entries(bytes, "an id", &keys) else {
        return;
    };
    assert!((1..=limits::PUBLICATION_EVENTS_MAX).contains(&entries.len()));
    for (entry, index) in entries.iter().zip(1..) {
        let application = Application::parse(&entry.content).expect("it was read before");
        assert_eq!(application.key(&keys), Some(entry.key));
        let id = Lineage::new(1, Vec::new(), 1).position(Lsn(7), index);
        let place = Place { id, commit_ms: 5 };
        let audience = application.audience(&keys);
        let frame = EventWriter::new(0).application(place, &application, audience);
        for (format, lines) in [(Format::Event, 4), (Format::Data, 4), (Format::Named, 5)] {
            let mut block = Vec::new();
            frame.write(format, &mut block);
            let ends = block.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(ends + 1, lines, "{:?}", String::from_utf8_lossy(&block));
            assert!(block.ends_with(b"\n\n") && !block.contains(&b'\r'));
        }
    }
}

/// What came of the bytes: a count of messages and of changes, and the last position.
fn run(bytes: &[u8], cut: usize) -> (u32, Vec<String>) {
    run_with(feed(), bytes, cut)
}

fn run_with(mut feed: Feed, bytes: &[u8], cut: usize) -> (u32, Vec<String>) {
    let mut inbox = Inbox::default();
    let (mut count, mut seen) = (0, Vec::new());
    for part in [&bytes[..cut], &bytes[cut..]] {
        inbox.push(part);
        loop {
            let message = match inbox.next() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return (count, seen);
                }
            };
            count += 1;
            let Message::CopyData(data) = message else {
                continue;
            };
            match stream::parse(data) {
                Ok(Streamed::WalData { payload, .. }) => match feed.handle_message(&payload) {
                    Ok(()) => {
                        let handed = std::iter::from_fn(|| feed.poll_handed());
                        seen.extend(handed.map(|handed| batch_text(&handed.batch)));
                    }
                    Err(error) => {
                        seen.push(error.to_string());
                        return (count, seen);
                    }
                },
                Ok(Streamed::Keepalive { end, .. }) => feed.handle_keepalive(end),
                Err(error) => seen.push(error.to_string()),
            }
        }
    }
    (count, seen)
}

/// A batch as text that tells it from every other. `Debug` would escape each frame byte by byte, which
/// took most of a fuzzer's time.
fn batch_text(batch: &Batch) -> String {
    let Batch::Commit(commit) = batch else {
        return format!("{batch:?}");
    };
    let frames: Vec<_> = commit.frames.iter().map(frame_text).collect();
    format!("{:?} {:?} {}", commit.through, commit.end, frames.concat())
}

/// A frame as text: who receives it, and it in two formats, so that the places of all its parts count.
fn frame_text(frame: &Frame) -> String {
    let mut blocks = Vec::new();
    for format in [Format::Event, Format::Named] {
        frame.write(format, &mut blocks);
    }
    let blocks = String::from_utf8_lossy(&blocks);
    format!("{:?} {} {blocks}", frame.audience(), frame.channel())
}

fn feed() -> Feed {
    feed_of(Rules::default())
}

/// A feed that takes the corpus' rows for those of identities, and that has read the memberships.
fn identities() -> Feed {
    let mut feed = feed_of(identity_rules());
    feed.rights_mut().load_nothing(vec!["id".to_owned()]);
    feed
}

/// The table of the corpus holds members, sessions, users and organisations.
fn identity_rules() -> Rules {
    let (table, id) = (|| "Property".to_owned(), || "id".to_owned());
    let members = MembershipTable {
        role: Some("name".to_owned()),
        active: Some("price".to_owned()),
        ..MembershipTable::new(&table(), "status", "organizationId")
    };
    Rules {
        identity: Identity {
            membership: MembershipSource::Table(members),
            session: Some(SessionTable {
                table: table(),
                id: id(),
                user: "status".to_owned(),
                expires: Some("name".to_owned()),
            }),
            user: Some(UserTable {
                table: table(),
                id: id(),
                banned: Some("price".to_owned()),
                banned_until: None,
            }),
            organisation: Some(OrganisationTable {
                table: table(),
                id: id(),
            }),
            revocation: true,
        },
        ..Rules::default()
    }
}

fn feed_of(rules: Rules) -> Feed {
    Feed::new(
        rules,
        Keys::new([0; 16]),
        Lineage::new(1, Vec::new(), 1),
        Lsn(0),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The seeds that are committed: streams and messages of a real server, bodies, and broken ones.
    fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).expect("the corpus is committed");
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    // Case: 8
    #[test]
    fn the_corpus_finds_nothing() {
        let corpus = corpus("pgoutput");
        assert!(corpus.len() >= 10, "the corpus has lost its seeds");
        corpus.iter().for_each(|(_, bytes)| pgoutput(bytes));
    }

    #[test]
    fn the_corpus_of_publications_finds_nothing() {
        let corpus = corpus("publication");
        assert!(corpus.len() >= 8, "the corpus has lost its seeds");
        for (path, bytes) in &corpus {
            publication(bytes);
            let is_read = publishing::entries(bytes, "an id", &Keys::new([0; 16])).is_ok();
            let is_broken = path
                .file_name()
                .is_some_and(|it| it.to_string_lossy().contains("broken"));
            assert_eq!(is_read, !is_broken, "{}", path.display());
        }
    }

    #[test]
    fn the_corpora_of_conversations_values_and_connections_find_nothing() {
        replay("backend", backend, 5);
        replay("values", values, 10);
        replay("connection", connect_info, 8);
    }

    fn replay(target: &str, body: fn(&[u8]), least: usize) {
        let corpus = corpus(target);
        assert!(corpus.len() >= least, "{target} has lost its seeds");
        corpus.iter().for_each(|(_, bytes)| body(bytes));
    }

    // Case: 5
    #[test]
    fn wherever_a_stream_is_cut_it_reads_the_same() {
        const SEED_BYTES_MAX: usize = 2_000;
        let small = corpus("pgoutput")
            .into_iter()
            .filter(|(_, bytes)| bytes.len() <= SEED_BYTES_MAX);
        let mut events = 0;
        for (path, bytes) in small {
            let whole = run(&bytes, 0);
            events += whole.1.len();
            for cut in 0..=bytes.len() {
                assert_eq!(run(&bytes, cut), whole, "{} cut at {cut}", path.display());
            }
        }
        assert!(events > 20, "the corpus has lost its streams");
    }

    #[test]
    fn wherever_a_whole_session_is_cut_its_events_are_the_same() {
        let (_, bytes) = corpus("pgoutput")
            .into_iter()
            .find(|(path, _)| path.ends_with("whole-session"))
            .expect("the seed is committed");
        let whole = session(&bytes, 0);
        assert_eq!(whole.len(), 3);
        for cut in 0..=bytes.len() {
            assert_eq!(session(&bytes, cut), whole, "cut at {cut}");
        }
    }
}
