//! Goal: messages with the framing of Confluent become typed rows with exact values; an unreachable
//! registry delays a batch, an unknown schema makes dead letters, and after a restart no cached
//! schema is asked for.
//!
//! Method: a server answers as the API of Confluent documents it, and counts requests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use pipeline::testkit::build;
use pipeline::{BatchBuilder, Reject};
use serde_json::{Value, json};

use super::*;

/// A registry: answers by path, and the requests so far with their logins.
#[derive(Default)]
struct Fake {
    answers: Mutex<HashMap<String, (u16, String)>>,
    requests: Mutex<Vec<(String, String)>>,
}

impl Fake {
    fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (fake, address) = (Arc::new(Self::default()), listener.local_addr().unwrap());
        let server = Arc::clone(&fake);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
                let login = head.filter_map(|line| {
                    let line = line.to_lowercase();
                    line.strip_prefix("authorization: ").map(str::to_owned)
                });
                let login = login.last().unwrap_or_default();
                let unknown = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.into());
                let (status, body) =
                    server.answers.lock().unwrap().get(&path).cloned().unwrap_or(unknown);
                server.requests.lock().unwrap().push((path, login));
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let mut stream = stream;
                let _closed = stream.write_all((head + &body).as_bytes());
            }
        });
        (fake, address)
    }

    fn answer(&self, path: &str, status: u16, body: &Value) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_string()));
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

fn interceptor(settings: &Value, directory: &Path) -> Box<dyn Interceptor> {
    let cx = BuildContext::alone("in", directory, env::real());
    build::<Config>(settings, &cx).unwrap()
}

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), datum].concat()
}

fn events(bodies: &[&[u8]]) -> Events {
    let mut builder = BatchBuilder::default();
    bodies.iter().for_each(|body| builder.push(body, &[("h", "v")]));
    builder.finish().events
}

async fn through(
    interceptor: &dyn Interceptor,
    bodies: &[&[u8]],
) -> Result<(Events, Vec<Reject>), String> {
    let (mut rejects, remote) = (Rejects::default(), interceptor.remote().unwrap());
    let kept = remote.intercept(events(bodies), &mut rejects).await;
    kept.map(|kept| (kept, rejects.into_iter().collect())).map_err(|error| error.to_string())
}

/// Returns rows as JSON.
fn rows_of(events: &Events) -> Vec<String> {
    let row = |event: EventRef<'_>| {
        assert_eq!(event.header("h"), Some("v"));
        let schema = rows::Schema::parse(event.header(SCHEMA_HEADER).unwrap()).unwrap();
        let mut object = Vec::new();
        schema.put_object(event.body(), &mut object).unwrap();
        String::from_utf8(object).unwrap()
    };
    events.iter().map(row).collect()
}

fn schema(fields: &Value) -> String {
    json!({ "type": "record", "name": "R", "namespace": "a.b", "fields": fields }).to_string()
}

