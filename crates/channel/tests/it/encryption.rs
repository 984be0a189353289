//! A sealed channel reveals nothing without its keys, names the missing key, and changes keys while
//! it runs.
//!
//! Method: channels on a simulated disk with a key file on it; every byte of that disk is searched
//! for the contents of puts. The last tests use real files and a real program. Named after the
//! cases of Flume's encrypted file channel if there is one.

use std::path::Path;
use std::time::Duration;

use crate::common::*;
use aqueduct_channel::durable::Encryption;
use aqueduct_channel::durable::inspect::{Inspection, Stats};
use aqueduct_channel::testkit::{SimDisk, world};
use bytes::Bytes;
use pipeline::env::{Disk, OpenMode};
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, ChannelError, IntervalSet, SourcePosition};
use serde_json::{Value, json};

const SECRET: &str = "the secret of the house";

/// Returns the contents of all files in the channel's directory.
fn everything(disk: &SimDisk) -> Vec<u8> {
    let mut all = Vec::new();
    for (path, len) in disk.files() {
        if path.starts_with("/data") {
            let mut bytes = vec![0; len as usize];
            disk.open(&path, OpenMode::default()).unwrap().read_at(&mut bytes, 0).unwrap();
            all.append(&mut bytes);
        }
    }
    all
}

fn shows(disk: &SimDisk, text: &str) -> bool {
    everything(disk).windows(text.len()).any(|window| window == text.as_bytes())
}

async fn refusal(disk: &SimDisk, settings: &Value) -> String {
    match try_open(disk, settings).await {
        Err(error @ ChannelError::Unusable { .. }) => error.to_string(),
        Err(error) => panic!("refused for another reason: {error}"),
        Ok(_) => panic!("it opens"),
    }
}

fn stats(disk: &SimDisk, encryption: &Value) -> Stats {
    let encryption: Encryption = serde_json::from_value(encryption.clone()).unwrap();
    let main = Path::new("/data/main");
    Inspection::open(&world(disk, 1), main, Some(&encryption)).unwrap().stats()
}

