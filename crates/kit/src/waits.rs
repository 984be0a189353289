//! Waiting for what may not be there: then for ever, at no cost.

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Until the deadline, if there is one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What is waited for, if something is.
pub async fn granted<T>(permit: Option<&mut BoxFuture<'static, T>>) -> T {
    match permit {
        Some(permit) => permit.await,
        None => std::future::pending().await,
    }
}
