//! Goal: a file put into a directory is in HDFS once, complete, with the same bytes and the same
//! name, although the edge and both collectors are killed during the transfer.
//!
//! Method: an edge with a channel smaller than the largest file sends pieces in turn to two
//! collectors, which store in one directory of a real HDFS. During the transfers, the edge and each
//! collector are killed (-9) and restarted. A reader lists the directory by HTTP and requires each
//! visible file to be complete. Finally, Hadoop's own shell downloads the directory, and the result
//! is compared byte for byte: the files, and nothing else except a record of each.
//!
//! Lane: core
//! Needs: hdfs
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::{http, seed, wait};
use rand::prelude::*;

const MIB: usize = 1 << 20;
/// Timeout until all is in HDFS.
const PATIENCE: Duration = Duration::from_secs(120);
/// Timeout of a stop.
const STOP: Duration = Duration::from_secs(25);

/// Returns the files: their names, and bytes.
fn files(rng: &mut impl Rng) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (name, bytes) in [
        ("empty.bin", 0),
        ("one byte", 1),
        ("a b/exactly a piece.bin", MIB),
        ("a b/\u{fc}n\u{ef}c\u{f6}de/less.bin", MIB - 1),
        ("a b/\u{fc}n\u{ef}c\u{f6}de/\u{1f980}.tar.gz", MIB + 1),
        ("some.bin", 5 * MIB + 77),
        ("large/\u{4e2d}\u{6587}.img", 100 * MIB + 12_345),
    ] {
        let mut content = vec![0; bytes];
        rng.fill(&mut content[..]);
        files.insert(name.to_owned(), content);
    }
    files
}

fn edge(dir: &Path, collectors: [SocketAddr; 2]) -> Agent {
    let [one, two] = collectors;
    let text = format!(
        "[agent]\ndata_dir = \"{data}\"\n\
         [sources.outbox]\ntype = \"spool_dir\"\ndirectory = \"{outbox}\"\nrecursive = true\n\
         pieces = {{ size = \"1MiB\" }}\npoll_delay = \"50ms\"\nsettle = \"0s\"\n\
         channels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [groups.collectors]\ntype = \"load_balance\"\nchannel = \"main\"\n\
         sinks = [\"one\", \"two\"]\n\
         [sinks.one]\ntype = \"grpc\"\naddress = \"{one}\"\nresend_after = \"2s\"\n\
         [sinks.two]\ntype = \"grpc\"\naddress = \"{two}\"\nresend_after = \"2s\"\n",
        data = dir.join("edge").display(),
        outbox = dir.join("outbox").display(),
    );
    Agent::configured("aqueduct-edge", dir, "edge", &text)
}

fn collector(dir: &Path, name: &str, listen: SocketAddr, url: &str, hdfs: &Hdfs) -> Agent {
    let text = format!(
        "[agent]\ndata_dir = \"{data}\"\n\
         [sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.landing]\ntype = \"files\"\nurl = \"{url}\"\nchannel = \"main\"\n",
        data = dir.join(name).display(),
    );
    Agent::configured("aqueduct-collector", dir, name, &text).with_conf_dir(hdfs.conf_dir())
}

/// Encodes a path for a URL.
fn encoded(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let one = |byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(one).collect()
}

/// Returns the size of a file as readers see it, if it exists.
fn length(hdfs: &Hdfs, path: &str) -> Option<u64> {
    let path = format!("/webhdfs/v1{}?op=GETFILESTATUS", encoded(path));
    let (_, body) =
        http::get_from_java(hdfs.web_address(), &path).filter(|(status, _)| *status == 200)?;
    let length = body.split("\"length\":").nth(1)?;
    length.split([',', '}']).next()?.parse().ok()
}

/// Returns the number of stored parts of unfinished files.
fn parts(hdfs: &Hdfs, prefix: &str) -> u64 {
    let path = format!("/webhdfs/v1{prefix}/_aqueduct/files/parts?op=GETCONTENTSUMMARY");
    let body = http::get(hdfs.web_address(), &path).map(|(_, body)| body).unwrap_or_default();
    let files = body.split("\"fileCount\":").nth(1).and_then(|it| it.split(',').next());
    files.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Returns all files below a directory, by their relative paths.
fn below(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut open, mut found) = (vec![directory.to_owned()], BTreeMap::new());
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a directory that was fetched") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("it is below").display().to_string();
                found.insert(name, fs::read(&path).expect("a file that was fetched"));
            }
        }
    }
    found
}

