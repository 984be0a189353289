//! A bucket keeps the promises of a store, whatever becomes of its answers.
//!
//! Method: a real server of S3, in a process of its own, reached through a relay of these
//! tests. The relay loses an answer, or the request, or answers itself, or leaves out a header;
//! the server is then asked what it holds. `AQUEDUCT_TEST_S3=http://host:port` runs the suite of
//! all stores on another server instead, in its bucket `logs`.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

mod relay;

use std::net::SocketAddr;
use std::sync::Arc;

use aqueduct_storage_s3::{Access, open};
use aqueduct_tests::s3::{BUCKET, S3};
use pipeline::{Classify, ErrorClass};
use relay::{Mood, Relay};
use storage::conformance::keeps_the_promises;
use storage::{CreateOptions, FileSystem, FsError, StoreUrl};
use tempfile::TempDir;

/// A server, and the relay before it.
struct Site {
    server: S3,
    relay: Relay,
    _folder: TempDir,
}

async fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let server = tokio::task::spawn_blocking(move || S3::start(&path)).await.unwrap();
    let relay = Relay::before(server.address()).await;
    Site { server, relay, _folder: folder }
}

fn bucket(at: SocketAddr, name: &str) -> Arc<dyn FileSystem> {
    bucket_of(format!("http://{at}"), name)
}

fn bucket_of(endpoint: String, name: &str) -> Arc<dyn FileSystem> {
    let access = Access {
        endpoint: Some(endpoint),
        access_key: Some("key".into()),
        secret_key: Some("secret".to_owned().into()),
        ..Access::default()
    };
    let url = StoreUrl::parse(&format!("s3://{name}/logs")).unwrap();
    open(&url, &access, &env::real()).unwrap()
}

async fn put(fs: &dyn FileSystem, path: &str, content: Vec<u8>) -> Result<(), FsError> {
    let mut writer = fs.create(path, CreateOptions::default()).await?;
    writer.write(content.into()).await?;
    writer.close().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: tests/run"]
async fn a_bucket_keeps_the_promises() {
    if let Ok(endpoint) = std::env::var("AQUEDUCT_TEST_S3") {
        let fs = bucket_of(endpoint, BUCKET);
        keeps_the_promises(fs.clone(), "/conformance").await;
        assert!(fs.delete("/conformance").await.unwrap());
        return;
    }
    let site = site().await;
    keeps_the_promises(bucket(site.server.address(), BUCKET), "/logs").await;
}

/// Of one size that is put at once, and of one that is an upload of several parts.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: tests/run"]
async fn a_rename_whose_answer_is_lost_is_known_by_the_next_try() {
    let site = site().await;
    let fs = bucket(site.relay.address(), BUCKET);
    for (name, len) in [("small", 9), ("large", 11 << 20)] {
        let content = vec![b'x'; len];
        for mood in [Mood::LosesAnswer, Mood::LosesRequest] {
            let [from, to] = ["from", "to"].map(|end| format!("/logs/{name}-{mood:?}-{end}"));
            put(&*fs, &from, content.clone()).await.unwrap();
            // The request that makes the new name: nothing else of a rename writes there.
            let made = to.clone();
            site.relay.mood_of(mood, move |head| {
                let line = head.lines().next().unwrap_or_default();
                line.contains(&made)
                    && (line.starts_with("PUT") && !line.contains("partNumber")
                        || line.contains("POST") && line.contains("uploadId"))
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: tests/run"]
async fn each_answer_has_the_class_that_its_caller_needs() {
    let site = site().await;
    let fs = bucket(site.relay.address(), BUCKET);
    put(&*fs, "/logs/there", b"there".to_vec()).await.unwrap();
    for (status, code, class) in [
        (503, "SlowDown", ErrorClass::Transient),
        (503, "ServiceUnavailable", ErrorClass::Indeterminate),
        (500, "InternalError", ErrorClass::Indeterminate),
        (409, "ConditionalRequestConflict", ErrorClass::Indeterminate),
        (403, "AccessDenied", ErrorClass::Blocked),
        (501, "NotImplemented", ErrorClass::Blocked),
    ] {
        site.relay.mood_of(Mood::Answers(status, code), |head| head.starts_with("PUT"));
        let error = put(&*fs, &format!("/logs/{code}"), vec![1]).await.unwrap_err();
        assert_eq!(error.class(), class, "{status} {code}: {error:?}");
        let error = fs.rename("/logs/there", "/logs/elsewhere").await.unwrap_err();
        assert_eq!(error.class(), class, "{status} {code}: {error:?}");
    }
    site.relay.mood_of(Mood::Passes, |_| false);
    assert_eq!(site.server.keys("logs/"), ["logs/there"]);

    let none = bucket(site.relay.address(), "no-such-bucket");
    let error = put(&*none, "/logs/a", vec![1]).await.unwrap_err();
    assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("no such bucket"), "{error:?}");
    let nowhere = bucket(SocketAddr::from(([127, 0, 0, 1], 1)), BUCKET);
    let error = nowhere.read("/logs/a").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
}

/// A server that says nothing takes the time of one call, not more.
#[tokio::test]
#[ignore = "needs Python: tests/run"]
async fn a_silent_server_ends_no_call_late() {
    let site = site().await;
    let fs = bucket(site.relay.address(), BUCKET);
    put(&*fs, "/logs/there", b"there".to_vec()).await.unwrap();
    site.relay.mood_of(Mood::Silent, |_| true);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = fs.rename("/logs/there", "/logs/elsewhere").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Indeterminate, "{error:?}");
    assert!(began.elapsed().as_secs() <= 61, "{:?}", began.elapsed());
}

/// Such a server would let one collector replace what another has committed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: tests/run"]
async fn a_server_that_ignores_conditions_is_refused_before_the_first_rename() {
    let site = site().await;
    for method in ["PUT", "POST"] {
        let fs = bucket(site.relay.address(), BUCKET);
        let from = format!("/logs/{method}");
        put(&*fs, &from, b"content".to_vec()).await.unwrap();
        site.relay.mood_of(Mood::IgnoresConditions, move |head| head.starts_with(method));
        let error = fs.rename(&from, "/logs/moved").await.unwrap_err();
        assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
        assert!(format!("{error:?}").contains("ignores `If-None-Match"), "{error:?}");
        site.relay.mood_of(Mood::Passes, |_| false);
        assert!(fs.stat("/logs/moved").await.unwrap_err().is_not_found());
    }
    assert_eq!(site.server.keys("logs/"), ["logs/POST", "logs/PUT"], "no probe is left behind");
}
