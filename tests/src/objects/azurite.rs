//! A server of Azure containers: Microsoft's Azurite. It checks signatures, and supports
//! `If-None-Match: *` for blobs and block lists. It keeps everything in memory.

use std::net::SocketAddr;
use std::path::Path;

use super::{BUCKET, Server, content, request, texts, until_made};
use crate::http;
use crate::node::Package;
use crate::process::Process;

/// The packages to install, with all checksums.
const PACKAGE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/azurite/package.json"));
const LOCK: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/azurite/package-lock.json"));

/// The default account of Azurite, and its key, which is not secret.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// A signature with that key, valid until 2099.
const SAS_TOKEN: &str = "sv=2020-12-06&ss=b&srt=sco&spr=https%2Chttp&se=2099-01-01T00%3A00%3A00Z\
                         &sp=racwdl&sig=BDnyrQ06zizwQVC7hmu2kFiiCWI9oX%2Bic%2BgGCmBckHk%3D";

/// A running server. Killed on drop.
#[derive(Debug)]
pub struct Azurite {
    address: SocketAddr,
    _process: Process,
}

impl Azurite {
    /// Returns its URL, which contains the account, as in emulators.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// Returns the key of the account.
    pub fn account_key(&self) -> &'static str {
        ACCOUNT_KEY
    }

    /// Creates an object that represents a directory, as in containers with directories.
    ///
    /// # Panics
    /// When the server rejects it.
    pub fn make_directory(&self, key: &str) {
        let path = format!("/{ACCOUNT}/{BUCKET}/{key}?{SAS_TOKEN}");
        let headers = "x-ms-blob-type: BlockBlob\r\nx-ms-meta-hdi_isfolder: true\r\n";
        let (status, body) =
            request(self.address, "PUT", &path, headers, "").expect("the server answers");
        assert_eq!(status, 201, "{body}");
    }

    /// Returns a shared access signature.
    pub fn sas_token(&self) -> &'static str {
        SAS_TOKEN
    }
}

impl Server for Azurite {
    fn start(dir: &Path) -> Self {
        let (address, package) =
            (http::free_address(), Package::installed("azurite", PACKAGE, LOCK));
        let mut command = package.node();
        command.arg(package.modules.join(".bin/azurite-blob"));
        command.args(["--blobHost", "127.0.0.1", "--inMemoryPersistence"]);
        command.args(["--blobPort", &address.port().to_string(), "--skipApiVersionCheck"]);
        command.args(["--silent", "--disableTelemetry"]).current_dir(dir);
        let mut process = Process::start("azurite", command, &dir.join("azurite.out"));
        let path = format!("/{ACCOUNT}/{BUCKET}?restype=container&{SAS_TOKEN}");
        until_made(&mut process, address, ("PUT", &path, ""));
        Self { address, _process: process }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(path: &str) -> String {
        format!("abfss://{BUCKET}@{ACCOUNT}.dfs.core.windows.net/{path}")
    }

    fn settings(&self) -> String {
        let endpoint = self.endpoint();
        format!("azure = {{ endpoint = \"{endpoint}\", account_key = \"{ACCOUNT_KEY}\" }}")
    }

    /// Uses the signature instead of the key, so that both are tested.
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ENDPOINT", self.endpoint()),
            ("AZURE_STORAGE_SAS_TOKEN", SAS_TOKEN.into()),
        ]
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let path =
            format!("/{ACCOUNT}/{BUCKET}?restype=container&comp=list&prefix={prefix}&{SAS_TOKEN}");
        let answer = request(self.address, "GET", &path, "", "");
        let (status, page) = answer.expect("the server answers");
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("<NextMarker/>"), "a page holds 5,000 names: {page}");
        texts(&page, "Name")
    }

    fn read(&self, key: &str) -> String {
        content(self.address, &format!("/{ACCOUNT}/{BUCKET}/{key}?{SAS_TOKEN}"), "")
    }
}
