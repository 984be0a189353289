//! `text`: each body followed by LF, without headers. The body of a typed row is a JSON object.
//!
//! A body that contains LF becomes several lines. With `newline = false` the bodies follow each
//! other directly, for bodies that have their own line ends.

use bytes::{BufMut, Bytes, BytesMut};
use pipeline::{
    BuildContext, BuildError, Component, Encoder, Events, FileEncoder, TableForm, Unwritable,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::typed;
use crate::rows::are_typed;

/// Settings of the `text` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether a line feed follows each body. Without it, nothing separates bodies that have no
    /// line end of their own.
    #[serde(default = "super::newline")]
    newline: bool,
}

impl Component for Config {
    const KIND: &'static str = "text";
    type Role = dyn Encoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        Ok(Box::new(Text { newline: self.newline }))
    }
}

#[derive(Clone, Copy)]
struct Text {
    newline: bool,
}

impl Encoder for Text {
    fn concatenates(&self) -> bool {
        true
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        typed::malformed(events)
    }

    fn reads_rows(&self) -> bool {
        true
    }

    fn size_bound(&self, events: &Events) -> u64 {
        typed::body_bytes(events) + events.len() as u64
    }

    fn table(&self) -> Option<TableForm> {
        self.newline.then(TableForm::lines)
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(*self)
    }
}

impl FileEncoder for Text {
    fn encode(&mut self, events: &Events) -> Bytes {
        let are_typed = are_typed(events);
        // The lines of a line-based source are already in the output format.
        if let (true, false, Some(lines)) = (self.newline, are_typed, events.lines()) {
            return lines.clone();
        }
        let size = usize::try_from(events.body_bytes()).expect("a batch fits in memory");
        let mut text = BytesMut::with_capacity(size + events.len());
        let mut bodies = typed::Bodies::default();
        for event in events.iter() {
            match are_typed {
                true => text.put_slice(bodies.body(event)),
                false => text.put_slice(event.body()),
            }
            if self.newline {
                text.put_u8(b'\n');
            }
        }
        text.freeze()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;

    use super::*;

    const LINES: Text = Text { newline: true };

    #[test]
    fn bodies_without_newline_follow_each_other() {
        let batch = Batch::of_lines(Bytes::from_static(b"one\ntwo\n"), &[3, 3]);
        assert_eq!(Text { newline: false }.encode(&batch), "onetwo");
        assert!(Text { newline: false }.table().is_none());
    }

    #[test]
    fn lines_go_through_as_they_were_read_and_uncopied() {
        let read = Bytes::from_static(b"one\ntwo \xff\r\n\n");
        let batch = Batch::of_lines(read.clone(), &[3, 6, 0]);
        let text = { LINES }.encode(&batch);
        assert_eq!(text, read);
        assert_eq!(text.as_ptr(), read.as_ptr());
        assert_eq!(LINES.size_bound(&batch), read.len() as u64);
    }

    /// Removes the separators between bodies, and their flag.
    fn unseparated(batch: &Batch) -> Batch {
        let encoded = batch.encode();
        let bodies: Vec<u8> = batch.iter().flat_map(|event| event.body().to_vec()).collect();
        let mut bytes = encoded[..encoded.len() - batch.lines().unwrap().len()].to_vec();
        bytes[1] = 0;
        bytes[20..24].copy_from_slice(&(bodies.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&bodies);
        Batch::decode(bytes.into()).unwrap()
    }

    #[test]
    fn bodies_that_lie_end_to_end_become_lines() {
        let batch = unseparated(&Batch::of(["one", "", "two"]));
        assert!(batch.lines().is_none());
        assert_eq!({ LINES }.encode(&batch), "one\n\ntwo\n");
    }
}
