//! The beginning of a generation: the sum of all generations before it.
//!
//! It has the frame of `frame`, with the magic `AQCHECKP`.

use bytes::{Bytes, BytesMut};
use pipeline::{Floors, KeySet};
use prost::Message;
use support::mutant;

use super::carried::Carried;
use super::entry::{FileBody, StagedFile, author_of, bytes_of};
use super::frame::{self, EntryError};
use super::merge::{MergeBody, Merges};
use super::view::{Settled, Totals, View};

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
    /// Never dropped: a fenced author may wake up at any time.
    #[prost(message, repeated, tag = "4")]
    fences: Vec<FenceBody>,
    /// Encoding of [`Floors`]. Never dropped either.
    #[prost(bytes = "bytes", tag = "5")]
    floors: Bytes,
    #[prost(message, optional, tag = "6")]
    totals: Option<TotalsBody>,
    /// Merges that may still be open.
    #[prost(message, repeated, tag = "7")]
    merges: Vec<MergeBody>,
    /// Files that became part of another one.
    #[prost(uint64, tag = "8")]
    merged_files: u64,
    /// Every commit from this index on is carried, if a table needs them.
    #[prost(uint64, optional, tag = "9")]
    carried_from: Option<u64>,
    /// Files of the commits that a table lacks.
    #[prost(message, repeated, tag = "10")]
    carried: Vec<CarriedBody>,
}

#[derive(Clone, PartialEq, Message)]
struct CarriedBody {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(message, repeated, tag = "2")]
    files: Vec<FileBody>,
}

#[derive(Clone, PartialEq, Message)]
struct TotalsBody {
    #[prost(uint64, tag = "1")]
    files: u64,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(uint64, tag = "3")]
    events: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FenceBody {
    #[prost(bytes = "bytes", tag = "1")]
    collector: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
}

/// The checkpoint of the generation that follows `sealed`, which was read to its seal. Epochs below
/// `floors` are closed with it. A table lacks the commits in `carried`.
///
/// # Panics
/// If it was not.
pub(super) fn encode(sealed: &View, floors: &Floors, carried: Option<&Carried>) -> Bytes {
    assert!(sealed.is_sealed(), "a checkpoint is made of what stands up to the seal");
    let mut kept = sealed.settled().clone();
    if mutant!("floor_not_carried") {
        kept.floors = Floors::default();
    }
    kept.close(floors);
    let (mut settled, mut floors) = (BytesMut::new(), BytesMut::new());
    kept.keys.encode(&mut settled);
    kept.floors.encode(&mut floors);
    let Totals { files, bytes, events } = sealed.totals();
    let is_kept = |_: &&super::WriterId| !mutant!("fence_not_carried");
    let fence = |author: &super::WriterId| FenceBody {
        collector: bytes_of(author.collector),
        incarnation: bytes_of(author.incarnation),
    };
    let body = Body {
        generation: sealed.generation() + 1,
        first: sealed.next(),
        settled: settled.freeze(),
        fences: sealed.fenced().filter(is_kept).map(fence).collect(),
        floors: floors.freeze(),
        totals: Some(TotalsBody { files, bytes, events }),
        merges: sealed.open_merges().map(MergeBody::from_merge).collect(),
        merged_files: sealed.merged_files(),
        carried_from: carried.map(|carried| carried.from),
        carried: carried.map_or_else(Vec::new, commits_of),
    };
    frame::wrap(MAGIC, &body)
}

fn commits_of(carried: &Carried) -> Vec<CarriedBody> {
    let commits = carried.commits.iter();
    let files = |files: &[StagedFile]| files.iter().map(FileBody::from_staged).collect();
    commits.map(|(index, of)| CarriedBody { index: *index, files: files(of) }).collect()
}

