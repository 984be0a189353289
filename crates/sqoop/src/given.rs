//! The options of a call, by their names.

use std::collections::BTreeMap;

use crate::World;
use crate::hive;
use crate::notes::{Notes, Outcome};
use crate::options::{self, Answer, Row};

/// Maximum depth of option files.
const DEPTH_MAX: u32 = 8;

/// The given options.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// In the order of the call.
    all: Vec<(&'static Row, String)>,
    /// Properties of Hadoop.
    pub(crate) properties: BTreeMap<String, String>,
}

impl Given {
    /// Reads arguments.
    pub(crate) fn read(arguments: &[String], world: &dyn World, notes: &mut Notes) -> Self {
        let mut given = Self::default();
        given.add(arguments, world, notes, 0);
        given
    }

    fn add(&mut self, arguments: &[String], world: &dyn World, notes: &mut Notes, depth: u32) {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            // Behind it stand options for one kind of database.
            if argument == "--" {
                continue;
            }
            let Some(name) = argument.strip_prefix('-') else {
                // It may be part of a password.
                notes.refuse(
                    "arguments",
                    "a value without an option before it (not shown, because it may be a \
                     password): remove it, or quote the value that it belongs to",
                );
                continue;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            if let Some(property) = name.strip_prefix('D').filter(|it| it.contains('=')) {
                self.property(property);
                continue;
            }
            let (name, attached) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let Some(row) = options::find(name) else {
                notes.refuse(&format!("--{name}"), "not an option of Sqoop 1.4.7; remove it");
                continue;
            };
            let value = match (row.takes, attached) {
                (false, _) => String::new(),
                (true, Some(value)) => value,
                (true, None) => match rest.next() {
                    Some(value) => value.clone(),
                    None => {
                        notes.refuse(&format!("--{name}"), "needs a value after it");
                        continue;
                    }
                },
            };
            match row.name {
                "D" => self.property(&value),
                "options-file" if depth >= DEPTH_MAX => {
                    let text = format!("option files are nested more than {DEPTH_MAX} deep");
                    notes.refuse("--options-file", text);
                }
                "options-file" => match world.file(&value) {
                    Ok(text) => self.add(&arguments_of(&text), world, notes, depth + 1),
                    Err(problem) => notes.refuse("--options-file", format!("{value}: {problem}")),
                },
                _ => self.all.push((row, value)),
            }
        }
    }

    fn property(&mut self, property: &str) {
        let (name, value) = property.split_once('=').unwrap_or((property, ""));
        self.properties.insert(name.to_owned(), value.to_owned());
    }

    /// Returns `true` if an option is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(row, _)| row.name == name)
    }

    /// The value of an option; the last one counts.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all = self.all.iter().rev();
        all.filter(|(row, _)| row.name == name).map(|(_, value)| &**value).next()
    }

    /// Returns the options but these.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let all = self.all.iter().filter(|(row, _)| !names.contains(&row.name)).cloned();
        Self { all: all.collect(), properties: self.properties.clone() }
    }

    /// Returns the options and one more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.all.extend(options::find(name).map(|row| (row, value.to_owned())));
        self
    }

    /// Returns the options as arguments, but these.
    pub(crate) fn written(&self, except: &[&str]) -> Vec<String> {
        let properties = self.properties.iter();
        let mut arguments: Vec<String> =
            properties.flat_map(|(name, value)| ["-D".into(), format!("{name}={value}")]).collect();
        for (row, value) in self.all.iter().filter(|(row, _)| !except.contains(&row.name)) {
            arguments.push(written(row));
            arguments.extend(row.takes.then(|| value.clone()));
        }
        arguments
    }

    /// Its values, with commas between them.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or_default();
        value.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
    }

    /// Adds the notes of the tables.
    pub(crate) fn answer_import(&self, notes: &mut Notes) {
        for (row, _) in &self.all {
            let option = written(row);
            if hive::makes_ineffective(self, row.name) {
                let text = "no effect: the files of a Hive table are Parquet, without delimiters";
                notes.add(Outcome::Ignored, &option, text);
                continue;
            }
            match row.answer {
                Answer::Carried(_) => {}
                Answer::Differs(text) => notes.add(Outcome::Differs, &option, text),
                Answer::Ignored(text) => notes.add(Outcome::Ignored, &option, text),
                Answer::Refused(text) => notes.refuse(&option, text),
                Answer::Export(..) => notes.refuse(&option, "only for `export`: remove it"),
            }
        }
        self.note_properties(notes);
    }

    /// The same for a call of `export`.
    pub(crate) fn answer_export(&self, notes: &mut Notes) {
        const USED: [&str; 18] = [
            "password-prompt",
            "connect",
            "username",
            "password-file",
            "table",
            "columns",
            "schema",
            "data-dir",
            "default-fs",
            "fs",
            "dry-run",
            "fields-terminated-by",
            "lines-terminated-by",
            "enclosed-by",
            "optionally-enclosed-by",
            "escaped-by",
            "mysql-delimiters",
            "map-column-java",
        ];
        for (row, _) in self.all.iter().filter(|(row, _)| !USED.contains(&row.name)) {
            let option = written(row);
            match (row.name, row.answer) {
                (_, Answer::Export(None, _)) => {}
                ("password", Answer::Differs(text)) => {
                    notes.add(Outcome::Differs, &option, text);
                }
                (_, Answer::Export(Some(outcome), text)) => notes.add(outcome, &option, text),
                ("num-mappers", _) => {
                    let text = "one connection applies the rows, in the order of the files";
                    notes.add(Outcome::Ignored, &option, text);
                }
                ("validate", _) => {
                    let text = "the exit code reports whether each row that was read is applied";
                    notes.add(Outcome::Ignored, &option, text);
                }
                (_, Answer::Refused(text)) => notes.refuse(&option, text),
                (_, Answer::Ignored(text)) => notes.add(Outcome::Ignored, &option, text),
                _ => notes.add(Outcome::Ignored, &option, "no effect in an export"),
            }
        }
        self.note_properties(notes);
    }

    fn note_properties(&self, notes: &mut Notes) {
        let used = |name: &str| {
            let is_used = self.has("hive-import") && hive::METASTORE_PROPERTIES.contains(&name);
            is_used || name == "fs.defaultFS"
        };
        for name in self.properties.keys().filter(|name| !used(name)) {
            let text = "no effect: Aqueduct does not use MapReduce";
            notes.add(Outcome::Ignored, &format!("-D {name}"), text);
        }
    }
}

/// Returns an option in its written form.
pub(crate) fn written(row: &Row) -> String {
    match row.name.len() {
        1 | 2 => format!("-{}", row.name),
        _ => format!("--{}", row.name),
    }
}

/// The arguments in a file of options: one in a line, as Sqoop reads them.
fn arguments_of(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", "");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with('#'));
    let unquoted = |line: &str| {
        let quotes =
            |quote: char| line.len() > 1 && line.starts_with(quote) && line.ends_with(quote);
        match quotes('"') || quotes('\'') {
            true => line[1..line.len() - 1].to_owned(),
            false => line.to_owned(),
        }
    };
    lines.map(unquoted).collect()
}
