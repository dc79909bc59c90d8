//! Numbers, a stage before the release, and a build: what most ecosystems' versions are made of.

use std::cmp::Ordering;

/// Most digits of one number: sums and steps of them stay far from the end of `u64`.
const MAX_DIGITS: usize = 15;

/// Most numbers of one version.
const MAX_NUMBERS: usize = 8;

/// Compared in this order: numbers, stage, build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plain {
    /// Without zeros at the end: `1.0` and `1` are the same.
    numbers: Vec<u64>,
    stage: Stage,
    build: Vec<u64>,
}

/// How far it is. Everything before the release is below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Below each pre-release: bounds and language versions.
    Lowest,
    Before(Segments),
    Final,
}

/// `rc.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments(Vec<Segment>);

/// Letters are below digits, as `Gem::Version` has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    Letters(String),
    Number(u64),
}

impl Plain {
    pub fn of(numbers: &[u64], stage: Stage, build: &[u64]) -> Self {
        let used = numbers.iter().rposition(|&number| number != 0).map_or(0, |last| last + 1);
        Self { numbers: numbers.iter().copied().take(used).collect(), stage, build: build.to_vec() }
    }

    /// The same numbers, whatever the stage.
    pub fn has_numbers_of(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }

    pub fn is_prerelease(&self) -> bool {
        matches!(self.stage, Stage::Before(_))
    }
}

impl Stage {
    /// Letters and digits apart, whatever stands between them: `rc1` and `rc.1` are the same. `None` for none at all and
    /// for numbers that are too long.
    pub fn before(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        let mut rest = text.trim_matches(['.', '-', '_', '+']);
        if rest.is_empty() {
            return None;
        }
        while let Some(first) = rest.chars().next() {
            let kind = |letter: char| (letter.is_ascii_digit(), letter.is_ascii_alphabetic());
            let end = rest.find(|letter| kind(letter) != kind(first)).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            rest = after;
            match kind(first) {
                (true, _) if piece.len() > MAX_DIGITS => return None,
                (true, _) => segments.push(Segment::Number(piece.parse().ok()?)),
                (_, true) => segments.push(Segment::Letters(piece.to_owned())),
                _ => {}
            }
        }
        Some(Self::Before(Segments(segments)))
    }
}

impl Ord for Segments {
    /// A missing one is a zero.
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.0, &other.0);
        let zero = Segment::Number(0);
        (0..a.len().max(b.len()))
            .map(|at| a.get(at).unwrap_or(&zero).cmp(b.get(at).unwrap_or(&zero)))
            .find(|order| order.is_ne())
            // Only zeros make them differ.
            .unwrap_or_else(|| a.len().cmp(&b.len()))
    }
}

impl PartialOrd for Segments {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The numbers with dots between them that a text starts with, and what follows. `None` when there is none, or one has
/// zeros in front or is too long.
pub fn leading(text: &str) -> Option<(Vec<u64>, &str)> {
    let mut numbers = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        if digits.is_empty() || digits.len() > MAX_DIGITS || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        numbers.push(digits.parse().ok()?);
        match after.strip_prefix('.') {
            Some(next) if numbers.len() < MAX_NUMBERS && next.starts_with(|first: char| first.is_ascii_digit()) => {
                rest = next;
            }
            _ => return Some((numbers, after)),
        }
    }
}

/// The text is nothing but such numbers, from `least` to `most` of them. `.x` and `.*` at the end are left out.
pub fn only(text: &str, least: usize, most: usize) -> Option<Vec<u64>> {
    let (numbers, mut rest) = leading(text)?;
    while let Some(shorter) = rest.strip_suffix(".x").or_else(|| rest.strip_suffix(".*")) {
        rest = shorter;
    }
    (rest.is_empty() && (least..=most).contains(&numbers.len())).then_some(numbers)
}

pub fn join(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}
