//! Goal: the Debian packages hold what their users expect: programs that run, units that are
//! closed, configurations that an upgrade keeps, and a channel that outlives all but a purge.
//!
//! Method: `deploy/debian/build` makes packages of the programs that are built, dpkg unpacks them
//! into a folder, and what is there is looked at and run.
//!
//! Lane: container
//! Needs: systemd-analyze dpkg-shlibdeps strip
//! Weight: 1
//! Limit: 10m
//! Paths: deploy/debian deploy/systemd

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aqueduct_tests::agent::program;

/// What a command printed.
fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).trim().to_owned()
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs a script with these arguments, which has to succeed; answers what it prints.
fn must(script: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new("sh");
    let output = command.args(["-euc", script, "sh"]).args(arguments).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "{script}: {}", text(&output));
    text(&output)
}

/// What is printed for a unit by `systemd-analyze security`: 0 is closed, 10 is open.
#[test]
#[ignore = "needs systemd: tests/run"]
fn the_units_are_closed_to_what_they_do_not_need() {
    for kind in ["edge", "collector", "flume@"] {
        let unit = here(&format!("deploy/systemd/aqueduct-{kind}.service"));
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--threshold=20"]).arg(unit);
        let judged = analyze.output().expect("systemd-analyze is installed");
        assert!(judged.status.success(), "over 2.0: {}", text(&judged));
    }
}

#[test]
#[ignore = "needs dpkg and the programs: tests/run"]
fn packages_hold_programs_that_run_with_the_configurations_that_they_bring() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, root) = (folder.path().join("out"), folder.path().join("root"));
    let programs = PathBuf::from(program("aqueduct").get_program());
    let mut build = Command::new(here("deploy/debian/build"));
    build.arg(programs.parent().expect("a folder")).arg(&out);
    build.env("VERSION", "0.1.0").env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    let built = build.output().expect("the script is there");
    assert!(built.status.success(), "{}", text(&built));
    let names = must("cd $1 && ls", &[&out]);
    let packages: Vec<&str> = names.lines().collect();
    assert_eq!(packages.len(), 3, "{names}");

    for package in &packages {
        let package = out.join(package);
        must("dpkg-deb --extract $1 $2", &[&package, &root]);
        let kept = must("dpkg-deb --ctrl-tarfile $1 | tar -xOf - ./conffiles || true", &[&package]);
        let name = package.file_name().expect("a file").to_string_lossy().into_owned();
        for kind in ["edge", "collector"] {
            let is_kept = kept.contains(&format!("/etc/aqueduct/{kind}.toml"));
            assert_eq!(is_kept, name.starts_with(&format!("aqueduct-{kind}_")), "{name}: {kept}");
        }
    }
    for file in [
        "lib/systemd/system/aqueduct-edge.service",
        "lib/systemd/system/aqueduct-collector.service",
        "usr/share/man/man1/aqueduct-check.1.gz",
        "usr/share/bash-completion/completions/aqueduct",
    ] {
        must("test -s $1", &[&root.join(file)]);
    }
    for name in ["aqueduct", "aqueduct-edge", "aqueduct-collector"] {
        must("$1 --version", &[&root.join("usr/bin").join(name)]);
    }
    let check =
        "$1/usr/bin/aqueduct check $1/etc/aqueduct/edge.toml $1/etc/aqueduct/collector.toml";
    must(check, &[&root]);

    // What dpkg runs before and after: all of it is made for its agent, and only a purge removes.
    for package in packages.iter().filter(|name| !name.starts_with("aqueduct_")) {
        let scripts = folder.path().join(package.replace(".deb", ""));
        must("dpkg-deb --control $1 $2", &[&out.join(package), &scripts]);
        for script in ["postinst", "prerm", "postrm"] {
            let text = must("sh -n $1 && cat $1", &[&scripts.join(script)]);
            assert!(!text.contains('@'), "{package}: {script}: {text}");
            let removes = text.contains("rm -rf");
            assert_eq!(removes, script == "postrm", "{package}: {script}: {text}");
        }
        let text = must("cat $1", &[&scripts.join("postrm")]);
        let (before, _) = text.split_once("rm -rf").expect("it was there");
        assert!(before.contains("purge"), "{package}: {text}");
    }
}
