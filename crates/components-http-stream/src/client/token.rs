//! The token that counts now, as the value of a header.

use std::time::Duration;

use hyper::header::HeaderValue;
use oauth::exchange::hidden;
use oauth::{OAuth, TokenServer};
use pipeline::env::Clock;
use pipeline::{BuildContext, BuildError};
use tokio::time::Instant;

use super::HttpError;

/// How long before it expires a token is not used any more.
const EARLY: Duration = Duration::from_secs(30);

/// How long a token counts of which the server does not say it.
const LIFE: Duration = Duration::from_secs(3600);

/// The token that counts now.
pub(super) struct Token {
    server: TokenServer,
    kept: Option<(HeaderValue, Instant)>,
}

impl Token {
    /// None yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(super) fn new(oauth: OAuth, cx: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self { server: TokenServer::new(oauth, "access.oauth", cx)?, kept: None })
    }

    /// Whether a token is there that was fetched before and has not expired.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, until)| Instant::now() < *until)
    }

    /// The server does not take it.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// The value of `Authorization`; fetched where none is there.
    ///
    /// # Errors
    /// The server of tokens gives none.
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
        let value = hidden("access_token", &format!("Bearer {}", fetched.token.expose()))
            .map_err(|_| self.server.unexpected("the answer has a token that cannot be sent"))?;
        // A token that lives shorter than that is used all the same, for half of its life.
        let life = fetched
            .life
            .map_or(LIFE, |life| life.saturating_sub(EARLY).max(life / 2).min(LIFE * 24));
        self.kept = Some((value.clone(), Instant::now() + life));
        Ok(value)
    }
}
