use serde_json::{Value, json};
use sigstore_verify::trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;
use sigstore_verify::types::{HashAlgorithm, SignatureBytes};

use super::*;

#[path = "../../../../tests/support/random.rs"]
mod random;
#[path = "../../../../tests/support/sigstore.rs"]
mod sigstore;

use random::Random;
use sigstore::{Claims, Instance, SIGNED, base64};

/// What npm publishes with its package sigstore 2.0.0: format 0.1, in the log as `intoto`.
const NPM: &[u8] = include_bytes!("npm-sigstore-2.0.0.json");
const NPM_SHA512: &str = "46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1\
    e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c";
const NPM_MAKER: Maker<'static> = Maker {
    repository: "https://github.com/sigstore/sigstore-js",
    workflow: ".github/workflows/release.yml@refs/heads/main",
};

/// What prefix.dev publishes with a package of its channel sigstore-example: format 0.3, in the log as `dsse`, as GitHub's
/// attestations are; its statement is one of publication.
const CONDA: &[u8] = include_bytes!("conda-signed-package-2.1.0.json");
const CONDA_SHA256: &str = "54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";
const CONDA_STATEMENT: &str = "https://schemas.conda.org/attestations-publish-1.schema.json";
const CONDA_MAKER: Maker<'static> = Maker {
    repository: "https://github.com/prefix-dev/sigstore-example",
    workflow: ".github/workflows/action.yaml@refs/heads/main",
};

/// The same package by a person, in the newer kind of log (Rekor v2), which leaves the time to an authority for timestamps;
/// of Sigstore's instance for tests.
const BY_MAIL: &[u8] = include_bytes!("conda-signed-package-2.1.0-by-mail.json");

const MAKER: Maker<'static> =
    Maker { repository: "https://github.com/o/r", workflow: ".github/workflows/release.yml@refs/heads/main" };

fn digest(hexadecimal: &str) -> ArtifactDigest {
    let algorithm = if hexadecimal.len() == 64 { HashAlgorithm::Sha2256 } else { HashAlgorithm::Sha2512 };
    ArtifactDigest::new(algorithm, hex::decode(hexadecimal).unwrap()).unwrap()
}

fn npm(root: &TrustedRoot, bundle: &[u8], maker: &Maker<'_>) -> Result<Provenance, ProvenanceError> {
    root.statement(bundle, digest(NPM_SHA512), maker, PROVENANCE)
}

fn conda(root: &TrustedRoot, bundle: &[u8], maker: &Maker<'_>) -> Result<Provenance, ProvenanceError> {
    root.statement(bundle, digest(CONDA_SHA256), maker, CONDA_STATEMENT)
}

/// The bundle with something else in it.
fn changed(bundle: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut bundle = serde_json::from_slice(bundle).unwrap();
    change(&mut bundle);
    serde_json::to_vec(&bundle).unwrap()
}

/// What is packed in base64 at this place, with other bytes.
fn rewrite(bundle: &mut Value, pointer: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let place = bundle.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
    let mut bytes = SignatureBytes::from_base64(place.as_str().unwrap()).unwrap().into_bytes();
    change(&mut bytes);
    *place = json!(base64(&bytes));
}

/// One bit of the last byte is another.
fn flip(bundle: &[u8], pointer: &str) -> Vec<u8> {
    changed(bundle, |bundle| rewrite(bundle, pointer, |bytes| *bytes.last_mut().unwrap() ^= 1))
}

/// A Sigstore of the test's own, and a bundle that it vouches for.
struct World {
    instance: Instance,
    root: TrustedRoot,
}

const SUM: [u8; 32] = [0xab; 32];

impl World {
    fn new() -> Self {
        let instance = Instance::new();
        let root = TrustedRoot::from_bytes(&instance.trusted_root()).unwrap();
        Self { instance, root }
    }

    fn claims() -> Claims {
        Claims::of(&hex::encode(SUM), MAKER.repository, MAKER.workflow)
    }

