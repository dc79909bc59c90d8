//! What an archive may still do.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Limits, UnpackError};

/// Below this many bytes no archive is a bomb.
const HARMLESS: u64 = 64 << 20;

/// Bytes out of one byte. Deflate reaches 1032, on zeros alone; archives of programs stay below 20.
const RATIO: u64 = 1000;

#[derive(Debug)]
pub(super) struct Budget<'a> {
    limits: Limits,
    stopped: &'a AtomicBool,
    entries: u64,
    declared: u64,
}

impl<'a> Budget<'a> {
    pub(super) fn new(limits: &Limits, stopped: &'a AtomicBool) -> Self {
        Self { limits: *limits, stopped, entries: 0, declared: 0 }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn go_on(&self) -> Result<(), UnpackError> {
        if self.stopped.load(Ordering::Relaxed) { Err(UnpackError::Stopped) } else { Ok(()) }
    }

    /// Another entry, of so many bytes by its own word: asked before any of them is written.
    pub(super) fn entry(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.go_on()?;
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.entries {
            return Err(UnpackError::TooMany(self.limits.entries));
        }
        self.more(bytes)
    }

    /// As many bytes that belong to no entry.
    pub(super) fn more(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.declared = self.declared.saturating_add(bytes);
        if self.declared > self.limits.bytes {
            return Err(UnpackError::TooLarge(self.limits.bytes));
        }
        Ok(())
    }

    /// `packed` bytes of the archive made `unpacked` so far.
    pub(super) fn ratio(packed: u64, unpacked: u64) -> Result<(), UnpackError> {
        if unpacked > HARMLESS && unpacked > packed.saturating_mul(RATIO) {
            return Err(UnpackError::Bomb { packed, unpacked });
        }
        Ok(())
    }
}
