//! What both builds compute, to the bit: published vectors, and signatures that openssl made. A
//! channel that one build has sealed is opened by the other one because of this.

use aqueduct_crypto::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aqueduct_crypto::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use aqueduct_crypto::{ed25519, hmac, random, rsa};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FIPS 180-4, the text of its examples.
#[test]
fn hashes_are_those_of_their_standard() {
    let abc = |algorithm| hex(digest(algorithm, b"abc").as_ref());
    assert_eq!(abc(&SHA256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(abc(&SHA1_FOR_LEGACY_USE_ONLY), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(
        abc(&SHA512),
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    );
    let mut parts = Context::new(&SHA256);
    parts.update(b"a");
    parts.update(b"bc");
    assert_eq!(hex(parts.finish().as_ref()), abc(&SHA256));
}

/// RFC 4231, case 2.
#[test]
fn codes_are_those_of_their_standard() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
    let whole = hmac::sign(&key, b"what do ya want for nothing?");
    assert_eq!(
        hex(whole.as_ref()),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    let mut parts = hmac::Context::with_key(&key);
    parts.update(b"what do ya want ");
    parts.update(b"for nothing?");
    assert_eq!(parts.sign().as_ref(), whole.as_ref());
}

/// McGrew and Viega, *The Galois/Counter Mode of Operation*, case 14.
#[test]
fn seals_are_those_of_their_standard_and_open_again() {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0; 32]).unwrap());
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let mut bytes = [0; 16];
    let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut bytes).unwrap();
    assert_eq!(hex(&bytes), "cea7403d4d606b6e074ec5d3baf39d18");
    assert_eq!(hex(tag.as_ref()), "d0d1c8a799996bf0265b98b5d48ab919");
    let sealed = [&bytes, tag.as_ref()].concat();
    let open = |mut bytes: Vec<u8>| {
        let opened = key.open_in_place(nonce(), Aad::empty(), &mut bytes);
        opened.ok().map(|plain| plain.to_vec())
    };
    assert_eq!(open(sealed.clone()), Some(vec![0; 16]));
    for byte in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[byte] ^= 1;
        assert_eq!(open(bad), None, "byte {byte}");
    }
}

/// `printf 'a request' | openssl dgst -sha256 -sign client.key.pem | sha256sum`
#[test]
fn signatures_are_those_of_openssl() {
    let pem = include_bytes!("../../tls/tests/material/client.key.pem");
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
    let key = rsa::Key::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let signature = key.sign_sha256(b"a request").unwrap();
    assert_eq!(signature.len(), 256);
    let of_it = hex(digest(&SHA256, &signature).as_ref());
    assert_eq!(of_it, "eb90a701d18680ea1a98f6ae457d1859181add1ca645509abf4519044f81f542");
    assert!(rsa::Key::from_pkcs8(b"no key").is_err() && rsa::Key::from_pkcs1(b"no key").is_err());
}

/// RFC 8032, 7.1: tests 1 to 3, and that of SHA(abc).
#[test]
fn signatures_of_ed25519_are_those_of_their_standard() {
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).unwrap());
        pairs.map(|it| u8::from_str_radix(it, 16).unwrap()).collect()
    };
    for [seed, public, text, signature] in [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
             c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e\
             458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290\
             ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ec\
             fdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ] {
        let key = ed25519::Key::of_seed(&bytes(seed).try_into().unwrap());
        assert_eq!(hex(key.public()), public);
        assert_eq!(hex(&key.sign(&bytes(text))), signature);
    }
}

#[test]
fn random_bytes_are_others_each_time() {
    let drawn = || {
        let mut bytes = [0; 32];
        random::fill(&mut bytes);
        bytes
    };
    let (one, other) = (drawn(), drawn());
    assert!(one != other && one != [0; 32]);
}
