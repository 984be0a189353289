//! The way of a source into its channels: interceptors, selector, required and optional channels.

use pipeline::Settings;
use pipeline::settings::{Place, Value};

use super::{Translator, list, plain, put, text_of, value};
use crate::agent::{Bag, Prop};
use crate::lookup::Text;
use crate::morphline;
use crate::report::Outcome;
use crate::table::{self, As, Row};

/// The converter of a group into milliseconds, by the end of its class.
const MILLIS: &str = "RegexExtractorInterceptorMillisSerializer";

/// The converter that leaves a group unchanged.
const PASS: &str = "RegexExtractorInterceptorPassThroughSerializer";

/// The path between a source and its channels.
pub(super) struct Way {
    required: Vec<String>,
    optional: Vec<String>,
    place: Place,
    selector: Option<Settings>,
    interceptors: Vec<Settings>,
}

impl Way {
    /// Its channels, the required ones first.
    pub(super) fn channels(&self) -> Vec<String> {
        self.required.iter().chain(&self.optional).cloned().collect()
    }

    /// Adds it to the settings of the source, after existing interceptors.
    pub(super) fn put(&self, settings: &mut Settings) {
        let names = |all: &[String]| list(all.iter().map(String::as_str), &self.place);
        settings.set("channels", names(&self.required));
        if !self.optional.is_empty() {
            settings.set("optional_channels", names(&self.optional));
        }
        if let Some(selector) = &self.selector {
            settings.set("selector", selector.clone());
        }
        let mut all = match settings.take("interceptors") {
            Some(Settings { value: Value::List(all), .. }) => all,
            _ => Vec::new(),
        };
        all.extend(self.interceptors.iter().cloned());
        if !all.is_empty() {
            settings.set("interceptors", Settings::list(all));
        }
    }
}

