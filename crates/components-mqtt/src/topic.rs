//! Topics: filters of a source, patterns that extract headers from levels, templates of a sink.

use formats::template::{Piece, Template};
use pipeline::EventRef;

/// Maximum length of a topic or another string.
const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// Checks a subscription filter.
///
/// # Errors
/// Returns the cause and advice.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    let wrong = |cause: &str| {
        let example = "write for example `site/+/sensor/#` or `$share/collectors/site/#`";
        Err(format!("`{filter}` {cause}; {example}"))
    };
    let topics = match filter.strip_prefix("$share/") {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((group, topics)) if !group.is_empty() && !group.contains(['+', '#']) => topics,
            _ => return wrong("must have a group name after `$share/`"),
        },
    };
    if topics.is_empty() || check_text(filter).is_err() {
        return wrong("is empty, is too long, or has a control character");
    }
    let levels: Vec<&str> = topics.split('/').collect();
    for (place, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || place + 1 < levels.len()) {
            return wrong("must have `#` only as its last level");
        }
        if level.contains('+') && *level != "+" {
            return wrong("must have `+` only as a whole level");
        }
    }
    Ok(())
}

/// Returns the first two filters that match a common topic. A broker may send a message once for
/// each matching filter, and each copy would become an event.
pub(crate) fn overlap(filters: &[String]) -> Option<(&str, &str)> {
    let mut pairs = filters
        .iter()
        .enumerate()
        .flat_map(|(at, one)| filters[at + 1..].iter().map(move |other| (&**one, &**other)));
    pairs.find(|(one, other)| {
        let [one, other] = [one, other].map(|filter| levels_of(filter));
        let is_any = |levels: &[&str]| matches!(levels.first(), Some(&"+" | &"#"));
        let is_of_broker = |levels: &[&str]| levels.first().is_some_and(|it| it.starts_with('$'));
        // Leading wildcards do not match the broker's own topics.
        let is_apart = is_any(&one) && is_of_broker(&other) || is_any(&other) && is_of_broker(&one);
        !is_apart && share_a_topic(&one, &other)
    })
}

/// Returns the levels of a filter, without the group of a shared subscription.
fn levels_of(filter: &str) -> Vec<&str> {
    let shared = filter.strip_prefix("$share/").and_then(|it| it.split_once('/'));
    shared.map_or(filter, |(_, topics)| topics).split('/').collect()
}

fn share_a_topic(one: &[&str], other: &[&str]) -> bool {
    match (one.split_first(), other.split_first()) {
        // `#` also matches the parent level.
        (Some((&"#", _)), _) | (_, Some((&"#", _))) | (None, None) => true,
        (Some((first, one)), Some((second, other))) => {
            (first == second || *first == "+" || *second == "+") && share_a_topic(one, other)
        }
        _ => false,
    }
}

/// Returns true for the filter of a shared subscription.
pub(crate) fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// A topic pattern with named levels: `site/+site/sensor/+sensor`.
#[derive(Debug)]
pub(crate) struct Pattern {
    levels: Vec<Level>,
    /// The last level matches all further levels, with this name if it has one.
    rest: Option<Option<String>>,
}

#[derive(Debug)]
enum Level {
    Text(String),
    Any(Option<String>),
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Fails if it is invalid, or names no level.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let (mut levels, mut rest) = (Vec::new(), None);
        let count = text.split('/').count();
        for (place, level) in text.split('/').enumerate() {
            match (level.strip_prefix('+'), level.strip_prefix('#')) {
                (Some(name), _) => levels.push(Level::Any(named(name))),
                (_, Some(name)) if place + 1 == count => rest = Some(named(name)),
                (_, Some(_)) => return Err(format!("`{text}`: `#` must be the last level")),
                (None, None) => levels.push(Level::Text(level.to_owned())),
            }
        }
        let pattern = Self { levels, rest };
        if pattern.names().next().is_none() {
            let example = "write for example `site/+site/sensor/+sensor`";
            return Err(format!("`{text}` must have a named level; {example}"));
        }
        Ok(pattern)
    }

    /// Iterates over the names of levels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let of_levels = self.levels.iter().filter_map(|level| match level {
            Level::Any(name) => name.as_deref(),
            Level::Text(_) => None,
        });
        of_levels.chain(self.rest.iter().filter_map(Option::as_deref))
    }

    /// Appends the named levels of a topic if it matches; returns whether it does.
    pub(crate) fn headers<'a>(
        &'a self,
        topic: &'a str,
        headers: &mut Vec<(&'a str, &'a str)>,
    ) -> bool {
        let before = headers.len();
        let mut left = Some(topic);
        for level in &self.levels {
            let Some(text) = left else {
                headers.truncate(before);
                return false;
            };
            let (first, behind) = match text.split_once('/') {
                Some((first, behind)) => (first, Some(behind)),
                None => (text, None),
            };
            match level {
                Level::Text(wanted) if wanted != first => {
                    headers.truncate(before);
                    return false;
                }
                Level::Text(_) | Level::Any(None) => {}
                Level::Any(Some(name)) => headers.push((name, first)),
            }
            left = behind;
        }
        match (&self.rest, left) {
            (None, Some(_)) => {
                headers.truncate(before);
                return false;
            }
            (Some(Some(name)), Some(behind)) => headers.push((name, behind)),
            _ => {}
        }
        true
    }
}

