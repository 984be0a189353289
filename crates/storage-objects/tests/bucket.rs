//! A bucket has the guarantees of a store, whatever happens to its answers.
//!
//! Method: real servers of S3, of Google's buckets and of Azure's containers, each in a separate
//! process, reached through a relay of these tests. The relay loses an answer, or the request, or
//! answers itself, or removes a condition; then the test asks the server for its contents.
//! `AQUEDUCT_TEST_S3=http://host:port` runs the suite of all stores on another server of S3
//! instead, in its bucket `logs`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a promise that fails is to stop the test, helpers included; openssl reads files"
)]

mod relay;

use std::net::SocketAddr;
use std::sync::Arc;

use aqueduct_storage_objects::{Access, Azure, Gcs as GcsAccess, S3 as S3Access, open};
use aqueduct_tests::objects::{Azurite, BUCKET, Gcs, S3, Server};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use pipeline::{Classify, ErrorClass};
use relay::{Mood, Relay};
use storage::conformance::keeps_the_promises;
use storage::{CreateOptions, FileSystem, FsError, StoreUrl};
use tempfile::TempDir;

/// Access to a server of each kind through an address.
trait Reached: Server + Send + 'static {
    fn access(&self, at: SocketAddr) -> Access;

    /// Access in which changes of a head by a relay are not detected.
    fn unsigned(&self, at: SocketAddr) -> Access {
        self.access(at)
    }
}

fn of_s3(endpoint: String) -> Access {
    let s3 = S3Access {
        endpoint: Some(endpoint),
        access_key: Some("key".into()),
        secret_key: Some("secret".to_owned().into()),
        ..S3Access::default()
    };
    Access { s3, ..Access::default() }
}

impl Reached for S3 {
    fn access(&self, at: SocketAddr) -> Access {
        of_s3(format!("http://{at}"))
    }
}

impl Reached for Gcs {
    fn access(&self, at: SocketAddr) -> Access {
        let key_file = Some(self.key_file().display().to_string());
        let gcs = GcsAccess { key_file, endpoint: Some(format!("http://{at}")), tls: None };
        Access { gcs, ..Access::default() }
    }
}

fn of_azure(azure: Azure, server: &Azurite, at: SocketAddr) -> Access {
    let own = server.address().to_string();
    let endpoint = Some(server.endpoint().replace(&own, &at.to_string()));
    Access { azure: Azure { endpoint, ..azure }, ..Access::default() }
}

impl Reached for Azurite {
    fn access(&self, at: SocketAddr) -> Access {
        let account_key = Some(self.account_key().to_owned().into());
        of_azure(Azure { account_key, ..Azure::default() }, self, at)
    }

    fn unsigned(&self, at: SocketAddr) -> Access {
        let sas_token = Some(self.sas_token().to_owned().into());
        of_azure(Azure { sas_token, ..Azure::default() }, self, at)
    }
}

/// A server, and the relay before it.
struct Site<S> {
    server: S,
    relay: Relay,
    _folder: TempDir,
}

impl<S: Reached> Site<S> {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || S::start(&path)).await.unwrap();
        let relay = Relay::before(server.address()).await;
        Self { server, relay, _folder: folder }
    }

    fn bucket(&self, access: &Access) -> Arc<dyn FileSystem> {
        bucket(&S::url("logs"), access)
    }

    /// The bucket, accessed through the relay.
    fn relayed(&self) -> Arc<dyn FileSystem> {
        self.bucket(&self.server.access(self.relay.address()))
    }
}

fn bucket(url: &str, access: &Access) -> Arc<dyn FileSystem> {
    open(&StoreUrl::parse(url).unwrap(), access, &env::real()).unwrap()
}

async fn put(fs: &dyn FileSystem, path: &str, content: Vec<u8>) -> Result<(), FsError> {
    let mut writer = fs.create(path, CreateOptions::default()).await?;
    writer.write(content.into()).await?;
    writer.close().await
}

/// Returns `true` if a request creates an object in one step.
fn is_put(head: &str) -> bool {
    let line = head.lines().next().unwrap_or_default();
    let of_uploads = ["uploads", "uploadId", "uploadType=resumable", "upload_id", "comp="];
    (line.starts_with("PUT") || line.starts_with("POST"))
        && !of_uploads.iter().any(|word| line.contains(word))
}

/// Returns `true` if a request ends an upload.
fn is_end(head: &str) -> bool {
    let line = head.lines().next().unwrap_or_default();
    line.contains("comp=blocklist")
        || line.starts_with("POST") && line.contains("uploadId=")
        || line.contains("upload_id=") && !head.contains("/*\r\n")
}

/// Returns `true` if a request has the condition of an upload.
fn has_condition_of_end(head: &str) -> bool {
    is_end(head) || head.starts_with("POST") && head.contains("uploadType=resumable")
}

