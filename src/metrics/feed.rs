//! What the replication thread counted: the feed, the tables, the slot.

use super::page::Page;
use super::seconds;
use crate::replication_thread::FeedStatus;

/// Writes the families of the feed.
pub(super) fn replication(page: &mut Page, feed: &FeedStatus) {
    page.family(
        "tailrace_wal_lag_bytes",
        "gauge",
        "WAL the server has and the node has not read.",
    );
    page.sample(&[], feed.lag_bytes);
    page.family(
        "tailrace_wal_lag_seconds",
        "gauge",
        "How old the newest WAL that was read is.",
    );
    page.sample(&[], feed.lag_seconds);
    page.family(
        "tailrace_gaps_total",
        "counter",
        "Times changes may have been missed.",
    );
    page.sample(&[], feed.gaps);
    page.family(
        "tailrace_replayed_total",
        "counter",
        "Transactions received again and dropped.",
    );
    page.sample(&[], feed.replayed);
    page.family(
        "tailrace_reconnects_total",
        "counter",
        "Replication connections made again.",
    );
    page.sample(&[], feed.reconnects);
    rights(page, feed);
    tables(page, feed);
    slot(page, feed);
}

fn rights(page: &mut Page, feed: &FeedStatus) {
    if let Some(age_ms) = feed.feed_age_ms {
        page.family(
            "tailrace_feed_age_seconds",
            "gauge",
            "Age of the newest message of the server that was applied.",
        );
        page.sample(&[], seconds(age_ms));
    }
    let memberships = &feed.memberships;
    page.family("tailrace_memberships", "gauge", "Memberships kept.");
    page.sample(&[], memberships.count);
    page.family(
        "tailrace_memberships_full",
        "gauge",
        "Whether there are more than may be kept (membership.max).",
    );
    page.sample(&[], u64::from(memberships.full));
    page.family(
        "tailrace_membership_loads_total",
        "counter",
        "Times the memberships were read.",
    );
    page.sample(&[], memberships.loads);
    page.family(
        "tailrace_revocations_total",
        "counter",
        "Rights that were taken away, by whatever row.",
    );
    page.sample(&[], memberships.revocations);
}

fn tables(page: &mut Page, feed: &FeedStatus) {
    page.family(
        "tailrace_published",
        "gauge",
        "Whether the publication is there.",
    );
    page.sample(&[], u64::from(feed.published));
    page.family(
        "tailrace_unpublished_tables",
        "gauge",
        "Tables that have left the publication, or that a route names and it lacks.",
    );
    page.sample(&[], feed.unpublished.len());
    page.family(
        "tailrace_unroutable_total",
        "counter",
        "Changes that name no organisation.",
    );
    for (table, count) in &feed.unroutable {
        page.sample(&[("table", table)], count);
    }
    page.family(
        "tailrace_unscoped_updates_total",
        "counter",
        "Updates whose old row does not say which organisation it belonged to.",
    );
    for (table, count) in &feed.unscoped {
        page.sample(&[("table", table)], count);
    }
    page.family(
        "tailrace_refused_messages_total",
        "counter",
        "Application messages that were dropped.",
    );
    for (reason, count) in &feed.refused_messages {
        page.sample(&[("reason", reason)], count);
    }
    page.family(
        "tailrace_withheld_columns",
        "gauge",
        "Columns that are withheld, by table.",
    );
    for (table, columns) in &feed.withheld {
        page.sample(
            &[("table", table), ("columns", &columns.join(","))],
            columns.len(),
        );
    }
}

fn slot(page: &mut Page, feed: &FeedStatus) {
    page.family(
        "tailrace_anchors_lost_total",
        "counter",
        "Times the slot that holds the history was lost.",
    );
    page.sample(&[], feed.anchors_lost);
    let Some(slot) = &feed.slot else { return };
    page.family(
        "tailrace_slot_state",
        "gauge",
        "The server's word for how safe the slot is.",
    );
    let state = slot.wal_status.as_deref().unwrap_or("missing");
    page.sample(&[("slot", &slot.name), ("state", state)], 1);
    page.family(
        "tailrace_slot_retained_bytes",
        "gauge",
        "WAL the server keeps because of the slot.",
    );
    page.sample(&[], slot.retained_bytes);
    page.family(
        "tailrace_slot_before_window_bytes",
        "gauge",
        "Of that, what transactions need that are older than the window.",
    );
    page.sample(&[], slot.before_window_bytes);
    if let Some(safe_bytes) = slot.safe_bytes {
        page.family(
            "tailrace_slot_safe_bytes",
            "gauge",
            "WAL that may yet be written before the server gives the slot up.",
        );
        page.sample(&[], safe_bytes);
    }
    if let Some(age_s) = slot.oldest_transaction_s {
        page.family(
            "tailrace_oldest_transaction_seconds",
            "gauge",
            "Age of the oldest open transaction that writes.",
        );
        page.sample(&[], age_s);
    }
}
