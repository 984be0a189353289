//! Goal: the FIPS build does all of the project's cryptography by the module of AWS-LC, says so,
//! does not start without it, refuses what other libraries would compute, and goes together with
//! the default build.
//!
//! Method: `aqueduct` is built with the feature `fips`, and with the components that use the
//! project's own cryptography, into a folder of the user's cache, which is kept: the first time
//! takes a quarter of an hour. Its symbols are looked at; a copy with one changed bit is started;
//! both builds stand at both ends of TLS and of a sealed channel. All of it only with
//! `AQUEDUCT_LONG`. What the other components refuse is held by their own tests, in each build.
#![allow(
    clippy::disallowed_methods,
    reason = "a system test looks at the machine as it is: its clock, its disk"
)]

#[path = "fips/built.rs"]
mod built;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::{http, is_long, wait};
use built::{Elf, tests_pass};

const LIMIT: Duration = Duration::from_secs(120);

/// The two builds, each with what `--version` has to say of it.
struct Builds {
    plain: &'static str,
    fips: &'static str,
}

/// Both; `None` where tests have to be quick.
fn builds() -> Option<Builds> {
    if !is_long() {
        println!("left out: it builds for minutes, so only AQUEDUCT_LONG=1 tests/run fips does it");
        return None;
    }
    let plain = program("aqueduct").get_program().to_string_lossy().into_owned();
    Some(Builds { plain: plain.leak(), fips: built::fips() })
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.output().expect("it runs")
}

/// All that it says.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn succeeds(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "takes minutes: AQUEDUCT_LONG=1 tests/run fips"]
fn it_has_the_module_alone_and_does_not_start_with_a_changed_one() {
    let Some(Builds { plain, fips }) = builds() else { return };
    let version = succeeds(fips, &["--version"]);
    assert!(version.contains(", AWS-LC FIPS "), "{version}");
    let default = succeeds(plain, &["--version"]);
    assert!(!default.contains("FIPS"), "{default}");

    let count = |elf: &Elf, part: &str| elf.symbols().filter(|name| name.contains(part)).count();
    let (with, without) = (Elf::read(Path::new(fips)), Elf::read(Path::new(plain)));
    for (part, in_fips, in_default) in [
        ("aws_lc_fips_", true, false),
        ("aws_lc_0_", false, false),
        ("ring_core_", false, true),
        ("ring4aead", false, true),
    ] {
        assert_eq!(count(&with, part) > 0, in_fips, "{part} in the FIPS build");
        assert_eq!(count(&without, part) > 0, in_default, "{part} in the default build");
    }

    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("aqueduct").display().to_string();
    fs::copy(fips, &copy).expect("room for a copy");
    assert_eq!(succeeds(&copy, &["--version"]), version, "a copy is as good");
    with.change_a_bit_of_the_module(Path::new(&copy));
    let output = run(&copy, &["--version"]);
    let text = said(&output);
    assert!(!output.status.success() && output.stdout.is_empty(), "{text}");
    assert!(text.contains("integrity test failed"), "{text}");
}

#[test]
#[ignore = "takes minutes: AQUEDUCT_LONG=1 tests/run fips"]
fn tests_of_the_crates_pass_in_the_fips_build() {
    if builds().is_none() {
        return;
    }
    let packages = ["crypto", "tls", "channel", "env", "storage-objects"];
    let names = ["approved", "versions", "every_build_seals_in_the_same_way", "start", "outside"];
    let vectors = ["of_their_standard", "of_openssl", "others_each_time", "signatures"];
    let passed = tests_pass(&packages, &[&names[..], &vectors].concat());
    for name in [
        "configurations_of_both_sides_are_approved_in_a_fips_build_alone",
        "a_peer_with_what_is_not_approved_alone_is_refused_by_a_fips_build",
        "the_least_version_holds_on_both_sides",
        "every_build_seals_in_the_same_way",
        "a_program_starts_with_the_library_of_its_build",
        "a_fips_build_refuses_each_and_the_default_build_none",
        "seals_are_those_of_their_standard_and_open_again",
        "signatures_are_those_of_openssl",
    ] {
        assert!(passed.lines().any(|it| it.contains(name) && it.ends_with(" ok")), "{name}");
    }
}

/// The numbers of `count` lines, one a line.
fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line:05}\n")).collect()
}

#[test]
#[ignore = "takes minutes: AQUEDUCT_LONG=1 tests/run fips"]
fn each_build_opens_the_channels_that_the_other_one_has_sealed() {
    let Some(Builds { plain, fips }) = builds() else { return };
    for (writes, reads) in [(plain, fips), (fips, plain)] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path();
        let here = at.display();
        succeeds(writes, &["channel", "rotate-key", &format!("{here}/keys")]);
        fs::write(at.join("in.log"), lines(1_000)).expect("a file");
        let nowhere = http::free_address();
        let text = format!(
            "[agent]\ndata_dir = \"{here}/data\"\ngrace = \"1s\"\n\
             [sources.tail]\ntype = \"tail_dir\"\npaths = [\"{here}/in.log\"]\n\
             channels = [\"main\"]\n\
             [channels.main]\ntype = \"durable\"\nencryption = {{ key_file = \"{here}/keys\" }}\n\
             [sinks.next]\ntype = \"grpc\"\naddress = \"{nowhere}\"\nchannel = \"main\"\n"
        );
        let mut edge = start(writes, "edge", at, &text);
        let series = "aqueduct_channel_events{channel=\"main\"}";
        wait::until("the channel to hold all", LIMIT, || {
            edge.metrics()?.value(series).filter(|events| *events >= 1_000.0)
        });
        edge.stop(LIMIT);
        let channel = format!("{here}/data/channels/main");
        assert!(!run(reads, &["channel", "export", &channel]).status.success(), "without a key");
        let keys = format!("{here}/keys");
        let found = succeeds(reads, &["channel", "export", &channel, "--key-file", &keys]);
        assert_eq!(found, lines(1_000));
        let status = succeeds(reads, &["channel", "check", &channel, "--key-file", &keys]);
        assert!(!status.is_empty());
    }
}

