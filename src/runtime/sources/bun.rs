//! Bun, from its releases on GitHub (<https://docs.github.com/rest/releases/releases>). Each has a listing of checksums that
//! is signed in the clear.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;

use super::common::{self, MAX_INDEX};
use super::{At, Check, Part, Placing, Source, SourceError};
use crate::runtime::fetch::Download;
use crate::runtime::unpack::Format;
use crate::runtime::verify::{VerifyError, sha256_of};
use crate::runtime::{Arch, Extras, Host, Libc, Native, Release, Runtime, Version};

pub const DEFAULT_BASE: &str = "https://api.github.com/repos/oven-sh/bun/releases";

/// Releases on a page.
const PAGE: usize = 100;

/// Pages that are asked for at most.
const PAGES: usize = 10;

const SIGNED: &str = "SHASUMS256.txt.asc";
const PLAIN: &str = "SHASUMS256.txt";

#[derive(Debug, Clone, Copy)]
pub struct Bun;

#[derive(Debug, Deserialize)]
struct Entry {
    /// `bun-v1.1.34`; `canary` is built anew all the time.
    tag_name: String,
    #[serde(default)]
    prerelease: bool,
    #[serde(default)]
    draft: bool,
    published_at: Option<String>,
    #[serde(default)]
    assets: Vec<Asset>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Asset {
    name: String,
    size: Option<u64>,
    /// `sha256:` and hexadecimal digits, as GitHub saw it; not for files of before June 2025.
    digest: Option<String>,
    #[serde(rename = "browser_download_url")]
    url: String,
}

impl Entry {
    fn version(&self) -> Option<Version> {
        let text = self.tag_name.strip_prefix("bun-v")?;
        common::is_plain_name(text).then(|| Version::parse(&Runtime::Native(Native::Bun), text).ok())?
    }

    fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }

    fn release(&self, archive: &str) -> Option<Release> {
        if self.draft || self.asset(archive).is_none() {
            return None;
        }
        let version = self.version()?;
        let is_prerelease = self.prerelease || version.as_str().contains('-');
        let date = self.published_at.as_deref().and_then(common::day);
        Some(Release { version, lts: None, is_prerelease, date })
    }
}

impl Asset {
    /// # Errors
    /// When it is said in a way that is not known.
    fn digest(&self) -> Result<Option<[u8; 32]>, SourceError> {
        let Some(text) = &self.digest else { return Ok(None) };
        let sum = text.strip_prefix("sha256:").and_then(sha256_of);
        let reason =
            || SourceError::Unreadable { url: self.name.clone(), reason: "its digest is no SHA-256".to_owned() };
        sum.ok_or_else(reason).map(Some)
    }
}

