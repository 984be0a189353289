//! Connects to the first of several addresses that works.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

/// Tries the addresses in their order, each for at most `limit`, until `open` succeeds. `silent` is
/// the error of an address without an answer in time.
///
/// # Errors
/// None works; returns the error of the last one.
///
/// # Panics
/// There is no address.
pub async fn first_reachable<'a, T, E, F>(
    addresses: &'a [Arc<str>],
    limit: Duration,
    open: impl Fn(&'a Arc<str>) -> F,
    silent: impl Fn(Arc<str>) -> E,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut last = None;
    for address in addresses {
        let opened = timeout(limit, open(address)).await;
        match opened.unwrap_or_else(|_| Err(silent(address.clone()))) {
            Ok(opened) => return Ok(opened),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("the settings have an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn later_addresses_are_tried_after_an_error_and_after_silence() {
        let addresses: Vec<Arc<str>> =
            ["refused:1", "silent:1", "works:1", "unused:1"].map(Arc::from).to_vec();
        let open = |address: &Arc<str>| {
            let address = address.to_string();
            async move {
                match &*address {
                    "silent:1" => std::future::pending().await,
                    "works:1" => Ok(address),
                    _ => Err(format!("{address} refuses")),
                }
            }
        };
        let silent = |address: Arc<str>| format!("{address} is silent");
        let limit = Duration::from_secs(1);
        let found = first_reachable(&addresses, limit, open, silent).await;
        assert_eq!(found, Ok("works:1".to_owned()));
        let found = first_reachable(&addresses[..2], limit, open, silent).await;
        assert_eq!(found, Err("silent:1 is silent".to_owned()));
    }
}
