//! `avro_rows`: converts Avro bodies to typed rows, so that values keep their types.
//!
//! ```text
//!   body ─► schema: of the settings, of the event, or of a registry by its id
//!             │ known: row, with its schema in the header `rows.schema`
//!             │ unknown to the registry, or no row: dead letter
//!             ▼ registry unreachable: the batch waits
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `registry` | fetches and caches schemas |
//! | `references` | puts referenced types into a schema |

mod references;
mod registry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use formats::avro::bodies::{self, Declared, PREFIX, Same, Seen, Stated};
use formats::avro::schema::Schema;
use pipeline::{
    BuildContext, BuildError, Component, EventRef, Events, Existing, Interceptor, Rejects,
    RemoteInterceptor, Values,
};
use rows::SCHEMA_HEADER;
use schemars::JsonSchema;
use serde::Deserialize;

use self::registry::{Registry, RegistryConfig};

/// Settings of the `avro_rows` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Schema registry. Each body must begin with a zero byte and the id of its schema in four
    /// bytes, big-endian, as the serializers of Confluent write it.
    #[serde(default)]
    registry: Option<RegistryConfig>,
    /// Schema of all bodies, in JSON, if there is no `registry`. Use a reference to a file, such as
    /// `"${file:app.avsc}"`. Without it each event names its schema.
    #[serde(default)]
    schema: Option<String>,
    /// URLs of `schema`. An event whose header `flume.avro.schema.url` has another URL is rejected.
    #[serde(default)]
    schema_urls: Vec<String>,
    /// Schemas by the URLs that events name, if `schema` is not set. The URLs are not fetched: an
    /// event with another URL is rejected.
    #[serde(default)]
    schemas: BTreeMap<String, String>,
    /// Id of `schema` in a schema registry. If it is set, each body must begin with a zero byte and
    /// this id in four bytes, big-endian.
    #[serde(default)]
    registry_id: Option<u32>,
}

impl Component for Config {
    const KIND: &'static str = "avro_rows";
    const LETTERS: &[&str] = &["not_a_row"];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let described = format!("{self:?}");
        let Self { registry, schema, schema_urls, schemas, registry_id } = self;
        if let Some(registry) = registry {
            let others = [
                ("schema", schema.is_some()),
                ("schema_urls", !schema_urls.is_empty()),
                ("schemas", !schemas.is_empty()),
                ("registry_id", registry_id.is_some()),
            ];
            if let Some((setting, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
                let problem = "cannot be combined with `registry`: remove one of the two";
                return Err(BuildError::invalid(setting, problem));
            }
            let schemas = Schemas::Registry(Box::new(Registry::new(registry, cx)?));
            return Ok(Box::new(AvroRows { schemas, described }));
        }
        bodies::check_settings(schema.as_deref(), &schema_urls, registry_id, &schemas)?;
        let schemas = match schema {
            Some(text) => {
                let (_, schema) = bodies::parsed("schema", &text)?;
                let plan = Plan::new(schema);
                let plan = plan.map_err(|problem| BuildError::invalid("schema", problem))?;
                let declared = Declared::new(&text, schema_urls, registry_id)?;
                Schemas::Declared(Box::new(declared), Arc::new(plan))
            }
            None => {
                Schemas::Stated(Stated::new(&schemas, |schema, _| Plan::new(schema).map(Arc::new))?)
            }
        };
        Ok(Box::new(AvroRows { schemas, described }))
    }
}

/// A schema, and its rows.
#[derive(Debug)]
struct Plan {
    schema: Schema,
    rows: rows::Schema,
    /// Value of the header.
    header: String,
}

impl Plan {
    fn new(schema: Schema) -> Result<Self, String> {
        let rows = schema.rows().map_err(|problem| {
            format!("the schema cannot become typed rows: {problem}; change the schema")
        })?;
        let header = rows.to_text();
        Ok(Self { schema, rows, header })
    }
}

/// A plan, or why the schema has none.
type Planned = Result<Arc<Plan>, String>;

/// Where the schemas of bodies are.
enum Schemas {
    Declared(Box<Declared>, Arc<Plan>),
    Stated(Stated<Planned>),
    Registry(Box<Registry>),
}

struct AvroRows {
    schemas: Schemas,
    described: String,
}

/// Returns the id of the schema in a body.
fn id(event: EventRef<'_>) -> Result<(u32, &[u8]), String> {
    match event.body().split_first_chunk::<PREFIX>() {
        Some(([0, id @ ..], datum)) => Ok((u32::from_be_bytes(*id), datum)),
        _ => Err("the body does not begin with a byte 0 and the id of a schema, so its producer \
                  does not use the schema registry; correct the producer, or set `schema` in the \
                  interceptor"
            .to_owned()),
    }
}

