//! SDK for plug-ins of Aqueduct in Rust: the contract of WebAssembly modules in docs/plugins.md,
//! without dependencies.
//!
//! A plug-in is a function of a batch. Put `mod aqueduct;` and `plugin!(function);` into its file,
//! and build it with
//!
//! ```sh
//! rustc --target wasm32-unknown-unknown --crate-type cdylib -O -C strip=symbols FILE
//! ```
//!
//! Each batch gets a new instance: nothing that a plug-in keeps in memory reaches the next batch.
//! An event must not depend on other events of its batch, because an agent may cut batches in
//! another way when it repeats them.

#![allow(dead_code)]

/// Version of the contract.
pub const VERSION: i32 = 1;

/// Functions of the agent. An address and a length name each text and buffer.
mod agent {
    #[link(wasm_import_module = "aqueduct")]
    extern "C" {
        pub fn settings(at: *mut u8, max: usize) -> usize;
        pub fn body(event: u32, from: usize, at: *mut u8, max: usize) -> usize;
        pub fn body_len(event: u32) -> usize;
        pub fn bodies(first: u32, count: usize, at: *mut u8, max: usize, ends: *mut u32) -> usize;
        pub fn header(event: u32, name: *const u8, len: usize, at: *mut u8, max: usize) -> isize;
        pub fn set_header(
            event: u32,
            name: *const u8,
            len: usize,
            value: *const u8,
            value_len: usize,
        );
        pub fn set_header_all(name: *const u8, len: usize, value: *const u8, value_len: usize);
        pub fn set_headers(
            name: *const u8,
            len: usize,
            first: u32,
            count: usize,
            values: *const u8,
            values_len: usize,
            ends: *const u32,
        );
        pub fn remove_header(event: u32, name: *const u8, len: usize);
        pub fn set_body(event: u32, at: *const u8, len: usize);
        pub fn drop_event(event: u32);
        pub fn refuse_event(event: u32, why: *const u8, len: usize);
        pub fn log(line: *const u8, len: usize);
    }
}

/// Exports the functions that the agent calls. `$function` gets a [`Batch`] and returns `Ok` or a
/// reason, with which the whole batch fails and is retried.
#[macro_export]
macro_rules! plugin {
    ($function:path) => {
        #[no_mangle]
        pub extern "C" fn aqueduct_abi() -> i32 {
            $crate::aqueduct::VERSION
        }

        #[no_mangle]
        pub extern "C" fn aqueduct_intercept(events: u32) -> i32 {
            $crate::aqueduct::run(events, $function)
        }
    };
}

/// Bytes of bodies that are read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Events whose bodies are read at a time.
const CHUNK_EVENTS: usize = 1024;
/// Marks an absent value in a column.
const ABSENT: u32 = 1 << 31;

/// Called by [`plugin!`].
pub fn run(events: u32, function: fn(&Batch) -> Result<(), String>) -> i32 {
    std::panic::set_hook(Box::new(|panic| log(&panic.to_string())));
    match function(&Batch { events }) {
        Ok(()) => events as i32,
        Err(reason) => {
            log(&reason);
            -1
        }
    }
}

/// Writes a line to the log of the agent, which keeps at most 1,024 bytes of it and 60 lines a
/// minute.
pub fn log(line: &str) {
    unsafe { agent::log(line.as_ptr(), line.len()) }
}

/// The settings of the plug-in, as JSON.
pub fn settings() -> String {
    let len = unsafe { agent::settings(std::ptr::null_mut(), 0) };
    let mut text = vec![0; len];
    unsafe { agent::settings(text.as_mut_ptr(), len) };
    String::from_utf8(text).unwrap_or_default()
}

/// Returns the text of a setting: enough for `settings = { name = "text" }`. Use a JSON parser for
/// more.
pub fn text_setting(name: &str) -> Option<String> {
    let settings = settings();
    let (_, rest) = settings.split_once(&format!("\"{}\":\"", name))?;
    Some(rest.split('"').next()?.to_owned())
}

/// A batch of events.
pub struct Batch {
    events: u32,
}

