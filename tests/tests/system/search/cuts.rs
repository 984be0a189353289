//! Loses responses of the engine with their connections.

use std::collections::BTreeMap;
use std::time::Instant;

use aqueduct_tests::chain::{BATCH_BYTES, CUTS, Chain, losses};
use aqueduct_tests::seed;
use aqueduct_tests::store::counted;
use aqueduct_tests::wire::{End, Wire};

use super::Engine;

/// Counts how often each line is in the index.
fn indexed(engine: &Engine) -> BTreeMap<String, usize> {
    let documents = engine.documents("cuts");
    counted(documents.iter().map(|it| it["_source"]["message"].as_str().expect("a line")))
}

#[test]
#[ignore = "needs the programs, Java, Maven and curl: tests/run"]
fn lost_answers_lose_no_document_and_repeat_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let engine = Engine::start(dir);
    let losses = losses(End::Server, BATCH_BYTES);
    let wire = Wire::losing_answers(engine.address, losses, seed::rng("search"));
    let sink =
        format!("type = \"elasticsearch\"\nindex = \"cuts\"\nurls = [\"http://{}\"]", wire.address);
    let mut chain = Chain::start(dir, "cuts", &sink, None);
    let lines = chain.lose(&[&wire]);
    let repeats = chain.repeats(|_| indexed(&engine));
    eprintln!("{CUTS} answers lost; {lines} documents, {repeats} repeats; {:?}", began.elapsed());
    assert_eq!(repeats, 0, "a batch that goes again is known by the ids of its documents");
}
