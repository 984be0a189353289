//! Bodies that are data of Avro, and of which schema each is: one that the settings declare for all
//! of them ([`Declared`]), or the one that the event states ([`Stated`]): by its text in
//! `flume.avro.schema.literal`, or by its URL in `flume.avro.schema.url`, which counts where both
//! are there, as in Flume.
//!
//! A schema that is stated is compiled once, when it is first seen. Events come from outside: a
//! text has at most [`LITERAL_MAX`] bytes, [`COMPILED_MAX`] of them are kept, and no URL is
//! fetched.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::{BuildError, EventRef};
use serde_json::Value;

use super::schema::{LITERAL_HEADER, Schema};

/// The header by which Flume's events state where their schema is. It counts where the literal one
/// is there too.
pub const URL_HEADER: &str = "flume.avro.schema.url";

/// Bytes of the text of a schema at most.
pub const LITERAL_MAX: usize = 64 << 10;
/// Schemas that are kept compiled at most; with one more, all are compiled anew when they come.
pub const COMPILED_MAX: usize = 256;
/// Bytes in front of a datum in the wire format of a schema registry: 0, and the schema's number.
pub const PREFIX: usize = 5;

/// A schema that the settings declare: its JSON, and what it comes to.
///
/// # Errors
/// It is none; `setting` has it.
pub fn parsed(setting: &str, text: &str) -> Result<(Value, Schema), BuildError> {
    let invalid = |problem: String| BuildError::invalid(setting, problem);
    let literal: Value = serde_json::from_str(text.trim())
        .map_err(|error| invalid(format!("it is not JSON: {error}")))?;
    let schema = Schema::parse(&literal).map_err(invalid)?;
    Ok((literal, schema))
}

/// Why a body is not what its schema says.
pub fn no_datum(malformed: impl fmt::Display) -> String {
    format!("the body is no datum of the schema: {malformed}")
}

/// The schema of all bodies.
#[derive(Debug)]
pub struct Declared {
    /// What bodies are data of.
    pub schema: Schema,
    /// The schema as events may state it.
    pub literal: Value,
    urls: Vec<String>,
    /// What each body begins with.
    prefix: Option<[u8; PREFIX]>,
}

/// What the last literal that was seen came to.
pub type Same<'e> = Option<(&'e str, bool)>;

impl Declared {
    /// By the settings `schema`, `schema_urls` and `registry_id`.
    ///
    /// # Errors
    /// `schema` is none.
    pub fn new(
        schema: &str,
        urls: Vec<String>,
        registry_id: Option<u32>,
    ) -> Result<Self, BuildError> {
        let (literal, schema) = parsed("schema", schema)?;
        let prefix = registry_id.map(|number| {
            let [a, b, c, d] = number.to_be_bytes();
            [0, a, b, c, d]
        });
        Ok(Self { schema, literal, urls, prefix })
    }

    /// Bytes that each body has in front of its datum.
    pub fn prefix_bytes(&self) -> usize {
        self.prefix.map_or(0, |prefix| prefix.len())
    }

    /// The bytes of an event that have to be a datum; `same` is kept from event to event.
    ///
    /// # Errors
    /// It states another schema.
    pub fn datum<'e>(
        &self,
        event: EventRef<'e>,
        same: &mut Same<'e>,
    ) -> Result<&'e [u8], &'static str> {
        if let Some(url) = event.header(URL_HEADER) {
            if !self.urls.iter().any(|known| known == url) {
                return Err("the header `flume.avro.schema.url` is none of `schema_urls`");
            }
        } else if let Some(literal) = event.header(LITERAL_HEADER) {
            let is_same = match *same {
                Some((last, is_same)) if last == literal => is_same,
                _ => serde_json::from_str::<Value>(literal).is_ok_and(|it| it == self.literal),
            };
            *same = Some((literal, is_same));
            if !is_same {
                return Err("the header `flume.avro.schema.literal` is not the setting `schema`");
            }
        }
        let Some(prefix) = &self.prefix else { return Ok(event.body()) };
        let datum = event.body().strip_prefix(prefix);
        datum.ok_or("the body does not begin with a byte 0 and the number `registry_id`")
    }
}

