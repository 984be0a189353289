//! The format of the files: the form of a row, and the compression.

use crate::given::Given;
use crate::notes::{Notes, Outcome};

/// A column as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in a column of Parquet, as settings in TOML: `type = "int64"`.
    pub kind: String,
}

/// The formats of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines of CSV.
    Text,
    /// Lines of CSV as values.
    Sequence,
    /// Columns; none while the database was not asked.
    Parquet(Vec<Column>),
    /// Records of Avro, with their schema; empty while the database was not asked.
    Avro(String),
}

impl Form {
    /// Returns its name here.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Sequence => "sequence_file",
            Self::Parquet(_) => "parquet",
            Self::Avro(_) => "avro",
        }
    }
}

/// The format and compression of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) form: Form,
    pub(crate) delimiter: char,
    pub(crate) null: String,
    /// Name of the codec, and how names of files end.
    pub(crate) codec: Option<(&'static str, &'static str)>,
}

/// Codecs: names, Hadoop's classes, and file extensions.
const CODECS: [(&str, &str, &str); 6] = [
    ("gzip", "GzipCodec", ".gz"),
    ("deflate", "DefaultCodec", ".deflate"),
    ("bzip2", "BZip2Codec", ".bz2"),
    ("snappy", "SnappyCodec", ".snappy"),
    ("lz4", "Lz4Codec", ".lz4"),
    ("zstd", "ZStandardCodec", ".zst"),
];

impl Files {
    pub(crate) fn of(given: &Given, notes: &mut Notes) -> Self {
        if given.has("hive-import") {
            let form = Form::Parquet(Vec::new());
            let codec = codec(given, &form, notes);
            return Self { form, delimiter: ',', null: "null".to_owned(), codec };
        }
        let forms: Vec<&str> =
            ["as-textfile", "as-sequencefile", "as-avrodatafile", "as-parquetfile"]
                .into_iter()
                .filter(|name| given.has(name))
                .collect();
        if let [_, second, ..] = forms[..] {
            notes.refuse(
                &format!("--{second}"),
                "cannot be combined with another file format: remove one",
            );
        }
        let form = match forms.first() {
            Some(&"as-sequencefile") => Form::Sequence,
            Some(&"as-parquetfile") => Form::Parquet(Vec::new()),
            Some(&"as-avrodatafile") => Form::Avro(String::new()),
            _ => Form::Text,
        };
        let codec = codec(given, &form, notes);
        let delimiter = delimiter(given, "fields-terminated-by", notes);
        only(given, "lines-terminated-by", '\n', notes);
        only(given, "enclosed-by", '"', notes);
        only(given, "optionally-enclosed-by", '"', notes);
        let null = null(given, notes);
        if null.contains([delimiter, '"', '\n', '\r']) {
            notes.refuse(
                "--null-string",
                "must not contain a delimiter, a quote or a line end: use another text",
            );
        }
        Self { form, delimiter, null, codec }
    }

    /// # Errors
    /// Why rows are not read back from such files.
    pub(crate) fn can_be_read_back(&self) -> Result<(), &'static str> {
        match (&self.form, self.codec) {
            (Form::Sequence, _) => {
                Err("cannot read rows back from SequenceFiles: use --as-textfile, \
                     --as-avrodatafile or --as-parquetfile")
            }
            (Form::Text, Some(("deflate" | "snappy" | "lz4", _))) => {
                Err("cannot read back text of this codec: use gzip, bzip2 or zstd")
            }
            _ => Ok(()),
        }
    }

    /// The settings of a source `hdfs` that reads the rows back, without its `url`.
    pub(crate) fn reading(&self, columns: &[String]) -> serde_json::Value {
        let decoder = match &self.form {
            Form::Parquet(_) => serde_json::json!({ "type": "parquet_rows" }),
            Form::Avro(_) => serde_json::json!({ "type": "avro_rows" }),
            Form::Text | Form::Sequence => serde_json::json!({
                "type": "delimited",
                "fields": columns,
                "delimiter": self.delimiter.to_string(),
                "quote": "\"",
                "null": self.null,
                // As long as a row of a batch can be.
                "record_max": "16MiB",
            }),
        };
        serde_json::json!({ "decoder": decoder })
    }
}

/// Returns the text for NULL, which is the same for all columns.
fn null(given: &Given, notes: &mut Notes) -> String {
    let [text, other] =
        ["null-string", "null-non-string"].map(|name| given.get(name).map(unescaped));
    match (text, other) {
        (Some(text), Some(other)) => {
            if text != other {
                let problem = "Aqueduct writes NULL as the same text in all columns; give \
                               --null-string and --null-non-string the same value";
                notes.refuse("--null-string", problem);
            }
            text
        }
        (Some(one), None) | (None, Some(one)) => {
            if one != "null" {
                let (option, other, kind) = match given.has("null-string") {
                    true => ("--null-string", "--null-non-string", "other than text"),
                    false => ("--null-non-string", "--null-string", "of text"),
                };
                let text = format!(
                    "`{one}` is written for NULL in all columns; Sqoop writes `null` in columns \
                     {kind}, because {other} is not set"
                );
                notes.add(Outcome::Differs, option, text);
            }
            one
        }
        (None, None) => "null".to_owned(),
    }
}

