//! TOML → [`Settings`], with the place of every key and value.

use std::ops::Range;
use std::sync::Arc;

use pipeline::SettingsError;
use pipeline::settings::{Key, Place, Settings, SettingsErrorKind, Value};
use toml_edit::{Document, InlineTable, Item, Table, Value as TomlValue};

/// Parses a TOML text; `file` is its name.
///
/// # Errors
/// It is not TOML, or contains a date (no setting is one).
pub(crate) fn read(file: &Arc<str>, text: &str) -> Result<Settings, SettingsError> {
    let lines = Lines::new(file, text);
    let document = Document::parse(text).map_err(|error| {
        let place = lines.place(error.span());
        let twice = error.span().filter(|_| error.message().contains("duplicate key"));
        let (kind, problem) = match twice {
            Some(span) => (SettingsErrorKind::Duplicate, lines.twice(span)),
            None => (SettingsErrorKind::Syntax, error.message().replace('\n', ", ")),
        };
        SettingsError::new(kind, place, format!("not valid TOML: {problem}"))
    })?;
    let first = Place { file: file.clone(), line: 1, column: 1 };
    Reader { lines }.table(document.as_table(), first)
}

/// The beginnings of lines, to find the place of a byte.
struct Lines<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &'a Arc<str>, text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { file, text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// Returns the message for the duplicate key at `span`; with the first place, if it is found as
    /// a separate line of the same table.
    fn twice(&self, span: Range<usize>) -> String {
        let second = self.place(Some(span.clone())).line as usize;
        let key = self.text.get(span).unwrap_or_default().trim_matches(['[', ']', ' ']);
        let lines: Vec<&str> = self.text.lines().collect();
        let is_header = |line: &str| line.trim_start().starts_with('[');
        let of_line = |line: &str| {
            let line = line.trim();
            let header = line.strip_prefix('[').and_then(|rest| rest.split(']').next());
            header.or_else(|| line.split('=').next()).unwrap_or_default().trim().to_owned()
        };
        let here = lines.get(second.saturating_sub(1)).copied().unwrap_or_default();
        let mut key = key.to_owned();
        if is_header(here) {
            key = of_line(here);
        }
        // A key is looked for in its own table, a table everywhere.
        let before = &lines[..second.saturating_sub(1).min(lines.len())];
        let own = before.iter().rposition(|line| is_header(line)).map_or(0, |at| at + 1);
        let from = if is_header(here) { 0 } else { own };
        let same = |line: &&str| is_header(line) == is_header(here) && of_line(line) == key;
        match before[from.min(before.len())..].iter().position(same) {
            Some(at) => {
                format!("`{key}` is set twice; first on line {}; remove one", from + at + 1)
            }
            None => format!("`{key}` is set twice; remove one"),
        }
    }

    /// Returns the place of the beginning of `span`; only the file without a span.
    fn place(&self, span: Option<Range<usize>>) -> Place {
        let file = self.file.clone();
        let Some(span) = span else { return Place { file, ..Place::default() } };
        let line = self.starts.partition_point(|start| *start <= span.start);
        let before = self.text.get(self.starts[line - 1]..span.start).unwrap_or_default();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Place { file, line: number(line), column: number(before.chars().count() + 1) }
    }
}

struct Reader<'a> {
    lines: Lines<'a>,
}

