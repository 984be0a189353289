//! The reference of components and keys, as `docs/migrate-from-flume.md` has it.

use std::fmt::Write;

use crate::table::{Becomes, Key, Row, rows};

/// The line before the generated part.
pub const BEGIN: &str = "<!-- begin: generated from crates/flume/src/table -->";

/// The line after it.
pub const END: &str = "<!-- end: generated -->";

/// The roles with their headings.
const ROLES: [(&str, &str); 8] = [
    ("source", "Sources"),
    ("channel", "Channels"),
    ("sink", "Sinks"),
    ("interceptor", "Interceptors"),
    ("selector", "Channel selectors"),
    ("processor", "Sink processors"),
    ("encoder", "Serializers"),
    ("decoder", "Deserializers"),
];

/// Keys in a row of their own group: from this many on, further components refer to it.
const SHARED_MIN: usize = 3;

/// The reference: a table of components for each role, and a table of keys for each component.
pub fn reference() -> String {
    let mut page = String::new();
    let mut known: Vec<(String, &Row)> = Vec::new();
    for (role, heading) in ROLES {
        let of_role: Vec<&Row> = rows().filter(|row| row.role == role).collect();
        line(&mut page, &format!("\n### {heading}\n\n| Flume | class | Aqueduct |\n|---|---|---|"));
        for row in &of_role {
            let here = match row.becomes {
                Becomes::Kind(kind) => format!("`{kind}`"),
                Becomes::Several(what) => what.to_owned(),
                Becomes::Later(what) | Becomes::Never(what) => format!("not translated: {what}"),
            };
            let classes = quoted(row.classes.iter().copied());
            line(&mut page, &format!("| `{}` | {classes} | {here} |", row.name));
        }
        let is_there = |row: &&Row| matches!(row.becomes, Becomes::Kind(_) | Becomes::Several(_));
        for row in of_role.into_iter().filter(is_there) {
            keys(&mut page, row, &mut known);
        }
    }
    page
}

/// The keys of one component. `known` are the groups of keys that an earlier component describes.
fn keys(page: &mut String, row: &'static Row, known: &mut Vec<(String, &Row)>) {
    if row.keys().next().is_none() && row.differs.is_empty() {
        return;
    }
    line(page, &format!("\n#### {} `{}`", row.role, row.name));
    if !row.differs.is_empty() {
        line(page, &format!("\nDiffers: {}.", row.differs));
    }
    if row.keys().next().is_none() {
        return;
    }
    line(page, "\n| key | Flume's default | becomes |\n|---|---|---|");
    for part in row.keys {
        let text = described(part);
        match known.iter().find(|(earlier, _)| *earlier == text) {
            Some((_, other)) if part.len() >= SHARED_MIN => {
                let names = quoted(part.iter().map(|key| key.name));
                let link = format!("#{}-{}", other.role, other.name);
                line(page, &format!("| {names} | | as for [{}]({link}) |", other.name));
            }
            _ => page.push_str(&text),
        }
        known.push((text, row));
    }
}

/// The rows of a group of keys. Keys with the same effect share a row.
fn described(part: &[Key]) -> String {
    let mut rows: Vec<(Vec<&str>, String)> = Vec::new();
    for key in part {
        let text = key.described();
        let default = match key.default {
            // It has no effect in Aqueduct.
            _ if text.starts_with("ignored") => String::new(),
            "" => String::new(),
            "*" => "required".to_owned(),
            default => format!("`{}`", default.replace('|', "\\|")),
        };
        let rest = format!("{default} | {text} |");
        match rows.iter_mut().find(|(_, known)| *known == rest) {
            Some((names, _)) => names.push(key.name),
            None => rows.push((vec![key.name], rest)),
        }
    }
    let row = |(names, rest): &(Vec<&str>, String)| {
        format!("| {} | {rest}\n", quoted(names.iter().copied()))
    };
    rows.iter().map(row).collect()
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a string takes it");
}
