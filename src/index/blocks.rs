//! Cold sections: LZ4 blocks with a checksum each.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::IntoBytes;

use super::format::BlockEntry;

/// A block is closed once it holds this many bytes: small enough to unpack one for one package, large enough to
/// compress well.
pub(super) const DETAILS_BLOCK: usize = 32 << 10;
/// Descriptions are always read as a whole.
pub(super) const DESCRIPTIONS_BLOCK: usize = 512 << 10;

/// The most bytes one block may unpack to: above a block's target by what one very long entry may add.
const MAX_BLOCK: usize = 64 << 20;

/// Packs entries into blocks, in memory.
#[derive(Debug, Default)]
pub(super) struct BlockWriter {
    target: usize,
    current: Vec<u8>,
    first: u32,
    entries: u32,
    pub(super) packed: Vec<u8>,
    pub(super) table: Vec<u8>,
    blocks: u32,
}

impl BlockWriter {
    pub(super) fn new(target: usize) -> Self {
        Self { target, ..Self::default() }
    }

    /// Appends one entry; says in which block and where in it the entry starts.
    pub(super) fn push(&mut self, entry: &[u8]) -> (u32, u32) {
        if self.current.len() >= self.target {
            self.close();
        }
        let at = (self.blocks, self.current.len() as u32);
        self.current.extend_from_slice(entry);
        self.entries += 1;
        at
    }

    /// Closes the last block.
    pub(super) fn close(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let stored = lz4_flex::block::compress(&self.current);
        let entry = BlockEntry {
            offset: (self.packed.len() as u64).into(),
            stored: (stored.len() as u32).into(),
            len: (self.current.len() as u32).into(),
            crc: crc32fast::hash(&stored).into(),
            first: self.first.into(),
        };
        self.table.extend_from_slice(entry.as_bytes());
        self.packed.extend_from_slice(&stored);
        self.current.clear();
        self.first = self.entries;
        self.blocks += 1;
    }
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