/// An event of a batch. Its methods read the event as it was before the plug-in, and write the new
/// one.
#[derive(Clone, Copy)]
pub struct Event {
    index: u32,
}

impl Batch {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.events as usize
    }

    /// All events, in order. Bodies and headers are read only if the plug-in asks for them.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        (0..self.events).map(|index| Event { index })
    }

    /// Calls `each` with each event and its body: faster than [`Event::body`], with one call of the
    /// agent for many events.
    pub fn each_body(&self, mut each: impl FnMut(Event, &[u8])) {
        let mut bytes = vec![0u8; CHUNK_BYTES];
        let mut ends = vec![0u32; CHUNK_EVENTS];
        let mut first = 0;
        while first < self.events {
            let count = CHUNK_EVENTS.min((self.events - first) as usize);
            let (at, max) = (bytes.as_mut_ptr(), bytes.len());
            let read = unsafe { agent::bodies(first, count, at, max, ends.as_mut_ptr()) };
            if read == 0 {
                bytes.resize(unsafe { agent::body_len(first) }.max(2 * bytes.len()), 0);
                continue;
            }
            let mut start = 0;
            for (index, end) in (first..).zip(&ends[..read]) {
                each(Event { index }, &bytes[start..*end as usize]);
                start = *end as usize;
            }
            first += read as u32;
        }
    }

    /// Sets a header of all events to the same value, in one step.
    pub fn set_header(&self, name: &str, value: &str) {
        unsafe { agent::set_header_all(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
    }

    /// Sets a header of all events to the values of a column, in one step.
    pub fn set_column(&self, name: &str, column: &Column) {
        let Column { values, ends } = column;
        let (at, len) = (values.as_ptr(), values.len());
        unsafe {
            agent::set_headers(name.as_ptr(), name.len(), 0, ends.len(), at, len, ends.as_ptr())
        }
    }
}

impl Event {
    /// The body.
    pub fn body(self) -> Vec<u8> {
        let len = unsafe { agent::body_len(self.index) };
        let mut body = vec![0; len];
        unsafe { agent::body(self.index, 0, body.as_mut_ptr(), len) };
        body
    }

    /// The value of a header.
    pub fn header(self, name: &str) -> Option<String> {
        let mut value = vec![0u8; 256];
        loop {
            let (at, max) = (value.as_mut_ptr(), value.len());
            let len = unsafe { agent::header(self.index, name.as_ptr(), name.len(), at, max) };
            if len < 0 {
                return None;
            }
            let len = len as usize;
            let fits = len <= value.len();
            value.resize(len, 0);
            if fits {
                return String::from_utf8(value).ok();
            }
        }
    }

    /// Sets a header.
    pub fn set_header(self, name: &str, value: &str) {
        let (at, len) = (value.as_ptr(), value.len());
        unsafe { agent::set_header(self.index, name.as_ptr(), name.len(), at, len) }
    }

    /// Removes a header.
    pub fn remove_header(self, name: &str) {
        unsafe { agent::remove_header(self.index, name.as_ptr(), name.len()) }
    }

    /// Replaces the body.
    pub fn set_body(self, body: &[u8]) {
        unsafe { agent::set_body(self.index, body.as_ptr(), body.len()) }
    }

    /// Drops the event.
    pub fn drop(self) {
        unsafe { agent::drop_event(self.index) }
    }

    /// Refuses the event: it becomes a dead letter.
    pub fn refuse(self, reason: &str) {
        unsafe { agent::refuse_event(self.index, reason.as_ptr(), reason.len()) }
    }
}

/// The values of a header, one for each event in order.
#[derive(Default)]
pub struct Column {
    values: String,
    ends: Vec<u32>,
}

impl Column {
    /// Adds the value of the next event; `None`: it has no such header.
    pub fn push(&mut self, value: Option<&str>) {
        self.values.push_str(value.unwrap_or_default());
        let mark = if value.is_some() { 0 } else { ABSENT };
        self.ends.push(self.values.len() as u32 | mark);
    }
}
