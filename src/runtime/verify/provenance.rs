//! Provenance: which workflow of which repository has built a file.
//!
//! A [Sigstore bundle](https://docs.sigstore.dev/about/bundle/) holds a statement
//! ([in-toto](https://github.com/in-toto/attestation/tree/main/spec/v1), [SLSA](https://slsa.dev/spec/v1.0/provenance)), its
//! signature, a certificate that was valid for minutes, and the proof that a public log has all of them. It is checked as
//! [Sigstore's specification of clients](https://github.com/sigstore/architecture-docs/blob/main/client-spec.md) has it, and
//! without asking anybody: by a trusted root, which has the authorities and the logs that count. GitHub's
//! [attestations](https://docs.github.com/en/actions/concepts/security/artifact-attestations) of public repositories are such bundles.

mod crypto;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use sigstore_verify::trust_root::TrustedRoot as RootFile;
use sigstore_verify::types::bundle::MediaType;
use sigstore_verify::types::{Artifact, ArtifactDigest, Bundle, Sha256Hash, SignatureContent};
use sigstore_verify::{CertificateError, Error, IdentityMatcher, TimestampError, VerificationPolicy, Verifier};
use thiserror::Error;

use super::keyring::clean;
use super::keys;

/// Most bytes of a bundle. The statement names all files of a release: a thousand make half a million.
pub const MAX_BUNDLE: usize = 8 << 20;

/// Most bytes of a trusted root. Sigstore's has seven thousand.
pub const MAX_ROOT: usize = 1 << 20;

/// Most entries of logs in a bundle: there is one.
const MAX_ENTRIES: usize = 8;

/// Who vouches that a certificate's holder is a workflow of GitHub's.
const ISSUER: &str = "https://token.actions.githubusercontent.com";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// Who has to have built a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maker<'a> {
    /// `https://github.com/OWNER/NAME`.
    pub repository: &'a str,
    /// Path of the workflow in it, and the ref that it ran from: `.github/workflows/release.yml@refs/heads/main`.
    pub workflow: &'a str,
}

/// How a file was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Address of the workflow, with its ref.
    pub workflow: String,
    /// The commit that it was built from.
    pub commit: Option<String>,
}

/// Why a bundle does not vouch for a file. Texts from outside are escaped and short.
#[derive(Debug, Error)]
pub enum ProvenanceError {
    #[error("it is no bundle of Sigstore's ({0}); fetch it again, or use another mirror")]
    Malformed(String),
    #[error("it is of a kind that is not known here ({0}); a newer omg may know it")]
    Unknown(String),
    /// Something else is said about the file.
    #[error("it says nothing about how the file was built ({0})")]
    OtherStatement(String),
    #[error("it is about other files than this one: do not use this one; fetch it again, or use another mirror")]
    OtherFile,
    #[error("it was built by {found}, not by {expected}: do not use it; use another mirror")]
    OtherMaker { found: String, expected: String },
    #[error(
        "{0} vouches for it, which is not known here; a newer omg or a newer trusted root (trusted-root in the \
         configuration) may know it"
    )]
    UnknownAuthority(String),
    #[error("its certificate does not hold ({0}): do not use it; fetch it again, or use another mirror")]
    BadCertificate(String),
    #[error("its signature does not hold ({0}): do not use it; fetch it again, or use another mirror")]
    BadSignature(String),
    #[error(
        "its entry in the public log does not hold ({0}): do not use it; check this machine's clock, fetch it again, or \
         use another mirror"
    )]
    BadLogEntry(String),
    #[error(
        "nothing that is trusted says when it was signed ({0}): do not use it; fetch it again, or use another mirror"
    )]
    NoTime(String),
    #[error("{what} is longer than {most} bytes")]
    TooLong { what: &'static str, most: usize },
    #[error("the trusted root is not readable: {0}")]
    BadRoot(String),
}

impl ProvenanceError {
    /// As [`super::VerifyError::is_lack`].
    pub fn is_lack(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::OtherStatement(_) | Self::UnknownAuthority(_) => true,
            Self::Malformed(_)
            | Self::OtherFile
            | Self::OtherMaker { .. }
            | Self::BadCertificate(_)
            | Self::BadSignature(_)
            | Self::BadLogEntry(_)
            | Self::NoTime(_)
            | Self::TooLong { .. }
            | Self::BadRoot(_) => false,
        }
    }
}

