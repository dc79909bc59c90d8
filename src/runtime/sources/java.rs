//! Java: Temurin, by Adoptium's API version 3 (<https://api.adoptium.net/q/swagger-ui/>).

use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;

use super::common::{self, MAX_INDEX, MAX_SIGNATURE};
use super::{At, Check, Part, Placing, Source, SourceError, Told};
use crate::runtime::fetch::{Download, FetchError};
use crate::runtime::unpack::Format;
use crate::runtime::verify::sha256_of;
use crate::runtime::{Arch, Extras, Host, Libc, Native, Release, Runtime, Version};

pub const DEFAULT_BASE: &str = "https://api.adoptium.net";

/// Releases on a page; the API gives no more, whatever is asked.
const PAGE: usize = 20;

/// Pages of a line that are asked for at most.
const PAGES: usize = 10;

/// Lines that are asked for at most. There are 18 in 2025, and two more each year.
const LINES: usize = 100;

#[derive(Debug, Clone, Copy)]
pub struct Java;

/// `/v3/info/available_releases`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Lines {
    available_releases: Vec<u32>,
    #[serde(default)]
    available_lts_releases: Vec<u32>,
}

/// One of `/v3/assets/feature_releases/<line>/ga`.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    timestamp: Option<String>,
    version_data: VersionData,
    #[serde(default)]
    binaries: Vec<Binary>,
}

#[derive(Debug, Clone, Deserialize)]
struct VersionData {
    /// `21.0.5+11-LTS`, `1.8.0_432-b06`. The other spelling, `semver`, counts a fourth number into the build.
    openjdk_version: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Binary {
    package: Option<Package>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Package {
    name: String,
    link: String,
    size: Option<u64>,
    checksum: Option<String>,
    signature_link: Option<String>,
}

impl Entry {
    fn version(&self) -> Option<Version> {
        let text = &self.version_data.openjdk_version;
        common::is_plain_name(text).then(|| Version::parse(&Runtime::Native(Native::Java), text).ok())?
    }

    /// What was asked for is all that is there: a JDK for the host.
    fn package(&self) -> Option<&Package> {
        let mut packages = self.binaries.iter().filter_map(|binary| binary.package.as_ref());
        packages.find(|package| common::is_plain_name(&package.name) && package.name.ends_with(".tar.gz"))
    }

    fn release(&self, line: u32, lts: bool) -> Option<Release> {
        self.package()?;
        let date = self.timestamp.as_deref().and_then(common::day);
        Some(Release { lts: lts.then(|| line.to_string()), date, ..Release::of(self.version()?) })
    }
}

fn page_url(base: &str, host: Host, line: u32, page: usize) -> String {
    let arch = match host.arch {
        Arch::X86_64 => "x64",
        Arch::Aarch64 => "aarch64",
    };
    let os = match host.libc {
        Libc::Glibc => "linux",
        Libc::Musl => "alpine-linux",
    };
    format!(
        "{base}/v3/assets/feature_releases/{line}/ga?architecture={arch}&os={os}&image_type=jdk&jvm_impl=hotspot&\
         heap_size=normal&project=jdk&vendor=eclipse&page_size={PAGE}&page={page}"
    )
}

/// Everything of a line. The API has no page where nothing is, not even the first.
async fn line(at: &At<'_>, line: u32) -> Result<Vec<Entry>, SourceError> {
    let mut entries: Vec<Entry> = Vec::new();
    for number in 0..PAGES {
        let url = page_url(at.base, at.host, line, number);
        let page: Vec<Entry> = match at.http.index(&url, MAX_INDEX, at.fresh).await {
            Ok(page) => common::json(&url, &page)?,
            Err(error) if common::is_end(&error, number == 0) => break,
            Err(error) => return Err(error.into()),
        };
        let is_last = page.len() < PAGE;
        if !add(&mut entries, page) || is_last {
            break;
        }
    }
    Ok(entries)
}

/// Whether there was anything new. Of builds of the same version the first, which is the newest, stays.
fn add(known: &mut Vec<Entry>, page: Vec<Entry>) -> bool {
    let before = known.len();
    for entry in page {
        let name = &entry.version_data.openjdk_version;
        if !known.iter().any(|known| known.version_data.openjdk_version == *name) {
            known.push(entry);
        }
    }
    known.len() > before
}

async fn lines(at: &At<'_>) -> Result<Lines, SourceError> {
    let url = format!("{}/v3/info/available_releases", at.base);
    let mut lines: Lines = common::json(&url, &at.http.index(&url, MAX_INDEX, at.fresh).await?)?;
    lines.available_releases.truncate(LINES);
    Ok(lines)
}

/// The line of a version, and its number of updates: `21.0.5+11`, `8u432-b06`, `1.8.0_432-b06`.
fn line_and_update(version: &str) -> Option<(u32, u32)> {
    let digits =
        |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default().parse().ok();
    if let Some(old) = version.strip_prefix("1.8.0_").or_else(|| version.strip_prefix("8u")) {
        return Some((8, digits(old)?));
    }
    let update = version.split(['+', '-']).next()?.split('.').nth(2).and_then(digits);
    Some((digits(version)?, update.unwrap_or(0)))
}

/// Since July 2022 every archive is signed, and that of no version before.
fn is_signed(version: &str) -> bool {
    match line_and_update(version) {
        Some((8, update)) => update >= 342,
        Some((11, update)) => update >= 16,
        Some((17, update)) => update >= 4,
        Some((18, update)) => update >= 2,
        Some((line, _)) => line > 18,
        None => true,
    }
}

fn allowed(link: &str, base: &str) -> Result<(), SourceError> {
    if common::is_allowed(link, base) {
        return Ok(());
    }
    let shown: String = link.escape_debug().take(160).collect();
    Err(SourceError::Unreadable {
        url: base.to_owned(),
        reason: format!("it names {shown}, which is not fetched from"),
    })
}

#[async_trait]
impl Source for Java {
    fn native(&self) -> Native {
        Native::Java
    }

    /// Released versions; builds of what is not released yet are not among them.
    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let lines = lines(at).await?;
        let mut releases = Vec::new();
        let mut offline = None;
        // Several at once, since each takes a while to answer.
        for four in lines.available_releases.chunks(4) {
            let ask = async |which: usize| match four.get(which) {
                Some(&number) => (number, line(at, number).await),
                None => (0, Ok(Vec::new())),
            };
            let (a, b, c, d) = tokio::join!(ask(0), ask(1), ask(2), ask(3));
            for (number, entries) in [a, b, c, d] {
                let entries = match entries {
                    // Nothing is kept of a line that has nothing for this host.
                    Err(SourceError::Fetch(error @ FetchError::Offline(_))) => {
                        offline = Some(error);
                        continue;
                    }
                    entries => entries?,
                };
                let lts = lines.available_lts_releases.contains(&number);
                releases.extend(entries.iter().filter_map(|entry| entry.release(number, lts)));
            }
        }
        match offline {
            Some(error) if releases.is_empty() => Err(error.into()),
            _ => Ok(releases),
        }
    }

    fn version_in(&self, root: &Path) -> Told {
        let text = std::fs::read_to_string(root.join("release")).unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(Told::Version(line.trim().trim_matches('"').to_owned()))
        };
        value("JAVA_RUNTIME_VERSION").unwrap_or(Told::Nothing)
    }

