//! The commands, one by one.

use serde_json::{Map, Value, json};

use super::{BODY, Body, MESSAGE, Translation, conditions, dates};
use crate::hocon::Node;
use crate::report::Outcome;

/// Commands without a counterpart in the chain of a source, and their replacements.
const INSTEAD: &[(&str, &str)] = &[
    ("findReplace", "the interceptor `search_replace` changes bodies"),
    ("sample", "the interceptor `sample`"),
    ("translate", "the interceptor `lookup`"),
    ("geoIP", "the interceptor `lookup` with a table"),
    ("readCSV", "the interceptor `parse` with the format `csv`"),
    ("split", "the interceptor `parse` with the format `csv`, or `regex_extractor`"),
    ("splitKeyValue", "the interceptor `parse` with the format `key_value`"),
    ("extractURIComponents", "the interceptor `regex_extractor`"),
    ("readMultiLine", "`multiline` of the sources `tail_dir`, `spool_dir`, `exec` and `netcat`"),
    ("tryRules", "the interceptor `route`, or a source for each rule"),
    ("java", "your own component, see examples/custom-component"),
    ("loadSolr", "a `solr` sink that reads from the channel"),
    (
        "sanitizeUnknownSolrFields",
        "define the fields in the schema of the collection, because a `solr` sink sends all of \
         them",
    ),
];

