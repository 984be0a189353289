//! `grok`, with the dictionaries that it names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::commands::{default, only, text};
use super::{BODY, Translation};
use crate::hocon::Node;
use crate::report::Outcome;

/// The most lines that a dictionary of grok may have.
const PATTERNS_MAX: usize = 10_000;

/// Constructs that a linear-time library does not support.
const BACKTRACKING: &[&str] = &["(?<!", "(?<=", "(?=", "(?!", "(?>", "*+", "++", "?+"];

impl Translation<'_> {
    pub(super) fn grok(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(
            arguments,
            &[
                "dictionaryFiles",
                "dictionaryResources",
                "dictionaryString",
                "expressions",
                "extract",
                "numRequiredMatches",
                "findSubstrings",
                "addEmptyStrings",
            ],
        )?;
        default(arguments, "numRequiredMatches", "atLeastOnce")?;
        default(arguments, "addEmptyStrings", "false")?;
        let extract = text(arguments, "extract", "true")?;
        if !matches!(extract, "true" | "inplace") {
            return Err(format!(
                "`extract : {extract}` is not supported, only `true` and `inplace`"
            ));
        }
        let substrings = text(arguments, "findSubstrings", "false")? == "true";
        let dictionary = self.dictionary(arguments)?;
        let expressions = arguments.get("expressions").ok_or("`expressions` is missing; add it")?;
        for (field, expression) in expressions.entries() {
            let expression = expression.text().ok_or("an expression must be text")?;
            if field == BODY {
                return Err("`_attachment_body` is not text; use `readLine` first and match \
                            `message`"
                    .to_owned());
            }
            let pattern = match substrings {
                true => expression.to_owned(),
                false => format!("^(?:{expression})$"),
            };
            let mut patterns = Map::new();
            reachable(expression, &dictionary, &mut patterns);
            let format = json!({ "type": "grok", "pattern": pattern, "patterns": patterns });
            let parse = json!({
                "type": "parse", "format": format, "header": field, "on_failure": "drop",
            });
            self.push(line, &parse);
        }
        let text = "command `grok`: for a group without a match, Aqueduct sets an empty header; \
                    check selectors and paths that use it";
        self.add(Outcome::Differs, line, text);
        Ok(())
    }

    /// Returns the patterns that a command names, without those with look-around, which are
    /// replaced by the standard patterns of the same names.
    fn dictionary(&mut self, arguments: &Node) -> Result<BTreeMap<String, String>, String> {
        let mut texts: Vec<String> = Vec::new();
        for file in arguments.get("dictionaryFiles").map_or(&[][..], Node::items) {
            let path = file.text().ok_or("`dictionaryFiles` must be a list of files")?;
            let content = self.world.file(path).map_err(|problem| format!("{path}: {problem}"))?;
            texts.push(String::from_utf8(content).map_err(|_| format!("{path}: not UTF-8"))?);
        }
        texts.push(text(arguments, "dictionaryString", "")?.to_owned());
        let lines = texts.iter().flat_map(|text| text.lines().map(str::trim));
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut all = BTreeMap::new();
        for line in lines.take(PATTERNS_MAX) {
            let (name, pattern) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("`{line}` must be a name and a pattern"))?;
            if !BACKTRACKING.iter().any(|part| pattern.contains(part)) {
                all.insert(name.to_owned(), pattern.trim_start().to_owned());
            }
        }
        Ok(all)
    }
}

/// Adds the patterns that an expression needs to `found`, recursively.
fn reachable(expression: &str, all: &BTreeMap<String, String>, found: &mut Map<String, Value>) {
    for (at, _) in expression.match_indices("%{") {
        let name = &expression[at + 2..];
        let name = &name[..name.find(['}', ':']).unwrap_or(name.len())];
        if let Some(pattern) = all.get(name).filter(|_| !found.contains_key(name)) {
            found.insert(name.to_owned(), pattern.as_str().into());
            reachable(pattern, all, found);
        }
    }
}
