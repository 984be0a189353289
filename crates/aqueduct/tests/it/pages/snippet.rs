//! The snippet of a page: generated from the schema, and with each of its settings enabled.

use std::path::Path;

use config::schema::{self, Setting};
use pipeline::Listed;
use pipeline::settings::{Settings, Value};
use serde_json::Value as Json;

/// Maximum width of a comment.
const WIDTH: usize = 100;

/// Settings of the plan, which pages show without a comment.
const OF_THE_PLAN: [&str; 5] =
    ["channels", "optional_channels", "channel", "sinks", "interceptors"];

/// Tables that several components share. A separate page below `docs` describes their settings; the
/// snippets contain an example value.
pub(crate) const SHARED: [(&str, &str); 8] = [
    ("tls", "tls.md"),
    ("tenants", "tenants.md"),
    ("multiline", "multiline.md"),
    ("webhdfs", "webhdfs.md"),
    ("kerberos", "kerberos.md"),
    ("s3", "object-stores.md"),
    ("gcs", "object-stores.md"),
    ("azure", "object-stores.md"),
];

fn has_page(setting: &Setting) -> bool {
    SHARED.iter().any(|(name, _)| *name == setting.name)
}

/// Generates the snippet from its schema. Takes values without a default, the order, and the
/// disabled settings from `old`.
pub(crate) fn anew(listed: &Listed, old: &str) -> Result<String, String> {
    let header = old.lines().next().unwrap_or_default();
    let all = schema::settings(&schema::component(listed));
    let (on, active) = (own_table(header, &switched_on(old)), own_table(header, old));
    let (on, active) = (on?, active?);
    let mut text = format!("{header}\ntype = \"{}\"\n", listed.kind);
    for (name, value) in entries(Some(&active)) {
        if OF_THE_PLAN.contains(&name) {
            text.push_str(&format!("{name} = {}\n", toml(&json(value))));
        } else if name != "type" && all.iter().all(|setting| setting.name != name) {
            return Err(format!("`{name}` is no setting of it"));
        }
    }
    let table = Table { header, on: Some(&on), active: Some(&active), is_off: false };
    table.write(&all, &mut text)?;
    Ok(text)
}

/// A table of the generated snippet.
struct Table<'a> {
    header: &'a str,
    /// The table in the old snippet, and its enabled settings.
    on: Option<&'a Settings>,
    active: Option<&'a Settings>,
    is_off: bool,
}

impl Table<'_> {
    fn write(&self, all: &[Setting], text: &mut String) -> Result<(), String> {
        let place = |setting: &&Setting| {
            let at = entries(self.on).position(|(name, _)| name == setting.name);
            at.unwrap_or(usize::MAX)
        };
        if let Some((name, _)) = entries(self.on).find(|(name, _)| {
            let is_known = all.iter().any(|setting| setting.name == *name);
            !is_known && *name != "type" && !OF_THE_PLAN.contains(name)
        }) {
            return Err(format!("`{name}` is no setting of it"));
        }
        let (mut values, mut tables): (Vec<&Setting>, Vec<&Setting>) =
            all.iter().partition(|setting| setting.below.is_empty() || has_page(setting));
        values.sort_by_key(place);
        tables.sort_by_key(place);
        for setting in values {
            comment(setting, text);
            self.value(setting, text)?;
        }
        for setting in tables {
            text.push('\n');
            comment(setting, text);
            let active = self.active.and_then(|table| table.get(&setting.name));
            let is_off = self.is_off || (setting.is_optional && active.is_none());
            let header = format!("[{}.{}]", self.header.trim_matches(['[', ']']), setting.name);
            text.push_str(&format!("{}{header}\n", if is_off { "#" } else { "" }));
            let on = self.on.and_then(|table| table.get(&setting.name));
            Table { header: &header, on, active, is_off }.write(&setting.below, text)?;
        }
        Ok(())
    }

    fn value(&self, setting: &Setting, text: &mut String) -> Result<(), String> {
        let name = &setting.name;
        let default = setting.default.as_ref();
        let shown = default.filter(|default| !is_empty(default));
        let old = self.on.and_then(|table| table.get(name)).map(json);
        let is_active = self.active.is_some_and(|table| table.get(name).is_some());
        let is_off = self.is_off || (shown.is_none() && old.is_some() && !is_active);
        let value = shown.or(old.as_ref()).or(default);
        let value = value.ok_or_else(|| match setting.is_required || setting.is_optional {
            true => format!("`{name}` has no default: show a value of it"),
            false => format!("`{name}`: derive `Serialize` for its type, to show its default"),
        })?;
        text.push_str(&format!("{}{name} = {}\n", if is_off { "#" } else { "" }, toml(value)));
        Ok(())
    }
}