    fn check(&self, bundle: &Value) -> Result<Provenance, ProvenanceError> {
        self.root.provenance(&serde_json::to_vec(bundle).unwrap(), &SUM, &MAKER)
    }

    /// Why a bundle with other claims is refused.
    fn refused(&self, change: impl FnOnce(&mut Claims)) -> ProvenanceError {
        let mut claims = Self::claims();
        change(&mut claims);
        self.check(&self.instance.bundle(&claims)).unwrap_err()
    }
}

#[test]
fn real_bundles_of_both_kinds_hold_by_the_root_that_is_shipped() {
    let root = TrustedRoot::shipped();
    let made = npm(&root, NPM, &NPM_MAKER).unwrap();
    assert_eq!(made.workflow, format!("{}/{}", NPM_MAKER.repository, NPM_MAKER.workflow));
    assert_eq!(made.commit.as_deref(), Some("f0b49a04e5a62250e0f60fb128004a73110fe311"));
    let made = conda(&root, CONDA, &CONDA_MAKER).unwrap();
    assert_eq!(made.commit.as_deref(), Some("193b5bd7d3985809503963ae400594ea16df31cf"));
}

#[test]
fn a_real_bundle_of_the_newer_kind_of_log_has_its_time_from_another_authority() {
    let root = TrustedRoot::from_bytes(SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes()).unwrap();
    let bundle = read(BY_MAIL).unwrap();
    let anybody = VerificationPolicy::any_identity();
    let proven =
        root.root().unwrap().verifier.verify(Artifact::Digest(digest(CONDA_SHA256)), &bundle, &anybody).unwrap();
    assert!(proven.tlog_verified() && proven.sct_verified() && proven.integrated_time().is_none());
    assert_eq!(proven.verified_timestamps().len(), 1);
    let error = conda(&root, BY_MAIL, &CONDA_MAKER).unwrap_err();
    assert!(matches!(&error, ProvenanceError::OtherMaker { found, .. } if found.contains('@')), "{error}");
    let mut without: Value = serde_json::from_slice(BY_MAIL).unwrap();
    without["verificationMaterial"]["timestampVerificationData"] = json!({});
    let error = conda(&root, &serde_json::to_vec(&without).unwrap(), &CONDA_MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::NoTime(_)), "{error}");
    let error = conda(&TrustedRoot::shipped(), BY_MAIL, &CONDA_MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::UnknownAuthority(_)), "{error}");
}

#[test]
fn a_statement_of_another_kind_is_no_provenance() {
    let root = TrustedRoot::shipped();
    let sum = hex::decode(CONDA_SHA256).unwrap().try_into().unwrap();
    let error = root.provenance(CONDA, &sum, &CONDA_MAKER).unwrap_err();
    assert!(matches!(&error, ProvenanceError::OtherStatement(found) if found == CONDA_STATEMENT), "{error}");
    assert!(error.is_lack());
}

#[test]
fn a_real_bundle_vouches_for_no_other_file_and_nobody_else() {
    let root = TrustedRoot::shipped();
    let other = root.statement(CONDA, digest(&"00".repeat(32)), &CONDA_MAKER, CONDA_STATEMENT).unwrap_err();
    assert!(matches!(other, ProvenanceError::OtherFile) && !other.is_lack(), "{other}");
    let other = root.statement(NPM, digest(&"00".repeat(64)), &NPM_MAKER, PROVENANCE).unwrap_err();
    assert!(matches!(other, ProvenanceError::OtherFile), "{other}");
    for maker in [
        Maker { repository: "https://github.com/prefix-dev/sigstore-exampl", ..CONDA_MAKER },
        Maker { repository: "https://github.com/prefix-dev", ..CONDA_MAKER },
        Maker { workflow: ".github/workflows/action.yaml@refs/heads/other", ..CONDA_MAKER },
        Maker { workflow: ".github/workflows/release.yaml@refs/heads/main", ..CONDA_MAKER },
        // The same text, put together in another way.
        Maker {
            repository: "https://github.com/prefix-dev/sigstore-example/.github",
            workflow: "workflows/action.yaml@refs/heads/main",
        },
    ] {
        let error = conda(&root, CONDA, &maker).unwrap_err();
        assert!(matches!(&error, ProvenanceError::OtherMaker { .. }) && !error.is_lack(), "{maker:?}: {error}");
    }
}

