//! Visits to the anchor and the publication: when, and what follows from what is found there:
//! notices, a repair, a gap.

use std::sync::Arc;

use wire::{Batch, Gap, GapReason, Lsn};

use super::{Action, Line, Mark, Reader, State};
use crate::SlotMode;
use crate::anchor::{Anchor, Circumstances, Finding, Outcome, Survey};
use crate::feed::Feed;
use crate::notice::Notice;
use crate::planted;
use crate::publication::Change;

impl Reader {
    /// Begins a visit if it is time, and gives up on one that takes too long.
    pub(super) fn visit_anchor(&mut self, now_ms: u64) {
        let is_streaming = matches!(self.state, State::Streaming(_));
        if self.anchor.is_overdue(now_ms) {
            self.actions.push_back(Action::Close(Line::Anchor));
            self.with_anchor(now_ms, |anchor, circumstances, random| {
                anchor.handle_failed("the server takes too long", circumstances, random)
            });
        }
        if self.is_pressed(now_ms) {
            self.anchor.hasten();
        }
        if is_streaming && self.anchor.wants_open(now_ms) {
            self.actions.push_back(Action::Open(Line::Anchor));
        }
    }

    /// Lets a visit go on, and draws the conclusions.
    pub(super) fn with_anchor(
        &mut self,
        now_ms: u64,
        act: impl FnOnce(&mut Anchor, &Circumstances<'_>, &mut crate::random::Random) -> Outcome,
    ) -> bool {
        let horizon = self.horizon(now_ms);
        let circumstances = Circumstances {
            config: &self.config,
            horizon,
            timeline: self.feed.as_ref().map_or(0, Feed::timeline),
            publication: &self.publication,
            now_ms,
        };
        let outcome = act(&mut self.anchor, &circumstances, &mut self.random);
        while let Some(finding) = self.anchor.poll_finding() {
            self.on_finding(finding, now_ms);
        }
        let is_over = outcome != Outcome::Going;
        if let Outcome::Stuck(reason) = outcome {
            self.notices.push_back(Notice::AnchorStuck { reason });
        }
        is_over
    }

    /// Up to where the anchor may be moved.
    fn horizon(&mut self, now_ms: u64) -> Option<Lsn> {
        if planted::CONFIRM_BEFORE_HAND_OVER {
            return self.feed.as_ref().map(Feed::resume);
        }
        let applied = self.applied.map_or(Lsn(0), |mark| mark.position.lsn);
        if let Some(at) = self.cut_at.take_if(|at| applied >= *at) {
            self.window.cut(at);
        }
        let server_ms = self.clock.now_unix_ms(now_ms);
        self.window.horizon(server_ms, self.server_end)
    }

    /// Whether the anchor holds back so much more than it may that its turn does not wait.
    fn is_pressed(&mut self, now_ms: u64) -> bool {
        let confirmed = self.slot.as_ref().map(|slot| slot.confirmed);
        let bytes_max = self.window.bytes_max();
        let held = confirmed.map_or(0, |lsn| self.server_end.0.saturating_sub(lsn.0));
        held > bytes_max.saturating_add(bytes_max / 8) && self.horizon(now_ms) > confirmed
    }

    fn on_finding(&mut self, finding: Finding, now_ms: u64) {
        match finding {
            Finding::Slot(survey) => self.on_survey(survey, now_ms),
            Finding::Publication(found, existing) => {
                let changes = self.publication.observe(found, &existing);
                self.on_publication(changes);
            }
            Finding::Advanced(lsn) => {
                if let Some(slot) = &mut self.slot {
                    slot.before_window_bytes += lsn.0.saturating_sub(slot.confirmed.0);
                    slot.confirmed = lsn;
                }
            }
            Finding::Recreated => {
                self.recreations.note(now_ms);
                let slot = self.slot.as_ref().map(|slot| slot.name.clone());
                self.notices.push_back(Notice::AnchorCreated {
                    slot: slot.expect("it was found to be lost before"),
                });
                self.anchor.hasten();
            }
        }
    }

    fn on_survey(&mut self, survey: Survey, now_ms: u64) {
        let Survey {
            slot, lost_by, end, ..
        } = survey;
        self.looked_at = end;
        if self.config.mode == SlotMode::Anchor && !slot.is_well() {
            let was_well = self.slot.as_ref().is_none_or(|slot| slot.is_well());
            if was_well {
                let reason = match slot.wal_status {
                    Some(_) => lost_by.unwrap_or_else(|| "given up by the server".to_owned()),
                    None => "dropped".to_owned(),
                };
                self.on_anchor_lost(slot.name.clone(), reason);
            }
            // Our own stream lives, so nothing was missed: only the past is lost, for who starts now.
            if self.recreations.allows(now_ms) {
                self.anchor.repair();
            } else if was_well {
                self.notices.push_back(Notice::AnchorGivenUp {
                    slot: slot.name.clone(),
                });
            }
        }
        let window_s = self.config.window_ms / 1_000;
        let is_old = slot.oldest_transaction_s.is_some_and(|age| age > window_s)
            || slot.before_window_bytes > self.window.bytes_max();
        if is_old && !std::mem::replace(&mut self.is_held_back, is_old) {
            self.notices.push_back(Notice::HeldBack {
                seconds: slot.oldest_transaction_s,
                bytes: slot.before_window_bytes,
            });
        }
        self.is_held_back = is_old;
        self.slot = Some(slot);
    }

    /// The anchor was lost, which is news.
    pub(super) fn on_anchor_lost(&mut self, slot: String, reason: String) {
        self.anchors_lost += 1;
        self.notices.push_back(Notice::AnchorLost { slot, reason });
    }

    fn on_publication(&mut self, changes: Vec<Change>) {
        let has_skipped = std::mem::take(&mut self.has_skipped) && self.publication.is_there();
        if changes.is_empty() && !has_skipped {
            return;
        }
        let publication = self.config.publication.clone();
        for change in changes {
            let publication = publication.clone();
            let names = |tables: Vec<crate::publication::TableName>| {
                tables.iter().map(ToString::to_string).collect()
            };
            self.notices.push_back(match change {
                Change::Gone => Notice::PublicationGone { publication },
                Change::Left(tables) => Notice::TablesLeft {
                    publication,
                    tables: names(tables),
                },
                Change::Back(tables) => Notice::TablesBack {
                    publication,
                    tables: names(tables),
                },
            });
        }
        // When something leaves, what was missed since it did; when it is back, what was missed
        // meanwhile.
        self.reset_all(GapReason::PublicationChanged);
    }

    /// Changes were missed while streaming: every stream is reset, and nobody can go on from before.
    pub(super) fn reset_all(&mut self, reason: GapReason) {
        let (State::Streaming(_), Some(feed)) = (&self.state, &self.feed) else {
            self.owed = Some(reason);
            return;
        };
        let (lineage, floor) = (feed.lineage().clone(), feed.emitted());
        self.gaps += 1;
        self.notices.push_back(Notice::Gap {
            reason,
            floor: floor.lsn,
        });
        let mark = Mark {
            position: floor,
            confirm: None,
            connection: self.connection,
            at_ms: self.applied.map_or(0, |mark| mark.at_ms),
            sent_us: None,
        };
        let gap = Gap {
            lineage,
            floor,
            reason,
        };
        self.batches.push_back((Batch::Gap(Arc::new(gap)), mark));
        self.on_changes_missed();
        // What was written until somebody looked was seen by whoever began anew. Who starts later must
        // not go on from before that either.
        self.forgiven = self.looked_at.max(floor.lsn);
        self.cut_at = Some(self.forgiven);
    }
}
