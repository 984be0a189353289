//! The token of a client, for SASL/OAUTHBEARER.
//!
//! ```text
//!   file ◄─ rewritten by another program       the client requests it while polled:
//!    │                                         at creation, and after 4/5 of the lifetime
//!    └─ read ──┬─► Shown: token, name, until ─► of the last token
//!    ┌─ fetch ─┘
//!   token server (OAuth 2)
//! ```
//!
//! A token from a file is valid until its `exp`, if it is a JWT with this claim, and at most for
//! [`READ_EVERY`]. The file is therefore read again within that time, and new connections use a
//! replaced token. Brokers check `exp` themselves.
//!
//! A token from a server is valid until `exp`, and as long as the server says. All clients of a
//! component share it; the first request after half of its lifetime fetches the next one. If the
//! server fails, the old token is used while it is valid.
//!
//! No error, log line or `Debug` output contains a token.

mod server;

use std::error::Error;
use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pipeline::{BuildContext, BuildError, Env};
use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;
use support::causes::chain;
use thiserror::Error;
use tls::{SecretFile, SecretFileError};
use tokio::time::Instant;
use web::Failure;
use web::oauth::{OAuth, TokenServer};

use server::Server;

/// Maximum assumed validity of a token.
const READ_EVERY: Duration = Duration::from_secs(60);

/// Maximum token size: brokers accept no larger request before authentication.
const TOKEN_MAX: u64 = 64 << 10;

/// Timeout of a poll while the client waits for its token.
const POLL: Duration = Duration::from_millis(50);

/// Why there is no token.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("cannot get a token from the server of `oauth`; check that server and the credentials")]
    Server(#[source] Failure),
    #[error("the response of the server of `oauth` {0}; check `oauth.url` and the credentials")]
    Given(String),
    #[error(
        "cannot start a thread to request a token from the server of `oauth`; raise the limit of \
         processes (`ulimit -u`)"
    )]
    Thread(#[source] std::io::Error),
}

/// The token source of a client. Clones belong to the same client.
#[derive(Clone)]
pub(crate) struct Tokens {
    origin: Origin,
    env: Env,
    /// Whether the client has received a token.
    is_given: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Origin {
    File(SecretFile),
    Server(Arc<Server>),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("setting", &self.setting()).finish_non_exhaustive()
    }
}

/// A token to present to a broker.
#[derive(Clone)]
struct Shown {
    token: String,
    /// Principal name for the client's log; brokers read the token itself.
    name: String,
    until: SystemTime,
}

impl Tokens {
    /// Creates the source from the settings `token_file` and `oauth`. Reads nothing yet.
    ///
    /// # Errors
    /// Both are set, or one is wrong.
    pub(crate) fn from_settings(
        token_file: Option<PathBuf>,
        oauth: Option<OAuth>,
        cx: &BuildContext,
    ) -> Result<Option<Self>, BuildError> {
        let origin = match (token_file, oauth) {
            (None, None) => return Ok(None),
            (Some(path), None) => Origin::File(SecretFile::new("token_file", &path)),
            (None, Some(oauth)) => {
                let server = TokenServer::new(oauth, "oauth", cx)?;
                Origin::Server(Arc::new(Server::new(server)))
            }
            (Some(_), Some(_)) => {
                let problem = "cannot be combined with `token_file`: remove one of the two";
                return Err(BuildError::invalid("oauth", problem));
            }
        };
        Ok(Some(Self { origin, env: cx.env.clone(), is_given: Arc::default() }))
    }

    /// Returns the setting that defines the source.
    pub(crate) fn setting(&self) -> &'static str {
        match self.origin {
            Origin::File(_) => "token_file",
            Origin::Server(_) => "oauth",
        }
    }

    /// Returns the source for another client.
    pub(crate) fn for_another_client(&self) -> Self {
        Self { is_given: Arc::default(), ..self.clone() }
    }

    /// Returns the current token. Blocks.
    fn current_token(&self, component: &str) -> Result<OAuthToken, Box<dyn Error>> {
        let shown = match &self.origin {
            Origin::File(file) => read(file, &self.env),
            Origin::Server(server) => server.shown(&*self.env.clock, component),
        };
        match shown {
            Ok(Shown { token, name, until }) => {
                self.is_given.store(true, Relaxed);
                let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let lifetime_ms = i64::try_from(until.as_millis())?;
                Ok(OAuthToken { token, principal_name: name, lifetime_ms })
            }
            Err(error) => {
                let cause = chain(&error);
                tracing::warn!(
                    component,
                    "cannot get a token to log in to the brokers; retrying: {cause}; check \
                     `token_file` or `oauth`"
                );
                Err(Box::new(error))
            }
        }
    }
}

/// Reads a token from a file.
fn read(file: &SecretFile, env: &Env) -> Result<Shown, TokenError> {
    let (text, _) = file.read(&*env.disk, TOKEN_MAX)?;
    Ok(shown(text.trim(), env.clock.now(), READ_EVERY).map_err(|problem| file.wrong(0, problem))?)
}

