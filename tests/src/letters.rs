//! Dead letters, as an operator reads them.

use std::path::Path;

use serde_json::Value;

use crate::agent::program;

/// Returns the bodies of all dead letters below a data directory, in order.
///
/// # Panics
///
/// When they cannot be read, a body is not text, or a letter has a reason other than these.
pub fn letters(data_dir: &Path, reasons: &[&str]) -> Vec<String> {
    let mut command = program("aqueduct");
    command.args(["dlq", "show"]).arg(data_dir);
    command.args(["--format", "json", "--limit", "1000000"]);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut bodies = Vec::new();
    for letter in text.lines() {
        let letter: Value = serde_json::from_str(letter).expect("a letter");
        assert!(reasons.iter().any(|reason| letter["reason"] == *reason), "{letter}");
        for event in letter["events"].as_array().expect("events") {
            bodies.push(event["body"].as_str().expect("a body").to_owned());
        }
    }
    bodies
}