impl Reader<'_> {
    fn table(&self, table: &Table, place: Place) -> Result<Settings, SettingsError> {
        let mut entries = Vec::with_capacity(table.len());
        for (name, item) in table {
            let key = self.key(name, table.key(name).and_then(toml_edit::Key::span), &place);
            let value = self.item(item, &key.place).map_err(|error| error.below(name))?;
            entries.push((key, value));
        }
        Ok(Settings::at(Value::Table(entries), place))
    }

    fn inline_table(&self, table: &InlineTable, place: Place) -> Result<Settings, SettingsError> {
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let key = self.key(name, table.key(name).and_then(toml_edit::Key::span), &place);
            let value = self.value(value, &key.place).map_err(|error| error.below(name))?;
            entries.push((key, value));
        }
        Ok(Settings::at(Value::Table(entries), place))
    }

    fn key(&self, name: &str, span: Option<Range<usize>>, place: &Place) -> Key {
        Key { name: name.into(), place: self.known(span, place) }
    }

    /// Returns the place of `span`, or `place` for values without a span.
    fn known(&self, span: Option<Range<usize>>, place: &Place) -> Place {
        span.map_or_else(|| place.clone(), |span| self.lines.place(Some(span)))
    }

    /// `place` is the place of the key.
    fn item(&self, item: &Item, place: &Place) -> Result<Settings, SettingsError> {
        match item {
            Item::None => Ok(Settings::at(Value::Table(Vec::new()), place.clone())),
            Item::Value(value) => self.value(value, place),
            Item::Table(table) => self.table(table, place.clone()),
            Item::ArrayOfTables(tables) => {
                let items = tables.iter().enumerate().map(|(index, table)| {
                    let at = self.known(table.span(), place);
                    self.table(table, at).map_err(|error| error.below(&index.to_string()))
                });
                let items = Value::List(items.collect::<Result<_, _>>()?);
                Ok(Settings::at(items, place.clone()))
            }
        }
    }

    fn value(&self, value: &TomlValue, place: &Place) -> Result<Settings, SettingsError> {
        let place = self.known(value.span(), place);
        let value = match value {
            TomlValue::String(text) => Value::Text(text.value().clone()),
            TomlValue::Integer(number) => Value::Integer(*number.value()),
            TomlValue::Float(number) => Value::Float(*number.value()),
            TomlValue::Boolean(flag) => Value::Flag(*flag.value()),
            TomlValue::Datetime(date) => {
                let problem = format!("a date is not allowed here; for text write \"{date}\"");
                return Err(SettingsError::new(SettingsErrorKind::WrongType, place, problem));
            }
            TomlValue::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    self.value(item, &place).map_err(|error| error.below(&index.to_string()))
                });
                Value::List(items.collect::<Result<_, _>>()?)
            }
            TomlValue::InlineTable(table) => return self.inline_table(table, place),
        };
        Ok(Settings::at(value, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        super::read(&"a.toml".into(), text)
    }

    fn at(line: u32, column: u32) -> Place {
        Place { file: "a.toml".into(), line, column }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let text = "# a comment\n[sources.a]\ntype = \"x\"\nlist = [\n  1,\n  2,\n]\n\
                    \"ä\" = { age = \"1m\" }\n\n[sources.a.deep]\nflag = true\n";
        let all = read(text).unwrap();
        let source = all.get("sources").and_then(|sources| sources.get("a")).unwrap();
        assert_eq!(source.place, at(2, 10));
        assert_eq!(source.get("type").unwrap().place, at(3, 8));
        let Value::List(items) = &source.get("list").unwrap().value else { panic!("a list") };
        assert_eq!(
            items.iter().map(|item| &item.place).collect::<Vec<_>>(),
            [&at(5, 3), &at(6, 3)]
        );
        // Columns count characters.
        let age = source.get("ä").unwrap().get("age").unwrap();
        assert_eq!((age, &age.place), (&Settings::text("1m"), &at(8, 15)));
        assert_eq!(source.get("deep").unwrap().get("flag").unwrap().place, at(11, 8));
        let Value::Table(entries) = &source.value else { panic!("a table") };
        let keys = entries.iter().map(|(key, _)| key.place.clone()).collect::<Vec<_>>();
        assert_eq!(keys, [at(3, 1), at(4, 1), at(8, 1), at(10, 12)]);
    }

    #[test]
    fn invalid_toml_is_refused_with_its_place() {
        let error = read("[agent]\nname = \n").unwrap_err();
        assert_eq!((error.place, error.kind), (at(2, 8), SettingsErrorKind::Syntax));
        assert!(error.problem.starts_with("not valid TOML: "), "{}", error.problem);
    }

    #[test]
    fn a_table_that_is_there_twice_is_refused_with_its_place() {
        let error = read("[sinks.a]\ntype = \"x\"\n[sinks.a]\ntype = \"y\"\n").unwrap_err();
        assert_eq!((error.place.line, error.kind), (3, SettingsErrorKind::Duplicate));
    }

    #[test]
    fn a_date_is_refused_with_its_place() {
        let error = read("[agent]\nname = 2026-01-01\n").unwrap_err();
        assert_eq!((error.place, error.path.as_str()), (at(2, 8), "agent.name"));
    }
}
