//! Parses a page of a list: its events, and the link to the next page. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use hyper::header::LINK;
use hyper::{HeaderMap, Uri};
use serde_json::value::RawValue;
use url::Url;

use super::config::Options;
use crate::client::with_parameter;

/// A page of a list.
pub(super) struct Page<'a> {
    events: Vec<&'a RawValue>,
    /// The link to the next page, in the body.
    next: Option<String>,
}

impl<'a> Page<'a> {
    /// Parses a page.
    ///
    /// # Errors
    /// It is not JSON, or the list is not at its pointer.
    pub(super) fn read(bytes: &'a [u8], options: &Options) -> Result<Self, String> {
        let whole: &RawValue = serde_json::from_slice(bytes)
            .map_err(|error| format!("the response is not valid JSON: {error}; check `url`"))?;
        let next = options.next.as_deref().and_then(|pointer| at(whole, pointer));
        let next = next.and_then(text);
        let pointer = options.items.as_deref().unwrap_or_default();
        let list = at(whole, pointer);
        let list =
            list.ok_or_else(|| format!("the response has nothing at `{pointer}`: check `items`"))?;
        let events = match serde_json::from_str(list.get()) {
            Ok(events) => events,
            Err(_) if list.get() == "null" => Vec::new(),
            Err(_) => vec![list],
        };
        Ok(Self { events, next })
    }

    /// Returns its events as written, on one line each.
    pub(super) fn events(&self) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.events.iter().map(|raw| one_line(raw.get()))
    }

    /// Returns the link to the next page, in the body.
    pub(super) fn target(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Returns the URL of the next page; `first` is the start of the list, and `this` is this page.
    ///
    /// # Errors
    /// It is on another server, which must not receive this server's credentials.
    pub(super) fn next(
        &self,
        headers: &HeaderMap,
        this: &Uri,
        first: &Uri,
        options: &Options,
    ) -> Result<Option<Uri>, String> {
        let target = match (&options.next, &options.next_parameter) {
            (Some(_), Some(name)) => {
                let next = self.next.as_deref().map(|value| with_parameter(first, name, value));
                return Ok(next);
            }
            (Some(_), None) => self.next.clone(),
            (None, _) => link(headers),
        };
        let Some(target) = target else { return Ok(None) };
        let not_a_url = |error: &dyn Display| {
            format!("the URL of the next page, `{target}`, is invalid: {error}; check `next`")
        };
        let this = Url::parse(&this.to_string()).map_err(|error| not_a_url(&error))?;
        // According to RFC 3986, `?page=2` and `../list` are relative to this page.
        let mut next = this.join(&target).map_err(|error| not_a_url(&error))?;
        next.set_fragment(None);
        if next.origin() != this.origin() || next.username() != "" || next.password().is_some() {
            return Err(format!(
                "the next page is on another server, {}, which this source does not query: add a \
                 source with that `url`",
                next.origin().ascii_serialization()
            ));
        }
        let next = next.as_str().parse::<Uri>().map_err(|error| not_a_url(&error))?;
        Ok(Some(next))
    }
}

/// Returns the value at a pointer, as written.
fn at<'a>(mut value: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('[') {
            let all: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            *all.get(token.parse::<usize>().ok()?)?
        } else {
            let all: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
            *all.get(&*token)?
        };
    }
    Some(value)
}

/// Returns a text or a number.
fn text(raw: &RawValue) -> Option<String> {
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Removes line ends between the parts of JSON.
fn one_line(json: &str) -> Cow<'_, [u8]> {
    let bytes = json.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(bytes);
    }
    let (mut within_text, mut is_escaped) = (false, false);
    let kept = bytes.iter().copied().filter(|byte| {
        let is_space = !within_text && byte.is_ascii_whitespace();
        if within_text && !is_escaped && *byte == b'\\' {
            is_escaped = true;
        } else {
            within_text ^= *byte == b'"' && !is_escaped;
            is_escaped = false;
        }
        !is_space
    });
    Cow::Owned(kept.collect())
}

