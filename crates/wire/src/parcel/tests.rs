//! Goal: a put yields exactly the batch that was packed, at any size and for any bytes. Method:
//! round trips, each field damaged separately, a bomb, and any bytes.

use pipeline::{Epoch, Origin, Sequence};
use proptest::prelude::*;
use prost::Message;

use super::*;

const LIMIT: u64 = 1 << 20;

fn identity() -> Identity {
    Identity { origin: Origin([7; 16]), epoch: Epoch(3), sequence: Sequence(41) }
}

fn batch() -> Batch {
    let mut batch = Batch::of((0..100).map(|n| format!("GET /{n} HTTP/1.1")));
    batch.envelope.identity = Some(identity());
    batch
}

#[test]
fn unpacks_batches_of_every_packing() {
    for (packing, compression) in
        [(Packing::Plain, Compression::None), (Packing::Zstd(1), Compression::Zstd)]
    {
        let put = pack(identity(), &batch(), packing);
        assert_eq!(put.compression(), compression);
        assert_eq!(unpack(put, LIMIT).unwrap(), batch());
    }
}

#[test]
fn a_body_that_does_not_shrink_goes_as_it_is() {
    let tiny = Batch::of(["x"]);
    let put = pack(identity(), &tiny, Packing::Zstd(1));
    assert_eq!(put.compression(), Compression::None);
}

#[test]
fn a_plain_body_is_not_copied() {
    let put = pack(identity(), &batch(), Packing::Plain);
    let body = put.body.as_ptr();
    assert_eq!(unpack(put, LIMIT).unwrap().encode().as_ptr(), body);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_looked_at() {
    let put = pack(identity(), &batch(), Packing::Plain);
    let size = put.body.len() as u64;
    assert!(unpack(put.clone(), size).is_ok());
    let error = unpack(put, size - 1).unwrap_err();
    assert_eq!(error.answer(), Some((identity(), Reason::TooLarge)));
}

/// A bomb either admits its size and is too large, or denies it and runs into its own claim.
#[test]
fn a_bomb_never_grows_beyond_its_claim_nor_its_claim_beyond_the_limit() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
    for (claim, reason) in [
        (64 << 20, Reason::TooLarge),
        (LIMIT, Reason::Compression),
        (u64::MAX, Reason::TooLarge),
        (0, Reason::Compression),
    ] {
        let put = Put {
            identity: Some(identity().into()),
            compression: Compression::Zstd.into(),
            uncompressed_bytes: claim,
            body: bomb.clone().into(),
            ..Put::default()
        };
        let error = unpack(put, LIMIT).unwrap_err();
        assert_eq!(error.answer(), Some((identity(), reason)), "{claim}: {error}");
    }
}

#[test]
fn damage_on_the_way_is_told_from_a_batch_that_never_was_one() {
    let mut put = pack(identity(), &batch(), Packing::Plain);
    let mut body = put.body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    put.body = body.clone().into();
    assert_eq!(unpack(put.clone(), LIMIT).unwrap_err().answer().unwrap().1, Reason::Damaged);
    put.digest = digest_of(&body);
    assert_eq!(unpack(put, LIMIT).unwrap_err().answer().unwrap().1, Reason::Malformed);
}

#[test]
fn a_compression_of_a_newer_sender_is_refused_by_that_name() {
    let put = Put { compression: 9, ..pack(identity(), &batch(), Packing::Plain) };
    assert_eq!(unpack(put, LIMIT).unwrap_err().answer().unwrap().1, Reason::Compression);
}

#[test]
fn a_put_of_nobody_has_no_answer() {
    let put = Put { identity: None, ..pack(identity(), &batch(), Packing::Plain) };
    assert_eq!(unpack(put, LIMIT).unwrap_err().answer(), None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_put_of_a_whole_batch_or_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        body in prop::collection::vec(any::<u8>(), 0..100),
        compression in 0..3,
    ) {
        if let Ok(put) = Put::decode(bytes.as_slice()) {
            let _ = unpack(put, LIMIT);
        }
        let put = Put {
            identity: Some(identity().into()),
            digest: digest_of(&body),
            compression,
            uncompressed_bytes: body.len() as u64,
            body: body.into(),
        };
        let _ = unpack(put, LIMIT);
    }
}
