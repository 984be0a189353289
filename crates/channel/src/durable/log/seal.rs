//! Sealing: data can be read, or changed without detection, only with a key.
//!
//! AES-256-GCM, with a separate key for each frame: HMAC-SHA256 of the named key over 192 random
//! bits in the frame. The two nonces of a frame (0 envelope, 1 body) are therefore used once by
//! construction, in whichever copy of the directory a process runs, and no counter exists that a
//! crash could reset.
//!
//! ```text
//! envelope   u32 number of the key | u32 check of the key | salt 24 B | sealed envelope | tag 16 B
//! body       sealed batches | tag 16 B; empty without batches
//! ```
//!
//! The tag of the envelope covers the channel's uuid, the segment's number, the frame's offset and
//! its header, including the checksum of the sealed body. A frame that is moved, combined with
//! another body or copied from another channel does not open. The checksums cover the bytes on the
//! disk, so that damage and a wrong key can be distinguished without any key.
//!
//! The check is the first bytes of HMAC-SHA256 over a fixed text. It detects a wrong key with the
//! right number before any frame is treated as damaged.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use crypto::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use crypto::hmac;
use pipeline::env::Entropy;

/// Bytes before a sealed envelope.
pub(crate) const PREFIX_BYTES: usize = 32;
/// Bytes after the sealed data.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

const SALT_BYTES: usize = 24;
const FRAME_LABEL: &[u8] = b"aqueduct channel frame";
const CHECK_LABEL: &[u8] = b"aqueduct channel key check";

/// Identifies the key of sealed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyMark {
    /// Its number.
    pub(crate) id: u32,
    /// Distinguishes it from another key with this number.
    pub(crate) check: u32,
}

/// A key that an operator named.
#[derive(Clone)]
pub(crate) struct Key {
    mark: KeyMark,
    master: hmac::Key,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.mark.id).finish_non_exhaustive()
    }
}

impl Key {
    /// Key number `id`.
    pub(crate) fn new(id: u32, bytes: &[u8; KEY_BYTES]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let digest = hmac::sign(&master, CHECK_LABEL);
        let first = digest.as_ref().first_chunk().expect("a digest has 32 bytes");
        Self { mark: KeyMark { id, check: u32::from_le_bytes(*first) }, master }
    }

    fn frame_key(&self, salt: &[u8]) -> FrameKey {
        let mut context = hmac::Context::with_key(&self.master);
        context.update(FRAME_LABEL);
        context.update(salt);
        let unbound = UnboundKey::new(&AES_256_GCM, context.sign().as_ref());
        FrameKey(LessSafeKey::new(unbound.expect("a digest is as long as a key")))
    }
}

/// The parts of a frame, by the nonce that each is sealed with.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Envelope = 0,
    Body = 1,
}

/// The key of one frame.
pub(crate) struct FrameKey(LessSafeKey);

fn nonce(part: Part) -> Nonce {
    let mut bytes = [0; 12];
    bytes[0] = part as u8;
    Nonce::assume_unique_for_key(bytes)
}

impl FrameKey {
    /// Seals all of `bytes` except the last [`TAG_BYTES`], into which it writes the tag.
    pub(crate) fn seal(&self, part: Part, context: &[u8], bytes: &mut [u8]) {
        let (plain, room) = bytes.split_at_mut(bytes.len() - TAG_BYTES);
        let tag = self.0.seal_in_place_separate_tag(nonce(part), Aad::from(context), plain);
        room.copy_from_slice(tag.expect("a frame is far below what one key can seal").as_ref());
    }

    /// Opens `bytes`, whose last [`TAG_BYTES`] are the tag, in place; `None` if they were changed.
    pub(crate) fn open<'a>(
        &self,
        part: Part,
        context: &[u8],
        bytes: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        self.0.open_in_place(nonce(part), Aad::from(context), bytes).ok().map(|plain| &*plain)
    }
}

/// An error of opening undamaged sealed data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error(
        "the channel is encrypted with key {id}, but no keys are configured; set \
         `encryption.key_file` or `encryption.key_command` (`--key-file` on the command line)"
    )]
    NoKeys { id: u32 },
    #[error(
        "the channel is encrypted with key {id}, which {origin} lacks; add this key again: it is \
         needed while the channel has data encrypted with it"
    )]
    Missing { id: u32, origin: String },
    #[error(
        "key {id} of {origin} differs from the key {id} that encrypts this channel; restore the \
         old key"
    )]
    Wrong { id: u32, origin: String },
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, error)
    }
}