/// `program ROLE` with this configuration, running.
fn start(program: &'static str, role: &'static str, dir: &Path, text: &str) -> Agent {
    let file = dir.join(format!("{role}.toml"));
    fs::write(&file, text).expect("a file");
    let arguments = [role, "--config", &file.display().to_string()];
    let mut agent = Agent::new(program, &arguments, &dir.join(format!("{role}.out")));
    agent.start();
    agent
}

#[test]
#[ignore = "takes minutes: AQUEDUCT_LONG=1 tests/run fips"]
fn both_builds_speak_tls_with_each_other_by_certificates_of_either() {
    let Some(Builds { plain, fips }) = builds() else { return };
    for (edge, collector) in [(fips, plain), (plain, fips), (fips, fips)] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path();
        let here = at.display().to_string();
        succeeds(edge, &["pki", "init", &here]);
        for (role, name) in [("collector", "127.0.0.1"), ("edge", "web-1")] {
            succeeds(collector, &["pki", role, name, "--ca", &here, "--out", &here]);
        }
        let address = http::free_address();
        let tls = |name: &str, authority: &str| {
            format!(
                "tls = {{ certificate = \"{here}/{name}.pem\", key = \"{here}/{name}.key\", \
                 {authority} = \"{here}/ca.pem\" }}\n"
            )
        };
        let store = format!(
            "[agent]\ndata_dir = \"{here}/collector\"\n\
             [sources.edges]\ntype = \"grpc\"\nlisten = \"{address}\"\nchannels = [\"main\"]\n{}\
             [channels.main]\ntype = \"memory\"\n\
             [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{here}/store\"\nchannel = \"main\"\n\
             roll = {{ age_max = \"200ms\" }}\n",
            tls("127.0.0.1", "client_ca"),
        );
        let follow = format!(
            "[agent]\ndata_dir = \"{here}/edge\"\n\
             [sources.tail]\ntype = \"tail_dir\"\npaths = [\"{here}/in.log\"]\n\
             channels = [\"main\"]\n\
             [channels.main]\ntype = \"memory\"\n\
             [sinks.next]\ntype = \"grpc\"\naddress = \"{address}\"\nchannel = \"main\"\n{}",
            tls("web-1", "ca"),
        );
        fs::write(at.join("in.log"), lines(100)).expect("a file");
        let mut storing = start(collector, "collector", at, &store);
        let mut following = start(edge, "edge", at, &follow);
        wait::until("all lines in the store", LIMIT, || {
            let files = fs::read_dir(at.join("store")).ok()?.flatten();
            let files = files.map(|it| it.path()).filter(|path| path.is_file());
            let texts = files.map(|path| fs::read_to_string(path).unwrap_or_default());
            (texts.collect::<String>().lines().count() == 100).then_some(())
        });
        if collector == fips {
            log_names_the_module(at);
            openssl_is_served(&address.to_string(), at);
        }
        following.stop(LIMIT);
        storing.stop(LIMIT);
    }
}

fn log_names_the_module(dir: &Path) {
    let log = fs::read_to_string(dir.join("collector.out")).expect("its log");
    assert!(log.contains("the module has passed its self-tests"), "{log}");
}

/// OpenSSL as a client, with what is approved and with what is not.
fn openssl_is_served(address: &str, dir: &Path) {
    for (offer, is_served) in [
        ("-groups P-256 -ciphersuites TLS_AES_128_GCM_SHA256", true),
        ("-tls1_2 -groups P-256", true),
        ("-groups X25519", false),
        ("-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", false),
        ("-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", false),
    ] {
        let words = "-brief -verify_return_error -CAfile ca.pem -cert web-1.pem -key web-1.key";
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", address]).args(words.split(' '));
        client.args(offer.split(' ')).current_dir(dir).stdin(Stdio::null());
        let output = client.output().expect("openssl runs");
        let text = said(&output);
        assert_eq!(text.contains("CONNECTION ESTABLISHED"), is_served, "{offer}: {text}");
    }
}

#[test]
#[ignore = "takes minutes: AQUEDUCT_LONG=1 tests/run fips"]
fn what_another_library_would_compute_is_refused_at_its_setting() {
    let Some(Builds { plain, fips }) = builds() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().display();
    let file = dir.path().join("it.toml");
    let text = format!(
        "[agent]\ndata_dir = \"{at}\"\n[sources.in]\ntype = \"sequence\"\n\
         channels = [\"main\"]\n[channels.main]\ntype = \"memory\"\n\
         [sinks.out]\nchannel = \"main\"\ntype = \"grpc\"\naddress = \"127.0.0.1:1\"\n\
         tls = {{ truststore = \"/ca.p12\", truststore_password = \"x\" }}\n"
    );
    fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    succeeds(plain, &["check", &file]);
    let checked = run(fips, &["check", &file]);
    let text = said(&checked);
    assert!(!checked.status.success(), "{text}");
    for part in ["sinks.out.tls.truststore", "a FIPS build refuses it", "openssl pkcs12"] {
        assert!(text.contains(part), "{text}");
    }
}
