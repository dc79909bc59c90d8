//! Opens and reads a snapshot.
//!
//! Nothing in the file is trusted. The header and every hot section are checked against their checksums when the file
//! is opened; a file made to pass them can still hold any numbers, so every offset is looked up with bounds, every text
//! is checked to be UTF-8 where it is used, and what does not fit reads as empty.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use memmap2::Mmap;
use thiserror::Error;
use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use super::blocks::read_block;
use super::format::{
    BlockEntry, COLD, Edge, HAS_CANDIDATE, HOT, MAX_PACKAGES, PREFERRED, ProvidedName, Section, VERSION,
};
use super::rows::Window;
use super::sections::read_sections;
use super::{Fingerprint, Meta};
use crate::package::{Flags, ListQuery, PackageDetails, UpdateRow, UpdatesState};
use crate::stamp;

/// Why a file cannot be used as a snapshot. In every case a new one can be built.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
    #[error("not a package snapshot")]
    Foreign,
    #[error("snapshot format {0}, this program reads {VERSION}")]
    Version(u32),
    #[error("damaged snapshot: {0}")]
    Damaged(&'static str),
}

/// Which version of a package a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The candidate; the installed version where there is no candidate.
    Candidate,
    /// The installed version; the candidate where none is installed.
    Installed,
    /// The version that is possible once the package lists are fetched ([`super::Ahead`]); the candidate elsewhere.
    Possible,
}

/// An open snapshot. Packages are numbered `0..len()`, in the order of their names.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    map: Mmap,
    /// State of the file when it was checked.
    checked: Stat,
    hot: [Range<usize>; HOT.len()],
    cold: [Range<u64>; COLD.len()],
    meta: Meta,
    fingerprint: Fingerprint,
    labels: Vec<String>,
    len: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    size: i64,
    modified: (i64, u64),
}

impl Stat {
    fn of(file: &File) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file.as_fd())?;
        Ok(Self { size: stat.st_size, modified: (stat.st_mtime, stat.st_mtime_nsec) })
    }
}

