//! Settings of the `spool_dir` source.

mod defaults;
mod pieces;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use formats::charset::Charset;
use formats::compression::Compression;
use kit::multiline::{FinishedMultiline, Joining};
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Choice, Decoder};
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pieces::{Pieces, PiecesConfig};

/// Maximum size of the bodies in a batch, except for a piece of a transferred file.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// The longest line that may be set.
const LINE_MAX: ByteSize = ByteSize::mib(16);

/// The largest `split_chars`: as many characters of four bytes as `LINE_MAX` has.
const LINE_CHARS_MAX: u32 = 4 << 20;

/// Settings of the `spool_dir` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory to read. It must exist.
    directory: PathBuf,
    /// Whether subdirectories are read.
    #[serde(default)]
    recursive: bool,
    /// Regular expression that must match the whole name of a file.
    #[serde(default = "defaults::include_pattern")]
    include_pattern: String,
    /// Regular expression of names to skip. It has precedence over `include_pattern`.
    #[serde(default = "defaults::ignore_pattern")]
    ignore_pattern: String,
    /// Order of the files.
    #[serde(default)]
    consume_order: ConsumeOrder,
    /// Interval between scans of the directory while there is nothing to read.
    #[serde(default = "defaults::poll_delay")]
    poll_delay: Period,
    /// Time for which the size and modification time of a file must not change before it is read,
    /// and again before it is renamed, moved or deleted. A file that changes after the start of
    /// reading is set aside. `0s` if files are complete when they appear, for example because they
    /// are moved in.
    #[serde(default = "defaults::settle")]
    settle: Period,
    /// Handling of a file when all its events are stored.
    #[serde(default)]
    delete_policy: DeletePolicy,
    /// Tracking of completed files that stay in the directory.
    #[serde(default)]
    tracking_policy: TrackingPolicy,
    /// Suffix of a file when all its events are stored.
    #[serde(default = "defaults::completed_suffix")]
    completed_suffix: String,
    /// Directory for completed files, which keep their names; on the same file system. It is
    /// created if it is missing.
    #[serde(default)]
    completed_dir: Option<PathBuf>,
    /// Suffix of a file that is set aside, because it changed or cannot be decoded.
    #[serde(default = "defaults::failed_suffix")]
    failed_suffix: String,
    /// Header for the path of the file. Default: none.
    #[serde(default)]
    file_header: Option<String>,
    /// Header for the name of the file. Default: none.
    #[serde(default)]
    basename_header: Option<String>,
    /// Decoder of the files: `lines` and `avro` read a file in pieces, other decoders read it as a
    /// whole.
    #[serde(default = "defaults::decoder")]
    decoder: Choice<dyn Decoder>,
    /// Rules that join lines to one event, such as a message and its stack trace. Without them each
    /// line is an event.
    #[serde(default)]
    multiline: Option<FinishedMultiline>,
    /// Transfers each file unchanged, in pieces, for the sink `files`, which joins them again:
    /// `{}`, or with the `size` of a piece. Without it, files are read as events.
    #[serde(default)]
    pieces: Option<PiecesConfig>,
    /// Compression of the files.
    #[serde(default)]
    compression: Compression,
    /// Charset of the files, such as `UTF-16`, `ISO-8859-1`, `windows-1252`, `Shift_JIS` or `GBK`.
    /// Bodies are converted to UTF-8. Not for `avro` and `blob`, which read bytes.
    #[serde(default = "defaults::charset")]
    charset: String,
    /// Handling of bytes that are invalid in the charset. Not used for `avro` and `blob`.
    #[serde(default)]
    decode_error_policy: DecodeErrors,
    /// Length limit of a line, in bytes of the file. Longer lines are cut, get the header
    /// `truncated`, and are counted.
    #[serde(default = "defaults::line_max")]
    line_max: ByteSize,
    /// Reads lines as Flume does, with a limit in characters: the rest of a longer line becomes
    /// further events, empty lines are events, and a CR belongs to its line. A line of exactly this
    /// length is followed by an empty event. A character outside Unicode's basic plane counts as
    /// two and is not divided. Excludes `multiline`; `line_max` is not used. Default: off.
    #[serde(default)]
    split_chars: Option<u32>,
    /// Size limit of a file that is read as a whole, after decompression.
    #[serde(default = "defaults::file_max")]
    file_max: ByteSize,
    /// Limit of events in a batch.
    #[serde(default = "defaults::batch_events")]
    batch_events: usize,
}

