//! The input: a seeded access log in the combined format, and a check that a copy is complete.
//!
//! Each line ends with its serial number, so that a bitmap distinguishes missing and duplicate
//! lines. An order-independent sum of line hashes detects altered ones.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64;

use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::raw;

const SEED: u64 = 20_260_901;
const SERIAL_DIGITS: usize = 12;
const FOLDERS: &[&str] = &["articles", "cart", "catalogue", "media/thumbs", "profile", "search"];
const LEAVES: &[&str] = &["index.html", "photo.webp", "list?page=", "entry?id=", "bundle.js"];
const STATUS: &[u16] = &[200, 200, 200, 200, 206, 301, 304, 404, 502];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/127.0",
    "Wget/1.21.4",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15",
];
const MONTH: &str = "Sep/2026";

/// A generated log on disk, and the expected properties of a copy.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    /// The file, in the cache.
    pub(crate) path: PathBuf,
    /// Number of lines.
    pub(crate) lines: u64,
    /// Size in bytes.
    pub(crate) bytes: u64,
    digest: u64,
}

impl AccessLog {
    /// Generates a log of `lines` lines, or takes it from the cache; then reads it once.
    pub(crate) fn cached(cache: &Cache, lines: u64) -> Result<Self> {
        let path = cache.path(&format!("access-{SEED}-{lines}.log"));
        if !path.exists() {
            let unfinished = path.with_extension("unfinished");
            let file = File::create(&unfinished).at("create", &unfinished)?;
            generate(lines, BufWriter::with_capacity(1 << 20, file)).at("write", &unfinished)?;
            fs::rename(&unfinished, &path).at("rename to", &path)?;
        }
        let mut tally = Tally::new(lines);
        tally.read(File::open(&path).at("open", &path)?).at("read", &path)?;
        let log = Self { path, lines, bytes: tally.bytes, digest: tally.digest };
        tally.verdict(&log, "the cached input")?;
        Ok(log)
    }

    /// Reads it into the page cache, for every contender alike.
    pub(crate) fn warm(&self) -> Result<()> {
        raw::warm(&self.path)
    }

    /// Links the log into a watched folder atomically.
    pub(crate) fn link_into(&self, folder: &Path) -> Result<()> {
        let name = folder.join("access.log");
        fs::hard_link(&self.path, &name).at("link to", &name)
    }
}

fn generate(lines: u64, mut out: impl Write) -> io::Result<()> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut second = 0_u64;
    let pick = "the tables above are not empty";
    for serial in 0..lines {
        second += u64::from(random.random_ratio(1, 100));
        let address: [u8; 4] = random.random();
        let [a, b, c, d] = address;
        let (day, rest) = (1 + second / 86_400 % 28, second % 86_400);
        let (hour, minute, sec) = (rest / 3600, rest / 60 % 60, rest % 60);
        write!(out, "{a}.{b}.{c}.{d} - - [{day:02}/{MONTH}:{hour:02}:{minute:02}:{sec:02} +0000]")?;
        let folder = FOLDERS.choose(&mut random).expect(pick);
        let leaf = LEAVES.choose(&mut random).expect(pick);
        write!(out, " \"GET /{folder}/{leaf}")?;
        if leaf.ends_with('=') {
            write!(out, "{}", random.random_range(0..1_000_000))?;
        }
        let status = STATUS.choose(&mut random).expect(pick);
        let agent = AGENTS.choose(&mut random).expect(pick);
        let size = random.random_range(0..80_000);
        let millis = random.random_range(0..3000);
        writeln!(
            out,
            " HTTP/1.1\" {status} {size} \"-\" \"{agent}\" rt={}.{:03} {serial:012}",
            millis / 1000,
            millis % 1000
        )?;
    }
    out.flush()
}

/// Counts the lines of a copy, in any order and from any number of files.
#[derive(Debug)]
pub(crate) struct Tally {
    seen: Vec<u64>,
    repeated: u64,
    foreign: u64,
    lines: u64,
    bytes: u64,
    digest: u64,
    /// An incomplete line.
    partial: Vec<u8>,
}

impl Tally {
    /// Expects the serials below `lines`.
    pub(crate) fn new(lines: u64) -> Self {
        let words =
            usize::try_from(lines.div_ceil(64)).expect("a bitmap of the log fits in memory");
        Self {
            seen: vec![0; words],
            repeated: 0,
            foreign: 0,
            lines,
            bytes: 0,
            digest: 0,
            partial: Vec::new(),
        }
    }

