//! CRC-64-AVRO: the 64-bit Rabin fingerprint that identifies a schema.
//!
//! It covers the schema's parsing canonical form (Avro specification 1.11, "Parsing Canonical Form
//! for Schemas" and "Schema Fingerprints"). That form is never built as a text: its parts are added
//! while the schema is compiled.

/// Fingerprint of the empty text, and the polynomial.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut print, mut bit) = (byte as u64, 0);
        while bit < 8 {
            print = (print >> 1) ^ (EMPTY * (print & 1));
            bit += 1;
        }
        table[byte] = print;
        byte += 1;
    }
    table
}

/// Fingerprint of a text that arrives in parts.
#[derive(Debug)]
pub(super) struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(EMPTY)
    }
}

impl Fingerprint {
    /// Appends parts of the text.
    pub(super) fn add(&mut self, parts: &[&str]) {
        for byte in parts.iter().flat_map(|part| part.bytes()) {
            self.0 = (self.0 >> 8) ^ TABLE[usize::from(self.0 as u8 ^ byte)];
        }
    }

    /// Returns the fingerprint of all parts so far.
    pub(super) fn value(&self) -> u64 {
        self.0
    }
}
