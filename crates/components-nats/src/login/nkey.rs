//! User keys of NATS: NKeys. Pure.
//!
//! ```text
//!   seed         SU…   base32 of: seed and user in 2 bytes, 32 bytes, check sum
//!   public key   U…    base32 of: user in 1 byte, 32 bytes, check sum
//! ```
//!
//! The encoding is Base32 of RFC 4648 without padding; the checksum is CRC-16 (XMODEM), little
//! endian. No error contains a seed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::ed25519::{Key, SEED_BYTES};
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Prefix of a seed: `S`, as 5 bits in front of a byte.
const SEED: u8 = 18 << 3;

/// Prefix of a user's key: `U`.
const USER: u8 = 20 << 3;

/// Key pair of a user.
pub(crate) struct Pair {
    key: Key,
    public: String,
}

impl Pair {
    /// Derives the key pair from a seed.
    ///
    /// # Errors
    /// Fails if it is not a user's seed; returns the cause and advice.
    pub(crate) fn of_seed(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let none = "is not a seed of a user: a seed has 58 characters and starts with `SU`; \
                    create one with `nk -gen user` or `nsc`";
        if text.starts_with('U') {
            return Err("is the public key of a user; use its seed, which starts with `SU`");
        }
        let bytes = decode(text).ok_or(none)?;
        let [first, second, rest @ ..] = &**bytes else { return Err(none) };
        let Some((seed, [low, high])) = rest.split_first_chunk::<SEED_BYTES>() else {
            return Err(none);
        };
        if *first & 0xf8 != SEED {
            return Err(none);
        }
        if u16::from_le_bytes([*low, *high]) != crc(&bytes[..2 + SEED_BYTES]) {
            return Err("has a wrong checksum: correct the seed, or create a new one");
        }
        if (*first << 5) | (*second >> 3) != USER {
            return Err("is not the seed of a user: use one that starts with `SU`");
        }
        let key = Key::of_seed(seed);
        let mut public = [&[USER], key.public()].concat();
        public.extend(crc(&public).to_le_bytes());
        Ok(Self { key, public: encode(&public) })
    }

    /// Returns the public key, `U…`.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// Returns the signature of a text in the server's format.
    pub(crate) fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()))
    }
}

/// Decodes Base32.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // The capacity is sufficient, so that no copy of the secret remains.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut left, mut bits) = (0_u16, 0);
    for character in text.bytes() {
        let value = ALPHABET.iter().position(|it| *it == character)?;
        (left, bits) = ((left << 5) | value as u16, bits + 5);
        if bits >= 8 {
            bits -= 8;
            bytes.push((left >> bits) as u8);
            left &= (1 << bits) - 1;
        }
    }
    (left == 0).then_some(bytes)
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut left, mut bits) = (0_u16, 0);
    let mut push = |value: u16| text.push(char::from(ALPHABET[usize::from(value & 31)]));
    for byte in bytes {
        (left, bits) = (((left & 31) << 8) | u16::from(*byte), bits + 8);
        while bits >= 5 {
            bits -= 5;
            push(left >> bits);
        }
    }
    if bits > 0 {
        push(left << (5 - bits));
    }
    text
}

/// Returns the CRC-16 with polynomial 0x1021 and initial value 0.
fn crc(bytes: &[u8]) -> u16 {
    let step = |sum: u16, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
    bytes.iter().fold(0, |sum, byte| (0..8).fold(sum ^ (u16::from(*byte) << 8), step))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Example of `nk -gen user -pubout` in the NATS documentation.
    pub(crate) const PUBLISHED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    pub(crate) const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_published_seed_has_its_published_key() {
        let pair = Pair::of_seed(&format!(" {PUBLISHED}\n")).unwrap();
        assert_eq!(pair.public(), PUBLIC);
        assert_eq!(crc(b"123456789"), 0x31c3, "the check value of XMODEM");
    }

    #[test]
    fn base32_is_that_of_its_standard() {
        for (text, encoded) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(encode(text.as_bytes()), encoded);
            assert_eq!(**decode(encoded).unwrap(), *text.as_bytes());
        }
        for wrong in ["MZ", "mzxq", "MZXQ====", "M1", "é"] {
            assert!(decode(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn rejects_other_seeds_with_the_cause_and_never_shows_them() {
        let seed = |kind: u8, len: usize| {
            let mut bytes = vec![SEED | (kind >> 5), kind << 3];
            bytes.extend(vec![7; len]);
            bytes.extend(crc(&bytes).to_le_bytes());
            encode(&bytes)
        };
        assert!(Pair::of_seed(&seed(USER, 32)).is_ok());
        for (text, cause) in [
            (PUBLIC.to_owned(), "the public key of a user"),
            (String::new(), "is not a seed"),
            (seed(USER, 31), "is not a seed"),
            (seed(USER, 33), "is not a seed"),
            (PUBLISHED.to_lowercase(), "is not a seed"),
            (PUBLISHED.replacen('S', "T", 1), "is not a seed"),
            (PUBLISHED.replace("HUDX", "HUDY"), "checksum"),
            (seed(0, 32), "not the seed of a user"),
        ] {
            assert!(Pair::of_seed(&text).err().unwrap().contains(cause), "{text}");
        }
    }
}
