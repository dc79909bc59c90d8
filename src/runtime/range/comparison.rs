//! Comparisons such as `>=1.21`: with RubyGems' meaning for Ruby (`> 3.1` has 3.1.1 in it), else with npm's (it has not).

use crate::runtime::version::{Key, Plain, Stage, leading};
use crate::runtime::{Native, Runtime, Version};

/// Limits of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    low: Option<Limit>,
    high: Option<Limit>,
    /// Everything but what is between the limits.
    is_negated: bool,
    /// The pre-release that it names.
    names: Option<Plain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    at: Plain,
    is_in: bool,
}

impl Comparison {
    pub(super) fn admits(&self, version: &Plain) -> bool {
        let above = self.low.as_ref().is_none_or(|low| *version > low.at || (low.is_in && *version == low.at));
        let below = self.high.as_ref().is_none_or(|high| *version < high.at || (high.is_in && *version == high.at));
        (above && below) != self.is_negated
    }

    pub(super) fn names_prerelease_of(&self, version: &Plain) -> bool {
        self.names.as_ref().is_some_and(|named| named.has_numbers_of(version))
    }
}

/// All comparisons of `text`, at most `most`; commas and spaces are between them.
pub(super) fn parse(runtime: &Runtime, text: &str, most: usize) -> Option<Vec<Comparison>> {
    let mut all = Vec::new();
    let is_between = [',', ' '];
    let mut rest = text.trim_matches(is_between);
    while !rest.is_empty() {
        let operator_end = rest.find(|letter: char| !"<>=~^!".contains(letter)).unwrap_or(rest.len());
        let (operator, after) = rest.split_at(operator_end);
        let after = after.trim_start();
        let end = after.find(is_between).unwrap_or(after.len());
        let (version, after) = after.split_at(end);
        if all.len() == most {
            return None;
        }
        all.push(one(runtime, operator, version)?);
        rest = after.trim_start_matches(is_between);
    }
    (!all.is_empty()).then_some(all)
}

fn one(runtime: &Runtime, operator: &str, text: &str) -> Option<Comparison> {
    let is_gem = *runtime == Runtime::Native(Native::Ruby);
    if text == "*" && matches!(operator, "" | "=" | "==" | ">=") {
        return Some(between(None, None));
    }
    let (numbers, rest) = leading(text.strip_prefix("go").or_else(|| text.strip_prefix('v')).unwrap_or(text))?;
    let wildcard = [".x", ".*"].iter().any(|end| rest.ends_with(end));
    let bare = rest.trim_end_matches(".x").trim_end_matches(".*");
    let is_java = *runtime == Runtime::Native(Native::Java);
    // Java's build is left open by almost everybody.
    let is_partial = bare.is_empty() && (numbers.len() < 3 || is_java);
    let at = if bare.is_empty() {
        Plain::of(&numbers, Stage::Final, &[])
    } else {
        let version = Version::parse(runtime, text).ok().filter(|version| version.flavour().is_empty())?;
        let Key::Plain(key) = version.key() else { return None };
        key.clone()
    };
    let names = at.is_prerelease().then(|| at.clone());
    // The first version whose numbers up to `kept` are higher.
    let above = |kept: usize| {
        let mut numbers: Vec<u64> = numbers.iter().copied().take(kept.max(1)).collect();
        if let Some(last) = numbers.last_mut() {
            *last += 1;
        }
        Limit { at: Plain::of(&numbers, Stage::Lowest, &[]), is_in: false }
    };
    let lowest = || {
        let stage = if names.is_some() { at.clone() } else { Plain::of(&numbers, Stage::Lowest, &[]) };
        Limit { at: stage, is_in: true }
    };
    let exactly = |is_in: bool| Limit { at: at.clone(), is_in };
    let all = numbers.len();
    let wide = (is_partial && !is_gem) || wildcard;
    let comparison = match operator {
        "" | "=" | "==" | "!=" => {
            // A bare `3.3` is any 3.3, with RubyGems too: no Ruby is called so.
            let is_line = wide || (is_partial && operator.is_empty());
            let (low, high) = if is_line { (lowest(), above(all)) } else { (exactly(true), exactly(true)) };
            Comparison { is_negated: operator == "!=", ..between(Some(low), Some(high)) }
        }
        ">=" => between(Some(if wide { lowest() } else { exactly(true) }), None),
        ">" if wide => between(Some(Limit { is_in: true, ..above(all) }), None),
        ">" => between(Some(exactly(false)), None),
        "<" if names.is_none() => between(None, Some(Limit { is_in: false, ..lowest() })),
        "<" => between(None, Some(exactly(false))),
        "<=" if wide => between(None, Some(above(all))),
        "<=" => between(None, Some(exactly(true))),
        "^" => {
            let kept = numbers.iter().position(|&number| number != 0).unwrap_or(all - 1) + 1;
            between(Some(lowest()), Some(above(kept)))
        }
        "~" => between(Some(lowest()), Some(above(2))),
        // 3.3 → below 4, 3.3.1 → below 3.4.
        "~>" => between(Some(lowest()), Some(above(all - 1))),
        _ => return None,
    };
    Some(Comparison { names, ..comparison })
}

fn between(low: Option<Limit>, high: Option<Limit>) -> Comparison {
    Comparison { low, high, is_negated: false, names: None }
}
