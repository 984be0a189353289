//! A real ActiveMQ Artemis with AMQP 1.0, and JMS applications.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::flume::java_with;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::wait;

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/artemis/pom.xml"));

/// A running or killed broker with its messages on disk. Killed on drop.
pub(crate) struct Artemis {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    dir: PathBuf,
    process: Option<Process>,
}

impl Artemis {
    /// Starts a broker.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, "amqp", "", "")
    }

    /// Starts a broker with this scheme, additional parameters of its acceptor, and additional
    /// settings.
    pub(crate) fn start_with(
        dir: &Path,
        scheme: &'static str,
        acceptor: &str,
        settings: &str,
    ) -> Self {
        let (address, dir) = (free_address(), dir.join("artemis"));
        fs::create_dir_all(dir.join("etc")).expect("the test's own folder");
        let text = format!(
            "<configuration xmlns=\"urn:activemq\"><core xmlns=\"urn:activemq:core\">\n\
             <security-enabled>false</security-enabled><journal-type>NIO</journal-type>\n\
             <max-disk-usage>100</max-disk-usage>\n\
             <acceptors><acceptor name=\"amqp\">tcp://{address}?protocols=AMQP{acceptor}\
             </acceptor></acceptors>\n{settings}\n</core></configuration>\n"
        );
        fs::write(dir.join("etc/broker.xml"), text).expect("the test's own folder");
        let mut artemis = Self { address, scheme, dir, process: None };
        artemis.revive();
        artemis
    }

    fn java(&self) -> Command {
        let mut java = java_with("artemis-2.40.0", POM, &self.dir);
        java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        java
    }

    /// Restarts it after [`Artemis::kill`], with the same files at the same address.
    pub(crate) fn revive(&mut self) {
        let mut java = self.java();
        java.arg("org.apache.activemq.artemis.core.server.embedded.Main").arg(&self.dir);
        let mut process = Process::start("artemis", java, &self.dir.join("out"));
        wait::until("the broker to listen", Duration::from_secs(60), || {
            assert!(process.is_alive(), "Artemis ended:\n{}", tail(&process.output()));
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// Sets its disk usage limit in percent, from the next [`Artemis::revive`] on.
    pub(crate) fn set_disk_max(&self, percent: usize) {
        let file = self.dir.join("etc/broker.xml");
        let text = fs::read_to_string(&file).expect("the test's own folder");
        let (before, rest) = text.split_once("<max-disk-usage>").expect("the setting");
        let (_, behind) = rest.split_once('<').expect("its end");
        let text = format!("{before}<max-disk-usage>{percent}<{behind}");
        fs::write(file, text).expect("the test's own folder");
    }

    /// Kills it with -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }

    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Runs an application to its end, with arguments after the URL; returns its output.
    pub(crate) fn run_jms(&self, command: &str, arguments: &[&str]) -> String {
        let source = self.dir.join("Jms.java");
        fs::write(&source, include_str!("Jms.java")).expect("the test's own folder");
        // Java's trust store does not contain the test's certificate.
        let trusting = "?transport.trustAll=true&transport.verifyHost=false";
        let url = self.url() + if self.scheme == "amqps" { trusting } else { "" };
        let mut java = self.java();
        java.arg(source).arg(command).arg(url).args(arguments).stderr(Stdio::inherit());
        let output = java.output().expect("java runs");
        assert!(output.status.success(), "an application failed: {}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}
