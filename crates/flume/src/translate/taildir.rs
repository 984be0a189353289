//! The source `taildir`: file groups become patterns, and their headers separate sources.

use pipeline::Settings;
use pipeline::settings::{Place, Value};

use super::{Made, Translator, flag, list, pattern, plain, put, text_of};
use crate::agent::{Bag, Prop};
use crate::lookup::unset;
use crate::report::Outcome;

/// A file group: its patterns, names that they exclude, and the headers of its events.
struct FileGroup {
    name: String,
    patterns: Vec<String>,
    excluded: Vec<String>,
    headers: Vec<(String, Prop)>,
    place: Place,
}

impl Translator<'_> {
    /// A source for the file groups without headers, and one for each with headers.
    pub(super) fn taildir(
        &mut self,
        name: &str,
        bag: &mut Bag,
        mut settings: Settings,
        target: &str,
    ) -> Vec<Made> {
        let groups = self.file_groups(bag, target);
        self.position(bag, &mut settings, target);
        settings.set("strip_cr", flag(true, &bag.place));
        if let Some(prop) = bag.take("byteOffsetHeader") {
            let is_on = prop.text.value.eq_ignore_ascii_case("true");
            settings.set("offset_header", flag(is_on, &prop.place));
            settings.set("offset_header_key", plain("byteoffset", &prop.place));
            self.carried(&prop, target, "offset_header");
        }
        let place = bag.place.clone();
        let (plain_groups, with_headers): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.headers.is_empty());
        let is_alone = plain_groups.is_empty() && with_headers.len() == 1;
        let mut made = Vec::new();
        if !plain_groups.is_empty() || with_headers.is_empty() {
            let mut own = settings.clone();
            let all = plain_groups.iter().flat_map(|it| &it.patterns).map(String::as_str);
            let at = plain_groups.first().map_or(&place, |it| &it.place);
            own.set("paths", list(all, at));
            self.exclude(&mut own, &plain_groups);
            made.push(Made { name: name.to_owned(), place: place.clone(), settings: own });
        }
        for group in with_headers {
            let mut own = settings.clone();
            own.set("paths", list(group.patterns.iter().map(String::as_str), &group.place));
            self.exclude(&mut own, std::slice::from_ref(&group));
            put_headers(&mut own, &group);
            let own_name = match is_alone {
                true => name.to_owned(),
                false => format!("{name}-{}", group.name),
            };
            made.push(Made { name: own_name, place: place.clone(), settings: own });
        }
        made
    }

    fn file_groups(&mut self, bag: &mut Bag, target: &str) -> Vec<FileGroup> {
        let Some(list) = bag.take("filegroups") else {
            self.missing(bag, "filegroups");
            return Vec::new();
        };
        self.carried(&list, target, "paths");
        let mut paths = bag.below("filegroups.");
        let mut headers = bag.below("headers.");
        let mut groups = Vec::new();
        for name in list.text.value.split_whitespace() {
            let Some(prop) = paths.take(name) else {
                self.missing(&paths, name);
                continue;
            };
            let (patterns, excluded) = self.patterns(&prop, target);
            let own = headers.below(&format!("{name}."));
            let headers = own.props.into_iter().map(|it| (it.name.clone(), it)).collect::<Vec<_>>();
            for (_, header) in &headers {
                let text = "an interceptor `static`; with several file groups, a group with \
                            headers becomes a separate source";
                self.add(Outcome::Carried, header, text);
            }
            let place = prop.place.clone();
            groups.push(FileGroup { name: name.to_owned(), patterns, excluded, headers, place });
        }
        for prop in paths.props.iter().chain(&headers.props) {
            self.add(Outcome::Ignored, prop, format!("the group is not listed in `{}`", list.key));
        }
        groups
    }

    /// Sets the names that a source excludes, for all of its groups.
    fn exclude(&mut self, settings: &mut Settings, groups: &[FileGroup]) {
        for group in groups {
            let others = groups.iter().filter(|it| it.name != group.name);
            let mut patterns = others.flat_map(|it| &it.patterns);
            let common = patterns.find(|pattern| {
                group.excluded.iter().any(|name| pattern::may_share(pattern, name))
            });
            if let Some(pattern) = common {
                let what = format!(
                    "file group `{}` excludes names that the pattern `{pattern}` of another group \
                     may match: move the group to a separate source",
                    group.name
                );
                self.report.add(Outcome::Decision, &group.place, &group.name, what);
            }
        }
        let mut excluded = groups.iter().flat_map(|it| &it.excluded).peekable();
        if excluded.peek().is_some() {
            settings.set("exclude", list(excluded.map(String::as_str), &groups[0].place));
        }
    }

    /// Returns the patterns of a group, and of the names that it excludes.
    fn patterns(&mut self, prop: &Prop, target: &str) -> (Vec<String>, Vec<String>) {
        if let Some(name) = &prop.text.unset {
            self.add(Outcome::Decision, prop, unset(name));
            return (vec![prop.text.value.clone()], Vec::new());
        }
        match pattern::of_path(&prop.text.value) {
            Ok(found) => {
                let shown = found.all.join("`, `");
                match (found.has_dot, found.is_wider) {
                    (false, false) => self.carried(prop, target, "paths"),
                    (_, true) => {
                        let text = format!(
                            "`{shown}` also match other names: check the files in the directory"
                        );
                        self.add(Outcome::Differs, prop, text);
                    }
                    (true, false) => {
                        let text = format!("`{shown}`: `.` matches only a dot, not any character");
                        self.add(Outcome::Carried, prop, text);
                    }
                }
                (found.all, found.excluded)
            }
            Err(problem) => {
                let what = format!("{problem}; write a glob pattern into `{target}.paths`");
                self.add(Outcome::Decision, prop, what);
                (vec![prop.text.value.clone()], Vec::new())
            }
        }
    }

    /// Translates the initial position.
    fn position(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        if let Some(prop) = bag.take("positionFile") {
            settings.set("flume_positions", text_of(&prop));
            let text = format!(
                "`{target}.flume_positions`: at the first start each file continues from the last \
                 position of Flume; afterwards the channels store the positions"
            );
            self.add(Outcome::Carried, &prop, text);
        } else {
            let text = "not set, so files that Flume has read are read again: set it to \
                        `~/.flume/taildir_position.json` of the Flume user";
            self.report.add(
                Outcome::Advice,
                &bag.place,
                &format!("{}.positionFile", bag.path),
                text,
            );
        }
        if let Some(prop) = bag.take("skipToEnd") {
            let is_on = prop.text.value.eq_ignore_ascii_case("true");
            let start = if is_on { "end" } else { "beginning" };
            settings.set("start_at", plain(start, &prop.place));
            let text = "applies only at the first start, to files that Flume has not read; later \
                        files are read from the beginning";
            self.add(if is_on { Outcome::Differs } else { Outcome::Carried }, &prop, text);
        }
    }
}

/// The headers of a file group, as the first interceptor.
fn put_headers(settings: &mut Settings, group: &FileGroup) {
    let mut interceptor = Settings::at(Value::Table(Vec::new()), group.place.clone());
    interceptor.set("type", plain("static", &group.place));
    for (name, prop) in &group.headers {
        let mut headers = interceptor
            .take("headers")
            .unwrap_or_else(|| Settings::at(Value::Table(Vec::new()), group.place.clone()));
        headers.set(name, text_of(prop));
        put(&mut interceptor, "headers", headers);
    }
    put(&mut interceptor, "preserve_existing", flag(false, &group.place));
    settings.set("interceptors", Settings::list([interceptor]));
}
