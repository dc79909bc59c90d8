//! Releases of a repository on GitHub (<https://docs.github.com/rest/releases/releases>).

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{At, Check, SourceError, common};
use crate::runtime::fetch::FetchError;
use crate::runtime::verify::listed;

/// Most bytes of a page. A build of CPython has a thousand files, and a page tells about each of them at length.
const MOST_PAGE: u64 = 128 << 20;

/// Most bytes of a list of checksums.
const MOST_LISTING: u64 = 8 << 20;

/// Most bytes of what is noted of releases.
const MOST_NOTES: u64 = 64 << 20;

/// After so long everything is read again: a release may have been taken back. Seconds.
const LASTING: u64 = 30 * 24 * 3600;

/// Files of a release come for some hours after it was published, those of a rebuild for some days. Seconds.
const SETTLED: u64 = 7 * 24 * 3600;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosted {
    #[serde(rename = "tag_name")]
    pub tag: String,
    #[serde(default)]
    pub draft: bool,
    #[serde(default)]
    pub prerelease: bool,
    /// `2024-09-03T12:00:00Z`.
    pub published_at: Option<String>,
    #[serde(default)]
    pub assets: Vec<Asset>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    pub name: String,
    pub size: Option<u64>,
    /// `sha256:` and hexadecimal digits: of what was uploaded, as GitHub saw it. None for files of before 2025.
    pub digest: Option<String>,
    #[serde(rename = "browser_download_url")]
    pub url: String,
}

impl Hosted {
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }

    fn with(mut self, wanted: impl Fn(&Asset) -> bool) -> Self {
        self.assets.retain(wanted);
        self
    }

    /// The day it came out.
    pub fn date(&self) -> Option<String> {
        self.published_at.as_deref().and_then(|time| time.get(..10)).map(str::to_owned)
    }
}

/// A page of releases.
///
/// # Errors
/// When it is none.
pub fn page(text: &[u8]) -> Result<Vec<Hosted>, serde_json::Error> {
    serde_json::from_slice(text)
}

/// How a repository's releases are read.
#[derive(Debug, Clone, Copy)]
pub struct Pages {
    /// Releases to a page.
    pub each: usize,
    /// Most pages.
    pub most: usize,
    /// What older releases have does not change. Where pages are megabytes this counts, as a new release moves all that are
    /// older from page to page, so that no validator of theirs lasts: what they have is noted, and pages are read only up to
    /// the first release that is in the notes.
    pub lasting: bool,
}

/// Releases, newest first, and no page after those that are `enough`. Of a release's files only those are told that are
/// `wanted`.
///
/// # Errors
/// When a page cannot be fetched or read.
pub async fn releases(
    at: &At<'_>,
    Pages { each, most, lasting }: Pages,
    wanted: impl Fn(&Asset) -> bool + Send,
    enough: impl Fn(&[Hosted]) -> bool + Send,
) -> Result<Vec<Hosted>, SourceError> {
    let name = format!("releases of {}", at.base);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let before = if lasting { at.http.noted(&name, MOST_NOTES).await } else { None };
    let before: Option<Notes> = before.and_then(|text| serde_json::from_slice(&text).ok());
    let mut known = before.as_ref().filter(|notes| now.saturating_sub(notes.begun) <= LASTING);
    let mut notes = Notes { begun: now, whole: false, releases: Vec::new() };
    let (mut number, mut is_new) = (0, false);
    while number < most {
        number += 1;
        let url = format!("{}?per_page={each}&page={number}", at.base);
        // The newest ones are kept with their validators; of the others the notes are.
        let text = match number {
            2.. if lasting => at.http.small(&url, MOST_PAGE).await,
            _ => at.http.index(&url, MOST_PAGE, at.fresh).await,
        };
        let page = match text {
            Ok(text) => page(&text).map_err(|error| SourceError::Unreadable { url, reason: error.to_string() })?,
            Err(FetchError::NotFound(_)) if number > 1 => {
                notes.whole = true;
                break;
            }
            Err(error @ FetchError::NotFound(_)) => return Err(error.into()),
            Err(error) => match &before {
                Some(before) => {
                    if !matches!(error, FetchError::Offline(_)) {
                        at.http.note_stale(&error);
                    }
                    notes.add(before.releases.iter().cloned());
                    return Ok(notes.releases);
                }
                None if number > 1 && common::is_end(&error, false) => return Ok(notes.releases),
                None => return Err(error.into()),
            },
        };
        is_new |= number > 1;
        notes.whole = page.len() < each;
        let last = page.last().map(|release| release.tag.clone());
        notes.add(page.into_iter().filter(|release| !release.draft).map(|release| release.with(&wanted)));
        if notes.whole || enough(&notes.releases) {
            break;
        }
        let meets = |known: &Notes| known.releases.iter().position(|release| Some(&release.tag) == last.as_ref());
        if let Some((older, position)) = known.and_then(|known| Some((known, meets(known)?))) {
            notes.add(older.releases.iter().skip(position).cloned());
            (notes.whole, notes.begun) = (older.whole, older.begun);
            is_new |= position > 0;
            if notes.whole || enough(&notes.releases) {
                break;
            }
            // Those that were left out make it a page that is partly known.
            number = notes.releases.len() / each;
            known = None;
        }
    }
    // Pages that were enough may be fewer than what is known.
    let is_more = before.is_none_or(|before| notes.whole || notes.releases.len() >= before.releases.len());
    if lasting && is_new && is_more {
        at.http.take_note(&name, notes.lasting(now)?).await;
    }
    Ok(notes.releases)
}