/// Returns whether there is nothing to show; the page then has an example.
fn is_empty(default: &Json) -> bool {
    match default {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn comment(setting: &Setting, text: &mut String) {
    for paragraph in &setting.meaning {
        let mut line = "#".to_owned();
        for word in paragraph.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                text.push_str(&format!("{line}\n"));
                line = "#".to_owned();
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&format!("{line}\n"));
    }
}

/// Returns the snippet with its disabled settings enabled: removes `#` from `#key = …` and
/// `#[table]`.
fn switched_on(snippet: &str) -> String {
    snippet.lines().map(|line| format!("{}\n", setting_behind(line).unwrap_or(line))).collect()
}

fn setting_behind(line: &str) -> Option<&str> {
    let setting = line.strip_prefix('#')?;
    setting.starts_with(|c: char| c.is_alphabetic() || c == '[').then_some(setting)
}

/// An encoder of lines, and one of columns.
const LINES: &str = "encoder = \"text\"";
const COLUMNS: &str = "encoder = { type = \"parquet\", columns = [{ name = \"line\", \
                       type = \"string\", from = \"body\" }] }";

/// Returns the unchanged snippet; then, for each disabled setting or table, several texts with it
/// enabled. At least one of them must build.
pub(crate) fn variants(snippet: &str) -> Vec<(String, Vec<String>)> {
    let lines: Vec<&str> = snippet.lines().collect();
    let mut variants = vec![("as it is".to_owned(), vec![snippet.to_owned()])];
    let mut at = 0;
    while at < lines.len() {
        let Some(setting) = setting_behind(lines[at]) else {
            at += 1;
            continue;
        };
        // Enable a table as a whole.
        let rest = &lines[at + 1..];
        let length = rest.iter().position(|line| line.is_empty()).unwrap_or(rest.len());
        let end = if setting.starts_with('[') { at + 1 + length } else { at + 1 };
        let on = |without: &[usize]| -> String {
            let shown = lines.iter().enumerate().filter(|(n, _)| !without.contains(n));
            let line = |(n, line): (usize, &&str)| match setting_behind(line) {
                Some(setting) if (at..end).contains(&n) => format!("{setting}\n"),
                _ => format!("{line}\n"),
            };
            shown.map(line).collect()
        };
        // Enable it alone, instead of one other setting or two neighbours, or together with all
        // others.
        let others = (0..lines.len()).filter(|n| *n != at && lines[*n].contains(" = "));
        let others: Vec<usize> = others.collect();
        let instead = others.chunks(1).chain(others.windows(2)).map(on);
        let texts = std::iter::once(on(&[])).chain(instead).chain([switched_on(snippet)]);
        // Or with all others but two neighbouring tables and another one, which need something
        // else.
        let tables: Vec<&str> = snippet.split("\n\n").collect();
        let header = |n: usize| {
            tables[n].lines().find_map(|line| {
                let line = line.trim_start_matches('#');
                line.strip_prefix('[')?.strip_suffix(']')
            })
        };
        // A table is left out with its subtables.
        let is_below = |n: usize, of: usize| {
            header(of).zip(header(n)).is_some_and(|(of, own)| {
                own.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let is_out = |n: usize, of: usize| of > 0 && (n == of || is_below(n, of));
        let pairs =
            (1..tables.len()).flat_map(|first| (0..tables.len()).map(move |it| (first, it)));
        let fewer = pairs.map(|(first, other)| {
            let next = (first + 1..tables.len()).find(|n| !is_below(*n, first)).unwrap_or(0);
            let is_left = |n: &usize| ![first, next, other].iter().any(|of| is_out(*n, *of));
            let left = (0..tables.len()).filter(is_left).map(|n| tables[n]);
            switched_on(&left.collect::<Vec<_>>().join("\n\n"))
        });
        let texts = texts.chain(fewer);
        // Some settings need files with columns.
        let with_columns = |text: String| [text.replace(LINES, COLUMNS), text];
        let texts = texts.flat_map(with_columns).collect();
        variants.push((setting.to_owned(), texts));
        at = end;
    }
    variants
}

/// Returns the component's table in a snippet that begins with `header`.
fn own_table(header: &str, snippet: &str) -> Result<Settings, String> {
    let read = config::read(Path::new("snippet.toml"), snippet);
    let mut table = read.map_err(|errors| errors.to_string())?;
    for name in header.trim_matches(['[', ']']).split('.') {
        table = table.take(name).ok_or_else(|| format!("the snippet has no `{name}`"))?;
    }
    match table.value {
        Value::List(mut items) if !items.is_empty() => Ok(items.remove(0)),
        _ => Ok(table),
    }
}

fn entries(table: Option<&Settings>) -> impl Iterator<Item = (&str, &Settings)> {
    let entries = match table.map(|table| &table.value) {
        Some(Value::Table(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|(key, value)| (key.name.as_str(), value))
}

fn json(value: &Settings) -> Json {
    value.read().expect("every setting is also JSON")
}

/// Formats a value as TOML in one line.
fn toml(value: &Json) -> String {
    match value {
        Json::String(text) if text.contains('\\') && !text.contains('\'') => format!("'{text}'"),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Json::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Json::Object(fields) => {
            let is_shown = |(_, value): &(&String, &Json)| !is_empty(value);
            let fields = fields.iter().filter(is_shown).map(|(name, value)| {
                let is_bare =
                    name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
                let name = if is_bare { name.clone() } else { format!("{name:?}") };
                format!("{name} = {}", toml(value))
            });
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        // Text without backslashes, numbers and flags look the same in JSON.
        other => other.to_string(),
    }
}