fn secret() -> Batch {
    let mut batch = Batch::of([SECRET]);
    let key = Bytes::from_static(b"/home/user/private.log");
    let value = Some(Bytes::from_static(b"offset of user"));
    batch.envelope.positions.push(SourcePosition {
        source: "home".into(),
        key,
        value,
        after: None,
    });
    batch
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_put_can_be_read_on_the_disk() {
    for (settings, visible) in [(small(), true), (sealed(), false)] {
        let disk = SimDisk::new(SEED);
        put_keys(&disk, &key_line(1, 1));
        let channel = try_open(&disk, &settings).await.unwrap();
        put(&*channel, secret()).await.unwrap();
        channel.close().await.unwrap();
        drop(channel);
        // The next life's STATE contains the positions.
        let channel = try_open(&disk, &settings).await.unwrap();
        for text in [SECRET, "/home/user", "offset of user"] {
            assert_eq!(shows(&disk, text), visible, "{text}");
        }
        assert_eq!(channel.positions("home").len(), 1);
        assert_eq!(drain(&*channel).await, [SECRET]);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_rotated_without_a_stop_and_old_segments_stay_readable() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let channel = try_open(&disk, &sealed()).await.unwrap();
    let text = |n: u32| format!("{n} {}", "r".repeat(40_000));
    put_body(&*channel, &text(0)).await.unwrap();
    put_keys(&disk, &(key_line(1, 1) + &key_line(2, 2)));
    tokio::time::sleep(Duration::from_secs(70)).await;
    for n in 1..8 {
        put_body(&*channel, &text(n)).await.unwrap();
    }
    channel.close().await.unwrap();
    drop(channel);
    let encryption = json!({ "key_file": KEYS });
    assert_eq!(stats(&disk, &encryption).encryption_keys, [1, 2]);
    let channel = try_open(&disk, &sealed()).await.unwrap();
    assert_eq!(drain(&*channel).await, (0..8).map(text).collect::<Vec<_>>());
    channel.close().await.unwrap();
    drop(channel);
    let channel = try_open(&disk, &sealed()).await.unwrap();
    channel.close().await.unwrap();
    drop(channel);
    // No data is sealed with the old key any more: it may be removed.
    put_keys(&disk, &key_line(2, 2));
    assert_eq!(stats(&disk, &encryption).encryption_keys, [2]);
    assert!(try_open(&disk, &sealed()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_file_while_running_changes_nothing() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let channel = try_open(&disk, &sealed()).await.unwrap();
    for bad in ["", "2 short", &key_line(1, 9)] {
        put_keys(&disk, bad);
        tokio::time::sleep(Duration::from_secs(70)).await;
        for _ in 0..4 {
            put_body(&*channel, &"b".repeat(60_000)).await.unwrap();
        }
        assert_eq!(drain(&*channel).await.len(), 4);
    }
    put_body(&*channel, "last").await.unwrap();
    channel.close().await.unwrap();
    drop(channel);
    put_keys(&disk, &key_line(1, 1));
    assert_eq!(drain(&*try_open(&disk, &sealed()).await.unwrap()).await, ["last"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_wrong_key_is_named_and_nothing_is_taken_for_damaged() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    for life in 1..4 {
        let channel = try_open(&disk, &sealed()).await.unwrap();
        put_body(&*channel, &format!("{life} {}", "w".repeat(10_000))).await.unwrap();
        channel.close().await.unwrap();
        let keys: String = (1..life + 2).map(|id| key_line(id, id as u8)).collect();
        put_keys(&disk, &keys);
    }
    let before = everything(&disk);
    let says = refusal(&disk, &small()).await;
    assert!(says.contains("key 3") && says.contains("`encryption.key_file`"), "{says}");
    // The newest segment can be read; older ones are sealed with the missing key.
    for gone in 1..4 {
        let keys = (1..4).filter(|id| *id != gone).map(|id| key_line(id, id as u8));
        put_keys(&disk, &keys.collect::<String>());
        let says = refusal(&disk, &sealed()).await;
        let expected = format!("key {gone}, which `encryption.key_file` {KEYS} lacks");
        assert!(says.contains(&expected), "{says}");
        let keys = (1..4).map(|id| key_line(id, if id == gone { 0xee } else { id as u8 }));
        put_keys(&disk, &keys.collect::<String>());
        let says = refusal(&disk, &sealed()).await;
        let expected =
            format!("key {gone} of `encryption.key_file` {KEYS} differs from the key {gone}");
        assert!(says.contains(&expected), "{says}");
    }
    assert!(everything(&disk) == before, "a refused start changed the channel");
    put_keys(&disk, &(1..4).map(|id| key_line(id, id as u8)).collect::<String>());
    assert_eq!(drain(&*try_open(&disk, &sealed()).await.unwrap()).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_plain_channel_can_be_sealed_later_and_a_sealed_one_run_out() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let unsealing = json!({
        "capacity": "1MiB", "index": "none", "encryption": { "key_file": KEYS, "seal_new": false }
    });
    for (settings, body) in [(small(), "plain"), (sealed(), "sealed"), (unsealing, "plain again")] {
        let channel = try_open(&disk, &settings).await.unwrap();
        put_body(&*channel, body).await.unwrap();
        channel.close().await.unwrap();
    }
    assert!(shows(&disk, "plain again") && !shows(&disk, "sealed"));
    let says = refusal(&disk, &small()).await;
    assert!(says.contains("encrypted with key 1"), "{says}");
    let channel = try_open(&disk, &sealed()).await.unwrap();
    assert_eq!(drain(&*channel).await, ["plain", "sealed", "plain again"]);
    channel.close().await.unwrap();
    drop(channel);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_kept_aside_sealed() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let channel = try_open(&disk, &sealed()).await.unwrap();
    put_body(&*channel, &format!("{SECRET} {}", "q".repeat(9_000))).await.unwrap();
    put_body(&*channel, "sound").await.unwrap();
    channel.close().await.unwrap();
    drop(channel);
    drop(try_open(&disk, &sealed()).await.unwrap());
    let (path, _) = disk.files().into_iter().find(|(path, _)| path.ends_with(FIRST)).unwrap();
    disk.flip(&path, 6 * 4096, 1);
    let channel = try_open(&disk, &sealed()).await.unwrap();
    assert_eq!(drain(&*channel).await, ["sound"]);
    let aside = |(path, _): &(std::path::PathBuf, u64)| path.starts_with("/data/main/quarantine");
    assert_eq!(disk.files().iter().filter(|file| aside(file)).count(), 1);
    assert!(!shows(&disk, SECRET));
}

const FIRST: &str = "0000000000000000.seg";

#[tokio::test]
async fn keys_come_from_a_file_of_its_owner_or_from_a_program() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("keys");
    write_mode(&file, &key_line(1, 1), 0o644);
    let shown = file.display().to_string();
    let from_file = json!({ "key_file": shown });
    let says = opened(dir.path(), &from_file).await.err().expect("others may read it").to_string();
    assert!(says.contains("0644") && says.contains("chmod 0400"), "{says}");
    write_mode(&file, &key_line(1, 1), 0o400);
    let channel = opened(dir.path(), &from_file).await.unwrap();
    put(&*channel, secret()).await.unwrap();
    channel.close().await.unwrap();
    drop(channel);
    let failing = json!({ "key_command": ["false"] });
    let says = opened(dir.path(), &failing).await.err().expect("it fails").to_string();
    assert!(says.contains("`encryption.key_command` false failed"), "{says}");
    // The error shows what the command reports, but neither its output nor its arguments.
    let script = "echo token refused >&2; echo 1 abcd; exit 7";
    let failing = json!({ "key_command": ["sh", "-c", script, "s.password"] });
    let says = opened(dir.path(), &failing).await.err().expect("it fails").to_string();
    assert!(says.contains("7: token refused"), "{says}");
    assert!(!says.contains("abcd") && !says.contains("s.password"), "{says}");
    let missing = json!({ "key_variable": "AQUEDUCT_TEST_NO_KEYS" });
    let says = opened(dir.path(), &missing).await.err().expect("it is not set").to_string();
    assert!(
        says.contains("AQUEDUCT_TEST_NO_KEYS of `encryption.key_variable` is not set"),
        "{says}"
    );
    let channel = opened(dir.path(), &json!({ "key_command": ["cat", shown] })).await.unwrap();
    assert_eq!(drain(&*channel).await, [SECRET]);
    channel.close().await.unwrap();
}

async fn opened(dir: &Path, encryption: &Value) -> Result<Box<dyn Channel>, ChannelError> {
    let cx = BuildContext::alone("main", &dir.join("main"), env::real());
    let settings = json!({ "capacity": "16MiB", "encryption": encryption });
    let channel =
        build::<aqueduct_channel::durable::Config>(&settings, &cx).expect("right settings");
    channel.open().await?;
    channel.register(&[std::sync::Arc::from("sink")]).await?;
    Ok(channel)
}

#[expect(clippy::disallowed_methods, reason = "these tests use real key files")]
fn write_mode(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn settings_without_keys_are_refused() {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(&SimDisk::new(SEED), 1));
    for (encryption, setting) in [
        (json!({}), "encryption.key_file"),
        (json!({ "key_file": "a", "key_command": ["b"] }), "encryption.key_command"),
        (json!({ "key_command": ["b"], "key_variable": "C" }), "encryption.key_variable"),
        (json!({ "key_file": "a", "reload": "1ms" }), "encryption.reload"),
    ] {
        let settings = json!({ "encryption": encryption });
        let refused = build::<aqueduct_channel::durable::Config>(&settings, &cx);
        assert_eq!(refused.err().expect("it is refused").path, setting);
    }
}

#[tokio::test(start_paused = true)]
async fn every_take_order_and_commit_works_sealed_as_it_does_plain() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let settings = json!({
        "capacity": "1MiB", "index": "none", "tail_memory": "0B", "compression": "lz4",
        "encryption": { "key_file": KEYS }
    });
    let channel = try_open(&disk, &settings).await.unwrap();
    for n in 0..20 {
        put_body(&*channel, &format!("{n} {}", "c".repeat(5_000))).await.unwrap();
    }
    let mut take = channel.begin_take("sink");
    let first = next(&mut *take).await.unwrap();
    take.rollback(&IntervalSet::from(first.ticket..first.ticket + 1));
    drop(take);
    let numbers = drain(&*channel).await;
    let numbers: Vec<u32> =
        numbers.iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}
