//! Creates the registration of partitions from the settings `hive`.

use std::sync::Arc;

use formats::format::Format;
use pipeline::{BuildContext, BuildError};
use storage::StoreUrl;

use super::super::Config;
use super::super::bucket::Rules;
use super::super::config::Promise;
use super::super::settings::Registration;
use super::invalid;
use crate::hive::{Keys, Metastore, Places, SettingNames};

impl Config {
    /// Returns the registration settings.
    pub(in crate::hdfs) fn registration(
        &self,
        url: &StoreUrl,
        rules: &Rules,
        format: &Format,
        cx: &BuildContext,
    ) -> Result<Option<Registration>, BuildError> {
        let Some(hive) = &self.hive else { return Ok(None) };
        if self.guarantee != Promise::ExactlyOnce {
            let problem = "needs the commit ledger, which records directories with files: remove \
                           this setting, or remove `guarantee`";
            return invalid("", problem);
        }
        let keys = match Keys::from_folders(&rules.template.folders()) {
            Ok(keys) => keys,
            Err(problem) => return invalid("", problem),
        };
        let spec = hive.spec(url, rules.template.prefix(), keys, format)?;
        let places = Places {
            addresses: hive.addresses()?,
            framed: hive.framed,
            user: hive.user.clone().or_else(|| self.proxy_user.clone()),
            timeout: hive.timeout.0,
            names: SettingNames::Hive,
        };
        let scope = cx.scope::<Self>();
        Ok(Some(Registration {
            table: spec.name(),
            keys: spec.keys.clone(),
            registry: Arc::new(Metastore::new(cx.env.clone(), places, spec)),
            added: scope.counter("registered_partitions")?,
            failed: scope.counter("failed_registrations")?,
            due: scope.gauge("unregistered_partitions")?,
            noted: Default::default(),
            news: Default::default(),
        }))
    }
}
