//! The access settings of a store, validated without the store.

#[cfg(feature = "objects")]
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError};
use storage::StoreUrl;

use super::Config;
use super::store::Access;
use crate::reach::{Reach, reach_of};

impl Config {
    fn reach(&self) -> Result<Reach<'_>, BuildError> {
        let file_mode = mode("file_mode", &self.file_mode, 0o600)?;
        let directory_mode = mode("directory_mode", &self.directory_mode, 0o700)?;
        Ok(reach_of!(self, (file_mode, directory_mode)))
    }

    /// Returns the access settings for the store at `url`.
    ///
    /// # Errors
    /// A mode is invalid, a principal has no realm, or a setting has no effect on this store.
    pub(super) fn access(&self, url: &StoreUrl, cx: &BuildContext) -> Result<Access, BuildError> {
        let reach = self.reach()?;
        let access = reach.access(url)?;
        #[cfg(feature = "objects")]
        self.check_bucket(url)?;
        reach.name_plain_text(url, cx);
        Ok(access)
    }

    /// # Errors
    /// A setting does not apply to buckets.
    #[cfg(feature = "objects")]
    fn check_bucket(&self, url: &StoreUrl) -> Result<(), BuildError> {
        if !storage_objects::is_bucket(url.scheme()) {
            return Ok(());
        }
        let is_large = |size: ByteSize| size.0 > storage_objects::OBJECT_BYTES_MAX;
        let problem = if self.roll.size_max.is_some_and(is_large) {
            ("roll.size_max", "must be at most 5GiB, the limit for a file in a bucket")
        } else if self.block_size.is_some() {
            ("block_size", "does not apply to a bucket, which has no blocks; remove it")
        } else if self.replication.is_some() {
            ("replication", "does not apply to a bucket, which does its own replication; remove it")
        } else {
            return Ok(());
        };
        Err(BuildError::invalid(problem.0, problem.1))
    }
}

