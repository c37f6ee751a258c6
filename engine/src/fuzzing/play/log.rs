//! What the replication thread hands over: frames, positions, gaps, and the ends of rights.

use std::sync::Arc;

use wire::{
    Audience, Batch, CloseReason, Commit, EventId, Frame, FrameWriter, Gap, GapReason, Key,
    Lineage, Lsn, Name, Revocation, RevocationScope, Source, Start, Topic,
};

use super::{ORGANISATIONS, Play, USERS};
use crate::fuzzing::reader::name;

const CHANNELS: [&str; 3] = ["property", "notes", "alerts"];
/// How many bytes of data an event has.
const SIZES: [usize; 8] = [0, 10, 100, 300, 1_000, 4_000, 20_000, 70_000];
/// Who may see an event: all, or these roles.
const ROLES: [Option<&[&str]>; 4] = [
    None,
    Some(&["owner"]),
    Some(&["clerk"]),
    Some(&["clerk", "owner"]),
];

impl Play {
    /// The stream of changes starts, or starts again, with so much of the past to be read.
    pub(super) fn start(&mut self, ahead: usize) {
        let floor = self.lineage.position(Lsn(self.lsn), 0);
        let caught_up = self.lineage.position(Lsn(self.lsn + 16 * ahead as u64), 0);
        let lineage = self.lineage.clone();
        self.hand_over(Batch::Start(
            Start {
                lineage,
                floor,
                caught_up,
            }
            .into(),
        ));
    }

    /// Frames of a transaction: of a new one, or of the one that has not ended. Where the audience's
    /// number is large, it does not end here either.
    pub(super) fn commit(&mut self, count: usize, audience: usize, channel: usize, size: usize) {
        if self.index == 0 {
            self.lsn += 16;
            // The time is taken before the place, so that two may be the other way round.
            let ago_ms = 3_000 * (count as i64 / 6 % 4);
            self.commit_ms = 1_699_999_999_000 + self.now.monotonic_ms as i64 - ago_ms;
        }
        let mut frames = Vec::new();
        for number in (audience..).take(1 + count % 6) {
            self.index += 1;
            let id = self.lineage.position(Lsn(self.lsn), self.index);
            let bytes = SIZES[size % SIZES.len()];
            for audience in self.audiences(number, id.index) {
                frames.push(self.frame(id, audience, channel, bytes));
            }
        }
        let last = frames.last().expect("there is at least one").id();
        let is_over = audience % 64 < 48;
        let commit = match is_over {
            true => Commit {
                frames,
                through: self.lineage.position(Lsn(self.lsn + 1), 0),
                end: Some(Lsn(self.lsn + 1)),
            },
            false => Commit {
                frames,
                through: last,
                end: None,
            },
        };
        if is_over {
            self.index = 0;
        }
        self.hand_over(Batch::Commit(commit.into()));
    }

    /// For whom a change is: for two where a row moves, from one organisation to another, or of one user
    /// within them.
    fn audiences(&self, number: usize, index: u32) -> Vec<Audience> {
        let organisation = |at: usize| self.keys.organisation(ORGANISATIONS[at % 3]);
        let user = |at: usize| Topic::User(self.keys.user(USERS[at % 4]));
        let roles = ROLES[number / 12 % 4].map(|roles| {
            let roles: Vec<Name> = roles.iter().map(|role| name(role)).collect();
            Arc::from(roles)
        });
        let of = |topic: Topic, within: Option<Key>| Audience {
            topic,
            within,
            roles: roles.clone(),
        };
        match number % 12 {
            11 if index.is_multiple_of(2) => {
                [0, 1].map(|at| of(user(0), Some(organisation(at)))).into()
            }
            11 => [0, 1]
                .map(|at| of(Topic::Organisation(organisation(at)), None))
                .into(),
            10 => vec![of(Topic::Global, None)],
            at @ 6..10 => {
                let within = at.is_multiple_of(2).then(|| organisation(at / 2));
                vec![of(user(at), within)]
            }
            at => vec![of(Topic::Organisation(organisation(at)), None)],
        }
    }

    fn frame(&self, id: EventId, audience: Audience, number: usize, bytes: usize) -> Frame {
        let channel = CHANNELS[number % 3];
        let (channel, event_type) = match number / 3 % 4 {
            0 => (name(channel), name(channel)),
            1 => (name(channel), name(&format!("{channel}.insert"))),
            2 => (name(channel), name(&format!("{channel}.update.batch"))),
            _ => (name("user:7"), name(&format!("{channel}.update"))),
        };
        let time_ms = self.commit_ms;
        let mut writer = FrameWriter::new(id, &event_type, &channel, time_ms, Source::Postgres);
        let start = writer.json().len();
        // Its id all over, so that no byte of it can be another frame's.
        let text = id.to_string();
        let data = text.bytes().cycle().take(bytes);
        writer.json().push(b'"');
        writer.json().extend(data);
        writer.json().push(b'"');
        writer.mark_data(start);
        writer.finish(audience)
    }

    /// Nothing for us was committed for a while.
    pub(super) fn progress(&mut self, steps: u64) {
        self.index = 0;
        self.lsn += 16 * steps;
        let position = self.lineage.position(Lsn(self.lsn), 0);
        self.hand_over(Batch::Progress(position));
    }

    /// Changes were missed; the cluster may go on on another timeline.
    pub(super) fn miss_changes(&mut self, reason: usize) {
        self.index = 0;
        // Nothing that the server has flushed lies behind the place from which it goes on.
        self.lsn = self.lsn.max(self.flushed) + 16;
        let reason = match reason % 3 {
            0 => GapReason::SlotLost,
            1 => GapReason::PublicationChanged,
            _ => {
                let timeline = self.left.len() as u32 + 1;
                self.left.push((timeline, Lsn(self.lsn)));
                self.lineage = Lineage::new(0xe, self.left.clone(), timeline + 1);
                GapReason::HistoryChanged
            }
        };
        let floor = self.lineage.position(Lsn(self.lsn), 0);
        let lineage = self.lineage.clone();
        self.hand_over(Batch::Gap(
            Gap {
                lineage,
                floor,
                reason,
            }
            .into(),
        ));
    }

    /// A right ends: nobody who had it is shown anything that is committed from now on.
    pub(super) fn revoke(&mut self, scope: usize, user: usize, organisation: usize) {
        let user_key = self.keys.user(USERS[user % 4]);
        let organisation_key = self.keys.organisation(ORGANISATIONS[organisation % 3]);
        let (scope, reason) = match scope % 6 {
            0 | 5 => (
                RevocationScope::Member {
                    user: user_key,
                    organisation: organisation_key,
                },
                [CloseReason::MembershipRevoked, CloseReason::RoleChanged][scope % 2],
            ),
            1 => {
                let session = self.session(user, organisation);
                (
                    RevocationScope::Session(session),
                    CloseReason::SessionRevoked,
                )
            }
            2 => (RevocationScope::User(user_key), CloseReason::SessionRevoked),
            3 => (
                RevocationScope::Organisation(organisation_key),
                CloseReason::OrganizationDeleted,
            ),
            _ => (RevocationScope::Everybody, CloseReason::Reauthorize),
        };
        self.hand_over(Batch::Revoke(Revocation { scope, reason }));
    }
}
