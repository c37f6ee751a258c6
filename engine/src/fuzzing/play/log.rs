//! What the replication thread hands over: frames, positions, gaps, and the ends of rights.

use wire::{
    Audience, Batch, CloseReason, Commit, EventId, Frame, FrameWriter, Gap, GapReason, Key,
    Lineage, Lsn, Revocation, RevocationScope, Source, Start, Topic,
};

use super::{CHANNELS, ORGANISATIONS, Play, Reader, SIZES, USERS, name};

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
        }
        let frames: Vec<Frame> = (0..1 + count % 6)
            .map(|at| {
                self.index += 1;
                let id = self.lineage.position(Lsn(self.lsn), self.index);
                let bytes = SIZES[size % SIZES.len()];
                self.frame(id, self.audience(audience + at), channel, bytes)
            })
            .collect();
        self.committed.extend(frames.iter().cloned());
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

    fn audience(&self, number: usize) -> Audience {
        let organisation = |at: usize| self.keys.organisation(ORGANISATIONS[at % 3]);
        let user = |at: usize| self.keys.user(USERS[at % 4]);
        match number % 12 {
            10 => Audience::of(Topic::Global),
            at @ 6..10 => Audience {
                topic: Topic::User(user(at)),
                within: at.is_multiple_of(2).then(|| organisation(at / 2)),
                roles: None,
            },
            at => Audience::of(Topic::Organisation(organisation(at))),
        }
    }

    fn frame(&self, id: EventId, audience: Audience, channel: usize, bytes: usize) -> Frame {
        let channel = name(CHANNELS[channel % CHANNELS.len()]);
        let mut writer = FrameWriter::new(id, &channel, &channel, 1_000, Source::Postgres);
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
        self.lsn += 16;
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
        for client in self.clients.values_mut() {
            client.floor = Some(floor);
        }
    }

    /// A right ends: nobody who had it is shown anything that is committed from now on.
    pub(super) fn revoke(&mut self, scope: usize, user: usize, organisation: usize) {
        let user_key = self.keys.user(USERS[user % 4]);
        let organisation_key = self.keys.organisation(ORGANISATIONS[organisation % 3]);
        let session = self.session(user, organisation);
        let scope = match scope % 5 {
            0 => RevocationScope::Member {
                user: user_key,
                organisation: organisation_key,
            },
            1 => RevocationScope::Session(session),
            2 => RevocationScope::User(user_key),
            3 => RevocationScope::Organisation(organisation_key),
            _ => RevocationScope::Everybody,
        };
        // Whatever a renewal before it did is known.
        self.settle();
        self.hear_notices();
        let is_meant = |reader: &Reader, of_session: Option<Key>| match scope {
            RevocationScope::Member { user, organisation } => {
                reader.user == Some(user) && reader.organisation == Some(organisation)
            }
            RevocationScope::Session(session) => of_session == Some(session),
            RevocationScope::User(user) => reader.user == Some(user),
            RevocationScope::Organisation(organisation) => {
                reader.organisation == Some(organisation)
            }
            RevocationScope::Everybody => reader.user.is_some(),
        };
        let reason = CloseReason::MembershipRevoked;
        self.hand_over(Batch::Revoke(Revocation { scope, reason }));
        let end = self.committed.len();
        for client in self.clients.values_mut() {
            if is_meant(&client.came.reader, client.came.session) {
                client.came.reader.revoked_at.get_or_insert(end);
            }
        }
        for page in self.pages.values_mut() {
            if is_meant(&page.reader, page.session) {
                page.reader.revoked_at.get_or_insert(end);
            }
        }
    }
}
