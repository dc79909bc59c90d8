//! A quick test for what a fuzzy match may lose, so that the matcher itself is asked about few names.
//!
//! It follows the matcher's scores (nucleo-matcher 0.3) and always in favour of the name: what it refuses the matcher
//! would rate too low, what it lets through the matcher rates. Names and terms are folded.

/// Scores for a letter that matches, on top of what every match gets. The best is for a word that begins the name, and
/// goes on for as long as the letters follow each other.
mod bonus {
    pub(super) const BEST: u16 = 10;
    /// After one of the matcher's delimiters; after any other sign it is one less.
    pub(super) const BOUNDARY: u16 = 9;
    /// From here on, a bonus also holds for the letters that follow.
    pub(super) const CARRIED: u16 = 8;
    /// For a digit after a letter.
    pub(super) const NUMBER: u16 = 5;
    /// The least for a letter that follows the one before it.
    pub(super) const ADJACENT: u16 = 4;
}

/// The score of a letter, its bonus apart.
const MATCH: u16 = 16;
/// The first letter's bonus counts so many times.
const FIRST: u16 = 2;
/// For a match that begins the name; for any other, less than that.
const PREFIX: u16 = 8;
/// A gap costs this and its length.
const GAP: u16 = 2;

/// The best score of a first letter. A gap cannot take more than what was scored before it, so where so much may be lost,
/// the sum of what is lost is no bound.
const BEST_FIRST: u16 = MATCH + FIRST * bonus::BEST + PREFIX;

/// What a term may lose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nearness<'a> {
    term: &'a [u8],
    /// Against the best score that any match of so many letters could have.
    allowed: u16,
}

impl<'a> Nearness<'a> {
    /// For matches of `term` that score at least `least`; `None` where only the matcher can tell.
    pub(super) fn new(term: &'a [u8], least: u16) -> Option<Self> {
        let following = u16::try_from(term.len()).ok()?.checked_sub(1)?;
        let best = following.checked_mul(MATCH + bonus::BEST)?.checked_add(BEST_FIRST)?;
        let allowed = best.saturating_sub(least);
        (term.is_ascii() && allowed < BEST_FIRST).then_some(Self { term, allowed })
    }

    /// Whether `name` may have a match that loses no more than allowed. `name` is ASCII.
    pub(super) fn may_match(&self, name: &[u8]) -> bool {
        let Some((first, rest)) = self.term.split_first() else { return true };
        let mut before = None;
        for (at, letter) in name.iter().enumerate() {
            if letter == first {
                let bonus = bonus_of(before, *letter);
                let lost = FIRST * (bonus::BEST - bonus) + u16::from(at > 0);
                if lost <= self.allowed
                    && goes_on(name.get(at + 1..).unwrap_or_default(), *letter, rest, bonus, self.allowed - lost)
                {
                    return true;
                }
            }
            before = Some(*letter);
        }
        false
    }
}

/// Whether the letters of `term` can be found in order in `name`, which follows the letter `before`, and lose no more
/// than `left`; `run` is the bonus of the letters that end with `before`.
fn goes_on(name: &[u8], before: u8, term: &[u8], run: u16, left: u16) -> bool {
    let Some((wanted, term)) = term.split_first() else { return true };
    let mut before = before;
    for (gap, letter) in (0_u16..).zip(name) {
        let gap_cost = if gap == 0 { 0 } else { GAP + gap };
        if gap_cost > left {
            return false;
        }
        if letter == wanted {
            let own = bonus_of(Some(before), *letter);
            let run = match run.max(bonus::ADJACENT) {
                _ if gap > 0 => own,
                run if own >= bonus::CARRIED => run.max(own),
                run => run,
            };
            let lost = gap_cost + bonus::BEST - own.max(run);
            let rest = name.get(usize::from(gap) + 1..).unwrap_or_default();
            if lost <= left && goes_on(rest, *letter, term, run, left - lost) {
                return true;
            }
        }
        before = *letter;
    }
    false
}

/// The most that `letter` can get by what stands before it.
fn bonus_of(before: Option<u8>, letter: u8) -> u16 {
    match before {
        None => bonus::BEST,
        Some(before) if before.is_ascii_whitespace() || letter.is_ascii_whitespace() => bonus::BEST,
        Some(before) if !before.is_ascii_alphanumeric() || !letter.is_ascii_alphanumeric() => bonus::BOUNDARY,
        Some(before) if letter.is_ascii_digit() && !before.is_ascii_digit() => bonus::NUMBER,
        Some(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use nucleo_matcher::{Config, Matcher, Utf32Str};

    use super::super::text::letters;
    use super::*;

    /// Knuth's MMIX generator; its high bits are the random ones.
    fn below(state: &mut u64, bound: usize) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % bound
    }

    fn text(state: &mut u64, longest: usize) -> String {
        // Few letters, so that names have many ways to match.
        const LETTERS: &[u8] = b"aabbbc1-. :";
        let length = 2 + below(state, longest - 1);
        (0..length).map(|_| char::from(LETTERS[below(state, LETTERS.len())])).collect()
    }

    #[test]
    fn nothing_is_refused_that_the_matcher_rates_high_enough() {
        let mut config = Config::DEFAULT;
        config.prefer_prefix = true;
        let mut matcher = Matcher::new(config);
        let seed = 0x6f6d_6701;
        let mut state = seed;
        let (mut refused, mut matched) = (0, 0);
        for round in 0..200_000 {
            let (term, name) = (text(&mut state, 16), text(&mut state, 40));
            let score = matcher.fuzzy_match(Utf32Str::Ascii(name.as_bytes()), Utf32Str::Ascii(term.as_bytes()));
            let (of_term, of_name) = (letters(term.as_bytes()), letters(name.as_bytes()));
            assert!(
                score.is_none() || of_name & of_term == of_term,
                "seed {seed:#x}, round {round}: {term:?} in {name:?}"
            );
            let perfect = matcher.fuzzy_match(Utf32Str::Ascii(term.as_bytes()), Utf32Str::Ascii(term.as_bytes()));
            let least = perfect.unwrap().saturating_sub(below(&mut state, usize::from(BEST_FIRST)) as u16);
            let Some(nearness) = Nearness::new(term.as_bytes(), least) else { continue };
            let may_match = nearness.may_match(name.as_bytes());
            let matches = score.is_some_and(|score| score >= least);
            assert!(may_match || !matches, "seed {seed:#x}, round {round}: {term:?} in {name:?}: {score:?}, {least}");
            refused += usize::from(!may_match && score.is_some());
            matched += usize::from(matches);
        }
        assert!(refused > 100 && matched > 100, "{refused} refused, {matched} matched");
    }

    #[test]
    fn letters_far_apart_are_refused() {
        let nearness = |term: &'static str, lost| {
            let best = (term.len() * 26 + 18) as u16;
            Nearness::new(term.as_bytes(), best - lost).unwrap()
        };
        assert!(nearness("libe", 14).may_match(b"libae"));
        assert!(nearness("libe", 14).may_match(b"libabc-e"));
        assert!(!nearness("libe", 14).may_match(b"libabce"));
        assert!(!nearness("libe", 14).may_match(b"alibe-x"));
        assert!(Nearness::new("é".as_bytes(), 0).is_none());
        assert!(Nearness::new(b"libe", 0).is_none(), "a gap may take all that a letter scored");
    }
}
