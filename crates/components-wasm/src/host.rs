//! The functions that a module can import from `aqueduct`, and the state of a call.
//!
//! A function reads or writes only the bytes that the module names, so the cost of a call does not
//! depend on bodies and headers that it does not touch. Reads return the events as they were before
//! the call.
//!
//! Each function checks its arguments. An invalid one ends the call: it is a mistake in the module.

use std::sync::Arc;

use kit::plug_in::reason;
use pipeline::IndexedEvents;
use pipeline::units::ByteSize;
use support::log_rate::LogRate;
use support::mutant;
use tokio::time::Instant;
use wasmtime::{Caller, Linker, Memory, ResourceLimiter};

use crate::error::{Fault, unusable};
use crate::interrupt::Interrupt;
use crate::staged::{ABSENT, Staged};

/// The module name of all imports.
pub(crate) const MODULE: &str = "aqueduct";
/// All functions.
pub(crate) const FUNCTIONS: [&str; 14] = [
    "settings",
    "body_len",
    "body",
    "bodies",
    "header",
    "headers",
    "set_header",
    "set_header_all",
    "set_headers",
    "remove_header",
    "set_body",
    "drop_event",
    "refuse_event",
    "log",
];
/// Maximum length of a line that is logged.
const LINE_MAX: usize = 1024;
/// Lines of a plug-in that are logged in a minute.
const LINES_PER_MINUTE: u32 = 60;
/// Elements of all tables of a module.
const TABLE_MAX: usize = 100_000;

/// The state of one call.
pub(crate) struct Guest {
    pub(crate) events: IndexedEvents,
    pub(crate) staged: Staged,
    /// The memory of the module, after it was instantiated.
    pub(crate) memory: Option<Memory>,
    pub(crate) settings: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) interrupt: Arc<Interrupt>,
    pub(crate) log: Arc<Log>,
    /// The last line that the module logged.
    pub(crate) last_line: Option<String>,
}

/// Log of a plug-in.
pub(crate) struct Log {
    shown: Arc<str>,
    rate: LogRate,
}

impl Log {
    pub(crate) fn new(shown: Arc<str>) -> Self {
        Self { shown, rate: LogRate::new(LINES_PER_MINUTE) }
    }

    fn write(&self, line: &str) {
        if let Some(left_out) = self.rate.allow(Instant::now()) {
            tracing::info!(plugin = %self.shown, line, left_out, "the plug-in logged a line");
        }
    }
}

/// Limits of an instance. A module that exceeds them is stopped, because its result must not depend
/// on free memory.
pub(crate) struct Limits {
    pub(crate) memory_max: ByteSize,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        match desired as u64 > self.memory_max.0 && !mutant!("wasm_memory_unlimited") {
            true => Err(wasmtime::Error::new(Fault::Memory(self.memory_max))),
            false => Ok(true),
        }
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        match desired > TABLE_MAX {
            true => Err(wasmtime::Error::new(Fault::Memory(self.memory_max))),
            false => Ok(true),
        }
    }
}

type Call<'a> = Caller<'a, Guest>;

/// Runs a function over the memory of the module and the state of the call.
fn with<T>(
    mut caller: Call<'_>,
    function: impl FnOnce(&mut [u8], &mut Guest) -> Result<T, Fault>,
) -> wasmtime::Result<T> {
    let result = match caller.data().memory {
        Some(memory) => {
            let (bytes, guest) = memory.data_and_store_mut(&mut caller);
            function(bytes, guest)
        }
        None => unusable("it calls the agent while it starts".to_owned()),
    };
    result.map_err(wasmtime::Error::new)
}

/// A range of the memory, named by its address and length.
fn range(memory: &[u8], (at, bytes): (u32, u32)) -> Result<std::ops::Range<usize>, Fault> {
    let (start, end) = (at as usize, at as usize + bytes as usize);
    match end <= memory.len() {
        true => Ok(start..end),
        false => {
            let size = memory.len();
            unusable(format!("it names bytes {start} to {end} of its memory of {size} bytes"))
        }
    }
}

fn text(memory: &[u8], at: (u32, u32)) -> Result<&str, Fault> {
    let bytes = &memory[range(memory, at)?];
    std::str::from_utf8(bytes).or_else(|error| unusable(format!("a text is not UTF-8: {error}")))
}

/// Copies as much of `from` as fits. Returns its whole length.
fn copy(memory: &mut [u8], at: (u32, u32), from: &[u8]) -> Result<u32, Fault> {
    let range = range(memory, at)?;
    let bytes = range.len().min(from.len());
    memory[range][..bytes].copy_from_slice(&from[..bytes]);
    Ok(from.len() as u32)
}

/// Copies consecutive values end to end to `at`, and their ends to `ends`, while they fit. Returns
/// the number of values.
fn copy_column<'a>(
    memory: &mut [u8],
    at: (u32, u32),
    (ends, count): (u32, u32),
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<u32, Fault> {
    let to = range(memory, at)?;
    let ends = range(memory, (ends, count.saturating_mul(4)))?;
    if to.start < ends.end && ends.start < to.end {
        return unusable("it reads values and their ends into the same memory".to_owned());
    }
    let (mut end, mut copied) = (0, 0);
    for value in values.take(count as usize) {
        let bytes = value.unwrap_or_default();
        let next = end + bytes.len();
        if next > to.len() || next >= ABSENT as usize {
            break;
        }
        memory[to.start + end..to.start + next].copy_from_slice(bytes);
        end = next;
        let mark = if value.is_some() { 0 } else { ABSENT };
        let place = ends.start + 4 * copied;
        memory[place..place + 4].copy_from_slice(&(end as u32 | mark).to_le_bytes());
        copied += 1;
    }
    Ok(copied as u32)
}