struct Root {
    verifier: Verifier,
    /// By the SHA-256 of their keys.
    logs: Vec<Vec<u8>>,
}

/// The authorities and logs that count.
#[derive(Clone, Default)]
pub struct TrustedRoot {
    /// `None`: the one that is shipped, which is read when it is needed.
    given: Option<Arc<Root>>,
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given.is_some() { "TrustedRoot(given)" } else { "TrustedRoot(shipped)" })
    }
}

impl TrustedRoot {
    /// Those of Sigstore's public instance.
    pub fn shipped() -> Self {
        Self::default()
    }

    /// Those of a file as Sigstore's `trusted_root.json`.
    ///
    /// # Errors
    /// [`ProvenanceError::BadRoot`]; [`ProvenanceError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProvenanceError> {
        Ok(Self { given: Some(Arc::new(root(bytes)?)) })
    }

    fn root(&self) -> Result<&Root, ProvenanceError> {
        static SHIPPED: OnceLock<Result<Root, String>> = OnceLock::new();
        if let Some(given) = &self.given {
            return Ok(given);
        }
        let shipped = SHIPPED.get_or_init(|| root(keys::SIGSTORE).map_err(|error| error.to_string()));
        shipped.as_ref().map_err(|error| ProvenanceError::BadRoot(error.clone()))
    }

    /// How the file of this SHA-256 was built: by this maker.
    ///
    /// # Errors
    /// When the bundle does not say so, or anything of it does not hold.
    pub fn provenance(
        &self,
        bundle: &[u8],
        sha256: &[u8; 32],
        maker: &Maker<'_>,
    ) -> Result<Provenance, ProvenanceError> {
        self.statement(bundle, ArtifactDigest::sha256(Sha256Hash::new(*sha256)), maker, PROVENANCE)
    }

    fn statement(
        &self,
        bundle: &[u8],
        digest: ArtifactDigest,
        maker: &Maker<'_>,
        predicate: &str,
    ) -> Result<Provenance, ProvenanceError> {
        let root = self.root()?;
        let bundle = read(bundle)?;
        says(&bundle, predicate)?;
        // A log that is newer than this root is to be told from an entry that does not hold.
        let mut logs = bundle.verification_material.tlog_entries.iter().map(|entry| &entry.log_id.key_id);
        if let Some(log) = logs.find(|log| !root.logs.iter().any(|known| known == log.as_bytes())) {
            return Err(ProvenanceError::UnknownAuthority(format!("the log {}", clean(&log.to_base64()))));
        }
        let workflow = format!("{}/{}", maker.repository, maker.workflow);
        let policy = VerificationPolicy::new(IdentityMatcher::Uri(workflow.clone()), ISSUER);
        let proven = root.verifier.verify(Artifact::Digest(digest), &bundle, &policy).map_err(why)?;
        let all = proven.certificate_verified()
            && proven.sct_verified()
            && proven.tlog_verified()
            && proven.identity_policy_checked()
            && !proven.verified_timestamps().is_empty();
        if !all {
            return Err(ProvenanceError::BadCertificate("not all of it was checked".to_owned()));
        }
        let claims = proven.certificate().map(|certificate| &certificate.ci_claims);
        let repository = claims.and_then(|claims| claims.source_repository_uri.as_deref());
        if repository != Some(maker.repository) {
            let found = clean(repository.unwrap_or("a repository that is not named"));
            return Err(ProvenanceError::OtherMaker { found, expected: maker.repository.to_owned() });
        }
        let commit = claims.and_then(|claims| claims.source_repository_digest.as_deref()).map(clean);
        Ok(Provenance { workflow, commit })
    }
}

fn root(bytes: &[u8]) -> Result<Root, ProvenanceError> {
    crypto::ready();
    if bytes.len() > MAX_ROOT {
        return Err(ProvenanceError::TooLong { what: "the trusted root", most: MAX_ROOT });
    }
    let bad = |error: &dyn fmt::Display| ProvenanceError::BadRoot(clean(&error.to_string()));
    let file: RootFile = serde_json::from_slice(bytes).map_err(|error| bad(&error))?;
    if file.tlogs.is_empty() || file.certificate_authorities.is_empty() || file.ctlogs.is_empty() {
        return Err(ProvenanceError::BadRoot("it has no authority, no log, or no log of certificates".to_owned()));
    }
    let verifier = Verifier::new(&file).map_err(|error| bad(&error))?;
    let logs = file.tlogs.iter().map(|log| log.log_id.key_id.as_bytes().to_vec()).collect();
    Ok(Root { verifier, logs })
}

