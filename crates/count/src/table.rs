//! The table: printed, kept in a file between other text, compared.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::{Doing, Error, Result};
use crate::stages::Stage;

/// Growth of a row that is let pass.
const TOLERANCE: f64 = 0.05;
const HEAD: &str = "| stage | instructions per event | what is done |\n|---|---:|---|\n";

/// Instructions per event, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    rows: Vec<(String, f64)>,
}

impl Table {
    /// What was counted.
    pub(crate) fn new(counted: Vec<(Stage, f64)>) -> Self {
        let rows = counted.into_iter().map(|(stage, count)| (stage.name().to_owned(), count));
        Self { rows: rows.collect() }
    }

    /// The table in the text of `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
        Self::parse(&text).map_err(|detail| Error::Table { path: path.to_owned(), detail })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (_, rest) = text.split_once(HEAD).ok_or("its header row is missing")?;
        let mut rows = Vec::new();
        for line in rest.lines().take_while(|line| line.starts_with('|')) {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let (name, count) = (cells.next(), cells.next().and_then(|cell| cell.parse().ok()));
            let (Some(name), Some(count)) = (name, count) else {
                return Err(format!("not a row: {line}"));
            };
            rows.push((name.to_owned(), count));
        }
        Ok(Self { rows })
    }

    /// As a document has it.
    pub(crate) fn markdown(&self) -> String {
        let rows = self.rows.iter().map(|(name, count)| {
            let what = Stage::named(name).map_or("", Stage::what);
            format!("| {name} | {count:.1} | {what} |\n")
        });
        HEAD.to_owned() + &rows.collect::<String>()
    }

    /// Puts this table where one is in the text of `path`.
    pub(crate) fn replace_in(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
        let replaced = self.replaced(&text).ok_or_else(|| Error::Table {
            path: path.to_owned(),
            detail: "its header row is missing".to_owned(),
        })?;
        fs::write(path, replaced).doing(|| format!("write {}", path.display()))
    }

    fn replaced(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(HEAD)?;
        let old: usize =
            rest.split_inclusive('\n').take_while(|l| l.starts_with('|')).map(str::len).sum();
        Some(format!("{before}{}{}", self.markdown(), &rest[old..]))
    }

    /// This table compared with an earlier one.
    pub(crate) fn compare(&self, earlier: &Self) -> Comparison {
        let rows = self.rows.iter().map(|(name, now)| {
            let then = earlier.rows.iter().find(|(known, _)| known == name);
            (name.clone(), *now, then.map(|(_, then)| *then))
        });
        Comparison { rows: rows.collect() }
    }
}

/// Each row of a table compared with the same one of an earlier table.
#[derive(Debug)]
pub(crate) struct Comparison {
    rows: Vec<(String, f64, Option<f64>)>,
}

impl Comparison {
    /// The rows that grew by more than is let pass, and those that the earlier table lacks.
    pub(crate) fn dearer(&self) -> Vec<String> {
        let dearer = |(_, now, then): &&(String, f64, Option<f64>)| {
            then.is_none_or(|then| *now > then * (1.0 + TOLERANCE))
        };
        self.rows.iter().filter(dearer).map(|(name, ..)| name.clone()).collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, now, then) in &self.rows {
            let Some(then) = then else {
                writeln!(f, "{name}: {now:.1}, not in the table yet")?;
                continue;
            };
            let percent = (now / then - 1.0) * 100.0;
            let word = match percent / 100.0 {
                grown if grown > TOLERANCE => "  DEARER",
                grown if grown < -TOLERANCE => "  cheaper: record it with --write",
                _ => "",
            };
            writeln!(f, "{name}: {then:.1} -> {now:.1} ({percent:+.1} %){word}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, f64)]) -> Table {
        Table { rows: rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect() }
    }

    #[test]
    fn reads_back_the_written_table_and_keeps_the_text_around_it() {
        let old = table(&[("tail", 1.0), ("put", 2.0)]);
        let text = format!("# Title\n\n{}\nBehind it.\n", old.markdown());
        assert_eq!(Table::parse(&text), Ok(old));
        let new = table(&[("tail", 7.5)]);
        let replaced = new.replaced(&text).unwrap();
        assert_eq!(Table::parse(&replaced), Ok(new));
        assert!(replaced.starts_with("# Title\n\n| stage") && replaced.ends_with("\nBehind it.\n"));
        assert!(Table::parse("no table").is_err());
    }

    #[test]
    fn a_row_that_grew_by_more_than_five_percent_is_named_and_so_is_a_new_one() {
        let earlier = table(&[("tail", 100.0), ("put", 100.0), ("take", 100.0)]);
        let now = table(&[("tail", 104.9), ("put", 105.1), ("take", 50.0), ("pack", 1.0)]);
        let comparison = now.compare(&earlier);
        assert_eq!(comparison.dearer(), ["put", "pack"]);
        let text = comparison.to_string();
        assert!(text.contains("put: 100.0 -> 105.1 (+5.1 %)  DEARER"), "{text}");
        assert!(text.contains("take: 100.0 -> 50.0 (-50.0 %)  cheaper"), "{text}");
    }
}
