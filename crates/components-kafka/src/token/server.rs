//! A token from a token server: fetched by the first client of the component that needs it, and
//! shared by all.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use pipeline::env::Clock;
use support::causes::chain;
use web::Failure;
use web::oauth::{Fetched, TokenServer};

use super::{Shown, TokenError, shown};

/// Assumed lifetime of a token if the server does not report one.
const LIFE: Duration = Duration::from_secs(3600);

/// Timeout of the token server, and the pauses between attempts. The client waits for all of them,
/// and asks again 10 s after a failure.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Minimum remaining lifetime of a token that is used although its renewal failed.
const SPARE: Duration = Duration::from_secs(1);

/// A token server, and its last token.
pub(super) struct Server {
    server: TokenServer,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    shown: Shown,
    /// When to fetch the next token.
    renew: SystemTime,
}

impl Server {
    pub(super) fn new(server: TokenServer) -> Self {
        Self { server, kept: Mutex::default() }
    }

    /// Returns the last token, or a new one. Blocks.
    ///
    /// # Errors
    /// There is no valid token.
    pub(super) fn shown(&self, clock: &dyn Clock, component: &str) -> Result<Shown, TokenError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now();
        if let Some(kept) = &*kept
            && now < kept.renew
        {
            return Ok(kept.shown.clone());
        }
        let error = match self.fetched(clock) {
            Ok(shown) => {
                let life = shown.until.duration_since(clock.now()).unwrap_or_default();
                let renew = clock.now() + life / 2;
                return Ok(kept.insert(Kept { shown, renew }).shown.clone());
            }
            Err(error) => error,
        };
        match &*kept {
            // While the token is valid, an unreachable server is not an error.
            Some(kept) if clock.now() + SPARE < kept.shown.until => {
                let cause = chain(&error);
                tracing::warn!(
                    component,
                    "cannot renew the token to log in to the brokers; retrying, and using the \
                     current one until it expires: {cause}; check the server of `oauth`"
                );
                Ok(kept.shown.clone())
            }
            _ => Err(error),
        }
    }

    fn fetched(&self, clock: &dyn Clock) -> Result<Shown, TokenError> {
        let Fetched { token, life } = self.fetch(clock)?;
        let most = life.unwrap_or(LIFE).min(24 * LIFE);
        shown(token.expose(), clock.now(), most).map_err(TokenError::Given)
    }

    /// Fetches a token, with retries if the server fails or is slow. The client calls this on its
    /// own threads and on the agent's, so wait on neither.
    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, TokenError> {
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(TokenError::Thread)?.block_on(async {
                let mut pauses = PAUSES.into_iter();
                loop {
                    let failure = match self.server.fetch(ANSWER_WITHIN, clock).await {
                        Ok(fetched) => return Ok(fetched),
                        Err(failure) => failure,
                    };
                    let may_pass = match &failure {
                        Failure::Network { .. } => true,
                        Failure::Status { status, .. } => status.is_server_error(),
                        Failure::Unexpected { .. } => false,
                    };
                    match pauses.next() {
                        Some(pause) if may_pass => tokio::time::sleep(pause).await,
                        _ => return Err(TokenError::Server(failure)),
                    }
                }
            })
        };
        thread::scope(|scope| {
            let asking = thread::Builder::new().name("kafka-token".to_owned());
            let asking = asking.spawn_scoped(scope, ask).map_err(TokenError::Thread)?;
            let gone = |_| {
                Err(TokenError::Thread(std::io::Error::other(
                    "the thread that requests tokens panicked; report this as a bug",
                )))
            };
            asking.join().unwrap_or_else(gone)
        })
    }
}