/// The topic of an event, built from its headers: `site/%{site}/log`.
#[derive(Debug)]
pub(crate) struct TopicOfEvent(Template);

impl TopicOfEvent {
    /// Parses a template.
    ///
    /// # Errors
    /// Fails if it is invalid, or never yields a topic.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let template = Template::new(text)?;
        let fixed = |piece: &Piece| match piece {
            Piece::Text(text) => check_topic_text(text),
            Piece::Header(_) => Ok(()),
        };
        template.pieces().iter().try_for_each(fixed)?;
        if text.is_empty() {
            return Err("must not be empty; write for example `site/%{site}/log`".into());
        }
        Ok(Self(template))
    }

    /// Returns true if it contains a header of the event.
    pub(crate) fn is_chosen_by_event(&self) -> bool {
        self.0.has_headers()
    }

    /// Writes the topic of an event to `topic`, and replaces its content.
    ///
    /// # Errors
    /// Fails if a header is missing, or the result is not a topic.
    pub(crate) fn fill(&self, event: EventRef<'_>, topic: &mut String) -> Result<(), String> {
        topic.clear();
        for piece in self.0.pieces() {
            match piece {
                Piece::Text(text) => topic.push_str(text),
                Piece::Header(name) => {
                    let value = event.header(name);
                    let value = value.ok_or_else(|| {
                        format!(
                            "the event has no header `{name}`, which `topic` uses; set it with an \
                             interceptor, or change `topic`"
                        )
                    })?;
                    let wrong = |problem| {
                        format!(
                            "header `{name}`: {problem}; change it with an interceptor, or change \
                             `topic`"
                        )
                    };
                    check_topic_text(value).map_err(wrong)?;
                    if topic.is_empty() && value.starts_with('$') {
                        // Some brokers treat these topics as commands; an event must not send any.
                        return Err(wrong(
                            "a topic that starts with `$` is reserved for the broker".into(),
                        ));
                    }
                    topic.push_str(value);
                }
            }
        }
        check_topic(topic)
    }
}

/// Checks that a message can have this topic.
///
/// # Errors
/// Fails if it cannot.
pub(crate) fn check_topic(topic: &str) -> Result<(), String> {
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
        return Err(format!("a topic must have 1 to {TOPIC_BYTES_MAX} bytes, not {}", topic.len()));
    }
    check_topic_text(topic)
}

fn check_topic_text(text: &str) -> Result<(), String> {
    if text.contains(['+', '#']) {
        return Err("a topic cannot contain `+` or `#`".into());
    }
    check_text(text)
}

