//! Formats a plan as a TOML configuration, with notes in comments.

use std::fmt::Write;

use pipeline::plain_text::leaves_host;

use crate::export::{Export, Text};
use crate::form::{Column, Form};
use crate::import::{Import, Mode};
use crate::notes::{Notes, Outcome};
use crate::place::{Database, PASSWORD_VARIABLE, Password};
use crate::sequence::Sequence;

/// Settings that a call does not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout<'a> {
    /// An import that ends; its sink has this name.
    Once(&'a str),
    /// Parts of a running agent; they have this name.
    On(&'a str),
}

/// The table `agent`.
pub fn agent(data_dir: &str) -> String {
    format!("[agent]\ndata_dir = {}\n", quoted(data_dir))
}

/// A text in TOML, in which nothing is a reference.
fn quoted(text: &str) -> String {
    let text = serde_json::Value::from(text.replace("${", "$${")).to_string();
    text.replace('\u{7f}', "\\u007F")
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|it| quoted(it)).collect();
    format!("[{}]", items.join(", "))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes it");
}

fn set(text: &mut String, name: &str, value: &str) {
    line(text, format_args!("{name} = {value}"));
}

impl Notes {
    /// Returns decisions and differences, as comments.
    pub fn comments(&self) -> String {
        let mut text = String::new();
        for outcome in [Outcome::Refused, Outcome::Differs] {
            for note in self.of(outcome) {
                // A line end would end the comment.
                let note = note.to_string().replace(['\n', '\r'], " ");
                line(&mut text, format_args!("# {note}"));
            }
        }
        text
    }
}

impl Database {
    /// Writes the last settings of a component, whose table is `table`.
    fn put(&self, text: &mut String, table: &str) {
        // The connection of an ODBC driver is unknown.
        let has_host = !self.url.starts_with("sqlite:") && !self.url.starts_with("odbc:");
        if !self.tls && has_host && leaves_host(&self.url) {
            let why = "# Plain text leaves this host, as with Sqoop. Use TLS or a tunnel.";
            line(text, format_args!("{why}"));
            set(text, "insecure", "true");
        }
        line(text, format_args!("\n[{table}.database]"));
        set(text, "url", &quoted(&self.url));
        if let Some(user) = &self.user {
            set(text, "user", &quoted(user));
        }
        if let Some(password) = &self.password {
            // A reference, which is read when the agent starts.
            let reference = match password {
                Password::File(path) => format!("${{file:{path}}}"),
                _ => format!("${{{PASSWORD_VARIABLE}}}"),
            };
            set(text, "password", &serde_json::Value::from(reference).to_string());
        }
        if self.tls {
            set(text, "tls", "{}");
        }
    }
}

impl<'a> Layout<'a> {
    /// Returns the name of the source, the type or name of the sink, and the text up to the
    /// settings of the source.
    fn begin(self, notes: &Notes) -> (&'a str, &'a str, String) {
        let (name, sink) = match self {
            Layout::Once(sink) => ("rows", sink),
            Layout::On(name) => (name, name),
        };
        let mut text = notes.comments();
        line(&mut text, format_args!("[sources.{name}]"));
        (name, sink, text)
    }
}

