//! Whom the node depends on to know who may see what, and for how long it goes on without: the stream
//! of changes, the database that holds sessions, the application that is asked. Pure.
//!
//! Without the stream nobody new is let in, and without the others nobody who has to be asked for;
//! those who are in stay for `auth.grace`, and then go.

/// Somebody who is asked, and has not answered for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outage {
    /// Since when, and why; `None` while all is well.
    since: Option<(u64, String)>,
}

impl Outage {
    /// An answer, or why there was none. Says whether that is news.
    pub(super) fn observe(&mut self, seen: Result<(), String>, now_ms: u64) -> bool {
        let was_well = self.since.is_none();
        self.since = match (seen, self.since.take()) {
            (Ok(()), _) => None,
            (Err(why), None) => Some((now_ms, why)),
            (Err(why), Some((since_ms, _))) => Some((since_ms, why)),
        };
        was_well != self.since.is_none()
    }

    /// For how long there was no answer.
    pub(super) fn age_ms(&self, now_ms: u64) -> Option<u64> {
        let (since_ms, _) = self.since.as_ref()?;
        Some(now_ms.saturating_sub(*since_ms))
    }

    /// Why there is none.
    pub(super) fn why(&self) -> Option<&str> {
        let (_, why) = self.since.as_ref()?;
        Some(why)
    }
}

/// What the node is worth without those it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// All is well.
    Full,
    /// Nobody new is let in.
    Waning,
    /// Nobody who has a user may stay.
    Lost,
}

/// The ages at which trust wanes and is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The age of the newest message of the stream at which nobody new is let in.
    pub(super) feed_ms: u64,
    /// `auth.grace`.
    pub(super) grace_ms: u64,
}

impl Patience {
    /// Judges the age of the feed, `None` before its first message, and the outages of the others.
    pub(super) fn trust(&self, feed_age_ms: Option<u64>, outages_ms: [Option<u64>; 2]) -> Trust {
        let Some(feed_age_ms) = feed_age_ms else {
            return Trust::Waning;
        };
        let is_lost = |age_ms: &u64| *age_ms > self.grace_ms;
        if is_lost(&feed_age_ms) || outages_ms.iter().flatten().any(is_lost) {
            return Trust::Lost;
        }
        match feed_age_ms > self.feed_ms {
            true => Trust::Waning,
            // Whoever needs the others is refused by their silence; nobody else has to be.
            false => Trust::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_its_first_failure_to_the_next_answer() {
        let mut outage = Outage::default();
        let why = |text: &str| Err(text.to_owned());
        assert!(!outage.observe(Ok(()), 0));
        assert_eq!(outage.age_ms(5), None);
        assert!(outage.observe(why("gone"), 10) && !outage.observe(why("still gone"), 20));
        assert_eq!(
            (outage.age_ms(50), outage.why()),
            (Some(40), Some("still gone"))
        );
        assert!(outage.observe(Ok(()), 60) && outage.age_ms(70).is_none());
    }

    #[test]
    fn nobody_new_is_let_in_and_later_nobody_stays() {
        let patience = Patience {
            feed_ms: 48_000,
            grace_ms: 300_000,
        };
        let well = [None, None];
        assert_eq!(patience.trust(None, well), Trust::Waning);
        assert_eq!(patience.trust(Some(48_000), well), Trust::Full);
        assert_eq!(patience.trust(Some(48_001), well), Trust::Waning);
        assert_eq!(patience.trust(Some(300_001), well), Trust::Lost);
        for outage in 0..2 {
            let mut outages = well;
            outages[outage] = Some(300_000);
            assert_eq!(patience.trust(Some(0), outages), Trust::Full);
            outages[outage] = Some(300_001);
            assert_eq!(patience.trust(Some(0), outages), Trust::Lost);
        }
    }
}