impl Translation<'_> {
    /// Translates one command of a list.
    pub(super) fn command(&mut self, command: &Node) {
        let [(name, arguments)] = command.entries() else {
            return self
                .decision(command.line, "must be a command: a name and a table of settings");
        };
        if let Err(problem) = self.one(name, arguments, command.line) {
            self.decision(command.line, format!("command `{name}`: {problem}"));
        }
    }

    fn one(&mut self, name: &str, arguments: &Node, line: u32) -> Result<(), String> {
        match name {
            "readLine" => self.read_line(arguments, line),
            "grok" => self.grok(arguments, line),
            "readJson" => self.read_json(arguments, line),
            "extractJsonPaths" => self.json_paths(arguments, line),
            "if" => self.condition(arguments, line),
            "contains" | "equals" | "not" => {
                let keep = conditions::of(name, arguments)?;
                self.push(line, &json!({ "type": "filter", "keep": keep }));
                Ok(())
            }
            "dropRecord" => {
                let all = json!([{ "matches": "" }]);
                self.push(line, &json!({ "type": "filter", "drop": all }));
                Ok(())
            }
            "addValues" | "setValues" | "addValuesIfAbsent" => self.values(name, arguments, line),
            "toByteArray" => self.bytes_of_text(arguments, line),
            "removeFields" => self.remove(arguments, line),
            "generateUUID" => self.uuid(arguments, line),
            "convertTimestamp" => self.timestamp(arguments, line),
            "logTrace" | "logDebug" | "logInfo" | "logWarn" | "logError" => {
                self.add(
                    Outcome::Ignored,
                    line,
                    format!("command `{name}` has no effect: it only logs"),
                );
                Ok(())
            }
            other => {
                let instead = INSTEAD.iter().find(|(known, _)| *known == other);
                let instead = instead.map_or(
                    "not translated; use interceptors instead of the morphline",
                    |(_, instead)| instead,
                );
                Err(format!("not supported; use instead: {instead}"))
            }
        }
    }

    fn read_line(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &["charset", "ignoreFirstLine", "commentPrefix"])?;
        utf8(arguments)?;
        default(arguments, "ignoreFirstLine", "false")?;
        default(arguments, "commentPrefix", "")?;
        if self.body != Body::AsCame {
            return Err("an earlier command has already read the body; remove one of the two \
                        commands"
                .to_owned());
        }
        // Empty lines are no records.
        self.push(line, &json!({ "type": "filter", "drop": [{ "matches": "(?-u)^[\\r\\n]*$" }] }));
        let regex = "(?-u)^[\\r\\n]*([^\\r\\n]+)";
        let serializers = json!([{ "name": MESSAGE }]);
        self.push(
            line,
            &json!({ "type": "regex_extractor", "regex": regex, "serializers": serializers }),
        );
        (self.body, self.has_message) = (Body::Gone, true);
        Ok(())
    }

    fn read_json(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &[])?;
        if self.body != Body::AsCame {
            return Err("an earlier command has already read the body; remove one of the two \
                        commands"
                .to_owned());
        }
        self.body = Body::JsonUnread;
        // Kite notes the kind of the attachment in the record, and so in the event's headers.
        let headers = json!({ "_attachment_mimetype": "json/java+memory" });
        let settings = json!({ "type": "static", "headers": headers, "preserve_existing": false });
        self.push(line, &settings);
        Ok(())
    }

    fn json_paths(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &["paths", "flatten"])?;
        if !matches!(self.body, Body::JsonUnread | Body::Json) {
            return Err("must follow the command `readJson`".to_owned());
        }
        self.body = Body::Json;
        let paths = arguments.get("paths").ok_or("`paths` is missing; add it")?.entries();
        let mut fields = Vec::with_capacity(paths.len());
        for (field, path) in paths {
            let path = path.text().unwrap_or_default();
            let name = path.trim_start_matches('/').replace('/', ".");
            if path.contains("[]") || name != *field {
                return Err(format!(
                    "the field must be named like its path: write `{name}` instead of `{field}`"
                ));
            }
            fields.push(name);
        }
        let parse = json!({
            "type": "parse", "format": "json", "fields": fields, "on_failure": "dead_letters",
        });
        self.push(line, &parse);
        let text = "command `readJson`: an event that is not JSON goes to the dead letters; in \
                    Flume it raises an exception, which stops some sources";
        self.add(Outcome::Differs, line, text);
        Ok(())
    }

    fn condition(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &["conditions", "then", "else"])?;
        let mut all = Vec::new();
        for condition in
            arguments.get("conditions").ok_or("`conditions` is missing; add it")?.items()
        {
            let [(name, arguments)] = condition.entries() else {
                return Err(
                    "a condition must be a command: a name and a table of settings".to_owned()
                );
            };
            all.extend(conditions::of(name, arguments)?);
        }
        let is_log =
            |node: &&Node| !matches!(node.entries(), [(name, _)] if name.starts_with("log"));
        let branch = |name: &str| -> Vec<&Node> {
            arguments.get(name).map_or(&[][..], Node::items).iter().filter(is_log).collect()
        };
        let is_drop = |node: &Node| matches!(node.entries(), [(name, _)] if name == "dropRecord");
        let drops = |nodes: &[&Node]| matches!(nodes, [one] if is_drop(one));
        let (then, otherwise) = (branch("then"), branch("else"));
        let settings = match (drops(&then), drops(&otherwise)) {
            (true, _) if otherwise.is_empty() => json!({ "type": "filter", "drop": all }),
            (_, true) if then.is_empty() => json!({ "type": "filter", "keep": all }),
            _ => {
                let problem = "must have `dropRecord` in one of `then` and `else`, and nothing in \
                               the other: other conditional commands cannot be translated";
                return Err(problem.to_owned());
            }
        };
        if all.is_empty() {
            return Err("`conditions` is empty; add a condition, or remove the command".to_owned());
        }
        self.push(line, &settings);
        Ok(())
    }

    fn values(&mut self, name: &str, arguments: &Node, line: u32) -> Result<(), String> {
        let mut headers = Map::new();
        for (field, value) in arguments.entries() {
            let [value] = value.items() else {
                return Err(format!(
                    "`{field}` must have exactly one value, because it becomes a header"
                ));
            };
            let value = value.text().ok_or_else(|| format!("`{field}` must be text"))?;
            let is_message = value == "@{message}" && self.has_message;
            if field == BODY && is_message && name != "addValuesIfAbsent" {
                self.body = Body::Message;
                continue;
            }
            if field == BODY || value.contains("@{") || value.contains("${") {
                return Err(format!(
                    "`{field} : {value}` refers to a field, which is not supported; write fixed \
                     text"
                ));
            }
            self.has_message &= field != MESSAGE;
            headers.insert(field.clone(), value.into());
        }
        if !headers.is_empty() {
            let keeps = name != "setValues";
            let settings =
                json!({ "type": "static", "headers": headers, "preserve_existing": keeps });
            self.push(line, &settings);
        }
        Ok(())
    }

    fn bytes_of_text(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &["field", "charset"])?;
        utf8(arguments)?;
        if text(arguments, "field", "")? != BODY {
            return Err(
                "`field` must be `_attachment_body`, because headers are text and not bytes"
                    .to_owned(),
            );
        }
        match self.body {
            Body::Message => self.body = Body::Line,
            Body::Json => {
                self.body = Body::AsCame;
                let text = "command `toByteArray`: the body remains unchanged and is not \
                            serialized as JSON again";
                self.add(Outcome::Differs, line, text);
            }
            _ => {
                return Err("`_attachment_body` must be set to text before this command".to_owned());
            }
        }
        Ok(())
    }

    fn remove(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &["blacklist"])?;
        for entry in arguments.get("blacklist").ok_or("`blacklist` is missing; add it")?.items() {
            let entry = entry.text().unwrap_or_default();
            let settings = match entry.split_once(':') {
                Some(("literal", BODY)) => {
                    self.body = Body::Gone;
                    continue;
                }
                Some(("literal", name)) => json!({ "type": "remove_header", "names": [name] }),
                Some(("regex", pattern)) => {
                    json!({ "type": "remove_header", "matching": pattern })
                }
                _ => return Err(format!("`{entry}` must be `literal:NAME` or `regex:PATTERN`")),
            };
            self.has_message &= entry != "literal:message" && entry.starts_with("literal");
            self.push(line, &settings);
        }
        Ok(())
    }

    fn uuid(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(arguments, &["field", "preserveExisting", "prefix", "type"])?;
        let settings = json!({
            "type": "uuid",
            "header": text(arguments, "field", "id")?,
            "preserve_existing": text(arguments, "preserveExisting", "true")? == "true",
            "prefix": text(arguments, "prefix", "")?,
        });
        self.push(line, &settings);
        Ok(())
    }

    fn timestamp(&mut self, arguments: &Node, line: u32) -> Result<(), String> {
        only(
            arguments,
            &[
                "field",
                "inputFormats",
                "inputTimezone",
                "inputLocale",
                "outputFormat",
                "outputTimezone",
                "outputLocale",
            ],
        )?;
        let output = text(arguments, "outputFormat", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")?;
        if output != "unixTimeInMillis" {
            let problem = "must have `outputFormat : unixTimeInMillis`: other output formats \
                           cannot be translated";
            return Err(problem.to_owned());
        }
        let field = text(arguments, "field", "timestamp")?;
        let mut formats = Vec::new();
        for format in
            arguments.get("inputFormats").ok_or("`inputFormats` is missing; add it")?.items()
        {
            let java = format.text().unwrap_or_default();
            let ours = dates::pattern(java);
            formats.push(ours.ok_or_else(|| {
                format!(
                    "the date format `{java}` cannot be translated; use letters of \
                     `SimpleDateFormat` for numbers, months and zones only"
                )
            })?);
        }
        let settings: Value = json!({
            "type": "event_time", "from": field, "header": field, "formats": formats,
            "zone": text(arguments, "inputTimezone", "UTC")?, "on_failure": "dead_letters",
        });
        self.push(line, &settings);
        let text = "command `convertTimestamp`: an event whose time has none of the formats goes \
                    to the dead letters; the morphline drops it";
        self.add(Outcome::Differs, line, text);
        Ok(())
    }
}

