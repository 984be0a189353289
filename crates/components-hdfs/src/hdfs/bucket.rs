//! Determines the directory of an event, from the path of the URL with its escapes.
//!
//! ```text
//! /logs/%Y-%m-%d/%{app}      prefix /logs, below it 2026-11-20/shop
//! └prefix┘└── template ─┘
//! ```
//!
//! The names before the first escape are the prefix. No value can lead out of it: a value is one
//! name or a part of one. In values, every byte outside `A-Za-z0-9._=-` becomes `%XX`; empty or
//! missing values and `.` and `..` become `_`. Values are cut at 128 bytes, names at 255 bytes.
//!
//! The time is the header `timestamp` (milliseconds since 1970), or the clock of this host.
//! [`Rules`] decide about late events and events without a valid time. Both may depend on the
//! clock, so a second attempt may route a batch differently. This neither loses nor duplicates
//! events: a batch is committed once by its identity, with all of its events, and staged files of
//! an earlier attempt are never published.
//!
//! A batch is split into a limited number of directories; the rest goes to [`route::OVERFLOW`].
//! Routing therefore needs only a few times the memory of the batch, even if each event has a
//! different value.

mod host;
mod names;
mod route;
mod times;

use ledger::BOOKS;

pub(super) use host::{AnyHost, HostNames, LocalHost};
pub(super) use names::{branch, confined};
pub(super) use route::{OVERFLOW, Routed, Rules, WithoutTime};
pub(super) use times::{Calendar, Round};

use names::fitted;
use pipeline::EventRef;
use times::Moment;

/// Maximum depth of a path.
const DEPTH_MAX: usize = 12;

/// A path with escapes: the prefix, and a template for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    prefix: String,
    names: Vec<Vec<Piece>>,
    /// Period in milliseconds within which all rendered times are equal; `None` without time
    /// escapes.
    period: Option<i64>,
    /// Whether the text also depends on the zone's offset, because of `%z` or `%s`.
    shows_offset: bool,
    headers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Time(char),
    /// Index into [`Template::headers`].
    Header(usize),
}

/// Returns the first name in braces without a `%` before it: a placeholder of other programs.
fn unescaped(path: &str) -> Option<&str> {
    path.match_indices('{').find_map(|(at, _)| {
        let (before, behind) = (&path[..at], &path[at + 1..]);
        // In `%%{`, the brace is literal.
        let percents = before.len() - before.trim_end_matches('%').len();
        let name = behind.split_once('}')?.0;
        (percents % 2 == 0 && !name.contains('/')).then_some(name)
    })
}

impl Template {
    /// Parses a path. `host` resolves `%[name]`.
    ///
    /// # Errors
    /// The problem with the path.
    pub(super) fn parse(path: &str, host: &dyn HostNames) -> Result<Self, String> {
        let path = path.replace("%%", "%\0").replace("%D", "%m/%d/%y").replace("%\0", "%%");
        if let Some(name) = unescaped(&path) {
            return Err(format!(
                "`{{{name}}}` would be used literally as a directory name; write `%{{{name}}}` for \
                 a header, or time escapes such as `%Y-%m-%d`"
            ));
        }
        let names: Vec<&str> = path.split('/').skip(1).collect();
        if names.len() > DEPTH_MAX {
            return Err(format!("must have at most {DEPTH_MAX} levels of directories"));
        }
        let literal = names.iter().take_while(|name| !name.contains('%')).count();
        let prefix = names[..literal].iter().fold(String::new(), |path, name| path + "/" + name);
        if prefix.is_empty() {
            return Err(
                "the path needs a fixed directory before its first escape, such as `/logs/%Y`"
                    .into(),
            );
        }
        if names[..literal].contains(&BOOKS) {
            return Err(format!(
                "the name `{BOOKS}` is reserved for the commit ledger; use another directory"
            ));
        }
        let (names_below, headers) = (Vec::new(), Vec::new());
        let mut template =
            Self { prefix, names: names_below, period: None, shows_offset: false, headers };
        for name in &names[literal..] {
            let pieces = template.pieces(name, host)?;
            template.names.push(pieces);
        }
        Ok(template)
    }

    fn pieces(&mut self, name: &str, host: &dyn HostNames) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = name;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let escape =
                rest.chars().next().ok_or("a name ends with `%`; write `%%` for a percent sign")?;
            if escape == '%' {
                literal.push('%');
                rest = &rest[1..];
                continue;
            }
            if escape == '[' {
                let end = rest
                    .find(']')
                    .ok_or("a `%[` has no closing `]`; add it, or write `%%` for a percent sign")?;
                literal.push_str(&host::shown(&rest[1..end], host)?);
                rest = &rest[end + 1..];
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            if escape == '{' {
                let end = rest
                    .find('}')
                    .ok_or("a `%{` has no closing `}`; add it, or write `%%` for a percent sign")?;
                pieces.push(Piece::Header(self.header(&rest[1..end])?));
                rest = &rest[end + 1..];
            } else if let Some(period) = times::period(escape) {
                self.period = Some(self.period.map_or(period, |old| old.min(period)));
                self.shows_offset |= matches!(escape, 'z' | 's');
                pieces.push(Piece::Time(escape));
                rest = &rest[1..];
            } else {
                let known: String = times::letters().map(|known| format!(" %{known}")).collect();
                return Err(format!(
                    "unknown escape `%{escape}`; known: %{{header}} %[localhost] %[IP] %[FQDN] \
                     %%{known}"
                ));
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(pieces)
    }

    fn header(&mut self, name: &str) -> Result<usize, String> {
        if name.is_empty() {
            return Err("`%{}` has no header name; write for example `%{host}`".into());
        }
        let known = self.headers.iter().position(|header| header == name);
        Ok(known.unwrap_or_else(|| {
            self.headers.push(name.into());
            self.headers.len() - 1
        }))
    }

    /// Returns the directory before the first escape.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the folders below the prefix, each up to its first escape.
    pub(super) fn folders(&self) -> Vec<&str> {
        let first = self.names.iter().map(|pieces| pieces.first());
        let literal = first.map(|piece| match piece {
            Some(Piece::Literal(text)) => text.as_str(),
            _ => "",
        });
        literal.collect()
    }

    /// Returns whether the path contains a time.
    pub(super) fn has_time(&self) -> bool {
        self.period.is_some()
    }

    /// Renders only the time escapes.
    fn times(&self, moment: Moment) -> String {
        let mut text = String::new();
        for piece in self.names.iter().flatten() {
            if let Piece::Time(escape) = piece {
                moment.show(*escape, &mut text);
                text.push('/');
            }
        }
        text
    }

    /// Renders the path of this event below the prefix, with this time.
    fn render(&self, event: EventRef<'_>, moment: Moment) -> String {
        let mut path = String::new();
        for pieces in &self.names {
            let mut name = String::new();
            for piece in pieces {
                match piece {
                    Piece::Literal(text) => name.push_str(text),
                    Piece::Time(escape) => moment.show(*escape, &mut name),
                    Piece::Header(header) => {
                        name.push_str(&confined(event.header(&self.headers[*header])));
                    }
                }
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&fitted(name));
        }
        path
    }
}

#[cfg(test)]
mod tests;
