//! Parses the queue in a checkpoint, in Flume's formats 2 and 3. Pure except for reading a stream,
//! so that memory grows with the queue and not with the capacity of the channel.
//!
//! ```text
//! checkpoint       i64 × (1029 + capacity): version, order, size, head, whether it is incomplete,
//!                  1024 counters of logs, then a ring of places of events
//! checkpoint.meta  since format 3: order, size and head, as a protobuf with its length in front
//! inflightputs     MD5 of the rest, then for each transaction: id, number, places
//! inflighttakes
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};

use md5::{Digest, Md5};
use prost::Message;
use thiserror::Error;

use crate::proto;
use crate::record::Pointer;

/// Numbers before the ring.
const HEADER: u64 = 1029;
const VERSION: usize = 0;
const ORDER: usize = 1;
const SIZE: usize = 2;
const HEAD: usize = 3;
const INCOMPLETE: usize = 4;
/// More than a block of snappy-java ever has.
const BLOCK_MAX: usize = 16 << 20;
/// Upper bound of the expansion of one Snappy byte: a copy of 64 bytes takes three.
const SNAPPY_RATIO_MAX: usize = 32;
/// The prefix of snappy-java's output; two version numbers follow it.
const SNAPPY: [u8; 8] = *b"\x82SNAPPY\0";

/// The contents of a checkpoint.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// It contains every record up to this order.
    pub order: i64,
    /// The events that wait, each with its number in the queue.
    pub queue: Vec<(u64, Pointer)>,
    /// Events of transactions that were open, by transaction.
    pub puts: BTreeMap<i64, Vec<Pointer>>,
    /// Events that open transactions had taken, by transaction.
    pub takes: BTreeMap<i64, Vec<Pointer>>,
}

/// Why a checkpoint is of no use. All logs are read then.
#[derive(Debug, Error)]
pub enum BadCheckpoint {
    /// It was being written when the agent ended, or does not match its other files.
    #[error("{0}")]
    Wrong(&'static str),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

use BadCheckpoint::Wrong;

/// Reads a checkpoint of `numbers` numbers; `meta` is the content of its `checkpoint.meta`.
///
/// # Errors
/// It is not complete, or does not fit `meta`.
pub fn read(
    stream: &mut dyn Read,
    numbers: u64,
    meta: Option<&[u8]>,
) -> Result<State, BadCheckpoint> {
    let capacity = numbers.checked_sub(HEADER).filter(|capacity| *capacity > 0);
    let capacity = capacity.ok_or(Wrong("the file is too short"))?;
    let mut header = [0_i64; HEADER as usize];
    for number in &mut header {
        *number = next(stream)?;
    }
    if header[INCOMPLETE] != 0 {
        return Err(Wrong("it is incomplete, because Flume was killed while it wrote the file"));
    }
    let (size, head) = match (header[VERSION], meta) {
        (2, None) => (header[SIZE], header[HEAD]),
        (3, Some(meta)) => {
            let meta = proto::Checkpoint::decode_length_delimited(meta);
            let meta = meta.map_err(|_| Wrong("cannot decode checkpoint.meta"))?;
            if meta.version != 3 || meta.write_order_id != header[ORDER] {
                return Err(Wrong(
                    "checkpoint and checkpoint.meta were written at different times",
                ));
            }
            (meta.queue_size.into(), meta.queue_head.into())
        }
        (3, None) => return Err(Wrong("checkpoint.meta is missing")),
        _ => return Err(Wrong("its version is not supported")),
    };
    let size = u64::try_from(size).ok().filter(|size| *size <= capacity);
    let size = size.ok_or(Wrong("the size of its queue is invalid"))?;
    let head = u64::try_from(head).ok().filter(|head| *head < capacity);
    let head = head.ok_or(Wrong("the head of its queue is invalid"))?;
    let mut state = State { order: header[ORDER], ..State::default() };
    for place in 0..capacity {
        let long = next(stream)?;
        let at = (place + capacity - head) % capacity;
        if at < size {
            let event = Pointer::from_long(long);
            state.queue.push((at, event.ok_or(Wrong("an entry of its queue is empty"))?));
        }
    }
    Ok(state)
}

fn next(stream: &mut dyn Read) -> io::Result<i64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(i64::from_be_bytes(bytes))
}

/// Reads the content of `inflightputs` or `inflighttakes`.
///
/// # Errors
/// Its checksum does not match, or it contradicts itself.
pub fn in_flight(content: &[u8]) -> Result<BTreeMap<i64, Vec<Pointer>>, BadCheckpoint> {
    let mut open = BTreeMap::<i64, Vec<Pointer>>::new();
    let Some((checksum, content)) = content.split_at_checked(16) else {
        return if content.is_empty() {
            Ok(open)
        } else {
            Err(Wrong("an inflight file is truncated"))
        };
    };
    if Md5::digest(content)[..] != *checksum {
        return Err(Wrong("the checksum of an inflight file does not match"));
    }
    let longs = content.chunks_exact(8);
    let mut longs = longs.map(|long| i64::from_be_bytes(long.try_into().expect("eight bytes")));
    while let Some(id) = longs.next() {
        let count = longs.next().ok_or(Wrong("an inflight file is truncated"))?;
        for _ in 0..count {
            let event = longs.next().and_then(Pointer::from_long);
            let event = event.ok_or(Wrong("an inflight file contains an invalid position"))?;
            open.entry(id).or_default().push(event);
        }
    }
    Ok(open)
}

/// A stream that snappy-java has written, as it was before: a backup of a checkpoint.
pub struct Unsnappy<R> {
    inner: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> Unsnappy<R> {
    /// Reads the beginning of the stream.
    ///
    /// # Errors
    /// It is not of snappy-java, or cannot be read.
    pub fn new(mut inner: R) -> io::Result<Self> {
        let mut start = [0; 16];
        inner.read_exact(&mut start)?;
        if start[..8] != SNAPPY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Snappy stream"));
        }
        Ok(Self { inner, block: Vec::new(), at: 0 })
    }

    /// Reads the next block; returns whether there is one.
    fn refill(&mut self) -> io::Result<bool> {
        let wrong = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        let mut length = [0; 4];
        // A stream ends between two blocks; one that ends elsewhere lacks numbers: that is noticed.
        if let Err(error) = self.inner.read_exact(&mut length) {
            return if error.kind() == io::ErrorKind::UnexpectedEof {
                Ok(false)
            } else {
                Err(error)
            };
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > BLOCK_MAX {
            return Err(wrong("a Snappy block is too long".into()));
        }
        // Memory grows with the bytes read, not with the size that the block claims.
        let mut packed = Vec::new();
        (&mut self.inner).take(length as u64).read_to_end(&mut packed)?;
        if packed.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = snap::raw::decompress_len(&packed).map_err(|error| wrong(error.to_string()))?;
        if size > BLOCK_MAX.min(length * SNAPPY_RATIO_MAX) {
            return Err(wrong("a Snappy block is too long".into()));
        }
        let block = snap::raw::Decoder::new().decompress_vec(&packed);
        (self.block, self.at) = (block.map_err(|error| wrong(error.to_string()))?, 0);
        Ok(true)
    }
}

impl<R: Read> Read for Unsnappy<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.block.len() - self.at);
        out[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
