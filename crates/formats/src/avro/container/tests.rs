//! Goal: any file is read completely or rejected with a position, in bounded memory.
//!
//! Method: each handmade file breaks one rule; memory use is compared with the sizes that a block
//! declares.

use std::io::Write;

use super::super::datum::{put_bytes, put_long};
use super::*;

const INT: &str = r#"{"type":"record","name":"N","fields":[{"name":"n","type":"int"}]}"#;
const SYNC: [u8; 16] = [7; 16];

/// Returns a file of this metadata and these blocks: number of records, and their raw bytes.
fn file(metadata: &[(&str, &[u8])], blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    if !metadata.is_empty() {
        put_long(&mut out, metadata.len() as i64);
        for (name, value) in metadata {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value);
        }
    }
    put_long(&mut out, 0);
    out.extend(SYNC);
    for (count, coded) in blocks {
        put_long(&mut out, *count);
        put_bytes(&mut out, coded);
        out.extend(SYNC);
    }
    out
}

fn of_codec(codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    file(&[("avro.schema", INT.as_bytes()), ("avro.codec", codec.as_bytes())], blocks)
}

/// Returns the records of a file, read with this limit of a block.
fn read(mut file: &[u8], max: usize) -> Result<Vec<Vec<u8>>, String> {
    let (mut at, mut block, mut records) = (0, Block::new(max), Vec::new());
    let mut bytes = Bytes::new(&mut file, &mut at);
    let mut all = || {
        let Some(head) = Head::read(&mut bytes)? else { return Ok(()) };
        while head.read_block(&mut bytes, &mut block)? {
            while let Some(record) = block.peek(&head).map(<[u8]>::to_vec) {
                block.give(record.len());
                records.push(record);
            }
            assert!(block.records.capacity() <= 2 * max + 64, "{}", block.records.capacity());
        }
        Ok::<_, FileError>(())
    };
    all().map(|()| records).map_err(|error| error.to_string())
}

/// Compresses a block.
type Pack = fn(&[u8]) -> Vec<u8>;

fn deflate(plain: &[u8]) -> Vec<u8> {
    let best = flate2::Compression::best();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), best);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut packed = snap::raw::Encoder::new().compress_vec(plain).unwrap();
    packed.extend(crc32fast::hash(plain).to_be_bytes());
    packed
}

fn zstandard(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 19).unwrap()
}

#[test]
fn blocks_are_read_in_each_codec_up_to_the_limit_and_no_further() {
    let plain = |length: usize| vec![2; length];
    let packed: [(&str, Pack); 5] = [
        ("null", <[u8]>::to_vec),
        ("deflate", deflate),
        ("snappy", snappy),
        ("zstandard", zstandard),
        ("bzip2", bzip2),
    ];
    for (codec, pack) in packed {
        let max = 100_000;
        let whole = of_codec(codec, &[(max as i64, pack(&plain(max)))]);
        assert_eq!(read(&whole, max).map(|records| records.len()), Ok(max), "{codec}");
        let large = of_codec(codec, &[(max as i64 + 1, pack(&plain(max + 1)))]);
        let error = read(&large, max).unwrap_err();
        assert!(error.contains("`block_max`"), "{codec}: {error}");
    }
}

#[test]
fn a_small_block_that_becomes_a_large_one_is_refused_before_it_has() {
    let zeroes = vec![0; 16 << 20];
    let bombs = [
        ("deflate", deflate(&zeroes)),
        ("zstandard", zstandard(&zeroes)),
        ("bzip2", bzip2(&zeroes)),
        ("snappy", [&[0xff, 0xff, 0xff, 0xff, 0xf][..], &[0; 9]].concat()),
    ];
    for (codec, bomb) in bombs {
        assert!(bomb.len() < 100_000, "{codec}: {}", bomb.len());
        let error = read(&of_codec(codec, &[(1, bomb)]), 100_000).unwrap_err();
        assert!(error.contains("`block_max`"), "{codec}: {error}");
    }
    // A window of 128 MiB before one byte.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 9, 0, 0, 2];
    let error = read(&of_codec("zstandard", &[(1, window)]), 100_000).unwrap_err();
    assert!(error.contains("decompression failed"), "{error}");
}