/// Waits until this many parts are in HDFS, or all files are complete; each visible file must be
/// complete. Returns whether a transfer is in progress.
fn until_parts(hdfs: &Hdfs, prefix: &str, files: &BTreeMap<String, Vec<u8>>, least: u64) -> bool {
    wait::until(&format!("{least} parts in HDFS"), PATIENCE, || {
        let is_done = all_whole(hdfs, prefix, files);
        (is_done || parts(hdfs, prefix) >= least).then_some(!is_done)
    })
}

/// Returns whether readers see all files. Each visible file must be complete.
fn all_whole(hdfs: &Hdfs, prefix: &str, files: &BTreeMap<String, Vec<u8>>) -> bool {
    let seen = files.iter().filter(|(name, content)| {
        let length = length(hdfs, &format!("{prefix}/{name}"));
        assert!(length.is_none_or(|it| it == content.len() as u64), "{name}: {length:?} bytes");
        length.is_some()
    });
    seen.count() == files.len()
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn each_file_is_in_hdfs_once_and_whole_over_kills_of_edge_and_collectors() {
    let hdfs = Hdfs::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let (mut rng, began) = (seed::rng("files_whole"), Instant::now());
    let prefix = format!("/files-{:x}", rng.random::<u64>());
    let files = files(&mut rng);
    let outbox = dir.join("outbox");
    for (name, content) in &files {
        let path = outbox.join(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("the outbox");
        fs::write(path, content).expect("a file in the outbox");
    }
    let url = format!("{}{prefix}", hdfs.url());
    let listens = [http::free_address(), http::free_address()];
    let mut collectors = [("one", listens[0]), ("two", listens[1])]
        .map(|(name, listen)| collector(dir, name, listen, &url, hdfs));
    let mut edge = edge(dir, listens);
    collectors.iter_mut().for_each(Agent::start);
    edge.start();

    let mut under_way = u32::from(until_parts(hdfs, &prefix, &files, 5));
    edge.kill();
    edge.start();
    for (killed, least) in [(0, 20), (1, 40), (0, 70)] {
        under_way += u32::from(until_parts(hdfs, &prefix, &files, least));
        collectors[killed].kill();
        collectors[killed].start();
    }
    assert!(under_way >= 3, "a file was on its way at {under_way} of 4 kills only");
    let put = began.elapsed();
    wait::until("all files in HDFS", PATIENCE, || {
        let is_done = all_whole(hdfs, &prefix, &files) && parts(hdfs, &prefix) == 0;
        is_done.then_some(())
    });
    let is_finished = || below(&outbox).keys().all(|name| name.ends_with(".COMPLETED"));
    wait::until("the files to be finished", PATIENCE, || is_finished().then_some(()));
    edge.stop(STOP);
    collectors.iter_mut().for_each(|it| it.stop(STOP));

    let fetched = dir.join("fetched");
    hdfs.fs(&["-get", &prefix, &fetched.display().to_string()]);
    let (records, visible): (BTreeMap<_, _>, BTreeMap<_, _>) =
        below(&fetched).into_iter().partition(|(name, _)| name.starts_with("_aqueduct/"));
    let names: Vec<&String> = visible.keys().collect();
    assert_eq!(names, files.keys().collect::<Vec<_>>(), "files that readers see");
    assert!(visible == files, "the bytes of a file differ");
    let is_left = |name: &&String| {
        // A temporary file of a killed collector is deleted after an hour.
        !name.starts_with("_aqueduct/files/done/") && !name.starts_with("_aqueduct/files/work/")
    };
    assert_eq!(records.keys().find(is_left), None, "nothing else is left");
    let done = records.keys().filter(|name| name.contains("/done/")).count();
    assert_eq!(done, files.len(), "a record of each file");
    hdfs.fs(&["-rm", "-r", "-skipTrash", &prefix]);
    let bytes: usize = files.values().map(Vec::len).sum();
    eprintln!(
        "{} files, {bytes} bytes; {under_way} of 4 kills hit one on its way, the last at {put:?}; \
         all in HDFS after {:?}",
        files.len(),
        began.elapsed()
    );
}
