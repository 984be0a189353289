//! Templates of row keys and values: text with placeholders for parts of an event.

use formats::json;
use pipeline::EventRef;
use regex::bytes::{Captures, Regex};

/// How to parse bodies.
#[derive(Debug, Clone)]
pub(super) enum Format {
    /// Not at all.
    None,
    /// As JSON objects.
    Json,
    /// With a regular expression.
    Regex(Regex),
}

/// A parsed body.
pub(super) enum Body<'a> {
    None,
    Json(json::Fields<'a>),
    Groups(Captures<'a>),
}

impl Format {
    /// Parses a body.
    ///
    /// # Errors
    /// It does not have this format.
    pub(super) fn read<'a>(&self, body: &'a [u8]) -> Result<Body<'a>, String> {
        match self {
            Self::None => Ok(Body::None),
            Self::Json => json::fields(body).map(Body::Json),
            Self::Regex(pattern) => {
                let groups = pattern.captures(body).map(Body::Groups);
                groups.ok_or_else(|| {
                    "the body does not match `pattern`; correct the event, or `pattern`".to_owned()
                })
            }
        }
    }
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `%{name}`
    Header(String),
    /// `%[name]` or `%[/a/pointer]`, for JSON: its path.
    Field(Vec<String>),
    /// `%[number]` or `%[name]`, for a regular expression.
    Group(usize),
    /// `%body`
    Body,
    /// `%id`
    Id,
}

/// Text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Parses a setting.
    ///
    /// # Errors
    /// The error in the setting.
    pub(super) fn parse(text: &str, pattern: Option<&Regex>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            push_text(&mut parts, before);
            rest = behind;
            if let Some(behind) = rest.strip_prefix('%') {
                push_text(&mut parts, "%");
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix("body") {
                parts.push(Part::Body);
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix("id") {
                parts.push(Part::Id);
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix('{') {
                let (name, behind) = behind.split_once('}').ok_or("`%{` has no `}`")?;
                parts.push(Part::Header(name.to_owned()));
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix('[') {
                let (name, behind) = behind.split_once(']').ok_or("`%[` has no `]`")?;
                parts.push(field(name, pattern)?);
                rest = behind;
            } else {
                return Err(
                    "after `%` write `{header}`, `[field]`, `body`, `id`, or `%` for a literal `%`"
                        .to_owned(),
                );
            }
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    /// Returns whether it contains the id of the event.
    pub(super) fn has_id(&self) -> bool {
        self.0.contains(&Part::Id)
    }

    /// Returns whether it needs a JSON body.
    pub(super) fn has_fields(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Renders the template for an event.
    ///
    /// # Errors
    /// The part that the event lacks.
    pub(super) fn render(
        &self,
        event: EventRef<'_>,
        body: &Body<'_>,
        id: &str,
    ) -> Result<Vec<u8>, Missing> {
        let mut out = Vec::new();
        for part in &self.0 {
            let lacks = |what: String| Missing(what);
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Id => out.extend_from_slice(id.as_bytes()),
                Part::Body => out.extend_from_slice(event.body()),
                Part::Header(name) => {
                    let value = event.header(name).ok_or_else(|| lacks(format!("header `{name}`")));
                    out.extend_from_slice(value?.as_bytes());
                }
                Part::Field(steps) => {
                    let Body::Json(fields) = body else { continue };
                    let found = json::follow(fields, steps).map_err(Missing)?;
                    let found = found.and_then(json::text);
                    let value = found.ok_or_else(|| lacks(format!("field `{}`", steps.join("/"))));
                    out.extend_from_slice(value?.as_bytes());
                }
                Part::Group(group) => {
                    let Body::Groups(groups) = body else { continue };
                    let found = groups.get(*group);
                    let value = found.ok_or_else(|| lacks(format!("group {group}")));
                    out.extend_from_slice(value?.as_bytes());
                }
            }
        }
        Ok(out)
    }
}

/// A part that a template needs and an event lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) String);

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn field(name: &str, pattern: Option<&Regex>) -> Result<Part, String> {
    let Some(pattern) = pattern else {
        return Ok(Part::Field(match name.strip_prefix('/') {
            Some(pointer) => json::steps(pointer),
            None => vec![name.to_owned()],
        }));
    };
    let named = pattern.capture_names().position(|group| group == Some(name));
    let group = named.or_else(|| name.parse().ok());
    let group = group.filter(|group| *group < pattern.captures_len());
    group.map(Part::Group).ok_or_else(|| {
        let groups = pattern.captures_len() - 1;
        format!("`pattern` has no group `{name}`; it has {groups} groups, numbered from 1")
    })
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;

    use super::*;

    fn rendered(template: &str, format: &Format, body: &str) -> Result<String, String> {
        let pattern = if let Format::Regex(pattern) = format { Some(pattern) } else { None };
        let template = Template::parse(template, pattern)?;
        let mut builder = BatchBuilder::default();
        builder.push(body.as_bytes(), &[("host", "h1")]);
        let batch = builder.finish();
        let event = batch.iter().next().unwrap();
        let read = format.read(event.body())?;
        let bytes = template.render(event, &read, "ID").map_err(|missing| missing.0)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn pattern(text: &str) -> Format {
        Format::Regex(Regex::new(text).unwrap())
    }

    #[test]
    fn a_template_has_what_the_event_has() {
        for (template, format, body, expected) in [
            ("a-%{host}-%id%%%body", Format::None, "x", "a-h1-ID%x"),
            (
                "%[a]/%[n]/%[/o/l/1]",
                Format::Json,
                r#"{"a":"é","n":1.50,"o":{"l":[1,2]}}"#,
                "é/1.50/2",
            ),
            ("%[2]%[k]", pattern("^(?<k>.)(.)"), "xyz", "yx"),
        ] {
            assert_eq!(rendered(template, &format, body).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn names_the_error_of_a_template() {
        for (template, format, body, expected) in [
            ("%{no}", Format::None, "x", "header `no`"),
            ("%[a]", Format::Json, "{}", "field `a`"),
            ("%[a]", Format::Json, r#"{"a":null}"#, "field `a`"),
            ("%[a]", Format::Json, "[1]", "not a JSON object"),
            ("%[2]", pattern("(a)|(b)"), "a", "group 2"),
            ("x", pattern("(a)"), "b", "does not match"),
            ("%[2]", pattern("(a)"), "a", "has no group `2`; it has 1 groups"),
            ("%{a", Format::None, "", "has no `}`"),
            ("100%", Format::None, "", "after `%`"),
        ] {
            let error = rendered(template, &format, body).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
