//! Flume's `compression-type`: none, or one zlib stream per direction, flushed after each write.

use std::io;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Compression of one connection.
#[derive(Debug)]
pub struct Coding {
    zlib: Option<Zlib>,
}

#[derive(Debug)]
struct Zlib {
    inflate: Decompress,
    deflate: Deflate,
    is_over: bool,
}

/// Outgoing direction.
#[derive(Debug)]
enum Deflate {
    Packed(Box<Compress>),
    /// Stored blocks without compression; `true` once the header of the stream was written.
    Stored {
        has_begun: bool,
    },
}

/// Header of a zlib stream: deflate with a window of 32 KiB.
const HEADER: [u8; 2] = [0x78, 0x01];

/// Returns true if the first byte of a stream belongs to zlib. In a plain stream it belongs to a
/// serial number, which starts at 1.
pub fn is_zlib(first: u8) -> bool {
    first == 0x78
}

impl Coding {
    /// Creates the coding of a client's connection; `level` is zlib's, 0 to 9.
    pub fn of_client(is_compressed: bool, level: u32) -> Self {
        let compress = || Compress::new(Compression::new(level), true);
        Self::new(is_compressed, || Deflate::Packed(Box::new(compress())))
    }

    /// Creates the coding of a server's connection. It sends replies of a few bytes as stored
    /// blocks: a compressor's state, about 300 KiB, would be most of the cost of a connection.
    pub fn of_server(is_compressed: bool) -> Self {
        Self::new(is_compressed, || Deflate::Stored { has_begun: false })
    }

    fn new(is_compressed: bool, deflate: impl FnOnce() -> Deflate) -> Self {
        let zlib = || Zlib { inflate: Decompress::new(true), deflate: deflate(), is_over: false };
        Self { zlib: is_compressed.then(zlib) }
    }

    /// Decodes `coded` into `plain`, at most `max` bytes; returns true if it decoded anything, so
    /// that another call may continue.
    ///
    /// # Errors
    /// Fails if the stream is not zlib, or continues after its end. Bytes before the damage are
    /// decoded, within `max`.
    pub fn decode(
        &mut self,
        coded: &mut BytesMut,
        plain: &mut BytesMut,
        max: usize,
    ) -> io::Result<bool> {
        let Some(zlib) = &mut self.zlib else {
            let piece = coded.split_to(coded.len().min(max));
            let is_moved = !piece.is_empty();
            plain.unsplit(piece);
            return Ok(is_moved);
        };
        if zlib.is_over {
            let problem = "bytes follow the end of the zlib stream of the connection; check the \
                           compression of the other side";
            return if coded.is_empty() { Ok(false) } else { Err(io::Error::other(problem)) };
        }
        let start = plain.len();
        plain.resize(start + max, 0);
        let (read, written) = (zlib.inflate.total_in(), zlib.inflate.total_out());
        let status = zlib.inflate.decompress(coded, &mut plain[start..], FlushDecompress::None);
        let (read, written) = (zlib.inflate.total_in() - read, zlib.inflate.total_out() - written);
        coded.advance(read as usize);
        plain.truncate(start + written as usize);
        match status {
            // Return the bytes before the damage. The next call meets the damage again.
            Err(_) if written > 0 => {}
            status => zlib.is_over = matches!(status?, Status::StreamEnd),
        }
        Ok(read > 0 || written > 0)
    }

    /// Encodes a frame.
    ///
    /// # Errors
    /// Fails if zlib fails.
    pub fn encode(&mut self, frame: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some(zlib) = &mut self.zlib else { return Ok(frame) };
        match &mut zlib.deflate {
            Deflate::Packed(compress) => packed(compress, &frame),
            Deflate::Stored { has_begun } => Ok(stored(has_begun, &frame)),
        }
    }
}

/// Returns the bytes as compressed blocks, flushed.
fn packed(compress: &mut Compress, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut coded = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut rest = bytes;
    loop {
        let read = compress.total_in();
        compress.compress_vec(rest, &mut coded, FlushCompress::Sync)?;
        rest = &rest[(compress.total_in() - read) as usize..];
        // Unused capacity shows that the flush is complete.
        if rest.is_empty() && coded.len() < coded.capacity() {
            return Ok(coded);
        }
        coded.reserve(rest.len() + 64);
    }
}

