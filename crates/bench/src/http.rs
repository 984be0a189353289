//! One request at a time to a page on loopback: WebHDFS, metrics, readiness.
//!
//! A client that polls a page a thousand times per second keeps its connection, because new
//! connections would cost the measured program CPU time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::{Doing, Error, Result};

/// The path of an agent's metrics.
const METRICS: &str = "/metrics";

/// Returns status and body of `path`. Uses HTTP/1.0, so that the response ends with the connection.
pub(crate) fn get(port: u16, path: &str) -> Result<(u16, Vec<u8>)> {
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    asked(port, path, &request)
}

/// Requests the change `action` of an admin page.
pub(crate) fn post(port: u16, path: &str, action: &str) -> Result<(u16, Vec<u8>)> {
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         X-Aqueduct: {action}\r\nContent-Length: 0\r\n\r\n"
    );
    asked(port, path, &request)
}

fn asked(port: u16, path: &str, request: &str) -> Result<(u16, Vec<u8>)> {
    let describe = || describe(port, path);
    let mut stream = connect(port, path)?;
    stream.write_all(request.as_bytes()).doing(describe)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).doing(describe)?;
    split_answer(&answer)
        .ok_or_else(|| Error::Answer { from: path.to_owned(), detail: "no HTTP head".to_owned() })
}

fn describe(port: u16, path: &str) -> String {
    format!("get {path} from port {port}")
}

fn connect(port: u16, path: &str) -> Result<TcpStream> {
    let describe = || describe(port, path);
    let stream = TcpStream::connect(("127.0.0.1", port)).doing(describe)?;
    stream.set_nodelay(true).doing(describe)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).doing(describe)?;
    Ok(stream)
}

/// Returns the sum over all series of a metric on a page in Prometheus' text format; 0 without any.
pub(crate) fn metric(port: u16, name: &str) -> Result<f64> {
    let (status, body) = get(port, METRICS)?;
    let text = String::from_utf8_lossy(&body);
    if status != 200 {
        return Err(Error::Answer { from: METRICS.to_owned(), detail: text.into_owned() });
    }
    Ok(sum(&text, name))
}

/// A metric that is polled over one connection.
pub(crate) struct Watched<'a> {
    port: u16,
    name: &'a str,
    connection: BufReader<TcpStream>,
}

impl<'a> Watched<'a> {
    /// Opens the metric `name` on the page of `port`.
    pub(crate) fn open(port: u16, name: &'a str) -> Result<Self> {
        let stream = connect(port, METRICS)?;
        Ok(Self { port, name, connection: BufReader::new(stream) })
    }

    /// Same as [`metric`].
    pub(crate) fn look(&mut self) -> Result<f64> {
        let Self { port, name, connection } = self;
        let describe = || describe(*port, METRICS);
        let request = format!("GET {METRICS} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes()).doing(describe)?;
        let body = sized_body(connection).doing(describe)?;
        Ok(sum(&String::from_utf8_lossy(&body), name))
    }
}

/// Reads the body of a success response with a content length.
fn sized_body(answer: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let (mut line, mut bytes) = (String::new(), None);
    answer.read_line(&mut line)?;
    let is_good = line.split(' ').nth(1) == Some("200");
    while !matches!(line.as_str(), "\r\n" | "") {
        line.clear();
        answer.read_line(&mut line)?;
        if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            bytes = value.trim().parse().ok();
        }
    }
    let bytes = bytes.filter(|_| is_good).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = vec![0; bytes];
    answer.read_exact(&mut body)?;
    Ok(body)
}

fn sum(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.sum()
}

fn split_answer(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head_end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[head_end + 4..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_at_the_end_of_its_head() {
        let answer = b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}";
        assert_eq!(split_answer(answer), Some((404, b"{}".to_vec())));
        assert_eq!(split_answer(b"HTTP/1.1 200 OK"), None);
    }

    #[test]
    fn a_body_has_the_length_of_its_head_and_the_next_answer_follows() {
        let two = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\nabHTTP/1.1 500 No\r\n\r\n";
        let mut answers = two.as_slice();
        assert_eq!(sized_body(&mut answers).expect("it is whole"), b"ab");
        for bad in [
            answers,
            b"",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
        ] {
            assert!(sized_body(&mut &*bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_metric_is_the_sum_of_its_own_series_only() {
        let page = "# TYPE a counter\na_total{s=\"x y\"} 3\na_total{s=\"z\"} 4\na_total_other 5\n";
        assert_eq!(sum(page, "a_total"), 7.0);
        assert_eq!(sum(page, "b_total"), 0.0);
    }
}