#[test]
fn anything_that_is_changed_in_a_real_bundle_makes_it_worthless() {
    let root = TrustedRoot::shipped();
    let entry = "/verificationMaterial/tlogEntries/0";
    let at = |below: &str| format!("{entry}{below}");
    let signature = "/dsseEnvelope/signatures/0/sig";
    let refused = |bundle: &[u8]| conda(&root, bundle, &CONDA_MAKER).unwrap_err();

    let error = refused(&changed(CONDA, |bundle| {
        rewrite(bundle, "/dsseEnvelope/payload", |payload| {
            let text = String::from_utf8(payload.clone()).unwrap();
            *payload = text.replace("prefix.dev/sigstore-example", "prefix.dev/sigstore-examplf").into_bytes();
        });
    }));
    assert!(matches!(error, ProvenanceError::BadSignature(_)), "{error}");
    let error = refused(&flip(CONDA, signature));
    assert!(matches!(error, ProvenanceError::BadSignature(_)), "{error}");
    for place in ["/canonicalizedBody", "/inclusionPromise/signedEntryTimestamp", "/inclusionProof/rootHash"] {
        let error = refused(&flip(CONDA, &at(place)));
        assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{place}: {error}");
    }
    for (place, value) in [
        ("/integratedTime", json!("1756728838")),
        ("/logIndex", json!("1")),
        ("/inclusionProof/hashes/0", json!(base64(&[0; 32]))),
        ("/inclusionProof/logIndex", json!("1")),
    ] {
        let error = refused(&changed(CONDA, |bundle| *bundle.pointer_mut(&at(place)).unwrap() = value));
        assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{place}: {error}");
    }
    let error = refused(&changed(CONDA, |bundle| {
        let note = bundle.pointer_mut(&at("/inclusionProof/checkpoint/envelope")).unwrap();
        *note = json!(note.as_str().unwrap().replacen("rekor.sigstore.dev", "rekor.sigstore.dex", 1));
    }));
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{error}");
    let error = refused(&flip(CONDA, "/verificationMaterial/certificate/rawBytes"));
    assert!(matches!(error, ProvenanceError::BadCertificate(_)) && !error.is_lack(), "{error}");
    // Of another certificate that holds: the one of the other bundle.
    let other: Value = serde_json::from_slice(NPM).unwrap();
    let other = other["verificationMaterial"]["x509CertificateChain"]["certificates"][0].clone();
    let error = refused(&changed(CONDA, |bundle| bundle["verificationMaterial"]["certificate"] = other));
    assert!(matches!(error, ProvenanceError::BadCertificate(_)), "{error}");
    let refused = |place: &str| npm(&root, &flip(NPM, place), &NPM_MAKER).unwrap_err();
    let error = refused(signature);
    assert!(matches!(error, ProvenanceError::BadSignature(_)), "{error}");
    let error = refused("/dsseEnvelope/payload");
    assert!(matches!(error, ProvenanceError::Malformed(_)), "{error}");
    for place in ["/canonicalizedBody", "/inclusionPromise/signedEntryTimestamp"] {
        let error = refused(&at(place));
        assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{place}: {error}");
    }
    let error = refused("/verificationMaterial/x509CertificateChain/certificates/0/rawBytes");
    assert!(matches!(error, ProvenanceError::BadCertificate(_)), "{error}");
}

