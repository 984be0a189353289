//! Lines of a container's log in the format of its runtime, as on the disk of a Kubernetes node.
//!
//! ```text
//! 2026-11-27T03:00:00.123456789Z stdout F the line       the Container Runtime Interface
//! 2026-11-27T03:00:00.123456789Z stdout P a part of one  (containerd, CRI-O)
//! {"log":"the line\n","stream":"stdout","time":"2026-…"}  Docker's driver json-file
//! ```
//!
//! A runtime splits lines at 16 KiB. The parts are separate lines: with the tag `P`, and the last
//! one with `F`; or, in Docker's format, without the final `\n` except in the last one. Lines of
//! the other stream may come between the parts of a line.
//!
//! Sources: Kubernetes' design proposal `kubelet-cri-logging.md`, and Docker's output.

use std::borrow::Cow;

use serde::Deserialize;

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Time at which the runtime read it, in RFC 3339.
    pub time: Cow<'a, str>,
    /// Where the container wrote it.
    pub stream: Stream,
    /// Text of the container, without its LF.
    pub text: Cow<'a, [u8]>,
    /// True if the line continues in the next entry of the stream.
    pub is_part: bool,
}

/// Output stream of a container.
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

/// Docker's format. It may have further fields, depending on Docker's options.
#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// Parses one line without its LF; `None` if it is not in a runtime's format.
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
    // Further tags may follow after a colon; none exist today.
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

/// Container that a log's path names.
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
    /// Its id in the runtime.
    pub container_id: Option<&'a str>,
}

/// Parses a path in `/var/log/pods` (`NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`) or
/// `/var/log/containers` (`POD_NAMESPACE_CONTAINER-ID.log`). Kubernetes names never contain `_`.
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
    fn refuses_lines_that_no_runtime_wrote() {
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