fn codec(given: &Given, form: &Form, notes: &mut Notes) -> Option<(&'static str, &'static str)> {
    let Some(wanted) = given.get("compression-codec") else {
        let default = match form {
            Form::Parquet(_) => "snappy",
            Form::Avro(_) => "deflate",
            Form::Text | Form::Sequence => "gzip",
        };
        return given.has("compress").then(|| find(default)).flatten();
    };
    let found = find(wanted.rsplit('.').next().unwrap_or(wanted));
    let fits = match (form, found) {
        (_, None) => false,
        (Form::Text, Some(_)) => true,
        (Form::Sequence, Some((name, _))) => name != "bzip2",
        (Form::Parquet(_), Some((name, _))) => ["gzip", "snappy", "zstd"].contains(&name),
        (Form::Avro(_), Some((name, _))) => ["deflate", "snappy"].contains(&name),
    };
    if !fits {
        let (format, known) = match form {
            Form::Text => ("text", "gzip, deflate, bzip2, snappy, lz4 or zstd"),
            Form::Sequence => ("SequenceFiles", "gzip, deflate, snappy, lz4 or zstd"),
            Form::Parquet(_) => ("Parquet", "gzip, snappy or zstd"),
            Form::Avro(_) => ("Avro", "deflate or snappy"),
        };
        let text = format!("`{wanted}` is not supported for {format}: use {known}");
        notes.refuse("--compression-codec", text);
    }
    found
}

fn find(wanted: &str) -> Option<(&'static str, &'static str)> {
    let is = |name: &str, class: &str| {
        wanted.eq_ignore_ascii_case(name) || wanted.eq_ignore_ascii_case(class)
    };
    CODECS.iter().find(|(name, class, _)| is(name, class)).map(|(name, _, end)| (*name, *end))
}

/// Returns the separator of two values.
pub(crate) fn delimiter(given: &Given, option: &str, notes: &mut Notes) -> char {
    let Some(written) = given.get(option) else { return ',' };
    let text = unescaped(written);
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) if c.is_ascii() && !"\"\r\n\0".contains(c) => c,
        _ => {
            let text = format!(
                "`{written}` must be one ASCII character other than a quote and a line end"
            );
            notes.refuse(&format!("--{option}"), text);
            ','
        }
    }
}

/// An option that has one possible value.
fn only(given: &Given, option: &str, value: char, notes: &mut Notes) {
    let Some(written) = given.get(option) else { return };
    if unescaped(written) != value.to_string() {
        let text = format!("`{written}` is not supported: use `{}`", value.escape_default());
        notes.refuse(&format!("--{option}"), text);
    }
}

/// Decodes a character in the notation of Sqoop's options: `\t`, `\001`, `\0x01`. `\N` stays
/// unchanged.
pub(crate) fn unescaped(text: &str) -> String {
    let Some(rest) = text.strip_prefix('\\') else { return text.to_owned() };
    let number = |digits: &str, radix| {
        u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).map(String::from)
    };
    let known = match rest {
        "b" => Some("\u{8}".to_owned()),
        "n" => Some("\n".to_owned()),
        "r" => Some("\r".to_owned()),
        "t" => Some("\t".to_owned()),
        "\"" | "'" | "\\" => Some(rest.to_owned()),
        // Users of Sqoop write `\\N`, because Sqoop's own parser removes one backslash.
        "\\N" => Some("\\N".to_owned()),
        _ => match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            Some(digits) => number(digits, 16),
            None if rest.starts_with('0') => number(rest, 8),
            None => None,
        },
    };
    known.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back_in_the_form_that_they_were_written_in() {
        let files = |form| Files { form, delimiter: '|', null: "~".to_owned(), codec: None };
        let of = |form| files(form).reading(&["a".to_owned()])["decoder"].clone();
        let text = of(Form::Text);
        assert_eq!((&text["type"], &text["delimiter"]), (&"delimited".into(), &"|".into()));
        assert_eq!((&text["null"], &text["fields"][0]), (&"~".into(), &"a".into()));
        assert_eq!(of(Form::Parquet(Vec::new()))["type"], "parquet_rows");
        assert_eq!(of(Form::Avro(String::new()))["type"], "avro_rows");
        assert!(files(Form::Sequence).can_be_read_back().is_err());
        let packed = Files { codec: find("lz4"), ..files(Form::Text) };
        assert!(packed.can_be_read_back().is_err());
        assert_eq!(Files { codec: find("gzip"), ..files(Form::Text) }.can_be_read_back(), Ok(()));
    }

    #[test]
    fn characters_are_read_as_sqoop_writes_them() {
        for (written, expected) in [
            (",", ","),
            ("\\t", "\t"),
            ("\\001", "\u{1}"),
            ("\\0x01", "\u{1}"),
            ("\\0x7C", "|"),
            ("\\\\", "\\"),
            ("\\N", "\\N"),
            ("\\\\N", "\\N"),
            ("null", "null"),
        ] {
            assert_eq!(unescaped(written), expected, "{written}");
        }
    }
}
