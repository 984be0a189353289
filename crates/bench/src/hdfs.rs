//! A real HDFS for a benchmark, and Hadoop's own clients to inspect it.
//!
//! `deploy/hadoop/hdfs` starts the cluster: one NameNode and one DataNode as separate processes.
//! Files are watched through WebHDFS and read back with the file system shell, so that no code of
//! this project judges itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::access_log::{AccessLog, Tally};
use crate::cache::scratch_in;
use crate::error::{Doing, Error, Result};
use crate::{http, process};

/// A running HDFS; its processes are stopped on drop.
#[derive(Debug)]
pub(crate) struct Hdfs {
    script: PathBuf,
    dir: PathBuf,
    url: String,
    http_port: u16,
    serve: Child,
    /// The script stops the cluster when this closes, even if this process is killed.
    lifeline: Option<ChildStdin>,
    /// Folder of its blocks, if separate from its other files.
    _blocks: Option<TempDir>,
    /// Whether it runs with low priority.
    steps_back: bool,
}

/// How to run a cluster.
#[derive(Debug, Default)]
pub(crate) struct Manner<'a> {
    /// Stores its blocks in a new folder of this one, on a separate disk.
    pub(crate) blocks: Option<&'a Path>,
    /// Runs it with low priority.
    pub(crate) steps_back: bool,
}

/// Returns the script that runs a cluster.
fn command(script: &Path, steps_back: bool) -> Command {
    if !steps_back {
        return Command::new(script);
    }
    let mut command = Command::new("nice");
    command.arg(script);
    command
}

/// A finished file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VisibleFile {
    /// Its name in the folder.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

impl Hdfs {
    /// Starts a cluster with its files in `dir`; downloads its jars at the first use.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        Self::start_as(&Manner::default(), dir)
    }

    /// Same with these options.
    pub(crate) fn start_as(manner: &Manner<'_>, dir: &Path) -> Result<Self> {
        let blocks = manner.blocks.map(scratch_in).transpose()?;
        if let Some(blocks) = &blocks {
            fs::create_dir_all(dir).at("create", dir)?;
            let link = dir.join("data1");
            symlink(blocks.path(), &link).at("create", &link)?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/hadoop/hdfs");
        let steps_back = manner.steps_back;
        let mut serve = command(&script, steps_back)
            .arg("serve")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .at("run", &script)?;
        let lifeline = serve.stdin.take();
        let stdout = serve.stdout.take().expect("stdout is piped");
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url).at("read from", &script)?;
        let url = url.trim().to_owned();
        if !url.starts_with("hdfs://") {
            let _ = serve.wait();
            return Err(Error::Program {
                program: "deploy/hadoop/hdfs serve".to_owned(),
                status: "no URL".to_owned(),
                output: url,
            });
        }
        let http_port = http_port(dir)?;
        let (dir, _blocks) = (dir.to_owned(), blocks);
        Ok(Self { script, dir, url, http_port, serve, lifeline, _blocks, steps_back })
    }

    /// Returns `hdfs://host:port`, without a path.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the folder of `core-site.xml`, for clients.
    pub(crate) fn conf_dir(&self) -> PathBuf {
        self.dir.join("conf")
    }

    /// Returns a file system shell command.
    pub(crate) fn shell(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.arg("fs").arg(&self.dir).args(args);
        command
    }

    /// Returns the finished files directly in `folder`; empty if it does not exist yet. As
    /// everywhere in Hadoop, names that start with `.` or `_` are hidden; Flume is still writing
    /// files with `.tmp`.
    pub(crate) fn visible(&self, folder: &str) -> Result<Vec<VisibleFile>> {
        let path = format!("/webhdfs/v1{folder}?op=LISTSTATUS&user.name=root");
        let (status, body) = http::get(self.http_port, &path)?;
        match status {
            200 => visible_files(&body).ok_or_else(|| Error::Answer {
                from: path,
                detail: String::from_utf8_lossy(&body).into_owned(),
            }),
            404 => Ok(Vec::new()),
            _ => Err(Error::Answer { from: path, detail: format!("status {status}") }),
        }
    }

    /// Reads all finished files of `folder` back and compares them with `log`.
    pub(crate) fn compare(&self, folder: &str, log: &AccessLog, path_name: &str) -> Result<()> {
        let names: Vec<_> =
            self.visible(folder)?.iter().map(|file| format!("{folder}/{}", file.name)).collect();
        let mut args = vec!["-cat"];
        args.extend(names.iter().map(String::as_str));
        let mut child = self
            .shell(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .at("run", &self.script)?;
        let mut tally = Tally::new(log.lines);
        let stdout = child.stdout.take().expect("stdout is piped");
        let read = tally.read(stdout);
        let status = child.wait().at("wait for", &self.script)?;
        read.at("read from", &self.script)?;
        if !status.success() {
            return Err(Error::Program {
                program: "hdfs fs -cat".to_owned(),
                status: status.to_string(),
                output: names.join(" "),
            });
        }
        tally.verdict(log, path_name)
    }

    pub(crate) fn kill_namenode(&self) -> Result<()> {
        self.control("kill")
    }

    /// Restarts the NameNode and waits until HDFS is writable.
    pub(crate) fn revive_namenode(&self) -> Result<()> {
        self.control("revive")
    }

    fn control(&self, what: &str) -> Result<()> {
        let mut script = command(&self.script, self.steps_back);
        script.arg(what).arg(&self.dir).arg("namenode");
        process::run(&format!("deploy/hadoop/hdfs {what}"), &mut script)?;
        Ok(())
    }

    /// Deletes a folder immediately, so that each run starts with the same free space.
    pub(crate) fn delete(&self, folder: &str) -> Result<()> {
        process::run("hdfs fs -rm", &mut self.shell(&["-rm", "-r", "-f", "-skipTrash", folder]))?;
        Ok(())
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.serve.wait();
    }
}

/// Reads the port from `DIR/ports`, where the script writes `rpc=N http=N`.
fn http_port(dir: &Path) -> Result<u16> {
    let path = dir.join("ports");
    let text = fs::read_to_string(&path).at("read", &path)?;
    text.split_whitespace()
        .find_map(|word| word.strip_prefix("http=")?.parse().ok())
        .ok_or_else(|| Error::Answer { from: path.display().to_string(), detail: text })
}

fn visible_files(body: &[u8]) -> Option<Vec<VisibleFile>> {
    let page: Value = serde_json::from_slice(body).ok()?;
    let entries = page.get("FileStatuses")?.get("FileStatus")?.as_array()?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.get("pathSuffix")?.as_str()?;
        let hidden = name.starts_with(['.', '_']) || name.ends_with(".tmp");
        if hidden || entry.get("type")?.as_str()? != "FILE" {
            continue;
        }
        files.push(VisibleFile { name: name.to_owned(), bytes: entry.get("length")?.as_u64()? });
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_unfinished_and_nested_entries_are_not_visible_files() {
        let page = br#"{"FileStatuses":{"FileStatus":[
            {"pathSuffix":"a.log","type":"FILE","length":7},
            {"pathSuffix":"b.log.tmp","type":"FILE","length":9},
            {"pathSuffix":"_staged","type":"FILE","length":9},
            {"pathSuffix":".hidden","type":"FILE","length":9},
            {"pathSuffix":"sub","type":"DIRECTORY","length":0}]}}"#;
        let expected = VisibleFile { name: "a.log".to_owned(), bytes: 7 };
        assert_eq!(visible_files(page), Some(vec![expected]));
        assert_eq!(visible_files(b"<html>"), None);
    }
}
