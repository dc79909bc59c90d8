//! `.SRCINFO`: what a PKGBUILD says about its packages, readable without running it.
//!
//! Written by whoever maintains the package, so nothing in it is believed that could become a path, an option or an escape
//! sequence. The packages that this is for are built from what makepkg reads out of the PKGBUILD itself, once somebody has
//! looked at that.

use thiserror::Error;

use super::is_package_name;

/// Name of the file in a package's repository.
pub const FILE: &str = ".SRCINFO";

/// Longest file that is read, bytes.
const MAX_BYTES: usize = 1 << 20;

/// Most keys that may have signed the sources: each is a question to somebody, and a request to a server.
const MAX_KEYS: usize = 32;

/// What is used of a `.SRCINFO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SrcInfo {
    pub base: String,
    /// `epoch:pkgver-pkgrel`, the epoch only where there is one.
    pub version: String,
    /// Names of the packages that are built, in their order.
    pub packages: Vec<String>,
    /// For every architecture; `name::` in front where the file is to be called otherwise.
    pub sources: Vec<String>,
    /// Fingerprints of the keys that may have signed the sources (`validpgpkeys`): upper case, 40 or 64 digits.
    pub keys: Vec<String>,
}

/// Why a `.SRCINFO` is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(".SRCINFO, line {line}: {reason}")]
pub struct Refused {
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    pub reason: String,
}