#[test]
fn nothing_may_be_left_out_of_a_real_bundle() {
    let root = TrustedRoot::shipped();
    let without = |pointer: &str, key: &str| {
        let bundle = changed(CONDA, |bundle| {
            let removed = bundle.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
            assert!(removed.is_some(), "{pointer}/{key}");
        });
        conda(&root, &bundle, &CONDA_MAKER).unwrap_err()
    };
    let entry = "/verificationMaterial/tlogEntries/0";
    let error = without(entry, "inclusionProof");
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)) && !error.is_lack(), "{error}");
    for key in ["inclusionPromise", "integratedTime"] {
        let error = without(entry, key);
        assert!(matches!(error, ProvenanceError::NoTime(_)) && !error.is_lack(), "{key}: {error}");
    }
    for (pointer, key) in [
        ("", "mediaType"),
        ("", "dsseEnvelope"),
        ("", "verificationMaterial"),
        ("/verificationMaterial", "certificate"),
        ("/dsseEnvelope", "signatures"),
        (entry, "canonicalizedBody"),
        (entry, "logId"),
    ] {
        let error = without(pointer, key);
        assert!(matches!(error, ProvenanceError::Malformed(_)), "{pointer}/{key}: {error}");
    }
    let stripped = changed(CONDA, |bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]));
    let error = conda(&root, &stripped, &CONDA_MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{error}");
    let many = changed(CONDA, |bundle| {
        let entries = &mut bundle["verificationMaterial"]["tlogEntries"];
        let one = entries[0].clone();
        *entries = json!(vec![one; MAX_ENTRIES + 1]);
    });
    let error = conda(&root, &many, &CONDA_MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::Malformed(_)), "{error}");
}

#[test]
fn only_the_authorities_and_logs_of_the_root_count() {
    let world = World::new();
    let error = conda(&world.root, CONDA, &CONDA_MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::UnknownAuthority(_)), "{error}");
    let bundle = world.instance.bundle(&World::claims());
    assert!(world.check(&bundle).is_ok());
    let bytes = serde_json::to_vec(&bundle).unwrap();
    for root in [TrustedRoot::shipped(), World::new().root] {
        let error = root.provenance(&bytes, &SUM, &MAKER).unwrap_err();
        assert!(matches!(error, ProvenanceError::UnknownAuthority(_)) && error.is_lack(), "{error}");
    }
    // Of each part of the root alone: another instance's does not do.
    let (own, other): (Value, Value) = (
        serde_json::from_slice(&world.instance.trusted_root()).unwrap(),
        serde_json::from_slice(&Instance::new().trusted_root()).unwrap(),
    );
    for (part, is_lack) in [("tlogs", true), ("ctlogs", true), ("certificateAuthorities", false)] {
        let mut root = own.clone();
        root[part] = other[part].clone();
        let root = TrustedRoot::from_bytes(&serde_json::to_vec(&root).unwrap()).unwrap();
        let error = root.provenance(&bytes, &SUM, &MAKER).unwrap_err();
        assert_eq!(error.is_lack(), is_lack, "{part}: {error}");
    }
    // Of a time that it did not count at: a later root may know who did.
    let mut root = own.clone();
    root["certificateAuthorities"][0]["validFor"]["start"] = json!("2025-12-01T00:00:00Z");
    let root = TrustedRoot::from_bytes(&serde_json::to_vec(&root).unwrap()).unwrap();
    let error = root.provenance(&bytes, &SUM, &MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::UnknownAuthority(_)), "{error}");
    // Named otherwise, it is one that is not known.
    let shipped: Value = serde_json::from_slice(keys::SIGSTORE).unwrap();
    let mut root = own.clone();
    root["certificateAuthorities"] = shipped["certificateAuthorities"].clone();
    let root = TrustedRoot::from_bytes(&serde_json::to_vec(&root).unwrap()).unwrap();
    let error = root.provenance(&bytes, &SUM, &MAKER).unwrap_err();
    assert!(matches!(error, ProvenanceError::UnknownAuthority(_)) && error.is_lack(), "{error}");
}

