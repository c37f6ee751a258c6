//! What a sweep offers: frames of the log, one after the other, as one run of bytes.
//!
//! A lone frame is offered as it is in the log, and not copied. Which frames come in is decided in
//! `sweep`.

use wire::{Format, Frame};

use crate::limits::SLICE_BYTES_MAX;

/// A run of whole frames in one format. It is used again for sweep after sweep.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    lone: Option<Frame>,
    /// All of them, where there is more than one or another format.
    bytes: Vec<u8>,
    /// The sequence of each frame, and where it ends.
    ends: Vec<(u64, u32)>,
}

impl Slice {
    /// Puts a frame behind the others. Returns whether it had room: one alone always has.
    pub(crate) fn push(&mut self, sequence: u64, frame: &Frame, format: Format) -> bool {
        let len = self.bytes().len();
        if len != 0 && len + frame.bytes().len() > SLICE_BYTES_MAX {
            return false;
        }
        if format == Format::Event && len == 0 {
            self.lone = Some(frame.clone());
        } else {
            if let Some(lone) = self.lone.take() {
                self.bytes.extend_from_slice(lone.bytes());
            }
            frame.write(format, &mut self.bytes);
        }
        self.ends.push((sequence, self.bytes().len() as u32));
        true
    }

    /// What is sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.lone.as_ref().map_or(&self.bytes, |lone| lone.bytes())
    }

    /// The sequence of each frame, and where it ends.
    pub(crate) fn ends(&self) -> &[(u64, u32)] {
        &self.ends
    }

    /// How many frames it has.
    pub(crate) fn frames(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Takes everything out; the room stays.
    pub(crate) fn clear(&mut self) {
        self.lone = None;
        self.bytes.clear();
        self.ends.clear();
        // A single frame may have been far larger.
        self.bytes.shrink_to(SLICE_BYTES_MAX);
    }
}
