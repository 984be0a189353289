//! Child processes: started with their output in a file, watched, measured through `/proc`, and
//! killed on drop.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};

/// A running program of a benchmark.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `<scratch>/<name>.out`.
    pub(crate) fn spawn(name: &str, mut command: Command, scratch: &Path) -> Result<Self> {
        let log = scratch.join(format!("{name}.out"));
        let file = File::create(&log).at("create", &log)?;
        let errors = file.try_clone().at("share", &log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .doing(|| format!("start {name} ({command:?})"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Fails if the process has exited, with the end of its output.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().doing(|| format!("wait for {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(Error::Program {
                program: self.name.clone(),
                status: format!("ended too early, {status}"),
                output: tail_of(&self.log),
            }),
        }
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its resource usage since the start.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::read(self.child.id())
    }

    /// Returns its activity since the start.
    pub(crate) fn activity(&self) -> Result<Activity> {
        Activity::of(self.child.id())
    }

    /// Waits until `ready` returns true, while the process is running.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        ready: impl FnMut() -> bool,
    ) -> Result<()> {
        self.watch(Duration::from_millis(20), what, limit, ready)
    }

    /// Same with another poll interval, which is the error of the measurement.
    pub(crate) fn watch(
        &mut self,
        look: Duration,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let started = Instant::now();
        while !ready() {
            self.check()?;
            if started.elapsed() > limit {
                let what = format!("{} {what}", self.name);
                return Err(Error::Timeout { what, seconds: limit.as_secs() });
            }
            thread::sleep(look);
        }
        Ok(())
    }

    /// Waits until something accepts connections at the local `port`.
    pub(crate) fn wait_for_port(&mut self, port: u16, limit: Duration) -> Result<()> {
        let address = ([127, 0, 0, 1], port).into();
        self.wait_for("to listen", limit, || TcpStream::connect::<SocketAddr>(address).is_ok())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited by itself; then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all its threads so far, in seconds.
    pub(crate) cpu_s: f64,
    /// Peak resident memory (`VmHWM`), in MiB.
    pub(crate) peak_rss_mib: f64,
}

impl Usage {
    /// Reads the figures of a running process.
    pub(crate) fn read(pid: u32) -> Result<Self> {
        let stat_path = PathBuf::from(format!("/proc/{pid}/stat"));
        let stat = fs::read_to_string(&stat_path).at("read", &stat_path)?;
        let status_path = PathBuf::from(format!("/proc/{pid}/status"));
        let status = fs::read_to_string(&status_path).at("read", &status_path)?;
        let cpu_s = cpu_seconds(&stat, 11).ok_or_else(|| bad_proc(&stat_path))?;
        let peak_rss_mib = mebibytes(&status, "VmHWM:").ok_or_else(|| bad_proc(&status_path))?;
        Ok(Self { cpu_s, peak_rss_mib })
    }
}

/// Activity of a thread so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Did {
    /// How often it went to sleep, and so woke up.
    pub(crate) wakes: u64,
    /// CPU time, in seconds, with nanosecond precision.
    pub(crate) cpu_s: f64,
}

/// Activity of the threads of a process, by thread id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Activity(BTreeMap<OsString, Did>);

impl Activity {
    /// Reads the figures of a running process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(&tasks).at("list", &tasks)? {
            let task = task.at("list", &tasks)?;
            let (thread, task) = (task.file_name(), task.path());
            // A thread may exit between the two reads.
            let (Ok(status), Ok(schedule)) = (
                fs::read_to_string(task.join("status")),
                fs::read_to_string(task.join("schedstat")),
            ) else {
                continue;
            };
            let wakes = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
            let wakes = wakes.and_then(|wakes| wakes.trim().parse::<u64>().ok());
            let nanos = schedule.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
            let wakes = wakes.ok_or_else(|| bad_proc(&task))?;
            let cpu_s = nanos.ok_or_else(|| bad_proc(&task))? / 1e9;
            threads.insert(thread, Did { wakes, cpu_s });
        }
        Ok(Self(threads))
    }

    /// Returns the activity of all current threads since `earlier`. The activity of threads that
    /// exited in between is lost.
    pub(crate) fn since(&self, earlier: &Self) -> Did {
        self.0.iter().fold(Did::default(), |sum, (thread, now)| {
            let then = earlier.0.get(thread).copied().unwrap_or_default();
            let wakes = sum.wakes + now.wakes.saturating_sub(then.wakes);
            Did { wakes, cpu_s: sum.cpu_s + (now.cpu_s - then.cpu_s).max(0.0) }
        })
    }
}

