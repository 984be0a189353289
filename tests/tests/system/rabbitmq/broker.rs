//! A real RabbitMQ with its own Erlang port mapper, and Python applications.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::http::free_address;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::{python, wait};

/// Timeout of the broker's start.
const START: Duration = Duration::from_secs(60);

/// A RabbitMQ that keeps its queues in the folder of the test.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    /// Address with TLS.
    pub(crate) tls: SocketAddr,
    /// Address for other nodes, in Erlang's protocol.
    distribution: SocketAddr,
    dir: PathBuf,
    /// Folder of Python.
    programs: PathBuf,
    /// The port mapper, where nodes register their ports.
    mapper: (SocketAddr, Process),
    process: Option<Process>,
}

impl Broker {
    /// Starts a broker. Its certificate is for the host `broker`, signed by `ca.pem` in the folder.
    pub(crate) fn start(dir: &Path) -> Self {
        let [address, tls, distribution, mapper] = [(); 4].map(|()| free_address());
        let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=broker \
                      -addext subjectAltName=DNS:broker -keyout key.pem -out ca.pem";
        let output = Command::new("bash").args(["-euc", script]).current_dir(dir).output();
        assert!(output.expect("bash runs").status.success(), "openssl makes a certificate");
        let at = dir.display();
        let config = format!(
            "listeners.tcp.1 = {address}\nlisteners.ssl.1 = {tls}\n\
             ssl_options.cacertfile = {at}/ca.pem\nssl_options.certfile = {at}/ca.pem\n\
             ssl_options.keyfile = {at}/key.pem\nssl_options.verify = verify_none\n"
        );
        fs::write(dir.join("rabbitmq.conf"), config).expect("the test's own folder");
        fs::write(dir.join("plugins"), "[].\n").expect("the test's own folder");
        let port = mapper.port().to_string();
        let mut epmd = Command::new("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &port]);
        let epmd = Process::start("epmd", epmd, &dir.join("epmd.out"));
        let requirements = include_str!("../../../../deploy/rabbitmq/requirements.txt");
        let programs = python::environment("pika-1.4.4", requirements);
        let (dir, mapper) = (dir.to_owned(), (mapper, epmd));
        let mut broker = Self { address, tls, distribution, dir, programs, mapper, process: None };
        broker.revive();
        broker
    }

    /// Restarts it after [`Broker::kill`], with the same files at the same address.
    pub(crate) fn revive(&mut self) {
        let own = |name: &str| self.dir.join(name);
        // Debian's wrapper changes to the user `rabbitmq`; this is what it runs then.
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", &self.dir)
            .env("RABBITMQ_NODENAME", format!("t{}@localhost", self.address.port()))
            .env("RABBITMQ_DIST_PORT", self.distribution.port().to_string())
            .env("RABBITMQ_MNESIA_BASE", own("mnesia"))
            .env("RABBITMQ_LOG_BASE", own("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_PID_FILE", own("pid"))
            .env("RABBITMQ_CONFIG_FILE", own("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", own("plugins"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.mapper.0.port().to_string())
            // The script then becomes the broker itself, instead of a parent process that a kill
            // would hit.
            .env("RUNNING_UNDER_SYSTEMD", "1");
        let mut process = Process::start("rabbitmq", command, &own("rabbitmq.out"));
        wait::until("the broker to listen", START, || {
            assert!(process.is_alive(), "RabbitMQ ended:\n{}", tail(&process.output()));
            TcpStream::connect(self.tls).and_then(|_| TcpStream::connect(self.address)).ok()
        });
        self.process = Some(process);
    }

    /// Sets the required free disk space, from the next [`Broker::revive`] on.
    pub(crate) fn set_disk_free(&self, limit: &str) {
        let file = self.dir.join("rabbitmq.conf");
        let text = fs::read_to_string(&file).expect("the test's own folder");
        let lines = text.lines().filter(|line| !line.starts_with("disk_free_limit"));
        let mut text: String = lines.map(|line| format!("{line}\n")).collect();
        text += &format!("disk_free_limit.absolute = {limit}\n");
        fs::write(file, text).expect("the test's own folder");
    }

    /// Kills it with -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }

    /// Returns an application with these arguments.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let script = self.dir.join("client.py");
        fs::write(&script, include_str!("client.py")).expect("the test's own folder");
        let mut command = Command::new(self.programs.join("python3"));
        let url = format!("amqp://guest:guest@{}/%2f", self.address);
        command.arg(script).arg(url).args(arguments);
        command
    }

    /// Runs an application to its end; returns its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments).stderr(Stdio::inherit()).output();
        let output = output.expect("Python runs");
        assert!(output.status.success(), "{arguments:?} failed: {}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}
