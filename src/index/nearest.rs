//! Which names a mistyped one may stand for.

use std::cmp::Reverse;

use super::Snapshot;
use super::reader::is_searchable;

impl Snapshot {
    /// Names that a typing mistake may have turned into `name`, nearest first; of two as near, the one that begins alike
    /// for longer, since the first letters are the ones that are typed right, then the shorter. Names whose part before
    /// the first `-` is near (`firefox-esr`) count as one mistake further away; of those with the same part, the shortest
    /// stands for all.
    pub fn nearest_names(&self, name: &str, limit: usize) -> Vec<String> {
        let allowed: usize = match name.chars().count() {
            0..=2 => return Vec::new(),
            3..=5 => 1,
            6..=9 => 2,
            _ => 3,
        };
        let distance = |candidate: &str, allowed: usize| {
            (candidate.len().abs_diff(name.len()) <= allowed)
                .then(|| strsim::osa_distance(candidate, name))
                .filter(|distance| *distance <= allowed)
        };
        let alike =
            |candidate: &str| candidate.bytes().zip(name.bytes()).take_while(|(one, other)| one == other).count();
        let mut found: Vec<(usize, Reverse<usize>, usize, &str)> = Vec::new();
        // Names are in order, so those with the same first part come one after the other.
        let (mut last_part, mut part_distance) = ("", None);
        let mut shortest: Option<(usize, Reverse<usize>, usize, &str)> = None;
        for id in (0..self.len() as u32).filter(|id| is_searchable(self.flag_word(*id))) {
            let candidate = self.bare_name(id);
            let rank = |distance| (distance, Reverse(alike(candidate)), candidate.len(), candidate);
            found.extend(distance(candidate, allowed).map(rank));
            let Some((part, _)) = candidate.split_once('-') else { continue };
            if part != last_part {
                found.extend(shortest.take());
                (last_part, part_distance) = (part, distance(part, allowed - 1));
            }
            if let Some(distance) = part_distance {
                let ranked = rank(distance + 1);
                shortest = Some(shortest.map_or(ranked, |best| best.min(ranked)));
            }
        }
        found.extend(shortest);
        found.sort_unstable();
        let mut names: Vec<&str> = Vec::new();
        for (.., candidate) in found {
            if names.len() == limit {
                break;
            }
            if !names.contains(&candidate) {
                names.push(candidate);
            }
        }
        names.into_iter().map(str::to_owned).collect()
    }
}
