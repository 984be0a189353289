//! Goal: the health check of an image says what an operator would: it fails while no agent answers,
//! a port that is taken makes an agent unready and not unhealthy, and TLS changes nothing.
//!
//! Method: the program runs as an agent, and again as `health` with the same arguments.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![allow(clippy::disallowed_methods, reason = "the test stands outside, as an operator does")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::loopback::free_address;

/// Longer than anything that is waited for takes.
const LIMIT: Duration = Duration::from_secs(60);

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct-edge"));
    command.stdin(Stdio::null());
    command
}

/// What `health` says of the agent with this configuration, and its code.
fn health(options: &[&str], config: &Path) -> (Option<i32>, String) {
    let asked = program().arg("health").args(options).arg("--config").arg(config).output();
    let Output { status, stdout, stderr } = asked.unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code(), said)
}

#[test]
fn health_asks_the_address_of_the_configuration() {
    let material = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material");
    let material = material.display();
    let tls = format!(
        "admin_tls = {{ certificate = \"{material}/server.pem\", key = \
         \"{material}/server.key.pem\" }}"
    );
    // An authority that has signed certificates of clients, and not that of the listener.
    let asking = tls.replacen(" }", &format!(", client_ca = \"{material}/other-ca.pem\" }}"), 1);
    for (host, tls) in [("127.0.0.1", ""), ("0.0.0.0", &*tls), ("0.0.0.0", &*asking)] {
        let dir = tempfile::tempdir().unwrap();
        let (admin, taken) = (free_address(), TcpListener::bind("127.0.0.1:0").unwrap());
        let config = dir.path().join("agent.toml");
        let text = format!(
            "[agent]\ndata_dir = \"{}\"\nadmin = \"{host}:{}\"\n{tls}\n\
             [sources.lines]\ntype = \"netcat\"\nlisten = \"{}\"\nchannels = [\"main\"]\n\
             [channels.main]\ntype = \"memory\"\n\
             [sinks.none]\ntype = \"discard\"\nchannel = \"main\"\n",
            dir.path().join("data").display(),
            admin.port(),
            taken.local_addr().unwrap(),
        );
        std::fs::write(&config, text).unwrap();
        let (code, said) = health(&[], &config);
        assert!(code == Some(1) && said.contains("no answer at"), "{code:?}: {said}");

        let agent = program().arg("--config").arg(&config).stderr(Stdio::null()).spawn().unwrap();
        let _agent = Agent(agent);
        let until = |options: &[&str], expected: i32| {
            let began = Instant::now();
            loop {
                let (code, said) = health(options, &config);
                if code == Some(expected) {
                    break said;
                }
                assert!(began.elapsed() < LIMIT, "{options:?} {code:?}: {said}");
            }
        };
        until(&[], 0);
        let (code, said) = health(&["--ready"], &config);
        assert!(code == Some(1) && said.contains("lines"), "{code:?}: {said}");
        drop(taken);
        until(&["--ready"], 0);
    }
}

#[test]
fn health_fails_if_the_agent_cannot_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("agent.toml");
    std::fs::write(&config, "[agent]\ndata_dir = \"/none\"\n").unwrap();
    let (code, said) = health(&[], &config);
    assert!(code == Some(1) && said.contains("has no admin address"), "{code:?}: {said}");
    let (code, said) = health(&[], &dir.path().join("none.toml"));
    assert!(code == Some(1) && said.contains("none.toml"), "{code:?}: {said}");
    // Process 1 of the host of a test is another program.
    let asked = program().arg("health").output().unwrap();
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(asked.status.code() == Some(1) && said.contains("process 1 is not"), "{said}");
    // The agent's own arguments go on as they were.
    let asked = program().output().unwrap();
    assert_eq!(asked.status.code(), Some(2), "--tail and --to are missing");
}
