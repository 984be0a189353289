//! A receipt as other systems get it: parameters of a partition in the Hive metastore.

use crate::{LateRecord, Receipt};

/// A receipt, or a record of late files, that another system gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The receipt.
    pub receipt: Receipt,
    /// All records of late files in its directory.
    pub late: Vec<LateRecord>,
    /// The ledger entry of the record; `None` for the receipt.
    pub entry: Option<u64>,
}

impl Announcement {
    /// Returns the record that it is about; `None` for the receipt.
    pub fn record(&self) -> Option<&LateRecord> {
        let entry = self.entry?;
        self.late.iter().find(|record| record.entry == entry)
    }

    /// Returns the receipt and its late files as properties, sorted by name. Equal receipts and
    /// records have equal properties, so that they can be written any number of times.
    pub fn properties(&self) -> Vec<(String, String)> {
        let Self { receipt, late, .. } = self;
        let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
        let late_files = late.iter().map(|record| record.files.len()).sum::<usize>();
        let late_events =
            late.iter().flat_map(|record| &record.files).map(|file| file.events).sum();
        let uncovered = receipt.waived.len() + receipt.left.len();
        let state = match (late.is_empty(), uncovered) {
            (false, _) => "reopened",
            (true, 0) => "complete",
            (true, _) => "complete_with_waivers",
        };
        let properties = [
            ("edges", receipt.edges.len().to_string()),
            ("entries", receipt.entries.to_string()),
            ("events", number(receipt.events)),
            ("files", receipt.files.len().to_string()),
            ("files_hash", receipt.files_hash.clone()),
            ("hash", receipt.hash.clone().unwrap_or_default()),
            ("late_events", number(late_events)),
            ("late_files", late_files.to_string()),
            ("left", names(&receipt.left)),
            ("made_at_ms", receipt.made_at_ms.to_string()),
            ("state", state.to_owned()),
            ("waived", names(&receipt.waived)),
        ];
        let own = |(name, value)| (format!("aqueduct.receipt.{name}"), value);
        properties.into_iter().map(own).collect()
    }
}

/// Returns the names of edges, separated by commas, as far as they fit into a property.
fn names(edges: &[crate::EdgeLine]) -> String {
    /// Maximum number of names: a value in the metastore has at most 4,000 characters.
    const NAMES_MAX: usize = 20;
    /// Maximum characters of a name.
    const NAME_MAX: usize = 100;
    let name = |edge: &crate::EdgeLine| match edge.name.as_str() {
        "" => edge.origin.clone(),
        name => name.chars().take(NAME_MAX).collect(),
    };
    let mut text = edges.iter().take(NAMES_MAX).map(name).collect::<Vec<_>>().join(",");
    if let Some(more) = edges.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
        text += &format!(",and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::tests::{edge, receipt, record};

    fn value(announcement: &Announcement, name: &str) -> String {
        let name = format!("aqueduct.receipt.{name}");
        let found = announcement.properties().into_iter().find(|(own, _)| *own == name);
        found.unwrap_or_else(|| panic!("{name}")).1
    }

    #[test]
    fn properties_have_the_state_and_the_sum_of_all_late_files() {
        let mut announcement = Announcement { receipt: receipt(), late: vec![], entry: None };
        let state = |it: &Announcement| value(it, "state");
        assert_eq!(state(&announcement), "complete");
        assert_eq!(value(&announcement, "hash"), announcement.receipt.hash.clone().unwrap());
        announcement.receipt.left.push(edge("web-18"));
        announcement.receipt.waived = vec![edge(""), edge("web-19")];
        assert_eq!(state(&announcement), "complete_with_waivers");
        assert_eq!(value(&announcement, "left"), "web-18");
        assert_eq!(value(&announcement, "waived"), format!("{},web-19", "0".repeat(32)));
        announcement.late = vec![record(7, Some(2)), record(9, Some(3))];
        assert_eq!(state(&announcement), "reopened");
        assert_eq!(value(&announcement, "late_events"), "5");
        announcement.late.push(record(11, None));
        assert_eq!((value(&announcement, "late_events"), value(&announcement, "late_files")), {
            (String::new(), "3".to_owned())
        });
    }

    #[test]
    fn a_property_fits_into_the_database_of_a_metastore() {
        let left = vec![edge(&"ü".repeat(200)); 1_000];
        let receipt = Receipt { left, ..receipt() };
        let announcement = Announcement { receipt, late: vec![], entry: None };
        let left = value(&announcement, "left");
        assert!(left.chars().count() < 4_000 && left.ends_with(",and 980 more"), "{left}");
    }
}
