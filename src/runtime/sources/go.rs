//! Go: the list of downloads is <https://go.dev/dl/?mode=json&include=all>; beside each archive lies its signature
//! (<https://github.com/golang/go/issues/14739>).

use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;

use super::common::{self, MAX_INDEX, MAX_SIGNATURE};
use super::{At, Check, Part, Placing, Source, SourceError, Told};
use crate::runtime::fetch::Download;
use crate::runtime::unpack::Format;
use crate::runtime::verify::sha256_of;
use crate::runtime::{Arch, Extras, Host, Native, Release, Runtime, Version};

pub const DEFAULT_BASE: &str = "https://go.dev/dl";

#[derive(Debug, Clone, Copy)]
pub struct Go;

#[derive(Debug, Deserialize)]
struct Entry {
    /// `go1.21.0`, `go1.22rc1`.
    version: String,
    #[serde(default)]
    files: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    filename: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    arch: String,
    /// Empty for the oldest.
    #[serde(default)]
    sha256: String,
    size: Option<u64>,
    /// `archive`, `installer` or `source`.
    #[serde(default)]
    kind: String,
}

/// The same archives run with musl: what they hold is linked statically.
fn arch(host: Host) -> &'static str {
    match host.arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
    }
}

impl Entry {
    fn version(&self) -> Option<Version> {
        let text = self.version.strip_prefix("go")?;
        common::is_plain_name(text).then(|| Version::parse(&Runtime::Native(Native::Go), text).ok())?
    }

    /// The archive for the host, named as all are.
    fn archive(&self, host: Host) -> Option<&Listed> {
        let name = format!("{}.linux-{}.tar.gz", self.version, arch(host));
        self.files.iter().find(|file| {
            file.filename == name && file.kind == "archive" && file.os == "linux" && file.arch == arch(host)
        })
    }
}

fn entries(url: &str, index: &[u8]) -> Result<Vec<Entry>, SourceError> {
    common::json(url, index)
}

fn releases(entries: &[Entry], host: Host) -> Vec<Release> {
    let here = entries.iter().filter(|entry| entry.archive(host).is_some());
    here.filter_map(|entry| {
        let version = entry.version()?;
        // `1.22rc1`, `1.22beta2`. What the list calls stable is what is supported today.
        let is_prerelease = version.as_str().contains(|letter: char| letter.is_ascii_alphabetic());
        Some(Release { is_prerelease, ..Release::of(version) })
    })
    .collect()
}

fn find<'a>(entries: &'a [Entry], version: &Version, host: Host) -> Option<&'a Listed> {
    entries.iter().find(|entry| entry.version().as_ref() == Some(version))?.archive(host)
}

fn url(base: &str) -> String {
    format!("{base}/?mode=json&include=all")
}