/// One size that is put in one step, and one that is an upload of several parts.
async fn a_rename_whose_answer_is_lost_is_known_by_the_next_try<S: Reached>(site: &Site<S>) {
    let fs = site.relayed();
    for (name, len) in [("small", 9), ("large", 11 << 20)] {
        let content = vec![b'x'; len];
        for mood in [Mood::LosesAnswer, Mood::LosesRequest] {
            let [from, to] = ["From", "To"].map(|end| format!("/lost/{name}{mood:?}{end}"));
            put(&*fs, &from, content.clone()).await.unwrap();
            // The request that creates the new name: nothing else of a rename writes there.
            let made = to.rsplit_once('/').unwrap().1.to_owned();
            site.relay.mood_of(mood, move |head| {
                let line = head.lines().next().unwrap_or_default();
                line.contains(&made) && (is_put(head) || is_end(head))
            });
            let error = fs.rename(&from, &to).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Indeterminate, "{error:?}");
            let done = fs.stat(&to).await.is_ok();
            assert_eq!(done, mood == Mood::LosesAnswer, "{name}, {mood:?}");
            assert!(fs.stat(&from).await.is_ok(), "the old name stays until the new one is seen");
            site.relay.mood_of(Mood::Passes, |_| false);
            fs.rename(&from, &to).await.unwrap();
            assert!(fs.stat(&from).await.unwrap_err().is_not_found());
            assert_eq!(fs.read(&to).await.unwrap(), content);
        }
    }
}

async fn each_answer_has_the_class_that_its_caller_needs<S: Reached>(site: &Site<S>) {
    let fs = site.relayed();
    put(&*fs, "/class/there", b"there".to_vec()).await.unwrap();
    for (status, code, class) in [
        (503, "SlowDown", ErrorClass::Transient),
        (503, "ServiceUnavailable", ErrorClass::Indeterminate),
        (500, "InternalError", ErrorClass::Indeterminate),
        (409, "ConditionalRequestConflict", ErrorClass::Indeterminate),
        (403, "AccessDenied", ErrorClass::Blocked),
        (501, "NotImplemented", ErrorClass::Blocked),
    ] {
        site.relay.mood_of(Mood::Answers(status, code), is_put);
        let error = put(&*fs, &format!("/class/{code}"), vec![1]).await.unwrap_err();
        assert_eq!(error.class(), class, "{status} {code}: {error:?}");
        let error = fs.rename("/class/there", "/class/elsewhere").await.unwrap_err();
        assert_eq!(error.class(), class, "{status} {code}: {error:?}");
    }
    site.relay.mood_of(Mood::Passes, |_| false);
    assert_eq!(site.server.keys("class/"), ["class/there"]);

    let access = site.server.access(site.relay.address());
    let none = bucket(&S::url("logs").replacen(BUCKET, "no-such-one", 1), &access);
    let error = put(&*none, "/logs/a", vec![1]).await.unwrap_err();
    assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("does not exist: create it"), "{error:?}");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let nowhere = site.bucket(&site.server.access(nowhere));
    let error = nowhere.read("/logs/a").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
}

/// Such a server would let one collector replace a commit of another.
async fn a_server_that_ignores_conditions_is_refused_before_the_first_rename<S: Reached>(
    site: &Site<S>,
) {
    let at = site.relay.address();
    for (name, ignored) in [("put", is_put as fn(&str) -> bool), ("end", has_condition_of_end)] {
        let fs = site.bucket(&site.server.unsigned(at));
        let from = format!("/ignored/{name}");
        put(&*fs, &from, b"content".to_vec()).await.unwrap();
        site.relay.mood_of(Mood::IgnoresConditions, ignored);
        let error = fs.rename(&from, "/ignored/moved").await.unwrap_err();
        assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
        assert!(format!("{error:?}").contains("the server ignores `"), "{error:?}");
        site.relay.mood_of(Mood::Passes, |_| false);
        assert!(fs.stat("/ignored/moved").await.unwrap_err().is_not_found());
    }
    let left = site.server.keys("ignored/");
    assert_eq!(left, ["ignored/end", "ignored/put"], "no probe is left behind");
}