fn bad_proc(path: &Path) -> Error {
    Error::Answer { from: path.display().to_string(), detail: "no such field".to_owned() }
}

/// Returns the sum of the two tick counters that start at `field`, counted after the name in
/// parentheses (which may contain spaces): 11 for the process itself, 13 for its reaped children.
fn cpu_seconds(stat: &str, field: usize) -> Option<f64> {
    let after_name = stat.rsplit_once(") ")?.1;
    let mut ticks = after_name.split(' ').skip(field).map(str::parse::<f64>);
    let sum = ticks.next()?.ok()? + ticks.next()?.ok()?;
    Some(sum / rustix::param::clock_ticks_per_second() as f64)
}

/// Returns the current resident memory of this program, in MiB.
pub(crate) fn resident_mib() -> Result<f64> {
    let path = Path::new("/proc/self/status");
    let status = fs::read_to_string(path).at("read", path)?;
    mebibytes(&status, "VmRSS:").ok_or_else(|| bad_proc(path))
}

fn mebibytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Returns the CPU seconds of all reaped children of this program.
pub(crate) fn children_cpu_s() -> Result<f64> {
    let path = Path::new("/proc/self/stat");
    let stat = fs::read_to_string(path).at("read", path)?;
    cpu_seconds(&stat, 13).ok_or_else(|| bad_proc(path))
}

/// Runs a program to its end and returns its standard output.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().doing(|| format!("start {name} ({command:?})"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Program {
        program: name.to_owned(),
        status: output.status.to_string(),
        output: last_lines(&text),
    })
}

fn tail_of(path: &Path) -> String {
    fs::read(path).map_or_else(
        |error| format!("(no output: {error})"),
        |bytes| last_lines(&String::from_utf8_lossy(&bytes)),
    )
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_does_not_shift_the_fields() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 200 100 20 0 1 0 5 1 1";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat, 11), Some(200.0 / ticks));
        assert_eq!(cpu_seconds(stat, 13), Some(300.0 / ticks));
    }

    #[test]
    fn a_thread_that_slept_is_counted() {
        // Not this process, because threads of other tests come and go in it.
        let mut sleeper = Command::new("sh");
        let mut sleeper = sleeper.args(["-c", "while :; do sleep 0.01; done"]).spawn().unwrap();
        let before = Activity::of(sleeper.id()).unwrap();
        let grew = (0..1_000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            let did = Activity::of(sleeper.id()).unwrap().since(&before);
            did.wakes > 0 && did.cpu_s > 0.0
        });
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(grew, "in ten seconds of sleeping and waking");
    }

    #[test]
    fn a_thread_that_ended_takes_nothing_from_the_others() {
        let did = |wakes| Did { wakes, cpu_s: wakes as f64 };
        let of = |threads: &[(&str, u64)]| {
            Activity(threads.iter().map(|(name, wakes)| ((*name).into(), did(*wakes))).collect())
        };
        let (before, after) = (of(&[("1", 5), ("2", 900)]), of(&[("1", 7), ("3", 4)]));
        assert_eq!(after.since(&before), did(6));
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(Usage::read(std::process::id()).unwrap().peak_rss_mib > 0.5);
    }

    #[test]
    fn a_program_that_ends_too_early_is_reported_with_its_last_words() {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck; exit 3"]);
        let mut process = Process::spawn("sh", command, scratch.path()).unwrap();
        let error = process.wait_for_port(1, Duration::from_secs(10));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("no such luck") && text.contains('3'), "{text}");
    }
}