#[async_trait]
impl Source for Go {
    fn native(&self) -> Native {
        Native::Go
    }

    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let url = url(at.base);
        let index = at.http.index(&url, MAX_INDEX, at.fresh).await?;
        Ok(releases(&entries(&url, &index)?, at.host))
    }

    fn version_in(&self, root: &Path) -> Told {
        let text = std::fs::read_to_string(root.join("VERSION")).unwrap_or_default();
        match text.lines().next().and_then(|line| line.strip_prefix("go")) {
            Some(version) => Told::Version(version.trim().to_owned()),
            None => Told::Missing("VERSION"),
        }
    }

    async fn parts(&self, at: &At<'_>, release: &Release, extras: &Extras) -> Result<Vec<Part>, SourceError> {
        common::without(extras, Native::Go)?;
        let index_url = url(at.base);
        let entries = entries(&index_url, &at.http.index(&index_url, MAX_INDEX, at.fresh).await?)?;
        let version = release.version.as_str();
        let Some(file) = find(&entries, &release.version, at.host) else {
            return Err(SourceError::NotOffered { runtime: Native::Go, version: version.to_owned(), host: at.host });
        };
        let url = format!("{}/{}", at.base, file.filename);
        let mut checks = Vec::new();
        let sha256 = match file.sha256.as_str() {
            // The signature vouches for the archive without it.
            "" => None,
            text => {
                let reason =
                    || SourceError::Unreadable { url: index_url.clone(), reason: "a sha256 is none".to_owned() };
                checks.push(Check::Checksum { listed_in: index_url.clone() });
                Some(sha256_of(text).ok_or_else(reason)?)
            }
        };
        let from = format!("{url}.asc");
        checks.push(match common::small(at, &from, MAX_SIGNATURE).await? {
            Some(signature) => Check::Detached { signature, from },
            None => common::unverified(at, &format!("go {version}"), format!("{from} is not there"))?,
        });
        let download = Download { url, name: file.filename.clone(), size: file.size, sha256 };
        Ok(vec![Part { download, format: Format::TarGz, place: Placing::Strip(1), checks }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Libc;

    const INDEX: &str = r#"[
     {"version": "go1.23.3", "stable": true, "files": [
      {"filename": "go1.23.3.src.tar.gz", "os": "", "arch": "", "version": "go1.23.3",
       "sha256": "8d6a77332487557c6afa2421131b50f83db4ae3c579c3bc72e670ee1f6968599", "size": 28135000, "kind": "source"},
      {"filename": "go1.23.3.linux-amd64.tar.gz", "os": "linux", "arch": "amd64", "version": "go1.23.3",
       "sha256": "a0afb9744c00648bafb1b90b4aba5bdb86f424f02f9275399ce0c20b93a2c3a8", "size": 73645095, "kind": "archive"},
      {"filename": "go1.23.3.windows-amd64.msi", "os": "windows", "arch": "amd64", "version": "go1.23.3",
       "sha256": "11", "size": 1, "kind": "installer"}]},
     {"version": "go1.24rc1", "stable": false, "files": [
      {"filename": "go1.24rc1.linux-amd64.tar.gz", "os": "linux", "arch": "amd64", "version": "go1.24rc1",
       "sha256": "706533ac1ae3b92ed99d23f3f1a4f8c0a1b6c7e61c61f0b4e9c4a52c4d6d1e5a", "size": 7, "kind": "archive"}]},
     {"version": "go1.5", "stable": false, "files": [
      {"filename": "go1.5.linux-amd64.tar.gz", "os": "linux", "arch": "amd64", "version": "go1.5",
       "sha256": "", "size": 7, "kind": "archive"},
      {"filename": "go1.5.linux-arm64.tar.gz", "os": "linux", "arch": "arm64", "version": "go1.5", "kind": "installer"}]},
     {"version": "go1.9", "stable": false, "files": [
      {"filename": "../../go1.9.linux-amd64.tar.gz", "os": "linux", "arch": "amd64", "version": "go1.9",
       "sha256": "", "size": 7, "kind": "archive"}]},
     {"version": "go1.9/../x", "stable": false, "files": [
      {"filename": "go1.9/../x.linux-amd64.tar.gz", "os": "linux", "arch": "amd64", "version": "go1.9",
       "sha256": "", "size": 7, "kind": "archive"}]}]"#;

    const GLIBC: Host = Host { arch: Arch::X86_64, libc: Libc::Glibc };
    const ARM: Host = Host { arch: Arch::Aarch64, libc: Libc::Glibc };

    fn version(text: &str) -> Version {
        Version::parse(&Runtime::Native(Native::Go), text).unwrap()
    }

    #[test]
    fn what_has_an_archive_for_the_host_is_offered() {
        let entries = entries("u", INDEX.as_bytes()).unwrap();
        let got = releases(&entries, GLIBC);
        assert_eq!(
            got,
            [
                Release::of(version("1.23.3")),
                Release { is_prerelease: true, ..Release::of(version("1.24rc1")) },
                Release::of(version("1.5")),
            ]
        );
        assert_eq!(releases(&entries, Host { libc: Libc::Musl, ..GLIBC }), got);
        assert_eq!(releases(&entries, ARM), []);
    }

    #[test]
    fn an_archive_is_found_by_its_version_and_named_as_all_are() {
        let entries = entries("u", INDEX.as_bytes()).unwrap();
        let file = find(&entries, &version("1.23.3"), GLIBC).unwrap();
        assert_eq!((file.filename.as_str(), file.size), ("go1.23.3.linux-amd64.tar.gz", Some(73_645_095)));
        assert!(find(&entries, &version("1.23.0"), GLIBC).is_none());
        assert!(find(&entries, &version("1.9"), GLIBC).is_none());
        assert!(find(&entries, &version("1.5"), ARM).is_none());
    }

    #[test]
    fn the_list_is_asked_for_in_full() {
        assert_eq!(url(DEFAULT_BASE), "https://go.dev/dl/?mode=json&include=all");
        assert!(matches!(entries("u", b"<html>"), Err(SourceError::Unreadable { .. })));
    }
}