/// A setting that is a text.
pub(super) fn text<'a>(
    arguments: &'a Node,
    name: &str,
    default: &'a str,
) -> Result<&'a str, String> {
    match arguments.get(name) {
        None => Ok(default),
        Some(node) => match node.text() {
            Some(text) if text.contains("${") => Err(format!(
                "`{name} : {text}` has a reference, which is not supported here; write the value"
            )),
            Some(text) => Ok(text),
            None => Err(format!("`{name}` must be text")),
        },
    }
}

/// Accepts a setting only with its default.
pub(super) fn default(arguments: &Node, name: &str, default: &str) -> Result<(), String> {
    match text(arguments, name, default)? {
        found if found == default => Ok(()),
        found => Err(format!("`{name} : {found}` is not supported, only the default `{default}`")),
    }
}

fn utf8(arguments: &Node) -> Result<(), String> {
    let charset = text(arguments, "charset", "UTF-8")?;
    match matches!(charset.to_lowercase().as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii") {
        true => Ok(()),
        false => Err(format!("`charset : {charset}` is not supported, only UTF-8")),
    }
}

/// Rejects other settings than these.
pub(super) fn only(arguments: &Node, known: &[&str]) -> Result<(), String> {
    let other = arguments.entries().iter().find(|(name, _)| !known.contains(&name.as_str()));
    other.map_or(Ok(()), |(name, _)| Err(pipeline::settings::unknown("setting", name, known)))
}
