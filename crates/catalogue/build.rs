//! Build script of the catalogue: `pages.rs` = the pages of `docs/components`, by role and kind.

#![expect(clippy::disallowed_methods, reason = "a build script has no `Env`")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Read when it runs: a target folder may serve several checkouts of the project.
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let pages = own.join("../../docs/components").canonicalize()?;
    println!("cargo:rerun-if-changed={}", pages.display());
    let mut table = "/// Role, kind and text of each page.\n\
                     const PAGES: &[(&str, &str, &str)] = &[\n"
        .to_owned();
    for folder in sorted(&pages)?.into_iter().filter(|path| path.is_dir()) {
        // The folder `sources` holds the pages of the role `source`.
        let role = name(&folder).trim_end_matches('s');
        for page in sorted(&folder)? {
            let kind = name(&page);
            writeln!(table, "    ({role:?}, {kind:?}, include_str!({page:?})),")
                .expect("a string takes it");
        }
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("pages.rs"), table)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// The name of a file without its ending.
fn name(path: &Path) -> &str {
    path.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}
