//! The FIPS build, and what is in its file.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use aqueduct_tests::go;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What uses the project's own cryptography; the other components would double the time.
const SELECTED: [&str; 3] =
    ["--no-default-features", "--features", "aqueduct/fips,aqueduct/hdfs,aqueduct/objects"];

/// Nothing but the module is optimised, which is twice as fast.
const PROFILE: [&str; 4] = [
    "--config",
    "profile.dev.package.\"*\".opt-level=0",
    "--config",
    "profile.dev.package.aws-lc-fips-sys.opt-level=1",
];

/// The program, built unless it is there and of these sources.
pub(crate) fn fips() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        done(cargo().args(["build", "-p", "aqueduct"]).args(SELECTED));
        folder().join(TRIPLE).join("debug/aqueduct").display().to_string()
    })
}

/// Runs the tests of these packages, in the FIPS build, that have one of `names` in their own.
/// Answers what they say.
pub(crate) fn tests_pass(packages: &[&str], names: &[&str]) -> String {
    let mut command = cargo();
    // With the program among the packages, so that the module is not built a second time.
    command.args(["test", "--lib", "--test", "vectors", "-p", "aqueduct"]).args(SELECTED);
    for package in packages {
        command.args(["-p", &format!("aqueduct-{package}")]);
    }
    done(command.arg("--").args(names))
}

fn folder() -> PathBuf {
    aqueduct_tests::flume::cache().join("fips")
}

/// The cargo of this test in a target folder of its own, with Go for the module.
fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.args(PROFILE).env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    // What cargo tells this test about its own package would build some crates anew.
    let of_the_test = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_the_test(name)) {
        command.env_remove(name);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", go::folder().display()));
    command.env("CARGO_TARGET_DIR", folder()).current_dir(root);
    command
}

fn done(command: &mut Command) -> String {
    let output = command.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A program as a file.
pub(crate) struct Elf {
    bytes: Vec<u8>,
    /// Lines of `nm`: address, kind, name.
    names: String,
}

impl Elf {
    pub(crate) fn read(path: &Path) -> Self {
        let names = done(Command::new("nm").arg(path));
        Self { bytes: fs::read(path).expect("a program"), names }
    }

    pub(crate) fn symbols(&self) -> impl Iterator<Item = &str> {
        self.names.lines().filter_map(|line| line.split_whitespace().last())
    }

    /// Changes a bit of the module's code in a copy of this program.
    pub(crate) fn change_a_bit_of_the_module(&self, copy: &Path) {
        let address = |name: &str| {
            let line = self.names.lines().find(|line| line.ends_with(name));
            let digits = line.and_then(|line| line.split(' ').next()).expect("a symbol");
            usize::from_str_radix(digits, 16).expect("an address")
        };
        let (from, to) = (address("BORINGSSL_bcm_text_start"), address("BORINGSSL_bcm_text_end"));
        assert!(to - from > 100_000, "the code of the module");
        let mut bytes = self.bytes.clone();
        // Far from what the check itself runs through.
        bytes[self.place(from + 64)] ^= 1;
        fs::write(copy, bytes).expect("room for a copy");
    }

    /// Where in the file an address is, by the program headers.
    fn place(&self, address: usize) -> usize {
        let number = |at: usize, len: usize| {
            let field = &self.bytes[at..at + len];
            field.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        let mut headers = (0..count).map(|index| table + index * size);
        let found = headers.find_map(|at| {
            let (offset, from, len) = (number(at + 8, 8), number(at + 16, 8), number(at + 32, 8));
            let is_load = number(at, 4) == 1;
            (is_load && (from..from + len).contains(&address)).then(|| address - from + offset)
        });
        found.expect("the address is loaded from the file")
    }
}
