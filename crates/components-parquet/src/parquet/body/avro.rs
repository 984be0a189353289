//! Bodies in Avro's binary encoding. Events of several schemas go into one file: the settings
//! determine its columns, and each body is read with the schema it was written with.

use formats::avro::bodies::{Declared, Seen, Stated, no_datum, stated};
use formats::avro::schema::Schema;
use pipeline::{EventRef, Events};

use super::{Body, EachRow};
use crate::parquet::column::Column;
use crate::parquet::paths::{Paths, Unread};
use crate::parquet::value::Found;

/// The schema of a body.
#[derive(Debug)]
pub(super) enum Schemas {
    /// The same for all bodies.
    Declared(Declared),
    /// Stated by the event.
    Stated(Stated<Schema>),
}

/// The reader.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) schemas: Schemas,
    pub(super) paths: Paths,
    /// Number of columns.
    pub(super) columns: usize,
}

impl Bodies {
    fn row<'e>(
        &self,
        event: EventRef<'e>,
        datum: Result<(&[u8], &Schema), String>,
        row: &mut EachRow<'_, 'e>,
    ) {
        let mut found = vec![Found::Missing; self.columns];
        let read = datum.and_then(|(bytes, schema)| schema.read(bytes).map_err(no_datum));
        let read = read.map_err(|reason| Unread::Body(reason.into()));
        let read = read.and_then(|datum| self.paths.read_datum(datum, &mut found));
        row(event, read.map(|()| &found[..]));
    }
}

impl Body for Bodies {
    fn each<'e>(&self, events: &'e Events, row: &mut EachRow<'_, 'e>) {
        if self.paths.is_empty() {
            let found = vec![Found::Missing; self.columns];
            events.iter().for_each(|event| row(event, Ok(&found)));
            return;
        }
        match &self.schemas {
            Schemas::Declared(declared) => {
                let mut same = None;
                for event in events.iter() {
                    let datum = declared.datum(event, &mut same).map_err(str::to_owned);
                    self.row(event, datum.map(|bytes| (bytes, &declared.schema)), row);
                }
            }
            Schemas::Stated(schemas) => {
                // Adjacent events usually have the same schema.
                let mut last: Option<(Option<&str>, Seen<Schema>)> = None;
                for event in events.iter() {
                    let states = stated(event);
                    let same = last.take().filter(|(before, _)| *before == states);
                    let (_, schema) =
                        last.insert(same.unwrap_or_else(|| (states, schemas.of(event))));
                    let datum = match schema {
                        Ok(schema) => Ok((event.body(), &**schema)),
                        Err(reason) => Err(reason.to_string()),
                    };
                    self.row(event, datum, row);
                }
            }
        }
    }

    /// An enum symbol has one byte in a body, but JSON has its name and field names.
    fn text_bound(&self, _events: &Events, _columns: &[Column]) -> Option<u64> {
        None
    }
}
