//! The reference of components and keys, as `docs/migrate-from-flume.md` has it.

use std::fmt::Write;

use crate::table::{Becomes, Row, rows};

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

/// The reference: a table of components for each role, and a table of keys for each component.
pub fn reference() -> String {
    let mut page = String::new();
    for (role, heading) in ROLES {
        let of_role: Vec<&Row> = rows().filter(|row| row.role == role).collect();
        line(&mut page, &format!("\n### {heading}\n\n| Flume | class | Aqueduct |\n|---|---|---|"));
        for row in &of_role {
            let classes: Vec<String> = row.classes.iter().map(|it| format!("`{it}`")).collect();
            let here = match row.becomes {
                Becomes::Kind(kind) => format!("`{kind}`"),
                Becomes::Several(what) => what.to_owned(),
                Becomes::Later(what) | Becomes::Never(what) => format!("not translated: {what}"),
            };
            let text = format!("| `{}` | {} | {here} |", row.name, classes.join(", "));
            line(&mut page, &text);
        }
        let is_there = |row: &&Row| matches!(row.becomes, Becomes::Kind(_) | Becomes::Several(_));
        for row in of_role.into_iter().filter(is_there) {
            keys(&mut page, row);
        }
    }
    page
}

/// The keys of one component.
fn keys(page: &mut String, row: &Row) {
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
    for key in row.keys() {
        let default = match key.default {
            "" => String::new(),
            "*" => "required".to_owned(),
            default => format!("`{}`", default.replace('|', "\\|")),
        };
        line(page, &format!("| `{}` | {default} | {} |", key.name, key.described()));
    }
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a string takes it");
}
