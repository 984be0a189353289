//! A revision: fragments of configurations, and the labels that select them. Pure.
//!
//! A fragment is TOML whose first setting is below a table header. The fragments of an agent are
//! joined in order, with a comment before each: the result is what a file with all of them would
//! mean, lines and comments stay, and a name that two fragments set is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crypto::digest::{SHA256, digest};
use pipeline::settings::Value;
use serde::{Deserialize, Serialize};
use support::hex::hex;

/// Maximum number of fragments, and of assignments.
const PARTS_MAX: usize = 1_000;

/// Maximum size of all fragments together, in bytes.
pub(crate) const BYTES_MAX: usize = 4 << 20;

/// Maximum size of all cached texts of a revision, in bytes.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// Tables that belong to the agent's own file.
const OWN: [&str; 2] = ["agent", "include"];

/// Selects fragments for the agents that have all of the labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Labels and their values; without labels it selects every agent.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Names of files in `fragments`, without `.toml`, in order.
    pub fragments: Vec<String>,
}

/// The file `assign.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    assign: Vec<Assignment>,
}

/// Fragments and assignments. It never changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revision {
    /// The text of `assign.toml`.
    pub assign_text: String,
    assign: Vec<Assignment>,
    /// Texts by name.
    pub fragments: BTreeMap<String, String>,
    cache: Cache,
}

/// Rendered texts by the numbers of the assignments that they consist of: thousands of agents share
/// a few texts. It belongs to the value of a revision as little as the time of a calculation does.
#[derive(Debug, Default)]
struct Cache(Mutex<BTreeMap<Vec<usize>, Arc<Rendered>>>);

impl Clone for Cache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Cache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cache {}

/// The configuration for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// SHA-256 of the text, in hexadecimal.
    pub hash: String,
    /// TOML.
    pub text: String,
}

impl Rendered {
    /// Returns a text with its hash.
    pub fn new(text: String) -> Self {
        Self { hash: hex(digest(&SHA256, text.as_bytes()).as_ref()), text }
    }

    /// Returns the text without components.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self::new(String::new()))
    }

    /// Checks that no two fragments in it set the same name.
    ///
    /// # Errors
    /// They do: the names.
    pub fn check(&self) -> Result<(), String> {
        let read = config::read(Path::new("rendered.toml"), &self.text);
        read.map(|_| ()).map_err(|errors| errors.to_string())
    }
}

impl Revision {
    /// Reads `assign.toml` and the fragments, and checks every text that an assignment can select
    /// by itself.
    ///
    /// # Errors
    /// The first problem, with its file.
    pub fn new(assign_text: String, fragments: BTreeMap<String, String>) -> Result<Self, String> {
        let read = config::read(Path::new("assign.toml"), &assign_text);
        let values = read.map_err(|errors| errors.to_string())?;
        let File { assign } = values.read().map_err(|error| format!("assign.toml: {error}"))?;
        let bytes: usize = fragments.values().map(String::len).sum();
        if bytes > BYTES_MAX || fragments.len() > PARTS_MAX || assign.len() > PARTS_MAX {
            return Err(format!(
                "a revision must have at most {PARTS_MAX} fragments, {PARTS_MAX} assignments and \
                 {BYTES_MAX} bytes"
            ));
        }
        for (name, text) in &fragments {
            check(name, text)?;
        }
        for name in assign.iter().flat_map(|it| &it.fragments) {
            if !fragments.contains_key(name) {
                return Err(format!(
                    "assign.toml: fragment `{name}` does not exist; create fragments/{name}.toml"
                ));
            }
        }
        Ok(Self { assign_text, assign, fragments, cache: Cache::default() })
    }

