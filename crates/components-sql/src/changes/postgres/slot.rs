//! Decides the next step, from the position in the channel and the state of the database.

use super::super::change::Lsn;
use super::super::config::{OnLost, Options};
use super::super::position::{Next, Phase, State};
use crate::error::SqlError;

/// A slot of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) plugin: String,
    pub(super) database: String,
    /// The database retains nothing committed before this position.
    pub(super) confirmed: Lsn,
    /// Whether the database deleted changes that it should have retained.
    pub(super) is_lost: bool,
}

/// Decides the next step.
///
/// # Errors
/// An operator must act. The message contains a hint.
pub(super) fn next(
    options: &Options,
    state: Option<State>,
    slot: Option<Slot>,
) -> Result<Next, SqlError> {
    let (name, address) = (&options.slot, &options.target.address);
    let misfit = |problem: String| Err(SqlError::Misfit { problem });
    if let Some(slot) = &slot
        && (slot.plugin != "pgoutput" || *slot.database != *options.target.name)
    {
        return misfit(format!(
            "the slot `{name}` of {address} belongs to the plugin `{}` and the database `{}`; set \
             `slot` to another name",
            slot.plugin, slot.database
        ));
    }
    let state = state.unwrap_or_else(|| State { of: options.digest(), ..State::default() });
    let lost = match (state.phase, slot) {
        (Phase::Snapshot { has_rows }, _) => {
            return Ok(Next::Make { is_void: has_rows, is_lost: false });
        }
        (Phase::New, None) if options.create => {
            return Ok(Next::Make { is_void: false, is_lost: false });
        }
        (Phase::New, None) => {
            return misfit(format!(
                "{address} has no slot `{name}`; set `create = true`, or run \
                 `SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')` and set \
                 `snapshot = false`"
            ));
        }
        (Phase::New, Some(_)) if options.snapshot => {
            return misfit(format!(
                "{address} already has a slot `{name}`, but a snapshot needs a new slot; if no \
                 other reader uses it, run `SELECT pg_drop_replication_slot('{name}')`; or set \
                 `snapshot = false` to continue from it"
            ));
        }
        (Phase::New, Some(slot)) if !slot.is_lost => {
            let phase = Phase::Changes;
            return Ok(Next::Changes(State { phase, done: slot.confirmed, ..state }));
        }
        (_, None) => "no longer exists".to_owned(),
        (_, Some(slot)) if slot.is_lost => {
            "fell back more than `max_slot_wal_keep_size`, so the database discarded changes"
                .to_owned()
        }
        (_, Some(slot)) if slot.confirmed > state.done => {
            format!("was advanced to {} by another program", slot.confirmed)
        }
        (_, Some(_)) => return Ok(Next::Changes(state)),
    };
    let lost =
        format!("changes after {} are lost: the slot `{name}` of {address} {lost}", state.done);
    match options.on_lost {
        OnLost::Snapshot => {
            tracing::warn!(slot = %name, "{lost}; starting a new snapshot, as `on_lost` is set; \
                                          changes in between are not read");
            Ok(Next::Make { is_void: true, is_lost: true })
        }
        OnLost::Stop => misfit(format!(
            "{lost}; set `on_lost = \"snapshot\"` for a new slot and snapshot, or drop the slot, \
             if it exists, and rename the source to start again"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::BuildContext;
    use serde_json::json;

    use super::super::super::config::Config;
    use super::*;

    fn options(changes: &serde_json::Value) -> Options {
        let mut settings = json!({
            "database": { "url": "postgres://db/shop", "user": "a" }, "tables": ["t"],
            "create": true,
        });
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let config: Config = serde_json::from_value(settings).unwrap();
        config.options(&BuildContext::alone("in", Path::new("unused"), env::real())).unwrap()
    }

    fn slot(confirmed: u64) -> Slot {
        let (plugin, database) = ("pgoutput".to_owned(), "shop".to_owned());
        Slot { plugin, database, confirmed: Lsn(confirmed), is_lost: false }
    }

    fn at(phase: Phase, done: u64) -> State {
        State { phase, done: Lsn(done), number: 3, ..State::default() }
    }

    #[test]
    fn channel_and_slot_decide_how_to_continue() {
        let (usual, none) = (json!({}), json!({ "snapshot": false }));
        let make = |is_void, is_lost| Next::Make { is_void, is_lost };
        let begun = |has_rows| Some(at(Phase::Snapshot { has_rows }, 0));
        let reads = || at(Phase::Changes, 50);
        let again = json!({ "on_lost": "snapshot" });
        let lost = Slot { is_lost: true, ..slot(50) };
        for (settings, state, slot, expected) in [
            (&usual, None, None, make(false, false)),
            (&usual, begun(false), Some(slot(9)), make(false, false)),
            (&usual, begun(true), None, make(true, false)),
            (&usual, Some(reads()), Some(slot(50)), Next::Changes(reads())),
            (&usual, Some(reads()), Some(slot(40)), Next::Changes(reads())),
            (&again, Some(reads()), Some(slot(51)), make(true, true)),
            (&again, Some(reads()), Some(lost), make(true, true)),
            (&again, Some(reads()), None, make(true, true)),
        ] {
            let options = options(settings);
            assert_eq!(next(&options, state.clone(), slot.clone()).unwrap(), expected, "{state:?}");
        }
        let options = options(&none);
        let Next::Changes(state) = next(&options, None, Some(slot(9))).unwrap() else {
            panic!("it reads on from the slot");
        };
        assert_eq!((state.done, state.of), (Lsn(9), options.digest()));
    }

    #[test]
    fn reports_slot_problems_with_the_remedy() {
        let (usual, bare) = (json!({}), json!({ "create": false }));
        let reads = || Some(at(Phase::Changes, 50));
        let lost = Slot { is_lost: true, ..slot(50) };
        let other = Slot { plugin: "wal2json".into(), ..slot(50) };
        for (settings, state, slot, expected) in [
            (&bare, None, None, "set `create = true`"),
            (&usual, None, Some(slot(9)), "pg_drop_replication_slot('aqueduct_in')"),
            (&usual, reads(), None, "no longer exists; set `on_lost"),
            (&usual, reads(), Some(lost), "max_slot_wal_keep_size"),
            (&usual, reads(), Some(slot(51)), "advanced to 0/33"),
            (&usual, reads(), Some(other), "plugin `wal2json`"),
        ] {
            let said = next(&options(settings), state, slot).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
