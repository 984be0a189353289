//! A channel selector by header and size: each channel stores what it stores in Flume 1.11, and
//! each line once while the virtual machine of the selector is killed.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::program;
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::{KILLS, LIMIT, LINES, Place, kill};
use crate::plugins::{plugins, wait_until_ended, write};

const CHANNELS: [&str; 3] = ["short", "long", "alarms"];

fn properties(at: &Path, channel: &str) -> String {
    let at = at.display();
    let mut text = format!(
        "a.sources = s\na.channels = short long alarms\na.sinks = short long alarms\n\
         a.sources.s.type = TAILDIR\na.sources.s.positionFile = {at}/p.json\n\
         a.sources.s.filegroups = f\na.sources.s.filegroups.f = {at}/app.log\n\
         a.sources.s.channels = short long alarms\na.sources.s.batchSize = 20\n\
         a.sources.s.interceptors = i\na.sources.s.interceptors.i.type = regex_extractor\n\
         a.sources.s.interceptors.i.regex = level=(\\\\w+)\n\
         a.sources.s.interceptors.i.serializers = l\n\
         a.sources.s.interceptors.i.serializers.l.name = level\n\
         a.sources.s.selector.type = com.example.flume.SizeSelector\n\
         a.sources.s.selector.most = 24\na.sources.s.selector.alarms = alarms\n"
    );
    for name in CHANNELS {
        text += &format!(
            "a.channels.{name}.type = {channel}\na.channels.{name}.checkpointDir = {at}/{name}/c\n\
             a.channels.{name}.dataDirs = {at}/{name}/d\na.sinks.{name}.type = file_roll\n\
             a.sinks.{name}.channel = {name}\na.sinks.{name}.sink.rollInterval = 0\n\
             a.sinks.{name}.sink.directory = {at}/out/{name}\n"
        );
        fs::create_dir_all(format!("{at}/out/{name}")).expect("the test's own folder");
    }
    text
}

/// Returns lines, and those that the selector has for each channel.
fn lines(round: usize) -> (String, [String; 3]) {
    let (mut all, mut parts) = (String::new(), [(); 3].map(|()| String::new()));
    for n in 0..LINES {
        let level = ["info", "error", "none", "warn"][n % 4];
        let line = format!("level={level} {round} {n}{}\n", " long".repeat(n % 3));
        all += &line;
        if level != "none" {
            parts[usize::from(line.len() - 1 > 24)] += &line;
        }
        if level == "error" {
            parts[2] += &line;
        }
    }
    (all, parts)
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn channels_of_a_selector_are_those_of_flume() {
    let place = Place::new();
    let (all, parts) = lines(0);
    for side in ["flume", "ours"] {
        let dir = place.dir().join(side);
        let properties = properties(&dir, "file");
        write(&dir.join("app.log"), &all);
        let is_stored = || {
            CHANNELS
                .iter()
                .zip(&parts)
                .all(|(name, part)| read_below(&dir.join("out").join(name)).len() >= part.len())
        };
        let pure = ["--pure", "com.example.flume.SizeSelector"];
        let running = place.side(side, (&dir, &properties), &pure);
        wait::until(&format!("the lines of {side}"), LIMIT, || is_stored().then_some(()));
        running();
        for (name, part) in CHANNELS.iter().zip(&parts) {
            let stored = read_below(&dir.join("out").join(name));
            assert_eq!(String::from_utf8_lossy(&stored), *part, "{side}: {name}");
        }
    }
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn lines_of_a_selector_are_in_their_channels_once_while_it_is_killed() {
    let mut rng = seed::rng("flume_jars");
    let place = Place::new();
    let dir = place.dir();
    let properties = properties(dir, "file");
    let log = dir.join("app.log");
    write(&log, "");
    let pure = ["--pure", "com.example.flume.SizeSelector"];
    let mut agent = place.agent_with(&properties, &place.class_path(), &pure);
    agent.start();
    let pid = agent.process().pid();
    let (mut parts, mut kills) = ([(); 3].map(|()| String::new()), 0);
    for round in 0..KILLS {
        let (all, more) = lines(round);
        for line in all.split_inclusive('\n') {
            write(&log, line);
        }
        parts.iter_mut().zip(&more).for_each(|(part, more)| *part += more);
        thread::sleep(Duration::from_millis(rng.random_range(0..500)));
        let running = wait::until("the virtual machine", LIMIT, || {
            Some(plugins(pid)).filter(|running| !running.is_empty())
        });
        kills += usize::from(running.choose(&mut rng).copied().is_some_and(kill));
    }
    assert!(kills >= KILLS / 2, "{kills} kills");
    let stored = |name: &str| read_below(&dir.join("out").join(name));
    for (name, part) in CHANNELS.iter().zip(&parts) {
        wait::until(&format!("all lines of {name}"), LIMIT, || {
            let found = compare(part.as_bytes(), &stored(name));
            (found.missing == 0).then_some(())
        });
    }
    let left = plugins(agent.process().pid());
    agent.stop(LIMIT);
    wait_until_ended(&left);
    let output = agent.output();
    for (name, part) in CHANNELS.iter().zip(&parts) {
        let found = compare(part.as_bytes(), &stored(name));
        println!("{name}: {found}; {kills} kills");
        assert!(found.is_none(), "{name}: {found}\n{}", tail(&output));
    }
}

#[test]
#[ignore = "needs the programs and Java: tests/run"]
fn a_selector_that_may_change_its_choice_is_refused_with_the_remedy() {
    let place = Place::new();
    let properties = properties(place.dir(), "file");
    let conf = place.dir().join("flume.conf");
    write(&conf, &properties);
    let mut command = program("aqueduct");
    command.args(["agent", "-n", "a", "-C", &place.class_path()]);
    command
        .env("AQUEDUCT_FLUME_JAR", &place.jar)
        .arg("-f")
        .arg(&conf)
        .arg("--data-dir")
        .arg(place.dir().join("data"));
    let output = command.output().expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("`--pure CLASS`"), "{text}");
}
