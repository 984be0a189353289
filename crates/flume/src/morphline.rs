//! Morphlines: translates the commands of a morphline file into interceptors with the same effect.
//! Every other command is rejected by its name, with its line and its replacement.
//!
//! ```text
//!   readLine      body → header `message`; the body is empty afterwards …
//!   grok, if, …   headers
//!   toByteArray   … unless `_attachment_body` was set to `@{message}`
//! ```
//!
//! A record of a morphline is an event: its fields are headers, its attachment is the body. A
//! record that a command rejects is dropped, as by Flume's interceptor.

mod commands;
mod conditions;
mod dates;
mod grok;

use std::sync::Arc;

use pipeline::Settings;
use pipeline::settings::{Place, Value as Setting};

use crate::World;
use crate::hocon::{self, Node};
use crate::report::{Outcome, Report};

/// The field that is the body.
const BODY: &str = "_attachment_body";

/// The field that `readLine` sets.
const MESSAGE: &str = "message";

/// The state of the body after some commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Unchanged.
    AsCame,
    /// It was read, and is empty.
    Gone,
    /// It is the text of the header `message`, not yet bytes.
    Message,
    /// It is the first non-empty line of the original.
    Line,
    /// It is JSON without an extracted field yet.
    JsonUnread,
    /// It is parsed JSON, not yet bytes.
    Json,
}

/// A morphline on its way.
struct Translation<'a> {
    world: &'a dyn World,
    report: &'a mut Report,
    file: Arc<str>,
    /// The key of the interceptor.
    key: &'a str,
    body: Body,
    /// True if `message` is the line that `readLine` has read.
    has_message: bool,
    made: Vec<Settings>,
}

/// Returns the interceptors for a morphline of this file; reports commands without a counterpart.
/// Without an `id` the file has one morphline. `key` and `place` belong to `morphlineFile`.
pub(crate) fn interceptors(
    path: &str,
    id: Option<&str>,
    (key, place): (&str, &Place),
    world: &dyn World,
    report: &mut Report,
) -> Vec<Settings> {
    let text = world.file(path).and_then(|bytes| {
        String::from_utf8(bytes)
            .map_err(|_| "it is not UTF-8; convert the file to UTF-8".to_owned())
    });
    let text = match text {
        Ok(text) => text,
        Err(problem) => {
            report.add(Outcome::Decision, place, key, format!("{path}: {problem}"));
            return Vec::new();
        }
    };
    let mut it = Translation {
        world,
        report,
        file: path.into(),
        key,
        body: Body::AsCame,
        has_message: false,
        made: Vec::new(),
    };
    let root = match hocon::read(&text) {
        Ok(root) => root,
        Err(problem) => {
            it.decision(problem.line, problem.text);
            return Vec::new();
        }
    };
    match chosen(&root, id) {
        Ok(morphline) => {
            for command in morphline.get("commands").map_or(&[][..], Node::items) {
                it.command(command);
            }
            it.last_body(morphline.line);
        }
        Err(problem) => it.decision(root.line, problem),
    }
    it.made
}

/// The morphline of this id, or the only one.
fn chosen<'a>(root: &'a Node, id: Option<&str>) -> Result<&'a Node, String> {
    let all = root.get("morphlines").map_or(&[][..], Node::items);
    let name = |node: &Node| node.get("id").and_then(Node::text).map(str::to_owned);
    let known = || all.iter().filter_map(name).collect::<Vec<_>>().join(", ");
    match (id, all) {
        (_, []) => {
            Err("the file has no list `morphlines`; name another file in `morphlineFile`"
                .to_owned())
        }
        (None, [one]) => Ok(one),
        (None, _) => Err(format!(
            "the file has several morphlines; set `morphlineId` to one of: {}",
            known()
        )),
        (Some(id), all) => {
            let found = all.iter().find(|node| name(node).as_deref() == Some(id));
            found.ok_or_else(|| {
                format!("the file has no morphline `{id}`; its morphlines: {}", known())
            })
        }
    }
}

impl Translation<'_> {
    fn place(&self, line: u32) -> Place {
        Place { file: self.file.clone(), line, column: 0 }
    }

    fn add(&mut self, outcome: Outcome, line: u32, text: impl Into<String>) {
        let place = self.place(line);
        self.report.add(outcome, &place, self.key, text);
    }

    fn decision(&mut self, line: u32, text: impl Into<String>) {
        self.add(Outcome::Decision, line, text);
    }

    /// Adds an interceptor; its settings are of JSON's shape.
    fn push(&mut self, line: u32, settings: &serde_json::Value) {
        let mut settings = Settings::from_json(settings);
        let place = self.place(line);
        at(&mut settings, &place);
        self.made.push(settings);
    }

    /// Handles the body after the last command.
    fn last_body(&mut self, line: u32) {
        match self.body {
            Body::AsCame => {}
            Body::Gone => {
                let text = "the morphline leaves no body, so events have an empty one; to keep the \
                            line: `setValues { _attachment_body : \"@{message}\" }` and \
                            `toByteArray { field : _attachment_body }`";
                self.add(Outcome::Advice, line, text);
                let all = serde_json::json!({ "type": "search_replace", "search": "(?s-u).+" });
                self.push(line, &all);
            }
            Body::Line => {
                let search = "(?s-u)^[\\r\\n]+|[\\r\\n].*$";
                let rest = serde_json::json!({ "type": "search_replace", "search": search });
                self.push(line, &rest);
            }
            Body::Message | Body::JsonUnread | Body::Json => {
                let text = "Flume's interceptor requires a body of bytes: end the morphline with \
                            `toByteArray { field : _attachment_body }`";
                self.decision(line, text);
            }
        }
    }
}

/// Puts a place on settings, and on all below them.
fn at(settings: &mut Settings, place: &Place) {
    settings.place = place.clone();
    match &mut settings.value {
        Setting::List(items) => items.iter_mut().for_each(|it| at(it, place)),
        Setting::Table(entries) => entries.iter_mut().for_each(|(key, it)| {
            key.place = place.clone();
            at(it, place);
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
