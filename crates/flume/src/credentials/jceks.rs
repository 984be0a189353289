//! A key store of Java's kind JCEKS, as `hadoop credential create` makes it: secret keys, each a
//! serialized object that is sealed by PBEWithMD5AndTripleDES under the password of the store.
//!
//! ```text
//!   magic, version, count,  kind alias date object …,  SHA-1 over password and all before
//! ```

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use crypto::Outside;
use crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};
use des::TdesEde3;
use md5::{Digest, Md5};

use super::bytes::Bytes;
use super::java;

const MAGIC: u32 = 0xcece_cece;
const PRIVATE: u32 = 1;
const TRUSTED: u32 = 2;
const SECRET: u32 = 3;

/// Maximum number of rounds of a key's derivation, as in Java.
const ROUNDS_MAX: u32 = 5_000_000;

/// The constant that Java writes between password and content.
const PHRASE: &[u8] = b"Mighty Aphrodite";

/// Returns the secret with this name; `None` if the store does not have it.
///
/// # Errors
/// The store is damaged, has another password, or a key has an unknown protection: the problem, for
/// the user.
pub(super) fn secret(store: &[u8], password: &str, alias: &str) -> Result<Option<Vec<u8>>, String> {
    crypto::allow(Outside::CredentialStore).map_err(|refused| refused.to_string())?;
    let damaged = || "the file is damaged or not a JCEKS key store".to_owned();
    let at = store.len().checked_sub(SHA1_OUTPUT_LEN).ok_or_else(damaged)?;
    let (content, sum) = store.split_at(at);
    let mut bytes = Bytes(content);
    if bytes.u32() != Some(MAGIC) {
        return Err(damaged());
    }
    let mut all: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    all.extend_from_slice(PHRASE);
    all.extend_from_slice(content);
    if digest(&SHA1_FOR_LEGACY_USE_ONLY, &all).as_ref() != sum {
        return Err("wrong password, or the file is damaged".to_owned());
    }
    let found = find(&mut bytes, &alias.to_lowercase()).ok_or_else(damaged)?;
    found.map(|sealed| opened(&sealed, password)).transpose()
}

/// Returns the sealed object of an alias: `Some(None)` if it is missing, `None` if this is not a
/// store.
fn find(bytes: &mut Bytes<'_>, wanted: &str) -> Option<Option<java::Value>> {
    let version = bytes.u32().filter(|it| matches!(it, 1 | 2))?;
    for _ in 0..bytes.u32()? {
        let kind = bytes.u32()?;
        let alias = bytes.text()?;
        bytes.take(8)?; // when it was made
        let certificate = |bytes: &mut Bytes<'_>| {
            if version == 2 {
                bytes.text()?;
            }
            bytes.block().map(|_| ())
        };
        match kind {
            SECRET => {
                let sealed = java::read(bytes)?;
                if alias == wanted {
                    return Some(Some(sealed));
                }
            }
            PRIVATE => {
                bytes.block()?;
                for _ in 0..bytes.u32()? {
                    certificate(bytes)?;
                }
            }
            TRUSTED => certificate(bytes)?,
            _ => return None,
        }
    }
    Some(None)
}

/// The bytes of a sealed key.
fn opened(sealed: &java::Value, password: &str) -> Result<Vec<u8>, String> {
    let unknown = || {
        "the entry is not encrypted with PBEWithMD5AndTripleDES, the only supported algorithm"
            .to_owned()
    };
    if sealed.text("sealAlg").as_deref() != Some("PBEWithMD5AndTripleDES") {
        return Err(unknown());
    }
    let parameters = sealed.bytes("encodedParams").ok_or_else(unknown)?;
    let mut content = sealed.bytes("encryptedContent").ok_or_else(unknown)?.to_vec();
    let (salt, rounds) = parameters_of(&parameters).ok_or_else(unknown)?;
    let derived = derived(password, salt, rounds);
    let cipher = Decryptor::<TdesEde3>::new_from_slices(&derived[..24], &derived[24..]);
    let cipher = cipher.map_err(|_| unknown())?;
    let plain = cipher.decrypt_padded::<Pkcs7>(&mut content);
    let plain = plain.map_err(|_| {
        "the password of the entry differs from the password of the store".to_owned()
    })?;
    let key = java::read(&mut Bytes(plain)).and_then(|key| key.bytes("key"));
    key.map(|key| key.to_vec()).ok_or_else(|| "the entry is not a Hadoop credential".to_owned())
}

