//! Merges several files into one configuration, name by name.
//!
//! `include` at the root of a file names other files, relative to its own directory. The tables at
//! the root (`sources`, `sinks`, `agent`, …) are merged. A name that is in the same table of two
//! files is an error with both places; nothing is replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::settings::{Place, Settings, SettingsErrorKind as Kind, Value};
use pipeline::{Env, SettingsError};

use crate::error::{ConfigError, ConfigErrors};
use crate::files;
use crate::resolve::{COMPONENTS_MAX, too_many};
use crate::substitute;

/// The key at the root.
const KEY: &str = "include";

/// Maximum depth of includes.
const DEPTH_MAX: usize = 8;

/// Maximum number of files of one configuration.
const FILES_MAX: usize = 1_000;

/// Reads a file with all that it includes and refers to.
///
/// # Errors
/// Every problem of every file.
pub fn read_file(path: &Path, env: &Env) -> Result<Settings, ConfigErrors> {
    let mut loader = Loader::new(env);
    let root = loader.file(path, &Place::default());
    loader.end(root)
}

/// Reads a text that did not come from a file, with all included files and references. The
/// extension of `path` determines its format, and its directory is the base of relative paths;
/// `file` is the name of the text in errors.
///
/// # Errors
/// Every problem that was found.
pub fn read_text(file: &str, path: &Path, text: &str, env: &Env) -> Result<Settings, ConfigErrors> {
    let mut loader = Loader::new(env);
    let root = loader.text(&file.into(), path, text);
    loader.end(root)
}

/// Merges the tables of a file into `root`, as if `root` included it; the file must not have the
/// tables `reserved`.
///
/// # Errors
/// Every problem of the file, and each name that both have.
pub fn merge_file(
    root: &mut Settings,
    path: &Path,
    reserved: &[&str],
    env: &Env,
) -> Result<(), ConfigErrors> {
    let mut loader = Loader::new(env);
    if let Some(mut part) = loader.file(path, &Place::default()) {
        for name in reserved {
            if let Some(table) = part.take(name) {
                let problem = format!("`{name}` must be in the agent's own file");
                loader.add(Kind::Invalid, &table.place, problem);
            }
        }
        loader.merge(root, part);
    }
    ConfigErrors::check(loader.errors)
}

/// A file that is being read.
struct Open {
    /// Without links, to know it by.
    path: PathBuf,
    shown: Arc<str>,
}

struct Loader<'a> {
    env: &'a Env,
    /// From the first file to the one that is being read.
    open: Vec<Open>,
    /// Each file that was read, and the place of its include.
    seen: BTreeMap<PathBuf, Place>,
    /// Of files.
    bytes: u64,
    /// Total size of texts with their references.
    referred: u64,
    /// Of all files.
    values: usize,
    errors: Vec<ConfigError>,
}

impl<'a> Loader<'a> {
    fn new(env: &'a Env) -> Self {
        let (open, seen, errors) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { env, open, seen, bytes: 0, referred: 0, values: 0, errors }
    }

    fn end(self, root: Option<Settings>) -> Result<Settings, ConfigErrors> {
        ConfigErrors::check(self.errors)?;
        Ok(root.unwrap_or_else(Settings::empty))
    }

    fn add(&mut self, kind: Kind, place: &Place, problem: String) {
        self.refuse(SettingsError::new(kind, place.clone(), problem));
    }

    fn refuse(&mut self, error: SettingsError) {
        // Far more than is shown.
        if self.errors.len() < FILES_MAX {
            self.errors.push(ConfigError::from_settings("", error));
        }
    }