#[test]
fn refuses_a_block_that_contradicts_its_header() {
    for (count, records, says) in [
        (
            3,
            vec![2, 2],
            "record 2: the Avro data is damaged, or has another schema: it ends within a value",
        ),
        (1, vec![2, 2], "bytes follow its last value"),
        (-1, vec![2], "a block of -1 records"),
        (i64::MAX, vec![2], "record 1: the Avro data is damaged"),
        (
            1,
            vec![0xff, 0xff, 0xff, 0xff, 0x7f],
            "record 0: the Avro data is damaged, or has another schema: a number",
        ),
    ] {
        let good = (2, vec![2, 4]);
        let error = read(&of_codec("null", &[good, (count, records)]), 100).unwrap_err();
        assert!(error.contains(says) && error.contains("at byte"), "{error}");
    }
    let empty = of_codec("null", &[(0, vec![]), (1, vec![2])]);
    assert_eq!(read(&empty, 100), Ok(vec![vec![2]]), "a block may be empty");
    let mut foreign = of_codec("null", &[(1, vec![2])]);
    *foreign.last_mut().unwrap() = 8;
    assert!(read(&foreign, 100).unwrap_err().contains("sync marker"));
    let mut checksum = snappy(&[2]);
    *checksum.last_mut().unwrap() ^= 1;
    for (coded, says) in [(checksum, "checksum"), (vec![1], "checksum is missing")] {
        let error = read(&of_codec("snappy", &[(1, coded)]), 100).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let mut long = of_codec("null", &[]);
    put_long(&mut long, 1);
    put_long(&mut long, 1 << 40);
    assert!(read(&long, 100).unwrap_err().contains("a block (`block_max`) of 1099511627776"));
}

#[test]
fn a_head_that_is_none_is_refused_with_what_is_wrong() {
    let schema = |text: &str| file(&[("avro.schema", text.as_bytes())], &[]);
    let endless = {
        let mut out = MAGIC.to_vec();
        put_long(&mut out, i64::MAX);
        out.resize(2 << 20, 0);
        out
    };
    let mut huge = MAGIC.to_vec();
    put_long(&mut huge, 1);
    put_long(&mut huge, 1 << 40);
    let of_codec =
        |codec: &[u8]| file(&[("avro.schema", INT.as_bytes()), ("avro.codec", codec)], &[]);
    for (bytes, says) in [
        (b"text\n".to_vec(), "not an Avro container"),
        (b"Ob".to_vec(), "ends too early"),
        (file(&[], &[]), "no `avro.schema`"),
        (file(&[("avro.schema", b"\xff")], &[]), "not UTF-8"),
        (schema("{"), "cannot parse the schema of the file: EOF"),
        (schema(r#""Unknown""#), "type `Unknown` is not defined"),
        (schema(&format!("[{}", "1".repeat(1000))), "cannot parse the schema of the file"),
        (schema(r#""null""#), "values have no bytes"),
        (schema(r#"{"type":"record","name":"R","fields":[]}"#), "values have no bytes"),
        (of_codec(b"xz"), "codec `xz` of the file is not supported; known: `null`"),
        (endless, "more than 1048576 bytes"),
        (huge, "metadata of 1099511627776 bytes"),
    ] {
        let error = read(&bytes, 100).unwrap_err();
        assert!(error.contains(says) && error.len() < 500, "{says}: {error}");
    }
    assert_eq!(read(b"", 100), Ok(vec![]));
    // Without `avro.codec` there is no compression. Metadata may come in blocks with a size.
    let mut sized = MAGIC.to_vec();
    put_long(&mut sized, -1);
    put_long(&mut sized, 99);
    put_bytes(&mut sized, b"avro.schema");
    put_bytes(&mut sized, INT.as_bytes());
    put_long(&mut sized, 0);
    sized.extend(SYNC);
    assert_eq!(read(&sized, 100), Ok(vec![]));
}
