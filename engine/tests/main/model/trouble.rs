//! What happens to the clients of the model beyond their own doing.

use engine::Command;
use wire::{Batch, CloseReason, Gap, GapReason, Lsn, Revocation, RevocationScope};

use super::{ORGANISATIONS, Run, USERS};
use crate::world::{grant, key, position};

impl Run {
    pub(super) fn trouble(&mut self) {
        match self.below(44) {
            40.. => self.move_session(),
            0..6 => self.revoke(),
            6 => self.miss_changes(),
            7..12 => {
                // Somebody's peer is gone, and only a send will find it.
                if let Some(descriptor) = self.any_client() {
                    self.clients.remove(&descriptor);
                    let socket = self.world.kernel.sockets.get_mut(&descriptor);
                    socket.unwrap().is_broken = true;
                }
            }
            12..20 => {
                let flushed = Lsn(self.lsn + 16 * self.below(4) as u64);
                self.world.command(Command::Flushed(flushed));
            }
            20..22 => {
                // A grant for somebody who was granted before, and may be gone.
                let descriptor = 1 + self.below(self.next_descriptor as usize + 1) as i32;
                if descriptor <= self.next_descriptor {
                    let grant = grant(self.world.id_of(descriptor), "acme", "late");
                    self.hand_over(grant);
                }
            }
            _ => {
                let ms = self.below(4_000) as u64;
                self.world.now.monotonic_ms += ms;
                self.world.now.wall_ms += ms;
                self.world.turn();
            }
        }
    }

    fn revoke(&mut self) {
        let user = USERS[self.below(4)];
        let organisation = ORGANISATIONS[self.below(2)];
        let is_member = self.below(2) == 0;
        let (user_key, organisation_key) = (key(user), key(organisation));
        let scope = match is_member {
            true => RevocationScope::Member {
                user: user_key,
                organisation: organisation_key,
            },
            false => RevocationScope::Session(key(&format!("session of {user}"))),
        };
        let reason = CloseReason::MembershipRevoked;
        self.world
            .batch(Batch::Revoke(Revocation { scope, reason }));
        self.revoke_pages(user, is_member.then_some(organisation));
        let committed = self.committed.len();
        for client in self.clients.values_mut() {
            if client.user == user && (!is_member || client.organisation == organisation) {
                client.revoked_at.get_or_insert(committed);
            }
        }
    }

    fn miss_changes(&mut self) {
        self.lsn += 16;
        let floor = position(self.lsn, 0);
        let (lineage, reason) = (self.world.lineage.clone(), GapReason::SlotLost);
        self.world.batch(Batch::Gap(
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
}