    /// Reads a file; `from` is the place of its include, which the first file does not have.
    fn file(&mut self, path: &Path, from: &Place) -> Option<Settings> {
        let shown: Arc<str> = path.display().to_string().into();
        let whole = Place { file: shown.clone(), ..Place::default() };
        // An error about the first file names the file; an error about an included one names the
        // place of the include.
        let (at, name) = match from.is_known() {
            true => (from, format!("`{shown}` ")),
            false => (&whole, String::new()),
        };
        let read = files::text(path, files::CONFIG_BYTES_MAX, self.env);
        let text = match read {
            Ok(text) => text,
            Err(problem) => {
                self.add(Kind::Unreadable, at, format!("{name}{problem}"));
                return None;
            }
        };
        let known = self.env.disk.canonical(path).unwrap_or_else(|_| path.to_owned());
        if !self.may_read(&known, &shown, from) {
            return None;
        }
        self.seen.insert(known.clone(), from.clone());
        self.open.push(Open { path: known, shown: shown.clone() });
        let values = self.text(&shown, path, &text);
        self.open.pop();
        values
    }

    /// Returns `true` if the file is a new one, within the limits; otherwise adds a problem.
    fn may_read(&mut self, path: &Path, shown: &str, from: &Place) -> bool {
        let problem = if let Some(at) = self.open.iter().position(|open| open.path == path) {
            let names = self.open[at..].iter().map(|open| format!("`{}` → ", open.shown));
            let chain: String = names.collect();
            format!(
                "files include each other in a circle: {chain}`{shown}`; remove one of these \
                 includes"
            )
        } else if let Some(first) = self.seen.get(path) {
            format!("`{shown}` is included twice; first at {first}; remove one")
        } else if self.open.len() > DEPTH_MAX {
            format!(
                "`{shown}`: includes are nested more than {DEPTH_MAX} deep; include the file from \
                 a file above"
            )
        } else if self.seen.len() >= FILES_MAX {
            format!("a configuration must have at most {FILES_MAX} files; combine some")
        } else {
            // Over the limit of bytes is reported already.
            return self.bytes <= files::CONFIG_BYTES_MAX;
        };
        self.add(Kind::Invalid, from, problem);
        false
    }

    /// The values of a text and of all that it includes.
    fn text(&mut self, file: &Arc<str>, path: &Path, text: &str) -> Option<Settings> {
        let whole = Place { file: file.clone(), ..Place::default() };
        if !self.take(text.len(), &whole) {
            return None;
        }
        let mut values = match crate::parse(file, path, text) {
            Ok(values) => values,
            Err(error) => {
                self.refuse(error);
                return None;
            }
        };
        let before = self.values;
        self.values = before.saturating_add(crate::yaml::count(&values));
        if self.values > files::VALUES_MAX {
            // Reported once.
            if before <= files::VALUES_MAX {
                self.add(Kind::Invalid, &whole, files::too_many_values());
            }
            return None;
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        self.replace(&mut values, directory, &mut Vec::new());
        if let Some(include) = values.take(KEY) {
            for (pattern, place) in self.patterns(include) {
                self.include(&mut values, directory, &pattern, &place);
            }
        }
        Some(values)
    }

    /// Counts bytes against the limit of all together.
    fn take(&mut self, bytes: usize, place: &Place) -> bool {
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes as u64);
        let fits = self.bytes <= files::CONFIG_BYTES_MAX;
        // Said once.
        if !fits && before <= files::CONFIG_BYTES_MAX {
            let most = files::CONFIG_BYTES_MAX;
            let problem = format!(
                "a configuration must have at most {most} bytes, including those of included \
                 files; divide it among several agents"
            );
            self.add(Kind::Invalid, place, problem);
        }
        fits
    }

    /// Counts the bytes of a text with its references; returns `false` over the limit.
    fn refers(&mut self, bytes: usize, place: &Place) -> bool {
        let before = self.referred;
        self.referred = before.saturating_add(bytes as u64);
        let most = files::REFERRED_BYTES_MAX;
        // Said once.
        if self.referred > most && before <= most {
            let problem = format!("texts with references must have at most {most} bytes together");
            self.add(Kind::Invalid, place, problem);
        }
        self.referred <= most
    }

