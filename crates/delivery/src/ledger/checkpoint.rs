//! What a generation begins with: everything that the generations before it said.
//!
//! It is framed as `frame` draws it, with the magic `AQCHECKP`.

use bytes::{Bytes, BytesMut};
use pipeline::KeySet;
use prost::Message;

use super::entry::{EntryError, author_of, bytes_of};
use super::frame;
use super::view::View;

const MAGIC: &[u8; 8] = b"AQCHECKP";

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(uint64, tag = "1")]
    generation: u64,
    /// Index of the first entry of the generation.
    #[prost(uint64, tag = "2")]
    first: u64,
    /// Encoding of [`KeySet`].
    #[prost(bytes = "bytes", tag = "3")]
    settled: Bytes,
    #[prost(message, repeated, tag = "4")]
    fences: Vec<FenceBody>,
}

#[derive(Clone, PartialEq, Message)]
struct FenceBody {
    #[prost(bytes = "bytes", tag = "1")]
    collector: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
}

/// The checkpoint of the generation that follows `sealed`, which was read to its seal.
///
/// # Panics
/// If it was not.
pub(super) fn encode(sealed: &View) -> Bytes {
    assert!(sealed.is_sealed(), "a checkpoint is made of what stands up to the seal");
    let mut settled = BytesMut::new();
    sealed.settled().encode(&mut settled);
    let fence = |author: &super::Author| FenceBody {
        collector: bytes_of(author.collector),
        incarnation: bytes_of(author.incarnation),
    };
    let body = Body {
        generation: sealed.generation() + 1,
        first: sealed.next(),
        settled: settled.freeze(),
        fences: sealed.fenced().map(fence).collect(),
    };
    frame::wrap(MAGIC, &body)
}

/// What a reader of generation `generation` knows before its first entry.
pub(super) fn decode(encoded: Bytes, generation: u64) -> Result<View, EntryError> {
    let mut body: Body = frame::unwrap(MAGIC, encoded)?;
    if body.generation != generation {
        return Err(EntryError::Misplaced { said: body.generation, place: generation });
    }
    let settled = KeySet::decode(&mut body.settled);
    let settled = settled.map_err(|_| EntryError::Damaged { problem: "its keys" })?;
    let fenced = body.fences.iter().map(|fence| author_of(&fence.collector, &fence.incarnation));
    Ok(View::resumed(generation, body.first, settled, fenced.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Identity, Origin, Sequence};

    use super::super::{Author, Entry, Kind, Token};
    use super::*;

    #[test]
    fn a_checkpoint_carries_all_that_was_said_and_fits_its_place_only() {
        let author = Author { collector: Token([1; 16]), incarnation: Token([2; 16]) };
        let key = |n| Identity { origin: Origin([n; 16]), epoch: Epoch(3), sequence: Sequence(4) };
        let mut view = View::new(0);
        let kinds = [
            Kind::Commit { keys: [key(1), key(2)].into_iter().collect(), files: Vec::new() },
            Kind::Fence(author),
            Kind::Seal,
        ];
        for (index, kind) in (0..).zip(kinds) {
            view.absorb(&Entry { index, author, attempt: Token([9; 16]), kind });
        }
        let encoded = encode(&view);
        let next = decode(encoded.clone(), 1).unwrap();
        assert_eq!((next.generation(), next.next(), next.entries()), (1, 3, 0));
        assert!(next.is_settled(key(1)) && next.is_settled(key(2)) && next.is_fenced(author));
        assert!(!next.is_sealed());
        assert!(decode(encoded.clone(), 2).is_err());
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(damaged.into(), 1).is_err(), "bit {bit}");
        }
    }
}