/// What makes something of a schema and its text.
type Make<T> = dyn Fn(Schema, &str) -> T + Send + Sync;

/// What a schema comes to, or why it is none.
pub type Seen<T> = Result<Arc<T>, Arc<str>>;

/// The schemas of events that state them, each with what is made of it.
pub struct Stated<T> {
    make: Box<Make<T>>,
    /// By URL.
    known: BTreeMap<String, Arc<T>>,
    /// By text.
    seen: Mutex<HashMap<String, Seen<T>>>,
}

impl<T> fmt::Debug for Stated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stated").field("known", &self.known.keys()).finish_non_exhaustive()
    }
}

impl<T> Stated<T> {
    /// With the setting `schemas`, by URL; `make` gets a schema and its text.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(
        schemas: &BTreeMap<String, String>,
        make: impl Fn(Schema, &str) -> T + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        let mut known = BTreeMap::new();
        for (url, text) in schemas {
            let (_, schema) = parsed(&format!("schemas.{url:?}"), text)?;
            known.insert(url.clone(), Arc::new(make(schema, text.trim())));
        }
        Ok(Self { make: Box::new(make), known, seen: Mutex::default() })
    }

    /// The schema that an event states.
    ///
    /// # Errors
    /// It states none that is known, or none at all.
    pub fn of(&self, event: EventRef<'_>) -> Seen<T> {
        if let Some(url) = event.header(URL_HEADER) {
            let known = self.known.get(url).cloned();
            return known
                .ok_or_else(|| "the header `flume.avro.schema.url` is none of `schemas`".into());
        }
        let Some(text) = event.header(LITERAL_HEADER) else {
            return Err("the event states no schema, and the setting `schema` is not there".into());
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.get(text) {
            return known.clone();
        }
        let made = self.compiled(text).map(Arc::new);
        if seen.len() >= COMPILED_MAX {
            seen.clear();
        }
        // What is too long is not worth its room.
        if text.len() <= LITERAL_MAX {
            seen.insert(text.to_owned(), made.clone());
        }
        made
    }

    fn compiled(&self, text: &str) -> Result<T, Arc<str>> {
        if text.len() > LITERAL_MAX {
            return Err("the header `flume.avro.schema.literal` has more than 64 KiB".into());
        }
        let wrong = |problem: Cow<'_, str>| {
            Arc::<str>::from(format!("the header `flume.avro.schema.literal`: {problem}"))
        };
        let literal = serde_json::from_str(text);
        let literal = literal.map_err(|error| wrong(format!("it is not JSON: {error}").into()))?;
        let schema = Schema::parse(&literal).map_err(|problem| wrong(problem.into()))?;
        Ok((self.make)(schema, text))
    }
}

/// What the event states of its schema.
pub fn stated<'e>(event: EventRef<'e>) -> Option<&'e str> {
    event.header(URL_HEADER).or_else(|| event.header(LITERAL_HEADER))
}

/// What of `schema_urls`, `registry_id` and `schemas` does not go with `schema` or without it.
///
/// # Errors
/// Something is set that says nothing then.
pub fn check_settings(
    schema: Option<&str>,
    schema_urls: &[String],
    registry_id: Option<u32>,
    schemas: &BTreeMap<String, String>,
) -> Result<(), BuildError> {
    if schema.is_some() {
        if schemas.is_empty() {
            return Ok(());
        }
        let problem = "`schema` is that of all events: remove one of the two, or give its URLs in \
                       `schema_urls`";
        return Err(BuildError::invalid("schemas", problem));
    }
    let unset = [("schema_urls", schema_urls.is_empty()), ("registry_id", registry_id.is_none())];
    match unset.into_iter().find(|(_, unset)| !unset) {
        Some((setting, _)) => {
            let problem = "it says something of `schema`, which is not set";
            Err(BuildError::invalid(setting, problem))
        }
        None => Ok(()),
    }
}
