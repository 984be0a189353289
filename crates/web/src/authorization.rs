//! The login of a client: a fixed header, or a token that is fetched when necessary.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use pipeline::env::Clock;
use pipeline::{BuildError, Env, Secret};
use tls::{SecretFileError, TokenFile};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Client;
use crate::failure::{Failure, answer};
use crate::oauth::TokenServer;
use crate::settings::{hidden, shown_url};

/// A token is not used this long before it expires.
const EARLY: Duration = Duration::from_secs(30);

/// Assumed lifetime of a token if the server does not report one.
const LIFE: Duration = Duration::from_secs(3600);

/// The login of a client.
#[derive(Default)]
pub struct Authorization {
    fixed: Option<HeaderValue>,
    server: Option<TokenServer>,
    /// The last token, and when it is replaced.
    kept: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Authorization {
    /// Creates a login with this value of `Authorization`; `None`: without the header.
    pub fn fixed(value: Option<HeaderValue>) -> Self {
        Self { fixed: value, ..Self::default() }
    }

    /// Creates a login with tokens of this server.
    pub fn tokens(server: TokenServer) -> Self {
        Self { server: Some(server), ..Self::default() }
    }

    /// Returns the value of `Authorization`, and fetches a token if necessary.
    ///
    /// # Errors
    /// The token server returns no token within `limit`.
    pub async fn value(
        &self,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<Option<HeaderValue>, Failure> {
        Ok(self.current(limit, clock).await?.0)
    }

    /// Returns the value, and whether it is a token of an earlier call.
    async fn current(
        &self,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<(Option<HeaderValue>, bool), Failure> {
        let Some(server) = &self.server else { return Ok((self.fixed.clone(), false)) };
        let mut kept = self.kept.lock().await;
        if let Some((value, until)) = &*kept
            && Instant::now() < *until
        {
            return Ok((Some(value.clone()), true));
        }
        let fetched = server.fetch(limit, clock).await?;
        let value = bearer("access_token", &fetched.token).map_err(|_| {
            server.unexpected(
                "the response contains a token with invalid characters; check the URL of the \
                 token server",
            )
        })?;
        // A token with a shorter lifetime is used anyway, for half of it.
        let life = fetched.life.map_or(LIFE, |life| life.saturating_sub(EARLY).max(life / 2));
        *kept = Some((value.clone(), Instant::now() + life.min(LIFE * 24)));
        Ok((Some(value), false))
    }

    /// Drops the token that a server rejected.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    /// Sends a request with the login. If the server rejects an older token, sends it again with a
    /// new one.
    ///
    /// # Errors
    /// The server, or the token server, does not respond within `limit`.
    pub async fn send(
        &self,
        client: &Client,
        mut request: Request<Full<Bytes>>,
        (limit, clock): (Duration, &dyn Clock),
    ) -> Result<Response<Incoming>, Failure> {
        let url = shown_url(request.uri());
        loop {
            let (value, is_kept) = self.current(limit, clock).await?;
            if let Some(value) = value {
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            let response = answer(client, request.clone(), &url, limit).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            self.forget().await;
            if !is_kept {
                return Ok(response);
            }
        }
    }
}

/// Returns the value of `Authorization` for the current content of a token file, if there is one.
///
/// # Errors
/// The file cannot be used.
pub async fn token_of(
    env: &Env,
    file: Option<&TokenFile>,
) -> Result<Option<HeaderValue>, SecretFileError> {
    let Some(file) = file.cloned() else { return Ok(None) };
    let disk = env.disk.clone();
    let token = env.offload(move || file.read(&*disk)).await?;
    Ok(Some(bearer("token_file", &token.secret).expect("a token is of ASCII")))
}

/// Returns the value of `Authorization` for a token.
///
/// # Errors
/// It contains bytes that are invalid in a header; the error names `setting`.
pub fn bearer(setting: &str, token: &Secret) -> Result<HeaderValue, BuildError> {
    hidden(setting, &format!("Bearer {}", token.expose().trim()))
}

/// Returns the value of `Authorization` for a user with a password, without its line break if it
/// comes from a file.
pub fn basic(user: &str, password: &str) -> HeaderValue {
    let login = format!("{user}:{}", password.trim_end_matches('\n'));
    let text = format!("Basic {}", STANDARD.encode(login));
    hidden("user", &text).expect("base64 is valid in a header")
}
