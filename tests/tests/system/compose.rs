//! Goal: `docker compose up` is a working site. Lines of its web server are in HDFS within a
//! minute, and each line stays there once, while a collector is stopped and started again.
//!
//! Method: a separate Docker engine runs the `docker-compose.yml` that users run, once with Compose
//! 1.29 and once with Compose v2 if its plugin is installed. curl sends numbered requests to the
//! web server; meanwhile the edge's collector is stopped. At the end the agents are stopped, and
//! Hadoop's shell must read exactly the web server's log from HDFS. The tiers use TLS with
//! certificates that the site created itself; otherwise the agents would not start. Docker reports
//! all agents as healthy.
//!
//! Lane: container
//! Needs: dockerd docker docker-compose debootstrap strip curl iptables ip slirp4netns
//! Root: yes
//! Weight: 1
//! Limit: 20m
//! Exclusive: docker
//! Paths: deploy/docker docker-compose.yml deploy/hadoop

mod engine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::program;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::wait;
use engine::Engine;

/// Maximum time from the return of `up` to the first lines in HDFS.
const LANDED_MAX: Duration = Duration::from_secs(60);
/// Maximum time from the last request to its line in HDFS.
const COMPLETE_MAX: Duration = Duration::from_secs(90);
/// The base image of the Dockerfile.
const BASE_IMAGE: &str = "debian:bookworm-slim";
const PROGRAMS_IMAGE: &str = "aqueduct-programs:built";

#[test]
#[ignore = "needs root, Docker and the programs: tests/run"]
fn every_request_is_in_hdfs_once_although_a_collector_is_stopped() {
    let engine = Engine::start();
    let started = Instant::now();
    let provided = output(engine.command("deploy/docker/stand-ins/provide"));
    eprint!("{}", String::from_utf8_lossy(&provided));
    provide_programs(&engine);
    eprintln!("compose: images ready after {:.0?}", started.elapsed());

    check(&engine, &["docker-compose"]);
    let plugin = engine.command("docker").args(["compose", "version"]).output();
    if plugin.is_ok_and(|answer| answer.status.success()) {
        check(&engine, &["docker", "compose"]);
    } else {
        eprintln!("NOT RUN: compose with `docker compose`: the plugin is not installed");
    }
}

/// Copies the programs of the tests to where `docker-compose.yml` expects them: building them again
/// in a container would take minutes and prove nothing about the tiers. They are linked with
/// libraries of this machine, which the base image gets, too.
fn provide_programs(engine: &Engine) {
    let context = engine.scratch().join("base");
    let (dir, libraries) = (engine.scratch().join("programs"), context.join("lib"));
    for folder in [&dir.join("data"), &libraries] {
        fs::create_dir_all(folder).expect("the test's own folder");
    }
    for name in ["aqueduct-edge", "aqueduct-collector", "aqueduct"] {
        let built = program(name).get_program().to_owned();
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(dir.join(name)).arg(&built);
        run(strip);
        let mut ldd = Command::new("ldd");
        ldd.arg(&built);
        for library in libraries_of(&String::from_utf8_lossy(&output(ldd))) {
            let name = library.file_name().expect("a file");
            fs::copy(&library, libraries.join(name)).expect("a library of this machine");
        }
    }
    let import = r#"tar -C "$1" -c programs | docker import - "$2""#;
    let mut command = engine.command("sh");
    command.args(["-c", import, "sh"]).arg(engine.scratch()).arg(PROGRAMS_IMAGE);
    run(command);
    let dockerfile = format!("FROM {BASE_IMAGE}\nCOPY lib /usr/local/lib/\nRUN ldconfig\n");
    fs::write(context.join("Dockerfile"), dockerfile).expect("the test's own folder");
    let mut build = engine.command("docker");
    build.env("DOCKER_BUILDKIT", "1").args(["build", "-q", "-t", BASE_IMAGE]).arg(&context);
    run(build);
}

/// Returns the libraries in the output of `ldd`, except glibc, which every base image has.
fn libraries_of(text: &str) -> Vec<PathBuf> {
    let of_glibc = ["libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libresolv.so"];
    let paths = text.lines().filter_map(|line| line.split_once(" => ")?.1.split(' ').next());
    let others = paths.filter(|path| {
        path.starts_with('/') && !of_glibc.iter().any(|name| path.contains(&format!("/{name}")))
    });
    others.map(PathBuf::from).collect()
}

