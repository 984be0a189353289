//! The kinds of catalogs, and the settings that belong to one of them.

use std::sync::Arc;

use pipeline::{BuildContext, BuildError};

use super::{IcebergConfig, Reach, invalid};
use crate::hive::{Places, SettingNames, TableEntry, addresses, is_name};
use crate::iceberg::TableName;

/// Kind of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CatalogKind {
    /// A REST catalog.
    Rest,
    /// Hive's metastore.
    Metastore,
    /// A directory.
    Directory,
}

impl CatalogKind {
    /// Returns the kind of the catalog at this URL.
    pub(super) fn of(catalog: &str) -> Self {
        match catalog {
            _ if catalog.starts_with("http") => Self::Rest,
            _ if catalog.starts_with("thrift") => Self::Metastore,
            _ => Self::Directory,
        }
    }

    /// Returns the scheme of a store in the URLs of a table. A metastore creates the directory of a
    /// table with Hadoop, which does not know `s3`.
    pub(super) fn scheme(self, scheme: &str) -> &str {
        match (self, scheme) {
            (Self::Metastore, "s3") => "s3a",
            (_, other) => other,
        }
    }
}

impl IcebergConfig {
    /// Checks that only settings of this kind are set.
    pub(super) fn check_kind(&self, kind: CatalogKind) -> Result<(), BuildError> {
        for (setting, is_set, of) in [
            ("warehouse", self.warehouse.is_some(), CatalogKind::Rest),
            ("token", self.token.is_some(), CatalogKind::Rest),
            ("oauth", self.oauth.is_some(), CatalogKind::Rest),
            ("tls", self.tls.is_some(), CatalogKind::Rest),
            ("user", self.user.is_some(), CatalogKind::Metastore),
            ("framed", self.framed, CatalogKind::Metastore),
        ] {
            if is_set && of != kind {
                let name = if of == CatalogKind::Rest { "REST catalog" } else { "metastore" };
                let problem = format!("has an effect only with a {name}: remove it");
                return invalid(setting, problem);
            }
        }
        Ok(())
    }

    /// Returns the entry of the table in a metastore.
    pub(super) fn entry(
        &self,
        name: &TableName,
        proxy_user: Option<&str>,
        cx: &BuildContext,
    ) -> Result<Reach, BuildError> {
        let [database] = &*name.namespace else {
            return invalid("table", "must be a database and a table, such as `logs.web`");
        };
        if ![database, &name.table].into_iter().all(|name| is_name(name)) {
            let problem = "must be a database and a table of 1 to 128 letters, digits and `_`, \
                           such as `logs.web`";
            return invalid("table", problem);
        }
        if self.timeout.0.is_zero() {
            return invalid("timeout", "must be greater than 0");
        }
        let places = Places {
            addresses: addresses(&self.catalog).or_else(|problem| invalid("catalog", problem))?,
            framed: self.framed,
            user: self.user.clone().or_else(|| proxy_user.map(str::to_owned)),
            timeout: self.timeout.0,
            names: SettingNames::Iceberg,
        };
        let [database, table] = [database, &name.table].map(|name| name.to_ascii_lowercase());
        Ok(Reach::Metastore(Arc::new(TableEntry::new(cx.env.clone(), places, &database, &table))))
    }
}
