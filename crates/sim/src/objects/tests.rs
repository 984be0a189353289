use std::sync::Arc;

use storage::conformance::keeps_the_promises;
use storage_objects::testkit::ServerTraits;

use crate::books::Books;
use crate::machine::Machine;
use crate::scenario::Scenario;
use crate::store::Store;
use crate::world::World;

/// The conformance suite for real buckets passes here, with single-part and multipart files.
#[tokio::test(start_paused = true)]
async fn a_bucket_on_the_simulated_server_keeps_the_promises_of_every_store() {
    for (copies_inside, part_bytes) in [(true, 1 << 20), (false, 1 << 20), (true, 16 << 20)] {
        let ways = ServerTraits { copies_inside, part_bytes };
        let scenario = Scenario::from_seed(1).in_a_bucket(ways);
        let world = Arc::new(World::new(1, false));
        let books = Arc::new(Books::new(world.clone(), &scenario));
        let (store, calls) = Store::new(world.clone(), books, &scenario);
        let serving = tokio::spawn(calls.serve());
        let machine = Arc::new(Machine::new("collector-0", 1, String::new(), world));
        let bucket = store.seen_from(&machine, &machine.env());
        assert!(!bucket.is_tree());
        keeps_the_promises(bucket, "/suite").await;
        serving.abort();
    }
}
