//! Reads the statistics of a file's columns from its end.

use pipeline::{ColumnStatistics, Encoder, FileEnd};
use storage::{FileSystem, FsError};

/// Bytes of the first read, which contain the footer of most files.
const END: u64 = 64 << 10;
/// Maximum size of the end of a file.
const END_MAX: u64 = 64 << 20;

/// Returns the statistics of a file; nothing if the encoder has none.
pub(super) async fn read(
    fs: &dyn FileSystem,
    path: &str,
    length: u64,
    encoder: &dyn Encoder,
) -> Result<Vec<ColumnStatistics>, FsError> {
    if encoder.statistics(&[]).is_none() {
        return Ok(Vec::new());
    }
    let mut wanted = END.min(length);
    loop {
        let mut end = Vec::new();
        while (end.len() as u64) < wanted {
            let rest = wanted - end.len() as u64;
            let part = fs.read_part(path, length - rest, rest as usize).await?;
            if part.is_empty() {
                break;
            }
            end.extend_from_slice(&part);
        }
        match encoder.statistics(&end) {
            Some(FileEnd::Statistics(columns)) => return Ok(columns),
            Some(FileEnd::Needs(more)) if more > wanted && more <= length.min(END_MAX) => {
                wanted = more;
            }
            // The file is damaged. Its statistics are not necessary.
            _ => return Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Events, FileEncoder};
    use storage::memory::Memory;

    use super::*;

    /// Its files end with a length, and as many bytes before it.
    struct WithEnd;

    impl Encoder for WithEnd {
        fn size_bound(&self, _events: &Events) -> u64 {
            0
        }

        fn statistics(&self, end: &[u8]) -> Option<FileEnd> {
            let length = end.last_chunk().map_or(0, |it| u32::from_le_bytes(*it));
            Some(match u64::from(length) + 4 {
                needs if needs > end.len() as u64 => FileEnd::Needs(needs),
                values => {
                    let (id, bytes, nulls, nans, bounds) = (1, 0, None, None, None);
                    let column = ColumnStatistics { id, bytes, values, nulls, nans, bounds };
                    FileEnd::Statistics(vec![column])
                }
            })
        }

        fn begin(&self) -> Box<dyn FileEncoder> {
            unreachable!("it writes no file")
        }
    }

    #[tokio::test]
    async fn reads_as_much_of_the_end_as_necessary() {
        let store = Memory::new();
        for (length, stated, expected) in [
            (100, 10, Some(14)),
            (200_000, 150_000, Some(150_004)),
            (200_000, 199_996, Some(200_000)),
            (200_000, 200_000, None),
            (2, 0, None),
        ] {
            let mut content = vec![7; length];
            let at = length.saturating_sub(4);
            content.truncate(at);
            content.extend_from_slice(&u32::to_le_bytes(stated)[..length - at]);
            store.put("/f", &content);
            let columns = read(&store, "/f", length as u64, &WithEnd).await.unwrap();
            assert_eq!(columns.first().map(|it| it.values), expected, "{length} {stated}");
        }
        let gone = read(&store, "/gone", 5, &WithEnd).await;
        assert!(gone.unwrap_err().is_not_found());
    }
}
