//! Goal: `aqueduct top` shows a running agent in a terminal, reports when the agent is gone, and
//! restores the terminal. Without a terminal it prints JSON.
//!
//! Method: an agent in a child process, and `top` on a pseudo terminal: the test presses keys and
//! reads the output.

#[allow(dead_code, reason = "a part of it is used here")]
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{Agent, aqueduct, command, storing, text, write};
use agent::status::{Level, Snapshot};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::loopback::free_address;

const LIMIT: Duration = Duration::from_secs(60);

/// Escape sequence that restores the previous screen.
const SCREEN_LEFT: &str = "\x1b[?1049l";

/// Returns the text that a terminal shows, without styles. Cursor moves separate words: `top` skips
/// cells that are already blank, as all are at the start.
fn words(output: &str) -> String {
    let mut words = String::new();
    for (at, part) in output.split("\x1b[").enumerate() {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).filter(|_| at > 0);
        match end {
            Some(end) if part[end..].starts_with('H') => words.extend([" ", &part[end + 1..]]),
            Some(end) => words.push_str(&part[end + 1..]),
            None => words.push_str(part),
        }
    }
    words
}

/// An agent that generates ten events per second and stores them in files.
struct Place {
    dir: tempfile::TempDir,
    admin: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let admin = free_address().to_string();
        let source = "type = \"sequence\"\nrate = 10";
        let channel = "type = \"memory\"\ncapacity = \"16MiB\"";
        let config = storing(dir.path(), &admin, source, channel);
        write(&dir.path().join("agent.toml"), &config);
        Self { dir, admin }
    }

    /// Returns when it is ready.
    fn start(&self) -> Agent {
        let config = self.dir.path().join("agent.toml").display().to_string();
        let agent = Agent::start(&["collector", "--config", &config]);
        agent.until(|| aqueduct(&["status", &self.admin]).status.success());
        agent
    }
}

/// `top` on a pseudo terminal.
struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(admin: &str) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let size = Winsize { ws_row: 30, ws_col: 110, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&keys, size).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
        let side = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut top = command(&["top", admin]);
        top.env("TERM", "xterm").stdin(side.try_clone().unwrap());
        top.stdout(side.try_clone().unwrap()).stderr(side);
        let child = top.spawn().unwrap();
        drop(top);
        let keys = File::from(keys);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, kept) = (keys.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails once the program has exited.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, keys, shown }
    }

    fn shows(&self, wanted: &str) {
        let began = Instant::now();
        loop {
            let shown = self.shown.lock().unwrap().clone();
            // The sequence that leaves the screen is searched in the raw output.
            if shown.contains(wanted) || words(&shown).contains(wanted) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{wanted} is not in {shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns the exit code; checks that the screen is restored.
    fn ends(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.shows(SCREEN_LEFT);
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The process has already exited, unless the test failed.
        let _ = self.child.kill();
    }
}

#[test]
fn a_terminal_shows_the_agent_until_a_key_ends_it() {
    let place = Place::new();
    let agent = place.start();
    let mut terminal = Terminal::start(&place.admin);
    terminal.shows("✓ All is well");
    terminal.shows("(sequence)");
    terminal.press("\t");
    terminal.shows("BYTES/S");
    terminal.press("\x1b[C\x1b[C");
    terminal.shows("PENALTY");
    terminal.press("p");
    terminal.shows("PAUSED");
    terminal.press("p");
    drop(agent);
    terminal.shows("No answer from the agent; the data below is");
    // `top` reconnects after a restart.
    terminal.shown.lock().unwrap().clear();
    let agent = place.start();
    terminal.shows("All is well");
    terminal.press("q");
    assert_eq!(terminal.ends(), Some(0));
    agent.stop();
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let terminal = Terminal::start(&free_address().to_string());
    terminal.shows("No answer from the agent");
    let pid = i32::try_from(terminal.child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn programs_get_a_line_for_each_snapshot_with_what_is_wrong_and_its_cause() {
    let place = Place::new();
    fs::write(place.dir.path().join("store"), "in the way").unwrap();
    let agent = place.start();
    let mut top = command(&["top", &place.admin, "--json"]);
    let mut top = top.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let mut last: Option<Snapshot> = None;
    let began = Instant::now();
    let troubled = loop {
        let snapshot: Snapshot = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if let Some(last) = last.replace(snapshot.clone()) {
            assert!(snapshot.uptime_seconds - last.uptime_seconds > 0.5, "once a second");
            if snapshot.verdict.level == Level::Bad {
                break snapshot;
            }
        }
        assert!(began.elapsed() < LIMIT, "{last:?}");
    };
    let (trouble, out) = (&troubled.troubles[0], &troubled.flow.out_of_channels[0]);
    assert_eq!((&*trouble.component, &*out.from, &*out.to), ("sink store", "main", "store"));
    assert!(trouble.text.contains("store") && trouble.text.contains("next try"), "{trouble:?}");
    assert!(troubled.verdict.text.starts_with("Something is wrong: sink store fails: "));
    drop(agent);
    assert_eq!(top.wait().unwrap().code(), Some(2), "the agent is gone");
}

#[test]
fn without_a_terminal_it_is_one_page() {
    let place = Place::new();
    let agent = place.start();
    agent.until(|| text(&aqueduct(&["top", &place.admin])).contains("All is well"));
    for arguments in [&["top", &place.admin][..], &["top", &place.admin, "--once"]] {
        let output = aqueduct(arguments);
        let page = text(&output);
        assert_eq!(output.status.code(), Some(0), "{page}");
        for wanted in ["agent one, version ", "\nAll is well\n", "SOURCE", "events since the start"]
        {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        assert!(!page.contains('\x1b'), "{page}");
    }
    agent.stop();
    let output = aqueduct(&["top", &place.admin]);
    assert_eq!(output.status.code(), Some(2));
}