    /// Returns the text for an agent with these labels; `None` if no assignment matches.
    pub fn render(&self, labels: &BTreeMap<String, String>) -> Option<Arc<Rendered>> {
        let is_for = |it: &Assignment| {
            it.labels.iter().all(|(label, value)| labels.get(label) == Some(value))
        };
        let selected: Vec<usize> =
            (0..self.assign.len()).filter(|at| is_for(&self.assign[*at])).collect();
        let names = selected.iter().flat_map(|at| &self.assign[*at].fragments);
        names.clone().next()?;
        let mut cache = self.cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cache.get(&selected) {
            return Some(known.clone());
        }
        let mut text = String::new();
        let mut joined = BTreeSet::new();
        for name in names.filter(|name| joined.insert(*name)) {
            text.push_str(&format!("# Fragment {name}\n"));
            let fragment = self.fragments.get(name).map_or("", String::as_str);
            text.push_str(fragment);
            if !fragment.ends_with('\n') {
                text.push('\n');
            }
        }
        let rendered = Arc::new(Rendered::new(text));
        let bytes: usize = cache.values().map(|it| it.text.len()).sum();
        if bytes + rendered.text.len() > CACHE_BYTES_MAX || cache.len() >= PARTS_MAX {
            cache.clear();
        }
        cache.insert(selected, rendered.clone());
        Some(rendered)
    }
}

/// Checks that a fragment keeps its meaning when it is joined to others.
fn check(name: &str, text: &str) -> Result<(), String> {
    let file = format!("fragments/{name}.toml");
    let values = config::read(Path::new(&file), text).map_err(|errors| errors.to_string())?;
    let is_text = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let first = text.lines().map(str::trim).find(is_text);
    if first.is_some_and(|line| !line.starts_with('[')) {
        return Err(format!("{file}: the first setting must be below a table header"));
    }
    let Value::Table(tables) = &values.value else { return Ok(()) };
    match tables.iter().find(|(key, _)| OWN.contains(&&*key.name)) {
        None => Ok(()),
        Some((key, _)) => Err(format!(
            "{file}: `{}` belongs to the agent's own file; remove it from the fragment",
            key.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    const ASSIGN: &str = r#"[[assign]]
labels = {}
fragments = ["base"]
[[assign]]
labels = { role = "edge" }
fragments = ["edge", "base"]
"#;

    #[test]
    fn labels_select_fragments_in_order_and_once() {
        let fragments = labels(&[("base", "[channels.a]\nx = 1\n"), ("edge", "[sinks.b]\ny = 2")]);
        let revision = Revision::new(ASSIGN.into(), fragments).unwrap();
        let edge = revision.render(&labels(&[("role", "edge"), ("more", "1")])).unwrap();
        let expected = "# Fragment base\n[channels.a]\nx = 1\n# Fragment edge\n[sinks.b]\ny = 2\n";
        assert_eq!(edge.text, expected);
        let other = revision.render(&labels(&[])).unwrap();
        assert_eq!(other.text, "# Fragment base\n[channels.a]\nx = 1\n");
        assert_ne!(edge.hash, other.hash);
        assert_eq!(edge.hash.len(), 64);
        let only = Revision::new(
            ASSIGN.replace("labels = {}", "labels = { a = \"b\" }"),
            revision.fragments,
        )
        .unwrap();
        assert_eq!(only.render(&labels(&[])), None);
    }

    #[test]
    fn wrong_fragments_are_refused_with_their_file() {
        for (text, cause) in [
            ("x = 1\n[sinks.a]\n", "below a table header"),
            ("# Comment\n\nsinks.a.type = \"x\"", "below a table header"),
            ("[agent]\nname = \"x\"\n", "belongs to the agent's own file"),
            ("[sinks.a", "fragments/base.toml:1"),
        ] {
            let fragments = labels(&[("base", text), ("edge", "")]);
            let refused = Revision::new(ASSIGN.into(), fragments).unwrap_err();
            assert!(refused.contains(cause), "{text}: {refused}");
        }
        let missing = Revision::new(ASSIGN.into(), labels(&[("base", "")])).unwrap_err();
        assert!(missing.contains("create fragments/edge.toml"), "{missing}");
        let twice = labels(&[("base", "[sinks.a]\n"), ("edge", "[sinks.a]\n")]);
        let twice = Revision::new(ASSIGN.into(), twice).unwrap();
        let rendered = twice.render(&labels(&[("role", "edge")])).unwrap();
        assert!(rendered.check().is_err());
        assert!(Arc::ptr_eq(&rendered, &twice.render(&labels(&[("role", "edge")])).unwrap()));
    }
}
