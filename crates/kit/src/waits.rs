//! Waits for optional futures: never resolves without one.

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Waits until the deadline, if there is one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for the permit, if there is one.
pub async fn granted<T>(permit: Option<&mut BoxFuture<'static, T>>) -> T {
    match permit {
        Some(permit) => permit.await,
        None => std::future::pending().await,
    }
}
