//! Formats components for a terminal.

use std::fmt::Write;

use config::schema::{self, Setting, settings};
use pipeline::Listed;
use pipeline::catalogue::ROLES;

use super::page::{around_settings, guarantee, summary};

/// Maximum line length.
const WIDTH: usize = 100;

/// Formats a table for each role: kind, guarantee, package, sentence.
pub(super) fn list(all: &[Listed]) -> String {
    let kinds = all.iter().map(|listed| listed.kind.len()).max().unwrap_or_default();
    let packages = all.iter().map(|listed| from(listed).len()).max().unwrap_or_default();
    let mut text = String::new();
    for role in ROLES {
        let of_role: Vec<&Listed> = all.iter().filter(|listed| listed.role == *role).collect();
        if of_role.is_empty() {
            continue;
        }
        let gap = if text.is_empty() { "" } else { "\n" };
        put(&mut text, format_args!("{gap}{role}s\n"));
        let promises = if of_role.iter().any(|it| guarantee(it).is_some()) { 15 } else { 0 };
        for listed in of_role {
            let promise = guarantee(listed).unwrap_or_default();
            put(
                &mut text,
                format_args!(
                    "  {:kinds$}  {promise:promises$}{:packages$}  {}\n",
                    listed.kind,
                    from(listed),
                    summary(listed)
                ),
            );
        }
    }
    text
}

/// Formats the page of one component.
pub(super) fn page(listed: &Listed) -> String {
    let (before, behind) = around_settings(listed);
    let mut text =
        format!("{} {}, from {}\n\n{before}\n\n", listed.role, listed.kind, from(listed));
    let all = settings(&schema::component(listed));
    if all.is_empty() {
        text.push_str("No settings of its own.\n");
    } else {
        text.push_str("Settings:\n");
        add_settings(&mut text, "", &all);
    }
    if !behind.is_empty() {
        put(&mut text, format_args!("\n{behind}\n"));
    }
    text
}

/// Returns the package, and the feature that enables it.
fn from(listed: &Listed) -> String {
    match listed.group.feature {
        Some(feature) => format!("{} (feature `{feature}`)", listed.group.package),
        None => listed.group.package.to_owned(),
    }
}

/// Adds each setting with its type, default and description. Nested settings get dotted names.
fn add_settings(text: &mut String, above: &str, all: &[Setting]) {
    let (required, others): (Vec<&Setting>, Vec<&Setting>) =
        all.iter().partition(|setting| setting.is_required);
    for setting in required.into_iter().chain(others) {
        let name = format!("{above}{}", setting.name);
        let default = match &setting.default {
            Some(value) => format!("; default {value}"),
            None if setting.is_required => "; required".to_owned(),
            None if setting.is_optional => "; not set by default".to_owned(),
            None => String::new(),
        };
        put(text, format_args!("\n  {name}: {}{default}\n", setting.form));
        for paragraph in &setting.meaning {
            add_wrapped(text, "      ", paragraph);
        }
        add_settings(text, &format!("{name}."), &setting.below);
    }
}

/// Wraps words at [`WIDTH`], each line after `indent`.
fn add_wrapped(text: &mut String, indent: &str, words: &str) {
    let mut line = indent.to_owned();
    for word in words.split(' ') {
        let is_first = line.len() == indent.len();
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
            put(text, format_args!("{line}\n"));
            line = indent.to_owned();
        } else if !is_first {
            line.push(' ');
        }
        line.push_str(word);
    }
    put(text, format_args!("{line}\n"));
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes it");
}
