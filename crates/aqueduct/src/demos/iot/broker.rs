//! Starts the demo's broker: a mosquitto on a free port, without persistence.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use demo::{DemoError, open_log, read_end, write};
use pipeline::Env;
use support::loopback::find_free_address;
use tokio::time::{Instant, sleep};

use super::{CONNECT_TIMEOUT, OtherError};

/// Debian installs it outside the `PATH` of normal users.
const PROGRAMS: [&str; 3] = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];

/// A running mosquitto; killed on drop.
pub(super) struct Mosquitto {
    child: Child,
    address: String,
}

impl Mosquitto {
    /// Starts the broker and waits until it listens.
    pub(super) async fn start(env: &Env, root: &Path) -> Result<Self, OtherError> {
        let address = find_free_address().map_err(DemoError::Port)?;
        let config = root.join("mosquitto.conf");
        // No limits on queued messages: the demo kills the collector, and its session must survive.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             max_queued_messages 0\nmax_inflight_messages 1000\n\
             log_type error\nlog_type warning\nlog_dest stdout\n",
            address.port()
        );
        write(env, &config, text.as_bytes())?;
        let log = root.join("mosquitto.log");
        let child = spawn(&config, &log)?;
        let mut mosquitto = Self { child, address: address.to_string() };
        let since = Instant::now();
        while env.net.connect(&mosquitto.address).await.is_err() {
            if !matches!(mosquitto.child.try_wait(), Ok(None)) {
                let log = read_end(env, &log);
                return Err(DemoError::Ended { name: "mosquitto", log }.into());
            }
            if since.elapsed() > CONNECT_TIMEOUT {
                let (what, seconds) = ("starting mosquitto", CONNECT_TIMEOUT.as_secs());
                return Err(DemoError::TooLong { what, seconds }.into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(mosquitto)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // Both fail only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(config: &Path, log: &Path) -> Result<Child, OtherError> {
    let failed = |source| DemoError::Start { name: "mosquitto", source };
    for program in PROGRAMS {
        let out = open_log(log).map_err(failed)?;
        let errors = out.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(out).stderr(errors);
        // A separate process group: Ctrl-C goes to the demo.
        command.process_group(0);
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            spawned => return Ok(spawned.map_err(failed)?),
        }
    }
    Err(OtherError::NoBroker)
}

/// Converts a URL into the setting `broker.address`, and whether it needs the table `broker.tls`.
pub(super) fn address(url: &str) -> (String, bool) {
    let with_port = |rest: &str, port: u16| {
        let rest = rest.trim_end_matches('/');
        let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        if has_port { rest.to_owned() } else { format!("{rest}:{port}") }
    };
    match url.split_once("://") {
        Some(("mqtt" | "tcp", rest)) => (with_port(rest, 1883), false),
        Some(("mqtts" | "ssl", rest)) => (with_port(rest, 8883), true),
        _ => (url.to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_mqtt_is_an_address_with_its_usual_port_and_others_stay() {
        for (url, expected) in [
            ("mqtt://broker", ("broker:1883", false)),
            ("mqtts://broker/", ("broker:8883", true)),
            ("mqtts://[::1]", ("[::1]:8883", true)),
            ("tcp://broker:1", ("broker:1", false)),
            ("wss://broker/mqtt", ("wss://broker/mqtt", false)),
            ("broker:1883", ("broker:1883", false)),
        ] {
            assert_eq!(address(url), (expected.0.to_owned(), expected.1), "{url}");
        }
    }
}
