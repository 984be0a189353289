//! Writes receipts as properties of partitions in the Hive metastore.

use std::sync::Arc;

use async_trait::async_trait;
use complete::Announcement;
use ledger::NoteKind;
use pipeline::{BuildContext, BuildError};

use super::super::Config;
use super::super::settings::Settings;
use super::{AnnounceError, Announcer, Recipient};

/// The partitions of the table that the sink registers.
struct Partitions;

/// Creates the recipient for this table.
///
/// # Errors
/// A metric has an invalid name.
pub(crate) fn recipient(table: &str, cx: &BuildContext) -> Result<Recipient, BuildError> {
    let scope = cx.scope::<Config>();
    Ok(Recipient {
        kind: NoteKind::Properties,
        name: format!("the Hive table {table}"),
        to: Arc::new(Partitions),
        sent: scope.counter("partition_receipts")?,
        failed: scope.counter("failed_partition_receipts")?,
        due: scope.gauge("receipts_without_partition")?,
        news: Default::default(),
    })
}

#[async_trait]
impl Announcer for Partitions {
    fn covers(&self, settings: &Settings, directory: &str) -> bool {
        let registration = settings.registration.as_ref();
        registration.is_some_and(|it| it.keys.partition(directory).is_some())
    }

    async fn announce(
        &self,
        settings: &Settings,
        announcement: &Announcement,
    ) -> Result<(), AnnounceError> {
        let Some(registration) = &settings.registration else { return Ok(()) };
        let directory = &announcement.receipt.directory;
        // The settings have changed since the note.
        let Some(partition) = registration.keys.partition(directory) else { return Ok(()) };
        Ok(registration.registry.describe(&partition, &announcement.properties()).await?)
    }
}