impl Translator<'_> {
    /// Takes the way of a source out of its keys.
    pub(super) fn way(&mut self, bag: &mut Bag, target: &str) -> Way {
        let channels = bag.take("channels");
        let place = channels.as_ref().map_or(&bag.place, |it| &it.place).clone();
        let required = channels.as_ref().map_or_else(Vec::new, words);
        match &channels {
            Some(prop) => self.carried(prop, target, "channels"),
            None => self.missing(bag, "channels"),
        }
        let interceptors = self.interceptors(bag, target);
        let source = table::find("source", bag.value("type", ""));
        let is_free = source.is_ok_and(Row::gives_nothing_again);
        let mut way = Way { required, optional: Vec::new(), place, selector: None, interceptors };
        self.selector(bag, &mut way, is_free, target);
        way
    }

    /// Translates the selector; `is_free`: its source permits a different choice each time.
    fn selector(&mut self, bag: &mut Bag, way: &mut Way, is_free: bool, target: &str) {
        let mut own = bag.below("selector.");
        if own.props.is_empty() {
            return;
        }
        let below = format!("{target}.selector");
        let default = Some("replicating");
        let (row, mut selector) = self.component("selector", default, &mut own, &below);
        match row.map(|row| row.name) {
            Some("replicating") => {
                if let Some(prop) = own.take("optional") {
                    way.optional = words(&prop);
                    let optional = way.optional.clone();
                    way.required.retain(|name| !optional.contains(name));
                    self.carried(&prop, target, "optional_channels");
                }
            }
            Some("multiplexing") => self.multiplexing(&mut own, &mut selector, way, target),
            Some("load_balancing") => self.choice(&mut own, &mut selector, is_free, target),
            _ => {}
        }
        self.rest(&own);
        let is_default = matches!(selector.get("type").map(|it| &it.value),
            Some(Value::Text(kind)) if kind == "replicating");
        way.selector = (!is_default).then_some(selector);
    }

    /// Translates the policy of `load_balancing`.
    fn choice(&mut self, own: &mut Bag, selector: &mut Settings, is_free: bool, target: &str) {
        let policy = own.value("policy", "round_robin").to_lowercase();
        let place = own.get("policy").map_or(&own.place, |prop| &prop.place).clone();
        let prop = own.take("policy");
        let is_known = matches!(policy.as_str(), "round_robin" | "random");
        if is_known && is_free {
            selector.set("policy", plain(&policy, &place));
        }
        let Some(prop) = prop else { return };
        let text = "the source reads events again after a crash, so a hash of each event selects \
                    its channel; the events are spread as evenly";
        match (is_known, is_free) {
            (true, true) => self.carried(&prop, target, "selector.policy"),
            (true, false) => self.add(Outcome::Differs, &prop, text),
            (false, _) => {
                let what = "custom policies are not supported: use `hash`, `round_robin` or \
                            `random`";
                self.add(Outcome::Decision, &prop, what);
            }
        }
    }

    fn multiplexing(
        &mut self,
        own: &mut Bag,
        selector: &mut Settings,
        way: &mut Way,
        target: &str,
    ) {
        let mut always: Vec<String> = Vec::new();
        let mapping = own.below("mapping.");
        for prop in &mapping.props {
            set_below(selector, "mapping", &prop.name, names_of(prop));
            always.extend(words(prop));
            self.carried(prop, target, "selector.mapping");
        }
        if let Some(prop) = own.take("default") {
            selector.set("default", names_of(&prop));
            always.extend(words(&prop));
            self.carried(&prop, target, "selector.default");
        }
        let optional = own.below("optional.");
        for prop in &optional.props {
            set_below(selector, "also", &prop.name, names_of(prop));
            for name in words(prop) {
                if always.contains(&name) {
                    let text = format!(
                        "channel `{name}` is required for other values, so it is required here too"
                    );
                    self.add(Outcome::Differs, prop, text);
                } else if !way.optional.contains(&name) {
                    way.optional.push(name);
                }
            }
            self.carried(prop, target, "selector.also");
        }
        let optional = way.optional.clone();
        way.required.retain(|name| !optional.contains(name));
    }

    fn interceptors(&mut self, bag: &mut Bag, target: &str) -> Vec<Settings> {
        let named = bag.take("interceptors");
        let mut own = bag.below("interceptors.");
        let mut made = Vec::new();
        for name in named.iter().flat_map(words) {
            let mut one = own.below(&format!("{name}."));
            if one.props.is_empty() {
                one.place = named.as_ref().map_or(&bag.place, |it| &it.place).clone();
            }
            let below = format!("{target}.interceptors.{}", made.len());
            made.extend(self.interceptor(&mut one, &below));
        }
        for prop in &own.props {
            let why = "the source does not list this interceptor; Flume also skips it; list it in \
                       `interceptors`, or remove the key";
            self.add(Outcome::Ignored, prop, why);
        }
        made
    }

    /// An interceptor; a morphline is as many as it has commands.
    fn interceptor(&mut self, bag: &mut Bag, target: &str) -> Vec<Settings> {
        let (row, mut settings) = self.component("interceptor", None, bag, target);
        match row.map(|row| row.name) {
            Some("host") => {
                let is_address = !bag.value("useIP", "true").eq_ignore_ascii_case("false");
                let text = "the header contains the host name instead of the IP address, so paths \
                            and selectors that use it change";
                match bag.take("useIP") {
                    Some(prop) if is_address => self.add(Outcome::Differs, &prop, text),
                    Some(prop) => self.add(Outcome::Carried, &prop, "the name of the host"),
                    None => {
                        let key = format!("{}.useIP", bag.path);
                        self.report.add(Outcome::Differs, &bag.place, &key, text);
                    }
                }
            }
            Some("remove_header") => self.names(bag, &mut settings, target),
            Some("search_replace") => {
                self.charset(bag, "charset", false);
                if let Some(prop) = bag.take("replaceString") {
                    let text = prop.text.map(groups_in_braces);
                    settings.set("replace", value::text(&text, &prop.place));
                    self.carried(&prop, target, "replace");
                }
            }
            Some("regex_extractor") => self.serializers(bag, &mut settings, target),
            Some("morphline") => return self.morphline(bag),
            _ => {}
        }
        self.rest(bag);
        vec![settings]
    }

    fn morphline(&mut self, bag: &mut Bag) -> Vec<Settings> {
        let id = bag.take("morphlineId");
        let Some(file) = bag.take("morphlineFile") else {
            self.missing(bag, "morphlineFile");
            return Vec::new();
        };
        self.rest(bag);
        for prop in id.iter().chain([&file]) {
            self.add(Outcome::Carried, prop, "each command becomes an interceptor");
        }
        if let Some(name) = &file.text.unset {
            self.add(
                Outcome::Decision,
                &file,
                format!("the variable `{name}` is not set on this host; set it and convert again"),
            );
            return Vec::new();
        }
        let path = file.text.value.clone();
        let id = id.map(|it| it.text.value);
        let at = (file.key.as_str(), &file.place);
        morphline::interceptors(&path, id.as_deref(), at, self.world, self.report)
    }

    /// The names of `remove_header`.
    fn names(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let separator = bag.take("fromListSeparator");
        let divider = separator.as_ref().map_or("\\s*,\\s*", |it| it.text.value.as_str());
        // Flume splits by a regular expression; those in use are a character surrounded by blanks.
        let plain_divider = divider.replace("\\s*", "").replace("\\s+", " ").replace('\\', "");
        let mut names = Vec::new();
        let mut place = bag.place.clone();
        if let Some(prop) = bag.take("withName") {
            names.push(prop.text.value.clone());
            self.carried(&prop, target, "names");
            place = prop.place;
        }
        if let Some(prop) = bag.take("fromList") {
            match plain_divider.chars().count() == 1 {
                true => {
                    let all = prop.text.value.split(plain_divider.as_str()).map(str::trim);
                    names.extend(all.filter(|name| !name.is_empty()).map(str::to_owned));
                    self.carried(&prop, target, "names");
                }
                false => {
                    let what = format!(
                        "the separator `{divider}` is not supported: list the names in `withName` \
                         or separate them with commas"
                    );
                    self.add(Outcome::Decision, &prop, what);
                }
            }
            place = prop.place;
        }
        if let Some(prop) = separator {
            self.add(Outcome::Carried, &prop, "the separator of `fromList`");
        }
        if !names.is_empty() {
            settings.set("names", list(names.iter().map(String::as_str), &place));
        }
    }

    /// The serializers of `regex_extractor`.
    fn serializers(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let Some(named) = bag.take("serializers") else { return self.missing(bag, "serializers") };
        self.carried(&named, target, "serializers");
        let mut own = bag.below("serializers.");
        let mut made = Vec::new();
        for name in words(&named) {
            let mut one = own.below(&format!("{name}."));
            let mut serializer = Settings::at(Value::Table(Vec::new()), named.place.clone());
            match one.take("name") {
                Some(prop) => {
                    serializer.set("name", text_of(&prop));
                    self.carried(&prop, target, "serializers");
                }
                None => self.missing(&one, &format!("{name}.name")),
            }
            let kind = one.take("type");
            let pattern = one.take("pattern");
            if let Some(kind) = &kind {
                let class = kind.text.value.trim_end_matches("$Builder");
                let is = |name: &str| class.rsplit('.').next() == Some(name);
                match (&pattern, is(MILLIS)) {
                    (Some(pattern), true) => {
                        serializer.set("date", text_of(pattern));
                        let at = (pattern.key.as_str(), &pattern.place);
                        if let Some(zone) = self.host_zone(at, "dates without a zone") {
                            serializer.set("zone", plain(&zone, &pattern.place));
                        }
                        self.carried(kind, target, "serializers");
                        self.carried(pattern, target, "serializers");
                    }
                    (None, true) => self.missing(&one, "pattern"),
                    (_, false) if class == "default" || is(PASS) => {
                        self.add(Outcome::Carried, kind, "the value of the group, unchanged");
                    }
                    (_, false) => {
                        let what = "custom serializers are not supported: remove the serializer, \
                                    or write a component";
                        self.add(Outcome::Decision, kind, what);
                    }
                }
            }
            self.rest(&one);
            made.push(serializer);
        }
        for prop in &own.props {
            self.add(Outcome::Ignored, prop, "`serializers` does not list this serializer");
        }
        settings.set("serializers", Settings::list(made));
    }
}