/// The keys of a channel; the newest one seals new segments.
pub(crate) struct Keyring {
    keys: RwLock<BTreeMap<u32, Arc<Key>>>,
    /// The source of the keys, for messages.
    origin: String,
    sealing: Option<Arc<dyn Entropy>>,
}

impl Keyring {
    /// No keys: seals nothing, and opens nothing.
    pub(crate) fn empty() -> Self {
        Self { keys: RwLock::default(), origin: String::new(), sealing: None }
    }

    /// Creates a keyring of `keys` from `origin`. New segments are sealed if there is a source of
    /// salts.
    pub(crate) fn new(
        keys: BTreeMap<u32, Arc<Key>>,
        origin: String,
        sealing: Option<Arc<dyn Entropy>>,
    ) -> Self {
        Self { keys: RwLock::new(keys), origin, sealing }
    }

    /// Returns `true` if new segments are sealed.
    pub(crate) fn is_sealing(&self) -> bool {
        self.sealing.is_some()
    }

    /// Returns the sealer of a new segment: the key with the highest number.
    pub(crate) fn newest(&self) -> Option<Sealer> {
        let entropy = self.sealing.clone()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.last_key_value().map(|(_, key)| Sealer { key: key.clone(), entropy })
    }

    /// Adds keys that were read again. Keys that are missing now stay in use until the process
    /// ends. Returns the number of a new key that seals new segments from now on.
    ///
    /// # Errors
    /// A number now names another key; nothing is changed.
    pub(crate) fn renew(&self, fresh: BTreeMap<u32, Arc<Key>>) -> Result<Option<u32>, SealError> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for (id, key) in &fresh {
            if keys.get(id).is_some_and(|known| known.mark != key.mark) {
                return Err(SealError::Wrong { id: *id, origin: self.origin.clone() });
            }
        }
        let before = keys.last_key_value().map(|(id, _)| *id);
        keys.extend(fresh);
        let newest = keys.last_key_value().map(|(id, _)| *id);
        Ok(newest.filter(|_| newest > before))
    }

    /// The key of this mark.
    ///
    /// # Errors
    /// It is not here, or another one has its number.
    pub(crate) fn find(&self, mark: KeyMark) -> Result<Arc<Key>, SealError> {
        let id = mark.id;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match keys.get(&id) {
            Some(key) if key.mark == mark => Ok(key.clone()),
            Some(_) => Err(SealError::Wrong { id, origin: self.origin.clone() }),
            None if keys.is_empty() => Err(SealError::NoKeys { id }),
            None => Err(SealError::Missing { id, origin: self.origin.clone() }),
        }
    }

    /// Returns the mark and the frame's key for the prefix of a sealed envelope; `None` if it is
    /// too short.
    ///
    /// # Errors
    /// As [`Keyring::find`].
    pub(crate) fn frame_key(&self, envelope: &[u8]) -> Result<Option<FrameKey>, SealError> {
        let Some(mark) = mark_of(envelope) else { return Ok(None) };
        let key = self.find(mark)?;
        Ok(Some(key.frame_key(&envelope[PREFIX_BYTES - SALT_BYTES..PREFIX_BYTES])))
    }
}

