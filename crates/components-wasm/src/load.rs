//! A module: read, checked, compiled and linked.

use std::io;
use std::sync::Arc;

use crypto::digest::{SHA256, digest};
use pipeline::Events;
use pipeline::env::OpenMode;
use support::hex::hex;
use wasmtime::{Config, Engine, ExternType, InstancePre, Linker, Module, ValType};

use crate::call::timed;
use crate::config::Options;
use crate::error::Fault;
use crate::host::{FUNCTIONS, Guest, MODULE, link};
use crate::{VERSION, cache};

/// Maximum size of the file of a module.
const FILE_MAX: u64 = 64 << 20;

/// The exported memory.
pub(crate) const MEMORY: &str = "memory";
/// The exported function for batches.
pub(crate) const INTERCEPT: &str = "aqueduct_intercept";
/// The exported function that returns the version of the contract.
const ABI: &str = "aqueduct_abi";

/// A compiled module that fits the contract.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<Guest>,
}

/// Loads the module.
///
/// # Errors
/// It cannot be read, or does not fit the contract.
pub(crate) async fn load(options: &Arc<Options>) -> Result<Arc<Loaded>, Fault> {
    let of_work = options.clone();
    let compiled = options.env.offload(move || compile(&of_work)).await;
    let (loaded, has_intercept) = compiled.map(|(loaded, has)| (Arc::new(loaded), has))?;
    let (version, _) = timed(&loaded, options, Events::default(), |store, instance| {
        instance.get_typed_func::<(), i32>(&mut *store, ABI)?.call(store, ())
    })
    .await;
    match version? {
        VERSION if has_intercept => Ok(loaded),
        VERSION => Err(Fault::Export(INTERCEPT)),
        other => Err(Fault::Version(other)),
    }
}

/// Reads and compiles the module. Returns whether it exports the function of an interceptor, too: a
/// module of another version may have another one.
fn compile(options: &Options) -> Result<(Loaded, bool), Fault> {
    let file = read(options)?;
    let found = hex(digest(&SHA256, &file).as_ref());
    if let Some(expected) = options.sha256.clone().filter(|expected| *expected != found) {
        return Err(Fault::Digest { found, expected });
    }
    let engine = engine().map_err(|error| Fault::invalid(&error))?;
    let module = cache::module(&engine, &file, &found, options)?;
    for import in module.imports() {
        if import.module() != MODULE || !FUNCTIONS.contains(&import.name()) {
            return Err(Fault::Import(format!("{}.{}", import.module(), import.name())));
        }
    }
    if !matches!(module.get_export(MEMORY), Some(ExternType::Memory(_))) {
        return Err(Fault::Export(MEMORY));
    }
    if !is_function(&module, ABI, 0) {
        return Err(Fault::Export(ABI));
    }
    let mut linker = Linker::new(&engine);
    let linked = link(&mut linker).and_then(|()| linker.instantiate_pre(&module));
    let pre = linked.map_err(|error| Fault::invalid(&error))?;
    tracing::info!(plugin = %options.shown, sha256 = found, "the module of the plug-in is loaded");
    Ok((Loaded { engine, pre }, is_function(&module, INTERCEPT, 1)))
}

fn read(options: &Options) -> Result<Vec<u8>, Fault> {
    let file = options.env.disk.open(&options.module, OpenMode::default()).map_err(Fault::Read)?;
    let bytes = file.stat().map_err(Fault::Read)?.len;
    if bytes > FILE_MAX {
        return Err(Fault::Large { bytes, max: FILE_MAX });
    }
    let content = file.read(0, bytes as usize).map_err(Fault::Read)?;
    match content.len() as u64 == bytes {
        true => Ok(content),
        false => Err(Fault::Read(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Returns an engine whose results depend on nothing but the module and its input: no threads, no
/// instructions that differ between processors, one bit pattern for NaN.
fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    Engine::new(&config)
}

/// Whether the module exports a function with this many arguments, which returns one value.
fn is_function(module: &Module, name: &str, arguments: usize) -> bool {
    let Some(ExternType::Func(function)) = module.get_export(name) else { return false };
    let is_i32 = |value: ValType| matches!(value, ValType::I32);
    let (arguments_found, results) = (function.params().len(), function.results().len());
    (arguments_found, results) == (arguments, 1)
        && function.params().all(is_i32)
        && function.results().all(is_i32)
}
