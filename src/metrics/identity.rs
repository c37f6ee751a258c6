//! What was counted of finding out who asks, and of letting them in.

use std::sync::atomic::{AtomicU64, Ordering};

use super::page::Page;

/// By what a credential was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifiedBy {
    /// By itself: its signature, or its encryption.
    Token,
    /// By a session's row.
    Row,
    /// By the application's word.
    Introspection,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It names a user.
    Accepted,
    /// It names nobody.
    Refused,
    /// Whoever has to be asked does not answer.
    Unavailable,
}

/// The counts. The control thread counts, whoever renders the page reads.
#[derive(Debug, Default)]
pub(crate) struct IdentityCounts {
    verified: [[AtomicU64; Verified::ALL.len()]; VerifiedBy::ALL.len()],
    remembered: AtomicU64,
    judged_again: AtomicU64,
    statements: AtomicU64,
    introspections: AtomicU64,
    key_fetches: AtomicU64,
}

impl VerifiedBy {
    const ALL: [Self; 3] = [Self::Token, Self::Row, Self::Introspection];

    fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Row => "row",
            Self::Introspection => "introspection",
        }
    }
}

impl Verified {
    const ALL: [Self; 3] = [Self::Accepted, Self::Refused, Self::Unavailable];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl IdentityCounts {
    /// A credential was verified.
    pub(crate) fn verified(&self, by: VerifiedBy, outcome: Verified) {
        increment(&self.verified[by as usize][outcome as usize]);
    }

    /// A credential was found among those that had been verified a moment before.
    pub(crate) fn remembered(&self) {
        increment(&self.remembered);
    }

    /// Somebody has to be judged again, since something was revoked meanwhile.
    pub(crate) fn judged_again(&self) {
        increment(&self.judged_again);
    }

    /// A statement was sent that asks for rows of sessions or users.
    pub(crate) fn statement(&self) {
        increment(&self.statements);
    }

    /// So often the application was asked, and keys were fetched, since the start.
    pub(crate) fn set_asked(&self, introspections: u64, key_fetches: u64) {
        self.introspections.store(introspections, Ordering::Relaxed);
        self.key_fetches.store(key_fetches, Ordering::Relaxed);
    }

    /// Writes the families.
    pub(super) fn write(&self, page: &mut Page) {
        page.family(
            "tailrace_verifications_total",
            "counter",
            "Credentials verified, by what says whose they are.",
        );
        for by in VerifiedBy::ALL {
            for outcome in Verified::ALL {
                let labels = [("by", by.as_str()), ("outcome", outcome.as_str())];
                page.sample(&labels, read(&self.verified[by as usize][outcome as usize]));
            }
        }
        let counters = [
            (
                "tailrace_remembered_total",
                "Credentials that had been verified a moment before.",
                &self.remembered,
            ),
            (
                "tailrace_identity_statements_total",
                "Statements that asked for rows of sessions or users.",
                &self.statements,
            ),
            (
                "tailrace_introspections_total",
                "Times the application was asked whose a credential is.",
                &self.introspections,
            ),
            (
                "tailrace_jwks_fetches_total",
                "Times an issuer's keys were fetched.",
                &self.key_fetches,
            ),
            (
                "tailrace_judged_again_total",
                "Newcomers judged again because something was revoked meanwhile.",
                &self.judged_again,
            ),
        ];
        for (name, help, counter) in counters {
            page.family(name, "counter", help);
            page.sample(&[], read(counter));
        }
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_line() {
        let counts = IdentityCounts::default();
        counts.verified(VerifiedBy::Row, Verified::Unavailable);
        counts.remembered();
        counts.set_asked(3, 4);
        let mut page = Page::default();
        counts.write(&mut page);
        for line in [
            "tailrace_verifications_total{by=\"row\",outcome=\"unavailable\"} 1",
            "tailrace_verifications_total{by=\"token\",outcome=\"accepted\"} 0",
            "tailrace_remembered_total 1",
            "tailrace_introspections_total 3",
            "tailrace_jwks_fetches_total 4",
            "tailrace_judged_again_total 0",
        ] {
            assert!(
                page.text.lines().any(|found| found == line),
                "{line}\n{}",
                page.text
            );
        }
    }
}
