//! Versions of Java: <https://openjdk.org/jeps/322>, `$VNUM(-$PRE)?(\+$BUILD(-$OPT)?)?`, and how Java 8 and older were
//! spelled (`8u412-b08`, `1.8.0_412-b08`), which stays their canonical spelling.

use super::{Key, Numbers, Parts, Plain, Stage, plain};

/// The last line whose versions are spelled in the old way.
const LAST_OLD: u64 = 8;

/// Vendors' names around a version: sdkman writes them behind, jenv and mise in front.
const BEFORE: [&str; 8] = ["temurin64-", "temurin-", "openjdk64-", "openjdk-", "adoptopenjdk-", "java-", "jdk-", "jdk"];
const BEHIND: [&str; 1] = ["-tem"];
const OTHERS: [&str; 30] = [
    "zulu",
    "corretto",
    "amzn",
    "liberica",
    "librca",
    "graalvm",
    "graalce",
    "graal",
    "oracle",
    "microsoft",
    "ms",
    "sapmchn",
    "sapmachine",
    "semeru",
    "sem",
    "dragonwell",
    "albba",
    "kona",
    "kotlin",
    "mandrel",
    "nik",
    "jbr",
    "bisheng",
    "bsg",
    "trava",
    "gluon",
    "gln",
    "zulufx",
    "fx",
    "adpt",
];

fn bare(text: &str) -> Result<&str, String> {
    let text = BEFORE.iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text);
    let text = BEHIND.iter().find_map(|name| text.strip_suffix(name)).unwrap_or(text);
    let words = text.split(|letter: char| !letter.is_ascii_alphabetic());
    match words.into_iter().find(|word| OTHERS.contains(word)) {
        Some(vendor) => Err(format!("{vendor} is a vendor whose builds are not fetched here, only Temurin's are")),
        None => Ok(text),
    }
}

/// The numbers, whether spelled in the old way or in the new one, and what follows them.
fn numbers(text: &str) -> Option<(Vec<u64>, &str)> {
    let (mut numbers, mut rest) = plain::leading(text)?;
    // 1.8.0_412 is 8u412.
    if numbers.len() > 1
        && numbers.first() == Some(&1)
        && numbers.get(1).is_some_and(|line| (2..=LAST_OLD).contains(line))
    {
        numbers.remove(0);
    }
    let update = if numbers.len() == 1 { rest.strip_prefix('u') } else { None };
    if let Some(update) = update.or_else(|| rest.strip_prefix('_')) {
        let end = update.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(update.len());
        let (digits, after) = update.split_at(end);
        // 1.8.0_05 had a zero in front.
        let (update, nothing) = plain::leading(digits.trim_start_matches('0'))?;
        if !nothing.is_empty() || numbers.len() > 2 {
            return None;
        }
        numbers.resize(2, 0);
        numbers.extend(update);
        rest = after;
    }
    Some((numbers, rest))
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "one looks like 21.0.4+7, 22-ea+36 or 8u412-b08".to_owned();
    let text = bare(text)?;
    let (mut numbers, rest) = numbers(text).ok_or_else(wanted)?;
    let (stage_text, build_text) = match (rest.split_once('+'), rest.strip_prefix("-b")) {
        (Some((stage, build)), _) => (stage, build),
        (None, Some(build)) if build.starts_with(|first: char| first.is_ascii_digit()) => {
            // Two digits at the least.
            ("", build.strip_prefix('0').filter(|digit| digit.starts_with(char::is_alphanumeric)).unwrap_or(build))
        }
        _ => (rest, ""),
    };
    // What follows the build tells nothing that is compared: `7-LTS`, and Adoptium's `7.0.LTS`.
    let build_text = build_text.trim_end_matches("LTS").trim_end_matches(['-', '.']);
    let mut build =
        if build_text.is_empty() { Vec::new() } else { plain::only(build_text, 1, 3).ok_or_else(wanted)? };
    while build.len() > 1 && build.last() == Some(&0) {
        build.pop();
    }
    let stage_text = match stage_text.strip_prefix('-') {
        None if stage_text.is_empty() => "",
        // The vendor's name again, where something else follows it.
        Some("LTS" | "tem") => "",
        Some(stage) if !stage.is_empty() => stage,
        _ => return Err(wanted()),
    };
    let stage = match stage_text {
        "" => Stage::Final,
        text if text.chars().all(|letter| letter.is_ascii_alphanumeric()) => Stage::before(text).ok_or_else(wanted)?,
        _ => return Err(wanted()),
    };
    // Zeros at the end are none of a version's: 21 is what others call 21.0.0.
    numbers.truncate(numbers.iter().rposition(|&number| number != 0).map_or(1, |last| last + 1));
    let line = numbers.first().copied().unwrap_or(0);
    let update = numbers.get(2).copied().unwrap_or(0);
    let is_old =
        line <= LAST_OLD && stage_text.is_empty() && numbers.len() <= 3 && numbers.get(1).is_none_or(|n| *n == 0);
    let built = plain::join(&build);
    let spelling = if is_old && update > 0 {
        let build = if build.is_empty() { String::new() } else { format!("-b{built:0>2}") };
        format!("{line}u{update}{build}")
    } else {
        let stage = if stage_text.is_empty() { String::new() } else { format!("-{stage_text}") };
        let build = if build.is_empty() { String::new() } else { format!("+{built}") };
        format!("{}{stage}{build}", plain::join(&numbers))
    };
    let key = Plain::of(&numbers, stage, &build);
    Ok(Parts {
        spelling,
        flavour: "",
        numbers,
        is_prerelease: key.is_prerelease(),
        key: Key::Plain(key),
        is_ambiguous: false,
    })
}

/// All numbers may be there: the build is what is left open.
pub(super) fn partial(text: &str) -> Option<Numbers> {
    let text = bare(text).ok()?;
    if let Some(numbers) = plain::only(text, 1, 8).filter(|numbers| numbers.first() != Some(&1)) {
        return Some(Numbers { flavour: "", numbers });
    }
    let (numbers, rest) = numbers(text)?;
    rest.is_empty().then_some(Numbers { flavour: "", numbers })
}
