//! The settings of how an HDFS is reached, checked without it.

use pipeline::BuildError;
use storage::StoreUrl;
use storage::hdfs::{HdfsAccess, Login};

use super::Config;

impl Config {
    /// How the store at `url` is reached.
    ///
    /// # Errors
    /// A mode is none, a principal has no realm, or a setting has no effect on this store.
    pub(super) fn access(&self, url: &StoreUrl) -> Result<HdfsAccess, BuildError> {
        let login = self
            .kerberos
            .as_ref()
            .map(|it| Login { principal: it.principal.clone(), keytab: it.keytab.clone() });
        if login.as_ref().is_some_and(|login| !is_principal(&login.principal)) {
            let problem = "write it with its realm, as aqueduct@EXAMPLE.COM or \
                           aqueduct/_HOST@EXAMPLE.COM";
            return Err(BuildError::invalid("kerberos.principal", problem));
        }
        let access = HdfsAccess {
            conf_dir: self.conf_dir.clone(),
            login,
            proxy_user: self.proxy_user.clone(),
            file_mode: mode("file_mode", &self.file_mode, 0o600)?,
            directory_mode: mode("directory_mode", &self.directory_mode, 0o700)?,
        };
        let unset = HdfsAccess::default();
        let set = [
            ("conf_dir", access.conf_dir != unset.conf_dir),
            ("kerberos", access.login != unset.login),
            ("proxy_user", access.proxy_user != unset.proxy_user),
            ("file_mode", access.file_mode != unset.file_mode),
            ("directory_mode", access.directory_mode != unset.directory_mode),
        ];
        match set.iter().find(|(_, is_set)| *is_set && url.is_local()) {
            Some((setting, _)) => {
                let problem = "it has no effect on a `file://` store: the user and the umask of \
                               this process count there; remove it, or set an hdfs:// `url`";
                Err(BuildError::invalid(*setting, problem))
            }
            None => Ok(access),
        }
    }
}

fn is_principal(text: &str) -> bool {
    let (name, realm) = text.rsplit_once('@').unwrap_or_default();
    !name.is_empty() && !realm.is_empty() && !text.contains(char::is_whitespace)
}

/// The rights that `text` names in octal digits; the owner needs those of `owner`.
fn mode(setting: &str, text: &str, owner: u32) -> Result<u32, BuildError> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    let Some(mode) = mode else {
        let problem = format!("`{text}` is none; write three octal digits, as in \"644\"");
        return Err(BuildError::invalid(setting, problem));
    };
    if mode & owner != owner {
        let problem = format!(
            "with `{text}` the sink could not read and write what it made itself; its owner needs \
             {owner:o} at least"
        );
        return Err(BuildError::invalid(setting, problem));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use pipeline::Settings;
    use serde_json::{Value, json};

    use super::*;

    fn access(url: &str, settings: &Value) -> Result<HdfsAccess, String> {
        let mut all = json!({ "url": url });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let config: Config = Settings::from_json(&all).read().unwrap();
        config.access(&StoreUrl::parse(url).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_set_is_how_the_store_is_reached() {
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
    fn what_cannot_be_meant_is_refused_with_its_setting() {
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
}