fn check(engine: &Engine, compose: &'static [&'static str]) {
    let site = Site { engine, compose };
    let started = Instant::now();
    run(site.compose(&["up", "--detach", "--build"]));
    eprintln!("{compose:?}: up after {:.0?}", started.elapsed());

    let started = Instant::now();
    site.await_web();
    site.request(1, 500, 1_000).wait(Duration::from_secs(60));
    let file = wait::until("the first stored file", LANDED_MAX, || site.stored_files().pop());
    eprintln!("{compose:?}: {file} after {:.0?}", started.elapsed());
    let owner = ["collector-1", "collector-2"].into_iter().find(|name| file.contains(name));
    let owner = owner.unwrap_or_else(|| panic!("no collector's name in {file}"));

    site.await_healthy();

    let mut requests = site.request(501, 2_000, 100);
    thread::sleep(Duration::from_secs(5));
    run(site.compose(&["stop", owner]));
    eprintln!("{compose:?}: stopped {owner}, requests go on: {}", requests.is_alive());
    assert!(requests.is_alive(), "{owner} was to be stopped in the middle of the requests");
    assert!(requests.wait(Duration::from_secs(60)).success(), "{}", requests.output());
    site.await_stored(2_001);
    site.check_page(if owner == "collector-1" { "collector-2" } else { "collector-1" });

    run(site.compose(&["start", owner]));
    site.request(2_001, 2_200, 100).wait(Duration::from_secs(60));
    site.await_stored(2_201);

    run(site.compose(&["stop", "edge", "collector-1", "collector-2"]));
    let written = output(site.compose(&["exec", "-T", "web", "cat", "/var/log/web/access.log"]));
    let found = compare(&written, &site.stored());
    eprintln!("{compose:?}: {found}");
    assert_eq!(found.written, 2_201, "{found}");
    assert!(found.is_none(), "{found}");
    let proof = output(site.verify());
    eprint!("{compose:?}: {}", String::from_utf8_lossy(&proof));
}

/// The tiers of `docker-compose.yml`. Removed on drop; prints their output if the test fails.
struct Site<'a> {
    engine: &'a Engine,
    compose: &'static [&'static str],
}

