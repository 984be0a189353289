//! Files that are still written when the source finds them. Goal: no line is lost and no growing
//! file is deleted, under every policy that changes the directory. Method: a writer next to the
//! source, on real files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use super::rig::{gzip, zstd};
use super::*;

/// Returns the policies that rename, move or delete a file, with its final location.
fn policies(done: &Path) -> [(Value, Option<PathBuf>); 3] {
    [
        (json!({ "delete_policy": "immediate" }), None),
        (json!({}), Some("a.log.COMPLETED".into())),
        (json!({ "completed_dir": done }), Some(done.join("a.log"))),
    ]
}

fn with_settle(settings: &Value, settle: &str) -> Value {
    let mut settings = settings.clone();
    settings["settle"] = json!(settle);
    settings
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_file_that_is_written_in_steps_is_read_whole_when_it_has_settled() {
    let done = tempfile::tempdir().unwrap();
    for packed in [|text: &str| text.as_bytes().to_vec(), gzip, zstd] {
        for (settings, place) in policies(done.path()) {
            let rig = Rig::new(&with_settle(&settings, "400ms"));
            let path = rig.path("a.log");
            let written = path.clone();
            let writer = thread::spawn(move || {
                for step in 0..20 {
                    let lines: String = (0..50).map(|n| format!("{}\n", step * 50 + n)).collect();
                    append(&written, &packed(&lines));
                    thread::sleep(Duration::from_millis(20));
                }
            });
            rig.run_until(|rig| {
                let is_done = !path.exists() && rig.channels.keys(0) + rig.channels.keys(1) == 0;
                is_done && rig.bodies(0).len() == 1_000
            });
            writer.join().unwrap();
            let expected: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
            assert_eq!(rig.bodies(0), expected, "{settings}");
            assert_eq!(rig.counted("file_set_aside"), 0);
            assert!(place.is_none_or(|place| rig.path("").join(place).exists()), "{settings}");
        }
    }
}

#[test]
fn a_file_that_grows_after_it_was_read_is_reported_and_not_deleted() {
    let done = tempfile::tempdir().unwrap();
    for packed in [|text: &str| text.as_bytes().to_vec(), gzip, zstd] {
        for (settings, place) in policies(done.path()) {
            let rig = Rig::new(&with_settle(&settings, "300ms"));
            let (first, late) = (packed("1\n2\n"), packed("late\n"));
            rig.put("a.log", &first);
            let has_grown = std::cell::Cell::new(false);
            rig.run_until(|rig| {
                if !has_grown.get() && rig.bodies(1).len() == 2 {
                    append(&rig.path("a.log"), &late);
                    has_grown.set(true);
                }
                rig.counted("file_set_aside") > 0 && rig.path("a.log.FAILED").exists()
            });
            assert_eq!(rig.bodies(0), ["1", "2"], "{settings}");
            assert_eq!(rig.counted("changed_after_read"), 1, "{settings}");
            assert_eq!(fs::read(rig.path("a.log.FAILED")).unwrap(), [first, late].concat());
            assert!(place.is_none_or(|place| !rig.path("").join(place).exists()), "{settings}");
        }
    }
}

#[test]
fn a_kill_before_a_file_is_finished_does_not_shorten_its_settling() {
    let rig = Rig::new(&json!({ "delete_policy": "immediate", "settle": "300ms" }));
    rig.put("a.log", b"1\n");
    rig.run_until(|rig| rig.bodies(1).len() == 1);
    append(&rig.path("a.log"), b"late\n");
    rig.run_until(|rig| rig.path("a.log.FAILED").exists());
    assert_eq!(fs::read(rig.path("a.log.FAILED")).unwrap(), b"1\nlate\n");
    assert_eq!((rig.bodies(0), rig.counted("file_set_aside")), (vec!["1".to_owned()], 1));
}
