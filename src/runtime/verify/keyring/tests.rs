use std::io::Write;
use std::time::Duration;

use sequoia_openpgp::Packet;
use sequoia_openpgp::armor;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::serialize::stream::{Armorer, Message, Signer as Signing};
use sequoia_openpgp::types::{KeyFlags, ReasonForRevocation, SignatureType};

use super::*;

const DATA: &[u8] = b"the archive of a release\n";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A throwaway certificate with a subkey for signing, made so many days ago, valid for so many.
fn cert(name: &str, days_ago: u32, valid_days: Option<u32>) -> Cert {
    let builder = CertBuilder::new()
        .set_creation_time(SystemTime::now() - DAY * days_ago)
        .set_validity_period(valid_days.map(|days| DAY * days))
        .add_userid(name)
        .add_signing_subkey();
    builder.generate().unwrap().0
}

fn ring(certs: &[&Cert]) -> Keyring {
    let bytes: Vec<u8> = certs.iter().flat_map(|cert| cert.to_vec().unwrap()).collect();
    Keyring::from_bytes(&bytes).unwrap()
}

/// How something is signed.
#[derive(Clone, Copy)]
struct How {
    days_ago: u32,
    hash: HashAlgorithm,
    cleartext: bool,
}

const PLAIN: How = How { days_ago: 0, hash: HashAlgorithm::SHA512, cleartext: false };

fn sign(certs: &[&Cert], data: &[u8], how: How) -> Vec<u8> {
    let when = SystemTime::now() - DAY * how.days_ago;
    let mut out = Vec::new();
    let pairs = certs.iter().map(|cert| {
        let key = cert.keys().unencrypted_secret().nth(1).unwrap().key().clone();
        key.into_keypair().unwrap()
    });
    let message = Message::new(&mut out);
    let message = match how.cleartext {
        true => message,
        false => Armorer::new(message).kind(armor::Kind::Signature).build().unwrap(),
    };
    let mut pairs = pairs.collect::<Vec<_>>().into_iter();
    let template = SignatureBuilder::new(SignatureType::Binary);
    let mut signing = Signing::with_template(message, pairs.next().unwrap(), template).unwrap();
    for pair in pairs {
        signing = signing.add_signer(pair).unwrap();
    }
    signing = if how.cleartext { signing.cleartext() } else { signing.detached() };
    let mut signing = signing.hash_algo(how.hash).unwrap().creation_time(when).build().unwrap();
    signing.write_all(data).unwrap();
    signing.finalize().unwrap();
    out
}

fn fingerprint(cert: &Cert) -> String {
    cert.fingerprint().to_hex()
}