/// Order of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConsumeOrder {
    /// Oldest change first, then by name.
    #[default]
    Oldest,
    /// Latest change first.
    Youngest,
    /// Random.
    Random,
}

/// What becomes of a file whose events are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DeletePolicy {
    /// It is kept.
    #[default]
    Never,
    /// It is deleted.
    Immediate,
}

/// How a file that stays is marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TrackingPolicy {
    /// By the suffix of their names.
    #[default]
    Rename,
    /// Only by the position in the channels; nothing is written to the directory.
    Position,
}

/// What becomes of bytes that are no text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DecodeErrors {
    /// They are kept in UTF-8, and replaced by U+FFFD in other charsets.
    #[default]
    Keep,
    /// The file is set aside.
    Fail,
    /// They are replaced by U+FFFD.
    Replace,
    /// They are left out.
    Ignore,
}

/// What becomes of a file whose events are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Completion {
    /// It is deleted.
    Delete,
    /// This is added to its name.
    Suffix(String),
    /// It is moved into this directory.
    Move(PathBuf),
    /// The event is kept unchanged.
    Keep,
}

/// What the settings say.
pub(super) struct Options {
    pub(super) directory: PathBuf,
    pub(super) recursive: bool,
    pub(super) include: Regex,
    pub(super) ignore: Regex,
    pub(super) order: ConsumeOrder,
    pub(super) poll_delay: Duration,
    /// How long a file must not change before it is read, and before it is finished.
    pub(super) settle: Duration,
    pub(super) completion: Completion,
    pub(super) completed_suffix: String,
    pub(super) failed_suffix: String,
    pub(super) file_header: Option<String>,
    pub(super) basename_header: Option<String>,
    pub(super) decoder: Box<dyn Decoder>,
    /// Whether files are read line by line.
    pub(super) is_lines: bool,
    /// Which lines are one event.
    pub(super) joining: Option<Joining>,
    /// Whether files are transferred as they are, and how they are cut.
    pub(super) pieces: Option<Pieces>,
    /// Whether the decoder reads text.
    pub(super) is_text: bool,
    pub(super) compression: Compression,
    pub(super) charset: Charset,
    pub(super) decode_errors: DecodeErrors,
    pub(super) line_max: usize,
    /// Length limit of lines that are split, in characters.
    pub(super) split_chars: Option<usize>,
    pub(super) file_max: u64,
    pub(super) batch_events: usize,
}

impl Options {
    /// Bytes of bodies of a batch at most.
    pub(super) fn batch_bytes(&self) -> usize {
        self.pieces.as_ref().map_or(BATCH_BYTES, |pieces| pieces.size)
    }
}

impl Config {
    /// The options.
    pub(super) fn options(self, cx: &BuildContext) -> Result<Arc<Options>, BuildError> {
        let completion = self.completion()?;
        self.check_names()?;
        let joining = self.joining()?;
        let split_chars = self.split_chars()?;
        let pieces = self.pieces(cx)?;
        let limits = [
            ("line_max", self.line_max, LINE_MAX),
            ("file_max", self.file_max, ByteSize::mib(1024)),
        ];
        for (setting, value, most) in limits {
            if value.0 == 0 || value > most {
                return Err(BuildError::invalid(setting, format!("must be from 1B to {most}")));
            }
        }
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        let decoder = self.decoder.build("decoder", cx)?;
        let charset = Charset::named(&self.charset)
            .map_err(|problem| BuildError::invalid("charset", problem))?;
        if !decoder.is_text() && !charset.is_utf8() {
            let problem = format!(
                "does not apply to the decoder `{}`, which reads bytes: remove it",
                self.decoder.kind()
            );
            return Err(BuildError::invalid("charset", problem));
        }
        if joining.is_some() && charset.unit() > 1 {
            let problem =
                "does not support UTF-16: remove `multiline`, or write the files in UTF-8";
            return Err(BuildError::invalid("multiline", problem));
        }
        if self.line_max.0 < charset.unit() as u64 {
            let problem = format!("must be at least {}B, one character", charset.unit());
            return Err(BuildError::invalid("line_max", problem));
        }
        Ok(Arc::new(Options {
            directory: self.directory,
            recursive: self.recursive,
            include: whole("include_pattern", &self.include_pattern)?,
            ignore: whole("ignore_pattern", &self.ignore_pattern)?,
            order: self.consume_order,
            poll_delay: self.poll_delay.0.max(Duration::from_millis(1)),
            settle: self.settle.0,
            completion,
            completed_suffix: self.completed_suffix,
            failed_suffix: self.failed_suffix,
            file_header: self.file_header,
            basename_header: self.basename_header,
            is_text: decoder.is_text(),
            decoder,
            is_lines: self.decoder.kind() == "lines",
            joining,
            compression: if pieces.is_some() { Compression::None } else { self.compression },
            pieces,
            charset,
            decode_errors: self.decode_error_policy,
            line_max: self.line_max.0 as usize,
            split_chars,
            file_max: self.file_max.0,
            batch_events: self.batch_events,
        }))
    }

