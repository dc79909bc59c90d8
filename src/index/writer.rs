//! Builds a snapshot.
#![expect(clippy::indexing_slicing, reason = "every index here is a position that this module itself handed out")]

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;
use std::thread;

use zerocopy::IntoBytes;

use super::blocks::{BlockWriter, DESCRIPTIONS_BLOCK, DETAILS_BLOCK};
use super::format::{
    Edge, HAS_CANDIDATE, Header, MAGIC, MAX_PACKAGES, PREFERRED, ProvidedName, Record, Section, SectionEntry, VERSION,
    ranked_len,
};
use super::rows::{self, Texts};
use super::text::{fold, letters};
use super::{Fingerprint, Meta};
use crate::package::{Flags, PackageDetails};

/// The relations that keep a package installed, strongest first.
pub(super) const RELATIONS: [&str; 4] = ["PreDepends", "Depends", "Recommends", "Suggests"];

/// What searches and listings need of a package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<'a> {
    /// Without an architecture.
    pub name: &'a str,
    /// Architecture of the package itself, which `name:arch` names.
    pub arch: &'a str,
    /// Whether a search answers with this one of the packages that share the name.
    pub preferred: bool,
    pub flags: Flags,
    pub candidate: Option<Version<'a>>,
    pub installed: Option<Version<'a>>,
    /// Bytes to download for the candidate.
    pub download_size: u64,
    pub summary: &'a str,
    /// Long description without the summary; empty where none is known.
    pub description: &'a str,
    /// Names it provides besides its own.
    pub provides: &'a [String],
}

/// A version in an [`Entry`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Version<'a> {
    pub version: &'a str,
    pub arch: &'a str,
    /// Label of its repository; `local` when none has it.
    pub repository: &'a str,
}

/// Names an added entry for [`Builder::relate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(u32);

/// A text of an entry: where it begins in the builder's texts, and its length.
///
/// They are kept in one place: half a million texts of their own take as long to allocate and to free as it takes to read
/// what they say.
#[derive(Debug, Clone, Copy, Default)]
struct Text {
    start: usize,
    len: u32,
}

#[derive(Debug, Default)]
struct TextStore(String);

impl TextStore {
    fn push(&mut self, text: &str) -> Text {
        let start = self.0.len();
        self.0.push_str(text);
        Text { start, len: text.len() as u32 }
    }

    fn get(&self, text: Text) -> &str {
        &self.0[text.start..text.start + text.len as usize]
    }
}

#[derive(Debug)]
struct Stored {
    name: Text,
    arch: u16,
    flags: Flags,
    preferred: bool,
    /// Versions.
    candidate: Option<Text>,
    installed: Option<Text>,
    summary: Text,
    folded_summary: Text,
    candidate_repository: u16,
    installed_repository: u16,
    candidate_arch: u16,
    installed_arch: u16,
    download_size: u64,
    description: Text,
    /// Among those of all entries.
    provides: Range<usize>,
    details: (u32, u32),
}

/// Collects packages in any order and writes them as a snapshot.
#[derive(Debug)]
pub struct Builder {
    arch: String,
    entries: Vec<Stored>,
    texts: TextStore,
    provides: Vec<Text>,
    labels: Vec<String>,
    known_labels: HashMap<String, u16>,
    edges: Vec<(EntryId, usize, EntryId)>,
    details: BlockWriter,
    /// The last entry's, before they are packed.
    encoded: Vec<u8>,
}

impl Builder {
    /// A builder for a machine of architecture `arch`.
    pub fn new(arch: &str) -> Self {
        Self {
            arch: arch.to_owned(),
            entries: Vec::new(),
            texts: TextStore::default(),
            provides: Vec::new(),
            labels: Vec::new(),
            known_labels: HashMap::new(),
            edges: Vec::new(),
            details: BlockWriter::new(DETAILS_BLOCK),
            encoded: Vec::new(),
        }
    }