/// Returns the bytes as stored blocks (RFC 1951, 3.2.4). A stored block ends at a byte boundary, so
/// it needs no flush.
fn stored(has_begun: &mut bool, bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(bytes.len() + 7);
    if !std::mem::replace(has_begun, true) {
        coded.extend(HEADER);
    }
    for block in bytes.chunks(usize::from(u16::MAX)) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        // A stored block that is not the last one of the stream.
        coded.push(0);
        coded.extend(length.to_le_bytes());
        coded.extend((!length).to_le_bytes());
        coded.extend_from_slice(block);
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coding: &mut Coding, coded: &[u8], max: usize) -> Vec<u8> {
        let (mut coded, mut plain) = (BytesMut::from(coded), BytesMut::new());
        loop {
            let before = plain.len();
            let is_moved = coding.decode(&mut coded, &mut plain, max).unwrap();
            assert!(plain.len() - before <= max, "at most {max} bytes a call");
            if !is_moved {
                return plain.to_vec();
            }
        }
    }

    #[test]
    fn reads_the_data_before_the_damage_in_pieces_of_any_size() {
        let mut sent = Coding::of_client(true, 6).encode(b"the calls before".repeat(9)).unwrap();
        // A block of an invalid type.
        sent.extend([0xff; 8]);
        for size in [1, 7, sent.len()] {
            let (mut coding, mut plain) = (Coding::of_server(true), BytesMut::new());
            let mut outcome = Ok(true);
            for piece in sent.chunks(size) {
                let mut coded = BytesMut::from(piece);
                while let Ok(true) = outcome {
                    outcome = coding.decode(&mut coded, &mut plain, 1000);
                }
                outcome = outcome.map(|_| true);
            }
            assert!(outcome.is_err(), "{size}");
            assert_eq!(plain, b"the calls before".repeat(9), "{size}");
        }
    }

    #[test]
    fn each_write_can_be_read_at_once_in_pieces_of_any_size() {
        for is_compressed in [false, true] {
            for level in [0, 1, 6, 9] {
                let mut writer = Coding::of_client(is_compressed, level);
                let mut reader = Coding::of_server(is_compressed);
                for n in 0..50_u32 {
                    let bytes: Vec<u8> =
                        (0..n * 97).map(|at| (at.wrapping_mul(n) >> 3) as u8).collect();
                    let coded = writer.encode(bytes.clone()).unwrap();
                    assert_eq!(decoded(&mut reader, &coded, 61), bytes, "{level}");
                    if is_compressed && n == 0 {
                        assert!(coded.is_empty() || is_zlib(coded[0]), "{coded:02x?}");
                    }
                    assert!(!is_compressed || coded.ends_with(&[0, 0, 0xff, 0xff]));
                }
            }
        }
    }

    #[test]
    fn answers_of_any_length_can_be_read_at_once() {
        for is_compressed in [false, true] {
            let mut server = Coding::of_server(is_compressed);
            let mut client = Coding::of_client(is_compressed, 6);
            for length in [0, 1, 20, 65_534, 65_535, 65_536, 200_000, 3] {
                let bytes: Vec<u8> = (0..length).map(|at| ((at * 7) >> 3) as u8).collect();
                let coded = server.encode(bytes.clone()).unwrap();
                assert!(coded.len() <= bytes.len() + 32);
                assert_eq!(decoded(&mut client, &coded, 4096), bytes, "{length}");
            }
        }
    }

    #[test]
    fn inflates_in_bounded_steps() {
        let coded = Coding::of_client(true, 9).encode(vec![0; 8 << 20]).unwrap();
        assert!(coded.len() < 16 << 10);
        assert_eq!(decoded(&mut Coding::of_server(true), &coded, 4096).len(), 8 << 20);
    }

    #[test]
    fn a_stream_that_is_not_zlib_is_an_error() {
        let mut plain = BytesMut::new();
        let mut coded = BytesMut::from(&[0, 0, 0, 1, 0, 0, 0, 1][..]);
        assert!(Coding::of_server(true).decode(&mut coded, &mut plain, 100).is_err());
    }
}
