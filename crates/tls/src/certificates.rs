//! The certificates in a configuration, to report their expiry.
//!
//! A certificate is found by its settings: each table with `certificate` and `key`, or with
//! `keystore`, at any depth. This covers all components, including those whose clients read the
//! files themselves.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pipeline::Secret;
use pipeline::env::Disk;
use pipeline::settings::{Settings, Value};

use crate::material::IdentityFiles;
use crate::validity::OwnCertificate;
use crate::watched::{Stamp, stamp};

/// Settings of librdkafka, in a table of properties.
const KAFKA: (&str, &str) = ("ssl.certificate.location", "ssl.keystore.location");

/// A file with a certificate that this agent shows.
#[derive(Debug)]
pub struct CertificateFile {
    files: IdentityFiles,
    /// The result for this state of the file.
    read: Mutex<Option<(Stamp, Option<OwnCertificate>)>>,
}

impl CertificateFile {
    /// Returns the certificates in these settings, at any depth.
    pub fn all_in(settings: &Settings) -> Vec<Self> {
        let mut all = Vec::new();
        find(settings, &mut all);
        all.into_iter().map(|files| Self { files, read: Mutex::new(None) }).collect()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Returns the certificate in the file; `None` if it cannot be read. An unchanged file is not
    /// read again. Blocks.
    pub fn read(&self, disk: &dyn Disk) -> Option<OwnCertificate> {
        // Each change is whole.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(disk, self.files.path());
        if let Some((seen, own)) = &*read
            && *seen == now
            && own.is_some()
        {
            return own.clone();
        }
        let own = self.files.own_in(disk);
        *read = Some((now, own.clone()));
        own
    }
}

fn find(settings: &Settings, all: &mut Vec<IdentityFiles>) {
    match &settings.value {
        Value::Table(entries) => {
            let text = |name: &str| match &settings.get(name)?.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            };
            let path = |name: &str| text(name).map(PathBuf::from);
            if let (Some(certificate), Some(key)) = (path("certificate"), path("key")) {
                all.push(IdentityFiles::Pem { certificate, key });
            }
            let password = text("keystore_password").or_else(|| text("ssl.keystore.password"));
            if let (Some(path), Some(password)) =
                (path("keystore").or_else(|| path(KAFKA.1)), password.map(Secret::from))
            {
                all.push(IdentityFiles::Keystore { path, password });
            }
            if let Some(certificate) = path(KAFKA.0) {
                all.push(IdentityFiles::Pem { key: certificate.clone(), certificate });
            }
            entries.iter().for_each(|(_, value)| find(value, all));
        }
        Value::List(items) => items.iter().for_each(|item| find(item, all)),
        Value::Text(_) | Value::Flag(_) | Value::Integer(_) | Value::Float(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn material(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material").join(name)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "as an operator replaces a file")]
    fn certificates_are_found_at_any_depth_and_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.pem");
        let env = env::real();
        let place = |name: &str| std::fs::copy(material(name), &path).unwrap();
        place("client.pem");
        let settings = Settings::from_json(&json!({
            "tls": { "certificate": path, "key": material("client.key.pem"), "ca": "ca.pem" },
            "ways": [{ "broker": { "tls": {
                "keystore": material("keystore.jks"), "keystore_password": "changeit",
            } } }],
            "properties": { "ssl.certificate.location": material("stranger.pem") },
            "certificate": "no key",
        }));
        let all = CertificateFile::all_in(&settings);
        let paths: Vec<&Path> = all.iter().map(CertificateFile::path).collect();
        let (jks, stranger) = (material("keystore.jks"), material("stranger.pem"));
        assert_eq!(paths, [&*path, &*jks, &*stranger]);
        let subject = |at: usize| all[at].read(&*env.disk).and_then(|own| own.subject);
        assert_eq!(subject(0).as_deref(), Some("client.example"));
        assert_eq!(subject(1).as_deref(), Some("localhost"));
        assert_eq!(subject(2).as_deref(), Some("client.example"));
        assert!(all[0].read(&*env.disk).unwrap().expires > 4_000_000_000);
        // A file is replaced, missing, and restored.
        place("server.pem");
        assert_eq!(subject(0).as_deref(), Some("localhost"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(subject(0), None);
        place("elsewhere.pem");
        assert_eq!(subject(0).as_deref(), Some("elsewhere.example"));
    }
}