impl Site<'_> {
    fn compose(&self, args: &[&str]) -> Command {
        let mut command = self.engine.command(self.compose[0]);
        command.args(&self.compose[1..]).args(["--ansi", "never"]).args(args);
        command.current_dir(root());
        command.env("COMPOSE_PROJECT_NAME", "site").env("AQUEDUCT_PROGRAMS", PROGRAMS_IMAGE);
        // The edge of the tests is not static.
        command.env("AQUEDUCT_EDGE_BASE", BASE_IMAGE);
        command
    }

    /// Sends request number 0 until it is answered; earlier attempts are neither received nor
    /// logged.
    fn await_web(&self) {
        wait::until("the web server", Duration::from_secs(60), || {
            self.request(0, 0, 1).wait(Duration::from_secs(10)).success().then_some(())
        });
    }

    /// Waits until Docker's health check, the subcommand `health`, passes for the agents.
    fn await_healthy(&self) {
        for service in ["edge", "collector-1", "collector-2"] {
            let container = output(self.compose(&["ps", "-q", service]));
            let container = String::from_utf8(container).expect("an id is ASCII");
            wait::until(&format!("{service} to be healthy"), Duration::from_secs(90), || {
                let mut inspect = self.engine.command("docker");
                inspect.args(["inspect", "--format", "{{.State.Health.Status}}"]);
                let health = inspect.arg(container.trim()).output().expect("Docker answers").stdout;
                (health.trim_ascii() == b"healthy").then_some(())
            });
        }
    }

    /// Sends one request for each number from `first` to `last`, at most this many `a_second`.
    fn request(&self, first: u32, last: u32, a_second: u32) -> Process {
        let mut curl = self.engine.command_on_its_network("curl");
        curl.args(["--silent", "--show-error", "--fail", "--output", "/dev/null"]);
        curl.arg("--rate").arg(format!("{a_second}/s"));
        curl.arg(format!("http://127.0.0.1:8080/serial/[{first}-{last}]"));
        Process::start("curl", curl, &self.engine.scratch().join("curl.log"))
    }

    fn hdfs(&self, args: &[&str]) -> Command {
        let mut command = self.compose(&["exec", "-T", "namenode", "hdfs", "dfs"]);
        command.args(args);
        command
    }

    /// Returns the files that a reader of HDFS sees: Hadoop's tools ignore names that begin with a
    /// dot or an underscore.
    fn stored_files(&self) -> Vec<String> {
        let listing = self.hdfs(&["-ls", "-R", "-C", "/logs"]).output();
        let listing = listing.expect("Compose can be started").stdout;
        let files = String::from_utf8(listing).expect("paths are UTF-8");
        let hidden = |path: &str| path.split('/').any(|name| name.starts_with(['.', '_']));
        let data = files.lines().filter(|path| path.ends_with(".log") && !hidden(path));
        data.map(ToOwned::to_owned).collect()
    }

    fn stored(&self) -> Vec<u8> {
        let files = self.stored_files();
        let mut cat = self.hdfs(&["-cat"]);
        cat.args(&files);
        output(cat)
    }

    /// Returns the proof command, in the container that has both the edge's channel and the ledger.
    fn verify(&self) -> Command {
        let program = program("aqueduct").get_program().to_owned();
        let program = Path::new(&program).canonicalize().expect("it is there");
        let mut command = self.engine.command("docker");
        command.args(["run", "--rm", "--network=site_default", "--user=root"]);
        command.args(["--entrypoint=/aqueduct", "--volume=site_edge-data:/edge"]);
        command.arg(format!("--volume={}:/aqueduct:ro", program.display()));
        command.args(["aqueduct-collector:latest", "verify", "--complete"]);
        command.args(["--store=hdfs://namenode:8020/logs/%Y-%m-%d", "/edge/channels/main"]);
        command
    }

    /// Asserts that the page of a collector requires TLS and the token.
    fn check_page(&self, collector: &str) {
        let shown = |file: &str| output(self.compose(&["exec", "-T", collector, "cat", file]));
        let ca = self.engine.scratch().join("ca.pem");
        fs::write(&ca, shown("/tls/ca.pem")).expect("the test's own folder");
        let token = String::from_utf8(shown("/tls/token")).expect("a token is ASCII");
        let port = if collector == "collector-1" { 9464 } else { 9465 };
        let status = |scheme: &str, header: &str| {
            let mut curl = self.engine.command_on_its_network("curl");
            curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
            curl.arg("--cacert").arg(&ca).args(["--header", header]);
            curl.arg(format!("{scheme}://localhost:{port}/status"));
            let answer = curl.output().expect("curl can be started").stdout;
            String::from_utf8_lossy(&answer).into_owned()
        };
        assert_eq!(status("https", "Accept: */*"), "401", "{collector} without a token");
        assert_eq!(
            status("https", &format!("Authorization: Bearer {token}")),
            "200",
            "{collector}"
        );
        assert_eq!(status("http", "Accept: */*"), "000", "{collector} in plain text");
    }

    fn await_stored(&self, lines: usize) {
        let started = Instant::now();
        let what = format!("{lines} lines in HDFS");
        wait::until(&what, COMPLETE_MAX, || {
            (compare(b"", &self.stored()).stored >= lines).then_some(())
        });
        eprintln!("{:?}: {lines} lines after {:.0?}", self.compose, started.elapsed());
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for args in [&["ps"][..], &["logs", "--tail", "60"]] {
                let shown = self.compose(args).output().map(|it| it.stdout).unwrap_or_default();
                eprintln!("{}", String::from_utf8_lossy(&shown));
            }
        }
        let down = self.compose(&["down", "--volumes", "--timeout", "1"]).output();
        eprintln!("{:?}: down: {}", self.compose, down.is_ok_and(|it| it.status.success()));
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the repository").to_owned()
}

fn run(command: Command) {
    output(command);
}

/// Runs `command` in the repository; it must succeed. Returns its output.
fn output(mut command: Command) -> Vec<u8> {
    let done = command.current_dir(root()).output();
    let done = done.unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{}", done.status, tail(&errors));
    done.stdout
}