fn said(result: Result<Signer, VerifyError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_signature_by_a_key_of_the_ring_names_its_owner() {
    let (one, two) = (cert("One <one@example.org>", 10, None), cert("Two", 10, None));
    let signature = sign(&[&two], DATA, PLAIN);
    let signer = ring(&[&one, &two]).detached(&mut &DATA[..], &signature).unwrap();
    assert_eq!(signer, Signer { fingerprint: fingerprint(&two), owner: "Two".to_owned() });
    // As they are in files without armor.
    let mut binary = Vec::new();
    armor::Reader::from_bytes(&signature, None).read_to_end(&mut binary).unwrap();
    assert_eq!(ring(&[&two]).detached(&mut &DATA[..], &binary).unwrap().fingerprint, fingerprint(&two));
}

#[test]
fn content_or_a_signature_with_a_changed_byte_is_refused() {
    let one = cert("One", 10, None);
    let ring = ring(&[&one]);
    let signature = sign(&[&one], DATA, PLAIN);
    for changed in [&b"the archive of a release"[..], b"The archive of a release\n", b""] {
        let error = ring.detached(&mut &changed[..], &signature).unwrap_err();
        assert!(matches!(&error, VerifyError::BadSignature { made_by } if made_by.starts_with(&fingerprint(&one))));
        assert!(!error.is_lack());
    }
    let mut binary = Vec::new();
    armor::Reader::from_bytes(&signature, None).read_to_end(&mut binary).unwrap();
    for at in 0..binary.len() {
        let mut changed = binary.clone();
        changed[at] ^= 0x10;
        // Some bytes are of the part that is not signed, and say only who may have made it.
        if let Ok(signer) = ring.detached(&mut &DATA[..], &changed) {
            assert_eq!(signer.fingerprint, fingerprint(&one));
        }
    }
    for end in 0..binary.len() {
        assert!(ring.detached(&mut &DATA[..], &binary[..end]).is_err(), "{end} bytes of {}", binary.len());
    }
}

#[test]
fn a_signature_by_an_unknown_key_says_which() {
    let (one, two) = (cert("One", 10, None), cert("Two", 10, None));
    let error = ring(&[&one]).detached(&mut &DATA[..], &sign(&[&two], DATA, PLAIN)).unwrap_err();
    let subkey = two.keys().nth(1).unwrap().key().fingerprint().to_hex();
    assert!(matches!(&error, VerifyError::UnknownKey { made_by } if *made_by == subkey), "{error}");
    assert!(error.is_lack());
}

#[test]
fn one_known_signature_among_several_is_enough() {
    let (one, two, three) = (cert("One", 10, None), cert("Two", 10, None), cert("Three", 10, None));
    let signature = sign(&[&one, &two, &three], DATA, PLAIN);
    assert_eq!(ring(&[&two]).detached(&mut &DATA[..], &signature).unwrap().owner, "Two");
    let error = ring(&[&two]).detached(&mut &b"other"[..], &signature).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
}

#[test]
fn a_revoked_key_vouches_for_nothing_not_even_for_what_is_older() {
    let one = cert("One", 30, None);
    let signature = sign(&[&one], DATA, How { days_ago: 20, ..PLAIN });
    let mut primary = one.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revoke = |reason| {
        let mut builder =
            sequoia_openpgp::cert::CertRevocationBuilder::new().set_reason_for_revocation(reason, b"").unwrap();
        builder = builder.set_signature_creation_time(SystemTime::now() - DAY).unwrap();
        builder
    };
    let packet = revoke(ReasonForRevocation::KeyCompromised).build(&mut primary, &one, None).unwrap();
    let revoked = one.clone().insert_packets(vec![Packet::from(packet)]).unwrap().0;
    let error = ring(&[&revoked]).detached(&mut &DATA[..], &signature).unwrap_err();
    assert!(matches!(&error, VerifyError::Revoked { made_by } if made_by.starts_with(&fingerprint(&one))), "{error}");
    assert!(!error.is_lack());
    // A key that was only replaced still vouches for what it signed before, and not for later things.
    let packet = revoke(ReasonForRevocation::KeySuperseded).build(&mut primary, &one, None).unwrap();
    let retired = one.clone().insert_packets(vec![Packet::from(packet)]).unwrap().0;
    assert_eq!(ring(&[&retired]).detached(&mut &DATA[..], &signature).unwrap().owner, "One");
    let later = sign(&[&one], DATA, PLAIN);
    let error = ring(&[&retired]).detached(&mut &DATA[..], &later).unwrap_err();
    assert!(matches!(error, VerifyError::Revoked { .. }), "{error}");
}

#[test]
fn an_expired_key_vouches_for_what_it_signed_while_it_was_valid() {
    let one = cert("One", 30, Some(20));
    let ring = ring(&[&one]);
    let before = sign(&[&one], DATA, How { days_ago: 15, ..PLAIN });
    assert_eq!(ring.detached(&mut &DATA[..], &before).unwrap().owner, "One");
    let after = sign(&[&one], DATA, How { days_ago: 5, ..PLAIN });
    let error = ring.detached(&mut &DATA[..], &after).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Expired { made_by, .. } if made_by.starts_with(&fingerprint(&one))),
        "{error}"
    );
    let error = ring.detached(&mut &b"other"[..], &after).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
    let [info] = &ring.keys()[..] else { panic!() };
    let expires = UNIX_EPOCH + Duration::from_secs(info.expires.unwrap());
    assert!(expires < SystemTime::now() - DAY * 9 && expires > SystemTime::now() - DAY * 11);
}

