//! A Sigstore of a test's own: an authority, a log and a log of certificates, with throwaway keys.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sigstore_verify::types::{DerCertificate, SignatureBytes};

/// When everything is signed unless a test says otherwise: some time that has passed, seconds since 1970.
pub const SIGNED: i64 = 1_750_000_000;

const UTF8: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// 1.3.6.1.4.1.57264.1, and one number more.
const FULCIO: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1];
const TIMESTAMPS: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

pub fn base64(bytes: &[u8]) -> String {
    SignatureBytes::from_bytes(bytes).to_base64()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// DER: a value with its tag and length.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut made = vec![tag];
    match content.len() {
        short @ 0..=0x7f => made.push(short as u8),
        _ => {
            made.push(0x80 | length.len() as u8);
            made.extend_from_slice(length);
        }
    }
    made.extend(content);
    made
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(0x03, &[&[0], bytes])
}

fn algorithm() -> Vec<u8> {
    der(SEQUENCE, &[&der(OID, &[ECDSA_SHA256])])
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der(0x01, &[&[0xff]]) } else { Vec::new() };
    der(SEQUENCE, &[&der(OID, &[oid]), &critical, &der(OCTETS, &[value])])
}

/// Of X.509: id-ce, and one number more.
fn of_certificate(number: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    extension(&[0x55, 0x1d, number], critical, value)
}

fn name(common: &str) -> Vec<u8> {
    let pair = der(SEQUENCE, &[&der(OID, &[&[0x55, 4, 3]]), &der(UTF8, &[common.as_bytes()])]);
    der(SEQUENCE, &[&der(0x31, &[&pair])])
}

/// Year, month, day, hour, minute and second of a time, in UTC.
fn civil(seconds: i64) -> [i64; 6] {
    let (mut days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    for (index, length) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        let length = length + i64::from(index == 1 && is_leap(year));
        month = index as i64 + 1;
        if days < length {
            break;
        }
        days -= length;
    }
    [year, month, days + 1, rest / 3600, rest / 60 % 60, rest % 60]
}

fn utc(seconds: i64) -> Vec<u8> {
    let [year, rest @ ..] = civil(seconds);
    let rest: String = rest.iter().map(|part| format!("{part:02}")).collect();
    der(0x17, &[format!("{:02}{rest}Z", year % 100).as_bytes()])
}

fn rfc3339(seconds: i64) -> String {
    let [year, month, day, hour, minute, second] = civil(seconds);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

struct Pair {
    key: EcdsaKeyPair,
    /// SubjectPublicKeyInfo.
    public: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        let of = der(SEQUENCE, &[&der(OID, &[PUBLIC_KEY]), &der(OID, &[P256])]);
        let public = der(SEQUENCE, &[&of, &bits(key.public_key().as_ref())]);
        Self { key, public }
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), data).unwrap().as_ref().to_vec()
    }

    fn id(&self) -> Vec<u8> {
        sha256(&self.public)
    }

    /// Signed by `by`.
    fn certificate(&self, issuer: &str, subject: &str, valid: [i64; 2], extensions: &[Vec<u8>], by: &Pair) -> Vec<u8> {
        let tbs = self.unsigned(issuer, subject, valid, extensions);
        der(SEQUENCE, &[&tbs, &algorithm(), &bits(&by.sign(&tbs))])
    }

    fn unsigned(&self, issuer: &str, subject: &str, valid: [i64; 2], extensions: &[Vec<u8>]) -> Vec<u8> {
        let subject = if subject.is_empty() { der(SEQUENCE, &[]) } else { name(subject) };
        let valid = der(SEQUENCE, &[&utc(valid[0]), &utc(valid[1])]);
        let version = der(0xa0, &[&der(0x02, &[&[2]])]);
        let extensions = der(0xa3, &[&der(SEQUENCE, &[&extensions.concat()])]);
        let serial = der(0x02, &[&[7]]);
        der(SEQUENCE, &[&version, &serial, &algorithm(), &name(issuer), &valid, &subject, &self.public, &extensions])
    }
}

/// What an attestation says, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Hexadecimal.
    pub sha256: String,
    pub repository: String,
    /// Path and ref.
    pub workflow: String,
    pub issuer: String,
    pub predicate: String,
    /// When the certificate begins, and when the log says that it was signed.
    pub begins: i64,
    pub logged: i64,
    /// The certificate is in the log of certificates.
    pub is_listed: bool,
    /// The certificate is one for signatures of programs.
    pub signs_code: bool,
}

impl Claims {
    pub fn of(sha256: &str, repository: &str, workflow: &str) -> Self {
        Self {
            sha256: sha256.to_owned(),
            repository: repository.to_owned(),
            workflow: workflow.to_owned(),
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            predicate: "https://slsa.dev/provenance/v1".to_owned(),
            begins: SIGNED,
            logged: SIGNED + 2,
            is_listed: true,
            signs_code: true,
        }
    }
}

pub struct Instance {
    authority: Pair,
    log: Pair,
    certificates: Pair,
}

impl Instance {
    const NAME: &str = "throwaway";

    pub fn new() -> Self {
        Self { authority: Pair::new(), log: Pair::new(), certificates: Pair::new() }
    }