#[tokio::test]
async fn messages_become_rows_by_the_id_of_their_schema() {
    let (fake, address) = Fake::start();
    let n = json!([{ "name": "n", "type": ["null", "int"] }]);
    fake.answer("/schemas/ids/1", 200, &json!({ "schema": schema(&n) }));
    let at =
        json!([{ "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } }]);
    fake.answer("/schemas/ids/258", 200, &json!({ "schema": schema(&at), "schemaType": "AVRO" }));
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({ "registry": { "url": format!("http://{address}/") } });
    let interceptor_of = || interceptor(&settings, folder.path());
    let bodies = [&*framed(1, &[2, 14]), &framed(258, &[2]), &framed(1, &[0])];
    let expected = [r#"{"n":7}"#, r#"{"at":"1970-01-01T00:00:00.000001Z"}"#, r#"{"n":null}"#];
    let first = interceptor_of();
    for _ in 0..2 {
        let (kept, rejects) = through(&*first, &bodies).await.unwrap();
        assert_eq!((rows_of(&kept), rejects.len()), (expected.map(str::to_owned).to_vec(), 0));
    }
    assert_eq!(fake.requests().len(), 2, "each schema is asked for once");
    // The registry is not reachable after a restart, except for new schemas.
    for id in [1, 258] {
        fake.answer(&format!("/schemas/ids/{id}"), 503, &json!({}));
    }
    let (kept, _) = through(&*interceptor_of(), &bodies).await.unwrap();
    assert_eq!(rows_of(&kept), expected);
    // Ids of another registry are other schemas.
    let (other, at) = Fake::start();
    let text = json!([{ "name": "m", "type": "string" }]);
    other.answer("/schemas/ids/1", 200, &json!({ "schema": schema(&text) }));
    let settings = json!({ "registry": { "url": format!("http://{at}") } });
    let (kept, _) =
        through(&*interceptor(&settings, folder.path()), &[&framed(1, &[2, b'x'])]).await.unwrap();
    assert_eq!(rows_of(&kept), [r#"{"m":"x"}"#]);
}

#[tokio::test]
async fn batches_wait_for_the_registry_and_unknown_schemas_make_dead_letters() {
    let (fake, address) = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({ "registry": { "url": format!("http://{address}") } });
    let interceptor = interceptor(&settings, folder.path());
    let n = json!([{ "name": "n", "type": { "type": "int", "logicalType": "time-millis" } }]);
    fake.answer("/schemas/ids/1", 200, &json!({ "schema": schema(&n) }));
    fake.answer("/schemas/ids/2", 200, &json!({ "schema": "{}", "schemaType": "PROTOBUF" }));
    let itself = json!([{ "name": "next", "type": ["null", "R"] }]);
    fake.answer("/schemas/ids/3", 200, &json!({ "schema": schema(&itself) }));
    let bodies = [
        &*framed(1, &[2]),
        &framed(9, &[2]),
        &framed(2, &[2]),
        &framed(3, &[0]),
        &framed(1, &[1]),
        b"text",
        &framed(1, &[]),
    ];
    let (kept, rejects) = through(&*interceptor, &bodies).await.unwrap();
    assert_eq!(rows_of(&kept), [r#"{"n":"00:00:00.001"}"#]);
    let expected = [
        ("/schemas/ids/9: the registry does not have the schema 9", 1),
        ("the schema 2 is PROTOBUF", 2),
        ("`next`: a record that contains itself", 3),
        ("`n`: -1/1000 s is not a time of day", 4),
        ("does not begin with a byte 0", 5),
        ("ends within a value", 6),
    ];
    assert_eq!(rejects.len(), expected.len(), "{rejects:?}");
    for (reject, (detail, body)) in rejects.iter().zip(expected) {
        assert!(reject.reason == "not_a_row" && reject.detail.contains(detail), "{reject:?}");
        assert_eq!(reject.events.iter().next().unwrap().body(), bodies[body]);
    }
    // Registered in the meantime.
    fake.answer("/schemas/ids/9", 200, &json!({ "schema": schema(&n) }));
    let (kept, _) = through(&*interceptor, &[&framed(9, &[4])]).await.unwrap();
    assert_eq!(rows_of(&kept), [r#"{"n":"00:00:00.002"}"#]);
    for (status, text) in [(500, "x"), (401, "Unauthorized"), (404, "no such page"), (429, "later")]
    {
        fake.answer("/schemas/ids/7", status, &json!(text));
        let error =
            through(&*interceptor, &[&framed(1, &[2]), &framed(7, &[2])]).await.unwrap_err();
        for part in ["schema 7", &status.to_string(), "/schemas/ids/7", "check `registry.url`"] {
            assert!(error.contains(part), "{error}");
        }
    }
    let nowhere = json!({ "registry": { "url": "http://127.0.0.1:1", "timeout": "1s" } });
    let error = through(&*self::interceptor(&nowhere, folder.path()), &[&framed(1, &[2])]).await;
    assert!(error.unwrap_err().contains("cannot read the schema 1"));
}

#[tokio::test]
async fn references_are_resolved_with_those_of_references() {
    let (fake, address) = Fake::start();
    let user = json!([
        { "name": "user", "type": "c.User" },
        { "name": "last", "type": ["null", "c.User"] },
        { "name": "city", "type": "City" },
    ]);
    let of = |name: &str, subject: &str, version: u32| {
        let version = json!(version);
        json!({ "name": name, "subject": subject, "version": version })
    };
    let references = json!([of("c.User", "a/b user", 3), of("City", "city", 1)]);
    let whole =
        json!({ "schema": schema(&user).replace(r#""a.b""#, r#""""#), "references": references });
    fake.answer("/schemas/ids/1", 200, &whole);
    let definition = json!({ "type": "record", "name": "User", "namespace": "c", "fields": [
        { "name": "id", "type": "long" },
        { "name": "homes", "type": { "type": "array", "items": "City" } },
    ] });
    let definition =
        definition.to_string().replace(r#""City""#, r#"".City""#).replace(".City", "d.City");
    let references = json!([of("d.City", "city2", 1)]);
    let answer = json!({ "schema": definition, "references": references });
    fake.answer("/subjects/a%2Fb%20user/versions/3?deleted=true", 200, &answer);
    let city = |namespace: &str| {
        json!({ "schema": json!({ "type": "enum", "name": "City", "namespace": namespace,
            "symbols": ["X", "Y"] }).to_string() })
    };
    fake.answer("/subjects/city/versions/1?deleted=true", 200, &city(""));
    fake.answer("/subjects/city2/versions/1?deleted=true", 200, &city("d"));
    let folder = tempfile::tempdir().unwrap();
    let login = json!({ "url": format!("http://{address}"), "user": "u", "password": "p\n" });
    let interceptor_of = |login: &Value| interceptor(&json!({ "registry": login }), folder.path());
    let body = framed(1, &[14, 4, 0, 2, 0, 2, 16, 0, 2]);
    let (kept, rejects) = through(&*interceptor_of(&login), &[&body]).await.unwrap();
    let expected = r#"{"user":{"id":7,"homes":["X","Y"]},"last":{"id":8,"homes":[]},"city":"Y"}"#;
    assert_eq!(rows_of(&kept), [expected], "{rejects:?}");
    let requests = fake.requests();
    assert!(requests.len() == 4 && requests.iter().all(|(_, login)| login == "basic dtpw"));
    let token = json!({ "url": format!("http://{address}"), "token": "t" });
    through(&*interceptor_of(&token), &[&framed(5, &[])]).await.unwrap();
    assert_eq!(fake.requests().last().unwrap().1, "bearer t");
}

#[test]
fn schemas_of_settings_and_events_need_no_registry() {
    let folder = tempfile::tempdir().unwrap();
    let text = schema(&json!([{ "name": "n", "type": "long" }]));
    let settings = json!({ "schema": text, "registry_id": 7 });
    let (mut batch, mut rejects) = (events(&[&framed(7, &[2]), &[2]]), Rejects::default());
    interceptor(&settings, folder.path()).intercept(&mut batch, &mut rejects);
    assert_eq!(rows_of(&batch), [r#"{"n":1}"#]);
    let details: Vec<String> = rejects.into_iter().map(|reject| reject.detail).collect();
    assert!(details.len() == 1 && details[0].contains("`registry_id`"), "{details:?}");

    let mut builder = BatchBuilder::default();
    let literal = ("flume.avro.schema.literal", &*text);
    builder.push(&[2], &[("h", "v"), literal]);
    builder.push(&[2], &[("h", "v")]);
    let mut batch = builder.finish().events;
    let (stated, mut rejects) = (interceptor(&json!({}), folder.path()), Rejects::default());
    stated.intercept(&mut batch, &mut rejects);
    assert_eq!(rows_of(&batch), [r#"{"n":1}"#]);
    assert_eq!(rejects.into_iter().count(), 1);
    // Rows are not converted again.
    let (before, mut rejects) = (batch.clone(), Rejects::default());
    stated.intercept(&mut batch, &mut rejects);
    assert!(batch == before && rejects.is_empty());
}

#[test]
fn settings_that_contradict_each_other_are_rejected() {
    let cx = BuildContext::alone("in", Path::new("unused"), env::real());
    let itself = schema(&json!([{ "name": "next", "type": ["null", "R"] }]));
    let both = json!({ "url": "http://a", "user": "u", "password": "p", "token": "t" });
    for (settings, setting) in [
        (json!({ "registry": { "url": "ftp://a" } }), "registry.url"),
        (json!({ "registry": { "url": "http://a?b" } }), "registry.url"),
        (json!({ "registry": { "url": "http://u:p@a" } }), "registry.url"),
        (json!({ "registry": { "url": "http://a", "timeout": "0s" } }), "registry.timeout"),
        (json!({ "registry": { "url": "http://a", "user": "u" } }), "registry.password"),
        (json!({ "registry": { "url": "http://a", "password": "p" } }), "registry.user"),
        (json!({ "registry": both }), "registry.token"),
        (json!({ "registry": { "url": "http://a" }, "schema": "{}" }), "schema"),
        (json!({ "registry_id": 1 }), "registry_id"),
        (json!({ "schema": itself }), "schema"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, setting, "{settings}");
    }
}
