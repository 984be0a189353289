//! Compiled modules in the data directory of the agent, so that a start does not compile again.
//!
//! A file is named by the digest of its module and by the compiler and its settings. It begins with
//! the digest of its content: a damaged or incomplete file is compiled again. The digest does
//! not protect from other writers of the data directory: compiled code runs with the rights of the
//! agent. Only the agent may write there, as for its other files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use crypto::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use pipeline::Env;
use pipeline::env::{resolved, small_file};
use wasmtime::{Engine, Module};

use crate::config::Options;
use crate::error::Fault;

/// Maximum size of a compiled module.
const FILE_MAX: u64 = 512 << 20;
/// Number of compiled modules in a folder at which all of them are removed before the next one.
const FILES_MAX: usize = 32;

/// Returns the compiled module of a file with this digest.
///
/// # Errors
/// The file is not a module.
pub(crate) fn module(
    engine: &Engine,
    file: &[u8],
    sha256: &str,
    options: &Options,
) -> Result<Module, Fault> {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let folder = resolved(&*options.env.disk, &options.compiled);
    let path = folder.join(format!("{sha256}-{:016x}", hasher.finish()));
    if let Some(module) = stored(engine, &options.env, &path) {
        return Ok(module);
    }
    let module = Module::new(engine, file).map_err(|error| Fault::invalid(&error))?;
    let written = module.serialize().map_err(io::Error::other);
    let written = written.and_then(|content| store(&options.env, &folder, &path, &content));
    if let Err(error) = written {
        tracing::info!(
            plugin = %options.shown, path = %path.display(), %error,
            "cannot store the compiled module; the next start compiles it again"
        );
    }
    Ok(module)
}

/// Returns a stored module, if there is a complete one for this program and processor.
fn stored(engine: &Engine, env: &Env, path: &Path) -> Option<Module> {
    let file = small_file::find(&*env.disk, path).ok()??;
    let bytes = file.stat().ok()?.len;
    if bytes > FILE_MAX {
        return None;
    }
    let content = file.read(0, bytes as usize).ok()?;
    let (expected, code) = content.split_first_chunk::<SHA256_OUTPUT_LEN>()?;
    if digest(&SHA256, code).as_ref() != expected {
        return None;
    }
    deserialize(engine, code)
}

#[expect(unsafe_code, reason = "wasmtime cannot check that compiled code was not forged")]
fn deserialize(engine: &Engine, code: &[u8]) -> Option<Module> {
    // SAFETY: `store` has written this content: the digest shows damage, and only the agent may
    // write to its data directory. The engine checks version and processor.
    unsafe { Module::deserialize(engine, code) }.ok()
}

fn store(env: &Env, folder: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
    env.disk.create_dir_all(folder)?;
    let names = env.disk.list(folder)?;
    if names.len() >= FILES_MAX {
        for (name, _) in names {
            env.disk.remove_file(&folder.join(name))?;
        }
    }
    small_file::replace(&*env.disk, path, &[digest(&SHA256, code).as_ref(), code].concat())
}