    fn check_names(&self) -> Result<(), BuildError> {
        for (setting, suffix) in
            [("completed_suffix", &self.completed_suffix), ("failed_suffix", &self.failed_suffix)]
        {
            if suffix.is_empty() || suffix.contains('/') {
                return Err(BuildError::invalid(setting, "must not be empty or contain `/`"));
            }
        }
        for (setting, name) in
            [("file_header", &self.file_header), ("basename_header", &self.basename_header)]
        {
            if let Some(name) = name {
                formats::decoders::check_names(std::iter::once(name.as_str()))
                    .map_err(|error| BuildError::invalid(setting, error))?;
            }
        }
        Ok(())
    }

    fn joining(&self) -> Result<Option<Joining>, BuildError> {
        let Some(multiline) = &self.multiline else { return Ok(None) };
        if self.decoder.kind() != "lines" {
            let problem = "applies only to the decoder `lines`: remove it, or change `decoder`";
            return Err(BuildError::invalid("multiline", problem));
        }
        multiline.joining(ByteSize(BATCH_BYTES as u64)).map(Some)
    }

    fn split_chars(&self) -> Result<Option<usize>, BuildError> {
        let Some(chars) = self.split_chars else { return Ok(None) };
        if !(1..=LINE_CHARS_MAX).contains(&chars) {
            let problem = format!("must be from 1 to {LINE_CHARS_MAX}");
            return Err(BuildError::invalid("split_chars", problem));
        }
        if self.decoder.kind() != "lines" || self.multiline.is_some() {
            let problem = "has an effect only with the decoder `lines` and without `multiline`; \
                           remove this, or change those";
            return Err(BuildError::invalid("split_chars", problem));
        }
        Ok(Some(chars as usize))
    }

    fn pieces(&self, cx: &BuildContext) -> Result<Option<Pieces>, BuildError> {
        let Some(pieces) = &self.pieces else { return Ok(None) };
        let is_plain = matches!(self.compression, Compression::Auto | Compression::None);
        let set = [
            ("decoder", self.decoder.kind() != "lines"),
            ("multiline", self.multiline.is_some()),
            ("split_chars", self.split_chars.is_some()),
            ("compression", !is_plain),
            ("charset", self.charset != defaults::charset()),
        ];
        if let Some((setting, _)) = set.iter().find(|(_, is_set)| *is_set) {
            let problem =
                "does not apply with `pieces`, which transfers files unchanged; remove one of them";
            return Err(BuildError::invalid(*setting, problem));
        }
        pieces.checked(cx).map(Some)
    }

    fn completion(&self) -> Result<Completion, BuildError> {
        let is_deleted = self.delete_policy == DeletePolicy::Immediate;
        let is_kept = self.tracking_policy == TrackingPolicy::Position;
        match &self.completed_dir {
            Some(_) if is_deleted || is_kept => {
                let problem = "has an effect only with `delete_policy = \"never\"` and \
                               `tracking_policy = \"rename\"`: set these, or remove it";
                Err(BuildError::invalid("completed_dir", problem))
            }
            None if is_deleted && is_kept => {
                let problem = "cannot be \"position\", which leaves files unchanged, with \
                               `delete_policy = \"immediate\"`, which deletes them: change one of \
                               the two";
                Err(BuildError::invalid("tracking_policy", problem))
            }
            Some(directory) => Ok(Completion::Move(directory.clone())),
            None if is_deleted => Ok(Completion::Delete),
            None if is_kept => Ok(Completion::Keep),
            None => Ok(Completion::Suffix(self.completed_suffix.clone())),
        }
    }
}

/// The pattern of whole names. A name may have a line feed, which `.` matches too.
fn whole(setting: &str, pattern: &str) -> Result<Regex, BuildError> {
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).dot_matches_new_line(true).build();
    whole.map_err(|error| BuildError::invalid(setting, error))
}
