//! Goal: an edge with a full disk starts, delivers its events, which frees space, and continues. A
//! channel that cannot be created yet does not block others.
//!
//! Method: the programs with a `file://` store. The edge's data are on a small separate file
//! system, in memory or on a loop device with ext4, which another file fills to the last block; it
//! is filled again after each start. The test checks that each line is in the store once.
//!
//! Lane: core
//! Needs: mkfs.ext4 mount
//! Root: yes
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, wait_until_delivered};
use aqueduct_tests::http;
use aqueduct_tests::mounted::Mounted;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;
use aqueduct_tests::wait;

const LIMIT: Duration = Duration::from_secs(90);
const LINES: usize = 200_000;
/// Number of additional logs that exceed a small disk.
const PARTS: usize = 16;

/// Returns small disks: in memory, and on ext4.
fn small_disks(site: &Site, bytes: u64) -> [Box<dyn Fn() -> std::io::Result<Mounted>>; 2] {
    let (directory, image) = (site.path().join("edge"), site.path().join("edge.img"));
    let mounted_at = directory.clone();
    let ext4 = move || {
        File::create(&image)?.set_len(bytes)?;
        Mounted::new(&image, &mounted_at, true)
    };
    [Box::new(move || Mounted::in_memory(bytes, &directory)), Box::new(ext4)]
}

fn gauge(edge: &Agent, name: &str, wanted: impl Fn(f64) -> bool) {
    wait::until(&format!("a good value of {name}"), LIMIT, || {
        edge.metrics()?.sum(name).filter(|value| wanted(*value)).map(drop)
    });
}

#[test]
#[ignore = "needs the programs and root: tests/run"]
fn edge_restarted_on_a_full_disk_delivers_while_it_stays_full() {
    for kind in 0..2 {
        let site = Site::new();
        let disk = small_disks(&site, 144 << 20)[kind]().expect("a small disk");
        let (mut edge, mut collector) = (site.edge(), site.collector());
        edge.start();
        site.log("held", LINES);
        gauge(&edge, "aqueduct_channel_events", |events| events >= LINES as f64);
        disk.fill().expect("a full disk");
        site.log("while-full", LINES);
        for _ in 0..3 {
            edge.kill();
            edge.start();
            thread::sleep(Duration::from_secs(1));
            disk.fill().expect("a full disk");
        }
        collector.start();
        wait_until_delivered(&edge, LIMIT);
        gauge(&edge, "aqueduct_channel_intake_stopped", |stopped| stopped == 0.0);
        site.log("afterwards", LINES);
        wait_until_delivered(&edge, LIMIT);
        site.wait_until_stored(3 * LINES);
        edge.stop(Duration::from_secs(25));
        collector.stop(Duration::from_secs(25));
        site.prove();
        let found = compare(&site.logged(), &site.stored());
        assert!(found.is_none(), "{found}");
        drop(disk);
    }
}

#[test]
#[ignore = "needs the programs and root: tests/run"]
fn disk_smaller_than_two_segments_is_used_and_intake_resumes() {
    for kind in 0..2 {
        let site = Site::new();
        let disk = small_disks(&site, 64 << 20)[kind]().expect("a small disk");
        let (mut edge, mut collector) = (site.edge(), site.collector());
        edge.start();
        for part in 0..PARTS {
            site.log(&format!("part-{part}"), LINES);
        }
        gauge(&edge, "aqueduct_channel_intake_stopped", |stopped| stopped == 1.0);
        let bytes = edge.metrics().and_then(|metrics| metrics.sum("aqueduct_channel_bytes"));
        assert!(bytes >= Some((20 << 20).into()), "it stopped at {bytes:?} bytes of 64 MiB");
        edge.until_logged("the channel has stopped accepting events", LIMIT);
        collector.start();
        wait_until_delivered(&edge, LIMIT);
        gauge(&edge, "aqueduct_channel_intake_stopped", |stopped| stopped == 0.0);
        edge.until_logged("the channel accepts events again", LIMIT);
        site.wait_until_stored(PARTS * LINES);
        edge.stop(Duration::from_secs(25));
        collector.stop(Duration::from_secs(25));
        let found = compare(&site.logged(), &site.stored());
        assert!(found.is_none(), "{found}");
        drop(disk);
    }
}