/// Returns the view of a reader of generation `generation` before its first entry.
pub(super) fn decode(encoded: Bytes, generation: u64) -> Result<View, EntryError> {
    let mut body: Body = frame::unwrap(MAGIC, encoded)?;
    if body.generation != generation {
        return Err(EntryError::Misplaced { said: body.generation, place: generation });
    }
    let damaged = |problem| EntryError::Damaged { problem };
    let keys = KeySet::decode(&mut body.settled).map_err(|_| damaged("invalid batch keys"))?;
    // A checkpoint of an older program has no floors.
    let floors = match body.floors.is_empty() {
        true => Floors::default(),
        false => Floors::decode(&mut body.floors).map_err(|_| damaged("invalid floors"))?,
    };
    let fenced = body.fences.iter().map(|fence| author_of(&fence.collector, &fence.incarnation));
    let TotalsBody { files, bytes, events } = body.totals.unwrap_or_default();
    let merges =
        body.merges.into_iter().map(MergeBody::into_merge).collect::<Result<Vec<_>, _>>()?;
    let mut carried =
        Carried { from: body.carried_from.unwrap_or(body.first), ..Carried::default() };
    for CarriedBody { index, files } in body.carried {
        let files = files.into_iter().map(FileBody::into_file).collect::<Result<_, _>>()?;
        carried.commits.insert(index, files);
    }
    let mut view = View::resumed(
        (generation, body.first),
        Settled { keys, floors },
        fenced.collect::<Result<_, _>>()?,
        Totals { files, bytes, events },
        Merges::carried(merges.into_iter(), body.merged_files),
    );
    view.carry(carried);
    Ok(view)
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Identity, Origin, Sequence};

    use super::super::{Entry, Kind, StagedFile, Token, WriterId};
    use super::*;

    /// A view of two files, a fence and a seal after batches of origins 1 and 2, in epoch 3.
    fn sealed() -> (View, WriterId) {
        let author = WriterId { collector: Token([1; 16]), incarnation: Token([2; 16]) };
        let mut view = View::new(0);
        let file = |name: &str| StagedFile {
            temp: format!("stage/{name}"),
            target: name.into(),
            len: 70,
            crc: 0,
            events: 7,
            shares: Vec::new(),
        };
        let keys = [key(1), key(2)].into_iter().collect();
        let kinds = [
            Kind::Commit { keys, files: vec![file("a"), file("b")] },
            Kind::Fence(author),
            Kind::Seal,
        ];
        for (index, kind) in (0..).zip(kinds) {
            view.absorb(&Entry { index, author, attempt: Token([9; 16]), kind });
        }
        (view, author)
    }

    fn key(n: u8) -> Identity {
        Identity { origin: Origin([n; 16]), epoch: Epoch(3), sequence: Sequence(4) }
    }

    #[test]
    fn a_checkpoint_is_complete_and_bound_to_its_generation() {
        let (view, author) = sealed();
        let encoded = encode(&view, &Floors::default(), None);
        let next = decode(encoded.clone(), 1).unwrap();
        assert_eq!((next.generation(), next.next(), next.entries()), (1, 3, 0));
        assert!(next.is_settled(key(1)) && next.is_settled(key(2)) && next.is_fenced(author));
        assert!(!next.is_sealed());
        assert_eq!(next.totals(), Totals { files: 2, bytes: 140, events: 14 });
        assert!(decode(encoded.clone(), 2).is_err());
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(damaged.into(), 1).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn carries_files_that_a_table_lacks_to_the_next_generation() {
        let (view, _) = sealed();
        assert_eq!(decode(encode(&view, &Floors::default(), None), 1).unwrap().carried().from, 3);
        let temp = "stage/c".to_owned();
        let (target, shares) = ("d/c".into(), Vec::new());
        let file = StagedFile { temp, target, len: 7, crc: 1, events: 2, shares };
        let carried = Carried { from: 1, commits: [(2, vec![file])].into() };
        let next = decode(encode(&view, &Floors::default(), Some(&carried)), 1).unwrap();
        assert_eq!(*next.carried(), carried);
    }

    #[test]
    fn floors_of_origins_without_a_batch_here_are_not_carried() {
        let mut floors = Floors::default();
        for n in 0..200 {
            floors.raise(Origin([n; 16]), Epoch(4));
        }
        let next = decode(encode(&sealed().0, &floors, None), 1).unwrap();
        let carried: Vec<Origin> = next.settled().floors.iter().map(|(origin, _)| origin).collect();
        assert_eq!(carried, [key(1).origin, key(2).origin]);
    }

    /// Forgotten epochs count as delivered forever, whichever collector makes the later
    /// generations.
    #[test]
    fn closed_epochs_are_not_named_any_more_and_stay_closed() {
        let mut floors = Floors::default();
        floors.raise(key(1).origin, Epoch(4));
        let mut first = decode(encode(&sealed().0, &floors, None), 1).unwrap();
        assert_eq!(first.settled().keys, [key(2)].into_iter().collect());
        first.absorb_seal(3);
        let second = decode(encode(&first, &Floors::default(), None), 2).unwrap();
        assert!(second.is_settled(key(1)) && second.settled().is_closed(key(1)));
        let both: KeySet = [key(1), key(2)].into_iter().collect();
        assert_eq!(second.settled_of(&both), both);
        let next_life = Identity { epoch: Epoch(4), ..key(1) };
        assert!(!second.is_settled(next_life));
    }
}
