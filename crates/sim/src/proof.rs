//! The auditor's proof at the end of a seed: runs the checks of `aqueduct verify --complete` on the
//! accounts from all disks and on the ledgers of the store. Every accepted batch must be committed
//! or be in dead letters, and every event of a dead letter must be counted.
//!
//! Every host loses power first, so that the accounts are those of a reader after a crash.

use std::path::Path;
use std::sync::Arc;

use agent::account;
use ledger::proof::prove;
use ledger::{Audit, Dataset, Settled};
use pipeline::Account;

use crate::asked::PREFIX;
use crate::books::Books;
use crate::cluster::CHANNELS;
use crate::letters::{REASON, events};
use crate::machine::Machine;
use crate::world::World;

/// Compares the accepted events of `machines` with the ledgers. Every unexpected difference is a
/// violation.
pub(crate) fn check(
    world: &World,
    books: &Books,
    machines: &[Arc<Machine>],
    (channels, refuses): (&[&str], bool),
) {
    let mut accounts = Vec::new();
    for machine in machines {
        machine.disk().crash();
        for channel in channels {
            match of_channel(machine, channel) {
                // Each channel's account includes the letters of its agent.
                Ok(more) => more.into_iter().for_each(|account| {
                    if !accounts.contains(&account) {
                        accounts.push(account);
                    }
                }),
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
    // Batches that were committed once, but are missing from a ledger adopted later.
    let disowned = Settled { keys: books.disowned(), ..Settled::default() };
    let settled = audits.iter().map(|audit| audit.view.settled()).chain([&disowned]);
    let proofs = prove(&accounts, settled);
    let mut letters = 0;
    for (account, proof) in accounts.iter().zip(proofs) {
        letters += proof.letter_events.get(REASON).copied().unwrap_or_default();
        let rejected = if refuses { proof.letters.count() } else { 0 };
        if proof.committed + rejected != proof.accepted {
            let (accepted, committed) = (proof.accepted, proof.committed);
            let origin = account.origin;
            world.violation(format!(
                "of {accepted} batches of {origin} {committed} are committed, {rejected} rejected"
            ));
        }
    }
    match events(machines) {
        Ok(events) if events != letters => {
            world.violation(format!("{letters} of {events} events of dead letters are counted"));
        }
        Ok(_) => {}
        Err(told) => world.violation(told),
    }
}

fn of_channel(machine: &Arc<Machine>, channel: &str) -> Result<Vec<Account>, String> {
    let directory = Path::new(CHANNELS).join(channel);
    let accounts = account::from_directory(&directory, None, &machine.env());
    accounts.map_err(|error| format!("{channel} of {} has no account: {error}", machine.name))
}

/// Reads a ledger, outside of all hosts.
fn audit(books: &Books, dataset: &str) -> Result<Audit, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().map_err(|error| error.to_string())?;
    let reading = Audit::read(books.store(), Dataset::new(PREFIX, dataset));
    let audit = runtime.block_on(reading).map_err(|error| error.to_string())?;
    if audit.is_sound() { Ok(audit) } else { Err("it is not sound".into()) }
}
