//! Certificates, and the signatures that they vouch for (RFC 9580, RFC 4880).

use std::fmt;
use std::io::{self, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::{
    DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationError, VerificationHelper, VerifierBuilder,
};
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use sequoia_openpgp::types::{HashAlgorithm, RevocationStatus};
use sequoia_openpgp::{Cert, KeyHandle};

use super::VerifyError;
use super::keys::{self, Shipped};
use crate::runtime::Native;

/// Most bytes of certificates. All of Node.js' have 130 thousand.
const MAX_KEYS: usize = 4 << 20;

/// Most certificates.
const MAX_CERTS: usize = 256;

/// Most bytes of a detached signature. An RSA one has 600, and there may be several.
const MAX_SIGNATURE: usize = 64 << 10;

/// Most bytes of a signed text.
const MAX_SIGNED: usize = 4 << 20;

/// Longest text that is shown of a name or an error.
const MAX_SHOWN: usize = 120;

/// Certificates that signatures are checked against.
#[derive(Clone, Default)]
pub struct Keyring {
    certs: Vec<Cert>,
}

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Of the primary key, in capital hexadecimal digits.
    pub fingerprint: String,
    pub owner: String,
}

/// A certificate, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Of the primary key, in capital hexadecimal digits.
    pub fingerprint: String,
    pub owner: String,
    /// When the primary key stops to be valid, seconds since 1970.
    pub expires: Option<u64>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.certs.iter().map(Cert::fingerprint)).finish()
    }
}

impl Keyring {
    /// Certificates, armored or not, one after the other.
    ///
    /// # Errors
    /// [`VerifyError::BadKeys`] when there is none, or something else among them; [`VerifyError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VerifyError> {
        if bytes.len() > MAX_KEYS {
            return Err(VerifyError::TooLong { what: "the file of release keys", most: MAX_KEYS });
        }
        let bad = |error: sequoia_openpgp::anyhow::Error| VerifyError::BadKeys(shown(&error));
        let mut certs = Vec::new();
        for cert in CertParser::from_bytes(bytes).map_err(bad)? {
            if certs.len() == MAX_CERTS {
                return Err(VerifyError::BadKeys(format!("there are more than {MAX_CERTS}")));
            }
            certs.push(cert.map_err(bad)?.strip_secret_key_material());
        }
        if certs.is_empty() {
            return Err(VerifyError::BadKeys("there is none".to_owned()));
        }
        Ok(Self { certs })
    }

    /// The keys that a runtime's releases are signed with; none when its upstream signs nothing with OpenPGP.
    pub fn shipped(native: Native) -> Self {
        keys::of(native).map(|shipped| Self::documented(&shipped)).unwrap_or_default()
    }

    /// The key that mise's releases are signed with.
    pub fn mise() -> Self {
        Self::documented(&keys::MISE)
    }

    fn documented(shipped: &Shipped) -> Self {
        match Self::from_bytes(shipped.armored) {
            Ok(mut ring) => {
                ring.certs.retain(|cert| shipped.documented.contains(&cert.fingerprint().to_hex().as_str()));
                ring
            }
            Err(error) => {
                // No key, no signature that counts: everything is refused.
                tracing::error!("the release keys that are shipped do not load: {error}");
                Self::default()
            }
        }
    }

    /// Those of both.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for cert in other.certs {
            if !self.certs.iter().any(|known| known.fingerprint() == cert.fingerprint()) {
                self.certs.push(cert);
            }
        }
        self
    }

    pub fn keys(&self) -> Vec<KeyInfo> {
        let policy = policy();
        let info = |cert: &Cert| {
            let valid = cert.with_policy(&policy, None).ok();
            let expires = valid.and_then(|cert| cert.primary_key().key_expiration_time());
            let expires = expires.and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs()));
            KeyInfo { fingerprint: cert.fingerprint().to_hex(), owner: owner(cert), expires }
        };
        self.certs.iter().map(info).collect()
    }

    /// Whose `signature` of `data` it is, armored or not. One that holds, by a key of the ring, is enough.
    ///
    /// # Errors
    /// When none holds: what is wrong with the one that tells most.
    pub fn detached(&self, data: &mut (dyn Read + Send + Sync), signature: &[u8]) -> Result<Signer, VerifyError> {
        self.check_input(signature, "the signature", MAX_SIGNATURE)?;
        let policy = policy();
        let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
            .and_then(|builder| builder.with_policy(&policy, None, Helper::new(self, &policy)))
            .map_err(why)?;
        verifier.verify_reader(data).map_err(why)?;
        verifier.into_helper().signer.ok_or(VerifyError::NoSignature)
    }

    /// What a text signed in the clear says (RFC 9580, section 7): that, and nothing around it, is what was signed.
    ///
    /// # Errors
    /// As [`Self::detached`].
    pub fn cleartext(&self, signed: &[u8]) -> Result<(Vec<u8>, Signer), VerifyError> {
        self.check_input(signed, "the signed text", MAX_SIGNED)?;
        let policy = policy();
        let mut verifier = VerifierBuilder::from_bytes(signed)
            .and_then(|builder| builder.with_policy(&policy, None, Helper::new(self, &policy)))
            .map_err(why)?;
        let mut text = Vec::new();
        verifier.read_to_end(&mut text).map_err(why_io)?;
        if !verifier.message_processed() || verifier.processing_csf_message() != Some(true) {
            return Err(VerifyError::Malformed("it is no text signed in the clear".to_owned()));
        }
        let signer = verifier.into_helper().signer.ok_or(VerifyError::NoSignature)?;
        Ok((text, signer))
    }

    fn check_input(&self, input: &[u8], what: &'static str, most: usize) -> Result<(), VerifyError> {
        if self.certs.is_empty() {
            return Err(VerifyError::NoKeys);
        }
        if input.len() > most {
            return Err(VerifyError::TooLong { what, most });
        }
        if input.iter().all(u8::is_ascii_whitespace) {
            return Err(VerifyError::NoSignature);
        }
        Ok(())
    }
}

