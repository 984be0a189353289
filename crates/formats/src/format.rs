//! The format of a file: an encoder, and a codec around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::rows::SCHEMA_HEADER;
use bytes::Bytes;
use pipeline::{
    BuildContext, BuildError, Choice, Codec, Compressor, Encoder, EventRef, Events, FileEncoder,
    RemoteFile, SinkError, Unwritable,
};

use crate::{codecs, rows};

/// Format of files: an encoder, and a codec.
pub struct Format {
    encoder: Box<dyn Encoder>,
    codec: Arc<dyn Codec>,
}

impl Format {
    /// Creates the format from the settings `encoder` and `codec`.
    ///
    /// # Errors
    /// Fails if either is unknown, has an invalid setting, or they are incompatible.
    pub fn new(
        encoder: &Choice<dyn Encoder>,
        codec: &Choice<dyn Codec>,
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        let codec = codec.build("codec", cx)?.into();
        let built = Self { encoder: encoder.build("encoder", cx)?, codec };
        let has_blocks = !built.encoder.file_kind().is_lines && built.encoder.remote().is_none();
        if built.is_compressed() && has_blocks {
            let problem = format!(
                "files of `{}` are compressed block by block: set `encoder = {{ type = \"{0}\", \
                 codec = … }}` instead",
                encoder.kind()
            );
            return Err(BuildError::invalid("codec", problem));
        }
        Ok(built)
    }

    /// Creates a format of this encoder without compression.
    pub fn plain(encoder: Box<dyn Encoder>) -> Self {
        Self { encoder, codec: Arc::new(codecs::none::Plain) }
    }

    /// Returns the encoder.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Returns true if a codec compresses the files.
    pub fn is_compressed(&self) -> bool {
        !self.codec.extension().is_empty()
    }

    /// Checks that concatenated files are one file with all events.
    ///
    /// # Errors
    /// Returns the setting that prevents it.
    pub fn concatenates(&self) -> Result<(), &'static str> {
        match (self.encoder.concatenates(), self.codec.concatenates()) {
            (false, _) => Err("encoder"),
            (true, false) => Err("codec"),
            (true, true) => Ok(()),
        }
    }

    /// Returns the content coding, for protocols that name it.
    pub fn content_encoding(&self) -> Option<&'static str> {
        self.codec.content_encoding()
    }

    /// Returns the file name extension without the dot: `log`, `json.gz`.
    pub fn extension(&self) -> String {
        match (self.encoder.file_kind().extension, self.codec.extension()) {
            (encoder, "") => encoder.to_owned(),
            (encoder, codec) => format!("{encoder}.{codec}"),
        }
    }

    /// See [`Encoder::unwritable`]. Typed rows are unwritable for encoders that do not read them.
    pub fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        if self.encoder.reads_rows() || !rows::are_typed(events) {
            return self.encoder.unwritable(events);
        }
        let reason = "the body is a typed row, which the encoder of this sink does not read: use \
                      the encoder `parquet`, `csv` or `json`, or set another `format` in the \
                      source";
        let typed = |event: &EventRef<'_>| event.header(SCHEMA_HEADER).is_some();
        let rows = events.iter().filter(typed);
        let rows = rows.map(|event| Unwritable { index: event.index(), reason: reason.to_owned() });
        // One reason for each event: a typed row hides other problems.
        let mut unwritable: BTreeMap<usize, Unwritable> =
            self.encoder.unwritable(events).into_iter().map(|it| (it.index, it)).collect();
        unwritable.extend(rows.map(|it| (it.index, it)));
        unwritable.into_values().collect()
    }

    /// See [`Encoder::size_bound`]; the size is before compression.
    pub fn size_bound(&self, events: &Events) -> u64 {
        self.encoder.size_bound(events)
    }

    /// Groups the events by their [form](Encoder::form), which is empty if there is only one.
    pub fn by_form(&self, events: Events) -> Vec<(String, Events)> {
        if !self.encoder.has_forms() {
            return vec![(String::new(), events)];
        }
        let mut forms: Vec<&str> = Vec::new();
        let mut part_of = Vec::with_capacity(events.len());
        for event in events.iter() {
            let form = self.encoder.form(event).unwrap_or_default();
            let known = forms.iter().rposition(|known| *known == form);
            part_of.push(known.unwrap_or_else(|| {
                forms.push(form);
                forms.len() - 1
            }));
        }
        let parts = events.split(&part_of);
        forms.into_iter().map(str::to_owned).zip(parts).collect()
    }

    /// Begins a file.
    pub fn begin(&self) -> FormattedFile {
        FormattedFile { file: self.begin_encoder(), compressor: self.codec.begin() }
    }

    fn begin_encoder(&self) -> EncodedFile {
        match self.encoder.remote() {
            Some(remote) => EncodedFile::Remote(remote.begin()),
            None => EncodedFile::Here(self.encoder.begin()),
        }
    }

    /// Begins a file without compression, and returns the codec for its pieces, each of which must
    /// be compressed as a file. `None` if concatenated files are not a file of this codec.
    pub fn begin_in_pieces(&self) -> Option<(FormattedFile, Arc<dyn Codec>)> {
        if !self.is_compressed() || !self.codec.concatenates() {
            return None;
        }
        let compressor = codecs::none::Plain.begin();
        Some((FormattedFile { file: self.begin_encoder(), compressor }, self.codec.clone()))
    }

    /// Returns a complete file of these events. Not for [remote](Encoder::remote) encoders.
    pub fn file(&self, events: &Events) -> Bytes {
        let (mut encoder, mut compressor) = (self.encoder.begin(), self.codec.begin());
        let first = compressor.compress(encoder.encode(events));
        let last = ended(encoder.finish(), &mut *compressor);
        match (first.is_empty(), last.is_empty()) {
            (_, true) => first,
            (true, false) => last,
            (false, false) => [first, last].concat().into(),
        }
    }
}