impl Snapshot {
    /// Opens and checks the snapshot at `path`. Links are not followed.
    ///
    /// # Errors
    /// Any [`OpenError`]; the caller builds a new snapshot.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path)?;
        Self::from_file(file)
    }

    /// Checks the snapshot in `file`.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn from_file(file: File) -> Result<Self, OpenError> {
        if !file.metadata()?.is_file() {
            return Err(OpenError::Foreign);
        }
        let checked = Stat::of(&file)?;
        let file_len = checked.size as u64;
        let (hot, cold) = read_sections(&file, file_len)?;
        let map = map(&file)?;
        let mut snapshot = Self {
            file,
            map,
            checked,
            hot,
            cold,
            meta: Meta::default(),
            fingerprint: Fingerprint::default(),
            labels: Vec::new(),
            len: 0,
        };
        snapshot.meta =
            postcard::from_bytes(snapshot.section(Section::Meta)).map_err(|_| OpenError::Damaged("meta"))?;
        snapshot.fingerprint =
            postcard::from_bytes(snapshot.section(Section::Sources)).map_err(|_| OpenError::Damaged("sources"))?;
        snapshot.labels =
            postcard::from_bytes(snapshot.section(Section::Labels)).map_err(|_| OpenError::Damaged("labels"))?;
        snapshot.len = snapshot.flag_words().len();
        let lengths = [
            snapshot.row_offsets().len(),
            snapshot.letters().len() + 1,
            snapshot.numbers(Section::SummaryOrder).len() + 1,
            snapshot.numbers(Section::NameOffsets).len(),
            snapshot.numbers(Section::SummaryOffsets).len(),
        ];
        if snapshot.len > MAX_PACKAGES || lengths.iter().any(|length| *length != snapshot.len + 1) {
            return Err(OpenError::Damaged("sections of different lengths"));
        }
        Ok(snapshot)
    }

    /// Whether the file is still as it was when it was checked. Nothing of ours ever writes into a snapshot, but a
    /// mapped file that somebody cuts short ends its readers with SIGBUS, so the engine asks before each use.
    pub fn is_intact(&self) -> bool {
        Stat::of(&self.file).is_ok_and(|stat| stat == self.checked)
    }

    /// Whether the file is on a disk of this machine: whether looking at it waits for nothing else.
    pub fn is_local(&self) -> bool {
        stamp::is_local(&self.file)
    }

    /// Gives back the memory that the mapping holds. The kernel keeps the pages in its cache as long as it has room, so
    /// the next look at them costs little.
    pub fn release_memory(&self) {
        self.release(0..self.map.len());
    }

    /// As [`Snapshot::release_memory`], but keeps the names and what goes with each, which every question reads. Of the
    /// rest some is looked up here and there, some read from end to end by searches of letters and summaries: these map a
    /// few MiB of cached pages again, 64 KiB at a time.
    pub fn release_all_but_names(&self) {
        for section in [
            Section::Rows,
            Section::Letters,
            Section::FoldedSummaries,
            Section::SummaryOffsets,
            Section::SummaryOrder,
            Section::Provided,
            Section::ProvidedNames,
            Section::Edges,
        ] {
            if let Some(range) = self.range(section) {
                self.release(range.clone());
            }
        }
    }

    fn release(&self, range: Range<usize>) {
        #[expect(unsafe_code, reason = "advice that may discard pages has no safe form")]
        // SAFETY: the mapping is shared, read-only and backed by the file: discarded pages are read from it again.
        let advised =
            unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
        if let Err(error) = advised {
            tracing::debug!("pages were not given back: {error}");
        }
    }

    /// How many packages it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.checked.size as u64
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Name of a package without its architecture.
    pub fn bare_name(&self, id: u32) -> &str {
        str::from_utf8(self.line(Section::Names, self.name_offsets(), id)).unwrap_or_default()
    }

    pub fn flags(&self, id: u32) -> Flags {
        Flags::from_bits_truncate(self.flag_word(id))
    }

    /// The package called `name`, or `name:arch`; of several architectures the one a search answers with.
    pub fn find(&self, name: &str) -> Option<u32> {
        let (bare, arch) = name.split_once(':').map_or((name, None), |(bare, arch)| (bare, Some(arch)));
        let first = self.first_at_or_after(bare);
        let same = (first..self.len as u32).take_while(|id| self.bare_name(*id) == bare);
        match arch {
            Some(arch) => same.into_iter().find(|id| {
                self.stored(*id, &mut Window::default()).is_some_and(|stored| {
                    let own = self.label(stored.record.arch.get());
                    own == arch || arch == "native" && own == self.meta.arch
                })
            }),
            None => {
                let mut same = same.peekable();
                let first = same.peek().copied();
                same.find(|id| self.flag_word(*id) & PREFERRED != 0).or(first)
            }
        }
    }

    /// Names that start with `prefix`, in order, each once.
    pub fn names_with_prefix(&self, prefix: &str, limit: usize) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for id in self.first_at_or_after(prefix)..self.len as u32 {
            let name = self.bare_name(id);
            if names.len() == limit || !name.starts_with(prefix) {
                break;
            }
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The packages whose folded names begin with `term`; an empty range where names are not in the order of folded ones,
    /// so that these may be anywhere.
    pub(super) fn prefixed(&self, term: &[u8]) -> Range<usize> {
        if !self.section(Section::FoldedNames).is_empty() {
            return 0..0;
        }
        let name = |id| self.line(Section::Names, self.name_offsets(), id);
        let start = partition_point(self.len, |id| name(id) < term);
        let end = partition_point(self.len, |id| name(id) < term || name(id).starts_with(term));
        start as usize..(end as usize).max(start as usize)
    }

    /// Packages that provide exactly `name`.
    pub fn providers(&self, name: &str) -> Vec<u32> {
        // A search may look for any case; a name is what it is.
        if super::text::fold(name) != name {
            return Vec::new();
        }
        let mut providers: Vec<u32> = self.providers_of(name.as_bytes()).collect();
        providers.dedup();
        providers
    }

    /// Packages that provide the folded name `name`, in order; one that names it twice comes twice.
    pub(super) fn providers_of(&self, name: &[u8]) -> impl Iterator<Item = u32> {
        let blob = self.section(Section::Provided);
        let names = <[ProvidedName]>::ref_from_bytes(self.section(Section::ProvidedNames)).unwrap_or_default();
        let text = |at: &ProvidedName| {
            let rest = blob.get(at.start.get() as usize..).unwrap_or_default();
            memchr::memchr(b'\n', rest).and_then(|end| rest.get(..end)).unwrap_or_default()
        };
        let first = names.partition_point(|at| text(at) < name);
        let same = names.get(first..).unwrap_or_default().iter().take_while(move |at| text(at) == name);
        same.map(|at| at.provider.get()).filter(|id| (*id as usize) < self.len)
    }

    /// The packages that a listing asks for, in order.
    pub fn list(&self, query: &ListQuery) -> Vec<u32> {
        let conditions = [
            (query.installed, Flags::INSTALLED),
            (query.explicit, Flags::EXPLICIT),
            (query.upgradable, Flags::UPGRADABLE),
            (query.orphans, Flags::ORPHAN),
            (query.foreign, Flags::FOREIGN),
            (query.held, Flags::HELD),
        ];
        let (mut set, mut clear) = (Flags::empty(), Flags::empty());
        for (condition, flag) in conditions {
            match condition {
                Some(true) => set |= flag,
                Some(false) => clear |= flag,
                None => {}
            }
        }
        let (set, clear) = (set.bits(), clear.bits());
        let view = Self::list_view(query);
        let ids: Box<dyn Iterator<Item = u32>> = match &query.group {
            None => Box::new(0..self.len as u32),
            Some(group) => Box::new(self.members(group).iter().filter_map(|name| self.find(name))),
        };
        let words = self.flag_words();
        let holds = |word: u32| word & set == set && word & clear == 0;
        ids.filter(|id| words.get(*id as usize).is_some_and(|word| holds(word.get())))
            .filter(|id| {
                query.repository.as_deref().is_none_or(|wanted| {
                    let is_it = |label: &str| label == wanted || label.split('/').any(|part| part == wanted);
                    // What is installed is in a repository in whatever version it is installed.
                    is_it(self.repository(*id, view))
                        || view == View::Installed && is_it(self.repository(*id, View::Candidate))
                })
            })
            .collect()
    }

    /// Every group as (name, members, how many of them are installed), in the order of names.
    pub fn groups(&self) -> Vec<(String, u32, u32)> {
        let installed = |name: &String| self.find(name).is_some_and(|id| self.flags(id).contains(Flags::INSTALLED));
        let counted = |(name, members): &(String, Vec<String>)| {
            (name.clone(), members.len() as u32, members.iter().filter(|name| installed(name)).count() as u32)
        };
        self.meta.groups.iter().map(counted).collect()
    }

    /// Names of the group's members, in order; none where there is no such group.
    pub fn members(&self, group: &str) -> &[String] {
        let groups = &self.meta.groups;
        let at = groups.binary_search_by(|(name, _)| name.as_str().cmp(group)).ok();
        at.and_then(|at| groups.get(at)).map_or(&[], |(_, members)| members)
    }

    /// Which version the rows of a listing show: the installed one where the listing is about what is installed.
    pub fn list_view(query: &ListQuery) -> View {
        let about_installed = [query.installed, query.explicit, query.orphans, query.foreign, query.held];
        if query.upgradable == Some(true) {
            View::Possible
        } else if about_installed.contains(&Some(true)) {
            View::Installed
        } else {
            View::Candidate
        }
    }

    /// Every available upgrade, in the order of names.
    pub fn updates(&self, state: UpdatesState) -> Vec<UpdateRow> {
        let (ids, view) = match (&self.meta.ahead, state) {
            (Some(ahead), UpdatesState::Planned) => {
                (ahead.planned.iter().filter_map(|name| self.find(name)).collect(), View::Candidate)
            }
            _ => (self.list(&ListQuery { upgradable: Some(true), ..ListQuery::default() }), View::Possible),
        };
        ids.into_iter()
            .map(|id| {
                let mut row = self.row(id, view);
                if view == View::Candidate {
                    row.flags = row.flags.difference(Flags::AFTER_REFRESH).union(Flags::UPGRADABLE);
                }
                UpdateRow {
                    name: row.name,
                    from: self.row(id, View::Installed).version,
                    to: row.version,
                    arch: row.arch,
                    repository: row.repository,
                    summary: row.summary,
                    flags: row.flags,
                    size: row.download_size,
                }
            })
            .collect()
    }

    /// Everything known about one package.
    ///
    /// # Errors
    /// When its block cannot be read or does not hold what it should.
    pub fn details(&self, id: u32) -> io::Result<PackageDetails> {
        let mut window = Window::default();
        let record = self.stored(id, &mut window).ok_or_else(|| io::Error::other("no such package number"))?.record;
        let entry = self
            .blocks(Section::DetailBlocks)
            .get(record.details_block.get() as usize)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "snapshot block out of range"))?;
        let block = read_block(&self.file, self.cold(Section::Details), entry)?;
        let bytes = block.get(record.details_offset.get() as usize..).unwrap_or_default();
        let (details, _) = postcard::take_from_bytes(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("snapshot details: {error}")))?;
        Ok(details)
    }

    /// The relations of installed packages that end at `id`: (kind, package that asks).
    pub(super) fn edges_to(&self, id: u32) -> impl Iterator<Item = (u32, u32)> {
        let edges = <[Edge]>::ref_from_bytes(self.section(Section::Edges)).unwrap_or_default();
        let first = edges.partition_point(|edge| edge.to.get() < id);
        edges
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(move |edge| edge.to.get() == id)
            .map(|edge| (edge.kind.get(), edge.from.get()))
            .filter(|(_, from)| (*from as usize) < self.len)
    }

    /// Calls `each` with every unpacked block of folded descriptions and the number of its first package.
    ///
    /// # Errors
    /// Those of reading a block.
    pub(super) fn for_each_description_block(&self, mut each: impl FnMut(u32, &[u8])) -> io::Result<()> {
        for entry in self.blocks(Section::DescriptionBlocks) {
            let block = read_block(&self.file, self.cold(Section::Descriptions), entry)?;
            each(entry.first.get(), &block);
        }
        Ok(())
    }

    /// Which letters every folded name has.
    pub(super) fn letters(&self) -> &[U64] {
        <[U64]>::ref_from_bytes(self.section(Section::Letters)).unwrap_or_default()
    }

    /// Folded names and their offsets.
    pub(super) fn folded_names(&self) -> (&[u8], &[U32]) {
        let folded = self.section(Section::FoldedNames);
        let blob = if folded.is_empty() { self.section(Section::Names) } else { folded };
        (blob, self.name_offsets())
    }

    /// Folded summaries, their offsets, and the packages they are of.
    pub(super) fn folded_summaries(&self) -> (&[u8], &[U32], &[U32]) {
        let offsets = self.numbers(Section::SummaryOffsets);
        (self.section(Section::FoldedSummaries), offsets, self.numbers(Section::SummaryOrder))
    }

    /// Folded provided names, where those of each providing package start, and these packages.
    pub(super) fn provided_names(&self) -> (&[u8], &[U32], &[U32]) {
        let offsets = self.numbers(Section::ProviderOffsets);
        (self.section(Section::Provided), offsets, self.numbers(Section::Providers))
    }

    fn first_at_or_after(&self, name: &str) -> u32 {
        let offsets = self.name_offsets();
        partition_point(self.len, |id| self.line(Section::Names, offsets, id) < name.as_bytes())
    }

    fn line(&self, section: Section, offsets: &[U32], at: u32) -> &[u8] {
        line(self.section(section), offsets, at as usize)
    }

    pub(super) fn label(&self, position: u16) -> &str {
        self.labels.get(usize::from(position)).map_or("", String::as_str)
    }

    pub(super) fn flag_word(&self, id: u32) -> u32 {
        self.flag_words().get(id as usize).map_or(0, |word| word.get())
    }

    pub(super) fn flag_words(&self) -> &[U32] {
        self.numbers(Section::Flags)
    }

    fn name_offsets(&self) -> &[U32] {
        self.numbers(Section::NameOffsets)
    }

    pub(super) fn row_offsets(&self) -> &[U32] {
        self.numbers(Section::RowOffsets)
    }

    /// Reads what the mapping need not hold.
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], at: usize) -> Option<()> {
        self.file.read_exact_at(bytes, at as u64).ok()
    }

    fn blocks(&self, section: Section) -> &[BlockEntry] {
        <[BlockEntry]>::ref_from_bytes(self.section(section)).unwrap_or_default()
    }

    fn numbers(&self, section: Section) -> &[U32] {
        <[U32]>::ref_from_bytes(self.section(section)).unwrap_or_default()
    }

    pub(super) fn section(&self, section: Section) -> &[u8] {
        self.range(section).and_then(|range| self.map.get(range.clone())).unwrap_or_default()
    }

    pub(super) fn range(&self, section: Section) -> Option<&Range<usize>> {
        HOT.iter().position(|hot| *hot == section).and_then(|position| self.hot.get(position))
    }

    fn cold(&self, section: Section) -> &Range<u64> {
        const EMPTY: &Range<u64> = &(0..0);
        COLD.iter().position(|cold| *cold == section).and_then(|position| self.cold.get(position)).unwrap_or(EMPTY)
    }
}

#[expect(unsafe_code, reason = "mapping a file has no safe form")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and every value read from it is checked where it is used (see the module's
    // page); `is_intact` guards against a file that was cut or rewritten after it was opened. Only the same user can
    // do that: the file is created 0600 in a private folder.
    unsafe { Mmap::map(file) }
}

/// Line `at` of a blob of lines, without its line feed.
pub(super) fn line<'a>(blob: &'a [u8], offsets: &[U32], at: usize) -> &'a [u8] {
    let bound = |at: usize| offsets.get(at).map_or(0, |offset| offset.get() as usize);
    blob.get(bound(at)..bound(at + 1).saturating_sub(1)).unwrap_or_default()
}

/// Whether a search may answer with a package that has this flag word.
pub(super) fn is_searchable(word: u32) -> bool {
    (word & PREFERRED != 0) & (word & (HAS_CANDIDATE | Flags::INSTALLED.bits()) != 0)
}

pub(super) fn has_candidate(word: u32) -> bool {
    word & HAS_CANDIDATE != 0
}

/// The first number in `0..len` for which `before` does not hold; `before` holds for a prefix of the numbers.
fn partition_point(len: usize, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0_u32, len as u32);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
