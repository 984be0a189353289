//! Commits files to a table: manifests, manifest list, and the request to the catalog.

use iceberg::Evolution;
use iceberg::manifest::{self, DataFile, ListedManifest, MergePolicy, NewManifest};
use iceberg::metadata::Table;
use iceberg::partition::Placed;
use iceberg::position::Position;
use iceberg::request::NewSnapshot;
use ledger::{StagedFile, WriterId};
use pipeline::Env;
use serde_json::Value;
use support::causes::chain;

use super::super::settings::now;
use super::{AppendError, Appending, Target, property_of, statistics};
use crate::iceberg::{Catalog, CatalogError, CommitAnswer, write_new};

impl Appending {
    /// Writes the metadata of a snapshot with the files of some entries, and commits it.
    pub(super) async fn commit(
        &self,
        target: &Target,
        catalog: &dyn Catalog,
        table: &Table,
        files: &[StagedFile],
        entries: (u64, u64),
    ) -> Result<CommitAnswer, AppendError> {
        let env = &self.settings.env;
        let (partitioning, evolution) = target.check(table)?;
        if let Some(Evolution { request, columns }) = evolution {
            tracing::info!(table = target.name, columns, "changing the schema of the table");
            return changed(catalog, &request).await;
        }
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
            let data_files = self.data_files(target, table, files).await?;
            let placed = match partitioning.place(table, data_files) {
                Placed::Files(placed) => placed,
                Placed::NeedsSpec(spec) => return changed(catalog, &table.add_spec(&spec)).await,
            };
            if let Err(error) = self.merge(target, table, &mut manifests, (id, sequence)).await {
                tracing::debug!(error = chain(&error), "appending without a merge of manifests");
            }
            for (at, (partitioning, files)) in placed.iter().enumerate() {
                let sync = env.entropy.bytes16();
                let manifest = NewManifest::new(table, partitioning, files, sync);
                let url = metadata(&manifest::name(id, at));
                write_new(&*self.fs, &target.path_of(&url)?, manifest.content.clone()).await?;
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
        write_new(&*self.fs, &target.path_of(&manifest_list)?, list).await?;
        let properties = self.properties(table, entries, files).await?;
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
                number = entries.1,
                "appended files to the table"
            );
        }
        Ok(answer)
    }

    /// Returns the properties of the table after an append.
    async fn properties(
        &self,
        table: &Table,
        entries: (u64, u64),
        files: &[StagedFile],
    ) -> Result<Vec<(String, String)>, AppendError> {
        let property = property_of(&*self.ledger.lock().await);
        let rows = files.iter().map(|file| file.events).sum();
        let before = Position::read(table, &property).map_err(CatalogError::Table)?;
        let mut properties = Position::after(before, entries, rows).properties(&property);
        let WriterId { collector, incarnation } = self.author;
        properties.push((format!("{property}.writer"), format!("{collector}/{incarnation}")));
        Ok(properties)
    }

    /// Merges small manifests in the list of a new snapshot, if there are enough of them. After an
    /// error, the list is unchanged.
    async fn merge(
        &self,
        target: &Target,
        table: &Table,
        manifests: &mut Vec<ListedManifest>,
        (id, sequence): (i64, i64),
    ) -> Result<(), AppendError> {
        let merge = MergePolicy::of(table).and_then(|policy| policy.select(manifests));
        let Some(merge) = merge else { return Ok(()) };
        let mut contents = Vec::new();
        for url in merge.urls(manifests) {
            contents.push(self.fs.read(&target.path_of(url)?).await?.to_vec());
        }
        let sync = self.settings.env.entropy.bytes16();
        let Some(merged) = merge.merged(table, manifests, &contents, sync)? else { return Ok(()) };
        let url = format!("{}/metadata/{}", table.location, manifest::merged_name(id));
        write_new(&*self.fs, &target.path_of(&url)?, merged.content.clone()).await?;
        merged.replace(manifests, url, id, sequence);
        tracing::debug!(table = target.name, manifests = contents.len(), "merged manifests");
        Ok(())
    }

    /// Returns committed files as files of the table.
    async fn data_files(
        &self,
        target: &Target,
        table: &Table,
        files: &[StagedFile],
    ) -> Result<Vec<DataFile>, AppendError> {
        let encoder = self.settings.format.encoder();
        let mut data_files = Vec::new();
        for file in files {
            let path = self.ledger.lock().await.dataset().published(&file.target);
            let columns = statistics::read(&*self.fs, &path, file.len, encoder).await?;
            let file = target.data_file(file, columns);
            table.check_file(&file)?;
            data_files.push(file);
        }
        Ok(data_files)
    }
}

/// Changes the table before an append. It is loaded again afterwards, whatever the answer is.
async fn changed(catalog: &dyn Catalog, request: &Value) -> Result<CommitAnswer, AppendError> {
    Ok(match catalog.commit(request).await? {
        CommitAnswer::Done => CommitAnswer::Unsettled(CatalogError::Changed),
        unsettled => unsettled,
    })
}

/// Returns a new id of a snapshot.
fn snapshot_id(env: &Env) -> i64 {
    (env.entropy.next_u64() >> 1) as i64
}