    /// A file as `trusted_root.json`.
    pub fn trusted_root(&self) -> Vec<u8> {
        let extensions =
            [of_certificate(19, true, &der(SEQUENCE, &[&der(1, &[&[0xff]])])), of_certificate(15, true, &[3, 2, 1, 6])];
        let valid = [SIGNED - 1_000_000, SIGNED + 1_000_000_000];
        let certificate = self.authority.certificate(Self::NAME, Self::NAME, valid, &extensions, &self.authority);
        let since = json!({"start": rfc3339(valid[0])});
        let log = |pair: &Pair| {
            json!({"baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256", "logId": {"keyId": base64(&pair.id())},
                "publicKey": {"rawBytes": base64(&pair.public), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since}})
        };
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log)], "ctlogs": [log(&self.certificates)],
            "certificateAuthorities": [{"subject": {"organization": Self::NAME, "commonName": Self::NAME},
                "uri": "https://authority.example", "validFor": since,
                "certChain": {"certificates": [{"rawBytes": base64(&certificate)}]}}],
        });
        serde_json::to_vec_pretty(&root).unwrap()
    }

    /// The certificate of a workflow.
    fn certificate(&self, leaf: &Pair, claims: &Claims) -> Vec<u8> {
        let fulcio = |number: u8, value: &[u8]| extension(&[FULCIO, &[number]].concat(), false, value);
        let text = |text: &str| der(UTF8, &[text.as_bytes()]);
        let usage = if claims.signs_code { CODE_SIGNING } else { SERVER };
        let identity = format!("{}/{}", claims.repository, claims.workflow);
        let mut extensions = vec![
            of_certificate(15, true, &[3, 2, 7, 0x80]),
            of_certificate(37, false, &der(SEQUENCE, &[&der(OID, &[usage])])),
            of_certificate(17, true, &der(SEQUENCE, &[&der(0x86, &[identity.as_bytes()])])),
            fulcio(1, claims.issuer.as_bytes()),
            fulcio(8, &text(&claims.issuer)),
            fulcio(12, &text(&claims.repository)),
            fulcio(13, &text(&"c0".repeat(20))),
        ];
        let valid = [claims.begins, claims.begins + 600];
        if claims.is_listed {
            let tbs = leaf.unsigned(Self::NAME, "", valid, &extensions);
            let time = (claims.begins as u64 * 1000).to_be_bytes();
            let length = &(tbs.len() as u32).to_be_bytes()[1..];
            let signed = [&[0, 0][..], &time, &[0, 1], &self.authority.id(), length, &tbs, &[0, 0]].concat();
            let signature = self.certificates.sign(&signed);
            let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
            let timestamp = [&[0][..], &self.certificates.id(), &time, &[0, 0], &[4, 3], &sized(&signature)].concat();
            extensions.push(extension(TIMESTAMPS, false, &der(OCTETS, &[&sized(&sized(&timestamp))])));
        }
        leaf.certificate(Self::NAME, "", valid, &extensions, &self.authority)
    }

    /// What the log says of a body: that it has it, since when, and that it is all that it has.
    pub fn entry(&self, body: &[u8], logged: i64) -> Value {
        let (id, index) = (self.log.id(), 7);
        let promise =
            json!({"body": base64(body), "integratedTime": logged, "logID": hex::encode(&id), "logIndex": index});
        let promise = self.log.sign(&serde_json::to_vec(&promise).unwrap());
        let root = sha256(&[&[0], body].concat());
        let note = format!("log.example\n1\n{}\n", base64(&root));
        let hinted = [&id[..4], &self.log.sign(note.as_bytes())].concat();
        json!({
            "logIndex": index.to_string(), "logId": {"keyId": base64(&id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"}, "integratedTime": logged.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": base64(&promise)},
            "inclusionProof": {"logIndex": "0", "treeSize": "1", "rootHash": base64(&root), "hashes": [],
                "checkpoint": {"envelope": format!("{note}\n— log.example {}\n", base64(&hinted))}},
            "canonicalizedBody": base64(body),
        })
    }

    /// A bundle, signed and logged.
    pub fn bundle(&self, claims: &Claims) -> Value {
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": claims.predicate,
            "subject": [{"name": "another.tar.zst", "digest": {"sha256": "00".repeat(32)}},
                {"name": "archive.tar.gz", "digest": {"sha256": claims.sha256}}],
            "predicate": {"buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1"}}});
        self.signed(&serde_json::to_vec(&statement).unwrap(), claims)
    }

    /// A bundle of any payload.
    pub fn signed(&self, payload: &[u8], claims: &Claims) -> Value {
        let leaf = Pair::new();
        let certificate = self.certificate(&leaf, claims);
        let kind = "application/vnd.in-toto+json";
        let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
        let signature = base64(&leaf.sign(&[head.as_bytes(), payload].concat()));
        let envelope = json!({"payload": base64(payload), "payloadType": kind, "signatures": [{"sig": signature}]});
        let verifier = base64(DerCertificate::from_bytes(&certificate).to_pem().as_bytes());
        let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(sha256(bytes))});
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": hash(&serde_json::to_vec(&envelope).unwrap()), "payloadHash": hash(payload),
            "signatures": [{"signature": signature, "verifier": verifier}]}});
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"certificate": {"rawBytes": base64(&certificate)},
                "tlogEntries": [self.entry(&serde_json::to_vec(&body).unwrap(), claims.logged)]},
            "dsseEnvelope": envelope,
        })
    }
}