#[test]
fn a_root_is_whole_or_an_error() {
    let own: Value = serde_json::from_slice(&Instance::new().trusted_root()).unwrap();
    for part in ["tlogs", "ctlogs", "certificateAuthorities"] {
        let mut root = own.clone();
        root[part] = json!([]);
        let error = TrustedRoot::from_bytes(&serde_json::to_vec(&root).unwrap()).unwrap_err();
        assert!(matches!(error, ProvenanceError::BadRoot(_)) && !error.is_lack(), "{error}");
    }
    for bad in [&b""[..], b"{}", b"-----BEGIN PGP PUBLIC KEY BLOCK-----"] {
        assert!(matches!(TrustedRoot::from_bytes(bad).unwrap_err(), ProvenanceError::BadRoot(_)));
    }
    let long = vec![b' '; MAX_ROOT + 1];
    assert!(matches!(TrustedRoot::from_bytes(&long).unwrap_err(), ProvenanceError::TooLong { .. }));
}

#[test]
fn a_certificate_holds_for_its_own_time_and_use() {
    let world = World::new();
    for late in [601, 86_400, -1] {
        let error = world.refused(|claims| claims.logged = SIGNED + late);
        assert!(matches!(error, ProvenanceError::BadCertificate(_)), "{late}: {error}");
    }
    let error = world.refused(|claims| claims.signs_code = false);
    assert!(matches!(error, ProvenanceError::BadCertificate(_)), "{error}");
    let error = world.refused(|claims| claims.is_listed = false);
    assert!(matches!(error, ProvenanceError::BadCertificate(_)), "{error}");
    // Of a time when the authority did not count yet.
    let error = world.refused(|claims| (claims.begins, claims.logged) = (SIGNED - 2_000_000, SIGNED - 1_999_999));
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{error}");
    // A time that has not come.
    let error = world.refused(|claims| (claims.begins, claims.logged) = (2_200_000_000, 2_200_000_001));
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{error}");
}

#[test]
fn a_statement_is_by_the_maker_about_the_file_and_of_its_provenance() {
    let world = World::new();
    let made = world.check(&world.instance.bundle(&World::claims())).unwrap();
    assert_eq!(made.workflow, format!("{}/{}", MAKER.repository, MAKER.workflow));
    let error = world.refused(|claims| claims.sha256 = "cd".repeat(32));
    assert!(matches!(error, ProvenanceError::OtherFile), "{error}");
    let error = world.refused(|claims| claims.repository = "https://github.com/o/fork".to_owned());
    assert!(
        matches!(&error, ProvenanceError::OtherMaker { found, .. } if found.starts_with("https://github.com/o/fork/")),
        "{error}"
    );
    let error = world.refused(|claims| claims.workflow = ".github/workflows/ci.yml@refs/heads/main".to_owned());
    assert!(matches!(error, ProvenanceError::OtherMaker { .. }), "{error}");
    let error = world.refused(|claims| claims.workflow = ".github/workflows/release.yml@refs/pull/1/merge".to_owned());
    assert!(matches!(error, ProvenanceError::OtherMaker { .. }), "{error}");
    let error = world.refused(|claims| claims.issuer = "https://accounts.google.com".to_owned());
    assert!(
        matches!(&error, ProvenanceError::OtherMaker { found, .. } if found.contains("accounts.google.com")),
        "{error}"
    );
    let error = world.refused(|claims| claims.predicate = "https://slsa.dev/verification_summary/v1".to_owned());
    assert!(matches!(error, ProvenanceError::OtherStatement(_)), "{error}");
    for payload in ["", "{}", "[]", "null"] {
        let error = world.check(&world.instance.signed(payload.as_bytes(), &World::claims())).unwrap_err();
        assert!(matches!(error, ProvenanceError::Malformed(_)), "{payload}: {error}");
    }
    let old = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"{PROVENANCE}","subject":[],"predicate":{{}}}}"#
    );
    let error = world.check(&world.instance.signed(old.as_bytes(), &World::claims())).unwrap_err();
    assert!(matches!(error, ProvenanceError::OtherStatement(_)), "{error}");
}