/// The archive for a machine. Programs for processors without AVX2 are slower and come apart.
fn archive(host: Host, avx2: bool) -> String {
    let arch = match host.arch {
        Arch::X86_64 => "x64",
        Arch::Aarch64 => "aarch64",
    };
    let libc = match host.libc {
        Libc::Glibc => "",
        Libc::Musl => "-musl",
    };
    let baseline = if host.arch == Arch::X86_64 && !avx2 { "-baseline" } else { "" };
    format!("bun-linux-{arch}{libc}{baseline}.zip")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

/// All pages, until one that is not full or says nothing new, as where a mirror gives the same one for all numbers.
async fn entries(at: &At<'_>) -> Result<Vec<Entry>, SourceError> {
    let mut entries: Vec<Entry> = Vec::new();
    for number in 1..=PAGES {
        let url = format!("{}?per_page={PAGE}&page={number}", at.base);
        let page: Vec<Entry> = match at.http.index(&url, MAX_INDEX, at.fresh).await {
            Ok(page) => common::json(&url, &page)?,
            Err(error) if number > 1 && common::is_end(&error, false) => break,
            Err(error) => return Err(error.into()),
        };
        let is_last = page.len() < PAGE;
        if !add(&mut entries, page) || is_last {
            break;
        }
    }
    Ok(entries)
}

/// Whether there was anything new.
fn add(known: &mut Vec<Entry>, page: Vec<Entry>) -> bool {
    let before = known.len();
    for entry in page {
        if !known.iter().any(|known| known.tag_name == entry.tag_name) {
            known.push(entry);
        }
    }
    known.len() > before
}

/// The address of a file of a release.
///
/// # Errors
/// When it leads elsewhere than files are fetched from.
fn address(asset: &Asset, base: &str) -> Result<String, SourceError> {
    if common::is_allowed(&asset.url, base) {
        return Ok(asset.url.clone());
    }
    let shown: String = asset.url.escape_debug().take(160).collect();
    Err(SourceError::Unreadable {
        url: base.to_owned(),
        reason: format!("it names {shown}, which is not fetched from"),
    })
}

/// The two checksums of a file, the listed one and the one that GitHub tells.
///
/// # Errors
/// [`VerifyError::Ambiguous`] when they differ.
fn agree(name: &str, listed: Option<[u8; 32]>, told: Option<[u8; 32]>) -> Result<Option<[u8; 32]>, SourceError> {
    match (listed, told) {
        (Some(listed), Some(told)) if listed != told => Err(VerifyError::Ambiguous(name.to_owned()).into()),
        (listed, told) => Ok(listed.or(told)),
    }
}

#[async_trait]
impl Source for Bun {
    fn native(&self) -> Native {
        Native::Bun
    }

    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let name = archive(at.host, has_avx2());
        Ok(entries(at).await?.iter().filter_map(|entry| entry.release(&name)).collect())
    }

    async fn parts(&self, at: &At<'_>, release: &Release, extras: &Extras) -> Result<Vec<Part>, SourceError> {
        common::without(extras, Native::Bun)?;
        let (name, version) = (archive(at.host, has_avx2()), release.version.as_str());
        let entries = entries(at).await?;
        let entry = entries.iter().find(|entry| !entry.draft && entry.version().as_ref() == Some(&release.version));
        let Some((entry, asset)) = entry.and_then(|entry| Some((entry, entry.asset(&name)?))) else {
            let version = version.to_owned();
            return Err(SourceError::NotOffered { runtime: Native::Bun, version, host: at.host });
        };
        let what = format!("bun {version}");
        let told = asset.digest()?;
        let (sum, checks) = match (entry.asset(SIGNED), entry.asset(PLAIN)) {
            (Some(signed), plain) => {
                let signed_url = address(signed, at.base)?;
                let plain = plain.map(|plain| address(plain, at.base)).transpose()?;
                // Older releases have the signed one only: what it says is not there without its signature then.
                let plain = plain.unwrap_or_else(|| signed_url.trim_end_matches(".asc").to_owned());
                let (listing, check) = common::listing(at, &what, &signed_url, &plain).await?;
                let sum = agree(&name, common::listed(&listing, &name)?, told)?;
                (sum, vec![Check::Checksum { listed_in: signed_url }, check])
            }
            (None, _) => {
                let check = common::unverified(at, &what, format!("the release has no {SIGNED}"))?;
                (told, vec![check])
            }
        };
        let checks = match sum {
            Some(_) => checks,
            None => vec![common::unverified(at, &what, format!("{name} is in no listing of checksums"))?],
        };
        let download = Download { url: address(asset, at.base)?, name, size: asset.size, sha256: sum };
        Ok(vec![Part { download, format: Format::Zip, place: Placing::Strip(1), checks }])
    }

    /// The archive has the program and nothing else, which is `bunx` too by another name.
    fn arrange(&self, root: &Path, _version: &Version) -> io::Result<()> {
        let (unpacked, bin) = (root.join("bun"), root.join("bin"));
        if !unpacked.symlink_metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive's bun is no file"));
        }
        DirBuilder::new().mode(0o755).create(&bin)?;
        std::fs::rename(unpacked, bin.join("bun"))?;
        symlink("bun", bin.join("bunx"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC: Host = Host { arch: Arch::X86_64, libc: Libc::Glibc };
    const BASE: &str = DEFAULT_BASE;

    fn page(text: &str) -> Vec<Entry> {
        common::json("u", text.as_bytes()).unwrap()
    }

    fn asset(name: &str) -> String {
        format!(
            r#"{{"url":"https://api.github.com/repos/oven-sh/bun/releases/assets/1","name":"{name}","size":36000000,
                "content_type":"application/zip","digest":null,
                "browser_download_url":"https://github.com/oven-sh/bun/releases/download/bun-v1.1.34/{name}"}}"#
        )
    }

    fn release(tag: &str, rest: &str, assets: &[&str]) -> String {
        let assets: Vec<String> = assets.iter().map(|name| asset(name)).collect();
        format!(
            r#"{{"url":"x","tag_name":"{tag}","name":"x","author":{{}},"published_at":"2024-11-02T14:59:35Z",{rest}
                "assets":[{}]}}"#,
            assets.join(",")
        )
    }

    #[test]
    fn releases_that_have_an_archive_for_the_machine_are_offered() {
        let (name, signed) = ("bun-linux-x64.zip", SIGNED);
        let text = format!(
            "[{},{},{},{},{},{}]",
            release("canary", r#""draft":false,"prerelease":true,"#, &[name]),
            release("bun-v1.1.34", r#""draft":false,"prerelease":false,"#, &[signed, name]),
            release("bun-v1.1.33", r#""draft":true,"#, &[name]),
            release("bun-v1.1.32", r#""prerelease":true,"#, &[name]),
            release("bun-v1.1.31", "", &["bun-linux-x64-baseline.zip", "bun-darwin-x64.zip"]),
            release("bun-v../x", "", &[name]),
        );
        let version = |text: &str| Version::parse(&Runtime::Native(Native::Bun), text).unwrap();
        let offered = |name: &str| page(&text).iter().filter_map(|entry| entry.release(name)).collect::<Vec<_>>();
        let date = Some("2024-11-02".to_owned());
        assert_eq!(
            offered(name),
            [
                Release { date: date.clone(), ..Release::of(version("1.1.34")) },
                Release { date: date.clone(), is_prerelease: true, ..Release::of(version("1.1.32")) },
            ]
        );
        assert_eq!(offered("bun-linux-x64-baseline.zip"), [Release { date, ..Release::of(version("1.1.31")) }]);
    }

    #[test]
    fn an_archive_is_for_a_processor_and_a_c_library() {
        let musl = Host { libc: Libc::Musl, ..GLIBC };
        let arm = Host { arch: Arch::Aarch64, libc: Libc::Musl };
        assert_eq!(archive(GLIBC, true), "bun-linux-x64.zip");
        assert_eq!(archive(GLIBC, false), "bun-linux-x64-baseline.zip");
        assert_eq!(archive(musl, true), "bun-linux-x64-musl.zip");
        assert_eq!(archive(musl, false), "bun-linux-x64-musl-baseline.zip");
        assert_eq!(archive(arm, false), "bun-linux-aarch64-musl.zip");
    }

    #[test]
    fn pages_end_where_nothing_new_is_said() {
        let mut known = Vec::new();
        let one = || page(&format!("[{}]", release("bun-v1.0.0", "", &[])));
        assert!(add(&mut known, one()));
        assert!(!add(&mut known, one()), "a mirror that gives the same page for all numbers");
        assert!(!add(&mut known, page("[]")));
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn files_come_from_where_the_index_may_send() {
        let entry = page(&format!("[{}]", release("bun-v1.1.34", "", &["bun-linux-x64.zip"]))).remove(0);
        let mut asset = entry.asset("bun-linux-x64.zip").unwrap().clone();
        assert_eq!(
            address(&asset, BASE).unwrap(),
            "https://github.com/oven-sh/bun/releases/download/bun-v1.1.34/bun-linux-x64.zip"
        );
        asset.url = "http://github.com/bun.zip".to_owned();
        assert!(matches!(address(&asset, BASE), Err(SourceError::Unreadable { .. })));
    }

    #[test]
    fn the_listing_and_the_digest_have_to_agree() {
        let (one, two) = ([1; 32], [2; 32]);
        assert_eq!(agree("a", Some(one), Some(one)).unwrap(), Some(one));
        assert_eq!(agree("a", Some(one), None).unwrap(), Some(one));
        assert_eq!(agree("a", None, None).unwrap(), None);
        assert!(matches!(agree("a", Some(one), Some(two)), Err(SourceError::Verify(VerifyError::Ambiguous(_)))));
        let digest = |text: Option<&str>| Asset {
            name: "a".to_owned(),
            size: None,
            digest: text.map(str::to_owned),
            url: String::new(),
        };
        assert_eq!(digest(Some(&format!("sha256:{}", "01".repeat(32)))).digest().unwrap(), Some(one));
        assert_eq!(digest(None).digest().unwrap(), None);
        assert!(digest(Some("md5:00")).digest().is_err());
    }

    #[test]
    fn bun_is_in_bin_and_is_bunx_too() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("bun"), "program").unwrap();
        let version = Version::parse(&Runtime::Native(Native::Bun), "1.1.34").unwrap();
        Bun.arrange(root.path(), &version).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("bin/bunx")).unwrap(), "program");
        assert_eq!(std::fs::read_link(root.path().join("bin/bunx")).unwrap(), Path::new("bun"));
        let mut names: Vec<_> =
            std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bin"]);

        let other = tempfile::tempdir().unwrap();
        symlink("/bin/true", other.path().join("bun")).unwrap();
        assert!(Bun.arrange(other.path(), &version).is_err());
    }
}