impl SrcInfo {
    /// Reads the `.SRCINFO` of the package base `base`.
    ///
    /// # Errors
    /// With the line that is not as makepkg writes it, or that names what it must not.
    pub fn read(bytes: &[u8], base: &str) -> Result<Self, Refused> {
        let whole = |reason: &str| Refused { line: 0, reason: reason.to_owned() };
        if bytes.len() > MAX_BYTES {
            return Err(whole("the file is longer than a megabyte"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| whole("the file is not UTF-8"))?;
        let mut info = Self::default();
        let (mut epoch, mut version, mut release) = (None, None, None);
        for (index, line) in text.lines().enumerate() {
            let refused = |reason: String| Refused { line: index + 1, reason };
            let line = line.trim_start_matches(['\t', ' ']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.contains(char::is_control) {
                return Err(refused("a control character".to_owned()));
            }
            let (key, value) = line
                .split_once('=')
                .map(|(key, value)| (key.trim_end(), value.trim()))
                .ok_or_else(|| refused("neither a comment nor `key = value`".to_owned()))?;
            check(key, value).map_err(refused)?;
            // Those of single architectures are `source_x86_64` and the like.
            match key.split_once('_').map_or(key, |(key, _)| key) {
                "pkgbase" if value != base => {
                    return Err(refused(format!("it is about {value}, and {base} was asked for")));
                }
                "pkgbase" if info.base.is_empty() => value.clone_into(&mut info.base),
                "pkgbase" => return Err(refused("a second pkgbase".to_owned())),
                _ if info.base.is_empty() => return Err(refused("pkgbase must come first".to_owned())),
                "pkgname" if info.packages.iter().any(|known| known == value) => {
                    return Err(refused(format!("{value} for the second time")));
                }
                "pkgname" => info.packages.push(value.to_owned()),
                "pkgver" => version = Some(value),
                "pkgrel" => release = Some(value),
                "epoch" => epoch = Some(value),
                "source" if !value.is_empty() => info.sources.push(value.to_owned()),
                "validpgpkeys" if info.keys.len() == MAX_KEYS => {
                    return Err(refused(format!("more than {MAX_KEYS} keys")));
                }
                "validpgpkeys" if !value.is_empty() => info.keys.push(value.to_ascii_uppercase()),
                _ => {}
            }
        }
        let (Some(version), Some(release)) = (version, release) else {
            return Err(whole("pkgver or pkgrel is missing"));
        };
        if info.packages.is_empty() {
            return Err(whole("it names no package"));
        }
        let epoch = epoch.filter(|epoch| *epoch != "0").map(|epoch| format!("{epoch}:")).unwrap_or_default();
        info.version = format!("{epoch}{version}-{release}");
        Ok(info)
    }

    /// Whether a source's signature is checked with [`SrcInfo::keys`], as makepkg decides it.
    pub fn is_signed(&self) -> bool {
        self.sources.iter().any(|source| {
            let address = source.split('#').next().unwrap_or_default();
            [".sig", ".sign", ".asc"].iter().any(|end| address.ends_with(end))
                || address.ends_with("?signed")
                || source.ends_with("?signed")
        })
    }

    /// The git repositories that the sources are from, and the branch or tag of each: `HEAD` where none is named. One of a
    /// fixed commit is none that moves.
    pub fn followed(&self) -> Vec<(String, String)> {
        let followed = self.sources.iter().filter_map(|source| {
            let address = source.split_once("::").map_or(source.as_str(), |(_, address)| address);
            let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
            let address = address.strip_suffix("?signed").unwrap_or(address);
            let address = address.strip_prefix("git+").or_else(|| address.starts_with("git://").then_some(address))?;
            let fragment = fragment.strip_suffix("?signed").unwrap_or(fragment);
            let reference = match fragment.split_once('=') {
                None => "HEAD".to_owned(),
                Some(("branch", branch)) => format!("refs/heads/{branch}"),
                Some(_) => return None,
            };
            Some((address.to_owned(), reference))
        });
        followed.collect()
    }
}

/// Whether a value is one that makepkg would take, and harmless where it is used.
fn check(key: &str, value: &str) -> Result<(), String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let sound = match key.split_once('_').map_or(key, |(key, _)| key) {
        "pkgbase" | "pkgname" => is_package_name(value),
        "pkgver" => {
            !value.is_empty()
                && !value.starts_with('-')
                && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:-<>=".contains(&byte))
        }
        "pkgrel" | "epoch" => digits(value),
        "install" | "changelog" => is_below(value),
        "source" => is_source(value),
        "depends" | "makedepends" | "checkdepends" | "provides" | "conflicts" | "replaces" => is_relation(value),
        "validpgpkeys" => {
            value.is_empty() || matches!(value.len(), 40 | 64) && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => true,
    };
    if sound { Ok(()) } else { Err(format!("{key} must not be `{value}`")) }
}

/// Whether the path stays in the folder that it is relative to.
fn is_below(path: &str) -> bool {
    !path.starts_with(['/', '-']) && path.split('/').all(|part| part != "..")
}

fn is_source(source: &str) -> bool {
    let (name, address) = source.split_once("::").map_or((None, source), |(name, address)| (Some(name), address));
    let named = name.is_none_or(|name| !name.is_empty() && !name.contains('/') && !name.starts_with(['-', '.']));
    let is_address = address.contains("://") && !address.starts_with('-');
    let reference = address.split_once('#').is_none_or(|(_, fragment)| !fragment.contains("=-"));
    // `ext::` and the like make git run programs.
    let runs_programs = address.split("://").next().is_some_and(|scheme| scheme.contains("ext"));
    named && reference && !runs_programs && (is_address || is_below(address)) && !address.contains(char::is_whitespace)
}

/// `name`, `name>=version`; also `libfoo.so=1-64` and an empty one, which takes away what the base has.
fn is_relation(relation: &str) -> bool {
    let name = relation.split(['<', '>', '=']).next().unwrap_or_default();
    relation.is_empty() || is_package_name(name) && relation.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "pkgbase = tool\n\tpkgdesc = A tool\n\tpkgver = 1.2\n\tpkgrel = 3\n\tepoch = 1\n\turl = https://e.org\n\
        \tarch = x86_64\n\tmakedepends = gcc>=4\n\tsource = tool-1.2.tar.gz::https://e.org/tool.tar.gz\n\tsource = tool.sig\n\
        \tsource_x86_64 = more\n\tvalidpgpkeys = aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd\n\n\
        pkgname = tool\n\tdepends = libtool.so=1-64\n\npkgname = tool-docs\n\tdepends = \n";

    #[test]
    fn what_makepkg_writes_is_read() {
        let info = SrcInfo::read(PLAIN.as_bytes(), "tool").expect("sound");
        assert_eq!((info.base.as_str(), info.version.as_str()), ("tool", "1:1.2-3"));
        assert_eq!(info.packages, ["tool", "tool-docs"]);
        assert_eq!(info.sources, ["tool-1.2.tar.gz::https://e.org/tool.tar.gz", "tool.sig", "more"]);
        assert_eq!(info.keys, ["AAAAAAAAAABBBBBBBBBBCCCCCCCCCCDDDDDDDDDD"]);
        assert!(info.is_signed());
    }

    #[test]
    fn what_could_become_a_path_an_option_or_an_escape_is_refused_with_its_line() {
        for (plain, hostile) in [
            ("pkgname = tool-docs", "pkgname = ../../etc"),
            ("pkgname = tool-docs", "pkgname = -rf"),
            ("pkgname = tool-docs", "pkgname = tool\u{1b}[2J"),
            ("pkgname = tool-docs", "pkgname = tool"),
            ("pkgver = 1.2", "pkgver = 1/../2"),
            ("pkgver = 1.2", "pkgver = --help"),
            ("pkgrel = 3", "pkgrel = 3;id"),
            ("pkgbase = tool\n", "pkgbase = other\n"),
            ("pkgbase = tool\n", "pkgname = tool\n"),
            ("source = tool.sig", "source = ../../../etc/shadow"),
            ("source = tool.sig", "source = /etc/shadow"),
            ("source = tool.sig", "source = x/y::https://e.org/a"),
            ("source = tool.sig", "source = git+ext::sh -c id"),
            ("source = tool.sig", "source = a::git+ext://sh"),
            ("source = tool.sig", "source = git+https://e.org/a#branch=--upload-pack=id"),
            ("makedepends = gcc>=4", "makedepends = --asroot"),
            ("validpgpkeys = aaaa", "validpgpkeys = --import"),
            ("arch = x86_64", "arch"),
        ] {
            let text = PLAIN.replace(plain, hostile);
            let line = PLAIN.split(plain).next().map_or(0, |before| before.matches('\n').count() + 1);
            let refused = SrcInfo::read(text.as_bytes(), "tool").expect_err(hostile);
            assert_eq!(refused.line, line, "{hostile:?}: {refused}");
        }
        assert_eq!(SrcInfo::read(b"pkgbase = tool\n", "tool").expect_err("no version").line, 0);
        let key = format!("\tvalidpgpkeys = {}\n", "a".repeat(40));
        let many = PLAIN.replacen("\tarch", &format!("{}\tarch", key.repeat(MAX_KEYS)), 1);
        assert!(SrcInfo::read(many.as_bytes(), "tool").expect_err("too many").reason.contains("keys"));
    }

    #[test]
    fn repositories_whose_newest_commit_is_built_are_told_from_fixed_ones() {
        let text = PLAIN.replace(
            "source = tool.sig",
            "source = a::git+https://e.org/a.git\n\tsource = git+https://e.org/b#branch=next\n\t\
             source = git+https://e.org/c#commit=0123\n\tsource = git+https://e.org/d#tag=v1\n\tsource = git+https://e.org/e?signed",
        );
        let info = SrcInfo::read(text.as_bytes(), "tool").expect("sound");
        let followed = info.followed();
        let told: Vec<_> = followed.iter().map(|(address, reference)| (address.as_str(), reference.as_str())).collect();
        assert_eq!(
            told,
            [("https://e.org/a.git", "HEAD"), ("https://e.org/b", "refs/heads/next"), ("https://e.org/e", "HEAD")]
        );
    }
}
