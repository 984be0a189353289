//! Merges change nothing that readers see: each file is in the table once, with the snapshot and
//! the sequence number of its commit.
//!
//! A seed decides sizes, partitions, schema changes and properties of a series of commits. Each
//! commit merges as the sink does. After each fourth one, all entries are compared with the
//! commits.

use serde_json::json;
use support::mutants::plant_by_environment;

use super::super::{DataFile, NewManifest, merged_name, name};
use super::*;
use crate::partition::{Partitioning, new_spec};
use crate::request::{NewSnapshot, create};
use crate::schema::new_schema;
use crate::versions::{committed, created};

const SEEDS: u64 = 60;
const COMMITS: i64 = 20;

/// Random numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Snapshot and sequence number of a file, by its URL.
type Files = BTreeMap<String, (i64, i64)>;

struct World {
    random: Random,
    folders: Vec<String>,
    metadata: Value,
    store: BTreeMap<String, Vec<u8>>,
    expected: Files,
    merges: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let folders = vec!["day".to_owned()];
        let schema = new_schema(&[], &folders);
        let mut request = create("t", "file:///t", &schema, &new_spec(&schema, &folders));
        let min_count = 2 + random.below(6);
        request["properties"]["commit.manifest.min-count-to-merge"] = min_count.to_string().into();
        if random.below(2) == 0 {
            let target = 4_000 + random.below(9_000);
            let name = "commit.manifest.target-size-bytes";
            request["properties"][name] = target.to_string().into();
        }
        let metadata = created(&request, "u", 1);
        let (store, expected) = (BTreeMap::new(), BTreeMap::new());
        Self { random, folders, metadata, store, expected, merges: 0 }
    }

    fn table(&self) -> Table {
        Table::from_metadata(self.metadata.to_string().as_bytes()).unwrap()
    }

    fn list(&self, table: &Table) -> Vec<ListedManifest> {
        let Some(snapshot) = &table.snapshot else { return Vec::new() };
        let list = snapshot.manifest_list.as_deref().unwrap();
        ListedManifest::read_list(&self.store[list]).unwrap()
    }

    fn file(&mut self, id: i64, at: u64) -> DataFile {
        let day = match self.random.below(4) {
            0 => "late/".to_owned(),
            day => format!("day={day}/"),
        };
        let path = format!("{day}{id}-{at}.parquet");
        DataFile { url: format!("file:///t/{path}"), path, rows: at + 1, bytes: 9, columns: vec![] }
    }

    fn commit(&mut self, id: i64) {
        let table = self.table();
        let sequence = table.next_sequence();
        let mut manifests = self.list(&table);
        if let Some(merge) = MergePolicy::of(&table).and_then(|it| it.select(&manifests)) {
            let urls = merge.urls(&manifests).into_iter();
            let contents: Vec<_> = urls.map(|url| self.store[url].clone()).collect();
            if let Some(merged) = merge.merged(&table, &manifests, &contents, [2; 16]).unwrap() {
                let url = merged_name(id);
                self.store.insert(url.clone(), merged.content.clone());
                merged.replace(&mut manifests, url, id, sequence);
                self.merges += 1;
            }
        }
        let files: Vec<_> = (0..1 + self.random.below(3)).map(|at| self.file(id, at)).collect();
        let partitioning = Partitioning::new(&table.spec, &table.schema, &[], &self.folders);
        let manifest = NewManifest::new(&table, &partitioning.unwrap(), &files, [3; 16]);
        self.store.insert(name(id, 0), manifest.content.clone());
        manifests.insert(0, ListedManifest::added(&manifest, name(id, 0), id, sequence));
        let list = ListedManifest::write_list(&manifests, id, None, sequence, [4; 16]);
        let manifest_list = format!("list-{id}");
        self.store.insert(manifest_list.clone(), list);
        let (manifests, manifest_list, properties) = (&[manifest], &*manifest_list, &[][..]);
        let new = NewSnapshot { id, at_ms: id, manifest_list, manifests, properties };
        self.metadata = committed(&self.metadata, "", &table.commit(&new)).unwrap();
        self.expected.extend(files.into_iter().map(|file| (file.url, (id, sequence))));
    }

    /// Changes the type of the column `day`, and with it the schema of later manifests.
    fn widen(&mut self) {
        self.metadata["schemas"][0]["fields"][0]["type"] = "int".into();
    }

    /// Compares the table with the commits. Returns the number of its manifests.
    fn compare(&self) -> usize {
        let (table, mut found) = (self.table(), Files::new());
        let manifests = self.list(&table);
        for listed in &manifests {
            let (mut files, mut rows, mut min_sequence) = (0, 0, i64::MAX);
            avro::records(&self.store[listed.url()], |head, record| {
                let Entry { status, own: [snapshot, sequence, of_file], .. } =
                    Entry::read(record).unwrap();
                assert!([ADDED, EXISTING].contains(&status));
                let sequence = sequence.unwrap_or(listed.sequence);
                assert_eq!(of_file.unwrap_or(listed.sequence), sequence);
                let mut text = String::new();
                head.schema.read(record).unwrap().put_json(&mut text);
                let entry: Value = serde_json::from_str(&text).unwrap();
                let url = entry["data_file"]["file_path"].as_str().unwrap().to_owned();
                let own = (snapshot.unwrap_or(listed.snapshot), sequence);
                assert_eq!(found.insert(url.clone(), own), None, "{url} is in the table twice");
                let of_list = usize::from(status == EXISTING);
                assert!(listed.counts[of_list] > 0);
                (files, rows) =
                    (files + 1, rows + entry["data_file"]["record_count"].as_i64().unwrap());
                min_sequence = min_sequence.min(sequence);
                check_bounds(&entry["data_file"]["partition"]["day"], listed);
                Ok(())
            })
            .unwrap();
            assert_eq!(listed.live(), (files, rows));
            assert_eq!(listed.min_sequence, min_sequence);
        }
        assert_eq!(found, self.expected, "snapshots and sequence numbers of files");
        manifests.len()
    }
}

