//! The lock of a table, as Iceberg's `HiveCatalog` uses it.

use std::time::Duration;

use pipeline::Env;
use pipeline::env::unix_millis;
use support::hex::hex;
use tokio::time::{Instant, sleep};

use crate::hive::{LockState, MetastoreError, ShownLock, TableEntry};
use crate::iceberg::CatalogError;

/// How long to wait for a lock.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Pause between two checks of a lock that is not held yet: the first one, and the longest.
const CHECKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A held lock. It must be released.
#[must_use]
pub(super) struct TableLock<'a> {
    entry: &'a TableEntry,
    id: i64,
}

impl<'a> TableLock<'a> {
    /// Waits for the lock.
    ///
    /// # Errors
    /// Another program holds it for too long, or the metastore fails.
    pub(super) async fn acquire(entry: &'a TableEntry, env: &Env) -> Result<Self, CatalogError> {
        let agent = format!("aqueduct-{}", hex(&env.entropy.bytes16()));
        let mut lock = match entry.lock(&agent).await {
            Ok(lock) => lock,
            Err(source) => {
                // If only the response was lost, the lock would be in the way of the next request.
                let locks = if source.is_settled() { Vec::new() } else { entry.locks().await? };
                let own = locks.into_iter().find(|it| it.agent == agent);
                own.ok_or_else(|| failed(source))?.lock
            }
        };
        let (held, since) = (Self { entry, id: lock.id }, Instant::now());
        let mut pause = CHECKS.0;
        loop {
            match lock.state {
                LockState::Acquired => return Ok(held),
                LockState::Waiting if since.elapsed() < WAIT_MAX => sleep(pause).await,
                LockState::Waiting | LockState::Other => {
                    let holder = held.holder(env).await;
                    held.release().await;
                    return Err(CatalogError::Locked { waited: since.elapsed(), holder });
                }
            }
            pause = (pause * 3 / 2).min(CHECKS.1);
            // Also keeps it alive.
            lock = match entry.check_lock(held.id).await {
                Ok(lock) => lock,
                Err(source) => {
                    held.release().await;
                    return Err(failed(source));
                }
            };
        }
    }

    /// Checks that it is held, and keeps it alive.
    ///
    /// # Errors
    /// It has expired, or the metastore fails.
    pub(super) async fn check(&self) -> Result<(), MetastoreError> {
        self.entry.heartbeat(self.id).await
    }

    /// Releases it. Returns whether it was held until now, as far as the metastore says.
    pub(super) async fn release(self) -> bool {
        match self.entry.unlock(self.id).await {
            Ok(()) => true,
            Err(MetastoreError::NoSuchLock { .. }) => false,
            Err(error) => {
                let (database, table) = self.entry.names();
                tracing::warn!(
                    %error,
                    lock = self.id,
                    "cannot release the lock of the table {database}.{table}; the metastore \
                     removes it after `metastore.txn.timeout`; no action needed"
                );
                true
            }
        }
    }

    /// Describes the holder of the lock that is in the way.
    async fn holder(&self, env: &Env) -> String {
        let now = i64::try_from(unix_millis(env.clock.now())).unwrap_or(i64::MAX);
        let locks = match self.entry.locks().await {
            Ok(locks) => locks,
            Err(error) => return format!("an unknown holder (cannot list the locks: {error})"),
        };
        let held = |it: &&ShownLock| it.lock.state == LockState::Acquired;
        let Some(lock) = locks.iter().filter(|it| it.lock.id != self.id).find(held) else {
            return "an unknown holder (the metastore lists none)".to_owned();
        };
        let silent = Duration::from_millis(
            u64::try_from(now.saturating_sub(lock.last_heartbeat_ms)).unwrap_or_default(),
        );
        format!(
            "lock {} of {}@{} ({}), whose last heartbeat was {} s ago",
            lock.lock.id,
            lock.user,
            lock.host,
            lock.agent,
            silent.as_secs()
        )
    }
}

/// Returns the error of a request for a lock.
fn failed(source: MetastoreError) -> CatalogError {
    match source.is_of_one() {
        true => source.into(),
        false => CatalogError::NoLock { source },
    }
}
