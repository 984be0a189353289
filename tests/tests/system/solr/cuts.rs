//! Loses responses of Solr with their connections.

use std::time::Instant;

use aqueduct_tests::chain::{BATCH_BYTES, CUTS, Chain, losses};
use aqueduct_tests::seed;
use aqueduct_tests::solr::Solr;
use aqueduct_tests::wire::{End, Wire};

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn lost_answers_lose_no_document_and_repeat_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let solr = Solr::start(dir);
    solr.create();
    let losses = losses(End::Server, BATCH_BYTES);
    let wire = Wire::losing_answers(solr.address(), losses, seed::rng("solr"));
    let sink = format!(
        "type = \"solr\"\ncollection = \"lines\"\nurls = [\"http://{}/solr\"]\n\
         message_field = \"line_s\"\ncommit_within = \"1s\"",
        wire.address
    );
    let mut chain = Chain::start(dir, "cuts", &sink, None);
    let lines = chain.lose(&[&wire]);
    let repeats = chain.repeats(|_| solr.lines());
    eprintln!("{CUTS} answers lost; {lines} documents, {repeats} repeats; {:?}", began.elapsed());
    assert_eq!(repeats, 0, "a batch that goes again replaces its documents");
}
