//! Paths and records below the prefix. Pure.
//!
//! ```text
//! <prefix>/_aqueduct/files/
//!   parts/<T>/<from>-<to>   bytes of a transfer; 20 digits each
//!   parts/<T>/end           the description from its last piece: `Record` without `whole`
//!   parts/<T>/damaged       its parts do not make the source file
//!   whole/<T>.<n>           a whole file, incomplete or waiting for its final name
//!   done/<T>                names one of them: `Record`
//!   work/<n>                temporary files for renames
//! ```

use serde::{Deserialize, Serialize};

use super::cover::Part;

/// Names of records among the parts.
pub(super) const END: &str = "end";
pub(super) const DAMAGED: &str = "damaged";

/// The description of a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its path below the prefix.
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    /// Its name below `whole`, in the record of a finished transfer.
    #[serde(default)]
    pub(super) whole: String,
}

/// The paths of the sink.
pub(super) struct Layout {
    prefix: String,
    root: String,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), root: format!("{prefix}/_aqueduct/files") }
    }

    /// Returns the directory of the visible files.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns all required directories.
    pub(super) fn directories(&self) -> [String; 4] {
        [self.all_parts(), self.all_whole(), self.all_done(), self.all_work()]
    }

    pub(super) fn all_parts(&self) -> String {
        format!("{}/parts", self.root)
    }

    pub(super) fn all_whole(&self) -> String {
        format!("{}/whole", self.root)
    }

    pub(super) fn all_done(&self) -> String {
        format!("{}/done", self.root)
    }

    pub(super) fn all_work(&self) -> String {
        format!("{}/work", self.root)
    }

    /// Returns the directory of a transfer's parts.
    pub(super) fn parts(&self, transfer: &str) -> String {
        format!("{}/parts/{transfer}", self.root)
    }

    /// Returns a part, or a record among the parts.
    pub(super) fn among_parts(&self, transfer: &str, name: &str) -> String {
        format!("{}/parts/{transfer}/{name}", self.root)
    }

    /// Returns a whole file by its name below `whole`.
    pub(super) fn whole(&self, name: &str) -> String {
        format!("{}/whole/{name}", self.root)
    }

    pub(super) fn done(&self, transfer: &str) -> String {
        format!("{}/done/{transfer}", self.root)
    }

    pub(super) fn work(&self, name: &str) -> String {
        format!("{}/work/{name}", self.root)
    }

    /// Returns the visible path of a file, for the `number`-th attempt, starting at 1.
    pub(super) fn visible(&self, file: &str, number: u32) -> String {
        if number == 1 {
            return format!("{}/{file}", self.prefix);
        }
        let (directory, name) = file
            .rsplit_once('/')
            .map_or(("", file), |(directory, name)| (&file[..=directory.len()], name));
        // A leading dot does not start an extension.
        let dot = name.rfind('.').filter(|dot| *dot > 0).unwrap_or(name.len());
        let (stem, ending) = name.split_at(dot);
        format!("{}/{directory}{stem}.{number}{ending}", self.prefix)
    }
}

/// Returns the name of a part.
pub(super) fn part_name(part: Part) -> String {
    format!("{:020}-{:020}", part.from, part.to)
}

/// Parses the name of a part.
pub(super) fn part_of(name: &str) -> Option<Part> {
    let (from, to) = name.split_once('-')?;
    let number = |text: &str| {
        let is_plain = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_plain)
    };
    let (from, to) = (number(from)?, number(to)?);
    (from < to).then_some(Part { from, to })
}

/// Returns the transfer of a name below `whole`.
pub(super) fn transfer_of(whole: &str) -> Option<&str> {
    whole.split_once('.').map(|(transfer, _)| transfer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_back_from_its_name_and_other_names_are_none() {
        let part = Part { from: 7, to: u64::MAX };
        assert_eq!(part_of(&part_name(part)), Some(part));
        for name in [END, DAMAGED, "1-2", "00000000000000000007-00000000000000000007", ""] {
            assert_eq!(part_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number_in_front_of_its_ending() {
        let layout = Layout::new("/in");
        assert_eq!(layout.visible("a/b.tar.gz", 1), "/in/a/b.tar.gz");
        assert_eq!(layout.visible("a/b.tar.gz", 2), "/in/a/b.tar.2.gz");
        assert_eq!(layout.visible("a.d/b", 3), "/in/a.d/b.3");
        assert_eq!(layout.visible(".profile", 2), "/in/.profile.2");
    }
}