    /// Replaces the references in every text; `path` is the path of `values`.
    fn replace(&mut self, values: &mut Settings, directory: &Path, path: &mut Vec<String>) {
        match &mut values.value {
            Value::Text(text) => {
                let env = self.env;
                match substitute::replace(text, |it| files::find(it, directory, env)) {
                    Ok(None) => {}
                    Ok(Some(whole)) => {
                        if self.refers(whole.len(), &values.place) {
                            values.written = Some(std::mem::replace(text, whole).into());
                        }
                    }
                    Err((kind, problem)) => {
                        let error = SettingsError::new(kind, values.place.clone(), problem);
                        self.refuse(SettingsError { path: path.join("."), ..error });
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.replace(item, directory, path);
                    path.pop();
                }
            }
            Value::Table(entries) => {
                for (key, value) in entries {
                    path.push(key.name.clone());
                    self.replace(value, directory, path);
                    path.pop();
                }
            }
            Value::Flag(_) | Value::Integer(_) | Value::Float(_) => {}
        }
    }

    /// The patterns that `include` lists.
    fn patterns(&mut self, include: Settings) -> Vec<(String, Place)> {
        let items = match include.value {
            Value::List(items) => items,
            _ => vec![include],
        };
        let mut patterns = Vec::new();
        for Settings { value, place, .. } in items {
            match value {
                Value::Text(pattern) if !pattern.is_empty() => patterns.push((pattern, place)),
                _ => {
                    let problem = "must be a list of file names, such as [\"parts/*.toml\"]";
                    let error = SettingsError::new(Kind::WrongType, place, problem);
                    self.refuse(error.below(KEY));
                }
            }
        }
        patterns
    }

    /// Merges the files of one pattern into `values`.
    fn include(&mut self, values: &mut Settings, directory: &Path, pattern: &str, place: &Place) {
        let paths = match files::is_pattern(pattern) {
            false => Ok(vec![directory.join(pattern)]),
            true => files::matching(pattern, directory, self.env),
        };
        let paths = paths.unwrap_or_else(|problem| {
            let error = SettingsError::new(Kind::Unreadable, place.clone(), problem);
            self.refuse(error.below(KEY));
            Vec::new()
        });
        for path in paths {
            if self.errors.len() >= FILES_MAX {
                return;
            }
            if let Some(part) = self.file(&path, place) {
                self.merge(values, part);
            }
        }
    }

    /// Merges the entries of each table at the root of `part` into the same table of `values`.
    fn merge(&mut self, values: &mut Settings, part: Settings) {
        let Value::Table(sections) = part.value else {
            let problem =
                "must contain tables, such as `sources`, `channels` and `sinks`".to_owned();
            self.add(Kind::WrongType, &part.place, problem);
            return;
        };
        for (key, section) in sections {
            let Value::Table(own) = &mut values.value else { return };
            if own.len() > COMPONENTS_MAX {
                let problem = too_many("the root", own.len());
                self.add(Kind::Invalid, &key.place, problem);
                return;
            }
            let Some((first, same)) = own.iter_mut().find(|(own, _)| own.name == key.name) else {
                own.push((key, section));
                continue;
            };
            let (Value::Table(same), Value::Table(entries)) = (&mut same.value, section.value)
            else {
                let error = twice(&key.place, &first.place);
                self.refuse(error.below(&key.name));
                continue;
            };
            let together = same.len() + entries.len();
            if together > COMPONENTS_MAX {
                let problem = too_many(&key.name, together);
                let error = SettingsError::new(Kind::Invalid, key.place.clone(), problem);
                self.refuse(error);
                return;
            }
            for (name, value) in entries {
                match same.iter().find(|(own, _)| own.name == name.name) {
                    None => same.push((name, value)),
                    Some((first, _)) => {
                        let error = twice(&name.place, &first.place);
                        let error = error.below(&name.name).below(&key.name);
                        self.refuse(error);
                    }
                }
            }
        }
    }
}

fn twice(place: &Place, first: &Place) -> SettingsError {
    let problem = format!("is set twice; first at {first}; remove one");
    SettingsError::new(Kind::Duplicate, place.clone(), problem)
}

#[cfg(test)]
mod tests;
