//! TOML → [`Settings`], with the line of every key and value.

use std::ops::Range;

use pipeline::SettingsError;
use pipeline::settings::{Key, Settings, Value};
use toml_edit::{Document, InlineTable, Item, Table, Value as TomlValue};

/// Reads a TOML text.
///
/// # Errors
/// It is not TOML, or holds a date (no setting is one).
pub(crate) fn read(text: &str) -> Result<Settings, SettingsError> {
    let lines = Lines::of(text);
    let document = Document::parse(text).map_err(|error| {
        let line = lines.at(error.span());
        let twice = error.span().filter(|_| error.message().contains("duplicate key"));
        let problem = match twice {
            Some(span) => lines.twice(text, span),
            None => error.message().replace('\n', ", "),
        };
        let problem = format!("not valid TOML: {problem}");
        SettingsError { path: String::new(), line, problem }
    })?;
    Reader { lines }.table(document.as_table(), 1)
}

/// Where each line begins, to find the line of a byte.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(after).collect() }
    }

    /// What is said of the key at `span`, which is there before; where, if that is found: as a line of
    /// its own, of the same table.
    fn twice(&self, text: &str, span: Range<usize>) -> String {
        let second = self.at(Some(span.clone())) as usize;
        let key = text.get(span).unwrap_or_default().trim_matches(['[', ']', ' ']);
        let lines: Vec<&str> = text.lines().collect();
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
            Some(at) => format!("`{key}` is set twice; first in line {}", from + at + 1),
            None => format!("`{key}` is set twice"),
        }
    }

    /// Line of the beginning of `span`, from 1; 0 without a span.
    fn at(&self, span: Option<Range<usize>>) -> u32 {
        let Some(span) = span else { return 0 };
        let line = self.starts.partition_point(|start| *start <= span.start);
        u32::try_from(line).unwrap_or(u32::MAX)
    }
}

struct Reader {
    lines: Lines,
}

impl Reader {
    fn table(&self, table: &Table, line: u32) -> Result<Settings, SettingsError> {
        let mut entries = Vec::with_capacity(table.len());
        for (name, item) in table {
            let key = self.key(name, table.key(name).and_then(toml_edit::Key::span), line);
            let value = self.item(item, key.line).map_err(|error| below(error, name))?;
            entries.push((key, value));
        }
        Ok(Settings { value: Value::Table(entries), line })
    }

    fn inline_table(&self, table: &InlineTable, line: u32) -> Result<Settings, SettingsError> {
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let key = self.key(name, table.key(name).and_then(toml_edit::Key::span), line);
            let value = self.value(value, key.line).map_err(|error| below(error, name))?;
            entries.push((key, value));
        }
        Ok(Settings { value: Value::Table(entries), line })
    }

    fn key(&self, name: &str, span: Option<Range<usize>>, line: u32) -> Key {
        Key { name: name.into(), line: span.map_or(line, |span| self.lines.at(Some(span))) }
    }

    /// `line` is that of the key, for what has no place of its own.
    fn item(&self, item: &Item, line: u32) -> Result<Settings, SettingsError> {
        match item {
            Item::None => Ok(Settings { value: Value::Table(Vec::new()), line }),
            Item::Value(value) => self.value(value, line),
            Item::Table(table) => self.table(table, line),
            Item::ArrayOfTables(tables) => {
                let items = tables.iter().enumerate().map(|(index, table)| {
                    let at = table.span().map_or(line, |span| self.lines.at(Some(span)));
                    self.table(table, at).map_err(|error| below(error, &index.to_string()))
                });
                Ok(Settings { value: Value::List(items.collect::<Result<_, _>>()?), line })
            }
        }
    }

    fn value(&self, value: &TomlValue, line: u32) -> Result<Settings, SettingsError> {
        let line = value.span().map_or(line, |span| self.lines.at(Some(span)));
        let value = match value {
            TomlValue::String(text) => Value::Text(text.value().clone()),
            TomlValue::Integer(number) => Value::Integer(*number.value()),
            TomlValue::Float(number) => Value::Float(*number.value()),
            TomlValue::Boolean(flag) => Value::Flag(*flag.value()),
            TomlValue::Datetime(date) => {
                let problem = format!("a date is no setting; for text write \"{date}\"");
                return Err(SettingsError { path: String::new(), line, problem });
            }
            TomlValue::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    self.value(item, line).map_err(|error| below(error, &index.to_string()))
                });
                Value::List(items.collect::<Result<_, _>>()?)
            }
            TomlValue::InlineTable(table) => return self.inline_table(table, line),
        };
        Ok(Settings { value, line })
    }
}

/// Puts the name of the table's entry before the path of an error in it.
pub(crate) fn below(mut error: SettingsError, name: &str) -> SettingsError {
    error.path =
        if error.path.is_empty() { name.to_owned() } else { format!("{name}.{}", error.path) };
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_line() {
        let text = "# a comment\n[sources.a]\ntype = \"x\"\nlist = [\n  1,\n  2,\n]\n\
                    roll = { age = \"1m\" }\n\n[sources.a.deep]\nflag = true\n";
        let all = read(text).unwrap();
        let source = all.get("sources").and_then(|sources| sources.get("a")).unwrap();
        assert_eq!(source.line, 2);
        assert_eq!(source.get("type").unwrap().line, 3);
        let Value::List(items) = &source.get("list").unwrap().value else { panic!("a list") };
        assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(source.get("roll").unwrap().get("age").unwrap(), &at(8, "1m"));
        assert_eq!(source.get("deep").unwrap().get("flag").unwrap().line, 11);
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let error = read("[agent]\nname = \n").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.problem.starts_with("not valid TOML: "), "{}", error.problem);
    }

    #[test]
    fn a_table_that_is_there_twice_is_refused_with_its_line() {
        let error = read("[sinks.a]\ntype = \"x\"\n[sinks.a]\ntype = \"y\"\n").unwrap_err();
        assert_eq!(error.line, 3);
    }

    #[test]
    fn a_date_is_refused_with_its_place() {
        let error = read("[agent]\nname = 2026-01-01\n").unwrap_err();
        assert_eq!((error.line, error.path.as_str()), (2, "agent.name"));
    }

    fn at(line: u32, text: &str) -> Settings {
        Settings { value: Value::Text(text.into()), line }
    }
}
