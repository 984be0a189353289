//! YAML 1.2 → [`Settings`], with the line of every key and value.
//!
//! The parser gives events with positions; a stack of open collections puts them together. Plain
//! scalars follow the core schema: `true`, `false`, whole numbers and numbers with a fraction, all
//! else is text (so `yes` and `on` are text, and a setting that wants a flag says so). An alias is
//! replaced by what its anchor names, within a limit of values. Tags, several documents in a file
//! and keys that are not text are refused.

use std::collections::BTreeMap;

use pipeline::SettingsError;
use pipeline::settings::{Key, Settings, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Collections may be nested this deep.
const DEPTH_MAX: usize = 32;

/// Values of one file after the aliases are replaced.
const VALUES_MAX: usize = 100_000;

/// Reads a YAML text.
///
/// # Errors
/// It is not YAML, or uses what the [module page](self) refuses.
pub(crate) fn read(text: &str) -> Result<Settings, SettingsError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            refusal(line(error.marker().line()), format!("not valid YAML: {}", error.info()))
        })?;
        builder.take(event, span)?;
    }
    // An empty file is an empty table.
    Ok(builder.root.unwrap_or_else(|| Settings { line: 1, ..Settings::empty() }))
}

/// A collection that is not closed yet.
struct Open {
    line: u32,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Settings>),
    Table { entries: Vec<(Key, Settings)>, key: Option<Key> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Settings>,
    documents: usize,
    values: usize,
    root: Option<Settings>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SettingsError> {
        let line = line(span.start.line());
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(refusal(line, "a second document; a file holds one".into()));
                }
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor) else {
                    return Err(refusal(line, "an alias of a value that is not complete".into()));
                };
                self.values += count(value);
                let value = value.clone();
                self.limit(line)?;
                self.value(value, 0)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), line)?;
                self.values += 1;
                self.limit(line)?;
                let value = if self.expects_key() {
                    Value::Text(text.into())
                } else if style == ScalarStyle::Plain && is_null(&text) {
                    let problem = format!("{} has no value; give one, or remove it", self.place());
                    return Err(refusal(line, problem));
                } else {
                    scalar(&text, style)
                };
                self.value(Settings { value, line }, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), line)?;
                self.open(line, anchor, OpenKind::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), line)?;
                self.open(line, anchor, OpenKind::Table { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn limit(&self, line: u32) -> Result<(), SettingsError> {
        if self.values > VALUES_MAX {
            return Err(refusal(line, format!("more than {VALUES_MAX} values")));
        }
        Ok(())
    }

    /// Whether the next scalar is a name in a table.
    fn expects_key(&self) -> bool {
        let last = self.open.last().map(|open| &open.kind);
        matches!(last, Some(OpenKind::Table { key: None, .. }))
    }

    /// What the value that is being read belongs to, for a message.
    fn place(&self) -> String {
        match self.open.last().map(|open| &open.kind) {
            Some(OpenKind::Table { key: Some(key), .. }) => format!("key `{}`", key.name),
            Some(_) => "an item of a list".into(),
            None => "the file".into(),
        }
    }

    fn open(&mut self, line: u32, anchor: usize, kind: OpenKind) -> Result<(), SettingsError> {
        if self.expects_key() {
            return Err(refusal(line, "a key must be text".into()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(refusal(line, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        // A table that is the value of a key stands where its key stands, as in TOML.
        let line = match self.open.last().map(|open| &open.kind) {
            Some(OpenKind::Table { key: Some(key), .. }) => key.line,
            _ => line,
        };
        self.open.push(Open { line, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SettingsError> {
        let open = self.open.pop().expect("the parser closes only what it opened");
        let value = match open.kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Table { entries, .. } => Value::Table(entries),
        };
        self.value(Settings { value, line: open.line }, open.anchor)
    }

    /// Puts a complete value where it belongs.
    fn value(&mut self, value: Settings, anchor: usize) -> Result<(), SettingsError> {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        match &mut open.kind {
            OpenKind::List(items) => items.push(value),
            OpenKind::Table { entries, key } => match key.take() {
                Some(key) => entries.push((key, value)),
                None => *key = Some(new_key(entries, value)?),
            },
        }
        Ok(())
    }
}

/// The scalar as a name that the table does not have yet.
fn new_key(entries: &[(Key, Settings)], value: Settings) -> Result<Key, SettingsError> {
    let line = value.line;
    let Value::Text(name) = value.value else {
        return Err(refusal(line, "a key must be text".into()));
    };
    if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
        let problem = format!("key `{name}` is there already, on line {}", first.line);
        return Err(refusal(line, problem));
    }
    Ok(Key { name, line })
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.into());
    }
    match text {
        "true" | "True" | "TRUE" => return Value::Flag(true),
        "false" | "False" | "FALSE" => return Value::Flag(false),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    // Only what begins like a number: `inf` and `nan` are text, as people mean them.
    let digits = text.trim_start_matches(['-', '+', '.']);
    match text.parse() {
        Ok(number) if digits.starts_with(|c: char| c.is_ascii_digit()) => Value::Float(number),
        _ => Value::Text(text.into()),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Scalars in a value, at least 1.
fn count(value: &Settings) -> usize {
    match &value.value {
        Value::List(items) => items.iter().map(count).sum::<usize>().max(1),
        Value::Table(entries) => {
            entries.iter().map(|(_, value)| count(value)).sum::<usize>().max(1)
        }
        _ => 1,
    }
}

fn refuse_tag(tagged: bool, line: u32) -> Result<(), SettingsError> {
    if tagged {
        Err(refusal(line, "tags (`!…`) are not used here; remove it".into()))
    } else {
        Ok(())
    }
}

fn refusal(line: u32, problem: String) -> SettingsError {
    SettingsError { path: String::new(), line, problem }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_line() {
        let all = read("# a comment\nsources:\n  a:\n    type: x\n    list:\n    - 1\n    - 2\n")
            .unwrap();
        let source = all.get("sources").and_then(|sources| sources.get("a")).unwrap();
        assert_eq!(source.line, 3);
        assert_eq!(source.get("type").unwrap(), &at(4, Value::Text("x".into())));
        let Value::List(items) = &source.get("list").unwrap().value else { panic!("a list") };
        assert_eq!(items, &[at(6, Value::Integer(1)), at(7, Value::Integer(2))]);
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("true", Value::Flag(true)),
            ("yes", Value::Text("yes".into())),
            ("-12", Value::Integer(-12)),
            ("1.5", Value::Float(1.5)),
            ("8GiB", Value::Text("8GiB".into())),
            ("inf", Value::Text("inf".into())),
            ("'12'", Value::Text("12".into())),
            ("\"true\"", Value::Text("true".into())),
            ("a:%Y", Value::Text("a:%Y".into())),
        ] {
            let all = read(&format!("key: {text}\n")).unwrap();
            assert_eq!(all.get("key").unwrap().value, value, "{text}");
        }
    }

    #[test]
    fn an_alias_is_what_its_anchor_names() {
        let all = read("a: &roll { age: 1m }\nb: *roll\n").unwrap();
        assert_eq!(all.get("b").unwrap().get("age").unwrap(), &at(1, Value::Text("1m".into())));
    }

    #[test]
    fn aliases_of_aliases_end_at_a_limit() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            let items = vec![below; 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(read(&text).is_err());
    }

    #[test]
    fn what_is_refused_is_refused_with_its_line() {
        for (text, line, problem) in [
            ("a: 1\na: 2\n", 2, "key `a` is there already, on line 1"),
            ("a:\nb: 1\n", 1, "key `a` has no value; give one, or remove it"),
            ("a: !x 1\n", 1, "tags (`!…`) are not used here; remove it"),
            ("a: 1\n---\nb: 1\n", 2, "a second document; a file holds one"),
            ("? [a]\n: 1\n", 1, "a key must be text"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.line, error.problem.as_str()), (line, problem), "{text}");
        }
        let error = read("a: [1\nb: 2\n").unwrap_err();
        assert!(error.problem.starts_with("not valid YAML: "), "{error}");
    }

    #[test]
    fn nesting_ends_at_a_limit() {
        let error = read(&"[".repeat(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error.problem, "nested deeper than 32 levels");
    }

    fn at(line: u32, value: Value) -> Settings {
        Settings { value, line }
    }
}
