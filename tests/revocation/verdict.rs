//! What is wrong with a run; and how long it took to end the streams.

use std::time::Duration;

use crate::client::{Client, Kind};
use crate::oracle::Order;
use crate::revocations::Revocation;
use crate::round::{Outcome, row};

/// By this a planted bug is told from anything else that goes wrong.
pub(crate) const LEAKED: &str = "saw what was committed after the revocation";

/// The judge of a run.
pub(crate) struct Verdict<'a> {
    pub(crate) revocation: Revocation,
    pub(crate) order: &'a Order,
}

impl Verdict<'_> {
    /// Everything that is wrong.
    pub(crate) fn judge(&self, outcomes: &[Outcome], witnesses: &[Vec<String>]) -> Vec<String> {
        let mut wrong: Vec<String> = outcomes
            .iter()
            .flat_map(|outcome| self.judge_round(outcome))
            .collect();
        // What is on its way when a stream ends may end with it; but most of it has arrived.
        let standing = outcomes.iter().flat_map(|outcome| {
            let before = row(self.revocation, outcome.round, "before");
            let standing = outcome.clients.iter();
            let standing = standing.filter(|client| client.kind == Kind::Established);
            standing.map(move |client| client.has_seen(&before))
        });
        let standing: Vec<bool> = standing.collect();
        let served = standing.iter().filter(|has_seen| **has_seen).count();
        if served * 2 < standing.len() {
            let all = standing.len();
            wrong.push(format!("{served} of {all} streams saw what came before"));
        }
        for (node, seen) in witnesses.iter().enumerate() {
            if seen != &self.order.events {
                let (seen, all) = (seen.len(), self.order.events.len());
                wrong.push(format!(
                    "the witness of node {node} saw {seen} of {all} events"
                ));
            }
        }
        wrong
    }

    fn judge_round(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        for client in &outcome.clients {
            let mut say = |what: String| {
                let (round, kind, node) = (outcome.round, client.kind, client.node);
                let id = client
                    .connected
                    .as_ref()
                    .map(|connected| &connected["connectionId"]);
                wrong.push(format!(
                    "round {round}, {kind:?} on node {node} ({id:?}): {what}"
                ));
            };
            self.judge_rows(outcome, client, &mut say);
            self.judge_end(outcome, client, &mut say);
        }
        if let Some(refusals) = self.revocation.refusals() {
            let is_refused = |status: &u16| refusals.contains(status);
            if !outcome.statuses.iter().all(is_refused) {
                let statuses = &outcome.statuses;
                wrong.push(format!("round {}: afterwards {statuses:?}", outcome.round));
            }
        }
        if let Some(other) = &outcome.other {
            let rows = ["before", "canary", "race", "after", "last"];
            let missed = rows
                .iter()
                .any(|which| !other.has_seen(&row(self.revocation, outcome.round, which)));
            if missed || other.farewell.is_some() {
                let farewell = &other.farewell;
                wrong.push(format!(
                    "round {}: another session ended: {farewell:?}",
                    outcome.round
                ));
            }
        }
        wrong
    }

    /// Whether this stream was admitted by rights that the revocation did not take.
    fn is_new(&self, outcome: &Outcome, client: &Client) -> bool {
        match self.revocation {
            Revocation::Role => client.role() == Some("viewer"),
            Revocation::Returned => outcome.returned.is_some() && client.farewell.is_none(),
            _ => false,
        }
    }

    fn judge_rows(&self, outcome: &Outcome, client: &Client, say: &mut impl FnMut(String)) {
        let revoked = self.order.transaction(outcome.revoked);
        let is_new = client.kind != Kind::Established && self.is_new(outcome, client);
        let returned = outcome.returned.filter(|_| is_new);
        let returned = returned.map_or(usize::MAX, |xid| self.order.transaction(xid));
        for seen in &client.seen {
            let Some(place) = self.order.row(seen) else {
                say(format!("saw {seen}, which nobody committed"));
                continue;
            };
            // With a new role the events of the old one are what must not come.
            let is_free = is_new && self.revocation == Revocation::Role && seen.ends_with("-last");
            if (revoked..returned).contains(&place) && !is_free {
                say(format!(
                    "{LEAKED}: {seen}, {} commits later",
                    place - revoked
                ));
            }
        }
        if is_new && self.revocation == Revocation::Returned && client.verdict() == Some("resumed")
        {
            say("resumed what lies before the membership".to_owned());
        }
    }

    fn judge_end(&self, outcome: &Outcome, client: &Client, say: &mut impl FnMut(String)) {
        let reason = self.revocation.reason();
        if client.kind != Kind::Established && self.is_new(outcome, client) {
            return;
        }
        let farewell = client.farewell.as_deref();
        let Some(status) = client.status else {
            say("was not answered".to_owned());
            return;
        };
        if client.connected.is_some() && farewell != Some(reason) {
            say(format!("ended with {farewell:?} and not with {reason}"));
        } else if client.connected.is_none() && client.kind == Kind::Established {
            say(format!("never stood: {status}"));
        }
    }
}

/// How the rounds went, in one line.
pub(crate) fn summary(revocation: Revocation, outcomes: &[Outcome]) -> String {
    let all = || outcomes.iter().flat_map(|outcome| &outcome.clients);
    let mut line = format!("{}: {} rounds", revocation.name(), outcomes.len());
    let times = outcomes.iter().flat_map(|outcome| {
        let standing = |client: &&Client| client.kind == Kind::Established;
        let ended = outcome.clients.iter().filter(standing);
        let ended = ended.filter_map(|client| client.ended);
        ended.map(|ended| ended.saturating_duration_since(outcome.committed))
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    if let (Some(worst), median) = (times.last(), times.get(times.len() / 2)) {
        let median = median.copied().unwrap_or_default();
        line += &format!(
            "; from the commit to the end of {} streams: median {:.1} ms, worst {:.1} ms",
            times.len(),
            median.as_secs_f64() * 1_000.0,
            worst.as_secs_f64() * 1_000.0,
        );
    }
    for (kind, what) in [(Kind::Opened, "opened"), (Kind::Resumed, "resumed")] {
        let of_kind = || all().filter(|client| client.kind == kind);
        let admitted = of_kind()
            .filter(|client| client.connected.is_some())
            .count();
        let softly = |client: &&Client| client.connected.is_none() && client.status == Some(200);
        let put_off = of_kind().filter(softly).count();
        let count = of_kind().count();
        if count > 0 {
            line += &format!("; {what} at the moment: {count}, of them {admitted} admitted first");
        }
        if put_off > 0 {
            line += &format!(", {put_off} put off");
        }
    }
    line
}
