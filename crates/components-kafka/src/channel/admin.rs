//! The client that reads topic settings, creates topics and deletes records.
//!
//! Nothing polls this client for events, such as log lines and token requests. Its token is
//! therefore set at creation, and the client is replaced before the token expires. Without a token
//! it is replaced from time to time, which discards its queued events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::channel::remote::LogError;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::ClientContext as _;
use tokio::time::Instant;

use super::config::Target;
use super::consumer::{ANSWER_WITHIN, Context, failed};
use crate::token;

/// Lifetime of a client. A token is valid for at most a minute, and must be replaced earlier.
const FOR: Duration = Duration::from_secs(600);
const FOR_WITH_TOKEN: Duration = Duration::from_secs(30);

type Client = Arc<AdminClient<Context>>;

/// The client, created on demand.
pub(super) struct Admin {
    target: Arc<Target>,
    made: Mutex<Option<(Instant, Client)>>,
}

impl Admin {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, made: Mutex::default() }
    }

    /// Returns a usable client.
    ///
    /// # Errors
    /// It cannot be created, or there is no token.
    pub(super) fn client(&self) -> Result<Client, LogError> {
        let most = if self.target.token.is_some() { FOR_WITH_TOKEN } else { FOR };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, client)) = &*made
            && since.elapsed() < most
        {
            return Ok(client.clone());
        }
        // Dropping it takes a tenth of a second.
        *made = None;
        let client = self.target.admin.create_with_context(self.target.context());
        let client: AdminClient<Context> = client.map_err(|error| {
            failed("cannot create the Kafka client: check `properties`", &error)
        })?;
        if self.target.token.is_some() {
            let token = client.inner().context().generate_oauth_token(None);
            let set = token.and_then(|token| token::set(client.inner(), &token));
            set.map_err(|error| LogError::Failed(std::io::Error::other(error.to_string())))?;
        }
        Ok(made.insert((Instant::now(), Arc::new(client))).1.clone())
    }
}

/// Returns the options with the timeout of the brokers.
pub(super) fn options() -> AdminOptions {
    let limit = Some(ANSWER_WITHIN);
    AdminOptions::new().request_timeout(limit).operation_timeout(limit)
}
