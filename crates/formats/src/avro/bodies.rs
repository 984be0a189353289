//! Event bodies in Avro, and their schemas: one that the settings declare for all bodies
//! ([`Declared`]), or one that each event states ([`Stated`]): its text in
//! `flume.avro.schema.literal`, or its URL in `flume.avro.schema.url`. The URL takes precedence, as
//! in Flume.
//!
//! A stated schema is compiled once, when it first occurs. Events are untrusted: a text has at most
//! [`LITERAL_MAX`] bytes, at most [`COMPILED_MAX`] schemas are cached, and URLs are never fetched.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::{BuildError, EventRef};
use serde_json::Value;

use super::schema::{LITERAL_HEADER, Schema};

/// Header with the URL of the schema in Flume's events. It takes precedence over the literal.
pub const URL_HEADER: &str = "flume.avro.schema.url";

/// Maximum size of a schema's text.
pub const LITERAL_MAX: usize = 64 << 10;
/// Maximum number of cached schemas; one more clears the cache.
pub const COMPILED_MAX: usize = 256;
/// Bytes before a datum in the wire format of a schema registry: 0, and the schema's number.
pub const PREFIX: usize = 5;

/// Parses and compiles a schema of the settings.
///
/// # Errors
/// Fails if it is not a schema; the error names `setting`.
pub fn parsed(setting: &str, text: &str) -> Result<(Value, Schema), BuildError> {
    let invalid = |problem: String| BuildError::invalid(setting, problem);
    let literal: Value = serde_json::from_str(text.trim())
        .map_err(|error| invalid(format!("must be an Avro schema in JSON: {error}")))?;
    let schema = Schema::parse(&literal).map_err(invalid)?;
    Ok((literal, schema))
}

/// Describes why a body does not match its schema.
pub fn no_datum(malformed: impl fmt::Display) -> String {
    format!("the body does not match the schema: {malformed}; correct the sender or the schema")
}

/// The schema of all bodies.
#[derive(Debug)]
pub struct Declared {
    /// The compiled schema.
    pub schema: Schema,
    /// The schema as JSON, for comparison with events.
    pub literal: Value,
    urls: Vec<String>,
    /// Prefix of each body.
    prefix: Option<[u8; PREFIX]>,
}

/// Result of the last comparison with a literal.
pub type Same<'e> = Option<(&'e str, bool)>;

impl Declared {
    /// Creates it from the settings `schema`, `schema_urls` and `registry_id`.
    ///
    /// # Errors
    /// Fails if `schema` is not a schema.
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

    /// Returns the number of bytes before the datum in each body.
    pub fn prefix_bytes(&self) -> usize {
        self.prefix.map_or(0, |prefix| prefix.len())
    }

    /// Returns the bytes of an event that must be a datum; pass the same `same` for all events.
    ///
    /// # Errors
    /// Fails if it states another schema.
    pub fn datum<'e>(
        &self,
        event: EventRef<'e>,
        same: &mut Same<'e>,
    ) -> Result<&'e [u8], &'static str> {
        if let Some(url) = event.header(URL_HEADER) {
            if !self.urls.iter().any(|known| known == url) {
                return Err(
                    "the URL in the header `flume.avro.schema.url` is not in `schema_urls`; add \
                     it",
                );
            }
        } else if let Some(literal) = event.header(LITERAL_HEADER) {
            let is_same = match *same {
                Some((last, is_same)) if last == literal => is_same,
                _ => serde_json::from_str::<Value>(literal).is_ok_and(|it| it == self.literal),
            };
            *same = Some((literal, is_same));
            if !is_same {
                return Err("the header `flume.avro.schema.literal` differs from the setting \
                            `schema`; correct the setting, or remove the header with an \
                            interceptor");
            }
        }
        let Some(prefix) = &self.prefix else { return Ok(event.body()) };
        let datum = event.body().strip_prefix(prefix);
        datum.ok_or(
            "the body does not begin with a byte 0 and the number `registry_id`; correct the \
             sender, or remove `registry_id`",
        )
    }
}

/// Builds a value from a schema and its text.
type Make<T> = dyn Fn(Schema, &str) -> T + Send + Sync;

/// Result for a schema, or the reason why it is invalid.
pub type Seen<T> = Result<Arc<T>, Arc<str>>;

/// Schemas that events state, each with a value built from it.
pub struct Stated<T> {
    make: Box<Make<T>>,
    /// Values by URL.
    known: BTreeMap<String, Arc<T>>,
    /// Cached results by text.
    seen: Mutex<HashMap<String, Seen<T>>>,
}

impl<T> fmt::Debug for Stated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stated").field("known", &self.known.keys()).finish_non_exhaustive()
    }
}

impl<T> Stated<T> {
    /// Creates it from the setting `schemas`, by URL; `make` gets a schema and its text.
    ///
    /// # Errors
    /// Fails if one of them is not a schema.
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

    /// Returns the value for the schema that an event states.
    ///
    /// # Errors
    /// Fails if it states an unknown schema, or no schema.
    pub fn of(&self, event: EventRef<'_>) -> Seen<T> {
        if let Some(url) = event.header(URL_HEADER) {
            let known = self.known.get(url).cloned();
            return known.ok_or_else(|| {
                "the URL in the header `flume.avro.schema.url` is not in `schemas`; add it".into()
            });
        }
        let Some(text) = event.header(LITERAL_HEADER) else {
            return Err("the event has no schema: set `schema`, or the header \
                        `flume.avro.schema.url` or `flume.avro.schema.literal` of the events"
                .into());
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.get(text) {
            return known.clone();
        }
        let made = self.compiled(text).map(Arc::new);
        if seen.len() >= COMPILED_MAX {
            seen.clear();
        }
        // Texts over the limit are not cached.
        if text.len() <= LITERAL_MAX {
            seen.insert(text.to_owned(), made.clone());
        }
        made
    }

    fn compiled(&self, text: &str) -> Result<T, Arc<str>> {
        if text.len() > LITERAL_MAX {
            return Err("the header `flume.avro.schema.literal` has more than 64 KiB; set the \
                        schema as `schema` of the sink's encoder"
                .into());
        }
        let wrong = |problem: Cow<'_, str>| {
            Arc::<str>::from(format!(
                "the header `flume.avro.schema.literal` is not an Avro schema: {problem}; correct \
                 the sender"
            ))
        };
        let literal = serde_json::from_str(text);
        let literal = literal
            .map_err(|error| wrong(format!("must be an Avro schema in JSON: {error}").into()))?;
        let schema = Schema::parse(&literal).map_err(|problem| wrong(problem.into()))?;
        Ok((self.make)(schema, text))
    }
}

/// Returns the URL or text of the schema in an event.
pub fn stated<'e>(event: EventRef<'e>) -> Option<&'e str> {
    event.header(URL_HEADER).or_else(|| event.header(LITERAL_HEADER))
}

/// Checks that `schema_urls`, `registry_id` and `schemas` are compatible with the presence of
/// `schema`.
///
/// # Errors
/// Fails if a setting would have no effect.
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
        let problem = "cannot be combined with `schema`, which applies to all events: remove one \
                       of the two, or list its URLs in `schema_urls`";
        return Err(BuildError::invalid("schemas", problem));
    }
    let unset = [("schema_urls", schema_urls.is_empty()), ("registry_id", registry_id.is_none())];
    match unset.into_iter().find(|(_, unset)| !unset) {
        Some((setting, _)) => {
            let problem = "has an effect only with `schema`; set `schema`, or remove this";
            Err(BuildError::invalid(setting, problem))
        }
        None => Ok(()),
    }
}