#[test]
fn a_signature_from_before_the_key_was_there_or_from_the_future_is_refused() {
    let one = cert("One", 10, None);
    let early = sign_with(&one, SystemTime::now() - DAY * 20, HashAlgorithm::SHA512);
    assert!(ring(&[&one]).detached(&mut &DATA[..], &early).is_err());
    let late = sign_with(&one, SystemTime::now() + DAY * 20, HashAlgorithm::SHA512);
    let error = ring(&[&one]).detached(&mut &DATA[..], &late).unwrap_err();
    assert!(matches!(error, VerifyError::Expired { .. }), "{error}");
}

/// As [`sign`], whatever time it is said to be.
fn sign_with(cert: &Cert, when: SystemTime, hash: HashAlgorithm) -> Vec<u8> {
    let key = cert.keys().unencrypted_secret().nth(1).unwrap().key().clone();
    let mut pair = key.into_keypair().unwrap();
    let builder = SignatureBuilder::new(SignatureType::Binary).set_hash_algo(hash);
    let signature = builder.set_signature_creation_time(when).unwrap().sign_message(&mut pair, DATA).unwrap();
    Packet::from(signature).to_vec().unwrap()
}

#[test]
fn sha_1_of_content_proves_nothing() {
    let one = cert("One", 10, None);
    let signature = sign_with(&one, SystemTime::now(), HashAlgorithm::SHA1);
    let error = ring(&[&one]).detached(&mut &DATA[..], &signature).unwrap_err();
    assert!(matches!(&error, VerifyError::Weak { reason, .. } if reason.contains("SHA1")), "{error}");
    let error = ring(&[&one]).detached(&mut &b"other"[..], &signature).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
}

#[test]
fn a_key_that_is_not_for_signing_vouches_for_nothing() {
    // The primary key only certifies.
    let one = cert("One", 10, None);
    let mut primary = one.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let signature = SignatureBuilder::new(SignatureType::Binary).sign_message(&mut primary, DATA).unwrap();
    let error = ring(&[&one]).detached(&mut &DATA[..], &Packet::from(signature).to_vec().unwrap()).unwrap_err();
    assert!(matches!(&error, VerifyError::Weak { reason, .. } if reason.contains("not signing capable")), "{error}");
}

#[test]
fn a_certificate_that_has_only_its_newest_bindings_vouches_for_what_is_older_than_they() {
    let one = cert("One", 30, None);
    let old = sign(&[&one], DATA, How { days_ago: 20, ..PLAIN });
    let minimal = rebound(&one, SystemTime::now() - DAY * 2, DAY * 60);
    assert!(minimal.with_policy(&policy(), SystemTime::now() - DAY * 20).is_err());
    assert_eq!(ring(&[&minimal]).detached(&mut &DATA[..], &old).unwrap().fingerprint, fingerprint(&one));
    let error = ring(&[&minimal]).detached(&mut &b"other"[..], &old).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
    let before_the_key = sign_with(&one, SystemTime::now() - DAY * 40, HashAlgorithm::SHA512);
    assert!(ring(&[&minimal]).detached(&mut &DATA[..], &before_the_key).is_err());
    let sha1 = sign_with(&one, SystemTime::now() - DAY * 20, HashAlgorithm::SHA1);
    assert!(ring(&[&minimal]).detached(&mut &DATA[..], &sha1).is_err());
    // The new binding says that the key was valid for ten days only.
    let short = rebound(&one, SystemTime::now() - DAY * 2, DAY * 5);
    assert!(ring(&[&short]).detached(&mut &DATA[..], &old).is_err());
}

