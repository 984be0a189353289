//! Every option of Sqoop 1.4.7, and its translation. The page in `docs/migrate-from-sqoop.md` is
//! generated from these tables.

mod elsewhere;
mod reading;

use crate::notes::Outcome;

/// The translation of an option in a call of `import`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It becomes this.
    Carried(&'static str),
    /// It becomes this, with a slightly different effect.
    Differs(&'static str),
    /// It has no effect, for this reason.
    Ignored(&'static str),
    /// It is rejected, for this reason and with this remedy.
    Refused(&'static str),
    /// An option of `export`, with its result there, unless it is translated unchanged.
    Export(Option<Outcome>, &'static str),
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name, without the two dashes.
    pub name: &'static str,
    /// Its letter, or nothing.
    pub short: &'static str,
    /// A value follows it.
    pub takes: bool,
    /// Its translation.
    pub answer: Answer,
}

/// Options of one purpose.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The purpose of the options.
    pub heading: &'static str,
    /// They.
    pub rows: &'static [Row],
}

/// A row with a value.
const fn value(name: &'static str, answer: Answer) -> Row {
    Row { name, short: "", takes: true, answer }
}

/// A row without one.
const fn flag(name: &'static str, answer: Answer) -> Row {
    Row { name, short: "", takes: false, answer }
}

/// The same with a letter.
const fn short(letter: &'static str, row: Row) -> Row {
    Row { short: letter, ..row }
}

/// All of them.
pub static GROUPS: &[Group] = &[
    reading::OURS,
    reading::CONNECT,
    reading::WHAT,
    reading::WHERE,
    reading::TEXT,
    reading::INCREMENTAL,
    elsewhere::TYPES,
    elsewhere::HIVE,
    elsewhere::HCATALOG,
    elsewhere::HBASE,
    elsewhere::ACCUMULO,
    elsewhere::EXPORT,
    elsewhere::VALIDATION,
    elsewhere::JOBS,
    elsewhere::CODE,
    elsewhere::DATABASES,
    elsewhere::HADOOP,
];

/// The option of this name or letter.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    let mut all = GROUPS.iter().flat_map(|group| group.rows);
    all.find(|row| row.name == name || (!row.short.is_empty() && row.short == name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_option_has_two_answers() {
        let mut names = BTreeSet::new();
        for row in GROUPS.iter().flat_map(|group| group.rows) {
            assert!(names.insert(row.name), "{} is there twice", row.name);
            assert!(row.short.is_empty() || names.insert(row.short), "{}", row.short);
        }
    }
}
