//! Every store has the guarantees that commits depend on.
//!
//! Method: one suite, `storage::conformance`, run in a separate directory on each store of this
//! crate. Other stores run it in the tests of their crates.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

use std::sync::Arc;

use aqueduct_storage::conformance::keeps_the_promises;
use aqueduct_storage::local::Local;
use aqueduct_storage::memory::Memory;
use aqueduct_storage::objects::Objects;

#[tokio::test]
async fn memory_keeps_the_promises() {
    keeps_the_promises(Arc::new(Memory::new()), "/root").await;
}

#[tokio::test]
async fn the_simulated_object_store_keeps_the_promises() {
    keeps_the_promises(Arc::new(Objects::over(Arc::new(Memory::new()))), "/root").await;
}

#[tokio::test]
async fn local_keeps_the_promises() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    keeps_the_promises(Arc::new(Local::new(env::real())), root.to_str().unwrap()).await;
}
