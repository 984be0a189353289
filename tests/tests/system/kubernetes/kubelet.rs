//! Logs in the layout of kubelet and runtime on a node.
//!
//! ```text
//!   pods/NAMESPACE_POD_UID/CONTAINER/0.log                    written by containerd
//!                                    0.log.20261127-030000    renamed by the kubelet
//!                                    0.log.20261127-020000.gz compressed by it, when renamed again
//!   pods/…/CONTAINER/0.log -> docker/ID/ID-json.log           written by Docker
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes at which a runtime splits a line.
const PART: usize = 16 << 10;

/// The log format of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Containerd,
    Docker,
}

/// A container of a pod, with its log.
#[derive(Debug)]
pub(crate) struct Container {
    runtime: Runtime,
    /// The origin in its events: `NAMESPACE/POD/UID/CONTAINER`.
    name: String,
    directory: PathBuf,
    /// Docker's folder for its files.
    docker: PathBuf,
    restarts: usize,
    renames: usize,
    log: File,
    /// Everything that it wrote, as [`Container::shown`].
    pub(crate) written: Vec<String>,
}

impl Container {
    pub(crate) fn new(root: &Path, runtime: Runtime, pod: [&str; 3], name: &str) -> Self {
        let [namespace, pod, uid] = pod;
        let directory = root.join(format!("pods/{namespace}_{pod}_{uid}/{name}"));
        fs::create_dir_all(&directory).expect("the test's own folder");
        let docker = root.join("docker");
        let name = format!("{namespace}/{pod}/{uid}/{name}");
        let log = begin(runtime, &directory, &docker, &name, 0);
        let (restarts, renames, written) = (0, 0, Vec::new());
        Self { runtime, name, directory, docker, restarts, renames, log, written }
    }

    /// Formats an event for the comparison.
    pub(crate) fn shown(name: &str, stream: &str, body: &str) -> String {
        format!("{name} {stream} {body}\n")
    }

    /// Writes a line of the container.
    pub(crate) fn write(&mut self, stream: &str, line: &str) {
        const TIME: &str = "2026-11-27T03:00:00.123456789Z";
        let parts: Vec<&[u8]> = line.as_bytes().chunks(PART).collect();
        for (number, part) in parts.iter().enumerate() {
            let part = std::str::from_utf8(part).expect("the lines of the test are ASCII");
            let is_last = number + 1 == parts.len();
            let entry = match self.runtime {
                Runtime::Containerd => {
                    format!("{TIME} {stream} {} {part}\n", if is_last { 'F' } else { 'P' })
                }
                Runtime::Docker => {
                    let text = format!("{part}{}", if is_last { "\n" } else { "" });
                    let text = serde_json::to_string(&text).expect("a text is JSON");
                    format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"{TIME}\"}}\n")
                }
            };
            self.log.write_all(entry.as_bytes()).expect("the test's own folder");
        }
        self.written.push(Self::shown(&self.name, stream, line));
    }

    /// The kubelet renames the log and compresses the previously renamed one. Docker renames its
    /// own.
    pub(crate) fn rotate(&mut self) {
        let (place, renamed) = (self.place(), self.renamed());
        self.renames += 1;
        fs::rename(&place, self.renamed()).expect("the test's own folder");
        self.log = open(&place);
        if self.runtime == Runtime::Containerd && renamed.exists() {
            let into = format!("{}.tmp", renamed.display());
            let compressed = Command::new("gzip").arg("-c").arg(&renamed).output();
            fs::write(&into, compressed.expect("gzip runs").stdout).expect("the test's own folder");
            fs::rename(&into, format!("{}.gz", renamed.display())).expect("the test's own folder");
            fs::remove_file(&renamed).expect("the test's own folder");
        }
    }

    /// Restarts the container, with a new log.
    pub(crate) fn restart(&mut self) {
        self.restarts += 1;
        let Self { runtime, directory, docker, name, restarts, .. } = self;
        self.log = begin(*runtime, directory, docker, name, *restarts);
    }

    fn place(&self) -> PathBuf {
        match self.runtime {
            Runtime::Containerd => self.directory.join(format!("{}.log", self.restarts)),
            Runtime::Docker => json_file(&self.docker, &self.name, self.restarts),
        }
    }

    /// Returns the name of the last renamed log.
    fn renamed(&self) -> PathBuf {
        match self.runtime {
            Runtime::Containerd => {
                let time = 30_000 + self.renames;
                PathBuf::from(format!("{}.20261127-0{time}", self.place().display()))
            }
            Runtime::Docker => PathBuf::from(format!("{}.1", self.place().display())),
        }
    }
}

fn json_file(docker: &Path, name: &str, restarts: usize) -> PathBuf {
    let id = format!("{}-{restarts}", name.replace('/', "-"));
    docker.join(&id).join(format!("{id}-json.log"))
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.expect("the test's own folder")
}

fn begin(runtime: Runtime, pod: &Path, docker: &Path, name: &str, restarts: usize) -> File {
    let place = pod.join(format!("{restarts}.log"));
    if runtime == Runtime::Containerd {
        return open(&place);
    }
    let target = json_file(docker, name, restarts);
    fs::create_dir_all(target.parent().expect("it is in a folder")).expect("the test's own folder");
    let log = open(&target);
    std::os::unix::fs::symlink(&target, &place).expect("the test's own folder");
    log
}
