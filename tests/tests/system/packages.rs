//! Goal: the packages can be installed, upgraded with a backlog, and purged, on Debian and on
//! systems with rpm; their programs run, and an upgrade keeps the administrator's files.
//!
//! Method: `deploy/packages/build` packs the programs of the tests as two releases. A Debian root
//! boots with its own systemd, and `packages/life.sh` installs, upgrades and removes the packages
//! there: the edge has a backlog while its version changes, and each line is stored once. No root
//! of an RPM system is available, so rpm itself runs in the Debian root, whose own tools are
//! hidden.
//!
//! Lane: container
//! Needs: systemd-analyze systemd-nspawn debootstrap strip python3 curl buildah skopeo
//! Root: yes
//! Weight: 1
//! Limit: 15m
//! Paths: deploy/packages deploy/docker deploy/release deploy/systemd deploy/tools
//! Paths: deploy/install.sh deploy/examples

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use aqueduct_tests::agent::program;
use aqueduct_tests::flume::{cache, lock};
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::{http, is_long, wait};
use tempfile::TempDir;

/// The version to upgrade. Its programs are those of this build.
const OLD: &str = "0.0.9";
const NEW: &str = env!("CARGO_PKG_VERSION");

/// Packages of the root: libraries of a development build, which a release links statically;
/// systemd; and rpm.
const ROOT_PACKAGES: &str =
    "curl,dbus,libgssapi-krb5-2,libodbc2,libssl3,passwd,rpm,systemd,systemd-sysv";

/// Two releases, with packages in both formats and archives.
static RELEASES: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let programs = folder.path().join("programs/x86_64");
    fs::create_dir_all(&programs).expect("the test's own folder");
    for name in ["aqueduct", "aqueduct-edge", "aqueduct-collector"] {
        let built = program(name).get_program().to_owned();
        must("strip -o $1 $2", &[&programs.join(name), Path::new(&built)]);
    }
    for version in [OLD, NEW] {
        let release = folder.path().join(version);
        let mut build = Command::new(here("deploy/packages/build"));
        build.arg(folder.path().join("programs")).arg(&release);
        build.env("VERSION", version).env("COMPRESSION", "gzip:1");
        build.env("ARCHIVE_LEVEL", "1");
        let built = build.output().expect("the script is in the repository");
        assert!(built.status.success(), "{}", text(&built));
        let sums = "cp $2 $1 && cd $1 && sha256sum * >SHA256SUMS";
        must(sums, &[&release, &here("deploy/install.sh")]);
    }
    folder
});

fn release(version: &str) -> PathBuf {
    RELEASES.path().join(version)
}

/// Returns both outputs of a command.
fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).trim().to_owned()
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs a script with these arguments, which must succeed; returns its output.
fn must(script: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new("sh");
    let output = command.args(["-euc", script, "sh"]).args(arguments).output();
    let output = output.expect("a shell runs");
    assert!(output.status.success(), "{script}: {}", text(&output));
    text(&output)
}

/// Checks the exposure according to `systemd-analyze security`: 0 is closed, 10 is open.
#[test]
#[ignore = "needs systemd: tests/run"]
fn units_are_closed_to_what_they_do_not_need() {
    for kind in ["edge", "collector", "flume@"] {
        let unit = here(&format!("deploy/systemd/aqueduct-{kind}.service"));
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--threshold=20"]).arg(unit);
        let judged = analyze.output().expect("systemd-analyze is installed");
        assert!(judged.status.success(), "over 2.0: {}", text(&judged));
    }
}

/// Returns a Debian root with systemd and rpm, created once.
fn root() -> PathBuf {
    let _others_wait = lock("debian-bookworm-packages");
    let place = cache().join("debian-bookworm-packages");
    let complete = place.join("complete");
    if fs::read_to_string(&complete).is_ok_and(|made_with| made_with == ROOT_PACKAGES) {
        return place.join("root");
    }
    let make = "rm -rf $1 && mkdir -p $1 && \
                debootstrap --variant=minbase --include=$2 bookworm $1/root \
                ${DEBIAN_MIRROR:-http://deb.debian.org/debian} >$1/log || { tail $1/log; exit 1; }";
    must(make, &[&place, Path::new(ROOT_PACKAGES)]);
    fs::write(complete, ROOT_PACKAGES).expect("the user's cache");
    place.join("root")
}

