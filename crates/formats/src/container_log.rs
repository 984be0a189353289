//! Lines of a container's log as its runtime wrote them, on the disk of a Kubernetes node.
//!
//! ```text
//! 2026-11-27T03:00:00.123456789Z stdout F the line       the Container Runtime Interface
//! 2026-11-27T03:00:00.123456789Z stdout P a part of one  (containerd, CRI-O)
//! {"log":"the line\n","stream":"stdout","time":"2026-…"}  Docker's driver json-file
//! ```
//!
//! A runtime cuts lines at 16 KiB. The parts are lines of their own: with the tag `P` and the last
//! one with `F`, or without the `\n` that ends a whole one. Lines of the other stream may come
//! between the parts of a line.
//!
//! Source: Kubernetes' design proposal `kubelet-cri-logging.md`, and what Docker writes.

use std::borrow::Cow;

use serde::Deserialize;

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When the runtime read it, by RFC 3339.
    pub time: Cow<'a, str>,
    /// Where the container wrote it.
    pub stream: Stream,
    /// What the container wrote, without its LF.
    pub text: Cow<'a, [u8]>,
    /// Whether the line goes on in the next entry of the stream.
    pub is_part: bool,
}

/// Where a container wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        [Self::Stdout, Self::Stderr].into_iter().find(|it| it.name().as_bytes() == name)
    }
}

/// As Docker writes it. There may be more fields, which the operator has asked for.
#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// Reads one line, which has no LF; `None` if no runtime wrote it.
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    if line.first() == Some(&b'{') { docker(line) } else { interface(line) }
}

/// As [`parse`], without parsing the JSON of other programs.
pub fn parse_if_likely(line: &[u8]) -> Option<Entry<'_>> {
    let is_likely = line.first() != Some(&b'{') || line.starts_with(b"{\"log\":");
    is_likely.then(|| parse(line))?
}

fn interface(line: &[u8]) -> Option<Entry<'_>> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(words.next()?).ok()?;
    let stream = Stream::named(words.next()?)?;
    // More tags may follow behind a colon; today there are none.
    let tag = words.next()?.split(|byte| *byte == b':').next()?;
    let is_part = match tag {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let text = words.next().unwrap_or_default();
    Some(Entry { time: time.into(), stream, text: text.into(), is_part })
}

fn docker(line: &[u8]) -> Option<Entry<'_>> {
    let Docker { log, stream, time } = serde_json::from_slice(line).ok()?;
    let stream = Stream::named(stream.as_bytes())?;
    let mut text = match log {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let is_part = !text.ends_with(b"\n");
    if !is_part {
        match &mut text {
            Cow::Borrowed(text) => *text = &text[..text.len() - 1],
            Cow::Owned(text) => text.truncate(text.len() - 1),
        }
    }
    Some(Entry { time, stream, text, is_part })
}

/// What the path of a log says of its container.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// Namespace of the pod.
    pub namespace: Option<&'a str>,
    /// Name of the pod.
    pub pod: Option<&'a str>,
    /// Identifier of the pod.
    pub pod_uid: Option<&'a str>,
    /// Name of the container.
    pub container: Option<&'a str>,
    /// Its identifier in the runtime.
    pub container_id: Option<&'a str>,
}

/// Reads a path of `/var/log/pods` (`NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`) or
/// `/var/log/containers` (`POD_NAMESPACE_CONTAINER-ID.log`). No name of Kubernetes has a `_`.
pub fn place(path: &str) -> Place<'_> {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    if let Some(Some([pod, namespace, rest])) = name.strip_suffix(".log").map(three)
        && let Some((container, id)) = rest.rsplit_once('-')
    {
        return Place {
            namespace: Some(namespace),
            pod: Some(pod),
            pod_uid: None,
            container: Some(container),
            container_id: Some(id),
        };
    }
    let (container, directory) = (parts.next(), parts.next());
    let Some([namespace, pod, uid]) = directory.and_then(three) else { return Place::default() };
    Place {
        namespace: Some(namespace),
        pod: Some(pod),
        pod_uid: Some(uid),
        container,
        container_id: None,
    }
}

fn three(name: &str) -> Option<[&str; 3]> {
    let mut parts = name.split('_');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && three.iter().all(|part| !part.is_empty())).then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_forms_are_read() {
        for (line, text, stream, is_part) in [
            ("2026-11-27T03:00:00.1Z stdout F two  words ", "two  words ", Stream::Stdout, false),
            ("2026-11-27T03:00:00.1+01:00 stderr P part", "part", Stream::Stderr, true),
            ("2026-11-27T03:00:00.1Z stderr F:more x", "x", Stream::Stderr, false),
            ("2026-11-27T03:00:00.1Z stdout F ", "", Stream::Stdout, false),
            ("2026-11-27T03:00:00.1Z stdout F", "", Stream::Stdout, false),
            (
                r#"{"log":"\u001b[1mé\"\\n\n","stream":"stdout","attrs":{"a":"b"},"time":"t"}"#,
                "\u{1b}[1mé\"\\n",
                Stream::Stdout,
                false,
            ),
            (r#"{"log":"half","stream":"stderr","time":"t"}"#, "half", Stream::Stderr, true),
            (r#"{"log":"\n","stream":"stdout","time":"t"}"#, "", Stream::Stdout, false),
        ] {
            let entry = parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            let read = (String::from_utf8_lossy(&entry.text), entry.stream, entry.is_part);
            assert_eq!(read, (text.into(), stream, is_part), "{line}");
        }
        assert_eq!(&*parse(b"t stdout F \xff\0").unwrap().text, b"\xff\0");
    }

    #[test]
    fn what_no_runtime_wrote_is_not_read() {
        for line in ["", "a line", "t stdout X a", "t stdin F a", "{}", "{\"log\":\"a\\n\"}", "{"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn paths_of_a_node_name_the_container() {
        let pods = place("/var/log/pods/shop_web-0_7a-1/nginx/2.log.20261127-030000");
        let of = |it: &Place<'_>| {
            [it.namespace, it.pod, it.pod_uid, it.container, it.container_id]
                .map(|part| part.unwrap_or("-").to_owned())
        };
        assert_eq!(of(&pods), ["shop", "web-0", "7a-1", "nginx", "-"]);
        let link = place("/var/log/containers/web-0_shop_side-car-0123abc.log");
        assert_eq!(of(&link), ["shop", "web-0", "-", "side-car", "0123abc"]);
        for other in ["", "/var/log/nginx/access.log", "a_b/c/0.log", "__/c/0.log", "/x_y.log"] {
            assert_eq!(place(other), Place::default(), "{other}");
        }
    }
}
