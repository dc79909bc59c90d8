//! Whether what was fetched is what its maker published: checksums, OpenPGP signatures and provenance.

mod keyring;
mod keys;
mod listing;
mod provenance;

use std::io;

use thiserror::Error;

pub use keyring::{KeyInfo, Keyring, Signer};
pub use listing::{listed, sha256_of};
pub use provenance::{MAX_BUNDLE, MAX_ROOT, Maker, Provenance, ProvenanceError, TrustedRoot};

/// Why something is not known to be its maker's. Texts from outside are escaped and short.
#[derive(Debug, Error)]
pub enum VerifyError {
    #[error("there is no signature; ask the mirror's keeper for it, or use another mirror")]
    NoSignature,
    #[error("the signature is not readable ({0}); fetch it again, or use another mirror")]
    Malformed(String),
    /// By the fingerprint or key ID that it names.
    #[error(
        "the signature is by {made_by}, which is none of the known release keys (omg runtime keys lists them); a newer \
         omg may know it"
    )]
    UnknownKey { made_by: String },
    #[error(
        "the signature by {made_by} does not belong to this content: do not use it; fetch it again, or use another mirror"
    )]
    BadSignature { made_by: String },
    #[error("the signature is by {made_by}, and this key was revoked: do not use it; take another version")]
    Revoked { made_by: String },
    #[error(
        "the signature by {made_by} was made when it was not valid ({reason}); check this machine's clock, or take another version"
    )]
    Expired { made_by: String, reason: String },
    #[error("the signature by {made_by} proves nothing ({reason}); take another version")]
    Weak { made_by: String, reason: String },
    #[error("no release keys are known here to check a signature against")]
    NoKeys,
    #[error("the release keys are not readable: {0}")]
    BadKeys(String),
    #[error("{what} is longer than {most} bytes")]
    TooLong { what: &'static str, most: usize },
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the listing of checksums has none for {0:?}")]
    NotListed(String),
    #[error(
        "the checksums for {0:?} contradict each other: do not use it; fetch the listing again, or use another mirror"
    )]
    Ambiguous(String),
}

impl VerifyError {
    /// Nothing speaks against the content; there is only nobody known who vouches for it. Somebody may decide to take it all
    /// the same, other than what was tampered with.
    pub fn is_lack(&self) -> bool {
        match self {
            Self::NoSignature
            | Self::UnknownKey { .. }
            | Self::Expired { .. }
            | Self::Weak { .. }
            | Self::NoKeys
            | Self::NotListed(_) => true,
            Self::Malformed(_)
            | Self::BadSignature { .. }
            | Self::Revoked { .. }
            | Self::BadKeys(_)
            | Self::TooLong { .. }
            | Self::Read(_)
            | Self::Ambiguous(_) => false,
        }
    }
}
