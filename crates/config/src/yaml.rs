//! Parses YAML 1.2 into [`Settings`], with the place of every key and value.
//!
//! The parser produces events with positions; a stack of open collections combines them. Plain
//! scalars follow the core schema: `true`, `false`, whole numbers and numbers with a fraction;
//! everything else is text. Therefore `yes` and `on` are text, and a setting that needs a flag
//! rejects them. An alias is replaced by the value of its anchor, within a limit of values. Tags,
//! several documents in a file and keys that are not text are rejected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pipeline::SettingsError;
use pipeline::settings::{Key, Place, Settings, SettingsErrorKind, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::files::{VALUES_MAX, too_many_values};

/// Collections may be nested this deep.
const DEPTH_MAX: usize = 32;

/// Parses a YAML text; `file` is its name.
///
/// # Errors
/// It is not YAML, or uses a feature that the [module page](self) excludes.
pub(crate) fn read(file: &Arc<str>, text: &str) -> Result<Settings, SettingsError> {
    let mut builder = Builder { file: file.clone(), ..Builder::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let place = builder.place(error.marker());
            refusal(&place, format!("not valid YAML: {}", error.info()))
        })?;
        builder.take(event, span)?;
    }
    // An empty file is an empty table.
    let first = Place { file: file.clone(), line: 1, column: 1 };
    Ok(builder.root.unwrap_or_else(|| Settings::at(Value::Table(Vec::new()), first)))
}

/// A collection that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Settings>),
    Table { entries: Vec<(Key, Settings)>, names: BTreeSet<String>, key: Option<Key> },
}

impl OpenKind {
    fn table() -> Self {
        Self::Table { entries: Vec::new(), names: BTreeSet::new(), key: None }
    }
}