    /// Adds one package. Packages that are looked at together are best added together: their details share blocks.
    ///
    /// # Errors
    /// When details do not serialise or there are more packages or labels than the format can number.
    pub fn add(&mut self, entry: &Entry<'_>, details: &PackageDetails) -> io::Result<EntryId> {
        if self.entries.len() >= MAX_PACKAGES {
            return Err(io::Error::other(format!("more than {MAX_PACKAGES} packages")));
        }
        self.encoded.clear();
        self.encoded = postcard::to_extend(details, std::mem::take(&mut self.encoded)).map_err(io::Error::other)?;
        let id = EntryId(self.entries.len() as u32);
        let candidate = entry.candidate.unwrap_or_default();
        let installed = entry.installed.unwrap_or_default();
        let place = self.details.push(&self.encoded)?;
        let summary = self.texts.push(entry.summary);
        let folded = fold(entry.summary);
        let first = self.provides.len();
        for name in entry.provides {
            let text = self.texts.push(&single_line(&fold(name)));
            self.provides.push(text);
        }
        let stored = Stored {
            name: self.texts.push(&single_line(entry.name)),
            arch: self.label(entry.arch)?,
            flags: entry.flags,
            preferred: entry.preferred,
            candidate: entry.candidate.map(|candidate| self.texts.push(candidate.version)),
            installed: entry.installed.map(|installed| self.texts.push(installed.version)),
            folded_summary: if folded == entry.summary { summary } else { self.texts.push(&folded) },
            summary,
            candidate_repository: self.label(candidate.repository)?,
            installed_repository: self.label(installed.repository)?,
            candidate_arch: self.label(candidate.arch)?,
            installed_arch: self.label(installed.arch)?,
            download_size: entry.download_size,
            description: self.texts.push(&fold(entry.description)),
            provides: first..self.provides.len(),
            details: place,
        };
        self.entries.push(stored);
        Ok(id)
    }

    /// Notes that the installed package `from` needs the installed package `to`: `kind` is a field name such as
    /// `Depends`. Kinds that do not keep a package installed are ignored.
    pub fn relate(&mut self, from: EntryId, kind: &str, to: EntryId) {
        if let Some(kind) = RELATIONS.iter().position(|relation| *relation == kind) {
            self.edges.push((from, kind, to));
        }
    }

