//! Control events: what a stream is told about itself, rendered at a frame boundary.

use std::fmt::Write as _;

use arrayvec::ArrayString;
use bytes::Bytes;
use wire::{CloseReason, EventId, Grant, sse};

use crate::counters::ResetReason;
use crate::driver::Verdict;
use crate::record::{Bits, State};
use crate::{Engine, Now};

impl Engine {
    /// Renders the control events that are due for a connection that is behind, if it stands at a
    /// frame boundary. After a `bye` nothing follows.
    pub(crate) fn render_due(&mut self, now: Now, slot: u32) {
        let record = &self.table[slot];
        let behind = &self.behind[record.side as usize];
        if record.state != State::Behind || behind.partial.is_some() {
            return;
        }
        let mut out = Vec::new();
        let (reset, bye) = (record.reset, record.bye);
        let has_subscribed = record.bits.has(Bits::SUBSCRIPTION);
        let is_warned = record.bits.has(Bits::AUTH);
        if let Some(reason) = reset.filter(|_| bye.is_none() && !record.bits.has(Bits::PARKED)) {
            // It goes on from the very position that its client is told.
            self.behind[record.side as usize].cursor = self.log.head();
            self.table[slot].reset = None;
            self.write_reset(reason, &mut out);
        }
        if has_subscribed && bye.is_none() {
            self.table[slot].bits.set(Bits::SUBSCRIPTION, false);
            self.write_subscription(slot, &mut out);
        }
        if is_warned && bye.is_none() {
            self.table[slot].bits.set(Bits::AUTH, false);
            self.write_auth(now, slot, &mut out);
        }
        if let Some(reason) = bye {
            self.write_bye(slot, reason, &mut out);
            self.leave_stream(now, slot, reason);
            self.table[slot].state = State::Finishing;
        }
        if !out.is_empty() {
            let behind = &mut self.behind[self.table[slot].side as usize];
            behind.pending = match behind.pending.is_empty() {
                true => Bytes::from(out),
                false => [&behind.pending[..], &out].concat().into(),
            };
        }
    }

    /// The beginning of a stream: its response head, and how long to wait before coming back.
    pub(crate) fn opening(&self, slot: u32, grant: &Grant) -> Vec<u8> {
        let mut out = Vec::with_capacity(grant.head.len() + grant.about.len() + 512);
        out.extend_from_slice(&grant.head);
        sse::retry(&mut out, self.jitter_ms(slot, (2_000, 8_000)));
        out
    }

    /// `connected`, whose id is the place where the stream starts.
    pub(crate) fn write_connected(
        &self,
        slot: u32,
        about: &[u8],
        start: EventId,
        verdict: Verdict,
        out: &mut Vec<u8>,
    ) {
        let connection = self.table.id(slot);
        // As `format!` would write it: every stream begins with it.
        let mut data = Vec::with_capacity(about.len() + 256);
        data.extend_from_slice(b"{\"connectionId\":\"");
        connection.write(&mut data);
        data.extend_from_slice(b"\",\"clientId\":\"");
        connection.write(&mut data);
        data.extend_from_slice(b"\",");
        data.extend_from_slice(about);
        data.extend_from_slice(b",\"position\":\"");
        start.write(&mut data);
        data.extend_from_slice(b"\",\"resume\":\"");
        data.extend_from_slice(verdict.as_str().as_bytes());
        data.extend_from_slice(b"\",\"heartbeatMs\":");
        data.extend_from_slice(self.config.heartbeat_ms.to_string().as_bytes());
        data.push(b'}');
        let data = String::from_utf8(data).expect("the control thread writes UTF-8");
        sse::event(out, Some("connected"), Some(start), &data);
    }

    /// `reset`, whose id is the place from which nothing is missing again.
    pub(crate) fn write_reset(&mut self, reason: ResetReason, out: &mut Vec<u8>) {
        let position = self.applied();
        self.counters.resets[reason.index()] += 1;
        let reason = reason.as_str();
        let data = format!("{{\"reason\":\"{reason}\",\"position\":\"{position}\"}}");
        sse::event(out, Some("reset"), Some(position), &data);
    }

    /// `heartbeat`, for a connection that has everything up to the applied position.
    pub(crate) fn write_heartbeat(&self, now: Now, out: &mut Vec<u8>) {
        // Written for every group of silent streams: nothing is allocated for it.
        let mut data = ArrayString::<40>::new();
        write!(data, "{{\"timestamp\":{}}}", now.wall_ms).expect("a number has at most 20 digits");
        sse::event(out, Some("heartbeat"), Some(self.applied()), &data);
    }

    /// `auth`: the session of the stream is about to end.
    fn write_auth(&self, now: Now, slot: u32, out: &mut Vec<u8>) {
        let left_ms = self.table[slot].expires.start_ms();
        let left_ms = left_ms.saturating_sub(now.monotonic_ms);
        let data = format!("{{\"expiresAt\":{}}}", now.wall_ms + left_ms);
        sse::event(out, Some("auth"), None, &data);
    }

    /// A number between the two, the same for one connection, and spread over all of them.
    pub(crate) fn jitter_ms(&self, slot: u32, (least, greatest): (u32, u32)) -> u32 {
        let seed = u64::from_le_bytes(self.config.seed[..8].try_into().expect("eight bytes"));
        let generation = u64::from(self.table[slot].generation);
        // One round of splitmix64: spread is all that is asked for.
        let mut mixed = seed.wrapping_add((generation << 32) | u64::from(slot));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        least + (mixed % u64::from(greatest - least + 1)) as u32
    }

    fn write_subscription(&self, slot: u32, out: &mut Vec<u8>) {
        let filter = &self.classes[self.table[slot].class as usize].key.filter;
        let channels: Vec<String> = filter
            .channels()
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let types: Vec<String> = filter
            .types()
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let data = format!(
            "{{\"channels\":[{}],\"types\":[{}]}}",
            channels.join(","),
            types.join(",")
        );
        sse::event(out, Some("subscription"), None, &data);
    }

    fn write_bye(&self, slot: u32, reason: CloseReason, out: &mut Vec<u8>) {
        sse::retry(out, self.jitter_ms(slot, reason.retry_ms()));
        let data = format!(
            "{{\"reason\":\"{}\",\"retry\":{}}}",
            reason.as_str(),
            reason.is_retryable()
        );
        sse::event(out, Some("bye"), None, &data);
    }
}
