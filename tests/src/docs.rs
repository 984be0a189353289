//! Examples of the user guide, which system tests run like a reader.

use std::path::Path;

/// A page of the user guide.
#[derive(Debug)]
pub struct Page {
    name: &'static str,
    text: String,
}

impl Page {
    /// Reads a page below `docs`, such as `engines.md`.
    ///
    /// # Panics
    ///
    /// When the page does not exist.
    #[must_use]
    pub fn read(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("docs/{name}: {e}"));
        Self { name, text }
    }

    /// Returns the first block in this language after the heading, with each value of the page
    /// replaced by the other one.
    ///
    /// # Panics
    ///
    /// When heading, block or one of the values is missing.
    #[must_use]
    pub fn example(&self, heading: &str, language: &str, others: &[(&str, &str)]) -> String {
        let place = format!("docs/{}, heading `{heading}`", self.name);
        let (_, section) = self
            .text
            .split_once(&format!("# {heading}\n"))
            .unwrap_or_else(|| panic!("{place}: missing"));
        let (_, block) = section
            .split_once(&format!("```{language}\n"))
            .unwrap_or_else(|| panic!("{place}: no block in {language}"));
        let (block, _) = block.split_once("```").expect("a block ends");
        others.iter().fold(block.to_owned(), |text, (value, other)| {
            assert!(text.contains(value), "{place}: the block in {language} has no {value}");
            text.replace(value, other)
        })
    }
}
