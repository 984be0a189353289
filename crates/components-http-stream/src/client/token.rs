//! The current token, as a header value.

use std::time::Duration;

use hyper::header::HeaderValue;
use oauth::exchange::hidden;
use oauth::{OAuth, TokenServer};
use pipeline::env::Clock;
use pipeline::{BuildContext, BuildError};
use tokio::time::Instant;

use super::HttpError;

/// A token is not used this long before it expires.
const EARLY: Duration = Duration::from_secs(30);

/// Assumed lifetime of a token if the server does not report one.
const LIFE: Duration = Duration::from_secs(3600);

/// The current token.
pub(super) struct Token {
    server: TokenServer,
    kept: Option<(HeaderValue, Instant)>,
}

impl Token {
    /// Creates it without a token.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(oauth: OAuth, cx: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self { server: TokenServer::new(oauth, "access.oauth", cx)?, kept: None })
    }

    /// Returns whether an unexpired token is cached.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, until)| Instant::now() < *until)
    }

    /// Drops a token that the server rejected.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Returns the value of `Authorization`, and fetches a token if necessary.
    ///
    /// # Errors
    /// The token server returns no token.
    pub(super) async fn current(
        &mut self,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Result<HeaderValue, HttpError> {
        if let Some((value, until)) = &self.kept
            && Instant::now() < *until
        {
            return Ok(value.clone());
        }
        let fetched = self.server.fetch(limit, clock).await?;
        let value = hidden("access_token", &format!("Bearer {}", fetched.token.expose())).map_err(
            |_| self.server.unexpected("the response contains a token with invalid characters"),
        )?;
        // A token with a shorter lifetime is used anyway, for half of it.
        let life = fetched
            .life
            .map_or(LIFE, |life| life.saturating_sub(EARLY).max(life / 2).min(LIFE * 24));
        self.kept = Some((value.clone(), Instant::now() + life));
        Ok(value)
    }
}