    /// Sorts everything and writes the snapshot. `meta`'s architecture, counts and digests are filled in here.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(self, mut meta: Meta, fingerprint: &Fingerprint, out: &mut dyn Write) -> io::Result<()> {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        let key = |id: &u32| {
            let entry = &self.entries[*id as usize];
            let arch = self.labels[usize::from(entry.arch)].as_str();
            (self.texts.get(entry.name), arch != self.arch, arch)
        };
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut number = vec![0_u32; order.len()];
        for (position, id) in order.iter().enumerate() {
            number[*id as usize] = position as u32;
        }

        let (entries, texts) = (&self.entries, &self.texts);
        let packing = || {
            let mut descriptions = BlockWriter::new(DESCRIPTIONS_BLOCK);
            let mut ended = Vec::new();
            for id in &order {
                ended.clear();
                ended.extend_from_slice(texts.get(entries[*id as usize].description).as_bytes());
                ended.push(0);
                descriptions.push(&ended)?;
            }
            descriptions.finish()
        };
        // Descriptions take as long as everything else together.
        let (descriptions, rest) = thread::scope(|scope| {
            let packed = scope.spawn(packing);
            let rest = self.columns(&order, &number, &mut meta);
            (packed.join(), rest)
        });
        let descriptions =
            descriptions.map_err(|_| io::Error::other("the thread that packs descriptions failed")).flatten()?;
        let details = self.details.finish()?;
        let Rest { columns, provided, edges } = rest;
        meta.arch = self.arch;

        let encode = |value: Result<Vec<u8>, postcard::Error>| value.map_err(io::Error::other);
        let sections: Vec<(Section, Vec<u8>)> = vec![
            (Section::Meta, encode(postcard::to_stdvec(&meta))?),
            (Section::Sources, encode(postcard::to_stdvec(fingerprint))?),
            (Section::Labels, encode(postcard::to_stdvec(&self.labels))?),
            (Section::Rows, columns.rows),
            (Section::RowOffsets, columns.row_offsets),
            (Section::Flags, columns.flags),
            (Section::Names, columns.names),
            (Section::NameOffsets, columns.name_offsets),
            (Section::FoldedNames, if columns.names_are_folded { Vec::new() } else { columns.folded_names }),
            (Section::FoldedSummaries, columns.folded_summaries),
            (Section::SummaryOffsets, columns.summary_offsets),
            (Section::SummaryOrder, columns.summary_order),
            (Section::Provided, provided.blob),
            (Section::ProvidedNames, provided.names.as_bytes().to_vec()),
            (Section::ProviderOffsets, provided.offsets),
            (Section::Providers, provided.providers),
            (Section::Edges, edges.as_bytes().to_vec()),
            (Section::DetailBlocks, details.table),
            (Section::DescriptionBlocks, descriptions.table),
            (Section::Letters, columns.letters),
            (Section::Details, details.blocks),
            (Section::Descriptions, descriptions.blocks),
        ];
        write_sections(&sections, out)
    }

    /// The sections that hold a value for each package, in `order`; `number` leads from an entry to its place there.
    /// `meta` gets the counts and digests.
    fn columns(&self, order: &[u32], number: &[u32], meta: &mut Meta) -> Rest {
        let mut columns = Columns::default();
        let (mut installed_digest, mut updates_digest) = (crc32fast::Hasher::new(), crc32fast::Hasher::new());
        meta.counts = Default::default();
        for id in order {
            let entry = &self.entries[*id as usize];
            let version = |text: Option<Text>| text.map(|text| self.texts.get(text)).unwrap_or_default();
            let (installed, candidate) = (version(entry.installed), version(entry.candidate));
            let (name, arch) = (self.texts.get(entry.name), self.labels[usize::from(entry.arch)].as_str());
            meta.counts.add(entry.flags);
            if entry.flags.contains(Flags::INSTALLED) {
                installed_digest.update(format!("{name} {arch} {installed}\n").as_bytes());
            }
            if entry.flags.contains(Flags::UPGRADABLE) {
                let newer = meta.ahead.as_ref().and_then(|ahead| ahead.upgrade(name));
                let line = format!(
                    "{name} {arch} {installed} {} {:x}\n",
                    newer.map_or(candidate, |newer| newer.version.as_str()),
                    (entry.flags & (Flags::SECURITY | Flags::HELD | Flags::PHASED | Flags::AFTER_REFRESH)).bits()
                );
                updates_digest.update(line.as_bytes());
            }
            columns.push(entry, &self.texts);
        }
        meta.installed_digest = u64::from(installed_digest.finalize()) | u64::from(meta.counts.installed) << 32;
        meta.updates_digest = u64::from(updates_digest.finalize()) | u64::from(meta.counts.upgradable) << 32;
        columns.finish();
        columns.push_folded_summaries(order, self);

        let provided = Provided::collect(order, self);
        let mut edges: Vec<Edge> = self
            .edges
            .iter()
            .map(|(from, kind, to)| Edge {
                to: number[to.0 as usize].into(),
                from: number[from.0 as usize].into(),
                kind: (*kind as u32).into(),
            })
            .collect();
        edges.sort_unstable_by_key(|edge| (edge.to.get(), edge.kind.get(), edge.from.get()));
        edges.dedup_by_key(|edge| (edge.to.get(), edge.from.get()));

        Rest { columns, provided, edges }
    }

    fn label(&mut self, text: &str) -> io::Result<u16> {
        if let Some(position) = self.known_labels.get(text) {
            return Ok(*position);
        }
        let position = u16::try_from(self.labels.len()).map_err(|_| io::Error::other("more than 65536 labels"))?;
        self.labels.push(text.to_owned());
        self.known_labels.insert(text.to_owned(), position);
        Ok(position)
    }
}

/// What is made of the entries besides the packed texts.
struct Rest {
    columns: Columns,
    provided: Provided,
    edges: Vec<Edge>,
}

/// The per-package sections.
#[derive(Default)]
struct Columns {
    rows: Vec<u8>,
    row_offsets: Vec<u8>,
    flags: Vec<u8>,
    names: Vec<u8>,
    name_offsets: Vec<u8>,
    folded_names: Vec<u8>,
    names_are_folded: bool,
    folded_summaries: Vec<u8>,
    summary_offsets: Vec<u8>,
    summary_order: Vec<u8>,
    letters: Vec<u8>,
}

impl Columns {
    fn push(&mut self, entry: &Stored, texts: &TextStore) {
        self.name_offsets.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        let name = texts.get(entry.name);
        push_line(&mut self.names, name);
        // Folding may change the length of a character; such a name keeps its own bytes, so that the offsets hold.
        let folded = fold(name);
        push_line(&mut self.folded_names, if folded.len() == name.len() { &folded } else { name });
        self.letters.extend_from_slice(&letters(folded.as_bytes()).to_le_bytes());
        let mut bits = entry.flags.bits();
        if entry.preferred {
            bits |= PREFERRED;
        }
        if entry.candidate.is_some() {
            bits |= HAS_CANDIDATE;
        }
        self.flags.extend_from_slice(&bits.to_le_bytes());
        let record = Record {
            candidate_repository: entry.candidate_repository.into(),
            installed_repository: entry.installed_repository.into(),
            candidate_arch: entry.candidate_arch.into(),
            installed_arch: entry.installed_arch.into(),
            arch: entry.arch.into(),
            details_block: entry.details.0.into(),
            details_offset: entry.details.1.into(),
            download_size: entry.download_size.into(),
            ..Record::default()
        };
        let shown = Texts {
            candidate: entry.candidate.map(|version| texts.get(version)),
            installed: entry.installed.map(|version| texts.get(version)),
            summary: texts.get(entry.summary),
        };
        push_number(&mut self.row_offsets, self.rows.len() as u32);
        rows::push(&mut self.rows, record, shown);
    }

