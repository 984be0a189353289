//! Schemas of a registry with the API of Confluent: fetched by id, and cached on disk.
//!
//! ```text
//!   GET /schemas/ids/7                   {"schema": "…", "references": [{subject, version, name}]}
//!   GET /subjects/SUBJECT/versions/2     the same, for each reference
//! ```
//!
//! The schema of an id never changes, so that a cached one is never asked for again: after a
//! restart the registry is needed only for new schemas. The file of a schema contains the URL of
//! its registry. Another URL may be another registry, whose ids differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use formats::avro::bodies::COMPILED_MAX;
use formats::avro::schema::Schema;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use pipeline::env::OpenMode;
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use support::causes::chain;
use thiserror::Error;
use tls::ClientTls;
use web::failure::{answer, parsed, refusal, whole};
use web::settings::{HTTP, name_plain_text, shown_url, url_of};
use web::{Client, Connector, Failure, basic, bearer};

use super::references::inline;
use super::{Plan, Planned};

/// Maximum size of a schema.
const SCHEMA_BYTES_MAX: usize = 4 << 20;
/// Maximum number of references of a schema, with those of its references.
const REFERENCES_MAX: usize = 256;
/// Codes of the registry for an unknown schema, subject or version.
const UNKNOWN: [u64; 3] = [40403, 40401, 40402];

/// A schema registry.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryConfig {
    /// URL of the registry: `https://registry:8081`, and `http://apicurio:8080/apis/ccompat/v7` for
    /// Apicurio.
    url: String,
    /// User for a login by HTTP Basic.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Use a reference, such as `"${file:/run/secrets/registry}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// Token that is sent as `Authorization: Bearer`, instead of `user`.
    #[serde(default)]
    token: Option<Secret>,
    /// TLS of the registry. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
    /// Timeout of a request.
    #[serde(default = "default_timeout")]
    timeout: Period,
}

fn default_timeout() -> Period {
    Period(Duration::from_secs(10))
}

/// Why a batch has to wait for its schemas.
#[derive(Debug, Error)]
#[error(
    "cannot read the schema {id} of the registry: {failure}; the batch waits: check \
     `registry.url`, the login and the network"
)]
pub(super) struct RegistryError {
    id: u32,
    #[source]
    failure: Failure,
}

/// Why a schema cannot be used.
enum Unusable {
    /// Asking again may help.
    Failed(Failure),
    /// Permanently, with the reason.
    Rejected(String),
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The client of a registry, and its cache.
pub(super) struct Registry {
    env: Env,
    client: Client,
    /// Without a slash at its end.
    url: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    directory: PathBuf,
    plans: Mutex<HashMap<u32, Planned>>,
}

impl Registry {
    /// Creates a client.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(config: RegistryConfig, cx: &BuildContext) -> Result<Self, BuildError> {
        let RegistryConfig { url, user, password, token, tls, timeout } = config;
        let login = "`registry.user` and `registry.password`";
        let uri = url_of("registry.url", &url, HTTP, login)?;
        if uri.query().is_some() {
            return Err(BuildError::invalid("registry.url", "must not have a query"));
        }
        name_plain_text("registry.url", &uri, cx);
        if timeout.0.is_zero() {
            return Err(BuildError::invalid("registry.timeout", "must be greater than 0s"));
        }
        let authorization = match (user, password, token) {
            (None, None, None) => None,
            (Some(user), Some(password), None) => Some(basic(&user, password.expose())),
            (None, None, Some(token)) => Some(bearer("registry.token", &token)?),
            (_, _, Some(_)) => {
                let problem = "cannot be combined with `user` and `password`: remove one of them";
                return Err(BuildError::invalid("registry.token", problem));
            }
            (user, _, None) => {
                let missing = if user.is_some() { "registry.password" } else { "registry.user" };
                let problem = "must be set: a login has a user and a password";
                return Err(BuildError::invalid(missing, problem));
            }
        };
        let connector = Connector::new(tls, &cx.env).map_err(|error| error.below("registry"))?;
        Ok(Self {
            env: cx.env.clone(),
            client: connector.client(),
            url: url.trim_end_matches('/').to_owned(),
            authorization,
            timeout: timeout.0,
            directory: cx.directory.join("schema-registry"),
            plans: Mutex::default(),
        })
    }

    /// Returns the plan of each schema.
    ///
    /// # Errors
    /// The registry has no answer for one of them. Answers for others are cached.
    pub(super) async fn plans(
        &self,
        ids: BTreeSet<u32>,
    ) -> Result<HashMap<u32, Planned>, RegistryError> {
        let mut found = HashMap::new();
        for id in ids {
            found.insert(id, self.plan(id).await?);
        }
        Ok(found)
    }

