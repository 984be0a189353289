//! Programs that tests call, and their Debian packages.

use std::path::Path;
use std::process::{Command, Stdio};

/// Name in the heads of tests, file, Debian package. A file without `/` is searched in `PATH`.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("awk", "awk", "mawk"),
    ("buildah", "buildah", "buildah"),
    ("c++", "c++", "g++"),
    ("cc", "cc", "build-essential"),
    ("chromedriver", "chromedriver", "chromium-driver"),
    ("chromium", "chromium", "chromium"),
    ("clang", "clang", "clang"),
    ("cmake", "cmake", "cmake"),
    ("cp", "cp", "coreutils"),
    ("curl", "curl", "curl"),
    ("debootstrap", "debootstrap", "debootstrap"),
    ("docker", "docker", "docker.io"),
    ("docker-compose", "docker-compose", "docker-compose"),
    ("dockerd", "dockerd", "docker.io"),
    ("dpkg-deb", "dpkg-deb", "dpkg"),
    ("dpkg-shlibdeps", "dpkg-shlibdeps", "dpkg-dev"),
    ("epmd", "epmd", "erlang-base"),
    ("flock", "flock", "util-linux"),
    ("go", "go", "golang"),
    ("gssapi", "/usr/lib/x86_64-linux-gnu/libgssapi_krb5.so.2", "libgssapi-krb5-2"),
    ("gzip", "gzip", "gzip"),
    ("iconv", "iconv", "libc-bin"),
    ("ip", "ip", "iproute2"),
    ("iptables", "iptables", "iptables"),
    ("java", "java", "default-jre-headless"),
    ("javac", "javac", "default-jdk-headless"),
    ("kadmin.local", "kadmin.local", "krb5-admin-server"),
    ("keytool", "keytool", "default-jre-headless"),
    ("kinit", "kinit", "krb5-user"),
    ("krb5kdc", "krb5kdc", "krb5-kdc"),
    ("kubectl", "kubectl", "kubernetes-client"),
    ("libsqlite3odbc", "/usr/lib/x86_64-linux-gnu/odbc/libsqlite3odbc.so", "libsqliteodbc"),
    ("libtdsodbc", "/usr/lib/x86_64-linux-gnu/odbc/libtdsodbc.so", "tdsodbc"),
    ("logger", "logger", "bsdutils"),
    ("logrotate", "logrotate", "logrotate"),
    ("mariadb", "mariadb", "mariadb-client-core"),
    ("mariadb-install-db", "mariadb-install-db", "mariadb-server-core"),
    ("mariadbd", "mariadbd", "mariadb-server-core"),
    ("mkfs.ext4", "mkfs.ext4", "e2fsprogs"),
    ("mosquitto", "mosquitto", "mosquitto"),
    ("mosquitto_passwd", "mosquitto_passwd", "mosquitto"),
    ("mosquitto_pub", "mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto_sub", "mosquitto-clients"),
    ("mount", "mount", "mount"),
    ("mvn", "mvn", "maven"),
    ("nats-server", "nats-server", "nats-server"),
    ("nc", "nc", "netcat-openbsd"),
    ("nginx", "nginx", "nginx"),
    ("nm", "nm", "binutils"),
    ("node", "node", "nodejs"),
    ("openssl", "openssl", "openssl"),
    ("perl", "perl", "perl"),
    ("postgres", "/usr/lib/postgresql/15/bin/postgres", "postgresql-15"),
    (
        "prometheus_client",
        "/usr/lib/python3/dist-packages/prometheus_client",
        "python3-prometheus-client",
    ),
    ("promtool", "promtool", "prometheus"),
    ("psql", "psql", "postgresql-client"),
    ("psqlodbc", "/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so", "odbc-postgresql"),
    ("python3", "python3", "python3-venv"),
    ("rabbitmq-server", "rabbitmq-server", "rabbitmq-server"),
    ("rsyslogd", "rsyslogd", "rsyslog"),
    ("rustc-debian", "/usr/bin/rustc", "rustc"),
    ("rustc-wasm32", "/usr/lib/rustlib/wasm32-unknown-unknown", "libstd-rust-dev-wasm32"),
    ("skopeo", "skopeo", "skopeo"),
    ("slirp4netns", "slirp4netns", "slirp4netns"),
    ("sql.h", "/usr/include/sql.h", "unixodbc-dev"),
    ("strip", "strip", "binutils"),
    ("systemd-analyze", "systemd-analyze", "systemd"),
    ("systemd-journald", "/usr/lib/systemd/systemd-journald", "systemd"),
    ("systemd-nspawn", "systemd-nspawn", "systemd-container"),
    ("tail", "tail", "coreutils"),
    ("unshare", "unshare", "util-linux"),
    ("valgrind", "valgrind", "valgrind"),
    ("vmstat", "vmstat", "procps"),
    ("wasm-ld", "wasm-ld", "lld"),
    ("wrk", "wrk", "wrk"),
    ("zstd", "zstd", "zstd"),
];

