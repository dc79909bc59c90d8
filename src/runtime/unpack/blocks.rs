//! The bytes inside a compressed archive. A thread of its own unpacks them, so that unpacking and writing take place at
//! once.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::budget::Budget;
use super::zstd::Zstd;
use super::{Format, UnpackError};

/// Of one block, bytes.
const BLOCK: usize = 256 << 10;

/// Blocks that wait to be written.
const WAITING: usize = 16;

/// The most memory of an xz decoder, KiB. `xz -9` asks for 65 MiB.
const XZ_MEMORY: u32 = 260 << 10;

/// What the thread sends. Without one of the latter two at the end it has broken off.
enum Sent {
    Block(Vec<u8>),
    End,
    Failed(io::Error),
}

/// The unpacked bytes, in order.
pub(super) struct Blocks {
    from: Receiver<Sent>,
    /// Used buffers go back to the thread.
    back: Sender<Vec<u8>>,
    block: Vec<u8>,
    /// What is used of `block`.
    used: usize,
    /// Bytes of the blocks before `block`.
    before: u64,
    ended: bool,
    /// Bytes of the archive that the thread has read.
    packed: Arc<AtomicU64>,
}

impl Blocks {
    /// Where in the unpacked bytes this is.
    pub(super) fn position(&self) -> u64 {
        self.before.saturating_add(self.used as u64)
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> UnpackError {
        let place = format!("byte {} of its unpacked contents", self.position());
        UnpackError::Damaged { place, reason: reason.into() }
    }

    /// What comes next, some bytes of it; nothing at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8], UnpackError> {
        while self.used >= self.block.len() && !self.ended {
            match self.from.recv() {
                Ok(Sent::Block(block)) => {
                    self.before = self.before.saturating_add(self.block.len() as u64);
                    let used = std::mem::replace(&mut self.block, block);
                    // The thread may have ended.
                    let _ = self.back.send(used);
                    self.used = 0;
                    let unpacked = self.before.saturating_add(self.block.len() as u64);
                    Budget::ratio(self.packed.load(Ordering::Relaxed), unpacked)?;
                }
                Ok(Sent::End) => self.ended = true,
                Ok(Sent::Failed(error)) => return Err(self.failed(&error)),
                Err(_) => return Err(self.damaged("it cannot be unpacked")),
            }
        }
        Ok(self.block.get(self.used..).unwrap_or_default())
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes).min(self.block.len());
    }

    /// Fills all of `into`; false at the end of the archive.
    pub(super) fn read(&mut self, mut into: &mut [u8]) -> Result<bool, UnpackError> {
        let wanted = into.len();
        while !into.is_empty() {
            let here = self.fill()?;
            let count = here.len().min(into.len());
            let (Some(here), Some((head, rest))) = (here.get(..count), into.split_at_mut_checked(count)) else {
                return Ok(false);
            };
            if count == 0 {
                if head.len().saturating_add(rest.len()) == wanted {
                    return Ok(false);
                }
                return Err(self.damaged("it ends too early"));
            }
            head.copy_from_slice(here);
            into = rest;
            self.consume(count);
        }
        Ok(true)
    }

    fn failed(&self, error: &io::Error) -> UnpackError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            io::ErrorKind::OutOfMemory => self.damaged("unpacking it would take too much memory"),
            _ => self.damaged(error.to_string()),
        }
    }
}

struct Counted<'a> {
    file: &'a mut File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Runs `read` with the unpacked bytes of `archive`, a compressed tar.
pub(super) fn with<T>(
    archive: &mut File,
    format: Format,
    read: impl FnOnce(&mut Blocks) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let packed = Arc::new(AtomicU64::new(0));
    let source = BufReader::with_capacity(BLOCK, Counted { file: archive, bytes: Arc::clone(&packed) });
    let (to, from) = sync_channel(WAITING);
    let (back, buffers) = channel();
    std::thread::scope(|scope| {
        let unpack = move || match format {
            Format::TarGz => send_all(MultiGzDecoder::new(source), &to, &buffers),
            Format::TarXz => send_all(XzReader::new_mem_limit(source, true, XZ_MEMORY), &to, &buffers),
            Format::TarZst => send_all(Zstd::new(source), &to, &buffers),
            Format::TarBz2 => send_all(MultiBzDecoder::new(source), &to, &buffers),
            // It needs to seek, and is read elsewhere.
            Format::Zip => {}
        };
        let thread = std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn_scoped(scope, unpack)
            .map_err(UnpackError::Read)?;
        let (block, used, before, ended) = (Vec::new(), 0, 0, false);
        let mut blocks = Blocks { from, back, block, used, before, ended, packed };
        let result = read(&mut blocks);
        // The thread ends with its next block, when nobody takes it.
        drop(blocks);
        // A decoder that panics on what it reads sent no end, which `blocks` told.
        let _ = thread.join();
        result
    })
}

fn send_all(mut decoder: impl Read, to: &SyncSender<Sent>, buffers: &Receiver<Vec<u8>>) {
    loop {
        let mut block = buffers.try_recv().unwrap_or_default();
        block.resize(BLOCK, 0);
        let mut filled = 0usize;
        let mut last = None;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match decoder.read(rest) {
                Ok(0) => {
                    last = Some(Sent::End);
                    break;
                }
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    last = Some(Sent::Failed(error));
                    break;
                }
            }
        }
        block.truncate(filled);
        if to.send(Sent::Block(block)).is_err() {
            return;
        }
        if let Some(last) = last {
            let _ = to.send(last);
            return;
        }
    }
}
