//! One request at a time to a page on loopback: WebHDFS, metrics, readiness.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::{Doing, Error, Result};

/// Status and body of `path`. It asks as HTTP/1.0, so that the answer ends with the connection.
pub(crate) fn get(port: u16, path: &str) -> Result<(u16, Vec<u8>)> {
    let describe = || format!("get {path} from port {port}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).doing(describe)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).doing(describe)?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).doing(describe)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).doing(describe)?;
    split_answer(&answer)
        .ok_or_else(|| Error::Answer { from: path.to_owned(), detail: "no HTTP head".to_owned() })
}

/// Sum over all series of a metric on a page in Prometheus' text format; 0 if there is none yet.
pub(crate) fn metric(port: u16, name: &str) -> Result<f64> {
    let (status, body) = get(port, "/metrics")?;
    let text = String::from_utf8_lossy(&body);
    if status != 200 {
        return Err(Error::Answer { from: "/metrics".to_owned(), detail: text.into_owned() });
    }
    Ok(sum(&text, name))
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
    fn a_metric_is_the_sum_of_its_own_series_only() {
        let page = "# TYPE a counter\na_total{s=\"x y\"} 3\na_total{s=\"z\"} 4\na_total_other 5\n";
        assert_eq!(sum(page, "a_total"), 7.0);
        assert_eq!(sum(page, "b_total"), 0.0);
    }
}