/// Returns the next link in the header `Link`.
fn link(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let mut targets = all.flat_map(|text| text.split('<').skip(1));
    targets.find_map(|part| {
        let (target, parameters) = part.split_once('>')?;
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let relations = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.split(' ').any(|it| it.eq_ignore_ascii_case("next"))
        });
        is_next.then(|| target.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(items: &str, next: Option<&str>, parameter: Option<&str>) -> Options {
        let text = |text: &str| Some(text.to_owned());
        Options {
            items: text(items).filter(|it| !it.is_empty()),
            next: next.and_then(text),
            next_parameter: parameter.and_then(text),
            ..Options::default()
        }
    }

    fn events(body: &str, items: &str) -> Result<Vec<String>, String> {
        let page = Page::read(body.as_bytes(), &options(items, None, None))?;
        Ok(page.events().map(|it| String::from_utf8_lossy(&it).into_owned()).collect())
    }

    #[test]
    fn each_element_is_an_event_as_it_was_written() {
        let body =
            "{\"data\":[{\"n\": 1.10,\n \"t\": \"a\\\" \\\\\",\r\n\t\"u\": \" x \"}, 7, \"\"]}";
        let expected = ["{\"n\":1.10,\"t\":\"a\\\" \\\\\",\"u\":\" x \"}", "7", "\"\""];
        assert_eq!(events(body, "/data").unwrap(), expected);
        assert_eq!(events("[]", "").unwrap().len(), 0);
        assert_eq!(events("[[1, 2], 3]", "/0").unwrap(), ["1", "2"]);
        assert_eq!(events("{\"a/b\": {\"~\": [8]}}", "/a~1b/~0").unwrap(), ["8"]);
        assert_eq!(events("{\"data\": null}", "/data").unwrap().len(), 0);
        assert_eq!(events("{\"a\": 1}", "").unwrap(), ["{\"a\": 1}"]);
        assert!(events("{\"a\": 1}", "/data").unwrap_err().contains("`items`"));
        assert!(events("<html>", "").unwrap_err().contains("not valid JSON"));
    }

    fn next(header: &str, body: &str, options: &Options) -> Result<Option<String>, String> {
        let headers = HeaderMap::from_iter([(LINK, header.parse().unwrap())]);
        let page = Page::read(body.as_bytes(), options)?;
        let this = "https://h/list?page=1".parse().unwrap();
        let first = "https://h/list?since=5".parse().unwrap();
        let next = page.next(&headers, &this, &first, options)?;
        Ok(next.map(|uri| uri.to_string()))
    }

    #[test]
    fn the_next_page_is_where_the_header_or_the_body_says() {
        let by_link = options("", None, None);
        for (header, expected) in [
            (
                "<https://h/list?page=2>; rel=\"next\", <https://h/list?page=9>; rel=\"last\"",
                Some("2"),
            ),
            (
                "<https://h/list?page=0>; rel=prev, </list?page=2>; title=x; rel=\"last next\"",
                Some("2"),
            ),
            ("<?page=2>; rel=next", Some("2")),
            ("<list?page=2#top>; rel=next", Some("2")),
            ("<../list?page=2>; rel=next", Some("2")),
            ("<https://h:443/list?page=2>; rel=next", Some("2")),
            ("<https://H/list?page=2>; rel=next", Some("2")),
            ("<//h/list?page=2>; rel=next", Some("2")),
            ("<https://h/list?page=9>; rel=last", None),
            ("nonsense", None),
        ] {
            let expected = expected.map(|page| format!("https://h/list?page={page}"));
            assert_eq!(next(header, "[]", &by_link), Ok(expected), "{header}");
        }
        let by_token = options("/d", Some("/meta/next"), Some("token"));
        let body = "{\"d\": [], \"meta\": {\"next\": \"a b\"}}";
        assert_eq!(next("x", body, &by_token), Ok(Some("https://h/list?since=5&token=a+b".into())));
        assert_eq!(next("x", "{\"d\": [], \"meta\": {\"next\": null}}", &by_token), Ok(None));
        assert_eq!(next("x", "{\"d\": []}", &by_token), Ok(None));
    }

    #[test]
    fn another_server_gets_nothing_of_what_this_one_is_asked_with() {
        for target in [
            "https://evil/list",
            "http://h/list",
            "https://h:444/list",
            "//evil/list",
            "https://me@h/list",
            "https://h@evil/list",
            "\\\\evil/list",
        ] {
            let answer = next(&format!("<{target}>; rel=next"), "[]", &options("", None, None));
            assert!(
                answer.as_ref().map_or(true, |uri| {
                    uri.as_ref().is_some_and(|uri| uri.starts_with("https://h/"))
                }),
                "{target}: {answer:?}"
            );
        }
    }
}