    async fn parts(&self, at: &At<'_>, release: &Release, extras: &Extras) -> Result<Vec<Part>, SourceError> {
        common::without(extras, Native::Java)?;
        let version = release.version.as_str();
        let missing = || SourceError::NotOffered { runtime: Native::Java, version: version.to_owned(), host: at.host };
        let (number, _) = line_and_update(version).ok_or_else(missing)?;
        let entries = line(at, number).await?;
        let entry = entries.iter().find(|entry| entry.version().as_ref() == Some(&release.version));
        let package = entry.and_then(Entry::package).ok_or_else(missing)?;
        allowed(&package.link, at.base)?;
        let what = format!("java {version}");
        let mut checks = Vec::new();
        let sha256 = package.checksum.as_deref().and_then(sha256_of);
        checks.push(match sha256 {
            Some(_) => Check::Checksum { listed_in: page_url(at.base, at.host, number, 0) },
            None => common::unverified(at, &what, format!("{} has no SHA-256 in the index", package.name))?,
        });
        match &package.signature_link {
            Some(from) => {
                allowed(from, at.base)?;
                checks.push(match common::small(at, from, MAX_SIGNATURE).await? {
                    Some(signature) => Check::Detached { signature, from: from.clone() },
                    None => common::unverified(at, &what, format!("{from} is not there"))?,
                });
            }
            None if is_signed(version) => {
                checks.push(common::unverified(at, &what, format!("{} has no signature in the index", package.name))?);
            }
            None => {}
        }
        let (url, name) = (package.link.clone(), package.name.clone());
        let download = Download { url, name, size: package.size, sha256 };
        Ok(vec![Part { download, format: Format::TarGz, place: Placing::Strip(1), checks }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC: Host = Host { arch: Arch::X86_64, libc: Libc::Glibc };

    const PAGE_OF_21: &str = r#"[
     {"aqavit_results_link": "https://github.com/adoptium/temurin21-binaries/releases/download/x",
      "binaries": [{"architecture": "x64", "download_count": 1, "heap_size": "normal", "image_type": "jdk",
        "jvm_impl": "hotspot", "os": "linux", "project": "jdk", "scm_ref": "jdk-21.0.5+11_adopt",
        "package": {"checksum": "3c654d98404c073b8a7e66bffb27f4ae3e7ede47d13284c132d40a83144bfd8c",
          "checksum_link": "https://github.com/adoptium/temurin21-binaries/releases/download/jdk-21.0.5%2B11/OpenJDK21U-jdk_x64_linux_hotspot_21.0.5_11.tar.gz.sha256.txt",
          "download_count": 1,
          "link": "https://github.com/adoptium/temurin21-binaries/releases/download/jdk-21.0.5%2B11/OpenJDK21U-jdk_x64_linux_hotspot_21.0.5_11.tar.gz",
          "metadata_link": "x", "name": "OpenJDK21U-jdk_x64_linux_hotspot_21.0.5_11.tar.gz",
          "signature_link": "https://github.com/adoptium/temurin21-binaries/releases/download/jdk-21.0.5%2B11/OpenJDK21U-jdk_x64_linux_hotspot_21.0.5_11.tar.gz.sig",
          "size": 207000000}, "updated_at": "2024-10-16T12:00:00Z"}],
      "download_count": 1, "id": "x", "release_link": "x", "release_name": "jdk-21.0.5+11", "release_type": "ga",
      "timestamp": "2024-10-16T12:13:44Z", "updated_at": "2024-10-16T12:13:44Z", "vendor": "eclipse",
      "version_data": {"build": 11, "major": 21, "minor": 0, "openjdk_version": "21.0.5+11-LTS", "optional": "LTS",
        "security": 5, "semver": "21.0.5+11.0.LTS"}},
     {"binaries": [], "release_name": "jdk-21.0.4+7", "version_data": {"openjdk_version": "21.0.4+7-LTS"}},
     {"binaries": [{"package": {"name": "../x.tar.gz", "link": "https://a/x.tar.gz"}}],
      "version_data": {"openjdk_version": "21.0.3+9-LTS"}},
     {"binaries": [{"installer": {}}, {"package": {"name": "OpenJDK.msi", "link": "https://a/x.msi"}}],
      "version_data": {"openjdk_version": "21.0.2+13-LTS"}}]"#;

    fn page() -> Vec<Entry> {
        common::json("u", PAGE_OF_21.as_bytes()).unwrap()
    }

    #[test]
    fn what_has_an_archive_is_offered_with_its_line() {
        let version = Version::parse(&Runtime::Native(Native::Java), "21.0.5+11-LTS").unwrap();
        let plain = Release { date: Some("2024-10-16".to_owned()), ..Release::of(version) };
        let offered = |lts| page().iter().filter_map(|entry| entry.release(21, lts)).collect::<Vec<_>>();
        assert_eq!(offered(false), std::slice::from_ref(&plain));
        assert_eq!(offered(true), [Release { lts: Some("21".to_owned()), ..plain }]);
    }

    #[test]
    fn the_lines_and_which_of_them_last_are_read() {
        let text = br#"{"available_lts_releases": [8, 11, 17, 21], "available_releases": [8, 11, 16, 17, 18, 19, 20, 21, 22, 23],
            "most_recent_feature_release": 23, "most_recent_feature_version": 25, "most_recent_lts": 21, "tip_version": 25}"#;
        let lines: Lines = common::json("u", text).unwrap();
        assert_eq!(lines.available_lts_releases, [8, 11, 17, 21]);
        assert_eq!(lines.available_releases.last(), Some(&23));
        assert!(common::json::<Lines>("u", b"[]").is_err());
    }

    #[test]
    fn the_question_is_for_the_processor_and_the_c_library() {
        let url = page_url(DEFAULT_BASE, GLIBC, 21, 1);
        assert!(
            url.starts_with("https://api.adoptium.net/v3/assets/feature_releases/21/ga?architecture=x64&os=linux&")
        );
        assert!(url.ends_with("&page_size=20&page=1"));
        let musl = page_url("http://127.0.0.1", Host { arch: Arch::Aarch64, libc: Libc::Musl }, 8, 0);
        assert!(musl.contains("architecture=aarch64&os=alpine-linux&image_type=jdk"), "{musl}");
    }

    #[test]
    fn signatures_are_missing_only_from_what_was_never_signed() {
        for signed in
            ["8u342-b07", "1.8.0_432-b06", "11.0.16+8", "17.0.4.1+1", "17.0.13+11", "18.0.2+9", "19+36", "21+35"]
        {
            assert!(is_signed(signed), "{signed}");
        }
        for unsigned in ["8u332-b09", "1.8.0_302-b08", "11.0.15+10", "16.0.2+7", "17+35", "17.0.3+7", "18.0.1.1+2"] {
            assert!(!is_signed(unsigned), "{unsigned}");
        }
        assert!(is_signed("?"));
        assert_eq!(line_and_update("21.0.10+7-ea"), Some((21, 10)));
    }

    #[test]
    fn of_builds_of_a_version_the_first_stays_and_pages_end() {
        let mut known = Vec::new();
        assert!(add(&mut known, page()));
        let mut again = page().remove(0);
        again.binaries.clear();
        assert!(!add(&mut known, vec![again]));
        assert!(known[0].package().is_some());
    }

    #[test]
    fn files_come_from_where_the_index_may_send() {
        let package = page().remove(0).package().cloned().unwrap();
        assert!(allowed(&package.link, DEFAULT_BASE).is_ok());
        assert!(matches!(allowed("http://github.com/a.tar.gz", DEFAULT_BASE), Err(SourceError::Unreadable { .. })));
    }
}