/// The key that a sealed envelope names.
pub(crate) fn mark_of(envelope: &[u8]) -> Option<KeyMark> {
    let prefix = envelope.get(..PREFIX_BYTES)?;
    let wide = |at: usize| prefix[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    Some(KeyMark { id: wide(0)?, check: wide(4)? })
}

/// Seals the frames of one segment.
#[derive(Clone)]
pub(crate) struct Sealer {
    key: Arc<Key>,
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    /// The key it seals with.
    pub(crate) fn mark(&self) -> KeyMark {
        self.key.mark
    }

    /// A new frame's prefix and key.
    pub(crate) fn frame(&self) -> ([u8; PREFIX_BYTES], FrameKey) {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..4].copy_from_slice(&self.key.mark.id.to_le_bytes());
        prefix[4..8].copy_from_slice(&self.key.mark.check.to_le_bytes());
        for word in prefix[PREFIX_BYTES - SALT_BYTES..].chunks_exact_mut(8) {
            word.copy_from_slice(&self.entropy.next_u64().to_le_bytes());
        }
        let key = self.key.frame_key(&prefix[PREFIX_BYTES - SALT_BYTES..]);
        (prefix, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU64);

    impl Entropy for Counting {
        fn next_u64(&self) -> u64 {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        }
    }

    fn ring_of(keys: &[(u32, u8)]) -> Keyring {
        let entropy: Arc<dyn Entropy> = Arc::new(Counting(0.into()));
        Keyring::new(map(keys), "keys".into(), Some(entropy))
    }

    fn map(keys: &[(u32, u8)]) -> BTreeMap<u32, Arc<Key>> {
        keys.iter().map(|(id, byte)| (*id, Arc::new(Key::new(*id, &[*byte; 32])))).collect()
    }

    #[test]
    fn sealed_data_opens_only_with_its_key_in_its_place() {
        let ring = ring_of(&[(1, 7)]);
        let (prefix, key) = ring.newest().unwrap().frame();
        let mut sealed = b"positions".to_vec();
        sealed.resize(sealed.len() + TAG_BYTES, 0);
        key.seal(Part::Envelope, b"here", &mut sealed);
        assert!(!sealed.windows(9).any(|window| window == b"positions"));
        let open = |part, context: &[u8], mut bytes: Vec<u8>| {
            let key = ring.frame_key(&prefix).unwrap().unwrap();
            key.open(part, context, &mut bytes).map(<[u8]>::to_vec)
        };
        assert_eq!(
            open(Part::Envelope, b"here", sealed.clone()).as_deref(),
            Some(&b"positions"[..])
        );
        assert_eq!(open(Part::Envelope, b"there", sealed.clone()), None);
        assert_eq!(open(Part::Body, b"here", sealed.clone()), None);
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Part::Envelope, b"here", bad), None, "bit {bit}");
        }
    }

    /// Data sealed by one build or version must open in another: both libraries produce the same
    /// bytes.
    #[test]
    fn every_build_seals_in_the_same_way() {
        let (prefix, key) = ring_of(&[(1, 7)]).newest().unwrap().frame();
        let mut sealed = b"positions".to_vec();
        sealed.resize(sealed.len() + TAG_BYTES, 0);
        key.seal(Part::Envelope, b"here", &mut sealed);
        let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
        assert_eq!(
            hex(&prefix),
            "01000000f40f705b000000000000000001000000000000000200000000000000"
        );
        assert_eq!(hex(&sealed), "07da4738b71634c0d1065cfcfe5d620d5a88f5e1b70f0479a6");
    }

    #[test]
    fn each_frame_has_a_key_of_its_own() {
        let sealer = ring_of(&[(1, 7)]).newest().unwrap();
        let seal = || {
            let (_, key) = sealer.frame();
            let mut bytes = [0; 32 + TAG_BYTES];
            key.seal(Part::Body, &[], &mut bytes);
            bytes
        };
        assert_ne!(seal(), seal(), "equal frames look equal on the disk");
    }

    #[test]
    fn a_missing_and_a_wrong_key_are_told_apart() {
        let mark = ring_of(&[(2, 7)]).newest().unwrap().mark();
        let says = |ring: &Keyring| ring.find(mark).unwrap_err().to_string();
        assert!(says(&Keyring::empty()).contains("`encryption.key_file`"));
        assert!(says(&ring_of(&[(1, 7)])).contains("encrypted with key 2, which keys lacks"));
        assert!(says(&ring_of(&[(2, 8)])).contains("key 2 of keys differs from the key 2"));
    }

    #[test]
    fn keys_come_and_stay_and_a_number_never_changes_its_key() {
        let ring = ring_of(&[(1, 7)]);
        assert_eq!(ring.renew(map(&[(2, 8)])), Ok(Some(2)));
        assert_eq!(ring.newest().unwrap().mark().id, 2);
        assert!(ring.find(ring_of(&[(1, 7)]).newest().unwrap().mark()).is_ok(), "1 is still known");
        assert_eq!(ring.renew(map(&[(2, 8)])), Ok(None));
        assert!(ring.renew(map(&[(2, 9), (3, 1)])).is_err());
        assert_eq!(ring.newest().unwrap().mark().id, 2, "nothing of a bad file is taken over");
    }

    #[test]
    fn no_message_shows_a_key() {
        let shown = format!("{:?}", Key::new(3, &[0xab; 32]));
        assert_eq!(shown, "Key { id: 3, .. }");
    }
}
