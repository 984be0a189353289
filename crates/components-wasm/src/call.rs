//! One batch in one instance of a module, within its limits.
//!
//! The call runs in a thread for blocking work. It ends when its time is over or its caller is
//! gone. Calls of other batches continue.

use std::pin::pin;
use std::sync::Arc;

use pipeline::{Events, IndexedEvents};
use support::mutant;
use tokio::time::timeout;
use wasmtime::{Instance, Store, Trap, UpdateDeadline};

use crate::config::Options;
use crate::error::Fault;
use crate::host::{Guest, Limits};
use crate::interrupt::{EndOnDrop, Interrupt};
use crate::load::{INTERCEPT, Loaded, MEMORY};
use crate::staged::Staged;

/// Passes a batch through the module.
///
/// # Errors
/// The module has a fault, or its time is over.
pub(crate) async fn intercept(
    loaded: &Arc<Loaded>,
    options: &Options,
    events: Events,
) -> Result<Staged, Fault> {
    let count = events.len() as u32;
    let (answer, guest) = timed(loaded, options, events, move |store, instance| {
        instance.get_typed_func::<u32, i32>(&mut *store, INTERCEPT)?.call(store, count)
    })
    .await;
    let answer = match answer {
        Err(_) if mutant!("wasm_writes_of_fault_applied") => count as i32,
        answer => answer?,
    };
    guest.staged.finish(answer).map_err(|fault| match fault {
        Fault::Failed { code, .. } => Fault::Failed { code, last_line: guest.last_line },
        fault => fault,
    })
}

/// Calls a function of a new instance within the time limit. Returns its result, and the state
/// after it. Dropped before its end, the call is stopped.
pub(crate) async fn timed<T: Send + 'static>(
    loaded: &Arc<Loaded>,
    options: &Options,
    events: Events,
    function: impl FnOnce(&mut Store<Guest>, Instance) -> wasmtime::Result<T> + Send + 'static,
) -> (Result<T, Fault>, Guest) {
    let interrupt = Interrupt::new(&loaded.engine, options.timeout);
    let end = EndOnDrop::new(interrupt.clone());
    let state = Guest {
        staged: Staged::new(events.len(), options.output_max),
        events: IndexedEvents::new(events),
        memory: None,
        settings: options.settings.clone(),
        limits: Limits { memory_max: options.memory_max },
        interrupt,
        log: options.log.clone(),
        last_line: None,
    };
    let loaded = loaded.clone();
    let mut work = pin!(options.env.offload(move || instance(&loaded, state, function)));
    let (result, guest) = match timeout(options.timeout, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            end.end();
            work.await
        }
    };
    (result.map_err(|error| fault(error, guest.last_line.clone())), guest)
}

/// Calls a function of a new instance, and returns its result and the state after it.
fn instance<T>(
    loaded: &Loaded,
    state: Guest,
    function: impl FnOnce(&mut Store<Guest>, Instance) -> wasmtime::Result<T>,
) -> (wasmtime::Result<T>, Guest) {
    let mut store = Store::new(&loaded.engine, state);
    store.limiter(|guest| &mut guest.limits);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        store.data().interrupt.check().map_err(wasmtime::Error::new)?;
        Ok(UpdateDeadline::Continue(1))
    });
    let started = store.data().interrupt.check().map_err(wasmtime::Error::new);
    let result = started.and_then(|()| {
        let instance = loaded.pre.instantiate(&mut store)?;
        store.data_mut().memory = instance.get_memory(&mut store, MEMORY);
        function(&mut store, instance)
    });
    (result, store.into_data())
}

/// Returns the fault that ended a call.
fn fault(error: wasmtime::Error, last_line: Option<String>) -> Fault {
    let error = match error.downcast::<Fault>() {
        Ok(fault) => return fault,
        Err(error) => error,
    };
    let trap = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.to_string(),
    };
    Fault::Trap { trap, last_line }
}