    /// Counts all lines of `input`.
    pub(crate) fn read(&mut self, mut input: impl Read) -> io::Result<()> {
        let mut block = vec![0; 1 << 20];
        loop {
            match input.read(&mut block)? {
                0 => return Ok(()),
                n => self.add(&block[..n]),
            }
        }
    }

    fn add(&mut self, mut block: &[u8]) {
        self.bytes += block.len() as u64;
        while let Some(end) = memchr::memchr(b'\n', block) {
            let (line, rest) = block.split_at(end);
            if self.partial.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                self.partial = whole;
            }
            block = &rest[1..];
        }
        self.partial.extend_from_slice(block);
    }

    fn line(&mut self, line: &[u8]) {
        self.digest = self.digest.wrapping_add(xxh3_64(line));
        let Some(serial) = serial_of(line).filter(|serial| *serial < self.lines) else {
            self.foreign += 1;
            return;
        };
        let word = usize::try_from(serial / 64).expect("below the size of the bitmap");
        let bit = 1 << (serial % 64);
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
        } else {
            self.repeated += 1;
        }
    }

    /// Fails unless every line of `log` was counted once, unchanged, and nothing else.
    pub(crate) fn verdict(&self, log: &AccessLog, path_name: &str) -> Result<()> {
        let seen: u64 = self.seen.iter().map(|word| u64::from(word.count_ones())).sum();
        let missing = self.lines - seen;
        let loose = self.partial.len();
        let altered = self.digest != log.digest;
        if missing + self.repeated + self.foreign == 0 && loose == 0 && !altered {
            return Ok(());
        }
        let detail = format!(
            "{missing} missing, {} repeated, {} foreign lines; {loose} bytes after the last line \
             end; bytes altered: {altered}",
            self.repeated, self.foreign
        );
        Err(Error::Content { path_name: path_name.to_owned(), detail })
    }
}

fn serial_of(line: &[u8]) -> Option<u64> {
    let digits = line.get(line.len().checked_sub(SERIAL_DIGITS)?..)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: u64 = 2000;

    fn sample() -> (Vec<u8>, AccessLog) {
        let mut text = Vec::new();
        generate(LINES, &mut text).unwrap();
        let mut tally = Tally::new(LINES);
        tally.add(&text);
        let log = AccessLog {
            path: PathBuf::new(),
            lines: LINES,
            bytes: tally.bytes,
            digest: tally.digest,
        };
        (text, log)
    }

    fn judge(log: &AccessLog, copy: &[u8], block: usize) -> Result<()> {
        let mut tally = Tally::new(LINES);
        copy.chunks(block).for_each(|part| tally.add(part));
        tally.verdict(log, "copy")
    }

    #[test]
    fn the_same_seed_writes_the_same_log_of_about_178_bytes_a_line() {
        let (first, log) = sample();
        assert_eq!(first, sample().0);
        let mean = log.bytes / LINES;
        assert!((174..=182).contains(&mean), "{mean} bytes a line");
    }

    #[test]
    fn a_copy_in_another_order_and_in_odd_pieces_is_complete() {
        let (text, log) = sample();
        let half = memchr::memchr(b'\n', &text[text.len() / 2..]).unwrap() + text.len() / 2 + 1;
        let turned = [&text[half..], &text[..half]].concat();
        judge(&log, &turned, 61).unwrap();
    }

    #[test]
    fn a_missing_a_repeated_an_altered_and_a_cut_line_are_each_found() {
        let (text, log) = sample();
        let first = memchr::memchr(b'\n', &text).unwrap() + 1;
        let missing = judge(&log, &text[first..], 4096).unwrap_err().to_string();
        assert!(missing.contains("1 missing, 0 repeated"), "{missing}");
        let doubled = [&text[..first], &text].concat();
        let repeated = judge(&log, &doubled, 4096).unwrap_err().to_string();
        assert!(repeated.contains("0 missing, 1 repeated"), "{repeated}");
        let mut altered = text.clone();
        altered[0] ^= 1;
        assert!(judge(&log, &altered, 4096).is_err());
        assert!(judge(&log, &text[..text.len() - 1], 4096).is_err());
    }
}
