//! The campaign: starts a writer, lets it work, cuts the power, and compares; repeatedly.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use aqueduct_tests::mounted::Mounted;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::fs::{OFlags, fcntl_setfl};

use crate::device::{Device, FILE};

const DISK_BYTES: u64 = 160 << 20;

/// Cuts per writer, before a new one starts on a new disk.
const CUTS_PER_WRITER: u32 = 10;

/// The writer's output so far.
#[derive(Default)]
struct Promise {
    acknowledged: HashSet<u64>,
    committing: HashSet<u64>,
}

/// Makes `cuts` power cuts. Returns whether none of them lost anything; with `lie`, whether some
/// lost something.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(crate) fn campaign(cuts: u32, seed: u64, lie: bool) -> io::Result<bool> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut done, mut bad, mut promised) = (0, 0, 0);
    while done < cuts {
        let scratch = tempfile::tempdir()?;
        let mut victim = Victim::start(scratch.path(), lie)?;
        for _ in 0..CUTS_PER_WRITER.min(cuts - done) {
            // A prime spread in microseconds keeps cuts independent of the writer's rhythm.
            victim.writer.work(Duration::from_micros(random.random_range(50_000..400_009)))?;
            let cut_seed = random.random();
            let outcome = victim.cut(scratch.path(), cut_seed)?;
            done += 1;
            promised += outcome.promised;
            if let Some(problem) = outcome.problem {
                bad += 1;
                println!("cut {done} (seed {cut_seed}): {problem}");
            }
        }
        println!(
            "{done} of {cuts} cuts, {bad} with losses, {} syncs of the disk",
            victim.device.syncs()
        );
    }
    println!("{cuts} cuts, seed {seed}: {bad} lost something; {promised} batches were promised");
    if promised == 0 {
        return Err(io::Error::other("nothing was ever acknowledged, so nothing was tested"));
    }
    Ok((bad > 0) == lie)
}

struct Outcome {
    promised: u64,
    problem: Option<String>,
}

/// A writer on its own disk. Fields are dropped in this order: process, mount, disk.
struct Victim {
    writer: Writer,
    _mounted: Mounted,
    device: Device,
}

struct Writer {
    process: Child,
    output: ChildStdout,
    /// An incomplete line of its output.
    partial: Vec<u8>,
    promise: Promise,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have exited by itself; in any case it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Writer {
    fn start(directory: &Path, lie: bool) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("write").arg(directory).stdout(Stdio::piped());
        if lie {
            command.arg("--lie");
        }
        let mut process = command.spawn()?;
        let output = process.stdout.take().expect("the output is piped");
        fcntl_setfl(&output, OFlags::NONBLOCK)?;
        Ok(Self { process, output, partial: Vec::new(), promise: Promise::default() })
    }

    /// Reads all output so far.
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.output.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.partial.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let lines = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.partial.split_off(lines);
        let heard = std::mem::replace(&mut self.partial, rest);
        for line in String::from_utf8_lossy(&heard).lines() {
            match line.split_once(' ').and_then(|(what, n)| Some((what, n.parse().ok()?))) {
                Some(("A", number)) => drop(self.promise.acknowledged.insert(number)),
                Some(("C", number)) => drop(self.promise.committing.insert(number)),
                _ => return Err(io::Error::other(format!("the writer said `{line}`"))),
            }
        }
        Ok(())
    }

    /// Lets it work for a while, and reads its output, so that its pipe never fills.
    fn work(&mut self, time: Duration) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..time.as_micros() / STEP.as_micros() {
            thread::sleep(STEP);
            self.hear()?;
        }
        if let Some(status) = self.process.try_wait()? {
            return Err(io::Error::other(format!("the writer ended by itself: {status}")));
        }
        Ok(())
    }
}

impl Victim {
    fn start(scratch: &Path, lie: bool) -> io::Result<Self> {
        let fuse = scratch.join("fuse");
        std::fs::create_dir_all(&fuse)?;
        let device = Device::mount(&fuse, DISK_BYTES)?;
        let mounted = Mounted::new(&fuse.join(FILE), &scratch.join("disk"), true)?;
        let writer = Writer::start(mounted.directory(), lie)?;
        Ok(Self { writer, _mounted: mounted, device })
    }

    fn cut(&mut self, scratch: &Path, seed: u64) -> io::Result<Outcome> {
        // Output read before the cut was acknowledged before it. A commit counts until after the
        // cut: it may be on the disk while its line is still in the pipe.
        self.writer.hear()?;
        let acknowledged = self.writer.promise.acknowledged.clone();
        let image = scratch.join("image");
        let survivors = self.device.cut(&image, DISK_BYTES, seed)?;
        self.writer.hear()?;
        let promised: HashSet<u64> =
            acknowledged.difference(&self.writer.promise.committing).copied().collect();
        let problem = match read_back(&image, &scratch.join("after")) {
            Ok(found) => missing(&promised, &found),
            Err(error) => Some(error.to_string()),
        };
        std::fs::remove_file(&image)?;
        let problem = problem.map(|problem| {
            format!("{problem}; {} of {} cached sectors survived", survivors.kept, survivors.cached)
        });
        Ok(Outcome { promised: promised.len() as u64, problem })
    }
}

fn missing(promised: &HashSet<u64>, found: &[u64]) -> Option<String> {
    let once: HashSet<u64> = found.iter().copied().collect();
    if once.len() < found.len() {
        return Some(format!("{} batches came out twice", found.len() - once.len()));
    }
    let mut lost: Vec<u64> = promised.difference(&once).copied().collect();
    lost.sort_unstable();
    let range = |numbers: &[u64]| numbers.first().copied().zip(numbers.last().copied());
    (!lost.is_empty()).then(|| {
        let (count, lost, found) = (lost.len(), range(&lost), range(found));
        format!("{count} acknowledged batches are lost: {lost:?}; there are {found:?}")
    })
}

/// Returns the batches in a channel on this image, as read by another process.
fn read_back(image: &Path, directory: &Path) -> io::Result<Vec<u64>> {
    let mounted = Mounted::new(image, directory, false)?;
    let output = Command::new(std::env::current_exe()?)
        .arg("read")
        .arg(mounted.directory())
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}