/// Returns the words of a value.
pub(super) fn words(prop: &Prop) -> Vec<String> {
    prop.text.value.split_whitespace().map(str::to_owned).collect()
}

fn names_of(prop: &Prop) -> Settings {
    let read = value::read(&Text::plain(prop.text.value.clone()), As::Words, &prop.place);
    read.unwrap_or_else(|_| plain("", &prop.place))
}

/// Sets an entry of a table whose name may have dots.
fn set_below(made: &mut Settings, table: &str, name: &str, value: Settings) {
    let place = value.place.clone();
    let mut entries =
        made.take(table).unwrap_or_else(|| Settings::at(Value::Table(Vec::new()), place));
    entries.set(name, value);
    put(made, table, entries);
}

/// Java's `$1` is our `${1}`, and its `\$` our `$$`.
fn groups_in_braces(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('$') => whole.push_str("$$"),
                Some(other) => whole.push(other),
                None => {}
            },
            '$' if rest.peek().is_some_and(char::is_ascii_digit) => {
                let digits: String =
                    std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).collect();
                whole.push_str(&format!("${{{digits}}}"));
            }
            other => whole.push(other),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_replacement_are_written_as_ours() {
        for (java, ours) in [
            ("", ""),
            ("$1", "${1}"),
            ("<$1a$12>", "<${1}a${12}>"),
            ("\\$5 \\\\ ${name}", "$$5 \\ ${name}"),
            ("***", "***"),
        ] {
            assert_eq!(groups_in_braces(java), ours);
        }
    }
}
