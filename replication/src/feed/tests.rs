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
