//! The format of a file: an encoder, and a codec around it.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{
    BuildContext, BuildError, Choice, Codec, Compressor, Encoder, Events, FileEncoder, Unwritable,
};

use crate::codecs;

/// The form of the events in files, and how the files are compressed.
pub struct Format {
    encoder: Box<dyn Encoder>,
    codec: Arc<dyn Codec>,
}

impl Format {
    /// As the settings `encoder` and `codec` name it.
    ///
    /// # Errors
    /// Either is not known, has a wrong setting, or they do not go together.
    pub fn new(
        encoder: &Choice<dyn Encoder>,
        codec: &Choice<dyn Codec>,
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        let codec = codec.build("codec", cx)?.into();
        let built = Self { encoder: encoder.build("encoder", cx)?, codec };
        if built.is_compressed() && !built.encoder.is_lines() {
            let problem = format!(
                "files of `{}` are compressed block by block: set `encoder = {{ type = \"{0}\", \
                 codec = … }}` instead",
                encoder.kind()
            );
            return Err(BuildError::invalid("codec", problem));
        }
        Ok(built)
    }

    /// This encoder without compression.
    pub fn plain(encoder: Box<dyn Encoder>) -> Self {
        Self { encoder, codec: Arc::new(codecs::none::Plain) }
    }

    /// The encoder alone.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Whether a codec compresses the files.
    pub fn is_compressed(&self) -> bool {
        !self.codec.extension().is_empty()
    }

    /// That files in a row are one file with the events of all.
    ///
    /// # Errors
    /// The setting that stands against it.
    pub fn concatenates(&self) -> Result<(), &'static str> {
        match (self.encoder.concatenates(), self.codec.concatenates()) {
            (false, _) => Err("encoder"),
            (true, false) => Err("codec"),
            (true, true) => Ok(()),
        }
    }

    /// The content coding, for protocols that name it.
    pub fn content_encoding(&self) -> Option<&'static str> {
        self.codec.content_encoding()
    }

    /// The ending of a file's name, without the dot: `log`, `json.gz`.
    pub fn extension(&self) -> String {
        match (self.encoder.extension(), self.codec.extension()) {
            (encoder, "") => encoder.to_owned(),
            (encoder, codec) => format!("{encoder}.{codec}"),
        }
    }

    /// As [`Encoder::unwritable`].
    pub fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        self.encoder.unwritable(events)
    }

    /// As [`Encoder::size_bound`], of the file before compression.
    pub fn size_bound(&self, events: &Events) -> u64 {
        self.encoder.size_bound(events)
    }

    /// The events by their [form](Encoder::form), which is empty where there is but one.
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
        FormattedFile { encoder: self.encoder.begin(), compressor: self.codec.begin() }
    }

    /// Begins a file without compression, and gives the codec for its pieces, each of which is to
    /// be compressed as a file. `None` where files in a row are no file of this codec.
    pub fn begin_in_pieces(&self) -> Option<(FormattedFile, Arc<dyn Codec>)> {
        if !self.is_compressed() || !self.codec.concatenates() {
            return None;
        }
        let compressor = codecs::none::Plain.begin();
        Some((FormattedFile { encoder: self.encoder.begin(), compressor }, self.codec.clone()))
    }

    /// A whole file of these events.
    pub fn file(&self, events: &Events) -> Bytes {
        let mut file = self.begin();
        let (first, last) = (file.encode(events), file.finish());
        match (first.is_empty(), last.is_empty()) {
            (_, true) => first,
            (true, false) => last,
            (false, false) => [first, last].concat().into(),
        }
    }
}

/// One file that is being written.
pub struct FormattedFile {
    encoder: Box<dyn FileEncoder>,
    compressor: Box<dyn Compressor>,
}

impl FormattedFile {
    /// The next bytes of the file, with these events in them or held back.
    pub fn encode(&mut self, events: &Events) -> Bytes {
        self.compressor.compress(self.encoder.encode(events))
    }

    /// As [`FileEncoder::held_back`], of the file before compression. A codec may hold up to a
    /// mebibyte more.
    pub fn held_back(&self) -> u64 {
        self.encoder.held_back()
    }

    /// The last bytes of the file.
    pub fn finish(&mut self) -> Bytes {
        let encoded = self.encoder.finish();
        let first = if encoded.is_empty() { encoded } else { self.compressor.compress(encoded) };
        let last = self.compressor.finish();
        if first.is_empty() { last } else { [first, last].concat().into() }
    }
}