/// Boots the root, with changes in memory only, and runs `life.sh` there, with an upgrade to this
/// release.
fn live(form: &str, new: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let work = folder.path();
    let edge = "[agent]\ndata_dir = \"/var/lib/aqueduct/edge\"\nadmin = \"127.0.0.1:9464\"\n\
                [sources.app]\ntype = \"tail_dir\"\npaths = [\"/var/log/app/*.log\"]\n\
                channels = [\"main\"]\n[channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
                [sinks.collector]\ntype = \"grpc\"\nchannel = \"main\"\n\
                address = \"127.0.0.1:4141\"\n";
    let collector = "[agent]\ndata_dir = \"/var/lib/aqueduct/collector\"\n\
                     admin = \"127.0.0.1:9465\"\n\
                     [sources.edges]\ntype = \"grpc\"\nlisten = \"127.0.0.1:4141\"\n\
                     channels = [\"main\"]\n\
                     [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
                     [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\n\
                     url = \"file:///var/lib/aqueduct/collector/store\"\n\
                     roll = { age_max = \"1s\" }\n";
    let unit = format!(
        "[Unit]\nDescription=life.sh\nAfter=multi-user.target\n\
         [Service]\nType=oneshot\nExecStart=bash /life.sh {form} /old /new {NEW} /work\n\
         StandardOutput=file:/work/log\nStandardError=inherit\n\
         ExecStopPost=systemctl --no-block poweroff\n"
    );
    for (name, text) in
        [("edge.toml", edge), ("collector.toml", collector), ("life.service", unit.as_str())]
    {
        fs::write(work.join(name), text).expect("the test's own folder");
    }
    let mut boot = Command::new("setpriv");
    boot.args(["--pdeathsig", "KILL", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]);
    boot.args(["--private-network", "--volatile=overlay", "--boot", "--console=pipe"]);
    boot.arg(format!("--machine=aqueduct-{form}-{}", std::process::id()));
    boot.arg("--directory").arg(root());
    let mut bind = |option: &str, from: &Path, to: &str| {
        boot.arg(format!("--{option}={}:{to}", from.display()));
    };
    bind("bind-ro", &release(OLD), "/old");
    bind("bind-ro", new, "/new");
    bind("bind-ro", &here("tests/tests/system/packages/life.sh"), "/life.sh");
    bind("bind-ro", &work.join("life.service"), "/etc/systemd/system/life.service");
    bind("bind", work, "/work");
    boot.arg("systemd.wants=life.service");
    let mut machine = Process::start("the machine", boot, &work.join("console"));
    machine.wait(Duration::from_secs(240));
    let log = fs::read_to_string(work.join("log")).unwrap_or_default();
    let passed = work.join("passed").exists();
    assert!(passed, "{}\n{}", tail(&machine.output()), tail(&log));
}

#[test]
#[ignore = "needs root, systemd and the programs: tests/run"]
fn debian_upgrade_keeps_the_backlog_and_purge_leaves_nothing() {
    live("deb", &release(NEW));
}

#[test]
#[ignore = "needs root, systemd and the programs: tests/run"]
fn rpm_upgrade_keeps_the_backlog_and_removal_keeps_the_data() {
    make_base_system();
    live("rpm", &release(NEW));
}

/// Creates the package that represents the base system in an otherwise empty rpm database.
fn make_base_system() {
    let base = "cd $1 && printf '%s\\n' 'name: base-system' 'arch: amd64' 'version: 1.0.0' \
                'provides: [\"glibc = 2.28\", /usr/sbin/useradd, /bin/sh]' >base.yaml && \
                $($2 nfpm) package --config base.yaml --packager rpm && rm base.yaml";
    must(base, &[&release(OLD), &here("deploy/tools/get")]);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn install_script_verifies_checksums_and_installs_from_a_url() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (place, prefix) = (folder.path().join("place"), folder.path().join("prefix"));
    must("cp -r $1 $2", &[&release(NEW), &place]);
    let install = |from: &str, names: &[&str]| {
        let mut script = Command::new("sh");
        script.arg(here("deploy/install.sh")).args(["--from", from, "--prefix"]).arg(&prefix);
        script.args(names).output().expect("a shell runs")
    };
    let local = place.to_str().expect("a path in UTF-8").to_owned();

    // One more byte in the archive.
    must("for it in $1/*.tar.gz; do printf x >>$it; done", &[&place]);
    let rejected = install(&local, &["edge"]);
    assert_eq!(rejected.status.code(), Some(1), "{}", text(&rejected));
    assert!(text(&rejected).contains("the checksum of aqueduct-"), "{}", text(&rejected));
    assert!(!prefix.exists(), "nothing may be installed before all checksums are verified");
    // A file that is missing in SHA256SUMS.
    must("cp $2/*.tar.gz $1/ && : >$1/SHA256SUMS", &[&place, &release(NEW)]);
    let unnamed = install(&local, &["edge"]);
    assert_eq!(unnamed.status.code(), Some(1), "{}", text(&unnamed));
    assert_eq!(install(&local, &["everything"]).status.code(), Some(2));
    assert_eq!(install("http://example.invalid", &["edge"]).status.code(), Some(2));

    let address = http::free_address();
    let mut server = Command::new("python3");
    server.args(["-m", "http.server", "--bind", "127.0.0.1", &address.port().to_string()]);
    server.arg("--directory").arg(release(NEW));
    let _server = Process::start("http.server", server, &folder.path().join("server.log"));
    wait::until("the server", Duration::from_secs(20), || http::get(address, "/SHA256SUMS"));
    let installed = install(&format!("http://{address}"), &["edge", "collector", "tools"]);
    assert!(installed.status.success(), "{}", text(&installed));
    for name in ["aqueduct", "aqueduct-edge", "aqueduct-collector"] {
        must("$1 --version", &[&prefix.join("bin").join(name)]);
        must("gzip -t $1", &[&prefix.join(format!("share/man/man1/{name}.1.gz"))]);
    }
    let share = prefix.join("share");
    must("test -s $1/bash-completion/completions/aqueduct", &[&share]);
    let check = "$1/bin/aqueduct check $1/share/aqueduct/examples/edge.toml";
    must(check, &[&prefix]);
}

/// Returns skopeo's output for an archive.
fn inspect(option: &str, archive: &Path) -> String {
    must("skopeo inspect $1 oci-archive:$2", &[Path::new(option), archive])
}

#[test]
#[ignore = "needs root, buildah and the programs: tests/run"]
fn images_run_as_a_user_without_rights() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let mut build = Command::new(here("deploy/docker/archives"));
    build.arg(RELEASES.path().join("programs")).arg(out.path());
    // The edge of the tests is not static.
    build.env("EDGE_BASE", "docker.io/library/debian:bookworm-slim").env("VERSION", NEW);
    let built = build.output().expect("the script is in the repository");
    assert!(built.status.success(), "{}", text(&built));
    for kind in ["edge", "collector", "tools"] {
        let archive = out.path().join(format!("aqueduct-{kind}-{NEW}.oci.tar"));
        let config = inspect("--config", &archive);
        assert!(config.contains("\"User\": \"65532:65532\""), "{kind}: {config}");
    }
    let edge = out.path().join(format!("aqueduct-edge-{NEW}.oci.tar"));
    let run = "store=$(mktemp -d) && trap 'rm -rf $store' EXIT && \
               b() { buildah --root $store/a --runroot $store/b --storage-driver vfs \"$@\"; } && \
               export BUILDAH_ISOLATION=chroot && \
               c=$(b from -q oci-archive:$1) && b run $c id -u && \
               b run $c /usr/bin/aqueduct-edge --version";
    let printed = must(run, &[&edge]);
    assert!(printed.starts_with("65532\naqueduct-edge "), "{printed}");
}

/// Takes an hour, so only long tests do it.
#[test]
#[ignore = "needs root, and an hour: tests/run --long"]
fn release_of_a_clean_clone_installs_and_upgrades() {
    if !is_long() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (clone, dist) = (folder.path().join("clone"), folder.path().join("dist"));
    must("git clone --quiet $1 $2", &[&here("."), &clone]);
    println!("{}", must("$1/deploy/release $2", &[&clone, &dist]));
    must("cd $1 && sha256sum --check --strict SHA256SUMS", &[&dist]);
    let index = inspect("--raw", &dist.join(format!("aqueduct-edge-{NEW}.oci.tar")));
    for architecture in ["amd64", "arm64"] {
        assert!(index.contains(&format!("\"architecture\":\"{architecture}\"")), "{index}");
    }
    for program in ["aqueduct", "aqueduct-edge", "aqueduct-collector"] {
        let bill = fs::read_to_string(dist.join(format!("{program}-{NEW}.cdx.json")));
        let bill = bill.expect("the script made it");
        assert!(bill.contains("CycloneDX") && bill.contains("tokio"), "{program}");
    }
    make_base_system();
    live("deb", &dist);
    live("rpm", &dist);
}