/// What counts as a signature: sequoia's standard of today, which takes no SHA-1 of content. Some of the keys, Rust's among
/// them, have bound their own parts by SHA-1 long ago; for that it is still good enough, since nobody else chose what is hashed.
fn policy() -> StandardPolicy<'static> {
    let mut policy = StandardPolicy::new();
    policy.accept_hash_property(HashAlgorithm::SHA1, HashAlgoSecurity::SecondPreImageResistance);
    policy
}

/// Looks for one signature that holds.
struct Helper<'a> {
    ring: &'a Keyring,
    policy: &'a StandardPolicy<'static>,
    signer: Option<Signer>,
}

impl<'a> Helper<'a> {
    fn new(ring: &'a Keyring, policy: &'a StandardPolicy<'static>) -> Self {
        Self { ring, policy, signer: None }
    }

    /// Why this signature does not count; or whose it is after all. That the content is another one is told before anything
    /// that somebody may decide to overlook.
    fn judge(&self, error: VerificationError<'_>) -> Result<Signer, VerifyError> {
        Err(match error {
            VerificationError::MissingKey { sig } => VerifyError::UnknownKey { made_by: issuer(sig) },
            VerificationError::UnboundKey { sig, cert, error } => {
                let made_by = named(cert);
                if !cert.keys().key_handles(sig.get_issuers()).any(|key| sig.verify_document(key.key()).is_ok()) {
                    VerifyError::BadSignature { made_by }
                } else if bound_later(sig, cert, self.policy) {
                    return Ok(signer(cert));
                } else {
                    VerifyError::Weak { made_by, reason: shown(&error) }
                }
            }
            VerificationError::BadKey { sig, ka, error } => {
                let made_by = named(ka.cert());
                let revoked = |status| matches!(status, RevocationStatus::Revoked(_));
                if sig.verify_document(ka.key()).is_err() {
                    VerifyError::BadSignature { made_by }
                } else if revoked(ka.valid_cert().revocation_status()) || revoked(ka.revocation_status()) {
                    VerifyError::Revoked { made_by }
                } else if let Err(error) = ka.alive() {
                    VerifyError::Expired { made_by, reason: shown(&error) }
                } else {
                    VerifyError::Weak { made_by, reason: shown(&error) }
                }
            }
            VerificationError::BadSignature { sig, ka, .. } => {
                let made_by = named(ka.cert());
                if sig.verify_document(ka.key()).is_err() {
                    VerifyError::BadSignature { made_by }
                } else if let Err(error) = sig.signature_alive(None, None) {
                    VerifyError::Expired { made_by, reason: shown(&error) }
                } else if let Err(error) = self.policy.signature(sig, HashAlgoSecurity::CollisionResistance) {
                    VerifyError::Weak { made_by, reason: shown(&error) }
                } else {
                    VerifyError::BadSignature { made_by }
                }
            }
            VerificationError::MalformedSignature { error, .. } => VerifyError::Malformed(shown(&error)),
            // This one is all that is left, and what a later sequoia may add is not known to hold.
            VerificationError::UnknownSignature { .. } | _ => VerifyError::Malformed("of an unknown kind".to_owned()),
        })
    }
}

