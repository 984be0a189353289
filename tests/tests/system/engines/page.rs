//! The examples of `docs/engines.md`, as they stand there.

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/engines.md"));

/// The first block in this language behind the heading of this text, with the other values in place
/// of those that the page has.
pub(crate) fn example(heading: &str, language: &str, others: &[(&str, &str)]) -> String {
    let behind = PAGE.split_once(&format!("# {heading}\n"));
    let (_, behind) = behind.unwrap_or_else(|| panic!("docs/engines.md has no `{heading}`"));
    let begun = behind.split_once(&format!("```{language}\n"));
    let (_, begun) = begun.unwrap_or_else(|| panic!("no {language} behind `{heading}`"));
    let (block, _) = begun.split_once("```").expect("a block ends");
    others.iter().fold(block.to_owned(), |text, (value, other)| {
        assert!(text.contains(value), "the {language} behind `{heading}` has no {value}");
        text.replace(value, other)
    })
}