/// The same keys, with self-signatures of that time and no other.
fn rebound(cert: &Cert, when: SystemTime, validity: Duration) -> Cert {
    let mut primary = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let id = cert.userids().next().unwrap().userid().clone();
    let expires = |builder: SignatureBuilder| builder.set_key_validity_period(validity).unwrap();
    let binding = expires(SignatureBuilder::new(SignatureType::PositiveCertification))
        .set_signature_creation_time(when)
        .unwrap()
        .set_key_flags(KeyFlags::empty().set_certification())
        .unwrap();
    let binding = id.bind(&mut primary, cert, binding).unwrap();
    let subkey = cert.keys().secret().nth(1).unwrap().key().clone();
    let mut pair = subkey.clone().into_keypair().unwrap();
    let back = SignatureBuilder::new(SignatureType::PrimaryKeyBinding)
        .set_signature_creation_time(when)
        .unwrap()
        .sign_primary_key_binding(&mut pair, cert.primary_key().key(), subkey.parts_as_public().role_as_subordinate())
        .unwrap();
    let bound = SignatureBuilder::new(SignatureType::SubkeyBinding)
        .set_signature_creation_time(when)
        .unwrap()
        .set_key_flags(KeyFlags::empty().set_signing())
        .unwrap()
        .set_embedded_signature(back)
        .unwrap();
    let public = subkey.parts_into_public().role_into_subordinate();
    let bound = public.bind(&mut primary, cert, bound).unwrap();
    let packets: Vec<Packet> = vec![
        Packet::from(cert.primary_key().key().clone()),
        Packet::from(id),
        Packet::from(binding),
        Packet::from(public),
        Packet::from(bound),
    ];
    Cert::from_packets(packets.into_iter()).unwrap()
}

