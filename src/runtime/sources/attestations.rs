//! Attestations of files on GitHub (<https://docs.github.com/rest/repos/attestations>).

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{At, Check, SourceError, common, github};
use crate::runtime::fetch::FetchError;
use crate::runtime::verify::{MAX_BUNDLE, Maker, ProvenanceError};

/// Most bytes of an answer. Where it has the bundles themselves, each names all files of a release, which makes half a million.
const MOST_ANSWER: u64 = 32 << 20;

/// Most attestations of a file that are looked at. There are one or two.
const MOST: usize = 10;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    attestations: Vec<Attestation<'a>>,
}

#[derive(Deserialize)]
struct Attestation<'a> {
    /// Null in GitHub's answers since July 2026
    /// (<https://docs.github.com/rest/about-the-rest-api/breaking-changes>), which have the address instead.
    #[serde(borrow, default)]
    bundle: Option<&'a RawValue>,
    /// Of the bundle as a block of [snappy](https://github.com/google/snappy/blob/main/format_description.txt). It holds for
    /// a while only.
    #[serde(default)]
    bundle_url: Option<String>,
}

/// What the attestations of a file say of its provenance.
enum Told {
    Made(Check),
    /// Nothing, and why.
    Nothing(String),
}

/// Where a file's attestations are: on GitHub beside the releases, elsewhere below the address of the mirror.
fn address(base: &str, sha256: &[u8; 32]) -> String {
    format!("{}/attestations/sha256:{}", base.strip_suffix("/releases").unwrap_or(base), hex::encode(sha256))
}

/// That the file of this SHA-256 was built by this maker. One attestation that says so is enough, as others say other
/// things of it.
///
/// # Errors
/// [`SourceError::Unverifiable`] when there is none and the user has not said that this will do;
/// [`SourceError::Untrusted`] when there are only others, or they do not hold.
pub(super) async fn provenance(
    at: &At<'_>,
    what: &str,
    sha256: &[u8; 32],
    maker: &Maker<'_>,
) -> Result<Check, SourceError> {
    let url = address(at.base, sha256);
    let mut fresh = at.fresh;
    loop {
        let text = match at.http.index(&url, MOST_ANSWER, fresh).await {
            Ok(text) => text,
            Err(FetchError::NotFound(_)) => {
                return common::unverified(at, what, format!("its provenance {url} is not there"));
            }
            Err(error) => return Err(error.into()),
        };
        return match told(at, &url, &text, sha256, maker).await {
            // The answer may have been kept for longer than the addresses in it hold.
            Err(SourceError::Fetch(FetchError::Status { .. } | FetchError::NotFound(_))) if !fresh.is_zero() => {
                fresh = Duration::ZERO;
                continue;
            }
            Ok(Told::Made(check)) => Ok(check),
            Ok(Told::Nothing(reason)) => common::unverified(at, what, format!("its provenance {url}: {reason}")),
            Err(SourceError::Fetch(FetchError::NotFound(bundle))) => {
                common::unverified(at, what, format!("its provenance {bundle} is not there"))
            }
            Err(error) => Err(error),
        };
    }
}

async fn told(at: &At<'_>, url: &str, text: &[u8], sha256: &[u8; 32], maker: &Maker<'_>) -> Result<Told, SourceError> {
    let answer: Answer<'_> = common::borrowed(url, text)?;
    let mut worst: Option<ProvenanceError> = None;
    let mut unread: Option<SourceError> = None;
    for attestation in answer.attestations.iter().take(MOST) {
        let bundle = match bundle(at, attestation).await {
            Ok(Some(bundle)) => bundle,
            Ok(None) => continue,
            // Another one may vouch for the file, or speak against it, which counts for more.
            Err(error) => {
                unread.get_or_insert(error);
                continue;
            }
        };
        match bundle.and_then(|bundle| at.root.provenance(&bundle, sha256, maker)) {
            Ok(made) => {
                let check = Check::Provenance { from: url.to_owned(), workflow: made.workflow, commit: made.commit };
                return Ok(Told::Made(check));
            }
            Err(error) => {
                if worst.as_ref().is_none_or(|worst| worst.is_lack() && !error.is_lack()) {
                    worst = Some(error);
                }
            }
        }
    }
    match (worst, unread) {
        (Some(error), _) if !error.is_lack() => {
            Err(SourceError::Untrusted { what: url.to_owned(), reason: error.to_string() })
        }
        (_, Some(error)) => Err(error),
        (Some(error), None) => Ok(Told::Nothing(error.to_string())),
        (None, None) if answer.attestations.is_empty() => Ok(Told::Nothing("there is none".to_owned())),
        (None, None) => Ok(Told::Nothing("the answer has no bundle and no address of one".to_owned())),
    }
}

