//! A server of S3: moto. It keeps the guarantee that commits depend on: of several puts of one name
//! with `If-None-Match: *`, only one succeeds, and the same holds for completed uploads. (S3Mock
//! 5.2.0 accepts several, and is unusable here.) It does not check signatures, and keeps everything
//! in memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{BUCKET, Server, content, request, texts, until_made};
use crate::http;
use crate::process::Process;
use crate::python::environment;

/// The packages to install.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/s3/requirements.txt"));

/// A request without a signature may not read; its content is not checked.
const SIGNATURE: &str = "Authorization: AWS4-HMAC-SHA256 \
                         Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
                         Signature=0\r\n";

/// A running server. Killed on drop.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    _process: Process,
}

impl S3 {
    /// Returns its URL, without a bucket.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl S3 {
    /// Puts an object whose key is this path.
    ///
    /// # Panics
    /// When the server rejects it.
    pub fn put(&self, key: &str, body: &str) {
        let path = format!("/{BUCKET}/{key}");
        let asked = request(self.address, "PUT", &path, SIGNATURE, body);
        let (status, answer) = asked.expect("the server answers");
        assert_eq!(status, 200, "{answer}");
    }

    /// Returns the incomplete uploads.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn unfinished(&self) -> Vec<String> {
        let path = format!("/{BUCKET}?uploads");
        let asked = request(self.address, "GET", &path, SIGNATURE, "");
        let (status, page) = asked.expect("the server answers");
        assert_eq!(status, 200, "{page}");
        texts(&page, "UploadId")
    }
}

impl Server for S3 {
    fn start(dir: &Path) -> Self {
        let address = http::free_address();
        let mut command = Command::new(environment("moto", REQUIREMENTS).join("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let mut process = Process::start("moto", command, &dir.join("moto.out"));
        until_made(&mut process, address, ("PUT", &format!("/{BUCKET}"), ""));
        Self { address, _process: process }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(path: &str) -> String {
        format!("s3://{BUCKET}/{path}")
    }

    fn settings(&self) -> String {
        let endpoint = self.endpoint();
        format!(
            "s3 = {{ endpoint = \"{endpoint}\", access_key = \"key\", secret_key = \"secret\" }}"
        )
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
        ]
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let (mut keys, mut from) = (Vec::new(), String::new());
        loop {
            let path = format!("/{BUCKET}?list-type=2&prefix={prefix}{from}");
            let (status, page) =
                request(self.address, "GET", &path, "", "").expect("the server answers");
            assert_eq!(status, 200, "{page}");
            keys.extend(texts(&page, "Key"));
            if !page.contains("<IsTruncated>true") {
                return keys;
            }
            from = format!("&start-after={}", keys.last().expect("a page that has a next one"));
        }
    }

    fn read(&self, key: &str) -> String {
        content(self.address, &format!("/{BUCKET}/{key}"), SIGNATURE)
    }
}