#[test]
fn of_a_text_signed_in_the_clear_only_what_was_signed_counts() {
    let one = cert("One", 10, None);
    let ring = ring(&[&one]);
    let text = b"1111  a.tar.xz\n- dashed\nFrom here\n2222  b.tar.xz\n";
    let signed = sign(&[&one], text, How { cleartext: true, ..PLAIN });
    assert!(signed.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----"));
    let (said, signer) = ring.cleartext(&signed).unwrap();
    assert_eq!(String::from_utf8(said).unwrap().trim_end(), std::str::from_utf8(text).unwrap().trim_end());
    assert_eq!(signer.owner, "One");

    let mut after = signed.clone();
    after.extend_from_slice(b"\n3333  junk.tar.xz\n");
    let before = [b"3333  junk.tar.xz\n".as_slice(), &signed].concat();
    for around in [after, before] {
        if let Ok((said, _)) = ring.cleartext(&around) {
            assert!(!String::from_utf8_lossy(&said).contains("junk"));
        }
    }
    let changed = String::from_utf8(signed.clone()).unwrap().replace("1111", "9999");
    let error = ring.cleartext(changed.as_bytes()).unwrap_err();
    assert!(matches!(error, VerifyError::BadSignature { .. }), "{error}");
    let inserted = String::from_utf8(signed.clone()).unwrap().replace("2222", "3333  junk.tar.xz\n2222");
    assert!(ring.cleartext(inserted.as_bytes()).is_err());
    for end in 0..signed.len() - 30 {
        assert!(ring.cleartext(&signed[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn two_texts_in_one_file_do_not_borrow_each_others_signature() {
    let (one, stranger) = (cert("One", 10, None), cert("Stranger", 10, None));
    let ring = ring(&[&one]);
    let good = sign(&[&one], b"1111  a\n", How { cleartext: true, ..PLAIN });
    let bad = sign(&[&stranger], b"2222  a\n", How { cleartext: true, ..PLAIN });
    for both in [[good.clone(), bad.clone()].concat(), [bad, good].concat()] {
        if let Ok((said, _)) = ring.cleartext(&both) {
            assert!(!String::from_utf8_lossy(&said).contains("2222"));
        }
    }
}

#[test]
fn what_is_no_signature_is_refused_and_says_so() {
    let one = cert("One", 10, None);
    let ring = ring(&[&one]);
    assert!(matches!(ring.detached(&mut &DATA[..], b" \n"), Err(VerifyError::NoSignature)));
    assert!(matches!(ring.cleartext(b""), Err(VerifyError::NoSignature)));
    let page = b"<html><body>404</body></html>";
    assert!(matches!(ring.detached(&mut &DATA[..], page), Err(VerifyError::Malformed(_))));
    assert!(matches!(ring.cleartext(page), Err(VerifyError::Malformed(_))));
    let unsigned = b"1111  a.tar.xz\n";
    assert!(matches!(ring.cleartext(unsigned), Err(VerifyError::Malformed(_))));
    // A certificate, and a detached signature where a signed text should be.
    let certificate = one.armored().to_vec().unwrap();
    assert!(ring.detached(&mut &DATA[..], &certificate).is_err());
    assert!(ring.cleartext(&certificate).is_err());
    assert!(ring.cleartext(&sign(&[&one], DATA, PLAIN)).is_err());
    let long = vec![b'x'; MAX_SIGNATURE + 1];
    assert!(matches!(ring.detached(&mut &DATA[..], &long), Err(VerifyError::TooLong { most: MAX_SIGNATURE, .. })));
    let empty = Keyring::default();
    assert!(matches!(empty.detached(&mut &DATA[..], &sign(&[&one], DATA, PLAIN)), Err(VerifyError::NoKeys)));
}

#[test]
fn content_that_cannot_be_read_is_an_error_of_reading() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let one = cert("One", 10, None);
    let error = ring(&[&one]).detached(&mut Broken, &sign(&[&one], DATA, PLAIN)).unwrap_err();
    assert!(matches!(error, VerifyError::Read(_)), "{error:?}");
}

#[test]
fn names_of_keys_do_not_reach_a_terminal_as_they_are() {
    let one = cert("Evil \x1b[31m\u{202e}name", 10, None);
    let info = ring(&[&one]).keys().remove(0);
    assert_eq!(info.owner, "Evil \u{fffd}[31m\u{fffd}name");
    let error = said(ring(&[&one]).detached(&mut &b"other"[..], &sign(&[&one], DATA, PLAIN)));
    assert!(!error.contains('\x1b'), "{error:?}");
}

#[test]
fn a_ring_is_read_armored_and_joined_and_nothing_else_is() {
    let (one, two) = (cert("One", 10, None), cert("Two", 10, None));
    let both = [one.armored().to_vec().unwrap(), b"\n".to_vec(), two.armored().to_vec().unwrap()].concat();
    let read = Keyring::from_bytes(&both).unwrap();
    let prints = |ring: &Keyring| ring.keys().into_iter().map(|key| key.fingerprint).collect::<Vec<_>>();
    assert_eq!(prints(&read), [fingerprint(&one), fingerprint(&two)]);
    assert_eq!(prints(&ring(&[&one]).with(ring(&[&two, &one]))), [fingerprint(&one), fingerprint(&two)]);
    for bad in [&b""[..], b"no key", &sign(&[&one], DATA, PLAIN)] {
        assert!(matches!(Keyring::from_bytes(bad), Err(VerifyError::BadKeys(_))));
    }
    let long = vec![b'\n'; MAX_KEYS + 1];
    assert!(matches!(Keyring::from_bytes(&long), Err(VerifyError::TooLong { .. })));
    assert_eq!(format!("{read:?}").matches(&fingerprint(&one)).count(), 1);
}

#[test]
fn the_shipped_keys_load_and_are_those_that_are_documented() {
    for native in Native::ALL {
        let mut got: Vec<String> = Keyring::shipped(native).keys().into_iter().map(|key| key.fingerprint).collect();
        got.sort_unstable();
        let documented = keys::of(native).map(|shipped| shipped.documented).unwrap_or_default();
        assert_eq!(got, documented, "{native}");
        if let Some(shipped) = keys::of(native) {
            // Nothing in the file besides them.
            assert_eq!(Keyring::from_bytes(shipped.armored).unwrap().certs.len(), documented.len(), "{native}");
        }
    }
    let mise = Keyring::mise().keys();
    assert_eq!(mise.len(), 1);
    assert_eq!(mise[0].fingerprint, "24853EC9F655CE80B48E6C3A8B81C9D17413A06D");
}

/// A release key is of no use when sequoia's policy takes none of its parts for signing, as it would Rust's, bound by SHA-1.
#[test]
fn the_keys_that_sign_releases_now_are_of_use() {
    let policy = policy();
    let rings = [Native::Go, Native::Rust, Native::Java, Native::Bun].map(Keyring::shipped);
    for cert in rings.iter().chain([&Keyring::mise()]).flat_map(|ring| &ring.certs) {
        let valid = cert.with_policy(&policy, None).unwrap();
        assert!(valid.keys().for_signing().next().is_some(), "{}", named(cert));
    }
    // Those that nodejs/release-keys calls active.
    let active = [
        "5BE8A3F6C8A5C01D106C0AD820B1A390B168D356",
        "DD792F5973C6DE52C432CBDAC77ABFA00DDBF2B7",
        "CC68F5A3106FF448322E48ED27F5E38D5B0A215F",
        "8FCCA13FEF1D0C2E91008E09770F7A9A5AE15600",
        "890C08DB8579162FEE0DF9DB8BEAB4DFCF555EF4",
        "C82FA3AE1CBEDC6BE46B9360C43CEC45C17AB93C",
        "108F52B48DB57BB0CC439B2997B01419BD92F80A",
        "655F3B5C1FB3FA8D1A0CA6BDE4A7D232B936D2FD",
        "A363A499291CBBC940DD62E41F10027AF002F8B0",
    ];
    let node = Keyring::shipped(Native::Node);
    for fingerprint in active {
        let cert = node.certs.iter().find(|cert| cert.fingerprint().to_hex() == fingerprint).unwrap();
        let valid = cert.with_policy(&policy, None).unwrap();
        assert!(valid.keys().for_signing().next().is_some(), "{}", named(cert));
    }
}

/// As <https://nodejs.org/dist/v14.2.0/SHASUMS256.txt.asc> has it, by a key that expired since then.
#[test]
fn what_upstream_has_signed_holds_and_changed_it_does_not() {
    let ring = Keyring::shipped(Native::Node);
    let signed = include_bytes!("node-v14.2.0.SHASUMS256.txt.asc");
    let (listing, signer) = ring.cleartext(signed).unwrap();
    assert!(ring.keys().iter().any(|key| key.fingerprint == signer.fingerprint));
    let sum = crate::runtime::verify::listed(&listing, "node-v14.2.0-darwin-x64.tar.xz").unwrap();
    assert_eq!(hex::encode(sum), "3caec491f8f8a46c0c88eeebfff6616c7fdbca9695b1e74cb70354507ac3bfd4");
    let changed = String::from_utf8(signed.to_vec()).unwrap().replacen("3caec491", "3caec492", 1);
    assert!(matches!(ring.cleartext(changed.as_bytes()), Err(VerifyError::BadSignature { .. })));
    assert!(matches!(Keyring::shipped(Native::Rust).cleartext(signed), Err(VerifyError::UnknownKey { .. })));
}

/// As <https://nodejs.org/dist/v0.10.0/SHASUMS256.txt.asc> has it.
#[test]
fn what_upstream_signed_with_sha_1_is_refused() {
    let error =
        Keyring::shipped(Native::Node).cleartext(include_bytes!("node-v0.10.0.SHASUMS256.txt.asc")).unwrap_err();
    assert!(error.is_lack(), "{error}");
    assert!(matches!(error, VerifyError::Weak { .. }), "{error}");
}
