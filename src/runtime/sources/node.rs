//! Node.js, from its `dist` folder: <https://github.com/nodejs/node/blob/main/README.md#verifying-binaries>.

use async_trait::async_trait;
use serde::Deserialize;

use super::common::{self, MAX_INDEX};
use super::{At, Check, Part, Placing, Source, SourceError};
use crate::runtime::fetch::Download;
use crate::runtime::unpack::Format;
use crate::runtime::{Arch, Extras, Host, Libc, Native, Release, Runtime, Version};

pub const DEFAULT_BASE: &str = "https://nodejs.org/dist";

/// Where builds for musl are, in the same layout. Nobody signs them.
pub const MUSL_BASE: &str = "https://unofficial-builds.nodejs.org/download/release";

#[derive(Debug, Clone, Copy)]
pub struct Node;

/// One of `index.json`.
#[derive(Debug, Deserialize)]
struct Entry {
    /// With a `v`.
    version: String,
    date: Option<String>,
    /// What was built, such as `linux-x64`.
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    lts: Lts,
}

/// `false`, or the name of a line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Lts {
    Named(String),
    Not(#[expect(dead_code)] bool),
}

impl Default for Lts {
    fn default() -> Self {
        Self::Not(false)
    }
}

/// What builds for the host are called.
fn build(host: Host) -> &'static str {
    match (host.arch, host.libc) {
        (Arch::X86_64, Libc::Glibc) => "linux-x64",
        (Arch::X86_64, Libc::Musl) => "linux-x64-musl",
        (Arch::Aarch64, Libc::Glibc) => "linux-arm64",
        (Arch::Aarch64, Libc::Musl) => "linux-arm64-musl",
    }
}

fn releases(url: &str, index: &[u8], host: Host) -> Result<Vec<Release>, SourceError> {
    let entries: Vec<Entry> = common::json(url, index)?;
    let here = entries.into_iter().filter(|entry| entry.files.iter().any(|file| file == build(host)));
    Ok(here.filter_map(release).collect())
}

/// `None`: it is named as no version is.
fn release(entry: Entry) -> Option<Release> {
    let text = entry.version.strip_prefix('v')?;
    let version = common::is_plain_name(text).then(|| Version::parse(&Runtime::Native(Native::Node), text).ok())??;
    let lts = match entry.lts {
        Lts::Named(name) => Some(name.to_ascii_lowercase()).filter(|name| common::is_plain_name(name)),
        Lts::Not(_) => None,
    };
    // Nightly builds and candidates have a tail: `v21.0.0-rc.1`.
    let is_prerelease = text.contains('-');
    Some(Release { version, lts, is_prerelease, date: entry.date.as_deref().and_then(common::day) })
}

/// The archive for the host that is listed, the smaller one if it is.
fn archive(listing: &[u8], version: &str, host: Host) -> Result<Option<(String, Format, [u8; 32])>, SourceError> {
    for (ending, format) in [("tar.xz", Format::TarXz), ("tar.gz", Format::TarGz)] {
        let name = format!("node-v{version}-{}.{ending}", build(host));
        if let Some(sum) = common::listed(listing, &name)? {
            return Ok(Some((name, format, sum)));
        }
    }
    Ok(None)
}