#[test]
fn an_entry_of_the_log_is_of_this_very_bundle() {
    let world = World::new();
    let (mut one, two) = (world.instance.bundle(&World::claims()), world.instance.bundle(&World::claims()));
    // It holds, and is of the same statement by the same maker.
    one["verificationMaterial"]["tlogEntries"] = two["verificationMaterial"]["tlogEntries"].clone();
    let error = world.check(&one).unwrap_err();
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{error}");
    let mut bundle = two.clone();
    let payload = "/dsseEnvelope/payloadType";
    *bundle.pointer_mut(payload).unwrap() = json!("text/plain");
    let error = world.check(&bundle).unwrap_err();
    assert!(matches!(error, ProvenanceError::Unknown(_)), "{error}");
    let mut bundle = two.clone();
    bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.9+json");
    let error = world.check(&bundle).unwrap_err();
    assert!(matches!(error, ProvenanceError::Unknown(_)) && error.is_lack(), "{error}");
    let mut bundle = two;
    rewrite(&mut bundle, "/verificationMaterial/tlogEntries/0/canonicalizedBody", |body| *body = b"{}".to_vec());
    let logged = world.instance.entry(b"{}", SIGNED + 2);
    bundle["verificationMaterial"]["tlogEntries"] = json!([logged]);
    let error = world.check(&bundle).unwrap_err();
    assert!(matches!(error, ProvenanceError::BadLogEntry(_)), "{error}");
}

#[test]
fn no_bytes_make_a_panic_or_a_bundle_that_holds() {
    let root = TrustedRoot::shipped();
    let mut random = Random::of_test("no_bytes_make_a_panic_or_a_bundle_that_holds");
    let honest: Vec<Value> = [NPM, CONDA].map(|bundle| serde_json::from_slice(bundle).unwrap()).to_vec();
    for round in 0..3000 {
        let (is_npm, original) = if round % 2 == 0 { (true, NPM) } else { (false, CONDA) };
        let mut bytes = original.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] ^= 1_u8 << random.below(8),
                1 => bytes[at] = b"{}[]\",:0A=/\\"[random.below(12)],
                2 => drop(bytes.drain(at..(at + 1 + random.below(40)).min(bytes.len()))),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let piece = bytes[at..(at + 1 + random.below(40)).min(bytes.len())].to_vec();
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        let checked = if is_npm { npm(&root, &bytes, &NPM_MAKER) } else { conda(&root, &bytes, &CONDA_MAKER) };
        match checked {
            Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
            // What was changed may mean nothing: the name of a member that nobody reads.
            Ok(_) => assert_eq!(parts(&bytes), parts(&serde_json::to_vec(&honest[round % 2]).unwrap()), "{round}"),
        }
    }
    let long = vec![b'['; MAX_BUNDLE + 1];
    assert!(matches!(root.provenance(&long, &SUM, &MAKER).unwrap_err(), ProvenanceError::TooLong { .. }));
    let deep = vec![b'['; MAX_BUNDLE];
    assert!(matches!(root.provenance(&deep, &SUM, &MAKER).unwrap_err(), ProvenanceError::Malformed(_)));
}

/// What a bundle that holds consists of.
fn parts(bundle: &[u8]) -> Vec<Value> {
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    let entry = "/verificationMaterial/tlogEntries/0";
    [
        "/dsseEnvelope/payload",
        "/dsseEnvelope/payloadType",
        "/dsseEnvelope/signatures/0/sig",
        &format!("{entry}/canonicalizedBody"),
        &format!("{entry}/integratedTime"),
        &format!("{entry}/logId"),
        &format!("{entry}/inclusionPromise/signedEntryTimestamp"),
    ]
    .map(|pointer| bundle.pointer(pointer).cloned().unwrap_or_default())
    .to_vec()
}
