//! What outlives a connection.

use super::*;

fn feed(floor: u64) -> Feed {
    let lineage = Lineage::new(1, Vec::new(), 1);
    Feed::new(Rules::default(), Keys::new([0; 16]), lineage, Lsn(floor))
}

fn progress(feed: &mut Feed, now_ms: u64) -> Option<Lsn> {
    feed.poll_progress(now_ms).map(|batch| match batch {
        Batch::Progress(position) => position.lsn,
        other => panic!("no progress: {other:?}"),
    })
}

#[test]
fn progress_that_was_not_said_before_a_connection_broke_is_said_on_the_next() {
    let mut feed = feed(100);
    feed.handle_keepalive(Lsn(200));
    assert_eq!(progress(&mut feed, PROGRESS_MS), Some(Lsn(200)));
    feed.handle_keepalive(Lsn(300));
    assert_eq!(progress(&mut feed, PROGRESS_MS + 1), None, "too soon");
    let lineage = feed.lineage().clone();
    feed.on_reconnect(lineage.clone());
    // The server has nothing beyond what it said before.
    feed.handle_keepalive(Lsn(300));
    assert_eq!(progress(&mut feed, 2 * PROGRESS_MS), Some(Lsn(300)));
    feed.on_reconnect(lineage.clone());
    assert_eq!(feed.progress_deadline_ms(), None, "nothing is left to say");
    feed.handle_keepalive(Lsn(400));
    feed.on_gap(lineage, Lsn(350));
    assert_eq!(feed.progress_deadline_ms(), None, "it begins anew");
}

const COMMIT: u64 = 0x700;
const ROWS: u32 = 20;

fn relation() -> Vec<u8> {
    let columns = [b"\x01id\0\0\0\0\x19", b"\0tenant_id\0\0\0\0\x19" as &[u8]];
    let columns = columns.map(|column| [column, &[0xff; 4]].concat()).concat();
    [b"R\0\0\0\x07public\0horse\0d\0\x02" as &[u8], &columns].concat()
}

fn begin() -> Vec<u8> {
    [b"B".as_slice(), &COMMIT.to_be_bytes(), &[0; 8], &[0; 4]].concat()
}

fn commit() -> Vec<u8> {
    let (commit, end) = (COMMIT.to_be_bytes(), (COMMIT + 8).to_be_bytes());
    [b"C\0".as_slice(), &commit, &end, &[0; 8]].concat()
}

/// So long a row that a hand-over has few of them.
fn insert() -> Vec<u8> {
    const ID_BYTES: u32 = 20_000;
    let id = vec![b'x'; ID_BYTES as usize];
    let head = [b"I\0\0\0\x07N\0\x02t" as &[u8], &ID_BYTES.to_be_bytes()].concat();
    [&head[..], &id, b"t\0\0\0\x04acme"].concat()
}

/// No real server does it: its word that everything is sent comes behind everything.
#[test]
fn a_transaction_behind_the_servers_word_that_all_is_sent_stays_in_order() {
    let mut feed = feed(0x100);
    feed.handle_keepalive(Lsn(COMMIT + 0x100));
    feed.handle_message(&relation()).unwrap();
    feed.handle_message(&begin()).unwrap();
    feed.handle_message(&insert()).unwrap();
    assert_eq!(progress(&mut feed, PROGRESS_MS), None, "it is taken back");
    (1..ROWS).for_each(|_| feed.handle_message(&insert()).unwrap());
    feed.handle_message(&commit()).unwrap();
    let handed: Vec<_> = std::iter::from_fn(|| feed.poll_handed()).collect();
    assert!(handed.len() > 1, "parts were handed over before the commit");
    assert!(handed.is_sorted_by(|one, next| one.position < next.position));
}

/// In memory, since a real server's connection cannot be cut at a chosen change: the types and ids of
/// what comes of the transaction, where the connection breaks before a row.
fn handed(breaks_before: Option<u32>) -> Vec<(String, EventId)> {
    let rules = Rules {
        batch_over: 8,
        ..Rules::default()
    };
    let lineage = || Lineage::new(1, Vec::new(), 1);
    let mut feed = Feed::new(rules, Keys::new([0; 16]), lineage(), Lsn(0));
    let mut frames = Vec::new();
    let mut hear = |feed: &mut Feed, message: &[u8]| {
        feed.handle_message(message).unwrap();
        while let Some(handed) = feed.poll_handed() {
            if let Batch::Commit(commit) = handed.batch {
                frames.extend(commit.frames.iter().cloned());
            }
        }
    };
    if let Some(row) = breaks_before {
        [relation(), begin()]
            .iter()
            .for_each(|message| hear(&mut feed, message));
        (1..row).for_each(|_| hear(&mut feed, &insert()));
        feed.on_reconnect(lineage());
    }
    [relation(), begin()]
        .iter()
        .for_each(|message| hear(&mut feed, message));
    (0..ROWS).for_each(|_| hear(&mut feed, &insert()));
    hear(&mut feed, &commit());
    let told = |frame: &Frame| (frame.event_type().to_owned(), frame.id());
    frames.iter().map(told).collect()
}

#[test]
fn wherever_a_transaction_breaks_its_batches_are_the_same() {
    let whole = handed(None);
    assert!(whole.len() < ROWS as usize, "there are batches: {whole:?}");
    for row in 1..=ROWS {
        assert_eq!(handed(Some(row)), whole, "before {row}");
    }
}