/// Each opening looks once whether the server heeds conditions, by an upload that must not end.
async fn no_upload_is_left_unfinished(site: &Site<S3>) {
    let fs = site.bucket(&site.server.access(site.server.address()));
    put(&*fs, "/uploads/a", vec![1]).await.unwrap();
    fs.rename("/uploads/a", "/uploads/b").await.unwrap();
    // A file of several parts that is dropped, and one whose name is taken when it is closed.
    let mut dropped = fs.create("/uploads/c", CreateOptions::default()).await.unwrap();
    dropped.write(vec![0; 6 << 20].into()).await.unwrap();
    drop(dropped);
    let mut late = fs.create("/uploads/d", CreateOptions::default()).await.unwrap();
    late.write(vec![0; 6 << 20].into()).await.unwrap();
    put(&*fs, "/uploads/d", vec![1]).await.unwrap();
    assert!(matches!(late.close().await.unwrap_err(), FsError::AlreadyExists { .. }));
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !site.server.unfinished().is_empty() {
        assert!(tokio::time::Instant::now() < until, "{:?}", site.server.unfinished());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Keys that cannot be paths do not prevent reading the others.
async fn odd_keys_are_left_out_of_listings(site: &Site<S3>) {
    let fs = site.bucket(&site.server.access(site.server.address()));
    let odd = ["odd/a//b", "odd/%2E%2E/c", "odd/%2E/c", "odd/x%01y", "odd/d%20"];
    for key in odd.iter().chain(&["odd/good", "odd/below/good%20one"]) {
        site.server.put(key, "content");
    }
    let names =
        |listed: Vec<storage::Listed>| listed.into_iter().map(|it| it.name).collect::<Vec<_>>();
    assert_eq!(names(fs.list("/odd").await.unwrap()), ["a", "below", "good"]);
    assert_eq!(names(fs.list("/odd/below").await.unwrap()), ["good one"]);
    assert_eq!(fs.read("/odd/below/good one").await.unwrap(), "content");
    assert!(fs.list("/odd/a").await.unwrap_err().is_not_found());
    assert!(fs.stat("/odd").await.unwrap().directory);
    assert!(fs.skipped_names() >= 5, "{}", fs.skipped_names());
}

/// Runs the whole suite on one server of a kind.
async fn keeps<S: Reached>() -> Site<S> {
    let site = Site::<S>::new().await;
    keeps_the_promises(site.bucket(&site.server.access(site.server.address())), "/suite").await;
    a_rename_whose_answer_is_lost_is_known_by_the_next_try(&site).await;
    each_answer_has_the_class_that_its_caller_needs(&site).await;
    a_server_that_ignores_conditions_is_refused_before_the_first_rename(&site).await;
    site
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: tests/run"]
async fn a_bucket_of_s3_keeps_the_promises() {
    if let Ok(endpoint) = std::env::var("AQUEDUCT_TEST_S3") {
        let fs = bucket(&S3::url("logs"), &of_s3(endpoint));
        keeps_the_promises(fs.clone(), "/conformance").await;
        assert!(fs.delete("/conformance").await.unwrap());
        return;
    }
    let site = keeps::<S3>().await;
    no_upload_is_left_unfinished(&site).await;
    odd_keys_are_left_out_of_listings(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and openssl: tests/run"]
async fn a_bucket_of_google_keeps_the_promises() {
    let site = keeps::<Gcs>().await;
    // The server looks at no signature: this test does.
    let token = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = token.clone();
    site.relay.mood_of(Mood::Passes, move |head| {
        let bearer = head.lines().find_map(|line| line.split_once("Bearer "));
        *seen.lock().unwrap() = bearer.map(|(_, token)| token.to_owned()).unwrap_or_default();
        false
    });
    site.relayed().stat("/suite").await.unwrap();
    let token = token.lock().unwrap().clone();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let folder = site.server.key_file().parent().unwrap();
    std::fs::write(folder.join("signed"), signed).unwrap();
    std::fs::write(folder.join("signature"), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let openssl = |arguments: &str| {
        let mut openssl = std::process::Command::new("openssl");
        let done = openssl.args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {done:?}");
    };
    openssl("pkey -in account.pem -pubout -out public.pem");
    openssl("dgst -sha256 -verify public.pem -signature signature signed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: tests/run"]
async fn a_container_of_azure_keeps_the_promises() {
    let site = keeps::<Azurite>().await;
    let at = site.server.address();
    keeps_the_promises(site.bucket(&site.server.unsigned(at)), "/by-signature").await;

    // As containers with directories show them.
    let fs = site.bucket(&site.server.access(at));
    site.server.make_directory("tree/day");
    assert!(fs.stat("/tree/day").await.unwrap_err().is_not_found());
    put(&*fs, "/tree/day/file", b"content".to_vec()).await.unwrap();
    assert!(fs.stat("/tree/day").await.unwrap().directory);

    let account_key = Some("bm90IHRoZSBrZXk=".to_owned().into());
    let wrong = of_azure(Azure { account_key, ..Azure::default() }, &site.server, at);
    let error = site.bucket(&wrong).read("/tree/day/file").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Blocked, "{error:?}");
    assert!(format!("{error:?}").contains("check the credentials in `azure`"), "{error:?}");
}

/// A silent server delays one call only.
#[tokio::test]
#[ignore = "needs Python: tests/run"]
async fn a_silent_server_ends_no_call_late() {
    let site = Site::<S3>::new().await;
    let fs = site.relayed();
    put(&*fs, "/logs/there", b"there".to_vec()).await.unwrap();
    site.relay.mood_of(Mood::Silent, |_| true);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = fs.rename("/logs/there", "/logs/elsewhere").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Indeterminate, "{error:?}");
    assert!(began.elapsed().as_secs() <= 61, "{:?}", began.elapsed());
}
