//! Frames of Avro's Netty transport: `serial │ n │ n × (length │ bytes)`, each number 4 bytes, big
//! endian. The bytes of the `n` buffers are one message.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its serial number, which the reply repeats.
    pub serial: u32,
    /// The concatenated bytes of its buffers.
    pub payload: Bytes,
}

/// A frame exceeds the limit. The rest of the stream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a message of the client exceeds {max} bytes (`request_max`), or is not Avro RPC: raise the \
     limit, or correct the client"
)]
pub struct TooLarge {
    /// Maximum size of a message in bytes.
    pub max: usize,
}

/// Splits a stream into frames.
#[derive(Debug)]
pub struct Deframer {
    max: usize,
    serial: u32,
    /// Buffers of the frame that have not started; `None` between two frames.
    buffers: Option<u32>,
    /// Missing bytes of the current buffer.
    lacking: usize,
    payload: BytesMut,
    is_broken: bool,
}

impl Deframer {
    /// Creates a deframer for messages of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        let payload = BytesMut::new();
        Self { max, serial: 0, buffers: None, lacking: 0, payload, is_broken: false }
    }

    /// Returns the bytes of the incomplete frame.
    pub fn held(&self) -> usize {
        self.payload.len()
    }

    /// Returns true if a frame is incomplete.
    pub fn is_within(&self) -> bool {
        self.buffers.is_some()
    }

    /// Returns true after an error: nothing more can be read.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Returns the next complete frame, and removes the consumed bytes from `input`. A message that
    /// arrived in one buffer is not copied, and keeps the memory of `input` alive.
    ///
    /// # Errors
    /// Fails if a frame is too large. Memory is allocated only for bytes that have arrived.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, TooLarge> {
        loop {
            if self.is_broken {
                return Err(TooLarge { max: self.max });
            }
            if self.lacking > 0 {
                let bytes = self.lacking.min(input.len());
                let is_all = self.buffers == Some(0) && self.payload.is_empty();
                if is_all && bytes == self.lacking {
                    self.payload = input.split_to(bytes);
                } else {
                    self.payload.extend_from_slice(&input[..bytes]);
                    input.advance(bytes);
                }
                self.lacking -= bytes;
                if self.lacking > 0 {
                    return Ok(None);
                }
            }
            match self.buffers {
                None => {
                    if input.len() < 8 {
                        return Ok(None);
                    }
                    self.serial = input.get_u32();
                    let buffers = input.get_u32();
                    // Their length fields count like content.
                    self.is_broken = buffers as usize > self.max / 4;
                    self.buffers = Some(buffers);
                }
                Some(0) => {
                    self.buffers = None;
                    let payload = std::mem::take(&mut self.payload).freeze();
                    return Ok(Some(Frame { serial: self.serial, payload }));
                }
                Some(buffers) => {
                    if input.len() < 4 {
                        return Ok(None);
                    }
                    self.lacking = input.get_u32() as usize;
                    self.is_broken = self.lacking > self.max - self.payload.len();
                    self.buffers = Some(buffers - 1);
                }
            }
        }
    }
}

/// Returns a message as a frame.
///
/// # Panics
/// Panics if it has 4 GiB or more.
pub fn write(serial: u32, message: &[&[u8]]) -> Vec<u8> {
    let bytes: usize = message.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(bytes + 12);
    frame.extend_from_slice(&serial.to_be_bytes());
    frame.extend_from_slice(&1_u32.to_be_bytes());
    let length = u32::try_from(bytes).expect("a message is smaller than 4 GiB");
    frame.extend_from_slice(&length.to_be_bytes());
    message.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame of two buffers and an empty one, as Avro for Java writes it.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0];
        frame.extend([0, 0, 0, 1, b'c']);
        frame
    }

    #[test]
    fn buffers_are_one_message_wherever_the_stream_is_cut() {
        let stream = [frame(), write(8, &[b"de", b"f"]), frame()].concat();
        for size in 1..=stream.len() {
            let (mut deframer, mut input) = (Deframer::new(64), BytesMut::new());
            let mut read = Vec::new();
            for piece in stream.chunks(size) {
                input.extend_from_slice(piece);
                while let Some(frame) = deframer.next(&mut input).unwrap() {
                    read.push((frame.serial, frame.payload.to_vec()));
                }
            }
            let expected = [(7, b"abc".to_vec()), (8, b"def".to_vec()), (7, b"abc".to_vec())];
            assert_eq!(read, expected, "pieces of {size}");
            assert!(!deframer.is_within() && input.is_empty());
        }
    }

    #[test]
    fn a_frame_that_claims_two_gibibytes_is_refused_without_memory_for_it() {
        for (count, length) in [(1_u32, 0x7fff_ffff_u32), (0x7fff_ffff, 1), (u32::MAX, u32::MAX)] {
            let mut input = BytesMut::from(&1_u32.to_be_bytes()[..]);
            input.extend_from_slice(&count.to_be_bytes());
            input.extend_from_slice(&length.to_be_bytes());
            let mut deframer = Deframer::new(1 << 20);
            assert_eq!(deframer.next(&mut input), Err(TooLarge { max: 1 << 20 }));
            assert!(deframer.is_broken() && deframer.payload.capacity() == 0);
        }
    }

    #[test]
    fn the_limit_is_on_all_buffers_together() {
        let body = |bytes: usize| vec![b'x'; bytes];
        let mut input = BytesMut::from(&write(1, &[&body(64)])[..]);
        assert!(Deframer::new(64).next(&mut input).unwrap().is_some());
        let mut two = vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 40];
        two.extend(body(40));
        two.extend([0, 0, 0, 25]);
        two.extend(body(25));
        assert!(Deframer::new(64).next(&mut BytesMut::from(&two[..])).is_err());
    }
}
