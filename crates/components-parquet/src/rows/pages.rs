//! The pages of a column, with bounds that are checked before decoding: a page of some hundred
//! bytes may claim to contain hundreds of millions of values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use formats::thrift::Protocol;
use formats::thrift::read::{Field, Reader};

/// Page type of a dictionary.
const DICTIONARY: i32 = 2;

/// Returns the decompressed size of the dictionary and the largest other page of a column. `stored`
/// are all of its pages.
///
/// # Errors
/// The bytes are not pages.
pub(super) fn decompressed(stored: &[u8]) -> Result<u64, String> {
    let (mut rest, mut dictionary, mut largest) = (stored, 0, 0);
    while !rest.is_empty() {
        let head = Head::read(&mut rest)
            .map_err(|error| format!("cannot decode a page header: {error}"))?;
        let stored = usize::try_from(head.stored).ok().and_then(|bytes| rest.get(bytes..));
        rest = stored.ok_or("a page exceeds its column")?;
        let bytes = u64::try_from(head.decompressed).unwrap_or_default();
        let known = if head.kind == DICTIONARY { &mut dictionary } else { &mut largest };
        *known = bytes.max(*known);
    }
    Ok(dictionary + largest)
}

/// The header of a page.
#[derive(Default)]
struct Head {
    kind: i32,
    decompressed: i32,
    stored: i32,
}

impl Head {
    fn read(bytes: &mut &[u8]) -> Result<Self, formats::thrift::Malformed> {
        let mut reader = Reader::new(Protocol::Compact, bytes);
        let (mut head, mut last) = (Self::default(), 0);
        while let Some(Field { id, kind }) = reader.field(&mut last)? {
            match id {
                1 => head.kind = reader.i32()?,
                2 => head.decompressed = reader.i32()?,
                3 => head.stored = reader.i32()?,
                _ => reader.skip(kind)?,
            }
        }
        *bytes = reader.rest();
        Ok(head)
    }
}

/// The pages of a column with lists; a single row may span many.
pub(super) struct Bounded<P> {
    pub(super) pages: P,
    /// Entries of the pages read since the last row was requested.
    pub(super) came: Arc<AtomicU64>,
    /// Maximum number of entries for one row.
    pub(super) most: u64,
}

impl<P: PageReader> Bounded<P> {
    fn checked(&self, page: ParquetResult<Option<Page>>) -> ParquetResult<Option<Page>> {
        if let Ok(Some(page)) = &page
            && page.is_data_page()
        {
            let (new, most) = (u64::from(page.num_values()), self.most);
            let came = self.came.fetch_add(new, Ordering::Relaxed) + new;
            if came > most {
                return Err(ParquetError::General(format!(
                    "a row may have {came} values in this column, but the limit is {most}; raise \
                     `row_group_max` if there is enough memory (64 bytes for each value)"
                )));
            }
        }
        page
    }
}

impl<P: PageReader> Iterator for Bounded<P> {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for Bounded<P> {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let page = self.pages.get_next_page();
        self.checked(page)
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> ParquetResult<bool> {
        self.pages.at_record_boundary()
    }
}