impl Import {
    /// The configuration, without the table `agent`.
    pub fn to_toml(&self, layout: Layout<'_>, notes: &Notes) -> String {
        let (name, sink, mut text) = layout.begin(notes);
        let out = &mut text;
        set(out, "type", "\"sql\"");
        set(out, "channels", &list(&[name.to_owned()]));
        for (setting, value) in [("table", &self.table), ("query", &self.query)] {
            if let Some(value) = value {
                set(out, setting, &quoted(value));
            }
        }
        let columns = if self.columns.is_empty() { &self.learned } else { &self.columns };
        if !columns.is_empty() {
            set(out, "columns", &list(columns));
        }
        if let Some(condition) = self.whole_condition() {
            set(out, "where", &quoted(&condition));
        }
        let mode = match self.mode {
            Mode::Full => "\"full\"",
            Mode::Append => "\"append\"",
            Mode::Modified => "\"modified\"",
        };
        set(out, "mode", mode);
        if let Some(column) = &self.check_column {
            set(out, "check_column", &quoted(column));
        }
        if self.key().is_empty() && self.mode != Mode::Append {
            line(
                out,
                format_args!("# Set the columns that identify a row, such as the primary key."),
            );
        }
        if !self.key().is_empty() || self.mode != Mode::Append {
            set(out, "key", &list(self.key()));
        }
        match (self.mode, layout) {
            (Mode::Full, _) => {
                if let Some(column) = &self.split_by {
                    set(out, "split_by", &quoted(column));
                }
                set(out, "splits", &self.splits.to_string());
            }
            (_, Layout::Once(_)) => set(out, "once", "true"),
            (_, Layout::On(_)) => {}
        }
        if let Some(rows) = self.fetch_size {
            set(out, "fetch_size", &rows.to_string());
        }
        self.put_body(out);
        self.database.put(out, &format!("sources.{name}"));
        line(out, format_args!("\n[channels.{name}]"));
        set(out, "type", "\"durable\"");
        set(out, "capacity", "\"4GiB\"");
        line(out, format_args!("\n[sinks.{sink}]"));
        set(out, "type", "\"hdfs\"");
        set(out, "url", &quoted(&self.url));
        set(out, "channel", &quoted(name));
        self.put_form(out);
        set(out, "roll", "{ age_max = \"10m\", idle_max = \"1m\" }");
        text
    }

    /// The form of the rows in the channel.
    fn put_body(&self, out: &mut String) {
        match &self.files.form {
            Form::Parquet(_) => set(out, "format", "\"rows\""),
            Form::Avro(_) => set(out, "format", "\"avro\""),
            Form::Text | Form::Sequence => {
                set(out, "format", "\"csv\"");
                set(out, "delimiter", &quoted(&self.files.delimiter.to_string()));
                set(out, "null", &quoted(&self.files.null));
            }
        }
    }

    fn put_form(&self, out: &mut String) {
        let codec = self.files.codec;
        match &self.files.form {
            Form::Text => {
                let (codec, end) = codec.unwrap_or(("none", ""));
                set(out, "encoder", "\"text\"");
                set(out, "codec", &quoted(codec));
                set(out, "file_suffix", &quoted(&format!(".csv{end}")));
            }
            Form::Sequence => {
                let packed = match codec {
                    Some((codec, _)) => format!(", compression = \"block\", codec = \"{codec}\""),
                    None => String::new(),
                };
                let encoder = "{ type = \"sequence_file\", write_format = \"text\"";
                set(out, "encoder", &format!("{encoder}{packed} }}"));
            }
            Form::Avro(schema) => {
                if schema.is_empty() {
                    let todo = "# Set `schema`: `aqueduct import --dry-run` of the call prints it.";
                    line(out, format_args!("{todo}"));
                }
                let codec = codec.map_or("null", |(codec, _)| codec);
                let encoder = format!("{{ type = \"avro_schema\", codec = \"{codec}\"");
                set(out, "encoder", &format!("{encoder}, schema = {} }}", quoted(schema)));
            }
            Form::Parquet(columns) => {
                let (codec, _) = codec.unwrap_or(("snappy", ""));
                if columns.is_empty() {
                    let todo = "# Name the columns: `{ name = \"id\", type = \"int64\" }`.";
                    line(out, format_args!("{todo}"));
                }
                let columns: Vec<String> = columns.iter().map(column).collect();
                let columns = columns.join(", ");
                let encoder = format!("{{ type = \"parquet\", codec = \"{codec}\"");
                set(out, "encoder", &format!("{encoder}, columns = [{columns}] }}"));
            }
        }
    }
}