fn is_row(event: EventRef<'_>) -> bool {
    event.header(SCHEMA_HEADER).is_some()
}

/// The schema of a body, and the number of bytes before its datum; or why it has none. `None` for
/// a body that is a typed row.
type Found = Option<Result<(Arc<Plan>, usize), String>>;

/// Converts bodies.
fn convert(events: &mut Events, found: Vec<Found>, rejects: &mut Rejects) {
    let mut headers = Values::default();
    let mut failures: Vec<Option<String>> = Vec::with_capacity(events.len());
    let mut found = found.into_iter();
    events.rewrite_bodies(|event, out| {
        let Some(found) = found.next().flatten() else {
            headers.push(None);
            failures.push(None);
            return false;
        };
        let written = found.and_then(|(plan, before)| {
            plan.schema.put_row(&plan.rows, &event.body()[before..], out)?;
            Ok(plan)
        });
        headers.push(written.as_ref().ok().map(|plan| &*plan.header));
        failures.push(written.err());
        failures.last().is_some_and(Option::is_none)
    });
    events.merge_values(SCHEMA_HEADER, headers, Existing::Replace);
    let failed = events.extract(|event| failures[event.index()].is_some());
    let reasons: Vec<String> = failures.into_iter().flatten().collect();
    let mut distinct: Vec<&String> = Vec::new();
    let mut part_of = Vec::with_capacity(reasons.len());
    for reason in &reasons {
        let known = distinct.iter().rposition(|known| *known == reason);
        part_of.push(known.unwrap_or_else(|| {
            distinct.push(reason);
            distinct.len() - 1
        }));
    }
    for (part, reason) in failed.split(&part_of).into_iter().zip(distinct) {
        let detail = format!(
            "the body cannot become a typed row: {reason}; correct its sender or the schema"
        );
        rejects.push(part, "not_a_row", &detail);
    }
}

/// Finds the schemas of events in the settings or in the events.
fn declared(events: &Events, declared: &Declared, plan: &Arc<Plan>) -> Vec<Found> {
    let mut same: Same<'_> = None;
    let before = declared.prefix_bytes();
    let found = events.iter().map(|event| {
        let datum = (!is_row(event)).then(|| declared.datum(event, &mut same));
        datum.map(|datum| datum.map(|_| (Arc::clone(plan), before)).map_err(str::to_owned))
    });
    found.collect()
}

/// Same for schemas that events state.
fn stated(events: &Events, schemas: &Stated<Planned>) -> Vec<Found> {
    // Adjacent events usually have the same schema.
    let mut last: Option<(Option<&str>, Seen<Planned>)> = None;
    let found = events.iter().map(|event| {
        if is_row(event) {
            return None;
        }
        let states = bodies::stated(event);
        let same = last.take().filter(|(before, _)| *before == states);
        let (_, seen) = last.insert(same.unwrap_or_else(|| (states, schemas.of(event))));
        Some(match seen {
            Ok(planned) => (**planned).clone().map(|plan| (plan, 0)),
            Err(reason) => Err(reason.to_string()),
        })
    });
    found.collect()
}

impl Interceptor for AvroRows {
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects) {
        let found = match &self.schemas {
            Schemas::Declared(settings, plan) => declared(events, settings, plan),
            Schemas::Stated(schemas) => stated(events, schemas),
            // Never used, because `remote` is. It loses no event.
            Schemas::Registry(_) => {
                let reason = || {
                    Some(Err("the schema registry was not asked; report this as a bug".to_owned()))
                };
                events.iter().map(|_| reason()).collect()
            }
        };
        convert(events, found, rejects);
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some(format!("typed rows of {}", self.described))
    }

    fn body_effect(&self) -> Option<String> {
        self.routing_effect(None)
    }

    fn remote(&self) -> Option<&dyn RemoteInterceptor> {
        matches!(self.schemas, Schemas::Registry(_)).then_some(self)
    }
}

#[async_trait]
impl RemoteInterceptor for AvroRows {
    async fn intercept(
        &self,
        mut events: Events,
        rejects: &mut Rejects,
    ) -> Result<Events, Box<dyn std::error::Error + Send + Sync>> {
        let Schemas::Registry(registry) = &self.schemas else { return Ok(events) };
        let ids = events.iter().filter(|event| !is_row(*event)).filter_map(|event| id(event).ok());
        let ids: BTreeSet<u32> = ids.map(|(id, _)| id).collect();
        let plans = registry.plans(ids).await?;
        let found = events.iter().map(|event| {
            (!is_row(event)).then(|| {
                let (id, _) = id(event)?;
                plans[&id].clone().map(|plan| (plan, PREFIX))
            })
        });
        let found = found.collect();
        convert(&mut events, found, rejects);
        Ok(events)
    }

    fn has_effect(&self) -> bool {
        false
    }
}
