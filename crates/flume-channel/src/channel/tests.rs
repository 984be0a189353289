//! Whole channels: the golden ones of `tests/golden`, as they are and after accidents.
#![expect(clippy::disallowed_methods, reason = "golden channels are real files")]

use std::fs;

use prost::Message;
use tempfile::TempDir;

use super::*;
use crate::events::Next;
use crate::proto;

/// A copy of a golden channel.
fn golden(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    for folder in fs::read_dir(from).unwrap().map(|it| it.unwrap().path()) {
        let to = dir.path().join(folder.file_name().unwrap());
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    dir
}

fn places(dir: &TempDir, data: &[&str]) -> Places {
    let at = |name: &str| dir.path().join(name);
    Places {
        checkpoint: Some(at("checkpoint")),
        backup: Some(at("backup")),
        data: data.iter().map(|name| at(name)).collect(),
    }
}

fn of_3(dir: &TempDir) -> Places {
    places(dir, &["data1", "data2"])
}

fn of_2(dir: &TempDir) -> Places {
    places(dir, &["data1", "data2", "data3"])
}

fn open(places: &Places) -> (FlumeChannel, Found) {
    FlumeChannel::open(&env::real(), places).unwrap()
}

fn refused(places: &Places) -> String {
    FlumeChannel::open(&env::real(), places).err().unwrap().to_string()
}

/// Returns the bodies of all readable waiting events, and the other results.
fn bodies(channel: &FlumeChannel) -> (Vec<String>, Vec<Next>) {
    let (mut bodies, mut others) = (Vec::new(), Vec::new());
    let mut events = channel.events();
    while let Some((_, next)) = events.read_next().unwrap() {
        match next {
            Next::Event(event) => bodies.push(String::from_utf8(event.body).unwrap()),
            other => others.push(other),
        }
    }
    (bodies, others)
}

fn three(numbers: impl Iterator<Item = u32>) -> Vec<String> {
    numbers.map(|number| format!("three {number}")).collect()
}

#[test]
fn a_killed_agents_channel_is_read_from_its_checkpoint() {
    let dir = golden("v3");
    let (channel, found) = open(&of_3(&dir));
    assert_eq!(found.start, Start::Checkpoint);
    assert_eq!((found.logs, found.damaged.len()), (6, 0));
    assert_eq!(bodies(&channel).0, three(1..=25), "in their order, from two directories");
    let (_, Next::Event(event)) = channel.events().read_next().unwrap().unwrap() else { panic!() };
    let mut names: Vec<_> = event.headers.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    assert_eq!(names, ["site", "timestamp"]);
}

#[test]
fn falls_back_from_the_checkpoint_to_its_backup_and_to_all_logs() {
    let dir = golden("v3");
    fs::remove_file(dir.path().join("checkpoint/checkpoint.meta")).unwrap();
    let (channel, found) = open(&of_3(&dir));
    assert_eq!(found.start, Start::Backup("checkpoint.meta is missing".into()));
    assert_eq!(bodies(&channel).0, three(1..=25));
    drop(channel);

    fs::remove_file(dir.path().join("backup/backupComplete")).unwrap();
    let (channel, found) = open(&of_3(&dir));
    assert!(matches!(found.start, Start::Logs(_)), "{found:?}");
    assert_eq!(bodies(&channel).0, three(1..=25));
    assert_eq!((found.counts.puts, found.counts.delivered), (65, 40), "the whole history");
}

#[test]
fn format_2_is_read_as_flumes_own_tests_expect_it() {
    let dir = golden("v2");
    let (channel, found) = open(&of_2(&dir));
    assert_eq!(found.start, Start::Checkpoint);
    let mut waiting = bodies(&channel).0;
    waiting.sort();
    let expected: Vec<_> = (2684..=2691).map(|number: u32| number.to_string()).collect();
    assert_eq!(waiting, expected);
    drop(channel);

    let dir = golden("v2-before-1432");
    let (channel, _) = open(&of_2(&dir));
    assert_eq!(bodies(&channel).0.len(), 50);
}

#[test]
fn a_data_directory_that_was_forgotten_is_missed() {
    let dir = golden("v2");
    let problem = refused(&places(&dir, &["data1"]));
    assert!(problem.contains("is in none of the data directories"), "{problem}");
    assert!(refused(&places(&dir, &["checkpoint"])).contains("no log of a file channel"));
}

#[test]
fn an_encrypted_log_is_refused() {
    let dir = golden("v3");
    let path = dir.path().join("data2/log-6.meta");
    let meta = fs::read(&path).unwrap();
    let mut meta = proto::LogFileMetaData::decode_length_delimited(&meta[..]).unwrap();
    meta.encryption = Some(proto::LogFileEncryption {
        cipher_provider: b"AESCTRNOPADDING".to_vec(),
        key_alias: b"key-0".to_vec(),
    });
    fs::write(&path, meta.encode_length_delimited_to_vec()).unwrap();
    assert!(refused(&of_3(&dir)).contains("log-6 is encrypted"));
}

#[test]
fn damage_costs_one_record_and_what_follows_is_read() {
    let dir = golden("v3");
    let (channel, _) = open(&of_3(&dir));
    // A byte in the body of the second event of log-5: framing and checkpoint stay.
    let at = *channel.waiting.keys().filter(|at| at.file() == 5).nth(1).unwrap();
    drop(channel);
    let path = dir.path().join("data1/log-5");
    let mut log = fs::read(&path).unwrap();
    let offset = at.offset() as usize;
    let body = log[offset..].windows(6).position(|it| it == b"three ").unwrap();
    log[offset + body] = b'T';
    fs::write(&path, &log).unwrap();
    let damage = |problem| Damage { path: path.clone(), offset: at.offset(), problem, torn: false };
    // It is in the queue of the checkpoint, so reading it reports it as missing.
    let (channel, found) = open(&of_3(&dir));
    assert_eq!(found.damaged, []);
    let (left, others) = bodies(&channel);
    let checksum = damage("the checksum of an event does not match");
    assert_eq!((left.len(), others), (24, vec![Next::Damaged(checksum.clone())]));
    drop(channel);
    // Without checkpoint, where the logs are read.
    let all = Places { checkpoint: None, ..of_3(&dir) };
    let (channel, found) = open(&all);
    assert_eq!((bodies(&channel).0.len(), found.damaged), (24, vec![checksum]));
    drop(channel);

    // Its length: the next records are found by their form.
    log[offset + 1] = 0xff;
    fs::write(&path, &log).unwrap();
    let (channel, found) = open(&all);
    let length = damage("the length of a record is invalid");
    assert_eq!((bodies(&channel).0.len(), found.damaged), (24, vec![length]));
}

#[test]
fn a_torn_tail_is_passed_over() {
    let dir = golden("v3");
    let path = dir.path().join("data2/log-6");
    let log = fs::read(&path).unwrap();
    let end = log.len() - 16;
    // A put that reached the disk only in part.
    let torn = [&log[..end], &[0x7f, 0, 0, 0, 90, 23, 0x0d, 1, 0], &[0x80; 300]].concat();
    fs::write(&path, torn).unwrap();
    let (channel, found) = open(&of_3(&dir));
    assert_eq!(bodies(&channel).0.len(), 25);
    assert_eq!((found.damaged[0].offset, found.damaged[0].torn), (end as u64, true));
}

#[test]
fn events_before_an_offset_are_left_out() {
    let dir = golden("v3");
    let (mut channel, _) = open(&of_3(&dir));
    let third = *channel.waiting.keys().filter(|at| at.file() == 5).nth(2).unwrap();
    assert_eq!(channel.leave_out(5, third.offset()), 2);
    assert_eq!(bodies(&channel).0.len(), 23);
}

#[test]
fn a_fingerprint_is_of_the_log_and_not_of_its_place() {
    let prints = |dir: &TempDir| -> Vec<u128> {
        let (channel, _) = open(&of_3(dir));
        channel.logs().map(|log| log.fingerprint().unwrap()).collect()
    };
    let (one, other) = (golden("v3"), golden("v3"));
    let mut all = prints(&one);
    assert_eq!(all, prints(&other));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6, "no two logs have the same");
}

#[test]
fn lock_files_that_were_not_there_are_taken_away_again() {
    let dir = golden("v3");
    let lock = dir.path().join("data1/in_use.lock");
    let (channel, _) = open(&of_3(&dir));
    assert!(lock.exists());
    drop(channel);
    assert!(!lock.exists());
}

#[test]
fn a_channel_that_a_process_has_open_is_refused() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = golden("v3");
    // Until its standard input ends.
    let mut agent = Command::new("sh")
        .args(["-c", "exec 3<\"$0\"; echo ready; read line"])
        .arg(dir.path().join("data2/log-6"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let by = format!("data2 is in use by process {}: stop the Flume agent first", agent.id());
    let problem = refused(&of_3(&dir));
    assert!(problem.ends_with(&by), "{problem}");
    drop(agent.stdin.take());
    agent.wait().unwrap();
    open(&of_3(&dir));
}