#[async_trait]
impl Source for Node {
    fn native(&self) -> Native {
        Native::Node
    }

    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let url = format!("{}/index.json", at.base);
        let index = at.http.index(&url, MAX_INDEX, at.fresh).await?;
        releases(&url, &index, at.host)
    }

    async fn parts(&self, at: &At<'_>, release: &Release, extras: &Extras) -> Result<Vec<Part>, SourceError> {
        common::without(extras, Native::Node)?;
        let version = release.version.as_str();
        let folder = format!("{}/v{version}", at.base);
        let plain = format!("{folder}/SHASUMS256.txt");
        let (listing, check) = if at.base == MUSL_BASE {
            // There is no signature that could be missing.
            let listing = common::small(at, &plain, common::MAX_LISTING).await?;
            (listing.unwrap_or_default(), None)
        } else {
            let what = format!("node {version}");
            let (listing, check) = common::listing(at, &what, &format!("{plain}.asc"), &plain).await?;
            (listing, Some(check))
        };
        let Some((name, format, sum)) = archive(&listing, version, at.host)? else {
            let version = version.to_owned();
            return Err(SourceError::NotOffered { runtime: Native::Node, version, host: at.host });
        };
        let download = Download { url: format!("{folder}/{name}"), name, size: None, sha256: Some(sum) };
        let checks = [Check::Checksum { listed_in: plain }].into_iter().chain(check).collect();
        Ok(vec![Part { download, format, place: Placing::Strip(1), checks }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::verify::sha256_of;

    const GLIBC: Host = Host { arch: Arch::X86_64, libc: Libc::Glibc };
    const ARM: Host = Host { arch: Arch::Aarch64, libc: Libc::Glibc };
    const MUSL: Host = Host { arch: Arch::X86_64, libc: Libc::Musl };

    const INDEX: &str = r#"[
     {"version":"v23.1.0","date":"2024-10-24","files":["aix-ppc64","headers","linux-arm64","linux-x64","src","win-x64-zip"],
      "npm":"10.9.0","v8":"12.9.202.28","uv":"1.49.1","zlib":"1.3.0.1","openssl":"3.0.15","modules":"131","lts":false,"security":false},
     {"version":"v22.11.0","date":"2024-10-29","files":["linux-x64","src"],"npm":"10.9.0","lts":"Jod","security":false},
     {"version":"v24.0.0-rc.1","date":"soon","files":["linux-x64","linux-x64-musl"],"lts":"../x","security":true},
     {"version":"23.0.0","files":["linux-x64"]},
     {"version":"v../../x","files":["linux-x64"],"lts":false},
     {"version":"v0.1.14","date":"2011-08-26","files":["src"],"v8":"1.3.15.0","lts":false,"security":false}]"#;

    fn version(text: &str) -> Version {
        Version::parse(&Runtime::Native(Native::Node), text).unwrap()
    }

    #[test]
    fn what_was_built_for_the_host_is_offered_with_its_line() {
        let got = releases("u", INDEX.as_bytes(), GLIBC).unwrap();
        let date = |text: &str| Some(text.to_owned());
        assert_eq!(
            got,
            [
                Release { date: date("2024-10-24"), ..Release::of(version("23.1.0")) },
                Release { date: date("2024-10-29"), lts: Some("jod".to_owned()), ..Release::of(version("22.11.0")) },
                Release { is_prerelease: true, ..Release::of(version("24.0.0-rc.1")) },
            ]
        );
        let on = |host| releases("u", INDEX.as_bytes(), host).unwrap().len();
        assert_eq!((on(ARM), on(MUSL)), (1, 1));
        assert!(matches!(releases("u", b"{}", GLIBC), Err(SourceError::Unreadable { .. })));
    }

    #[test]
    fn the_smaller_archive_is_taken_when_it_is_listed() {
        let sums = ["1", "2", "3", "4"].map(|digit| digit.repeat(64));
        let listing = format!(
            "{}  node-v22.11.0-linux-x64.tar.gz\n{}  node-v22.11.0-linux-x64.tar.xz\n{}  node-v22.11.0-linux-arm64.tar.gz\n\
             {}  node-v22.11.0-darwin-x64.tar.xz\n",
            sums[0], sums[1], sums[2], sums[3]
        );
        let got = |host| archive(listing.as_bytes(), "22.11.0", host).unwrap();
        let sum = |at: usize| sha256_of(&sums[at]).unwrap();
        assert_eq!(got(GLIBC), Some(("node-v22.11.0-linux-x64.tar.xz".to_owned(), Format::TarXz, sum(1))));
        assert_eq!(got(ARM), Some(("node-v22.11.0-linux-arm64.tar.gz".to_owned(), Format::TarGz, sum(2))));
        assert_eq!(got(MUSL), None);
        let twice = format!("{}  node-v1.0.0-linux-x64.tar.gz\n{}  node-v1.0.0-linux-x64.tar.gz\n", sums[0], sums[1]);
        assert!(archive(twice.as_bytes(), "1.0.0", GLIBC).is_err());
    }
}
