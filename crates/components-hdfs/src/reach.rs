//! Access settings of a store, for the source and the sink: validated without the store.

use pipeline::{BuildContext, BuildError};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::StoreUrl;
use storage::hdfs::{HdfsAccess, Login};

use crate::hdfs::store::Access;

/// The identity that is shown to a cluster with Kerberos.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KerberosConfig {
    /// Principal; `_HOST` in it is replaced by the name of this host.
    pub(crate) principal: String,
    /// File with the key of the principal, readable for the user of this process.
    pub(crate) keytab: String,
}

/// Settings that only apply to HDFS.
const ALL: &[&str] = &["conf_dir", "kerberos", "proxy_user", "file_mode", "directory_mode"];

/// Settings of a store, except its URL.
pub(crate) struct Reach<'a> {
    pub(crate) conf_dir: Option<&'a str>,
    pub(crate) kerberos: Option<&'a KerberosConfig>,
    pub(crate) proxy_user: Option<&'a str>,
    /// Modes of new files and directories.
    pub(crate) modes: (u32, u32),
    #[cfg_attr(
        not(any(feature = "objects", feature = "webhdfs")),
        expect(dead_code, reason = "other stores need one of these features")
    )]
    pub(crate) others: &'a OtherStores,
}

/// The settings of other stores than HDFS by its own protocol. A component reads them as a part of
/// its own ([`PART`](pipeline::settings::PART)).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherStores {
    /// Access to the bucket of an `s3://` URL. Ignored for other URLs.
    #[cfg(feature = "objects")]
    #[serde(default)]
    s3: Option<storage_objects::S3>,
    /// Access to the bucket of a `gs://` URL. Ignored for other URLs.
    #[cfg(feature = "objects")]
    #[serde(default)]
    gcs: Option<storage_objects::Gcs>,
    /// Access to the container of an `abfs://` or `abfss://` URL. Ignored for other URLs.
    #[cfg(feature = "objects")]
    #[serde(default)]
    azure: Option<storage_objects::Azure>,
    /// Access to the HDFS of a `webhdfs://` or `swebhdfs://` URL. Ignored for other URLs.
    #[cfg(feature = "webhdfs")]
    #[serde(default)]
    webhdfs: Option<storage_webhdfs::Access>,
}

/// Builds a [`Reach`] from settings with the same fields, except the modes.
macro_rules! reach_of {
    ($settings:expr, $modes:expr) => {
        $crate::reach::Reach {
            conf_dir: $settings.conf_dir.as_deref(),
            kerberos: $settings.kerberos.as_ref(),
            proxy_user: $settings.proxy_user.as_deref(),
            modes: $modes,
            others: &$settings.others,
        }
    };
}

pub(crate) use reach_of;

impl Reach<'_> {
    /// Returns the access settings for the store at `url`.
    ///
    /// # Errors
    /// A principal has no realm, or a setting has no effect on this store.
    pub(crate) fn access(&self, url: &StoreUrl) -> Result<Access, BuildError> {
        let login = self
            .kerberos
            .map(|it| Login { principal: it.principal.clone(), keytab: it.keytab.clone() });
        if login.as_ref().is_some_and(|login| !is_principal(&login.principal)) {
            let problem =
                "must include the realm, as in aqueduct@EXAMPLE.COM or aqueduct/_HOST@EXAMPLE.COM";
            return Err(BuildError::invalid("kerberos.principal", problem));
        }
        let access = HdfsAccess {
            conf_dir: self.conf_dir.map(str::to_owned),
            login,
            proxy_user: self.proxy_user.map(str::to_owned),
            file_mode: self.modes.0,
            directory_mode: self.modes.1,
        };
        let unset = HdfsAccess::default();
        let set = [
            ("conf_dir", access.conf_dir != unset.conf_dir),
            ("kerberos", access.login != unset.login),
            ("proxy_user", access.proxy_user != unset.proxy_user),
            ("file_mode", access.file_mode != unset.file_mode),
            ("directory_mode", access.directory_mode != unset.directory_mode),
        ];
        let (passed_over, counts): (&[&str], _) = match url.scheme() {
            "file" => (ALL, "files belong to the user of this process and its umask applies"),
            "s3" | "gs" | "abfs" | "abfss" => {
                (ALL, "access depends on the credentials of the bucket")
            }
            "webhdfs" | "swebhdfs" => (
                &["conf_dir", "kerberos"],
                "over HTTP the user name is sent without authentication",
            ),
            _ => (&[], ""),
        };
        let of_no_effect = |it: &&(&str, bool)| it.1 && passed_over.contains(&it.0);
        if let Some((setting, _)) = set.iter().find(of_no_effect) {
            let scheme = url.scheme();
            let problem = format!(
                "has no effect on a `{scheme}://` store: {counts}; remove it, or set an hdfs:// \
                 `url`"
            );
            return Err(BuildError::invalid(*setting, problem));
        }
        Ok(Access {
            hdfs: access,
            #[cfg(feature = "objects")]
            objects: self.objects()?,
            #[cfg(feature = "webhdfs")]
            webhdfs: self.by_http(url)?,
        })
    }

    /// Reports stores that use plain HTTP. The protection of `hdfs://` depends on the cluster, and
    /// is only known after connecting.
    pub(crate) fn name_plain_text(&self, url: &StoreUrl, cx: &BuildContext) {
        if url.scheme() == "webhdfs" {
            cx.plain_text.speaks("url", url.authority(), "write `swebhdfs://`");
        }
        #[cfg(feature = "objects")]
        if let Some((setting, server)) = self.buckets().plain_text(url.scheme()) {
            cx.plain_text.speaks(setting, server, "write `https://`");
        }
    }

    /// Returns the access settings for HDFS over HTTP.
    ///
    /// # Errors
    /// TLS is set for a URL without it.
    #[cfg(feature = "webhdfs")]
    fn by_http(&self, url: &StoreUrl) -> Result<storage_webhdfs::Access, BuildError> {
        let access = self.others.webhdfs.clone().unwrap_or_default();
        if access.tls.is_some() && url.scheme() == "webhdfs" {
            let problem = "has no effect on a `webhdfs://` store; write `swebhdfs://` in `url`";
            return Err(BuildError::invalid("webhdfs.tls", problem));
        }
        Ok(access)
    }

    /// Returns the access settings for buckets. The environment provides missing ones.
    #[cfg(feature = "objects")]
    fn buckets(&self) -> storage_objects::Access {
        storage_objects::Access {
            s3: self.others.s3.clone().unwrap_or_default(),
            gcs: self.others.gcs.clone().unwrap_or_default(),
            azure: self.others.azure.clone().unwrap_or_default(),
        }
    }

    /// Same, validated.
    ///
    /// # Errors
    /// Settings conflict.
    #[cfg(feature = "objects")]
    fn objects(&self) -> Result<storage_objects::Access, BuildError> {
        let access = self.buckets();
        access.check().map_err(|(table, (setting, problem))| {
            BuildError::invalid(format!("{table}.{setting}"), problem)
        })?;
        Ok(access)
    }
}

fn is_principal(text: &str) -> bool {
    let (name, realm) = text.rsplit_once('@').unwrap_or_default();
    !name.is_empty() && !realm.is_empty() && !text.contains(char::is_whitespace)
}