/// An attestation's bundle, or what is wrong with it; `None` where there is none.
async fn bundle(
    at: &At<'_>,
    attestation: &Attestation<'_>,
) -> Result<Option<Result<Vec<u8>, ProvenanceError>>, SourceError> {
    if let Some(bundle) = attestation.bundle {
        return Ok(Some(Ok(bundle.get().as_bytes().to_vec())));
    }
    let Some(url) = &attestation.bundle_url else { return Ok(None) };
    // The address is another one each time: what is kept would not be found again.
    let packed = at.http.small(github::web(url, at.base)?, MAX_BUNDLE as u64).await?;
    Ok(Some(unpacked(packed)))
}

/// What is in a block of snappy, or JSON as it is: no bundle is as short as a block that begins like JSON.
fn unpacked(packed: Vec<u8>) -> Result<Vec<u8>, ProvenanceError> {
    if packed.first() == Some(&b'{') {
        return Ok(packed);
    }
    let bad = |error: snap::Error| ProvenanceError::Malformed(error.to_string());
    if snap::raw::decompress_len(&packed).map_err(bad)? > MAX_BUNDLE {
        return Err(ProvenanceError::TooLong { what: "the bundle", most: MAX_BUNDLE });
    }
    snap::raw::Decoder::new().decompress_vec(&packed).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_are_beside_the_releases_or_below_a_mirror() {
        let sum = "ab".repeat(32);
        let github = "https://api.github.com/repos/astral-sh/python-build-standalone";
        let of = |base: &str| address(base, &[0xab; 32]);
        assert_eq!(of(&format!("{github}/releases")), format!("{github}/attestations/sha256:{sum}"));
        assert_eq!(of("http://127.0.0.1:1/python"), format!("http://127.0.0.1:1/python/attestations/sha256:{sum}"));
    }

    #[test]
    fn a_bundle_is_unpacked_within_bounds() {
        let text = br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","a":"aaaaaaaaaaaaaaaaaaaaaaaa"}"#
            .repeat(9);
        let packed = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        assert!(packed.len() < text.len() / 4);
        assert_eq!(unpacked(packed.clone()).unwrap(), text);
        assert_eq!(unpacked(text.clone()).unwrap(), text);
        for end in 0..packed.len() {
            assert!(matches!(unpacked(packed[..end].to_vec()), Err(ProvenanceError::Malformed(_))), "{end}");
        }
        // It says that it is longer than anything may be: nothing is made ready for it.
        for claimed in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x81, 0x80, 0x80, 0x04]] {
            assert!(matches!(unpacked(claimed.to_vec()), Err(ProvenanceError::TooLong { .. })), "{claimed:?}");
        }
        assert!(matches!(unpacked(vec![0xff; 20]), Err(ProvenanceError::Malformed(_))));
    }

    #[test]
    fn a_bundle_may_be_missing_from_an_attestation_but_not_attestations_from_an_answer() {
        let bundles = |text: &'static str| {
            let answer: Answer<'_> = common::borrowed("u", text.as_bytes()).unwrap();
            answer.attestations.iter().map(|one| one.bundle.map(RawValue::get)).collect::<Vec<_>>()
        };
        assert_eq!(
            bundles(
                r#"{"attestations":[{"bundle":null,"bundle_url":"https://x"},{"bundle":{"a": 1},"repository_id":1},{}]}"#
            ),
            [None, Some("{\"a\": 1}"), None]
        );
        for bad in ["{}", "[]", "", r#"{"message":"API rate limit exceeded"}"#] {
            let error = common::borrowed::<Answer<'_>>("http://a/b", bad.as_bytes()).err().unwrap();
            assert!(error.to_string().starts_with("http://a/b is not readable: "), "{error}");
        }
    }
}
