//! How an HDFS is reached: with which configuration, as which user, and with which rights on what
//! is made there.

use std::path::Path;

use crypto::Outside;
use pipeline::Env;
use pipeline::env::OpenMode;

use crate::FsError;

/// The files of a Hadoop configuration that are read.
const SITE_FILES: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];

/// The variable that names a file of delegation tokens.
const TOKENS: &str = "HADOOP_TOKEN_FILE_LOCATION";

/// Rights of what is made unless set: the owner writes, the group reads.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// How an HDFS is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HdfsAccess {
    /// Directory with `core-site.xml` and `hdfs-site.xml`; `None` leaves it to `HADOOP_CONF_DIR`.
    pub conf_dir: Option<String>,
    /// The identity that is shown to Kerberos; `None` leaves it to the ticket cache of the process,
    /// or to the keytab that `KRB5_CLIENT_KTNAME` names.
    pub login: Option<Login>,
    /// User that the files belong to, where it is not the one that logs in.
    pub proxy_user: Option<String>,
    /// Rights of a new file, as `0o640`.
    pub file_mode: u32,
    /// Rights of a new directory, as `0o750`.
    pub directory_mode: u32,
}

/// A principal of Kerberos with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The principal, as `aqueduct@EXAMPLE.COM`; `_HOST` in it stands for the name of this host.
    pub principal: String,
    /// File with its key.
    pub keytab: String,
}

impl Default for HdfsAccess {
    fn default() -> Self {
        Self {
            conf_dir: None,
            login: None,
            proxy_user: None,
            file_mode: FILE_MODE,
            directory_mode: DIRECTORY_MODE,
        }
    }
}

impl Login {
    /// The principal on this host. As with Hadoop, `_HOST` becomes its name in lower case.
    pub(super) fn principal_on(&self, host: &str) -> String {
        self.principal.replace("/_HOST@", &format!("/{}@", host.to_lowercase()))
    }

    /// The ticket cache of this identity, in memory. It has a name of its own so that sinks of
    /// different principals have nothing in common, and so that a client that is made anew finds
    /// the tickets of the one before it.
    pub(super) fn cache(&self, principal: &str) -> String {
        format!("MEMORY:aqueduct {principal} {}", self.keytab)
    }
}

impl HdfsAccess {
    /// Finds the mistakes that the client would pass over: it takes a directory without site files
    /// for an empty configuration, and learns of a missing keytab from Kerberos alone.
    ///
    /// # Errors
    /// A file or directory that a setting names cannot be used.
    pub(super) fn examine(&self, url: &str, env: &Env) -> Result<(), FsError> {
        let unusable = |problem: String| Err(FsError::Unusable { url: url.into(), problem });
        if let Some(dir) = &self.conf_dir {
            let there = |name: &&str| env.disk.stat(&Path::new(dir).join(name)).is_ok();
            if !SITE_FILES.iter().any(there) {
                return unusable(format!(
                    "setting `conf_dir`: {dir} has neither core-site.xml nor hdfs-site.xml; name \
                     the directory of Hadoop's configuration, such as /etc/hadoop/conf"
                ));
            }
        }
        if let Some(login) = &self.login {
            let keytab = Path::new(&login.keytab);
            let opened = env.disk.open(keytab, OpenMode::default());
            if let Err(error) = opened {
                return unusable(format!(
                    "setting `kerberos.keytab`: {}: {error}; it has to be there and readable for \
                     the user of this process",
                    login.keytab
                ));
            }
        }
        if env.blocking.variable(TOKENS).is_some()
            && let Err(refused) = crypto::allow(Outside::HdfsDigest)
        {
            return unusable(format!("the variable {TOKENS}: {refused}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_principal_is_this_one_in_lower_case() {
        let login = |principal: &str| Login { principal: principal.into(), keytab: "/k".into() };
        let on = |principal: &str| login(principal).principal_on("C1.Example.com");
        assert_eq!(on("flume/_HOST@EXAMPLE.COM"), "flume/c1.example.com@EXAMPLE.COM");
        assert_eq!(on("flume@EXAMPLE.COM"), "flume@EXAMPLE.COM");
    }

    #[test]
    fn two_identities_have_two_caches() {
        let login = |keytab: &str| Login { principal: "a@B".into(), keytab: keytab.into() };
        let (one, other) = (login("/1").cache("a@B"), login("/2").cache("a@B"));
        assert_ne!(one, other);
        assert_ne!(one, login("/1").cache("b@B"));
    }

    #[test]
    fn a_wrong_file_is_named_with_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().display().to_string();
        let access = HdfsAccess { conf_dir: Some(dir.clone()), ..HdfsAccess::default() };
        let said = |access: &HdfsAccess| {
            access.examine("hdfs://cluster", &env::real()).unwrap_err().to_string()
        };
        let text = said(&access);
        assert!(text.contains("`conf_dir`") && text.contains(&dir), "{text}");
        let keytab = format!("{dir}/none.keytab");
        let login = Login { principal: "a@B".into(), keytab: keytab.clone() };
        let text = said(&HdfsAccess { login: Some(login), ..HdfsAccess::default() });
        assert!(text.contains("`kerberos.keytab`") && text.contains(&keytab), "{text}");
    }
}
