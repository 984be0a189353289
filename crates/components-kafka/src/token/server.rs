//! A token that a server of tokens gives: fetched by whatever client of the component asks first,
//! and shared by all of them.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use oauth::exchange::Failure;
use oauth::{Fetched, TokenServer};
use pipeline::env::Clock;

use super::{Shown, TokenError, causes, shown};

/// How long a token of a server counts as good of which the server does not say it.
const LIFE: Duration = Duration::from_secs(3600);

/// How long a server of tokens may take for an answer, and the pauses before it is asked again. The
/// client waits for all of that, and asks again 10 s after a failure.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// What has to be left of a token that is shown although it should be renewed.
const SPARE: Duration = Duration::from_secs(1);

/// A server of tokens, and what it gave last.
pub(super) struct Server {
    server: TokenServer,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    shown: Shown,
    /// From then on another one is fetched.
    renew: SystemTime,
}

impl Server {
    /// Nothing is fetched yet.
    pub(super) fn new(server: TokenServer) -> Self {
        Self { server, kept: Mutex::default() }
    }

    /// The token that was fetched last, or another one; blocks.
    ///
    /// # Errors
    /// There is none that is good.
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
            // As long as it is good, a server that is away is no reason to be without.
            Some(kept) if clock.now() + SPARE < kept.shown.until => {
                let cause = causes(&error);
                tracing::warn!(component, "kafka: the token is not renewed: {error}{cause}");
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

    /// Asks for a token, again where the server fails or is slow. The client asks for its token in
    /// threads of its own and in those of the agent, so this waits in neither.
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
            let gone = |_| Err(TokenError::Thread(std::io::Error::other("it has ended")));
            asking.join().unwrap_or_else(gone)
        })
    }
}