/// What was read of releases, without a gap.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// Unix time, seconds: the oldest of the readings that they are from.
    begun: u64,
    /// There are no older ones.
    whole: bool,
    /// Newest first.
    releases: Vec<Hosted>,
}

impl Notes {
    /// Adds what is not there yet.
    fn add(&mut self, releases: impl IntoIterator<Item = Hosted>) {
        for release in releases {
            if !self.releases.iter().any(|known| known.tag == release.tag) {
                self.releases.push(release);
            }
        }
    }

    /// As they are kept: without the newest ones, whose files may still be coming.
    fn lasting(&self, now: u64) -> Result<Vec<u8>, SourceError> {
        let is_settled = |release: &&Hosted| {
            let seconds = release.published_at.as_deref().and_then(seconds);
            seconds.is_some_and(|seconds| now.saturating_sub(seconds) > SETTLED)
        };
        let young = self.releases.iter().take_while(|release| !is_settled(release)).count();
        let releases: Vec<Hosted> = self.releases.iter().skip(young).cloned().collect();
        let kept = Self { begun: self.begun, whole: self.whole, releases };
        serde_json::to_vec(&kept)
            .map_err(|error| SourceError::Unreadable { url: "notes".to_owned(), reason: error.to_string() })
    }
}

/// The Unix time of the day of a date or time.
fn seconds(time: &str) -> Option<u64> {
    let day = common::day(time)?;
    let mut numbers = day.split('-').map(|number| number.parse::<i64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    u64::try_from(crate::runtime::unpack::days(year, month, day)).ok().map(|days| days * 86_400)
}

/// The checksum of a file, from everything that the release says about it: a list (`SHA256SUMS`), a file beside it
/// (`<name>.sha256`), and what GitHub noted. All that there are have to agree.
///
/// # Errors
/// When there is none and the user has not said that this will do, and when they do not agree.
pub async fn checksum(
    at: &At<'_>,
    release: &Hosted,
    asset: &Asset,
    what: String,
) -> Result<(Option<[u8; 32]>, Vec<Check>), SourceError> {
    let mut sums = Vec::new();
    let listing = release.asset("SHA256SUMS").or_else(|| release.asset(&format!("{}.sha256", asset.name)));
    if let Some(listing) = listing {
        match at.http.small(web(&listing.url, at.base)?, MOST_LISTING).await {
            Ok(text) => sums.push((listed(&text, &asset.name)?, listing.url.clone())),
            Err(FetchError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(digest) = &asset.digest {
        sums.push((noted(digest, asset)?, format!("{}, digest of {}", at.base, asset.name)));
    }
    agreed(asset, &sums)?;
    match sums.first() {
        Some((sum, _)) => {
            let checks = sums.iter().map(|(_, listed_in)| Check::Checksum { listed_in: listed_in.clone() });
            Ok((Some(*sum), checks.collect()))
        }
        None => {
            let reason = format!("release {:?} has no checksum of it", shortened(&release.tag));
            if !at.unverified {
                return Err(SourceError::Unverifiable { what, reason });
            }
            Ok((None, vec![Check::Unverified { reason }]))
        }
    }
}

fn noted(digest: &str, asset: &Asset) -> Result<[u8; 32], SourceError> {
    let mut sum = [0; 32];
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    hex::decode_to_slice(digits, &mut sum).map_err(|_| SourceError::Unreadable {
        url: shortened(&asset.url),
        reason: format!("its digest is {:?}", shortened(digest)),
    })?;
    Ok(sum)
}

fn agreed(asset: &Asset, sums: &[([u8; 32], String)]) -> Result<(), SourceError> {
    let mut rest = sums.iter();
    let Some((first, first_from)) = rest.next() else { return Ok(()) };
    match rest.find(|(sum, _)| sum != first) {
        None => Ok(()),
        Some((other, other_from)) => {
            let (first, other) = (hex::encode(first), hex::encode(other));
            let reason = format!("its SHA-256 is {first} by {first_from} and {other} by {other_from}");
            Err(SourceError::Untrusted { what: shortened(&asset.url), reason })
        }
    }
}

/// An address, as far as it is one that is fetched: over TLS, or from the server that named it.
///
/// # Errors
/// When it is none.
pub fn web<'a>(url: &'a str, base: &str) -> Result<&'a str, SourceError> {
    if common::is_allowed(url, base) {
        return Ok(url);
    }
    Err(SourceError::Unreadable { url: shortened(url), reason: "files are not fetched from there".to_owned() })
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(digest: Option<&str>) -> Asset {
        let url = "https://github.com/o/r/releases/download/1/a.tar.gz".to_owned();
        Asset { name: "a.tar.gz".to_owned(), size: Some(7), digest: digest.map(str::to_owned), url }
    }

    #[test]
    fn a_page_is_read_and_what_is_not_needed_of_it_is_skipped() {
        let text = br#"[{"url":"https://api.github.com/x","id":1,"tag_name":"20240814","draft":false,"prerelease":false,
            "published_at":"2024-08-15T01:02:03Z","assets":[{"id":2,"uploader":{"login":"someone"},"name":"SHA256SUMS",
            "size":5,"digest":null,"browser_download_url":"https://github.com/o/r/releases/download/20240814/SHA256SUMS"}]}]"#;
        let releases = page(text).unwrap();
        assert_eq!(releases[0].date().as_deref(), Some("2024-08-15"));
        assert_eq!(releases[0].asset("SHA256SUMS").unwrap().size, Some(5));
        assert!(page(b"{\"message\":\"API rate limit exceeded\"}").is_err());
    }

    #[test]
    fn a_digest_is_a_sha_256_or_an_error() {
        let digits = "ab".repeat(32);
        assert_eq!(noted(&format!("sha256:{digits}"), &asset(None)).unwrap(), [0xab; 32]);
        for bad in ["", "sha256:", "sha512:00", &digits] {
            let error = noted(bad, &asset(None)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("its digest is {bad:?}")), "{error}");
        }
    }

    #[test]
    fn checksums_that_do_not_agree_are_an_error() {
        let sum = |byte: u8, from: &str| ([byte; 32], from.to_owned());
        assert!(agreed(&asset(None), &[sum(1, "SHA256SUMS"), sum(1, "digest")]).is_ok());
        let error = agreed(&asset(None), &[sum(1, "SHA256SUMS"), sum(2, "digest")]).unwrap_err().to_string();
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        assert!(error.ends_with(&format!("its SHA-256 is {one} by SHA256SUMS and {two} by digest")), "{error}");
    }

    #[test]
    fn only_addresses_of_the_web_are_fetched() {
        assert!(web("https://github.com/a", "http://127.0.0.1").is_ok());
        assert!(web("http://127.0.0.1/a", "http://127.0.0.1/releases").is_ok());
        assert!(web("http://example.org/a", "https://github.com/releases").is_err());
        let error = web("file:///etc/shadow", "https://github.com").unwrap_err().to_string();
        assert_eq!(error, "file:///etc/shadow is not readable: files are not fetched from there");
    }
}
