//! Java's old keystore, JKS: certificates in clear text, keys with Sun's proprietary protection,
//! and a checksum of everything.
//!
//! ```text
//!   FEEDFEED  version  n  n × (tag  alias  date  entry)  SHA-1
//!   tag 1: protected key, chain of certificates        tag 2: a certificate
//! ```
//!
//! The checksum covers the password, "Mighty Aphrodite", and everything before it. The format does
//! not change: Java still reads it, and writes PKCS#12 by default since 9. A crate for it would add
//! second copies of ASN.1 and random number libraries.

use crypto::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use zeroize::Zeroizing;

const MAGIC: u32 = 0xfeed_feed;
const WHITENER: &[u8] = b"Mighty Aphrodite";
const SHA1_BYTES: usize = 20;

/// A private key as PKCS#8.
pub(crate) type Pkcs8 = Zeroizing<Vec<u8>>;

/// The contents of a keystore.
#[derive(Default)]
pub(crate) struct Jks {
    /// Keys, each with its chain.
    pub(crate) keys: Vec<(Pkcs8, Vec<Vec<u8>>)>,
    /// Certificates that are trusted.
    pub(crate) trusted: Vec<Vec<u8>>,
}

/// Why one cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It ends early, or has unknown parts.
    Damaged,
    /// The password is another one.
    Password,
}

/// Returns `true` if these bytes begin like a JKS.
pub(crate) fn is_jks(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Reads one. Without a password its checksum is not looked at, and keys cannot be read.
///
/// # Errors
/// See [`Unreadable`].
pub(crate) fn read(bytes: &[u8], password: Option<&str>) -> Result<Jks, Unreadable> {
    let password = password.map(wide);
    let body = match &password {
        Some(password) => checked(bytes, password)?,
        None => bytes,
    };
    let mut reader = Reader(body);
    let (magic, version, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
    if magic != MAGIC || !(1..=2).contains(&version) {
        return Err(Unreadable::Damaged);
    }
    let mut jks = Jks::default();
    for _ in 0..count {
        let tag = reader.u32()?;
        reader.text()?;
        reader.take(8)?;
        match tag {
            1 => {
                let protected = reader.block()?;
                let chain = reader.u32()?;
                // Each has a length at least.
                if chain as usize > reader.0.len() / 4 {
                    return Err(Unreadable::Damaged);
                }
                let chain = (0..chain).map(|_| reader.certificate(version));
                let chain = chain.collect::<Result<_, _>>()?;
                if let Some(password) = &password {
                    jks.keys.push((key(protected, password)?, chain));
                }
            }
            2 => jks.trusted.push(reader.certificate(version)?),
            _ => return Err(Unreadable::Damaged),
        }
    }
    Ok(jks)
}

/// Java's characters: UTF-16, the high byte first.
fn wide(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.encode_utf16().flat_map(u16::to_be_bytes).collect())
}

fn sha1(parts: &[&[u8]]) -> [u8; SHA1_BYTES] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().try_into().expect("SHA-1 has 20 bytes")
}

/// Returns the bytes before the checksum, if it is correct.
fn checked<'a>(bytes: &'a [u8], password: &[u8]) -> Result<&'a [u8], Unreadable> {
    let (body, sum) = bytes.split_last_chunk::<SHA1_BYTES>().ok_or(Unreadable::Damaged)?;
    match sha1(&[password, WHITENER, body]) == *sum {
        true => Ok(body),
        false => Err(Unreadable::Password),
    }
}

/// Takes Sun's protection from a key: a stream of SHA-1 over the password, and a checksum.
fn key(protected: &[u8], password: &[u8]) -> Result<Pkcs8, Unreadable> {
    // EncryptedPrivateKeyInfo: SEQUENCE { SEQUENCE { algorithm }, OCTET STRING }.
    let whole = der(protected, 0x30).ok_or(Unreadable::Damaged)?.0;
    let behind = der(whole, 0x30).ok_or(Unreadable::Damaged)?.1;
    let content = der(behind, 0x04).ok_or(Unreadable::Damaged)?.0;
    let (salt, rest) = content.split_first_chunk::<SHA1_BYTES>().ok_or(Unreadable::Damaged)?;
    let (hidden, sum) = rest.split_last_chunk::<SHA1_BYTES>().ok_or(Unreadable::Damaged)?;
    let mut plain = Zeroizing::new(hidden.to_vec());
    let mut pad = *salt;
    for piece in plain.chunks_mut(SHA1_BYTES) {
        pad = sha1(&[password, &pad]);
        piece.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    }
    match sha1(&[password, &plain]) == *sum {
        true => Ok(plain),
        false => Err(Unreadable::Password),
    }
}

/// Returns the value of a DER element with this tag, and the bytes after it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (first == tag).then_some(())?;
    rest.split_at_checked(length)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Unreadable::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Unreadable::Damaged)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken))
    }

    fn text(&mut self) -> Result<(), Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Unreadable::Damaged)?;
        self.0 = rest;
        self.take(u16::from_be_bytes(*taken).into()).map(|_| ())
    }

    fn block(&mut self) -> Result<&'a [u8], Unreadable> {
        let bytes = self.u32()?;
        self.take(bytes as usize)
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, Unreadable> {
        // Version 1 has only X.509, without a type.
        if version == 2 {
            self.text()?;
        }
        self.block().map(<[u8]>::to_vec)
    }
}
