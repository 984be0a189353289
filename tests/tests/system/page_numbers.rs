//! Goal: the live page formats numbers like the commands: at most two units, plurals, words.
//!
//! Method: Node.js runs its script with the examples from the tests of the commands.
//!
//! Lane: core
//! Needs: node
//! Weight: 0
//! Limit: 1m
//! Paths: crates/admin crates/agent crates/control

use std::fs;
use std::process::Command;

const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");

/// Compares each example; a non-breaking space equals a space.
const COMPARE: &str = r#"
import { readFileSync } from 'node:fs';
import { bytes, many, reason, seconds } from './units.mjs';
const examples = JSON.parse(readFileSync('words.json'));
const flat = (text) => text.replace(/[\u00a0\u202f]/g, ' ');
const wrong = [];
for (const [name, show] of Object.entries({ bytes, count: many, reason, seconds })) {
  for (const example of examples[name]) {
    const shown = flat(show(...example.slice(0, -1)));
    if (shown !== example.at(-1)) wrong.push(`${name}: ${shown} instead of ${example.at(-1)}`);
  }
}
if (wrong.length) throw new Error(wrong.join('; '));
"#;

#[test]
#[ignore = "needs Node.js: tests/run"]
fn the_page_shows_numbers_as_the_commands_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    for (from, to) in
        [("admin/src/page/units.js", "units.mjs"), ("agent/src/status/words.json", "words.json")]
    {
        fs::copy(format!("{CRATES}/{from}"), dir.join(to)).expect("a copy");
    }
    fs::write(dir.join("compare.mjs"), COMPARE).expect("a script");
    let done = Command::new("node").arg("compare.mjs").current_dir(dir).output();
    let done = done.expect("Node.js can be started");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