#[test]
#[ignore = "needs the programs and root: tests/run"]
fn first_start_on_a_full_disk_leaves_a_directory_that_starts_again() {
    for kind in 0..2 {
        let site = Site::new();
        let disk = small_disks(&site, 64 << 20)[kind]().expect("a small disk");
        let (mut edge, mut collector) = (site.edge(), site.collector());
        collector.start();
        for _ in 0..2 {
            disk.fill().expect("a full disk");
            edge.start();
            edge.until_logged("cannot write the file `format` in the data directory", LIMIT);
            edge.kill();
        }
        std::fs::remove_file(disk.directory().join("ballast")).expect("room");
        for part in 1..=2 {
            edge.start();
            site.log(&format!("part-{part}"), LINES / 100);
            site.wait_until_stored(part * (LINES / 100));
            edge.kill();
        }
        let format = std::fs::read_to_string(disk.directory().join("format"));
        assert_eq!(format.expect("a format"), "1\n");
        collector.stop(Duration::from_secs(25));
        let found = compare(&site.logged(), &site.stored());
        assert!(found.is_none(), "{found}");
        drop(disk);
    }
}

/// Configures logs and a channel for each of these names.
fn separate_ways(site: &Site, collector: &str, names: &[&str]) -> String {
    let at = |name: &str| site.path().join(name).display().to_string();
    let mut text = format!("[agent]\nname = \"e\"\ndata_dir = \"{}\"\n", at("edge"));
    for name in names {
        text += &format!(
            "[sources.{name}]\ntype = \"tail_dir\"\npaths = [\"{}\"]\nchannels = [\"{name}\"]\n\
             interceptors = [{{ type = \"timestamp\" }}]\n\
             [channels.{name}]\ntype = \"durable\"\ncapacity = \"16MiB\"\n\
             [sinks.{name}]\ntype = \"grpc\"\naddress = \"{collector}\"\nchannel = \"{name}\"\n",
            at(&format!("logs/{name}-*.log")),
        );
    }
    text
}

#[test]
#[ignore = "needs the programs and root: tests/run"]
fn a_channel_that_waits_for_inodes_is_opened_later_and_holds_up_nothing() {
    let site = Site::new();
    let directory = site.path().join("edge");
    let disk = Mounted::with_inodes(256 << 20, 200, &directory).expect("a small disk");
    let mut collector = site.collector();
    collector.start();
    let file = site.path().join("edge.toml");
    let configure = |names: &[&str]| {
        let text = separate_ways(&site, &site.listen().to_string(), names);
        std::fs::write(&file, text).expect("a configuration is written");
    };
    let config = file.display().to_string();
    let log = site.path().join("edge.out");
    let mut edge = Agent::new("aqueduct-edge", &["--config", &config], &log);
    configure(&["old"]);
    edge.start();
    site.log("old-1", LINES / 100);
    wait_until_delivered(&edge, LIMIT);
    edge.stop(Duration::from_secs(25));
    let ballast = use_up_inodes(disk.directory());

    configure(&["new", "old"]);
    edge.start();
    let (status, said) = http::get(edge.admin(), "/readyz").expect("the edge answers");
    assert!(status == 503 && said.contains("channel `new` has not been open for "), "{said}");
    assert!(said.contains("inodes"), "{said}");
    site.log("old-2", LINES / 100);
    site.log("new-1", LINES / 100);
    site.wait_until_stored(2 * (LINES / 100));
    let (_, said) = http::get(edge.admin(), "/status").expect("the edge answers");
    assert!(said.contains("channel `new`, which is not open"), "{said}");
    for page in ["/metrics", "/account"] {
        assert_eq!(http::get(edge.admin(), page).expect("the edge answers").0, 200);
    }
    edge.stop(Duration::from_secs(25));
    edge.start();
    std::fs::remove_dir_all(ballast).expect("the inodes are given back");
    wait::until("the channel to be open", LIMIT, || {
        http::get(edge.admin(), "/readyz").filter(|(status, _)| *status == 200)
    });
    site.wait_until_stored(3 * (LINES / 100));
    wait_until_delivered(&edge, LIMIT);
    let said = edge.output();
    assert!(
        said.contains("cannot create the channel") && said.contains("the channel is open"),
        "{said}"
    );
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
}

/// Creates files until the file system has no free inode.
fn use_up_inodes(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    std::fs::create_dir(&ballast).expect("a folder");
    for number in 0.. {
        match File::create(ballast.join(number.to_string())) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            Err(error) => panic!("{error}"),
        }
    }
    ballast
}