/// A column of a Parquet file, of the member of its name.
fn column(Column { name, kind }: &Column) -> String {
    // The path of the member: escape dots in its name.
    let from = name.replace('\\', "\\\\").replace('.', "\\.");
    let from = match from == *name && !name.starts_with("header:") && name != "body" {
        true => String::new(),
        false => format!(", from = {}", quoted(&from)),
    };
    format!("{{ name = {}, {kind}{from} }}", quoted(name))
}

impl Export {
    /// The configuration, without the table `agent`.
    pub fn to_toml(&self, layout: Layout<'_>, notes: &Notes) -> String {
        let (name, sink, mut text) = layout.begin(notes);
        let out = &mut text;
        set(out, "type", "\"hdfs\"");
        set(out, "url", &quoted(&self.url));
        set(out, "channels", &list(&[name.to_owned()]));
        // A dead letter names its file.
        set(out, "file_header", "\"file\"");
        let decoder = format!("sources.{name}.decoder");
        match (self.packed, self.sequence) {
            (Some(packed), _) => set(out, "decoder", &quoted(packed.decoder())),
            (None, None) => self.put_decoder(out, &decoder),
            (None, Some(sequence)) => self.put_sequence(out, &decoder, sequence),
        }
        line(out, format_args!("\n[channels.{name}]"));
        set(out, "type", "\"durable\"");
        set(out, "capacity", "\"4GiB\"");
        line(out, format_args!("\n[sinks.{sink}]"));
        set(out, "type", "\"sql\"");
        set(out, "channel", &quoted(name));
        set(out, "table", &quoted(self.staging.as_ref().unwrap_or(&self.table)));
        set(out, "mode", &quoted(self.mode));
        if !self.key.is_empty() {
            set(out, "key", &list(&self.key));
        }
        if self.packed.is_some() && !self.named.is_empty() {
            // Fields have names: columns without a field get no value.
            let pair = |name: &String| format!("{0} = {0}", quoted(name));
            let columns: Vec<String> = self.named.iter().map(pair).collect();
            set(out, "columns", &format!("{{ {} }}", columns.join(", ")));
            set(out, "extra", "\"ignore\"");
        }
        line(out, format_args!("# The tables `aqueduct_applied` and `aqueduct_applied_refused`."));
        set(out, "ledger", "{ create = true }");
        self.database.put(out, &format!("sinks.{sink}"));
        text
    }

    fn put_sequence(&self, out: &mut String, table: &str, sequence: Sequence) {
        line(out, format_args!("\n[{table}]"));
        set(out, "type", "\"sequence_file\"");
        if sequence == Sequence::Lines {
            return self.put_decoder(out, &format!("{table}.decoder"));
        }
        let columns = self
            .java_types
            .iter()
            .map(|(name, kind)| format!("{{ name = {}, type = {} }}", quoted(name), quoted(kind)));
        set(out, "columns", &format!("[{}]", columns.collect::<Vec<_>>().join(", ")));
        if let Some(zone) = &self.zone {
            set(out, "zone", &quoted(zone));
        }
    }

    fn put_decoder(&self, out: &mut String, table: &str) {
        line(out, format_args!("\n[{table}]"));
        set(out, "type", "\"delimited\"");
        let others = self.columns.iter().filter(|(_, is_text)| !is_text);
        let others: Vec<String> = others.map(|(name, _)| name.clone()).collect();
        set(out, "fields", &list(&self.columns()));
        if !others.is_empty() {
            set(out, "non_text", &list(&others));
        }
        let Text { delimiter, line_end, quote, escape, null, null_non_text } = &self.text;
        set(out, "delimiter", &quoted(&delimiter.to_string()));
        for (setting, value, usual) in [
            ("line_end", Some(*line_end), Some('\n')),
            ("quote", *quote, None),
            ("escape", *escape, None),
        ] {
            if let Some(value) = value.filter(|_| value != usual) {
                set(out, setting, &quoted(&value.to_string()));
            }
        }
        set(out, "null", &quoted(null));
        if null_non_text != null {
            set(out, "null_non_text", &quoted(null_non_text));
        }
    }
}
