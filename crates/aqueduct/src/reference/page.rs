//! Parses the pages of `docs/components`.

use pipeline::Listed;

/// Start of the paragraph about the guarantee.
const GUARANTEE: &str = "**Guarantee:** ";

fn text(listed: &Listed) -> &'static str {
    catalogue::page(listed.role, listed.kind).unwrap_or_default()
}

/// Returns the first sentence of the page.
pub(crate) fn summary(listed: &Listed) -> String {
    let paragraph = text(listed).split("\n\n").nth(1).unwrap_or_default().replace('\n', " ");
    match paragraph.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => paragraph.trim().to_owned(),
    }
}

/// Returns the default guarantee; `None` if the role has no guarantee.
pub(crate) fn guarantee(listed: &Listed) -> Option<&'static str> {
    let paragraph = text(listed).lines().find_map(|line| line.strip_prefix(GUARANTEE))?;
    ["exactly once", "at least once", "best effort"]
        .into_iter()
        .find(|it| paragraph.starts_with(it))
}

/// Returns the page without its title: the parts before and after the settings.
pub(super) fn around_settings(listed: &Listed) -> (&'static str, &'static str) {
    let body = text(listed).split_once("\n\n").map_or("", |(_, body)| body);
    let Some((before, rest)) = body.split_once("## Settings\n") else { return (body, "") };
    let behind = rest.find("\n## ").map_or("", |at| &rest[at + 1..]);
    (before.trim_end(), behind.trim_end())
}
