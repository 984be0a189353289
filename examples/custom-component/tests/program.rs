//! The program runs with its own component, as its users run it.
//!
//! Method: the example's configuration, with the paths of the test, over a log file of three lines.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// An agent that is ended with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text_in(directory: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(directory) else { return String::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read_to_string(path).expect("a file")).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test stands outside the world that `Env` is")]
fn a_program_with_a_component_of_its_own_routes_by_what_that_component_found() {
    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir(at("log")).expect("a directory");
    let lines = "12:00 ERROR disk\n12:01 INFO up\n12:02 something\n";
    std::fs::write(at("log/app.log"), lines).expect("a file");
    let example = include_str!("../agent.toml");
    let configuration = example
        .replace("/var/lib/level-agent", &at("data").display().to_string())
        .replace("/var/log/app", &at("log").display().to_string())
        .replace("/srv/archive", &at("archive").display().to_string());
    std::fs::write(at("agent.toml"), configuration).expect("a file");

    let mut program = Command::new(env!("CARGO_BIN_EXE_level-agent"));
    let child = program.arg("--config").arg(at("agent.toml")).spawn();
    let mut agent = Agent(child.expect("the program starts"));
    let began = Instant::now();
    let stored = || (text_in(&at("archive/errors")), text_in(&at("archive/other")));
    let expected = ("12:00 ERROR disk\n".to_owned(), "12:01 INFO up\n12:02 something\n".to_owned());
    while stored() != expected {
        assert_eq!(agent.0.try_wait().expect("a child"), None, "the agent has ended");
        assert!(began.elapsed() < Duration::from_secs(60), "stored: {:?}", stored());
        std::thread::sleep(Duration::from_millis(50));
    }
}
