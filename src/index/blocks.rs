//! Cold sections: LZ4 blocks with a checksum each.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use zerocopy::IntoBytes;

use super::format::BlockEntry;

/// A block is closed once it holds this many bytes: small enough to unpack one for one package, large enough to
/// compress well.
pub(super) const DETAILS_BLOCK: usize = 32 << 10;
/// Descriptions are always read as a whole.
pub(super) const DESCRIPTIONS_BLOCK: usize = 512 << 10;

/// The most bytes one block may unpack to: above a block's target by what one very long entry may add.
const MAX_BLOCK: usize = 64 << 20;

/// Blocks that wait for the thread that packs them: what it cannot keep up with is not gathered in memory.
const WAITING: usize = 8;

/// Packs entries into blocks, in memory, on a thread of its own: that takes about as long as making the entries.
#[derive(Debug, Default)]
pub(super) struct BlockWriter {
    target: usize,
    current: Vec<u8>,
    first: u32,
    entries: u32,
    blocks: u32,
    packer: Option<Packer>,
}

/// The thread, and where blocks with the number of their first entry are handed to it.
#[derive(Debug)]
struct Packer {
    blocks: SyncSender<(Vec<u8>, u32)>,
    thread: JoinHandle<Packed>,
}

/// A cold section and the table of its blocks.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) blocks: Vec<u8>,
    pub(super) table: Vec<u8>,
}

impl Packed {
    /// Adds a block whose first entry is number `first`.
    fn push(&mut self, block: &[u8], first: u32) {
        let stored = lz4_flex::block::compress(block);
        let entry = BlockEntry {
            offset: (self.blocks.len() as u64).into(),
            stored: (stored.len() as u32).into(),
            len: (block.len() as u32).into(),
            crc: crc32fast::hash(&stored).into(),
            first: first.into(),
        };
        self.table.extend_from_slice(entry.as_bytes());
        self.blocks.extend_from_slice(&stored);
    }
}

impl BlockWriter {
    pub(super) fn new(target: usize) -> Self {
        Self { target, ..Self::default() }
    }

    /// Appends one entry; says in which block and where in it the entry starts.
    ///
    /// # Errors
    /// When there is no thread to pack with.
    pub(super) fn push(&mut self, entry: &[u8]) -> io::Result<(u32, u32)> {
        if self.current.len() >= self.target {
            self.close()?;
        }
        let at = (self.blocks, self.current.len() as u32);
        self.current.extend_from_slice(entry);
        self.entries += 1;
        Ok(at)
    }

    /// All blocks.
    ///
    /// # Errors
    /// When there is no thread to pack with, or it failed.
    pub(super) fn finish(mut self) -> io::Result<Packed> {
        self.close()?;
        let Some(Packer { blocks, thread }) = self.packer else { return Ok(Packed::default()) };
        drop(blocks);
        thread.join().map_err(|_| failed())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let packer = match &mut self.packer {
            Some(packer) => packer,
            none => none.insert(Packer::start()?),
        };
        let block = mem::replace(&mut self.current, Vec::with_capacity(self.target));
        packer.blocks.send((block, self.first)).map_err(|_| failed())?;
        self.first = self.entries;
        self.blocks += 1;
        Ok(())
    }
}

impl Packer {
    fn start() -> io::Result<Self> {
        let (blocks, waiting) = sync_channel::<(Vec<u8>, u32)>(WAITING);
        let pack = move || {
            let mut packed = Packed::default();
            waiting.into_iter().for_each(|(block, first)| packed.push(&block, first));
            packed
        };
        Ok(Self { blocks, thread: thread::Builder::new().name("pack".to_owned()).spawn(pack)? })
    }
}

fn failed() -> io::Error {
    io::Error::other("the thread that packs blocks failed")
}

/// Reads and unpacks one block of the section that spans `section` in `file`.
///
/// # Errors
/// `InvalidData` when the block is not inside its section, fails its checksum or does not unpack; `UnexpectedEof` when
/// the file was cut.
pub(super) fn read_block(file: &File, section: &std::ops::Range<u64>, entry: &BlockEntry) -> io::Result<Vec<u8>> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("snapshot block {what}"));
    let stored = entry.stored.get() as usize;
    let start = section.start.checked_add(entry.offset.get()).ok_or_else(|| damaged("offset overflows"))?;
    let end = start.checked_add(stored as u64).ok_or_else(|| damaged("length overflows"))?;
    if end > section.end || stored > MAX_BLOCK || entry.len.get() as usize > MAX_BLOCK {
        return Err(damaged("lies outside its section"));
    }
    let mut packed = vec![0; stored];
    file.read_exact_at(&mut packed, start)?;
    if crc32fast::hash(&packed) != entry.crc.get() {
        return Err(damaged("fails its checksum"));
    }
    lz4_flex::block::decompress(&packed, entry.len.get() as usize).map_err(|error| damaged(&error.to_string()))
}
