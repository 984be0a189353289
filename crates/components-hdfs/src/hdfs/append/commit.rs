//! Commits files to a table: manifests, manifest list, and the request to the catalog.

use iceberg::manifest::{DataFile, ListedManifest, NewManifest};
use iceberg::metadata::Table;
use iceberg::partition::Placed;
use iceberg::request::NewSnapshot;
use ledger::{StagedFile, WriterId, check_length};
use pipeline::Env;
use storage::{CreateOptions, FsError};

use super::super::settings::now;
use super::{AppendError, Appending, Target, property_of, statistics};
use crate::iceberg::{Catalog, CatalogError, CommitAnswer};

impl Appending {
    /// Writes the metadata of a snapshot, and commits it.
    pub(super) async fn commit(
        &self,
        target: &Target,
        catalog: &dyn Catalog,
        table: &Table,
        files: &[StagedFile],
        number: u64,
    ) -> Result<CommitAnswer, AppendError> {
        let env = &self.settings.env;
        let (id, sequence) = (snapshot_id(env), table.next_sequence());
        let metadata = |name: &str| format!("{}/metadata/{name}", table.location);
        let mut manifests = match &table.snapshot {
            None => Vec::new(),
            Some(parent) => {
                let list = parent.manifest_list.as_deref().unwrap_or_default();
                let path = target.path_of(list)?;
                ListedManifest::read_list(&self.fs.read(&path).await?)
                    .map_err(CatalogError::Table)?
            }
        };
        let (mut added, mut unproved) = (Vec::new(), 0);
        if !files.is_empty() {
            let data_files = self.data_files(target, files).await?;
            let placed = match target.check(table)?.place(table, data_files) {
                Placed::Files(placed) => placed,
                Placed::NeedsSpec(spec) => {
                    // The table is loaded again, and then has it.
                    return Ok(match catalog.commit(&table.add_spec(&spec)).await? {
                        CommitAnswer::Done => CommitAnswer::Unsettled(CatalogError::Changed),
                        unsettled => unsettled,
                    });
                }
            };
            for (at, (partitioning, files)) in placed.iter().enumerate() {
                let sync = env.entropy.bytes16();
                let manifest = NewManifest::new(table, partitioning, files, sync);
                let url = metadata(&format!("aqueduct-{id}-m{at}.avro"));
                self.write(&target.path_of(&url)?, manifest.content.clone()).await?;
                // New ones come first, as other writers put them.
                manifests.insert(at, ListedManifest::added(&manifest, url, id, sequence));
                added.push(manifest);
                unproved += if partitioning.is_of(&table.spec) { 0 } else { files.len() };
            }
        }
        let parent = table.snapshot.as_ref().map(|parent| parent.id);
        let sync = env.entropy.bytes16();
        let list = ListedManifest::write_list(&manifests, id, parent, sequence, sync);
        let manifest_list = metadata(&format!("snap-{id}-aqueduct.avro"));
        self.write(&target.path_of(&manifest_list)?, list).await?;
        let property = property_of(&*self.ledger.lock().await);
        let WriterId { collector, incarnation } = self.author;
        let writer = format!("{collector}/{incarnation}");
        let properties =
            [(property.clone(), number.to_string()), (format!("{property}.writer"), writer)];
        let snapshot = NewSnapshot {
            id,
            at_ms: now(env),
            manifest_list: &manifest_list,
            manifests: &added,
            properties: &properties,
        };
        let answer = catalog.commit(&table.commit(&snapshot)).await?;
        if matches!(answer, CommitAnswer::Done) {
            target.commits.inc();
            let (table, files) = (&target.name, files.len());
            tracing::info!(
                table,
                files,
                outside_of_partitions = unproved,
                snapshot = id,
                number,
                "appended files to the table"
            );
        }
        Ok(answer)
    }

    /// Returns committed files as files of the table.
    async fn data_files(
        &self,
        target: &Target,
        files: &[StagedFile],
    ) -> Result<Vec<DataFile>, AppendError> {
        let encoder = self.settings.format.encoder();
        let mut data_files = Vec::new();
        for file in files {
            let path = self.ledger.lock().await.dataset().published(&file.target);
            let columns = statistics::read(&*self.fs, &path, file.len, encoder).await?;
            data_files.push(target.data_file(file, columns));
        }
        Ok(data_files)
    }

    /// Writes a new file of the table's metadata.
    async fn write(&self, path: &str, content: Vec<u8>) -> Result<(), AppendError> {
        let len = content.len() as u64;
        let created = match self.fs.create(path, CreateOptions::default()).await {
            Err(FsError::NotFound { .. }) => {
                self.fs.mkdirs(storage::split(path).0).await?;
                self.fs.create(path, CreateOptions::default()).await
            }
            created => created,
        };
        let mut writer = created?;
        writer.write(content.into()).await?;
        writer.close().await?;
        Ok(check_length(&*self.fs, path, len).await?)
    }
}

/// Returns a new id of a snapshot.
fn snapshot_id(env: &Env) -> i64 {
    (env.entropy.next_u64() >> 1) as i64
}