impl VerificationHelper for Helper<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
        let made_one = |cert: &&Cert| cert.keys().any(|key| ids.iter().any(|id| id.aliases(key.key().key_handle())));
        Ok(self.ring.certs.iter().filter(made_one).cloned().collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> sequoia_openpgp::Result<()> {
        let mut worst: Option<VerifyError> = None;
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else {
                return Err(VerifyError::Malformed("it is not only signed".to_owned()).into());
            };
            for result in results {
                let judged = match result {
                    Ok(good) => Ok(signer(good.ka.cert())),
                    Err(error) => self.judge(error),
                };
                match judged {
                    Ok(signer) => {
                        self.signer = Some(signer);
                        return Ok(());
                    }
                    Err(error) => {
                        if worst.as_ref().is_none_or(|known| weight(&error) > weight(known)) {
                            worst = Some(error);
                        }
                    }
                }
            }
        }
        Err(worst.unwrap_or(VerifyError::NoSignature).into())
    }
}

/// Which of several errors is told: what speaks against the content before what is only missing.
fn weight(error: &VerifyError) -> u8 {
    match error {
        VerifyError::BadSignature { .. } => 5,
        VerifyError::Revoked { .. } => 4,
        VerifyError::Expired { .. } => 3,
        VerifyError::Weak { .. } => 2,
        VerifyError::UnknownKey { .. } => 1,
        _ => 0,
    }
}

/// A signature older than what binds its key to the certificate. Certificates are often passed on with the newest of such
/// bindings only, as `gpg --export-options export-minimal` has it: the key was there before, and what holds now held then.
fn bound_later(sig: &Signature, cert: &Cert, policy: &StandardPolicy<'static>) -> bool {
    let Some(made) = sig.signature_creation_time() else { return false };
    if sig.signature_alive(None, None).is_err() || policy.signature(sig, HashAlgoSecurity::CollisionResistance).is_err()
    {
        return false;
    }
    let Ok(valid) = cert.with_policy(policy, None) else { return false };
    let within = |created: SystemTime, expires: Option<SystemTime>| {
        created <= made && expires.is_none_or(|expires| made < expires)
    };
    let primary = valid.primary_key();
    if !within(primary.key().creation_time(), primary.key_expiration_time())
        || matches!(valid.revocation_status(), RevocationStatus::Revoked(_))
    {
        return false;
    }
    valid.keys().key_handles(sig.get_issuers()).for_signing().any(|key| {
        within(key.key().creation_time(), key.key_expiration_time())
            && !matches!(key.revocation_status(), RevocationStatus::Revoked(_))
            && sig.verify_document(key.key()).is_ok()
    })
}

fn signer(cert: &Cert) -> Signer {
    Signer { fingerprint: cert.fingerprint().to_hex(), owner: owner(cert) }
}

/// The name in the first user ID that is text.
fn owner(cert: &Cert) -> String {
    let primary = cert.with_policy(&policy(), None).ok().and_then(|cert| {
        let id = cert.primary_userid().ok()?;
        Some(clean(&String::from_utf8_lossy(id.userid().value())))
    });
    let first = || cert.userids().next().map(|id| clean(&String::from_utf8_lossy(id.userid().value())));
    primary.or_else(first).unwrap_or_default()
}

fn named(cert: &Cert) -> String {
    format!("{} ({})", cert.fingerprint().to_hex(), owner(cert))
}

/// The key that a signature says it is by.
fn issuer(sig: &Signature) -> String {
    sig.get_issuers().first().map_or_else(|| "a key that it does not name".to_owned(), KeyHandle::to_hex)
}

/// Without what a terminal would obey: control characters, and those that change the direction of the text.
pub(super) fn clean(text: &str) -> String {
    let bad = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().take(MAX_SHOWN).map(|letter| if bad(letter) { '\u{fffd}' } else { letter }).collect()
}

fn shown(error: &sequoia_openpgp::anyhow::Error) -> String {
    clean(&format!("{error:#}"))
}

/// Sequoia hands through what [`Helper::check`] said.
fn why(error: sequoia_openpgp::anyhow::Error) -> VerifyError {
    match error.downcast::<VerifyError>() {
        Ok(error) => error,
        Err(error) => match error.downcast::<io::Error>() {
            Ok(error) => why_io(error),
            Err(error) => VerifyError::Malformed(shown(&error)),
        },
    }
}

fn why_io(error: io::Error) -> VerifyError {
    let kind = error.kind();
    let text = clean(&error.to_string());
    match error.into_inner().map(|inner| inner.downcast::<VerifyError>()) {
        Some(Ok(error)) => *error,
        // An end too early, and what is no OpenPGP, come as such errors.
        Some(Err(_)) => VerifyError::Malformed(text),
        None if kind == io::ErrorKind::UnexpectedEof => VerifyError::Malformed(text),
        None => VerifyError::Read(io::Error::new(kind, text)),
    }
}

#[cfg(test)]
mod tests;