    fn finish(&mut self) {
        self.name_offsets.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        push_number(&mut self.row_offsets, self.rows.len() as u32);
        self.names_are_folded = self.names == self.folded_names;
    }

    fn push_folded_summaries(&mut self, order: &[u32], builder: &Builder) {
        let entry = |number: u32| &builder.entries[order[number as usize] as usize];
        let mut numbers: Vec<u32> = (0..order.len() as u32).collect();
        // With the line feed, as the reader counts.
        numbers.sort_by_key(|number| ranked_len(entry(*number).name.len + 1));
        for number in numbers {
            push_number(&mut self.summary_order, number);
            push_number(&mut self.summary_offsets, self.folded_summaries.len() as u32);
            push_line(&mut self.folded_summaries, builder.texts.get(entry(number).folded_summary));
        }
        push_number(&mut self.summary_offsets, self.folded_summaries.len() as u32);
    }
}

/// The sections about provided names.
#[derive(Default)]
struct Provided {
    blob: Vec<u8>,
    names: Vec<ProvidedName>,
    offsets: Vec<u8>,
    providers: Vec<u8>,
}

impl Provided {
    fn collect(order: &[u32], builder: &Builder) -> Self {
        let mut sections = Self::default();
        let mut names: Vec<(&str, ProvidedName)> = Vec::new();
        for (number, id) in order.iter().enumerate() {
            let provides = &builder.provides[builder.entries[*id as usize].provides.clone()];
            if provides.is_empty() {
                continue;
            }
            push_number(&mut sections.offsets, sections.blob.len() as u32);
            push_number(&mut sections.providers, number as u32);
            for name in provides.iter().map(|name| builder.texts.get(*name)) {
                let start = (sections.blob.len() as u32).into();
                names.push((name, ProvidedName { start, provider: (number as u32).into() }));
                push_line(&mut sections.blob, name);
            }
        }
        push_number(&mut sections.offsets, sections.blob.len() as u32);
        names.sort_unstable_by_key(|(name, at)| (*name, at.provider.get(), at.start.get()));
        sections.names = names.into_iter().map(|(_, at)| at).collect();
        sections
    }
}

fn write_sections(sections: &[(Section, Vec<u8>)], out: &mut dyn Write) -> io::Result<()> {
    let mut offset = (size_of::<Header>() + sections.len() * size_of::<SectionEntry>()) as u64;
    let mut table = Vec::new();
    for (kind, bytes) in sections {
        let is_cold = super::format::COLD.contains(kind);
        if !is_cold && u32::try_from(bytes.len()).is_err() {
            return Err(io::Error::other(format!(
                "{kind:?} would be {} bytes, more than offsets can tell",
                bytes.len()
            )));
        }
        let crc = if is_cold { 0 } else { crc32fast::hash(bytes) };
        let entry = SectionEntry {
            kind: (*kind as u32).into(),
            crc: crc.into(),
            offset: offset.into(),
            len: (bytes.len() as u64).into(),
        };
        table.extend_from_slice(entry.as_bytes());
        offset += bytes.len() as u64;
    }
    let mut header = Header {
        magic: MAGIC,
        version: VERSION.into(),
        sections: (sections.len() as u32).into(),
        file_len: offset.into(),
        crc: 0.into(),
        reserved: 0.into(),
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(header.as_bytes());
    crc.update(&table);
    header.crc = crc.finalize().into();
    out.write_all(header.as_bytes())?;
    out.write_all(&table)?;
    for (_, bytes) in sections {
        out.write_all(bytes)?;
    }
    out.flush()
}

fn push_number(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn push_line(blob: &mut Vec<u8>, text: &str) {
    blob.extend_from_slice(text.as_bytes());
    blob.push(b'\n');
}

/// Names hold no line feed in any package system; one from hostile data must not shift the names after it.
fn single_line(name: &str) -> String {
    name.replace('\n', " ")
}