/// Salt and rounds, in DER: a sequence of eight octets and a number.
fn parameters_of(der: &[u8]) -> Option<([u8; 8], u32)> {
    let [0x30, _, 4, 8, rest @ ..] = der else { return None };
    let (salt, rest) = rest.split_first_chunk::<8>()?;
    let [2, length, number @ ..] = rest else { return None };
    let is_number = number.len() == usize::from(*length) && (1..=4).contains(&number.len());
    is_number.then_some(())?;
    let rounds = number.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
    (1..=ROUNDS_MAX).contains(&rounds).then_some((*salt, rounds))
}

/// Key and initial vector, as Java derives them: each half of the salt on its own.
fn derived(password: &str, mut salt: [u8; 8], rounds: u32) -> [u8; 32] {
    if salt[..4] == salt[4..] {
        // Java means to turn the half round, and does this.
        let [a, b, _, d] = [salt[0], salt[1], salt[2], salt[3]];
        salt[..4].copy_from_slice(&[d, a, b, d]);
    }
    let mut all = [0; 32];
    for (half, out) in salt.chunks(4).zip(all.chunks_mut(16)) {
        let mut hashed = half.to_vec();
        for _ in 0..rounds {
            hashed = Md5::new().chain_update(&hashed).chain_update(password).finalize().to_vec();
        }
        out.copy_from_slice(&hashed);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `hadoop credential create` of Hadoop 3.4.1 on Java 17.
    const NONE: &[u8] = include_bytes!("../../tests/credentials/none.jceks");
    const CHANGEIT: &[u8] = include_bytes!("../../tests/credentials/changeit.jceks");

    #[test]
    fn a_store_that_hadoop_has_made_gives_its_secrets() {
        let text = |store, password, alias| {
            secret(store, password, alias).map(|it| it.map(|it| String::from_utf8(it).unwrap()))
        };
        assert_eq!(text(NONE, "none", "ks_password"), Ok(Some("geheim".to_owned())));
        assert_eq!(text(NONE, "none", "db.Password"), Ok(Some("s3cret".to_owned())));
        assert_eq!(text(NONE, "none", "absent"), Ok(None));
        assert_eq!(text(CHANGEIT, "changeit", "ks_password"), Ok(Some("other".to_owned())));
    }

    #[test]
    fn a_fips_build_opens_no_store_and_says_what_to_do() {
        let said = crypto::refusing(|| secret(NONE, "none", "ks_password")).unwrap_err();
        assert!(said.contains("FIPS") && said.contains("`${file:PATH}`"), "{said}");
    }

    #[test]
    fn a_store_under_another_password_or_with_a_changed_byte_is_refused() {
        assert!(secret(CHANGEIT, "none", "ks_password").unwrap_err().contains("wrong password"));
        for at in 0..NONE.len() {
            let mut changed = NONE.to_vec();
            changed[at] ^= 1;
            assert!(secret(&changed, "none", "ks_password").is_err(), "byte {at}");
            assert!(secret(&NONE[..at], "none", "ks_password").is_err(), "{at} bytes");
        }
    }

    /// The checksum normally stops a damaged store before it is parsed; the parser has to work
    /// without it.
    #[test]
    fn a_changed_store_is_read_or_refused_without_a_panic() {
        let content = &NONE[4..NONE.len() - SHA1_OUTPUT_LEN];
        for at in 0..content.len() {
            for byte in [0, 1, 0x70, 0x71, 0x72, 0x73, 0x75, 0x7f, 0xff] {
                let mut changed = content.to_vec();
                changed[at] = byte;
                drop(find(&mut Bytes(&changed), "ks_password"));
                drop(find(&mut Bytes(&content[..at]), "ks_password"));
            }
        }
    }

    #[test]
    fn equal_halves_of_a_salt_are_mixed_as_java_mixes_them() {
        let mixed = derived("p", [1, 2, 3, 4, 1, 2, 3, 4], 1);
        assert_eq!(mixed, derived("p", [4, 1, 2, 4, 1, 2, 3, 4], 1));
    }
}