/// Checks the index of an event that is read.
fn index(guest: &Guest, event: u32) -> Result<usize, Fault> {
    let events = guest.events.events().len();
    match event as usize {
        index if index < events => Ok(index),
        _ => unusable(format!("it reads event {event}, but has events 0 to {events} - 1")),
    }
}

fn body(guest: &Guest, event: u32) -> Result<&[u8], Fault> {
    let index = index(guest, event)?;
    Ok(guest.events.event(index).map(|event| event.body()).unwrap_or_default())
}

/// Adds the functions to a linker.
///
/// # Errors
/// A name occurs twice.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    link_reads(linker)?;
    link_writes(linker)?;
    link_decisions(linker)
}

fn link_reads(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "settings", |call: Call<'_>, at: u32, max: u32| {
        with(call, |memory, guest| copy(memory, (at, max), guest.settings.as_bytes()))
    })?;
    linker.func_wrap(MODULE, "body_len", |call: Call<'_>, event: u32| {
        with(call, |_, guest| Ok(body(guest, event)?.len() as u32))
    })?;
    linker.func_wrap(
        MODULE,
        "body",
        |call: Call<'_>, event: u32, from: u32, at: u32, max: u32| {
            with(call, |memory, guest| {
                let rest = body(guest, event)?.get(from as usize..).unwrap_or_default();
                copy(memory, (at, max), rest)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "bodies",
        |call: Call<'_>, first: u32, count: u32, at: u32, max: u32, ends: u32| {
            with(call, |memory, guest| {
                let bodies = (first as usize..).map_while(|index| guest.events.event(index));
                let bodies = bodies.map(|event| Some(event.body()));
                copy_column(memory, (at, max), (ends, count), bodies)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "header",
        |call: Call<'_>, event: u32, name: u32, name_len: u32, at: u32, max: u32| {
            with(call, |memory, guest| {
                let index = index(guest, event)?;
                match guest.events.value(index, text(memory, (name, name_len))?) {
                    Some(value) => copy(memory, (at, max), value.as_bytes()).map(|len| len as i32),
                    None => Ok(-1),
                }
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "headers",
        |call: Call<'_>,
         name: u32,
         name_len: u32,
         first: u32,
         count: u32,
         at: u32,
         max: u32,
         ends: u32| {
            with(call, |memory, guest| {
                let name = text(memory, (name, name_len))?.to_owned();
                let values = guest.events.events().values(&name);
                let values = values.skip(first as usize).map(|value| value.map(str::as_bytes));
                copy_column(memory, (at, max), (ends, count), values)
            })
        },
    )?;
    Ok(())
}

fn link_writes(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "set_header",
        |call: Call<'_>, event: u32, name: u32, name_len: u32, value: u32, value_len: u32| {
            with(call, |memory, guest| {
                let value = text(memory, (value, value_len))?;
                guest.staged.set_header(event, text(memory, (name, name_len))?, Some(value))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_header_all",
        |call: Call<'_>, name: u32, name_len: u32, value: u32, value_len: u32| {
            with(call, |memory, guest| {
                let value = text(memory, (value, value_len))?;
                guest.staged.set_header_all(text(memory, (name, name_len))?, Some(value))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_headers",
        |call: Call<'_>,
         name: u32,
         name_len: u32,
         first: u32,
         count: u32,
         values: u32,
         values_len: u32,
         ends: u32| {
            with(call, |memory, guest| {
                let values = text(memory, (values, values_len))?;
                let ends = &memory[range(memory, (ends, count.saturating_mul(4)))?];
                guest.staged.set_headers(first, text(memory, (name, name_len))?, (values, ends))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "remove_header",
        |call: Call<'_>, event: u32, name: u32, name_len: u32| {
            with(call, |memory, guest| {
                guest.staged.set_header(event, text(memory, (name, name_len))?, None)
            })
        },
    )?;
    Ok(())
}

fn link_decisions(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "set_body",
        |call: Call<'_>, event: u32, body: u32, body_len: u32| {
            with(call, |memory, guest| {
                guest.staged.set_body(event, &memory[range(memory, (body, body_len))?])
            })
        },
    )?;
    linker.func_wrap(MODULE, "drop_event", |call: Call<'_>, event: u32| {
        with(call, |_, guest| guest.staged.drop_event(event))
    })?;
    linker.func_wrap(
        MODULE,
        "refuse_event",
        |call: Call<'_>, event: u32, why: u32, why_len: u32| {
            with(call, |memory, guest| {
                guest.staged.refuse_event(event, text(memory, (why, why_len))?)
            })
        },
    )?;
    linker.func_wrap(MODULE, "log", |call: Call<'_>, line: u32, line_len: u32| {
        with(call, |memory, guest| {
            let line = &memory[range(memory, (line, line_len))?];
            // A line is cut before it is decoded, because its length is not limited.
            let line = reason(&String::from_utf8_lossy(&line[..line.len().min(LINE_MAX)]));
            guest.log.write(&line);
            guest.last_line = Some(line);
            Ok(())
        })
    })?;
    Ok(())
}
