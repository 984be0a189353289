//! A deserializer of paragraphs: Flume's spooling directory source runs with it, and stores what it
//! stores in Flume 1.11. While its virtual machine and the agent are killed, only the batch that it
//! has not acknowledged is repeated.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::{LIMIT, Place, kill};
use crate::plugins::{plugins, wait_until_ended, write};

/// Files, each with a kill, their paragraphs, and events of a batch.
const FILES: usize = 8;
const PARAGRAPHS: usize = 300;
const OF_BATCH: usize = 10;

fn properties(at: &Path) -> String {
    for below in ["in", "out"] {
        fs::create_dir_all(at.join(below)).expect("the test's own folder");
    }
    let at = at.display();
    format!(
        "a.sources = s\na.channels = c\na.sinks = k\na.sources.s.type = spooldir\n\
         a.sources.s.channels = c\na.sources.s.spoolDir = {at}/in\n\
         a.sources.s.batchSize = {OF_BATCH}\n\
         a.sources.s.deserializer = com.example.flume.Paragraphs$Builder\n\
         a.sources.s.deserializer.between = |\na.channels.c.type = file\n\
         a.channels.c.checkpointDir = {at}/c\na.channels.c.dataDirs = {at}/d\n\
         a.sinks.k.type = file_roll\na.sinks.k.channel = c\na.sinks.k.sink.rollInterval = 0\n\
         a.sinks.k.sink.directory = {at}/out\n"
    )
}

/// Adds a complete file to the spooling directory. Returns the lines to store.
fn spool(at: &Path, file: usize) -> String {
    let (mut text, mut expected) = (String::new(), String::new());
    for n in 0..PARAGRAPHS {
        text += &format!("{file} {n}\nä 日本\n\n");
        expected += &format!("{file} {n}|ä 日本\n");
    }
    write(&at.join("unfinished"), &text);
    let name = at.join(format!("in/{file}.txt"));
    fs::rename(at.join("unfinished"), name).expect("the test's own folder");
    expected
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn paragraphs_of_a_deserializer_are_those_of_flume() {
    let place = Place::new();
    for side in ["flume", "ours"] {
        let dir = place.dir().join(side);
        let properties = properties(&dir);
        let expected = spool(&dir, 0);
        let ending = place.side(side, (&dir, &properties), &[]);
        wait::until(&format!("the paragraphs of {side}"), LIMIT, || {
            (read_below(&dir.join("out")).len() >= expected.len()).then_some(())
        });
        ending();
        let stored = read_below(&dir.join("out"));
        assert_eq!(String::from_utf8_lossy(&stored), expected, "{side}");
    }
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn a_killed_deserializer_repeats_its_open_batch_only() {
    let mut rng = seed::rng("flume_jars");
    let place = Place::new();
    let dir = place.dir();
    let mut agent = place.agent(&properties(dir), &place.class_path());
    agent.start();
    let (mut expected, mut kills) = (String::new(), 0);
    for file in 0..FILES {
        expected += &spool(dir, file);
        // The source looks for files every 500 ms.
        thread::sleep(Duration::from_millis(rng.random_range(300..1200)));
        let running = plugins(agent.process().pid());
        if file % 4 == 3 {
            agent.kill();
            wait_until_ended(&running);
            agent.start();
            kills += 1;
        } else {
            kills += usize::from(running.choose(&mut rng).copied().is_some_and(kill));
        }
    }
    wait::until("all paragraphs", LIMIT, || {
        let found = compare(expected.as_bytes(), &read_below(&dir.join("out")));
        (found.missing == 0).then_some(())
    });
    let left = plugins(agent.process().pid());
    agent.stop(LIMIT);
    wait_until_ended(&left);
    let found = compare(expected.as_bytes(), &read_below(&dir.join("out")));
    println!("{found}; {kills} kills");
    assert!(kills >= FILES / 2, "{kills} kills\n{}", tail(&agent.output()));
    let most = OF_BATCH * kills;
    assert!(found.missing + found.foreign == 0 && found.repeated <= most, "{most}: {found}");
}