#[derive(Default)]
struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Settings>,
    documents: usize,
    values: usize,
    root: Option<Settings>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SettingsError> {
        let place = self.place(&span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(refusal(
                        &place,
                        "a second document; a file must contain only one; move it to a file of its \
                         own".into(),
                    ));
                }
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor) else {
                    return Err(refusal(
                        &place,
                        "an alias must not refer to a value that contains it; write the value \
                         instead"
                            .into(),
                    ));
                };
                self.values += count(value);
                let value = value.clone();
                self.limit(&place)?;
                self.value(value, 0)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                self.values += 1;
                self.limit(&place)?;
                let value = if self.expects_key() {
                    Value::Text(text.into())
                } else if style == ScalarStyle::Plain && is_null(&text) {
                    let problem = format!("{} has no value; give one, or remove it", self.owner());
                    return Err(refusal(&place, problem));
                } else {
                    scalar(&text, style)
                };
                self.value(Settings::at(value, place), anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                self.open(place, anchor, OpenKind::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), &place)?;
                self.open(place, anchor, OpenKind::table())?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// The parser counts lines from 1 and columns from 0.
    fn place(&self, marker: &Marker) -> Place {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let (line, column) = (number(marker.line()), number(marker.col() + 1));
        Place { file: self.file.clone(), line, column }
    }

    fn limit(&self, place: &Place) -> Result<(), SettingsError> {
        if self.values > VALUES_MAX {
            return Err(refusal(place, too_many_values()));
        }
        Ok(())
    }

    /// Returns `true` if the next scalar is a name in a table.
    fn expects_key(&self) -> bool {
        let last = self.open.last().map(|open| &open.kind);
        matches!(last, Some(OpenKind::Table { key: None, .. }))
    }

    /// Returns the owner of the current value, for a message.
    fn owner(&self) -> String {
        match self.open.last().map(|open| &open.kind) {
            Some(OpenKind::Table { key: Some(key), .. }) => format!("key `{}`", key.name),
            Some(_) => "an item of a list".into(),
            None => "the file".into(),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, kind: OpenKind) -> Result<(), SettingsError> {
        if self.expects_key() {
            return Err(refusal(&place, "a key must be text".into()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(refusal(
                &place,
                format!("nested deeper than {DEPTH_MAX} levels; correct the indentation"),
            ));
        }
        // The place of a table that is the value of a key is the place of its key, as in TOML.
        let place = match self.open.last().map(|open| &open.kind) {
            Some(OpenKind::Table { key: Some(key), .. }) => key.place.clone(),
            _ => place,
        };
        self.open.push(Open { place, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SettingsError> {
        let open = self.open.pop().expect("the parser closes only what it opened");
        let value = match open.kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Table { entries, .. } => Value::Table(entries),
        };
        self.value(Settings::at(value, open.place), open.anchor)
    }

    /// Adds a complete value to its owner.
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
            OpenKind::Table { entries, names, key } => match key.take() {
                Some(key) => entries.push((key, value)),
                None => *key = Some(new_key(entries, names, value)?),
            },
        }
        Ok(())
    }
}

/// The scalar as a name that the table does not have yet.
fn new_key(
    entries: &[(Key, Settings)],
    names: &mut BTreeSet<String>,
    value: Settings,
) -> Result<Key, SettingsError> {
    let place = value.place;
    let Value::Text(name) = value.value else {
        return Err(refusal(&place, "a key must be text".into()));
    };
    if !names.insert(name.clone()) {
        let first = entries.iter().find(|(key, _)| key.name == name);
        let line = first.map_or(0, |(key, _)| key.place.line);
        let problem = format!("key `{name}` is already set on line {line}");
        return Err(SettingsError::new(SettingsErrorKind::Duplicate, place, problem));
    }
    Ok(Key { name, place })
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
    // Only if it begins like a number: `inf` and `nan` are text.
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
pub(crate) fn count(value: &Settings) -> usize {
    match &value.value {
        Value::List(items) => items.iter().map(count).sum::<usize>().max(1),
        Value::Table(entries) => {
            entries.iter().map(|(_, value)| count(value)).sum::<usize>().max(1)
        }
        _ => 1,
    }
}

fn refuse_tag(tagged: bool, place: &Place) -> Result<(), SettingsError> {
    if tagged {
        Err(refusal(place, "tags (`!…`) are not supported; remove it".into()))
    } else {
        Ok(())
    }
}

fn refusal(place: &Place, problem: String) -> SettingsError {
    SettingsError::new(SettingsErrorKind::Syntax, place.clone(), problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        super::read(&"a.yaml".into(), text)
    }

    fn at(line: u32, column: u32) -> Place {
        Place { file: "a.yaml".into(), line, column }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let all = read("# a comment\nsources:\n  a:\n    type: x\n    list:\n    - 1\n    - 2\n")
            .unwrap();
        let source = all.get("sources").and_then(|sources| sources.get("a")).unwrap();
        assert_eq!(source.place, at(3, 3));
        assert_eq!(source.get("type").unwrap().place, at(4, 11));
        let Value::List(items) = &source.get("list").unwrap().value else { panic!("a list") };
        assert_eq!(
            items.iter().map(|item| &item.place).collect::<Vec<_>>(),
            [&at(6, 7), &at(7, 7)]
        );
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
        assert_eq!(all.get("b").unwrap().get("age").unwrap(), &Settings::text("1m"));
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
    fn problems_have_their_place() {
        for (text, place, problem) in [
            ("a: 1\na: 2\n", at(2, 1), "key `a` is already set on line 1"),
            ("a:\nb: 1\n", at(1, 2), "key `a` has no value; give one, or remove it"),
            ("a: !x 1\n", at(1, 4), "tags (`!…`) are not supported; remove it"),
            (
                "a: 1\n---\nb: 1\n",
                at(2, 1),
                "a second document; a file must contain only one; move it to a file of its own",
            ),
            ("? [a]\n: 1\n", at(1, 3), "a key must be text"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.place, error.problem.as_str()), (place, problem), "{text}");
        }
        let error = read("a: [1\nb: 2\n").unwrap_err();
        assert!(error.problem.starts_with("not valid YAML: "), "{error}");
    }

    #[test]
    fn nesting_ends_at_a_limit() {
        let error = read(&"[".repeat(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error.problem, "nested deeper than 32 levels; correct the indentation");
    }
}
