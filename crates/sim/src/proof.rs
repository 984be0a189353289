//! The auditor's proof at the end of a seed: what `aqueduct verify --complete` looks at, on the
//! accounts that the edges' disks hold and on the ledgers of the store.
//!
//! Every host loses power first, so that an account is what a reader finds after that.

use std::path::Path;
use std::sync::Arc;

use channel::durable::inspect::Inspection;
use ledger::proof::prove;
use ledger::{Audit, Dataset, Settled};
use pipeline::Account;

use crate::books::{Books, PREFIX};
use crate::cluster::CHANNELS;
use crate::machine::Machine;
use crate::world::World;

/// Holds what the channels of `machines` have accepted against the ledgers; what it finds that is
/// not promised is a violation.
pub(crate) fn hold(world: &World, books: &Books, machines: &[Arc<Machine>], channels: &[&str]) {
    let mut accounts = Vec::new();
    for machine in machines {
        machine.disk().crash();
        for channel in channels {
            match account(machine, channel) {
                Ok(account) => accounts.push(account),
                Err(told) => world.violation(told),
            }
        }
    }
    let mut audits = Vec::new();
    for dataset in books.datasets() {
        match audit(books, &dataset) {
            Ok(audit) => audits.push(audit),
            Err(told) => world.violation(format!("the ledger of {dataset}: {told}")),
        }
    }
    // Committed once, and left out of a ledger that was adopted since.
    let disowned = Settled { keys: books.disowned(), ..Settled::default() };
    let settled = audits.iter().map(|audit| audit.view.settled()).chain([&disowned]);
    let proofs = prove(&accounts, settled);
    for (account, proof) in accounts.iter().zip(proofs) {
        if proof.committed != proof.accepted {
            let (accepted, committed) = (proof.accepted, proof.committed);
            let origin = account.origin;
            world.violation(format!("of {accepted} batches of {origin} {committed} are committed"));
        }
    }
}

fn account(machine: &Arc<Machine>, channel: &str) -> Result<Account, String> {
    let directory = Path::new(CHANNELS).join(channel);
    let inspection = Inspection::open(&machine.env(), &directory, None);
    let told = |error| format!("{channel} of {} has no account: {error}", machine.name);
    Ok(inspection.map_err(told)?.account())
}

/// Reads a ledger, outside of all hosts.
fn audit(books: &Books, dataset: &str) -> Result<Audit, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().map_err(|error| error.to_string())?;
    let reading = Audit::read(books.store(), Dataset::new(PREFIX, dataset));
    let audit = runtime.block_on(reading).map_err(|error| error.to_string())?;
    if audit.is_sound() { Ok(audit) } else { Err("it is not sound".into()) }
}
