//! Grok: expressions with named patterns, `%{IP:client} %{NUMBER:bytes:int}`, compiled to one
//! regular expression that takes time linear in the text.
//!
//! The standard patterns are in `patterns.txt`, rewritten for this library, which has no
//! look-around, no back-references and no atomic groups.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pipeline::BuildError;
use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

use super::Failure;
use super::fields::Found;

/// Maximum nesting depth of patterns, and maximum length of the result.
const DEPTH_MAX: usize = 32;
const BYTES_MAX: usize = 1 << 20;

/// Standard patterns by name.
static STANDARD: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| {
    let lines = include_str!("patterns.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect()
});

/// A compiled expression.
pub(super) struct Grok {
    regex: Regex,
    /// Field of each group of the pattern, if it is one.
    fields: Vec<Option<Field>>,
}

struct Field {
    name: String,
    is_number: bool,
}

/// State of expanding a pattern.
struct Expansion<'a> {
    own: &'a BTreeMap<String, String>,
    text: String,
    fields: Vec<Field>,
}

impl Grok {
    /// Compiles an expression; `own` has additional patterns.
    pub(super) fn new(
        expression: &str,
        own: &BTreeMap<String, String>,
    ) -> Result<Self, BuildError> {
        let invalid = |problem: String| BuildError::invalid("format.pattern", problem);
        let mut expansion = Expansion { own, text: String::new(), fields: Vec::new() };
        expansion.expand(expression, 0).map_err(invalid)?;
        let Expansion { text, fields: mut named, .. } = expansion;
        let regex = RegexBuilder::new(&text).unicode(false).build();
        let regex = regex.map_err(|error| invalid(error.to_string()))?;
        let mut fields = Vec::with_capacity(regex.captures_len());
        for name in regex.capture_names() {
            let number = name.and_then(|name| name.strip_prefix("_field_")?.parse::<usize>().ok());
            fields.push(match (number.and_then(|number| named.get_mut(number)), name) {
                (Some(field), _) => {
                    let name = std::mem::take(&mut field.name);
                    Some(Field { name, is_number: field.is_number })
                }
                (None, name) => name.map(|name| Field { name: name.into(), is_number: false }),
            });
        }
        if fields.iter().all(Option::is_none) {
            let problem = "must name at least one field; write for example %{IP:client}";
            return Err(invalid(problem.to_owned()));
        }
        Ok(Self { regex, fields })
    }

    pub(super) fn locations(&self) -> CaptureLocations {
        self.regex.capture_locations()
    }

    pub(super) fn parse(
        &self,
        text: &[u8],
        found: &mut Found,
        groups: &mut CaptureLocations,
    ) -> Result<(), Failure> {
        self.regex.captures_read(groups, text).ok_or("the pattern does not match")?;
        for (at, field) in self.fields.iter().enumerate() {
            let Some(field) = field else { continue };
            let Some((start, end)) = groups.get(at) else { continue };
            let value = std::str::from_utf8(&text[start..end]).map_err(|_| "not UTF-8")?;
            let is_json =
                field.is_number && serde_json::from_str::<serde_json::Number>(value).is_ok();
            if is_json {
                found.push_json(&field.name, value);
            } else {
                found.push(&field.name, value);
            }
        }
        Ok(())
    }
}

impl Expansion<'_> {
    /// Appends an expression, and replaces each `%{…}` by its pattern.
    fn expand(&mut self, expression: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "its patterns contain themselves, or are nested more than {DEPTH_MAX} deep"
            ));
        }
        let mut rest = expression;
        while let Some((before, behind)) = rest.split_once("%{") {
            let (reference, behind) =
                behind.split_once('}').ok_or("a `%{` is not closed by `}`")?;
            self.text.push_str(before);
            self.reference(reference, depth)?;
            rest = behind;
        }
        self.text.push_str(rest);
        if self.text.len() > BYTES_MAX {
            return Err(format!("its expanded pattern has more than {BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// Expands `NAME`, `NAME:field` or `NAME:field:type`.
    fn reference(&mut self, reference: &str, depth: usize) -> Result<(), String> {
        let mut parts = reference.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let (field, kind) = (parts.next().filter(|field| !field.is_empty()), parts.next());
        let is_number = match kind {
            None | Some("string") => false,
            Some("int" | "long" | "float" | "double") => true,
            Some(kind) => return Err(format!("`{kind}` is not a type; write `int` or `float`")),
        };
        let own: &BTreeMap<String, String> = self.own;
        let pattern = own.get(name).map(String::as_str).or_else(|| STANDARD.get(name).copied());
        let pattern = pattern.ok_or_else(|| format!("the pattern `{name}` does not exist"))?;
        match field {
            Some(field) => {
                self.text.push_str(&format!("(?P<_field_{}>", self.fields.len()));
                self.fields.push(Field { name: dotted(field), is_number });
            }
            None => self.text.push_str("(?:"),
        }
        self.expand(pattern, depth + 1)?;
        self.text.push(')');
        Ok(())
    }
}

/// Converts Logstash's `[user][name]` to `user.name`.
fn dotted(field: &str) -> String {
    let inner = field.strip_prefix('[').and_then(|field| field.strip_suffix(']'));
    inner.map_or_else(|| field.to_owned(), |inner| inner.replace("][", "."))
}

#[cfg(test)]
mod tests;
