//! Pages of history in the model: what a page says must be what the list of all frames says.

use wire::{Batch, EventId, Extension, Frame, PageRequest, PageSince, Purpose, Renewal, Resume};

use super::{ORGANISATIONS, Run, USERS};
use crate::expectation::{Client, filter_of, is_for};
use crate::world::{grant, key};

/// A page that was asked for.
pub(super) struct Asked {
    client: Client,
    filter: Option<&'static str>,
    since: PageSince,
    limit: u16,
    wait_ms: u32,
}

impl Run {
    pub(super) fn ask_for_page(&mut self) {
        self.next_descriptor += 1;
        let descriptor = self.next_descriptor;
        let (organisation, user) = (ORGANISATIONS[self.below(2)], USERS[self.below(4)]);
        let since = match self.below(4) {
            0 => PageSince::Newest,
            1 if self.has_trouble => {
                let lsn = self.lsn + 16 * self.below(4) as u64;
                PageSince::After(crate::world::position(lsn, 1))
            }
            _ if self.committed.is_empty() => PageSince::Newest,
            _ => {
                let at = self.below(self.committed.len());
                PageSince::After(self.committed[at].id())
            }
        };
        let (filter, limit) = (self.filter(), 1 + self.below(60) as u16);
        let wait_ms = self.below(2) as u32 * 9_000;
        self.world.accept(descriptor);
        self.world
            .bytes(descriptor, b"GET /history HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut grant = grant(self.world.id_of(descriptor), organisation, user);
        grant.filter = filter_of(filter);
        grant.head = bytes::Bytes::new();
        grant.purpose = Purpose::Page(PageRequest {
            since,
            limit,
            wait_ms,
        });
        if grant.purpose.is_counted() {
            self.hand_over(grant);
        } else {
            self.world.batch(Batch::Grant(Box::new(grant)));
        }
        let client = Client {
            organisation,
            user,
            organisation_key: key(organisation),
            user_key: key(user),
            filters: vec![filter],
            came_at: self.committed.len(),
            resume: Resume::Live,
            revoked_at: None,
            floor: None,
        };
        let asked = Asked {
            client,
            filter,
            since,
            limit,
            wait_ms,
        };
        self.pages.insert(descriptor, asked);
    }

    /// Those who wait for a page lose their right like everybody.
    pub(super) fn revoke_pages(&mut self, user: &str, organisation: Option<&str>) {
        let committed = self.committed.len();
        for asked in self.pages.values_mut() {
            let client = &mut asked.client;
            if client.user == user && organisation.is_none_or(|name| client.organisation == name) {
                client.revoked_at.get_or_insert(committed);
            }
        }
    }

    /// A session lasts longer or shorter, or somebody renews a stream.
    pub(super) fn move_session(&mut self) {
        let user = USERS[self.below(4)];
        let expires_ms = self.world.now.wall_ms + self.below(90_000) as u64;
        let session = key(&format!("session of {user}"));
        let batch = match self.any_client() {
            Some(descriptor) if self.below(2) == 0 => Batch::Renew(Box::new(Renewal {
                connection: self.world.id_of(descriptor),
                ticket: 0,
                user: key(user),
                session,
                expires_ms: Some(expires_ms),
                claims: None,
            })),
            _ => Batch::Extend(Extension {
                session,
                user: (self.below(2) == 0).then(|| key(user)),
                expires_ms,
            }),
        };
        self.world.batch(batch);
    }

    /// Every page that was answered says what it should; every other still has nothing to say.
    pub(super) fn check_pages(&mut self) {
        for (descriptor, asked) in std::mem::take(&mut self.pages) {
            let received = self.world.kernel.sockets[&descriptor].received.clone();
            let text = std::str::from_utf8(&received).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                self.check_unanswered(&asked);
                continue;
            };
            self.check_answer(&asked, head, body);
        }
    }

    fn check_unanswered(&self, asked: &Asked) {
        let after = match asked.since {
            PageSince::After(id) => self.committed.partition_point(|frame| frame.id() <= id),
            _ => asked.client.came_at,
        };
        let missed = self.committed[after..]
            .iter()
            .any(|frame| is_for(&asked.client, asked.filter, frame));
        assert!(
            asked.wait_ms > 0 && !self.has_trouble && !missed,
            "seed {}: a page was not answered",
            self.seed
        );
    }

    fn check_answer(&mut self, asked: &Asked, head: &str, body: &str) {
        let seed = self.seed;
        let field = |name| head.lines().find_map(|line| line.strip_prefix(name));
        let Some(verdict) = field("x-tailrace-resume: ") else {
            let is_ahead = matches!(asked.since, PageSince::After(_));
            let may_end = asked.client.revoked_at.is_some() || is_ahead;
            assert!(may_end && self.has_trouble, "seed {seed}: {head}");
            return;
        };
        let position: EventId = field("x-tailrace-position: ").unwrap().parse().unwrap();
        let events: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
        let id = |event: &serde_json::Value| event["id"].as_str().unwrap().parse().unwrap();
        let shown: Vec<EventId> = events.iter().map(id).collect();
        assert!(shown.len() <= usize::from(asked.limit), "seed {seed}");
        let right = asked.client.revoked_at.unwrap_or(self.committed.len());
        let passes =
            |frame: &&Frame| frame.id() <= position && is_for(&asked.client, asked.filter, frame);
        let admitted: Vec<EventId> = self.committed[..right]
            .iter()
            .filter(passes)
            .map(Frame::id)
            .collect();
        let is_right = match (verdict, asked.since) {
            ("complete", PageSince::After(after)) => {
                admitted[admitted.partition_point(|id| *id <= after)..] == shown
            }
            ("complete", PageSince::Newest) => admitted.ends_with(&shown),
            ("reset", _) => {
                let is_known = |id| admitted.binary_search(id).is_ok();
                shown.is_sorted() && shown.iter().all(is_known)
            }
            _ => false,
        };
        assert!(
            is_right,
            "seed {seed}: {verdict} {position}: {shown:?} of {admitted:?} since {:?}",
            asked.since
        );
        self.page_verdicts[usize::from(verdict == "reset")] += 1;
    }
}
