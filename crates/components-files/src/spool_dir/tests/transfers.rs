//! Files that are transferred unchanged: each channel has all their bytes once, and each piece has
//! its place, whatever happens to the agent.

use formats::pieces;
use kit::testkit::channels::Event;
use kit::testkit::narrow::Narrow;
use std::collections::BTreeSet;

use super::rig::{build_error, gzip};
use super::*;

fn content(bytes: usize) -> String {
    (0..bytes).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

fn number(event: &Event, header: &str) -> usize {
    event.headers[header].parse().unwrap()
}

/// Returns name and bytes of the files that the pieces in a channel form. Checks that each piece
/// begins at the end of the one before it.
fn files(rig: &Rig, channel: usize) -> Vec<(String, String)> {
    let (mut files, mut open) = (Vec::new(), String::new());
    for event in rig.channels.events(channel) {
        assert_eq!(number(&event, pieces::OFFSET), open.len(), "{:?}", event.headers);
        open += &event.body;
        let Some(digest) = event.headers.get(pieces::DIGEST) else { continue };
        assert_eq!(number(&event, pieces::SIZE), open.len());
        let computed = crypto::digest::digest(&crypto::digest::SHA256, open.as_bytes());
        assert_eq!(
            *digest,
            support::hex::hex(computed.as_ref()),
            "the digest is of the whole file"
        );
        files.push((event.headers[pieces::FILE].clone(), std::mem::take(&mut open)));
    }
    assert_eq!(open, "", "a file has no end");
    files
}

fn transfers(rig: &Rig) -> BTreeSet<String> {
    let events = rig.channels.events(0).into_iter().chain(rig.channels.events(1));
    events.map(|event| event.headers[pieces::TRANSFER].clone()).collect()
}

#[test]
fn cuts_files_into_pieces_with_their_location() {
    let rig = Rig::new(&json!({ "pieces": { "size": "1KiB" }, "recursive": true }));
    let sizes = [0, 1, 1023, 1024, 1025, 5000];
    for (number, size) in (0..).zip(sizes) {
        rig.put_aged(&format!("sub {size}/\u{fc}.bin"), content(size).as_bytes(), 100 - number);
    }
    let is_done = |rig: &Rig| {
        sizes.iter().all(|size| rig.names(&format!("sub {size}")) == ["\u{fc}.bin.COMPLETED"])
    };
    rig.run_until(is_done);
    let expected: Vec<_> =
        sizes.iter().map(|size| (format!("sub {size}/\u{fc}.bin"), content(*size))).collect();
    assert_eq!(files(&rig, 0), expected);
    assert_eq!(files(&rig, 1), expected);
    assert_eq!(transfers(&rig).len(), sizes.len());
    let largest = rig.channels.events(0).iter().map(|event| event.body.len()).max();
    assert_eq!(largest, Some(1024));
}

#[test]
fn all_bytes_are_in_each_channel_once_over_kills_and_refusals() {
    let mut rig = Rig::new(&json!({}));
    let expected: Vec<(String, String)> =
        (0..4).map(|n| (format!("{n}.bin"), content(20_000 + n))).collect();
    for (age, (name, content)) in expected.iter().enumerate() {
        rig.put_aged(name, content.as_bytes(), 100 - age as u64);
    }
    let is_done = |rig: &Rig| rig.names("").iter().all(|name| name.ends_with(".COMPLETED"));
    let mut lives = 0;
    while !is_done(&rig) {
        // Each run has another piece size, and half of the time one channel lacks some pieces.
        let size = ["1KiB", "3KiB", "2KiB"][lives % 3];
        rig = rig.with(&json!({ "pieces": { "size": size } }));
        let before = rig.channels.events(0).len();
        if lives % 2 == 0 {
            rig.channels.refuse(1, u32::MAX);
            let is_ahead = |rig: &Rig| rig.channels.events(0).len() > before || is_done(rig);
            rig.run_with(rig.channels.clone(), is_ahead);
            rig.channels.refuse(1, 0);
        } else {
            rig.channels.refuse(1, 1);
            let narrow = Arc::new(Narrow::new(rig.channels.clone(), 4));
            rig.run_with(narrow.clone(), |rig| narrow.asked() > 4 || is_done(rig));
        }
        lives += 1;
    }
    assert!(lives > 5, "{lives}");
    for channel in 0..2 {
        assert_eq!(files(&rig, channel), expected, "channel {channel}");
    }
    assert_eq!(transfers(&rig).len(), expected.len(), "a transfer is the same after a restart");
}

#[test]
fn a_file_that_is_renamed_between_two_lives_stays_the_same_transfer() {
    let rig = Rig::new(&json!({ "pieces": { "size": "1KiB" } }));
    rig.put("a.bin", content(9000).as_bytes());
    let narrow = Arc::new(Narrow::new(rig.channels.clone(), 2));
    rig.run_with(narrow.clone(), |_| narrow.asked() > 2);
    fs::rename(rig.path("a.bin"), rig.path("b.bin")).unwrap();
    rig.run_until_renamed(1);
    assert_eq!(files(&rig, 0), [("a.bin".to_owned(), content(9000))]);
    assert_eq!(names(&rig), ["b.bin.COMPLETED"]);
    assert_eq!(transfers(&rig).len(), 1);
}

#[test]
fn the_same_file_is_the_same_transfer_where_all_is_forgotten() {
    let transfer = |rig: Rig| {
        rig.run_until_renamed(1);
        (transfers(&rig), rig)
    };
    let rig = Rig::new(&json!({ "pieces": {} }));
    rig.put_aged("a.bin", b"123", 9);
    let (first, rig) = transfer(rig);
    fs::rename(rig.path("a.bin.COMPLETED"), rig.path("a.bin")).unwrap();
    let (again, rig) = transfer(rig);
    assert_eq!(again, first);
    fs::rename(rig.path("a.bin.COMPLETED"), rig.path("a.bin")).unwrap();
    rig.put_aged("a.bin", b"123", 8);
    assert_eq!(transfer(rig).0.len(), 2, "one that was touched is another one");
}

#[test]
fn a_file_that_grows_while_it_is_sent_has_no_end_and_is_set_aside() {
    let rig = Rig::new(&json!({ "pieces": { "size": "1KiB" } }));
    rig.put("a.bin", content(9000).as_bytes());
    let narrow = Arc::new(Narrow::new(rig.channels.clone(), 2));
    let is_changed = std::cell::Cell::new(false);
    rig.run_with(narrow.clone(), |rig| {
        if narrow.asked() > 2 && !is_changed.replace(true) {
            // The rest to read is the old bytes only.
            let file = fs::File::options().append(true).open(rig.path("a.bin"));
            io::Write::write_all(&mut file.unwrap(), b"more").unwrap();
            narrow.give(100);
        }
        names(rig) == ["a.bin.FAILED"]
    });
    assert_eq!(rig.channels.events(0).len(), 8, "all but the last one");
    let has_end = |event: &Event| event.headers.contains_key(pieces::DIGEST);
    assert!(!rig.channels.events(0).iter().any(has_end));
}

#[test]
fn nothing_is_decompressed_and_what_reads_events_is_refused_by_name() {
    let rig = Rig::new(&json!({ "pieces": {} }));
    let packed = gzip("text");
    rig.put("a.gz", &packed);
    rig.run_until_renamed(1);
    let event = &rig.channels.events(0)[0];
    assert_eq!(number(event, pieces::SIZE), packed.len());
    for (settings, path) in [
        (json!({ "pieces": { "size": "1B" } }), "pieces.size"),
        (json!({ "pieces": { "size": "9MiB" } }), "pieces.size"),
        (json!({ "pieces": {}, "decoder": "blob" }), "decoder"),
        (json!({ "pieces": {}, "multiline": { "start": "^>" } }), "multiline"),
        (json!({ "pieces": {}, "compression": "gzip" }), "compression"),
        (json!({ "pieces": {}, "charset": "UTF-16" }), "charset"),
    ] {
        let mut all = settings.clone();
        all["directory"] = json!("/d");
        assert_eq!(build_error(&all), path, "{settings}");
    }
}