/// Checks that the summary of a manifest contains the partition value of a file.
fn check_bounds(day: &Value, listed: &ListedManifest) {
    let summary = &listed.partitions.as_ref().unwrap()[0];
    let within = |value: &[u8], kind: &str| {
        let (lower, upper) = (summary.lower.as_ref().unwrap(), summary.upper.as_ref().unwrap());
        order(kind, lower, value).is_le() && order(kind, value, upper).is_le()
    };
    assert!(match day {
        Value::Null => summary.contains_null,
        Value::String(day) => within(day.as_bytes(), "string"),
        day => within(&i32::try_from(day.as_i64().unwrap()).unwrap().to_le_bytes(), "int"),
    });
}

#[test]
fn merges_keep_each_file_once_with_its_snapshot_and_its_sequence_number() {
    plant_by_environment();
    let mut merges = 0;
    for seed in 1..=SEEDS {
        let mut world = World::new(seed);
        let widened = world.random.below(2 * COMMITS as u64) as i64;
        let mut most = 0;
        for id in 1..=COMMITS {
            if id == widened {
                world.widen();
            }
            world.commit(id);
            if id % 4 == 0 {
                most = most.max(world.compare());
            }
        }
        assert!(most < COMMITS as usize, "seed {seed}: the list has {most} manifests");
        merges += world.merges;
    }
    assert!(merges > SEEDS as usize, "{merges}");
}

#[cfg(feature = "mutants")]
#[test]
fn a_merge_that_changes_the_files_is_found() {
    const TEST: &str = "manifest::merge::tests::merges_keep_each_file_once_with_its_snapshot_and_\
                        its_sequence_number";
    support::mutants::is_found("merged_manifests_stay", TEST, "is in the table twice");
    support::mutants::is_found("merged_files_are_new", TEST, "counts[of_list] > 0");
}

fn listed(url: &str, length: i64, spec_id: i64) -> ListedManifest {
    ListedManifest { path: url.to_owned(), length, spec_id, ..ListedManifest::default() }
}

#[test]
fn merges_only_enough_small_manifests_of_one_spec_and_of_this_program() {
    let policy = MergePolicy { min_count: 3, target_bytes: 100 };
    let own = |at: usize, length, spec| listed(&format!("file:///t/{}", name(7, at)), length, spec);
    let select = |manifests: &[ListedManifest]| policy.select(manifests).map(|it| it.sources);
    assert_eq!(select(&[own(0, 9, 0), own(1, 9, 0), own(2, 9, 1), own(3, 9, 1)]), None);
    let foreign = listed("file:///t/x-m0.avro", 9, 0);
    let encrypted = ListedManifest { key_metadata: Some(vec![1]), ..own(5, 9, 0) };
    let deletes = ListedManifest { content: 1, ..own(6, 9, 0) };
    let others = [foreign, encrypted, deletes, own(0, 100, 0), own(1, 9, 1)];
    let small = [own(2, 60, 0), own(3, 60, 0), own(4, 9, 0)];
    assert_eq!(select(&others), None);
    let all = [&others[..], &small[..]].concat();
    assert_eq!(select(&all), Some(vec![5, 6]), "up to the target size");
}

#[test]
fn table_can_turn_merges_off() {
    let mut world = World::new(1);
    world.metadata["properties"]["commit.manifest-merge.enabled"] = "false".into();
    (1..=COMMITS).for_each(|id| world.commit(id));
    assert_eq!((world.compare(), world.merges), (COMMITS as usize, 0));
}

#[test]
fn damaged_manifest_is_an_error_and_not_a_loss() {
    let mut world = World::new(1);
    world.metadata["properties"] = json!({"commit.manifest.min-count-to-merge": "9"});
    (1..=8).for_each(|id| world.commit(id));
    let (table, policy) = (world.table(), MergePolicy { min_count: 2, target_bytes: 1 << 20 });
    let manifests = world.list(&table);
    let merge = policy.select(&manifests).unwrap();
    let mut contents: Vec<_> =
        merge.urls(&manifests).into_iter().map(|url| world.store[url].clone()).collect();
    assert!(merge.merged(&table, &manifests, &contents, [1; 16]).unwrap().is_some());
    let whole = contents[1].clone();
    for end in 0..whole.len() {
        contents[1] = whole[..end].to_vec();
        assert!(merge.merged(&table, &manifests, &contents, [1; 16]).is_err(), "cut at {end}");
    }
}
