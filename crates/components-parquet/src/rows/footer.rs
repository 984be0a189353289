//! The footer: the location and content of the row groups.

use std::sync::Arc;

use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use pipeline::{FileError, Parts};

use super::column::Form;
use super::malformed;
use super::nested::{Node, fields};
use super::schema;

/// First and last bytes of a file, and last bytes of an encrypted one.
const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";
/// Bytes after the footer: its length, and the end marker.
const END: u64 = 8;
/// Maximum footer size, because it is kept in memory.
const FOOTER_MAX: u64 = 256 << 20;

/// The footer of a file.
pub(super) struct Footer {
    metadata: ParquetMetaData,
    /// Path and form of each leaf column.
    pub(super) columns: Arc<[(String, Form)]>,
    /// The fields of a row, by their names as JSON.
    pub(super) fields: Arc<[(String, Node)]>,
}

impl Footer {
    /// Reads the footer.
    ///
    /// # Errors
    /// The file cannot be read, is not a Parquet file, or has unsupported columns.
    pub(super) fn read(file: &dyn Parts) -> Result<Self, FileError> {
        let length = file.length();
        let behind = length.checked_sub(END).filter(|it| *it >= MAGIC.len() as u64);
        let behind = behind.ok_or_else(|| malformed("the file is too short for a Parquet file"))?;
        let end = file.read_at(behind, END as usize)?;
        match &end[4..] {
            MAGIC => {}
            ENCRYPTED => return Err(malformed("the file is encrypted, which is not supported")),
            _ => {
                return Err(malformed(
                    "the file does not end like a Parquet file; it is incomplete or has another \
                     format",
                ));
            }
        }
        let bytes = u64::from(u32::from_le_bytes(end[..4].try_into().expect("four bytes")));
        if bytes > FOOTER_MAX || bytes > behind - MAGIC.len() as u64 {
            return Err(malformed(format!("the file has an invalid footer length: {bytes}")));
        }
        let footer = file.read_at(behind - bytes, bytes as usize)?;
        let metadata = schema::check(&footer)
            .and_then(|()| Ok(ParquetMetaDataReader::decode_metadata(&footer)?))
            .map_err(|error| malformed(format!("cannot decode the footer of the file: {error}")))?;
        let columns = metadata.file_metadata().schema_descr().columns().iter().map(|column| {
            let form = Form::new(column).map_err(|problem| {
                malformed(format!("the column `{}` has {problem}", column.path().string()))
            })?;
            Ok((column.path().string(), form))
        });
        let columns: Vec<_> = columns.collect::<Result<_, FileError>>()?;
        let fields = fields(metadata.file_metadata().schema_descr().root_schema());
        let fields = fields.map_err(malformed)?;
        Ok(Self { metadata, columns: columns.into(), fields: fields.into() })
    }

    /// Returns the number of row groups.
    pub(super) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    pub(super) fn group(&self, number: usize) -> &RowGroupMetaData {
        self.metadata.row_group(number)
    }

    /// Returns the number of rows in a row group.
    pub(super) fn rows(&self, number: usize) -> u64 {
        u64::try_from(self.group(number).num_rows()).unwrap_or_default()
    }
}
