//! Sends over the ring: a group of `SEND` entries, all finished inside the enter that submits them.
//!
//! Why nothing outlives the call: with `MSG_DONTWAIT` the kernel marks a send as one that never
//! waits (`REQ_F_NOWAIT`), so that it is tried at once while it is submitted, and completes there,
//! with a count or with an error. It is neither polled for nor given to a worker. The loop below
//! does not rely on it for its safety: it goes on until every completion of the group was taken,
//! and ends the process if that cannot be had.

#![expect(
    unsafe_code,
    reason = "an entry that carries a pointer is unsafe to push"
)]

use engine::{Outcome, Transmit};
use rustix::io::Errno;

use super::ring::{Completion, Entered, Ring, fail, wait_for_memory};
use crate::abort::AbortOnPanic;
use crate::socket;
use crate::token::{Key, Token};

/// How many enters may bring no completion of a group that was submitted whole. One is what is
/// expected; some more pass where the completion queue overflowed.
const ENTERS_MAX: u32 = 10_000;

/// Sends a group. Completions of other kinds go to `others`.
pub(super) fn send_group(
    ring: &mut Ring,
    number: u32,
    group: &mut [Transmit<'_>],
    mut others: impl FnMut(Completion),
) {
    // From the first push on, nothing may unwind past the borrow of the group.
    let _whole = AbortOnPanic;
    let mut next = 0;
    let mut finished = 0;
    let mut attempts = 0;
    let mut enters = 0;
    while finished < group.len() {
        let room = ring.room().min(group.len() - next);
        for (index, transmit) in group.iter().enumerate().skip(next).take(room) {
            let slot = u32::try_from(index).expect("a group is small");
            let token = Token::Send(Key {
                slot,
                generation: number,
            });
            // SAFETY: the group is borrowed until this function returns. It returns only when as
            // many completions of this group were taken as it has sends, and where that cannot be
            // had, `fail` ends the process without unwinding.
            unsafe { ring.push_send(transmit, token) };
        }
        next += room;
        if ring.enter(None) == Entered::Busy {
            attempts = wait_for_memory(attempts);
        }
        while let Some(completion) = ring.complete() {
            match completion.token {
                Token::Send(key) if key.generation == number => {
                    note(group, key.slot, completion.result);
                    finished += 1;
                }
                Token::Send(_) => fail("a send of an earlier group completed only now"),
                _ => others(completion),
            }
        }
        enters += 1;
        if enters > ENTERS_MAX {
            fail("a send that must not wait has not completed");
        }
    }
}

fn note(group: &mut [Transmit<'_>], index: u32, result: i32) {
    let result = match usize::try_from(result) {
        Ok(count) => Ok(count),
        Err(_) => Err(Errno::from_raw_os_error(-result)),
    };
    let transmit = &mut group[index as usize];
    if transmit.outcome != Outcome::Pending {
        fail("a send completed twice");
    }
    transmit.outcome = socket::outcome(result);
}
