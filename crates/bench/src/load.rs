//! The batches for the stage benchmarks: log lines with 572 stored bytes per event.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pipeline::{Batch, Existing};

/// Size of a body. With its line end and its length in the batch, an event has 572 bytes.
pub(crate) const BODY_BYTES: usize = 569;

/// A batch size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Name in reports.
    pub(crate) name: &'static str,
    /// Events per batch.
    pub(crate) events: usize,
}

/// The three batch sizes of all stage benchmarks.
pub(crate) const SIZES: [Load; 3] = [
    Load { name: "57 KB", events: 100 },
    Load { name: "572 KB", events: 1000 },
    Load { name: "2.9 MB", events: 5000 },
];

struct Lines {
    bodies: Bytes,
    lengths: Vec<u32>,
}

impl Load {
    /// Returns a batch like a source creates it: built anew around the same bytes, so that the
    /// stage that stores or sends it pays for its encoding.
    pub(crate) fn batch(self) -> Batch {
        static LARGEST: OnceLock<Arc<Lines>> = OnceLock::new();
        let lines = LARGEST.get_or_init(|| Arc::new(lines(SIZES[2].events)));
        let bodies = lines.bodies.slice(..self.events * (BODY_BYTES + 1));
        let mut batch = Batch::of_lines(bodies, &lines.lengths[..self.events]);
        batch.set_header("host", "web-1.example.net", Existing::Replace);
        batch.set_header("file", "/var/log/nginx/access.log", Existing::Replace);
        batch
    }
}

/// Returns text similar to log lines: words of a small vocabulary, with a realistic compression
/// ratio.
fn lines(count: usize) -> Lines {
    const WORDS: &[&str] = &["GET", "/cart", "200", "cache=miss", "upstream", "rt=0.031", "eu-1"];
    let mut bodies = Vec::with_capacity(count * (BODY_BYTES + 1));
    let mut state = 1_u64;
    for line in 0..count {
        let end = (line + 1) * (BODY_BYTES + 1) - 1;
        while bodies.len() < end {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(line as u64 | 1);
            let word = WORDS[(state >> 33) as usize % WORDS.len()];
            bodies.extend_from_slice(format!("{word} {:x} ", state >> 48).as_bytes());
        }
        bodies.truncate(end);
        bodies.push(b'\n');
    }
    let length = u32::try_from(BODY_BYTES).expect("a body is short");
    Lines { bodies: bodies.into(), lengths: vec![length; count] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_the_sizes_that_their_names_say() {
        for (load, bytes) in SIZES.into_iter().zip([57_200, 572_000, 2_860_000]) {
            let size = load.batch().size();
            assert_eq!(size.events, load.events as u64);
            assert!(size.bytes.abs_diff(bytes) < 300, "{}: {} bytes", load.name, size.bytes);
        }
    }
}
