use iceberg::request::{NewSnapshot, create};
use iceberg::schema::new_schema;
use iceberg::versions::DELETES;
use serde_json::json;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;

use super::*;

const METADATA: &str = "/w/t/metadata";

fn catalog(store: &Memory) -> DirectoryCatalog {
    DirectoryCatalog::new(Arc::new(store.clone()), env::real(), "file:///w/t", "/w/t")
}

async fn with_table(store: &Memory) -> DirectoryCatalog {
    let catalog = catalog(store);
    assert!(catalog.load().await.unwrap().is_none());
    let spec = json!({"spec-id": 0, "fields": []});
    let request = create("t", "file:///w/t", &new_schema(&[], &[]), &spec);
    catalog.create(&request).await.unwrap();
    catalog
}

fn commit(table: &Table, id: i64) -> Value {
    let (manifest_list, manifests, properties) = ("file:///w/t/list", &[][..], &[][..]);
    table.commit(&NewSnapshot { id, at_ms: 1, manifest_list, manifests, properties })
}

fn is_done(answer: Result<CommitAnswer, CatalogError>) -> bool {
    matches!(answer.unwrap(), CommitAnswer::Done)
}

#[tokio::test]
async fn of_two_commits_on_one_version_one_wins() {
    let store = Memory::new();
    let catalog = with_table(&store).await;
    let table = catalog.load().await.unwrap().unwrap();
    catalog.create(&json!({})).await.unwrap();
    let same = catalog.load().await.unwrap().unwrap();
    assert_eq!(same.uuid, table.uuid, "an existing table is not replaced");
    assert!(is_done(catalog.commit(&commit(&table, 1)).await));
    assert!(!is_done(catalog.commit(&commit(&table, 2)).await));
    let table = catalog.load().await.unwrap().unwrap();
    assert_eq!(table.snapshot.as_ref().map(|it| it.id), Some(1));
    assert!(is_done(catalog.commit(&commit(&table, 2)).await));
    let leftovers = store.files().into_keys().filter(|path| path.ends_with(".tmp")).count();
    assert_eq!(leftovers, 0);
}

#[tokio::test]
async fn finds_the_newest_version_without_a_hint_and_from_an_old_one() {
    let store = Memory::new();
    let catalog = with_table(&store).await;
    for id in 1..5 {
        let table = catalog.load().await.unwrap().unwrap();
        assert!(is_done(catalog.commit(&commit(&table, id)).await));
    }
    let hint = format!("{METADATA}/{HINT}");
    for text in ["2", "99", "x", ""] {
        store.put(&hint, text.as_bytes());
        let table = catalog.load().await.unwrap().unwrap();
        assert_eq!(table.snapshot.unwrap().id, 4, "{text}");
        assert_eq!(store.file(&hint).unwrap(), "5");
    }
    store.remove(&hint);
    assert_eq!(catalog.load().await.unwrap().unwrap().snapshot.unwrap().id, 4);
    assert_eq!(store.file(&hint).unwrap(), "5");
}

#[tokio::test]
async fn version_that_others_created_and_deleted_before_is_no_success() {
    let store = Memory::new();
    let catalog = with_table(&store).await;
    let table = catalog.load().await.unwrap().unwrap();
    let second = catalog.path(&name(2));
    assert!(is_done(catalog.commit(&commit(&table, 1)).await));
    // Another writer commits, and deletes an old version. This one still sees version 1.
    let (third, content) = (catalog.path(&name(3)), store.file(&second).unwrap());
    store.put(&third, &content);
    store.put(&catalog.path(HINT), b"3");
    store.remove(&second);
    let created = catalog.create_version(2, "{}".to_owned()).await;
    assert!(matches!(created, Ok(true)), "the store does not notice");
    assert_eq!(catalog.newest().await.unwrap(), Some(3), "but readers never see it");
}

#[tokio::test]
async fn compressed_metadata_is_explained() {
    let store = Memory::new();
    let catalog = with_table(&store).await;
    store.put(&format!("{METADATA}/v2.gz.metadata.json"), b"");
    let error = catalog.load().await.unwrap_err().to_string();
    assert!(error.contains("`write.metadata.compression-codec`"), "{error}");
}

#[tokio::test]
async fn incomplete_version_is_not_believed_and_an_incomplete_hint_is_corrected() {
    let store = Memory::new();
    let catalog = with_table(&store).await;
    let table = catalog.load().await.unwrap().unwrap();
    assert!(is_done(catalog.commit(&commit(&table, 1)).await));
    let second = catalog.path(&name(2));
    let content = store.file(&second).unwrap();
    for length in [0, 1, content.len() / 2, content.len() - 1] {
        store.put(&second, &content[..length]);
        let error = catalog.load().await.unwrap_err().to_string();
        assert!(error.contains("has an incomplete version") && error.contains(&second), "{error}");
        assert!(catalog.commit(&commit(&table, 2)).await.is_err(), "{length}");
    }
    store.put(&second, &content);
    store.put(&format!("{METADATA}/{HINT}"), b"");
    assert_eq!(catalog.load().await.unwrap().unwrap().snapshot.unwrap().id, 1);
}

#[tokio::test]
async fn old_versions_are_deleted_if_the_table_asks_for_it() {
    let store = Memory::new();
    let catalog = with_table(&store).await;
    let table = catalog.load().await.unwrap().unwrap();
    let properties = [
        (DELETES.to_owned(), "true".to_owned()),
        ("write.metadata.previous-versions-max".to_owned(), "2".to_owned()),
    ];
    let (manifest_list, manifests) = ("file:///w/t/list", &[][..]);
    let new = NewSnapshot { id: 1, at_ms: 1, manifest_list, manifests, properties: &properties };
    assert!(is_done(catalog.commit(&table.commit(&new)).await));
    for id in 2..7 {
        let table = catalog.load().await.unwrap().unwrap();
        assert!(is_done(catalog.commit(&commit(&table, id)).await));
    }
    let versions: Vec<u64> = store
        .files()
        .keys()
        .filter_map(|path| version_of(path.strip_prefix(METADATA)?.strip_prefix('/')?))
        .collect();
    assert_eq!(versions, [5, 6, 7], "the newest version and two before it");
    // A reader without the hint finds the newest version.
    store.remove(&format!("{METADATA}/{HINT}"));
    assert_eq!(catalog.load().await.unwrap().unwrap().snapshot.unwrap().id, 6);
}

#[tokio::test]
async fn old_versions_are_deleted_in_parts_from_the_oldest_one_on() {
    for (oldest, known) in [(1, 1), (1, 2), (7, 8), (1, 1000), (300, 1001), (999, 1000)] {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::Refused, u64::MAX));
        let catalog = DirectoryCatalog::new(faulty.clone(), env::real(), "file:///w/t", "/w/t");
        (oldest..=known).for_each(|it| store.put(&catalog.path(&name(it)), b""));
        assert_eq!(catalog.oldest(known).await.unwrap(), oldest);
        assert!(faulty.calls() <= 20, "{} calls for {oldest} to {known}", faulty.calls());
        catalog.delete_forgotten(&[known]).await.unwrap();
        let left = store.files().len() as u64;
        assert_eq!(left, (known - oldest + 1).saturating_sub(DELETED_MAX as u64));
        let newest = catalog.path(&name(known));
        assert_eq!(store.file(&newest).is_some(), left > 0, "the newest one is deleted last");
    }
}
