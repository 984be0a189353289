//! The names of the sink's store in URLs of a table.

use iceberg::TableError;
use iceberg::location::split;

/// Scheme and authority of the sink's store: of `url`, and of `location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stores(pub(crate) [(String, String); 2]);

impl Stores {
    /// Returns whether the store has this name.
    pub(crate) fn has(&self, scheme: &str, authority: &str) -> bool {
        self.0.iter().any(|(own, at)| own == scheme && at == authority)
    }

    /// Returns the path of a URL in the store.
    ///
    /// # Errors
    /// It is in another store.
    pub(crate) fn path_of(&self, url: &str) -> Result<String, TableError> {
        match split(url) {
            Some((scheme, authority, path)) if self.has(scheme, authority) => Ok(path.to_owned()),
            _ => Err(TableError::Unsupported {
                problem: format!(
                    "has its metadata at {url}, which is not in the store of `url`; use a table in \
                     this store, or set `iceberg.location` as the table names the store"
                ),
            }),
        }
    }
}