    async fn plan(&self, id: u32) -> Result<Planned, RegistryError> {
        if let Some(plan) = self.known().get(&id) {
            return Ok(plan.clone());
        }
        let schema = match self.cached(id).await {
            Some(schema) => schema,
            None => match self.fetch(id).await {
                Ok(schema) => {
                    self.cache(id, &schema).await;
                    schema
                }
                Err(Unusable::Failed(failure)) => return Err(RegistryError { id, failure }),
                // Not cached: an unknown schema may be registered later.
                Err(Unusable::Rejected(reason)) => return Ok(Err(reason)),
            },
        };
        let plan = Schema::of_file(&schema).and_then(Plan::new).map(Arc::new);
        let plan = plan.map_err(|problem| format!("schema {id} of {}: {problem}", self.url));
        let mut known = self.known();
        if known.len() >= COMPILED_MAX {
            known.clear();
        }
        known.insert(id, plan.clone());
        Ok(plan)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Planned>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a schema with its references.
    async fn fetch(&self, id: u32) -> Result<Value, Unusable> {
        let (schema, references) = self.schema(&format!("/schemas/ids/{id}"), id).await?;
        let mut known = BTreeMap::new();
        let mut wanted = references;
        let mut asked = BTreeSet::new();
        while let Some(Reference { name, subject, version }) = wanted.pop() {
            if !asked.insert((subject.clone(), version)) {
                continue;
            }
            if asked.len() > REFERENCES_MAX {
                let problem = format!(
                    "schema {id} of {} has more than {REFERENCES_MAX} references",
                    self.url
                );
                return Err(Unusable::Rejected(problem));
            }
            // A deleted version is still the one that was written with.
            let path = format!("/subjects/{}/versions/{version}?deleted=true", encoded(&subject));
            let (definition, more) = self.schema(&path, id).await?;
            known.insert(name, definition);
            wanted.extend(more);
        }
        let whole = inline(&schema, &known);
        whole.map_err(|problem| {
            Unusable::Rejected(format!("schema {id} of {}: {problem}", self.url))
        })
    }

    async fn schema(&self, path: &str, id: u32) -> Result<(Value, Vec<Reference>), Unusable> {
        let answer = self.get(path, id).await?;
        let url: Arc<str> = format!("{}{path}", self.url).into();
        let unexpected = |problem: String| Failure::Unexpected { url: url.clone(), problem };
        let answer = Answer::deserialize(parsed(&answer, &url)?);
        let answer = answer.map_err(|error| unexpected(format!("is not a schema: {error}")))?;
        let Answer { schema, schema_type, references } = answer;
        if schema_type.as_deref().is_some_and(|kind| kind != "AVRO") {
            let kind = schema_type.unwrap_or_default();
            let problem = format!("{url}: the schema {id} is {kind}, but only AVRO is supported");
            return Err(Unusable::Rejected(problem));
        }
        let schema = serde_json::from_str(&schema);
        let schema = schema.map_err(|error| unexpected(format!("is not Avro in JSON: {error}")))?;
        Ok((schema, references))
    }

    async fn get(&self, path: &str, id: u32) -> Result<Bytes, Unusable> {
        let uri: Result<Uri, _> = format!("{}{path}", self.url).parse();
        let uri = uri.map_err(|error| {
            Unusable::Rejected(format!("schema {id} of {}: `{path}`: {error}", self.url))
        })?;
        let url = shown_url(&uri);
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = uri;
        let accepted = "application/vnd.schemaregistry.v1+json, application/json";
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accepted));
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        let response = answer(&self.client, request, &url, self.timeout).await?;
        if response.status().is_success() {
            return Ok(whole(response.into_body(), &url, SCHEMA_BYTES_MAX, self.timeout).await?);
        }
        let failure = refusal(url, response, self.timeout, &*self.env.clock).await;
        match &failure {
            // Without its code, the path of the URL may be wrong.
            Failure::Status { url, status: StatusCode::NOT_FOUND, text, .. }
                if code(text).is_some_and(|code| UNKNOWN.contains(&code)) =>
            {
                Err(Unusable::Rejected(format!(
                    "{url}: the registry does not have the schema {id}: {text}; register it, or \
                     correct `registry.url`, and replay the dead letters"
                )))
            }
            _ => Err(failure.into()),
        }
    }

    fn path(&self, id: u32) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Returns a schema from the disk.
    async fn cached(&self, id: u32) -> Option<Value> {
        let (env, path) = (self.env.clone(), self.path(id));
        let text = self.env.offload(move || read(&env, &path)).await.ok()?;
        let mut cached: Value = serde_json::from_slice(&text).ok()?;
        let is_same = cached.get("url").is_some_and(|url| *url == *self.url);
        is_same.then(|| cached["schema"].take())
    }

    async fn cache(&self, id: u32, schema: &Value) {
        let text = json!({ "url": self.url, "id": id, "schema": schema }).to_string();
        let (env, path) = (self.env.clone(), self.path(id));
        if let Err(error) = self.env.offload(move || write(&env, &path, &text)).await {
            let (path, cause) = (self.path(id), chain(&error));
            tracing::warn!(
                path = %path.display(),
                "cannot cache a schema, so the registry is needed after a restart: {cause}; check \
                 the space and the permissions of this directory",
            );
        }
    }
}

/// A schema as the registry has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    schema: String,
    /// Avro if it is missing.
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// A type that a schema uses and another one defines.
#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: u32,
}

/// Returns the code of an error, from the beginning of its text.
fn code(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("\"error_code\"")?;
    let digits = rest.trim_start_matches([' ', ':']);
    let end = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Encodes a part of a path.
fn encoded(text: &str) -> PercentEncode<'_> {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, PLAIN)
}

fn read(env: &Env, path: &Path) -> io::Result<Vec<u8>> {
    let length = env.disk.stat(path)?.len.min(2 * SCHEMA_BYTES_MAX as u64);
    env.disk.open(path, OpenMode::default())?.read(0, length as usize)
}

/// Writes a file under a temporary name first, so that it is never incomplete.
fn write(env: &Env, path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    if let Some(directory) = path.parent() {
        env.disk.create_dir_all(directory)?;
    }
    match env.disk.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = OpenMode { write: true, create_new: true, ..OpenMode::default() };
    let file = env.disk.open(&new, mode)?;
    file.write_at(&[IoSlice::new(text.as_bytes())], 0, false)?;
    file.sync()?;
    env.disk.rename(&new, path)
}
