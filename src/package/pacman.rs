//! pacman's package files by their names, and its order of versions.

use std::cmp::Ordering;

/// What the name of a package file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFileName {
    pub name: String,
    /// With the release of the package.
    pub version: String,
    pub arch: String,
}

impl PackageFileName {
    /// Reads `NAME-VERSION-RELEASE-ARCH.pkg.tar`, which an ending of the compression's may follow: versions, releases and
    /// architectures have no hyphens (PKGBUILD(5)). `None` for signatures, unfinished downloads and all else.
    pub fn parse(file: &str) -> Option<Self> {
        let (stem, ending) = file.split_once(".pkg.tar")?;
        let compressed = |ending: &str| !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !(ending.is_empty()
            || ending.strip_prefix('.').is_some_and(|ending| compressed(ending) && ending != "sig" && ending != "part"))
        {
            return None;
        }
        let mut parts = stem.rsplitn(4, '-');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (arch, release, version, name) = (part()?, part()?, part()?, part()?);
        Some(Self { name: name.to_owned(), version: format!("{version}-{release}"), arch: arch.to_owned() })
    }
}

/// The order of versions that vercmp(8) tells: by epoch, version and release, the last only where both have one.
pub fn compare_versions(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let by_version = || compare_segments(one.1, other.1);
    let by_release = || match (one.2, other.2) {
        (Some(one), Some(other)) => compare_segments(one, other),
        _ => Ordering::Equal,
    };
    compare_segments(one.0, other.0).then_with(by_version).then_with(by_release)
}

/// Epoch, version and release.
fn parts(text: &str) -> (&str, &str, Option<&str>) {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => {
            (if epoch.is_empty() { "0" } else { epoch }, rest)
        }
        _ => ("0", text),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Segment by segment: runs of digits are numbers and later than runs of letters; a longer separator is later.
fn compare_segments(one: &str, other: &str) -> Ordering {
    if one == other {
        return Ordering::Equal;
    }
    let (mut one, mut other) = (one, other);
    while !one.is_empty() && !other.is_empty() {
        let (after, after_other) = (after_separator(one), after_separator(other));
        let separators = (one.len() - after.len(), other.len() - after_other.len());
        (one, other) = (after, after_other);
        if one.is_empty() || other.is_empty() {
            break;
        }
        if separators.0 != separators.1 {
            return separators.0.cmp(&separators.1);
        }
        let number = one.starts_with(|first: char| first.is_ascii_digit());
        let ((segment, rest), (other_segment, other_rest)) = (segment(one, number), segment(other, number));
        if other_segment.is_empty() {
            return if number { Ordering::Greater } else { Ordering::Less };
        }
        let order = if number {
            let (digits, other_digits) = (segment.trim_start_matches('0'), other_segment.trim_start_matches('0'));
            digits.len().cmp(&other_digits.len()).then_with(|| digits.cmp(other_digits))
        } else {
            segment.cmp(other_segment)
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest, other_rest);
    }
    let letter = |text: &str| text.starts_with(|first: char| first.is_ascii_alphabetic());
    match (one.is_empty(), other.is_empty()) {
        (true, true) => Ordering::Equal,
        // What goes on with letters is a version before it, as 1.0rc1.
        (true, false) if !letter(other) => Ordering::Less,
        _ if letter(one) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn after_separator(text: &str) -> &str {
    text.trim_start_matches(|char: char| !char.is_ascii_alphanumeric())
}

/// The digits, or else the letters, that the text starts with, and the rest.
fn segment(text: &str, number: bool) -> (&str, &str) {
    let belongs = |char: char| if number { char.is_ascii_digit() } else { char.is_ascii_alphabetic() };
    let end = text.find(|char: char| !belongs(char)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_package_files_are_read_from_their_end() {
        let read =
            |file: &str| PackageFileName::parse(file).map(|found| [found.name, found.version, found.arch].join(" "));
        for (file, expected) in [
            ("gtk-2.0-1:3.4_a+b~1-2.1-x86_64.pkg.tar.zst", Some("gtk-2.0 1:3.4_a+b~1-2.1 x86_64")),
            ("a-1-1-any.pkg.tar", Some("a 1-1 any")),
            ("a-1-1-any.pkg.tar.zst.sig", None),
            ("a-1-1-any.pkg.tar.sig", None),
            ("a-1-1-any.pkg.tar.zst.part", None),
            ("a-1-1-any.pkg.tar.part", None),
            ("a-1-1.pkg.tar.zst", None),
            ("-1-1-any.pkg.tar", None),
            ("a--1-any.pkg.tar", None),
            ("a-1-1-any.zip", None),
            ("", None),
        ] {
            assert_eq!(read(file).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn versions_have_the_order_that_vercmp_documents() {
        // Of vercmp(8) and pacman's own tests, each older than the next.
        for row in [
            &["1.0a", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0", "1.0.a", "1.0.1"][..],
            &["1", "1.0", "1.1", "1.1.1", "1.2", "2.0", "3.0.0"],
            &["2.0-1", "1:1.0-1", "1:1.1-1", "2:0.1-1"],
            &["1.5-1", "1.5-2", "1.5.1-1", "1.5.2-1"],
            &["1.0_1", "1.0__1"],
        ] {
            for (at, one) in row.iter().enumerate() {
                for (to, other) in row.iter().enumerate() {
                    assert_eq!(compare_versions(one, other), at.cmp(&to), "{one} {other}");
                }
            }
        }
        for (one, other) in [("1.5", "1.5-1"), ("0:1.0", "1.0"), ("1.01", "1.1"), ("1.0", "1_0"), (":1", "1")] {
            assert_eq!(compare_versions(one, other), Ordering::Equal, "{one} {other}");
        }
    }
}