/// An unfinished file.
pub struct FormattedFile {
    file: EncodedFile,
    compressor: Box<dyn Compressor>,
}

enum EncodedFile {
    Here(Box<dyn FileEncoder>),
    Remote(Box<dyn RemoteFile>),
}

/// Returns the last bytes of a file, which begin with these of its encoder.
fn ended(encoded: Bytes, compressor: &mut dyn Compressor) -> Bytes {
    let first = if encoded.is_empty() { encoded } else { compressor.compress(encoded) };
    let last = compressor.finish();
    if first.is_empty() { last } else { [first, last].concat().into() }
}

impl FormattedFile {
    /// Returns the next bytes of the file; they contain these events, or the events are buffered.
    ///
    /// # Errors
    /// A remote encoder has failed. The file cannot be continued.
    pub async fn encode(&mut self, events: &Events) -> Result<Bytes, SinkError> {
        let encoded = match &mut self.file {
            EncodedFile::Here(file) => file.encode(events),
            EncodedFile::Remote(file) => file.encode(events).await?,
        };
        Ok(self.compressor.compress(encoded))
    }

    /// See [`FileEncoder::held_back`]; the size is before compression. A codec may buffer up to one
    /// mebibyte in addition.
    pub fn held_back(&self) -> u64 {
        match &self.file {
            EncodedFile::Here(file) => file.held_back(),
            EncodedFile::Remote(_) => 0,
        }
    }

    /// Returns the last bytes of the file.
    ///
    /// # Errors
    /// A remote encoder has failed. The file cannot be completed.
    pub async fn finish(&mut self) -> Result<Bytes, SinkError> {
        let encoded = match &mut self.file {
            EncodedFile::Here(file) => file.finish(),
            EncodedFile::Remote(file) => file.finish().await?,
        };
        Ok(ended(encoded, &mut *self.compressor))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::json;

    use super::*;
    use crate::encoders::testkit;

    #[test]
    fn typed_rows_are_unwritable_for_encoders_that_do_not_read_them() {
        let mut builder = BatchBuilder::default();
        builder.push(b"{}", &[]);
        builder.push(&[0xc1, 0, 7], &[(SCHEMA_HEADER, "{}")]);
        let batch = builder.finish();
        for encoder in ["header_and_text", "avro"] {
            let format = Format::plain(testkit::encoder(&json!(encoder)));
            let found = format.unwritable(&batch);
            assert_eq!(found.len(), 1, "{encoder}");
            assert!(found[0].index == 1 && found[0].reason.contains("`parquet`"), "{found:?}");
        }
    }
}
