//! Whether what was fetched is what its maker published: checksums and OpenPGP signatures.

use std::io::Read;

use thiserror::Error;

/// Certificates that signatures are checked against.
#[derive(Debug, Clone)]
pub struct Keyring;

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Of the primary key, in capital hexadecimal digits.
    pub fingerprint: String,
    pub owner: String,
}

#[derive(Debug, Error)]
pub enum VerifyError {
    #[error("{0}")]
    Unsigned(String),
}

impl Keyring {
    /// # Errors
    /// When none of the keys made it.
    pub fn detached(&self, _data: &mut dyn Read, _signature: &[u8]) -> Result<Signer, VerifyError> {
        Err(VerifyError::Unsigned("no key".to_owned()))
    }

    /// What a signed text says.
    ///
    /// # Errors
    /// When none of the keys made it.
    pub fn cleartext(&self, _signed: &[u8]) -> Result<(Vec<u8>, Signer), VerifyError> {
        Err(VerifyError::Unsigned("no key".to_owned()))
    }
}

/// The SHA-256 of the file `name` in a listing as sha256sum(1) writes it.
///
/// # Errors
/// When the listing has none, or several, or something that is none.
pub fn listed(_listing: &[u8], _name: &str) -> Result<[u8; 32], VerifyError> {
    Err(VerifyError::Unsigned("no checksum".to_owned()))
}
