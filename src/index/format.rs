//! The layout of a snapshot file.
//!
//! ```text
//! Header            magic, version, number of sections, file length, CRC-32 of header and section table
//! SectionEntry × n  kind, CRC-32, offset, length
//! sections          in any order, none required to be aligned
//! ```
//!
//! All numbers are little-endian. Packages are numbered from 0 in the order of (name, own architecture first,
//! architecture); every per-package section counts in that order. Sections of the *hot* kind are mapped and searched;
//! the *cold* ones ([`Section::Details`], [`Section::Descriptions`]) are LZ4 blocks read with `pread(2)`, each with a
//! checksum of its own in its block table, so that they cost no memory until they are asked for.
//!
//! A reader accepts only its own [`VERSION`]: a snapshot can always be built anew, so there is nothing to migrate.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const MAGIC: [u8; 8] = *b"OMGSNAP\n";

/// Grows with every change of this layout, of [`crate::package::PackageDetails`] or of [`super::Meta`].
pub(super) const VERSION: u32 = 6;

/// The most packages a snapshot may hold.
pub(super) const MAX_PACKAGES: usize = 4_000_000;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: U32,
    pub(super) sections: U32,
    pub(super) file_len: U64,
    /// Of the header with this field zero, followed by the section table.
    pub(super) crc: U32,
    pub(super) reserved: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SectionEntry {
    pub(super) kind: U32,
    /// Zero for the cold sections, whose blocks carry their own.
    pub(super) crc: U32,
    pub(super) offset: U64,
    pub(super) len: U64,
}

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Section {
    /// [`super::Meta`], postcard.
    Meta = 1,
    /// [`super::Fingerprint`], postcard.
    Sources = 2,
    /// Repository labels and architectures, postcard `Vec<String>`; records refer to them by position.
    Labels = 3,
    /// Of each package a [`Record`] and, one after the other, the texts whose lengths it has.
    Rows = 4,
    /// `u32` per package: [`crate::package::Flags`], [`PREFERRED`] and [`HAS_CANDIDATE`].
    Flags = 5,
    /// Names, each followed by a line feed.
    Names = 6,
    /// `u32` per package and one more: where its name starts in [`Section::Names`].
    NameOffsets = 7,
    /// Names as [`super::text::fold`] leaves them, in the same layout and at the same offsets; empty when they are all
    /// folded already.
    FoldedNames = 8,
    /// `u32` per package and one more: where its row starts in [`Section::Rows`].
    RowOffsets = 9,
    /// Folded summaries of all packages, each followed by a line feed, in the order of [`Section::SummaryOrder`].
    FoldedSummaries = 10,
    /// `u32` per package and one more: where its summary starts in [`Section::FoldedSummaries`].
    SummaryOffsets = 11,
    /// Folded names that packages provide, those of a package together, each followed by a line feed: however many of
    /// them a term is in, a search looks for it no further than the first.
    Provided = 12,
    /// [`ProvidedName`] per line of [`Section::Provided`], sorted by name, then provider.
    ProvidedNames = 13,
    /// `u32` per package that provides names and one more: where these start in [`Section::Provided`].
    ProviderOffsets = 14,
    /// `u32` per package that provides names: its number.
    Providers = 15,
    /// [`Edge`]: relations between installed packages that are satisfied, sorted by target.
    Edges = 16,
    /// Cold: [`crate::package::PackageDetails`] as postcard, in blocks.
    Details = 17,
    /// [`BlockEntry`] per block of [`Section::Details`].
    DetailBlocks = 18,
    /// Cold: folded long descriptions, each followed by a NUL, in blocks of consecutive packages.
    Descriptions = 19,
    /// [`BlockEntry`] per block of [`Section::Descriptions`].
    DescriptionBlocks = 20,
    /// `u64` per package: which letters its folded name has, see [`super::text::letters`].
    Letters = 21,
    /// `u32` per package: package numbers by [`ranked_len`], those of one length in their own order, which is how a
    /// search ranks what it finds by summary: it can stop at its limit.
    SummaryOrder = 22,
}

/// The sections that are checked when a snapshot is opened and mapped afterwards.
pub(super) const HOT: [Section; 20] = [
    Section::Meta,
    Section::Sources,
    Section::Labels,
    Section::Rows,
    Section::RowOffsets,
    Section::Flags,
    Section::Names,
    Section::NameOffsets,
    Section::FoldedNames,
    Section::FoldedSummaries,
    Section::SummaryOffsets,
    Section::Provided,
    Section::ProvidedNames,
    Section::ProviderOffsets,
    Section::Providers,
    Section::Edges,
    Section::DetailBlocks,
    Section::DescriptionBlocks,
    Section::Letters,
    Section::SummaryOrder,
];

pub(super) const COLD: [Section; 2] = [Section::Details, Section::Descriptions];

/// In [`Section::Flags`]: of the packages that share a name, the one a search answers with.
pub(super) const PREFERRED: u32 = 1 << 31;

/// In [`Section::Flags`]: there is a candidate.
pub(super) const HAS_CANDIDATE: u32 = 1 << 30;

/// In the lengths of a [`Record`]: there is no such text.
pub(super) const NO_TEXT: u16 = u16::MAX;

#[derive(Debug, Default, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Record {
    /// Lengths in bytes of the texts that follow, in their order: the candidate's version, the installed one, the
    /// summary; or [`NO_TEXT`].
    pub(super) candidate_len: U16,
    pub(super) installed_len: U16,
    pub(super) summary_len: U16,
    /// Positions in [`Section::Labels`].
    pub(super) candidate_repository: U16,
    pub(super) installed_repository: U16,
    pub(super) candidate_arch: U16,
    pub(super) installed_arch: U16,
    /// Architecture of the package itself.
    pub(super) arch: U16,
    /// Number of the block in [`Section::Details`], and where in the unpacked block the package starts.
    pub(super) details_block: U32,
    pub(super) details_offset: U32,
    /// Bytes.
    pub(super) download_size: U64,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Edge {
    pub(super) to: U32,
    pub(super) from: U32,
    /// Position in [`super::writer::RELATIONS`].
    pub(super) kind: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ProvidedName {
    /// Where it starts in [`Section::Provided`].
    pub(super) start: U32,
    /// Number of the package that provides it.
    pub(super) provider: U32,
}

/// The length of a name of so many bytes, as ranking knows it: all beyond 4095 are alike.
pub(super) fn ranked_len(bytes: u32) -> u32 {
    bytes.min((1 << 12) - 1)
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockEntry {
    /// From the start of the section.
    pub(super) offset: U64,
    /// Bytes in the file.
    pub(super) stored: U32,
    /// Bytes once unpacked.
    pub(super) len: U32,
    /// CRC-32 of the stored bytes.
    pub(super) crc: U32,
    /// Number of the first package in the block; only descriptions use it.
    pub(super) first: U32,
}