fn read(bytes: &[u8]) -> Result<Bundle, ProvenanceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: String,
    }
    if bytes.len() > MAX_BUNDLE {
        return Err(ProvenanceError::TooLong { what: "the bundle", most: MAX_BUNDLE });
    }
    let bad = |error: serde_json::Error| ProvenanceError::Malformed(clean(&error.to_string()));
    let Head { media_type } = serde_json::from_slice(bytes).map_err(bad)?;
    if media_type.parse::<MediaType>().is_err() {
        return Err(ProvenanceError::Unknown(clean(&media_type)));
    }
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(bad)?;
    if bundle.verification_material.tlog_entries.len() > MAX_ENTRIES {
        return Err(ProvenanceError::Malformed(format!("it has more than {MAX_ENTRIES} entries of logs")));
    }
    Ok(bundle)
}

/// Whether it is a statement of this kind. Its signature is still to be checked.
fn says(bundle: &Bundle, predicate: &str) -> Result<(), ProvenanceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        #[serde(rename = "_type")]
        statement: String,
        predicate_type: String,
    }
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
        return Err(ProvenanceError::OtherStatement("it is a signature alone".to_owned()));
    };
    let kind: Kind = serde_json::from_slice(envelope.payload.as_bytes())
        .map_err(|error| ProvenanceError::Malformed(clean(&error.to_string())))?;
    let found = [kind.statement.as_str(), &kind.predicate_type].into_iter().zip([STATEMENT, predicate]);
    match found.into_iter().find(|(found, expected)| found != expected) {
        None => Ok(()),
        Some((found, _)) => Err(ProvenanceError::OtherStatement(clean(found))),
    }
}

fn why(error: Error) -> ProvenanceError {
    let text = clean(&error.to_string());
    match error {
        Error::IdentityMismatch { expected, actual } => {
            let found = actual.map_or_else(|| "nobody it names".to_owned(), |actual| clean(actual.as_str()));
            let expected = match expected {
                IdentityMatcher::Uri(expected) => expected,
                other => other.to_string(),
            };
            ProvenanceError::OtherMaker { found, expected }
        }
        Error::IssuerMismatch { actual, expected } => {
            let found = format!("somebody whom {} knows", clean(actual.as_deref().unwrap_or("nobody")));
            ProvenanceError::OtherMaker { found, expected: format!("a workflow that {expected} knows") }
        }
        Error::SignatureInvalid(_) => ProvenanceError::BadSignature(text),
        Error::ArtifactMismatch(_) => ProvenanceError::OtherFile,
        Error::Certificate(CertificateError::NoValidAuthority { .. }) => {
            ProvenanceError::UnknownAuthority("an authority of certificates".to_owned())
        }
        // The library has these in words only. Should they change, it is something that does not hold.
        Error::Certificate(CertificateError::ChainInvalid(reason)) if reason.contains("UnknownIssuer") => {
            ProvenanceError::UnknownAuthority("an authority of certificates".to_owned())
        }
        Error::Certificate(CertificateError::Sct(reason)) if reason.contains("key not found") => {
            ProvenanceError::UnknownAuthority("a log of certificates".to_owned())
        }
        Error::Certificate(_) => ProvenanceError::BadCertificate(text),
        Error::TransparencyLog(_) => ProvenanceError::BadLogEntry(text),
        Error::Timestamp(TimestampError::Invalid(reason)) if reason.contains("any trusted TSA certificate") => {
            ProvenanceError::UnknownAuthority("an authority of timestamps".to_owned())
        }
        Error::Timestamp(_) => ProvenanceError::NoTime(text),
        Error::UnsupportedBundle(_) => ProvenanceError::Unknown(text),
        Error::Bundle(_) => ProvenanceError::BadLogEntry(text),
        Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => {
            ProvenanceError::BadRoot(text)
        }
        _ => ProvenanceError::Malformed(text),
    }
}
