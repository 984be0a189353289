//! Goal: with interceptors as WebAssembly modules in Rust and C, each line is stored exactly once,
//! while the agent is killed with -9. The status names the cause while a module cannot run.
//!
//! Method: the files that `aqueduct plugin new` writes are built with the compilers of Debian and
//! run unchanged. A file grows while the test kills the agent. After the last kill the module in
//! Rust is damaged until the status shows that. Afterwards the test compares the lines in the
//! stores with the lines of the file.
//!
//! ```text
//!   app.log ─► tail_dir ─► levels in Rust ─► durable ─► hdfs sink, file://
//!          └─► tail_dir ─► levels in C ────► durable ─► hdfs sink, file://
//! ```
//!
//! Lane: core
//! Needs: clang rustc-debian rustc-wasm32 wasm-ld
//! Weight: 1
//! Limit: 5m
//! Paths: crates/components-wasm examples/plugins

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, ROLL, program};
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::store::visible;
use aqueduct_tests::{http, wait};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(90);

/// Kills, and lines between two of them.
const KILLS: usize = 4;
const LINES: usize = 900;

/// Writes a plug-in, builds it with the command that is printed, and returns its module.
fn plugin(dir: &Path, name: &str, language: &str) -> PathBuf {
    let mut new = program("aqueduct");
    new.args(["plugin", "new", name, "--language", language, "--role", "interceptor"]);
    let output = new.current_dir(dir).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    let (_, rest) = printed.split_once("# Build it: ").expect("the command of the compiler");
    // Other compilers of Rust may be earlier in the path.
    let build = rest.lines().next().unwrap_or_default().replace("rustc ", "/usr/bin/rustc ");
    let built = Command::new("sh").args(["-c", &build]).current_dir(dir).output();
    let built = built.expect("sh runs");
    assert!(built.status.success(), "{build}: {built:?}");
    dir.join(name).join(format!("{name}.wasm"))
}

fn agent(dir: &Path, modules: &[(&str, &Path)]) -> Agent {
    let at = dir.display();
    let mut text = format!("[agent]\ndata_dir = \"{at}/data\"\n");
    for (name, module) in modules {
        text += &format!(
            "[sources.{name}]\ntype = \"tail_dir\"\nchannels = [\"{name}\"]\nbatch_events = 100\n\
             paths = [\"{at}/app.log\"]\n\
             [[sources.{name}.interceptors]]\ntype = \"wasm\"\nmodule = \"{}\"\n\
             settings = {{ least = \"INFO\" }}\n\
             [channels.{name}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.{name}]\ntype = \"hdfs\"\nchannel = \"{name}\"\n{ROLL}\n\
             url = \"file://{at}/{name}/out/%Y\"\n",
            module.display()
        );
    }
    Agent::configured("aqueduct-collector", dir, "agent", &text)
}

#[test]
#[ignore = "needs the programs and compilers for WebAssembly: tests/run"]
fn each_line_is_stored_once_while_the_agent_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, log) = (folder.path(), folder.path().join("app.log"));
    crate::plugins::write(&log, "");
    let rust = plugin(dir, "in_rust", "rust-wasm");
    let c = plugin(dir, "in_c", "c-wasm");
    let mut agent = agent(dir, &[("in_rust", &rust), ("in_c", &c)]);
    agent.start();
    let mut kept = String::new();
    for round in 0..KILLS {
        for line in 0..LINES {
            let level = ["DEBUG", "INFO", "WARN"][line % 3];
            let text = format!("{round} {line} {level} a line\n");
            crate::plugins::write(&log, &text);
            if level != "DEBUG" {
                kept += &text;
            }
        }
        agent.kill();
        if round + 1 < KILLS {
            agent.start();
        }
    }
    let module = fs::read(&rust).expect("the module");
    fs::write(&rust, &module[..module.len() / 2]).expect("the module is damaged");
    agent.start();
    crate::plugins::write(&log, "a last INFO line\n");
    kept += "a last INFO line\n";
    wait::until("the damaged module in the status", LIMIT, || {
        let (_, status) = http::get(agent.admin(), "/status")?;
        let status: Value = serde_json::from_str(&status).ok()?;
        let mut found = status["troubles"].as_array()?.iter();
        let found = found.find(|it| it["component"] == "source in_rust" && it["cause"] == "fails");
        let brief = found?["brief"].as_str()?;
        (brief.contains("in_rust.wasm") && brief.contains("correct")).then_some(())
    });
    fs::write(&rust, module).expect("the module is repaired");
    for name in ["in_rust", "in_c"] {
        let out = dir.join(name).join("out");
        wait::until(&format!("all lines of {name}"), LIMIT, || {
            (visible(&out).len() >= kept.len()).then_some(())
        });
    }
    agent.stop(LIMIT);
    for name in ["in_rust", "in_c"] {
        let found = compare(kept.as_bytes(), &visible(&dir.join(name).join("out")));
        assert!(found.is_none(), "{name}: {found:?}\n{}", tail(&agent.output()));
    }
    let compiled = fs::read_dir(dir.join("data/interceptors/wasm")).expect("compiled modules");
    assert_eq!(compiled.count(), 2, "one for each module");
}