/// The relevant claims of a JWT.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

/// Parses a token with its current validity, at most `most`.
fn shown(text: &str, now: SystemTime, most: Duration) -> Result<Shown, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must contain only a token: ASCII characters without spaces".into());
    }
    let claims = claims(text);
    let exp = claims.as_ref().and_then(|claims| claims.exp).filter(|exp| *exp >= 0.0);
    // Ignore an expiry beyond the clock's range.
    let exp = exp
        .and_then(|exp| SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?));
    if let Some(exp) = exp
        && exp <= now
    {
        let ago = now.duration_since(exp).unwrap_or_default().as_secs();
        return Err(format!("contains a token that expired {ago} s ago; provide a new one"));
    }
    let most = now + most;
    let name = claims.and_then(|claims| claims.sub).unwrap_or_default();
    let name = if name.is_empty() || name.contains('\0') { "aqueduct".into() } else { name };
    Ok(Shown { token: text.to_owned(), name, until: exp.map_or(most, |exp| exp.min(most)) })
}

/// Parses the claims of a JWT; `None` for opaque tokens.
fn claims(text: &str) -> Option<Claims> {
    let mut parts = text.split('.');
    let (_head, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Answers a client's token request.
///
/// # Errors
/// There is no token.
pub(crate) fn answer(
    token: Option<&Tokens>,
    component: &str,
) -> Result<OAuthToken, Box<dyn Error>> {
    token.ok_or("neither `token_file` nor `oauth` is set")?.current_token(component)
}

/// Polls a consumer until it has its token, before other calls wait for a broker: it requests a
/// token only while polled, and sends nothing without one. Blocks.
pub(crate) fn poll_until_token<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    token: Option<&Tokens>,
    limit: Duration,
) {
    let Some(token) = token else { return };
    let until = Instant::now() + limit;
    while !token.is_given.load(Relaxed) && Instant::now() < until {
        // It has no partitions yet, so only errors arrive, which the next step encounters again.
        let _ = consumer.poll(POLL);
    }
}

/// Sets the token of a client that nothing polls.
///
/// # Errors
/// The client rejects it.
#[expect(unsafe_code, reason = "the crate has no way to give a client of administration a token")]
pub(crate) fn set<C: ClientContext>(
    client: &Client<C>,
    token: &OAuthToken,
) -> Result<(), Box<dyn Error>> {
    let text = CString::new(token.token.as_str())?;
    let name = CString::new(token.principal_name.as_str())?;
    let mut said = [0; 512];
    // SAFETY: the client lives as long as its reference; both texts are NUL-terminated, and the
    // call copies them; there are no extensions; the error text goes into an array of the given
    // length.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            text.as_ptr(),
            token.lifetime_ms,
            name.as_ptr(),
            std::ptr::null_mut(),
            0,
            said.as_mut_ptr(),
            said.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // The client's error text may contain the token.
    Err(format!(
        "the Kafka client rejects the token: {code:?}; provide a token in the form of a JWT that \
         has not expired"
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.", encoded("{\"alg\":\"none\"}"), encoded(claims))
    }

    #[test]
    fn a_token_is_good_until_its_end_and_for_a_minute_at_most() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (text, name, seconds) in [
            (jwt("{\"sub\":\"agent\",\"exp\":1010}"), "agent", 10.0),
            (jwt("{\"sub\":\"agent\",\"exp\":1010.5}"), "agent", 10.5),
            (jwt("{\"sub\":\"agent\",\"exp\":5000}"), "agent", 60.0),
            (jwt("{\"sub\":\"\",\"exp\":1e300}"), "aqueduct", 60.0),
            (jwt("{}"), "aqueduct", 60.0),
            ("opaque".into(), "aqueduct", 60.0),
            ("a.b.c.d.e".into(), "aqueduct", 60.0),
            ("a.b.c".into(), "aqueduct", 60.0),
        ] {
            let shown = shown(&text, now, READ_EVERY).unwrap();
            assert_eq!((&*shown.token, &*shown.name), (&*text, name));
            let until = shown.until.duration_since(now).unwrap().as_secs_f64();
            assert!((until - seconds).abs() < 1e-6, "{text}: {until}");
        }
        for (text, expected) in [
            (jwt("{\"sub\":\"agent\",\"exp\":990}"), "expired 10 s ago"),
            (jwt("{\"sub\":\"agent\",\"exp\":1000}"), "expired 0 s ago"),
            (String::new(), "only a token"),
            ("two words".into(), "only a token"),
        ] {
            let problem = shown(&text, now, READ_EVERY).err().unwrap();
            assert!(problem.contains(expected), "{text}: {problem}");
            assert!(text.is_empty() || !problem.contains(&text), "a token is shown");
        }
    }
}