/// Checks that a topic or a property can have this text: brokers close the connection for any
/// other.
///
/// # Errors
/// Fails if it is too long, or has a control character or a noncharacter.
pub(crate) fn check_text(text: &str) -> Result<(), String> {
    if text.len() > TOPIC_BYTES_MAX {
        return Err(format!("text must have at most {TOPIC_BYTES_MAX} bytes, not {}", text.len()));
    }
    let is_none = |it: char| {
        let code = u32::from(it);
        it.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    match text.chars().find(|it| is_none(*it)) {
        Some(it) => {
            Err(format!("text cannot contain control characters such as `{}`", it.escape_unicode()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, Existing};

    use super::*;

    #[test]
    fn filters_that_share_a_topic_are_found() {
        let overlaps = |filters: [&str; 2]| overlap(&filters.map(str::to_owned)).is_some();
        for filters in [
            ["#", "a/b"],
            ["a/#", "a"],
            ["a/#", "a/b/c"],
            ["a/+/x", "a/b/+"],
            ["a/b", "a/b"],
            ["+/b", "a/+"],
            ["$share/g/a/#", "a/b"],
            ["$share/g/a", "$share/h/a"],
            ["a//+", "a/+/c"],
        ] {
            assert!(overlaps(filters), "{filters:?}");
            assert!(overlaps([filters[1], filters[0]]), "{filters:?}");
        }
        for filters in [
            ["a/b", "a/c"],
            ["a/+", "a"],
            ["a/+", "a/b/c"],
            ["a/+/x", "a/b/y"],
            ["#", "$SYS/#"],
            ["+/a", "$SYS/a"],
            ["$share/g/a", "$share/g/b"],
        ] {
            assert!(!overlaps(filters), "{filters:?}");
        }
        let three = ["a", "b/+", "b/c"].map(str::to_owned);
        assert_eq!(overlap(&three), Some(("b/+", "b/c")));
    }

    #[test]
    fn accepts_filters_of_the_specification_and_names_errors_of_others() {
        for filter in ["#", "+", "a/+/b", "a/#", "/", "$share/g/a/+", "$SYS/#", "a//b"] {
            check_filter(filter).unwrap();
        }
        for (filter, cause) in [
            ("", "is empty"),
            ("a/#/b", "`#` only as its last level"),
            ("a#", "`#` only as its last level"),
            ("a/b+", "`+` only as a whole level"),
            ("$share/g", "must have a group name"),
            ("$share//a", "must have a group name"),
            ("$share/g/", "is empty"),
        ] {
            let error = check_filter(filter).unwrap_err();
            assert!(error.contains(cause), "{filter}: {error}");
        }
    }

    fn levels(pattern: &str, topic: &str) -> Option<String> {
        let pattern = Pattern::new(pattern).unwrap();
        let mut headers = vec![("before", "x")];
        let matched = pattern.headers(topic, &mut headers);
        assert_eq!(headers[0], ("before", "x"));
        let text: Vec<String> = headers[1..].iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert!(matched || text.is_empty());
        matched.then(|| text.join(" "))
    }

    #[test]
    fn named_levels_of_a_matching_topic_become_headers() {
        let sensor = "site/+site/sensor/+sensor";
        assert_eq!(levels(sensor, "site/a/sensor/7").unwrap(), "site=a sensor=7");
        assert_eq!(levels(sensor, "site//sensor/").unwrap(), "site= sensor=");
        for other in ["site/a/sensor", "site/a/sensor/7/x", "site/a/actor/7", "", "x"] {
            assert_eq!(levels(sensor, other), None, "{other}");
        }
        assert_eq!(levels("+/+b/#rest", "1/2/3/4").unwrap(), "b=2 rest=3/4");
        assert_eq!(levels("+/+b/#rest", "1/2").unwrap(), "b=2");
        assert!(Pattern::new("a/+/b").unwrap_err().contains("must have a named level"));
        assert!(Pattern::new("a/#x/b").is_err());
    }

    #[test]
    fn a_topic_is_made_of_headers_and_refused_where_it_would_be_none() {
        let template = TopicOfEvent::new("site/%{site}/log").unwrap();
        let mut topic = "old".to_owned();
        let mut batch = Batch::of(["x"]);
        let mut fill = |batch: &Batch| {
            template.fill(batch.iter().next().unwrap(), &mut topic).map(|()| topic.clone())
        };
        assert!(fill(&batch).unwrap_err().contains("no header `site`"));
        batch.set_header("site", "b/1", Existing::Replace);
        assert_eq!(fill(&batch).unwrap(), "site/b/1/log");
        batch.set_header("site", "b#", Existing::Replace);
        assert!(fill(&batch).unwrap_err().contains("header `site`"));
        for refused in ["b\n", "b\0", "\u{fdd0}", "\u{1ffff}", &"b".repeat(65_536)] {
            batch.set_header("site", refused, Existing::Replace);
            assert!(fill(&batch).unwrap_err().contains("header `site`"), "{refused:?}");
        }
        batch.set_header("site", "$CONTROL/x", Existing::Replace);
        assert_eq!(fill(&batch).unwrap(), "site/$CONTROL/x/log");
        let bare = TopicOfEvent::new("%{site}").unwrap();
        let event = batch.iter().next().unwrap();
        assert!(bare.fill(event, &mut String::new()).unwrap_err().contains("the broker"));
        for wrong in ["", "a/+", "a/%{", "a/%{}"] {
            assert!(TopicOfEvent::new(wrong).is_err(), "{wrong}");
        }
    }
}
