//! A format that is read by parts: records of eight bytes, with their number at the end of the
//! file.

use std::io::BufRead;

use bytes::Bytes;
use pipeline::component::entry;
use pipeline::{
    BatchBuilder, BuildError, Component, Decoder, Entry, FileDecoder, FileError, FindEvent,
    MalformedMessage, Message, OneByOne, Parts, PartsDecoder, Piece,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

#[derive(Deserialize, JsonSchema)]
struct FromEnd {}

impl Component for FromEnd {
    const KIND: &'static str = "from_end";
    type Role = dyn Decoder;

    fn build(self, _: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        Ok(Box::new(self))
    }
}

impl Decoder for FromEnd {
    fn decode(&self, _: &Message<'_>, _: &mut BatchBuilder) -> Result<(), MalformedMessage> {
        unreachable!("files are read by parts")
    }

    fn by_parts(&self) -> Option<&dyn PartsDecoder> {
        Some(self)
    }
}

impl PartsDecoder for FromEnd {
    fn begin(&self, file: Arc<dyn Parts>) -> Box<dyn FileDecoder> {
        Box::new(OneByOne::new(File { file, next: 0, event: None }))
    }
}

struct File {
    file: Arc<dyn Parts>,
    next: u64,
    event: Option<Bytes>,
}

impl FindEvent for File {
    fn find(&mut self, _: &mut dyn BufRead) -> Result<bool, FileError> {
        let last = self.file.length().checked_sub(1).expect("no file of the test is empty");
        let count = u64::from(self.file.read_at(last, 1)?[0]);
        if self.event.is_none() && self.next < count {
            self.event = Some(self.file.read_at(self.next * 8, 8)?);
        }
        Ok(self.event.is_some())
    }

    fn put(&mut self, piece: &mut Piece<'_>) -> bool {
        piece.put(self.event.as_ref().expect("it was found"), &[])
    }

    fn consume(&mut self) {
        self.event = None;
        self.next += 1;
    }

    fn skip(&mut self, _: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        self.next = events;
        Ok(())
    }
}

pub(super) static DECODERS: &[Entry<dyn Decoder>] = &[entry::<FromEnd>()];

fn file(from: u8, to: u8) -> Vec<u8> {
    let records: String = (from..to).map(|number| format!("record{number:02}")).collect();
    [records.as_bytes(), &[to - from]].concat()
}

#[tokio::test]
async fn each_record_is_stored_once_where_parts_of_a_file_are_asked_for() {
    let settings = json!({ "decoder": "from_end", "batch_bytes": "20B" });
    for puts in 1..4 {
        let site = Site::new();
        site.put("a", &file(0, 7));
        site.put("b", &file(7, 12));
        let mut lives = 0;
        loop {
            lives += 1;
            assert!(lives < 60, "it does not get on: {:?}", site.bodies());
            match site.live(&settings, puts).await {
                None => {}
                Some(ended) => break ended.unwrap(),
            }
        }
        assert!(lives > 1, "{lives}");
        let expected: Vec<String> = (0..12).map(|number| format!("record{number:02}")).collect();
        assert_eq!(site.bodies(), expected, "{puts} puts a life");
    }
}

#[tokio::test]
async fn names_a_file_whose_offsets_exceed_it() {
    let site = Site::new();
    let mut short = file(0, 3);
    *short.last_mut().unwrap() = 9;
    site.put("a", &short);
    let settings = json!({ "decoder": "from_end", "batch_bytes": "8B" });
    let problem = site.problem(&settings).await;
    assert!(problem.contains("/a after the first 3 events"), "{problem}");
    assert_eq!(site.bodies().len(), 3);
    let settings = json!({ "decoder": "from_end", "compression": "gzip", "url": "file:///a" });
    let error = build::<Config>(&settings, &context()).map(drop).unwrap_err().to_string();
    assert!(error.contains("compression") && error.contains("compressed internally"), "{error}");
}
