//! The guarantees of a frame, plain and sealed.

use std::sync::Arc;

use pipeline::env::Entropy;

use super::*;
use crate::durable::log::aligned::Aligned;
use crate::durable::log::frame::{Body, Frame};
use crate::durable::log::seal::Key;
use crate::testkit::SimEntropy;

const OWNER: Owner = Owner { uuid: [3; 16], origin: Origin([4; 16]), epoch: Epoch(5) };

fn written(seed: Seed<'_>) -> Vec<u8> {
    let sealer = seed.keys.newest();
    let pieces = ["first ", "second"].map(Bytes::from);
    let frame = |body| {
        let frame = Frame::put(9, 2, b"small".to_vec(), body);
        Frame { sealed: sealer.is_some(), ..frame }
    };
    let copied = frame(Body::from_pieces(pieces.to_vec()));
    let mut out = Aligned::with_capacity(0);
    copied.write(&mut out, seed, sealer.as_ref(), 4096, true);
    assert_eq!(out.len(), copied.len());
    if sealer.is_none() {
        let mut own = frame(Body::in_place(&pieces, 5, &crate::durable::log::aligned::buffers()));
        own.complete(seed, 4096, true);
        assert_eq!(own.bytes(), out.as_slice(), "it is the same from its own buffer");
        assert_eq!(own.body.into_pieces(&[6, 6]), ["first ", "second"]);
    }
    out.as_slice().to_vec()
}

#[test]
fn any_flipped_bit_of_a_frame_is_seen() {
    for keys in [Keyring::empty(), keyring()] {
        flip_every_bit(Seed::new(&OWNER.uuid, 1, &keys));
    }
}

fn flip_every_bit(seed: Seed<'_>) {
    let good = written(seed);
    let sound = |bytes: &[u8]| {
        Header::read(bytes).is_some_and(|header| {
            header.frame_len() <= bytes.len()
                && header.verify(bytes, seed, 4096)
                && header.verify_body(bytes)
        })
    };
    assert!(sound(&good));
    // The last bytes pad the frame and mean nothing.
    let header = Header::read(&good).expect("it was written");
    assert!(sound(&good));
    for bit in 0..(HEADER_BYTES + header.envelope_len + header.body_len) * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!sound(&bad), "bit {bit} flipped unseen");
    }
}

#[test]
fn a_frame_of_an_earlier_use_of_the_file_never_verifies() {
    let keys = Keyring::empty();
    let old = written(Seed::new(&OWNER.uuid, 1, &keys));
    let header = Header::read(&old).unwrap();
    assert!(!header.verify(&old, Seed::new(&OWNER.uuid, 2, &keys), 4096));
    assert!(!header.verify(&old, Seed::new(&[0; 16], 1, &keys), 4096));
    assert!(!header.verify(&old, Seed::new(&OWNER.uuid, 1, &keys), 8192), "it strayed");
}

fn keyring() -> Keyring {
    let key = Arc::new(Key::new(1, &[7; 32]));
    let entropy: Arc<dyn Entropy> = Arc::new(SimEntropy::new(1));
    Keyring::new([(1, key)].into(), "keys".into(), Some(entropy))
}

#[test]
fn a_sealed_frame_returns_its_put_and_hides_the_plain_text() {
    let keys = keyring();
    let seed = Seed::new(&OWNER.uuid, 1, &keys);
    let frame = Bytes::from(written(seed));
    for plain in [&b"small"[..], b"first", b"second"] {
        assert!(!frame.windows(plain.len()).any(|window| window == plain));
    }
    let header = Header::read(&frame).unwrap();
    let (envelope, body) = header.contents(&frame, seed, 4096).unwrap().unwrap();
    assert_eq!((&envelope[..], &body[..]), (&b"small"[..], &b"first second"[..]));
    assert_eq!(header.contents(&frame, seed, 8192), Ok(None), "it was moved");
    let elsewhere = Seed::new(&OWNER.uuid, 2, &keys);
    assert_eq!(header.contents(&frame, elsewhere, 4096), Ok(None), "of another segment");
    // Joined with the body of another frame: a program that does that can compute a checksum.
    let mut joined = frame.to_vec();
    let start = HEADER_BYTES + header.envelope_len;
    joined[start..start + header.body_len].copy_from_slice(&written(seed)[start..start + 28]);
    assert_eq!(header.contents(&joined.into(), seed, 4096), Ok(None));
    let none = Keyring::empty();
    let refused = header.envelope(&frame, Seed::new(&OWNER.uuid, 1, &none), 4096);
    assert_eq!(refused, Err(SealError::NoKeys { id: 1 }));
}

#[test]
fn a_header_block_names_its_owner() {
    let mut block = header_block(&OWNER, 7);
    assert_eq!(block.len(), BLOCK);
    assert_eq!(read_header_block(&block), Some((FORMAT, OWNER, 7)));
    block[30] ^= 1;
    assert_eq!(read_header_block(&block), None);
}
