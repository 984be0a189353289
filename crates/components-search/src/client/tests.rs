//! Tests of the node selection after failures.
//!
//! Method: loopback listeners respond as the test says, with a paused clock.

use std::sync::Mutex;

use kit::testkit::sinks::{http_request, server};
use pipeline::env::Stream;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use super::*;

/// What a node does with a request.
pub(crate) enum Reply {
    /// Responds with this status and body, after a delay.
    After(Duration, u16, &'static str),
    /// Never responds.
    Nothing,
    /// Closes the connection.
    Close,
}

/// A node that responds to the body of each request.
pub(crate) struct Node {
    pub(crate) url: Arc<str>,
    /// The received bodies.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Node {
    pub(crate) async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (bodies, reply) = (seen.clone(), Arc::new(reply));
        let (address, _) = server(move |it| serve(it, bodies.clone(), reply.clone())).await;
        Self { url: format!("http://{address}/solr").into(), seen }
    }
}

async fn serve(
    mut stream: Box<dyn Stream>,
    seen: Arc<Mutex<Vec<String>>>,
    reply: Arc<impl Fn(&str) -> Reply>,
) {
    while let Some((_, body)) = http_request(&mut *stream).await {
        seen.lock().unwrap().push(body.clone());
        match reply(&body) {
            Reply::After(time, status, text) => {
                sleep(time).await;
                let length = text.len();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all((answer + text).as_bytes()).await.unwrap();
            }
            Reply::Nothing => return std::future::pending().await,
            Reply::Close => return,
        }
    }
}

fn client(nodes: &[&Node]) -> Client {
    let connector = Connector::new(None, &env::real()).unwrap();
    let urls = nodes.iter().map(|node| node.url.clone()).collect();
    Client::new("Solr", &connector, urls, HeaderMap::new())
}

async fn ask(client: &Client) -> Result<Bytes, SearchError> {
    client.send(Method::POST, "/x", ("x".into(), 1)).await
}

fn answers(status: u16) -> impl Fn(&str) -> Reply {
    move |_| Reply::After(Duration::ZERO, status, "said")
}

#[tokio::test(start_paused = true)]
async fn leaves_a_silent_node_after_the_request_timeout() {
    let (hung, good) = (Node::start(|_| Reply::Nothing).await, Node::start(answers(200)).await);
    let client = client(&[&hung, &good]);
    let given_up = timeout(Duration::from_secs(60), ask(&client)).await;
    assert!(given_up.is_err());
    assert_eq!(ask(&client).await.unwrap(), "said");
    assert_eq!(hung.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn asks_another_node_if_it_might_answer_differently() {
    for status in [404, 500, 503, 510] {
        let (bad, good) = (Node::start(answers(status)).await, Node::start(answers(200)).await);
        let client = client(&[&bad, &good]);
        assert!(ask(&client).await.unwrap_err().to_string().contains(&status.to_string()));
        assert_eq!(ask(&client).await.unwrap(), "said", "after {status}");
    }
    let (bad, good) = (Node::start(|_| Reply::Close).await, Node::start(answers(200)).await);
    let client = client(&[&bad, &good]);
    assert!(matches!(ask(&client).await, Err(SearchError::Broken { .. })));
    assert_eq!(ask(&client).await.unwrap(), "said");
}

#[tokio::test]
async fn a_node_is_kept_while_it_answers_for_all() {
    for status in [200, 400, 401, 403, 409, 413, 429] {
        let (first, other) = (Node::start(answers(status)).await, Node::start(answers(200)).await);
        let client = client(&[&first, &other]);
        for _ in 0..2 {
            assert_eq!(ask(&client).await.is_ok(), status == 200);
        }
        assert_eq!(client.node(), &first.url, "after {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_given_up_at_a_time_go_on_by_one_node() {
    let (hung, good) = (Node::start(|_| Reply::Nothing).await, Node::start(answers(200)).await);
    let client = client(&[&hung, &good, &hung]);
    let both = async { tokio::join!(ask(&client), ask(&client)) };
    assert!(timeout(Duration::from_secs(60), both).await.is_err());
    assert_eq!(client.node(), &good.url);
}

#[tokio::test]
async fn reports_the_title_of_an_html_page() {
    const PAGE: &str = "<html><head>\n<title>Error 401 Bad credentials</title></head><body>…";
    let node = Node::start(|_| Reply::After(Duration::ZERO, 401, PAGE)).await;
    let error = ask(&client(&[&node])).await.unwrap_err().to_string();
    assert!(error.contains("login (Error 401 Bad credentials): correct `user` and"), "{error}");
}

#[tokio::test]
async fn an_answer_is_limited_by_the_documents_of_the_request() {
    let long: &'static str = format!("[{}0]", "0,".repeat(1 << 20)).leak();
    for status in [200, 500] {
        let node = Node::start(move |_| Reply::After(Duration::ZERO, status, long)).await;
        let client = client(&[&node]);
        let error = ask(&client).await.unwrap_err();
        assert!(error.to_string().contains("it exceeds 1052672 bytes"), "{error}");
        let sent = client.send(Method::POST, "/x", ("x".into(), 1_000)).await;
        assert_eq!(sent.is_ok(), status == 200);
    }
}

#[test]
fn lists_in_answers_have_a_limited_number_of_entries() {
    let list = |entries: usize| format!("[{}0]", "0,".repeat(entries - 1));
    let read = |entries| serde_json::from_str::<Entries<u8>>(&list(entries));
    assert_eq!(read(ENTRIES_MAX).unwrap().0.len(), ENTRIES_MAX);
    let error = read(ENTRIES_MAX + 1).unwrap_err().to_string();
    assert!(error.contains("a list of at most 1048576 entries"), "{error}");
}
