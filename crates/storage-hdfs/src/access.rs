//! Checks of the access to an HDFS, and the names that Kerberos gets.

use std::path::Path;

use crypto::Outside;
use pipeline::Env;
use pipeline::env::OpenMode;
use storage::FsError;
use storage::hdfs::{HdfsAccess, Login};

/// The files of a Hadoop configuration that are read.
const SITE_FILES: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];

/// The variable that names a file of delegation tokens.
const TOKENS: &str = "HADOOP_TOKEN_FILE_LOCATION";

/// The principal on this host. As with Hadoop, `_HOST` becomes its name in lower case.
pub(crate) fn principal_on(login: &Login, host: &str) -> String {
    login.principal.replace("/_HOST@", &format!("/{}@", host.to_lowercase()))
}

/// The name of this identity's ticket cache, in memory. It is unique, so that sinks with different
/// principals share nothing, and a recreated client finds the tickets of its predecessor.
pub(crate) fn cache(login: &Login, principal: &str) -> String {
    format!("MEMORY:aqueduct {principal} {}", login.keytab)
}

/// Finds mistakes that the client ignores: it treats a directory without site files as an empty
/// configuration, and detects a missing keytab only through Kerberos.
///
/// # Errors
/// A file or directory in a setting cannot be used.
pub(crate) fn examine(access: &HdfsAccess, url: &str, env: &Env) -> Result<(), FsError> {
    let unusable = |problem: String| Err(FsError::Unusable { url: url.into(), problem });
    if let Some(dir) = &access.conf_dir {
        let there = |name: &&str| env.disk.stat(&Path::new(dir).join(name)).is_ok();
        if !SITE_FILES.iter().any(there) {
            return unusable(format!(
                "setting `conf_dir`: {dir} has neither core-site.xml nor hdfs-site.xml; set the \
                 directory of the Hadoop configuration, such as /etc/hadoop/conf"
            ));
        }
    }
    if let Some(login) = &access.login {
        let keytab = Path::new(&login.keytab);
        let opened = env.disk.open(keytab, OpenMode::default());
        if let Err(error) = opened {
            return unusable(format!(
                "setting `kerberos.keytab`: {}: {error}; the user of this process must be able to \
                 read it",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_principal_is_this_one_in_lower_case() {
        let login = |principal: &str| Login { principal: principal.into(), keytab: "/k".into() };
        let on = |principal: &str| principal_on(&login(principal), "C1.Example.com");
        assert_eq!(on("flume/_HOST@EXAMPLE.COM"), "flume/c1.example.com@EXAMPLE.COM");
        assert_eq!(on("flume@EXAMPLE.COM"), "flume@EXAMPLE.COM");
    }

    #[test]
    fn two_identities_have_two_caches() {
        let login = |keytab: &str| Login { principal: "a@B".into(), keytab: keytab.into() };
        let (one, other) = (cache(&login("/1"), "a@B"), cache(&login("/2"), "a@B"));
        assert_ne!(one, other);
        assert_ne!(one, cache(&login("/1"), "b@B"));
    }

    #[test]
    fn a_wrong_file_is_named_with_its_setting() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().display().to_string();
        let access = HdfsAccess { conf_dir: Some(dir.clone()), ..HdfsAccess::default() };
        let said = |access: &HdfsAccess| {
            examine(access, "hdfs://cluster", &env::real()).unwrap_err().to_string()
        };
        let text = said(&access);
        assert!(text.contains("`conf_dir`") && text.contains(&dir), "{text}");
        let keytab = format!("{dir}/none.keytab");
        let login = Login { principal: "a@B".into(), keytab: keytab.clone() };
        let text = said(&HdfsAccess { login: Some(login), ..HdfsAccess::default() });
        assert!(text.contains("`kerberos.keytab`") && text.contains(&keytab), "{text}");
    }
}
