//! Checks the dead letters at the end of a seed in which collectors reject events: each rejected
//! event must be in a letter, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use agent::dead_letters;
use channel::durable::inspect::Inspection;

use crate::cluster::CHANNELS;
use crate::machine::Machine;
use crate::scenario::{Input, Scenario};
use crate::world::World;

/// The reason in these letters.
pub(crate) const REASON: &str = "filtered";

/// Compares the letters of `machines` with the events that the edges accepted. A batch that two
/// collectors received has letters in both.
pub(crate) fn check(world: &World, machines: &[Arc<Machine>], inputs: &[(Arc<Machine>, Input)]) {
    let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for machine in machines {
        if let Err(told) = read(machine, |edge, number| {
            found.entry(edge).or_default().insert(number);
        }) {
            world.violation(told);
        }
    }
    for (machine, input) in inputs.iter().filter(|(machine, _)| machine.is_born()) {
        let (edge, accepted) = (&machine.name, input.accepted(machine));
        let found = found.remove(&**edge).unwrap_or_default();
        if let Some(number) = found.iter().find(|number| !Scenario::is_refused(true, **number)) {
            world.violation(format!("event {number} of {edge} is a dead letter by mistake"));
        }
        let rejected = accepted.iter().filter(|number| Scenario::is_refused(true, *number));
        let missing: Vec<u64> = rejected.filter(|number| !found.contains(number)).collect();
        if let Some(first) = missing.first() {
            let count = missing.len();
            world.violation(format!(
                "{count} rejected events of {edge} are in no dead letter, first: {first}"
            ));
        }
    }
}

/// Counts the events in all dead letters of these machines.
pub(crate) fn events(machines: &[Arc<Machine>]) -> Result<u64, String> {
    let mut events = 0;
    for machine in machines {
        read(machine, |_, _| events += 1)?;
    }
    Ok(events)
}

/// Passes edge and number of each event in a letter of `machine` to `each`.
fn read(machine: &Arc<Machine>, mut each: impl FnMut(String, u64)) -> Result<(), String> {
    let (env, data) = (machine.env(), Path::new(CHANNELS).parent().unwrap_or(Path::new("/")));
    let directory = dead_letters::directory(data);
    if env.disk.stat(&directory.join("log")).is_err() {
        return Ok(());
    }
    let told = |error| format!("the dead letters of {} cannot be read: {error}", machine.name);
    let inspection = Inspection::open(&env, &directory, None).map_err(told)?;
    let read = dead_letters::inspected(&inspection, |label, events| {
        for event in events.iter().filter(|_| label.reason == REASON) {
            let digits = event.body().iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(0, |number, byte| number * 10 + u64::from(byte - b'0'));
            each(event.header("host").unwrap_or_default().to_owned(), number);
        }
        true
    });
    read.map_err(told)
}