/// Parses a mode in octal digits. The owner needs the rights `owner`.
///
/// # Errors
/// The mode is invalid, or lacks a right.
pub(crate) fn mode(setting: &str, text: &str, owner: u32) -> Result<u32, BuildError> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    let Some(mode) = mode else {
        let problem =
            format!("`{text}` is not a file mode; write three octal digits, as in \"644\"");
        return Err(BuildError::invalid(setting, problem));
    };
    if mode & owner != owner {
        let problem = format!(
            "with `{text}` the sink cannot read and write its own files; the owner needs at least \
             {owner:o}"
        );
        return Err(BuildError::invalid(setting, problem));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use pipeline::Settings;
    use serde_json::{Value, json};
    use storage::hdfs::{HdfsAccess, Login};

    use super::*;

    fn access(url: &str, settings: &Value) -> Result<HdfsAccess, String> {
        let mut all = json!({ "url": url });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let config: Config = Settings::from_json(&all).read().unwrap();
        let cx = BuildContext::alone("k", "/d".as_ref(), env::real());
        let access = config.access(&StoreUrl::parse(url).unwrap(), &cx);
        access.map(|access| access.hdfs).map_err(|error| error.to_string())
    }

    #[test]
    fn stores_behind_plain_http_are_named_and_no_others() {
        let named = |url: &str, tables: &Value| {
            let mut all = json!({ "url": url });
            all.as_object_mut().unwrap().extend(tables.as_object().unwrap().clone());
            let config: Config = Settings::from_json(&all).read().unwrap();
            let cx = BuildContext::alone("k", "/d".as_ref(), env::real());
            config.access(&StoreUrl::parse(url).unwrap(), &cx).unwrap();
            cx.plain_text.all().into_iter().map(|it| it.setting).collect::<Vec<_>>()
        };
        for url in ["hdfs://nn:8020/logs", "swebhdfs://nn:9871/logs", "file:///logs"] {
            assert!(named(url, &json!({})).is_empty(), "{url}");
        }
        assert_eq!(named("webhdfs://nn:9870/logs", &json!({})), ["url"]);
        #[cfg(feature = "objects")]
        for (table, url) in [
            ("s3", "s3://b/logs"),
            ("gcs", "gs://b/logs"),
            ("azure", "abfss://c@a.dfs.core.windows.net/logs"),
        ] {
            let named = |endpoint| named(url, &json!({ table: { "endpoint": endpoint } }));
            assert_eq!(named("http://local:9000"), [format!("{table}.endpoint")]);
            assert!(named("https://local:9000").is_empty(), "{table}");
        }
    }

    #[test]
    fn settings_determine_the_access_to_the_store() {
        assert_eq!(access("hdfs://nn:8020/logs", &json!({})), Ok(HdfsAccess::default()));
        let settings = json!({
            "kerberos": { "principal": "aqueduct/_HOST@EXAMPLE.COM", "keytab": "/k" },
            "proxy_user": "logs", "conf_dir": "/etc/hadoop/conf",
            "file_mode": "0644", "directory_mode": "755",
        });
        let login = Login { principal: "aqueduct/_HOST@EXAMPLE.COM".into(), keytab: "/k".into() };
        let wanted = HdfsAccess {
            conf_dir: Some("/etc/hadoop/conf".into()),
            login: Some(login),
            proxy_user: Some("logs".into()),
            file_mode: 0o644,
            directory_mode: 0o755,
        };
        assert_eq!(access("hdfs://cluster/logs", &settings), Ok(wanted));
    }

    #[test]
    fn rejects_contradicting_access_settings() {
        let url = "hdfs://nn:8020/logs";
        for (setting, settings) in [
            ("file_mode", json!({ "file_mode": "888" })),
            ("file_mode", json!({ "file_mode": "+44" })),
            ("file_mode", json!({ "file_mode": "444" })),
            ("directory_mode", json!({ "directory_mode": "640" })),
            ("directory_mode", json!({ "directory_mode": "1777" })),
            ("kerberos.principal", json!({ "kerberos": { "principal": "me", "keytab": "/k" } })),
        ] {
            let problem = access(url, &settings).unwrap_err();
            assert!(problem.contains(setting), "{problem}");
        }
        let problem = access("file:///logs", &json!({ "proxy_user": "logs" })).unwrap_err();
        assert!(problem.contains("proxy_user") && problem.contains("file://"), "{problem}");
    }

    #[cfg(feature = "webhdfs")]
    #[test]
    fn rejects_settings_that_http_does_not_support() {
        let url = "webhdfs://nn:9870/logs";
        let settings = json!({ "proxy_user": "logs", "file_mode": "644", "replication": 2 });
        let taken = access(url, &settings).unwrap();
        assert_eq!((taken.proxy_user.as_deref(), taken.file_mode), (Some("logs"), 0o644));
        for (setting, settings) in [
            ("conf_dir", json!({ "conf_dir": "/etc/hadoop/conf" })),
            ("kerberos", json!({ "kerberos": { "principal": "a@B", "keytab": "/k" } })),
            ("webhdfs.tls", json!({ "webhdfs": { "tls": {} } })),
        ] {
            let problem = access(url, &settings).unwrap_err();
            assert!(problem.contains(setting), "{problem}");
        }
        let tls = json!({ "webhdfs": { "tls": {} } });
        assert!(access("swebhdfs://nn:9871/logs", &tls).is_ok());
    }

    #[cfg(feature = "objects")]
    #[test]
    fn rejects_settings_that_buckets_do_not_support() {
        let urls = ["s3://bucket/logs", "gs://bucket/logs", "abfss://c@a.dfs.x.net/logs"];
        for url in urls {
            assert_eq!(access(url, &json!({})), Ok(HdfsAccess::default()));
        }
        for (setting, settings) in [
            ("conf_dir", json!({ "conf_dir": "/etc/hadoop/conf" })),
            ("s3.secret_key", json!({ "s3": { "access_key": "key" } })),
            ("s3.endpoint", json!({ "s3": { "endpoint": "minio:9000" } })),
            ("gcs.endpoint", json!({ "gcs": { "endpoint": "localhost:4443" } })),
            ("azure.tenant_id", json!({ "azure": { "client_id": "a", "client_secret": "b" } })),
            ("roll.size_max", json!({ "roll": { "size_max": "6GiB" } })),
            ("block_size", json!({ "block_size": "64MiB" })),
            ("replication", json!({ "replication": 2 })),
        ] {
            for url in urls {
                let problem = access(url, &settings).unwrap_err();
                assert!(problem.contains(setting), "{problem}");
            }
        }
    }
}
