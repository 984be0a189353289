//! What the script of librdkafka looks for before it builds its part for Kerberos: a header, and a
//! library to link with. That one is empty: the functions are in this crate.

use std::path::PathBuf;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "a build script has no `Env`")]
fn main() {
    println!("cargo:rerun-if-changed=include/sasl/sasl.h");
    let root = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let (headers, libraries) = (root.join("include/sasl"), root.join("lib"));
    for folder in [&headers, &libraries] {
        fs::create_dir_all(folder).expect("the folder of this build");
    }
    fs::copy("include/sasl/sasl.h", headers.join("sasl.h")).expect("a header");
    fs::write(libraries.join("libsasl2.a"), "!<arch>\n").expect("the folder of this build");
    println!("cargo:root={}", root.display());
}