/// The name of the shared HDFS in heads, and its programs.
pub(crate) const HDFS: &str = "hdfs";
const HDFS_PROGRAMS: [&str; 4] = ["java", "mvn", "curl", "flock"];

/// The name of the MySQL server in heads, which `tests/mysql-server` provides.
const MYSQL: &str = "mysql-server";

/// Programs and libraries that every build needs.
pub(crate) const BUILD: [&str; 5] = ["cc", "awk", "sql.h", "libsqlite3odbc", "libtdsodbc"];

/// Returns whether a head may use this name.
pub(crate) fn is_known(name: &str) -> bool {
    [HDFS, MYSQL].contains(&name) || PROGRAMS.iter().any(|(known, ..)| *known == name)
}

/// A missing program: its name and its Debian package.
pub(crate) type Missing = (&'static str, &'static str);

/// Returns the programs among `needs` that this machine lacks.
pub(crate) fn missing(needs: &[String]) -> Vec<Missing> {
    let wanted = |name: &str| {
        let of_hdfs = needs.iter().any(|need| need == HDFS) && HDFS_PROGRAMS.contains(&name);
        of_hdfs || needs.iter().any(|need| need == name)
    };
    let rows = PROGRAMS.iter().filter(|(name, file, _)| wanted(name) && !is_installed(file));
    rows.map(|(name, _, package)| (*name, *package)).collect()
}

fn is_installed(file: &str) -> bool {
    if file.starts_with('/') {
        return Path::new(file).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(file).is_file())
}

/// Returns why a job with these needs cannot run here, including programs that can be installed.
pub(crate) fn obstacle(needs: &[String], root: bool) -> Option<String> {
    let has = |name: &str| needs.iter().any(|need| need == name);
    if let Some((program, package)) = missing(needs).first() {
        return Some(format!("no {program}; sudo apt-get install {package}"));
    }
    if root && !rustix::process::geteuid().is_root() {
        return Some("only root may do what it does".to_owned());
    }
    let devices = ["/dev/fuse", "/dev/loop-control"];
    if has("mkfs.ext4")
        && let Some(device) = devices.iter().find(|device| !Path::new(device).exists())
    {
        return Some(format!("the kernel has no {device}"));
    }
    if has("valgrind") && !has_avx2() {
        return Some("instructions are counted on processors with AVX2".to_owned());
    }
    let provided = || Command::new("tests/mysql-server").stdout(Stdio::null()).status();
    if has(MYSQL) && !provided().is_ok_and(|status| status.success()) {
        return Some(
            "its server cannot be provided; see the output of tests/mysql-server".to_owned(),
        );
    }
    None
}

fn has_avx2() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.split_whitespace().any(|flag| flag == "avx2")
}

/// Installs the packages of `missing` if possible. After a failure, the programs are still missing.
pub(crate) fn install(missing: &[Missing]) {
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    let can_install = rustix::process::geteuid().is_root() && is_installed("apt-get");
    if packages.is_empty() || !can_install {
        return;
    }
    eprintln!("installing: {}", packages.join(" "));
    // RUNLEVEL=1 prevents packages from starting their services: the tests start their own.
    let run = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive");
        command.status().is_ok_and(|status| status.success())
    };
    let options = ["-q", "install", "-y", "--no-install-recommends"];
    if !run(&["-q", "update"]) || !run(&[&options[..], &packages].concat()) {
        eprintln!("apt-get failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_package_of_a_missing_program_once() {
        let names: Vec<_> = PROGRAMS.iter().map(|(name, ..)| *name).collect();
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(BUILD.iter().chain(&HDFS_PROGRAMS).all(|name| is_known(name)));
        assert_eq!(missing(&[]), []);
        assert!(is_installed("sh") && !is_installed("no-such-program"));
    }
}
