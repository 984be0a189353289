//! Memory for deduplication with very many origins.

use crate::cache::Cache;
use crate::error::Result;
use crate::process;
use crate::report::{Better, Figure, Report, Series};

use pipeline::Batch;

use super::steady::from_origin;
use super::{Shape, failed, open, put_batches};

/// Enough to make other memory negligible.
const ORIGINS: u64 = 200_000;
/// Empty batches per transaction.
const TRANSACTION: u64 = 1000;

/// Each origin sends its first and its third batch, which leaves a gap.
pub(super) async fn measure_memory(cache: &Cache, report: &mut Report) -> Result<()> {
    let scratch = cache.scratch()?;
    let channel = open(&scratch.path().join("channel"), Shape::default()).await?;
    let before = process::resident_mib()?;
    for sequence in [0, 2] {
        for first in (0..ORIGINS).step_by(TRANSACTION as usize) {
            let numbers = first..first + TRANSACTION;
            let number = |n| sequence * ORIGINS + n;
            let batches = numbers.map(|n| from_origin(Batch::default(), number(n), ORIGINS));
            put_batches(&*channel, batches).await?;
        }
    }
    let bytes = (process::resident_mib()? - before) * 1024.0 * 1024.0;
    channel.close().await.map_err(|error| failed(&error))?;
    report.add(Figure {
        bench: "channel",
        case: format!("{ORIGINS} origins with a gap each: memory for each origin and gap"),
        unit: "bytes",
        better: Better::Less,
        ours: [bytes / (2 * ORIGINS) as f64].into_iter().collect::<Series>().spread(),
        reference: None,
    });
    Ok(())
}
