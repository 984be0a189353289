//! The sink `hdfs`: path, formats and rolls.

mod time;

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Translator, number, plain, put, value};
use crate::agent::{Bag, Prop};
use crate::hadoop;
use crate::lookup::Text;
use crate::report::Outcome;

/// Flume's prefix of file names.
const FILE_PREFIX: &str = "FlumeData";

/// The longest age of a file: as long as a collector may be down.
const AGE_MAX: u64 = 6 * 60 * 60;

/// Files below this size, in bytes, are many.
const SIZE_SMALL: u64 = 1 << 20;

/// Files younger than this, in seconds, are many.
const AGE_SMALL: u64 = 60;

/// Stores that the `hdfs` sink writes.
const SCHEMES: [&str; 9] =
    ["hdfs", "viewfs", "webhdfs", "swebhdfs", "file", "s3", "gs", "abfs", "abfss"];

/// Hadoop's names of clients for S3.
const HADOOP_S3: [&str; 2] = ["s3a://", "s3n://"];

impl Translator<'_> {
    pub(super) fn hdfs(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let prefix = bag.take("hdfs.filePrefix");
        let (directory, prefix) = divided(prefix);
        if let Some(mut path) = bag.take("hdfs.path") {
            if let Some(directory) = directory {
                path.text.append(&Text::plain("/"));
                path.text.append(&directory);
            }
            self.path(&path, bag, settings, target);
            self.time(bag, &path, settings, target);
        } else {
            self.missing(bag, "hdfs.path");
        }
        self.file_names(prefix, bag, settings, target);
        self.identity(bag, settings, target);
        self.roll(bag, settings, target);
        self.file_type(bag, settings, target);
        let prop = bag.take("hdfs.maxOpenFiles");
        let most = value::count(prop.as_ref().map_or("5000", |it| it.text.value.as_str()));
        let place = prop.as_ref().map_or(&bag.place, |it| &it.place).clone();
        match (most, prop) {
            (Ok(most), prop) => {
                settings.set("buckets_max", number(most, &place));
                if let Some(prop) = prop {
                    self.carried(&prop, target, "buckets_max");
                }
            }
            (Err(problem), Some(prop)) => self.add(Outcome::Decision, &prop, problem),
            (Err(_), None) => {}
        }
    }

    /// Translates the names of files.
    fn file_names(
        &mut self,
        prefix: Option<Prop>,
        bag: &mut Bag,
        settings: &mut Settings,
        target: &str,
    ) {
        settings.set("file_prefix", plain(FILE_PREFIX, &bag.place));
        if let Some(prop) = prefix {
            let text = &prop.text.value;
            let head = text.split('%').next().unwrap_or_default();
            let head = head.trim_end_matches(['-', '_', '.', '=']);
            if text.contains('%') {
                let what = "file names cannot have escapes, so events with different values share \
                            a file: move the escapes to a directory of the path";
                self.add(Outcome::Differs, &prop, what);
                if is_prefix(head) {
                    settings.set("file_prefix", plain(head, &prop.place));
                }
            } else if is_prefix(text) {
                settings.set("file_prefix", value::text(&prop.text, &prop.place));
                self.carried(&prop, target, "file_prefix");
            } else if text.is_empty() {
                self.carried(&prop, target, "url");
            } else {
                let what = format!(
                    "a file name may only have letters, digits and `.`, `_`, `=`, `-`, and must \
                     not begin with `_` or `.`: using the prefix `{FILE_PREFIX}`"
                );
                self.add(Outcome::Differs, &prop, what);
            }
        }
        if let Some(prop) = bag.take("hdfs.fileSuffix") {
            let text = &prop.text.value;
            let is_text = bag.value("hdfs.fileType", "").eq_ignore_ascii_case("datastream")
                && bag.value("serializer", "text").eq_ignore_ascii_case("text");
            let is_ending = text.strip_prefix('.').is_some_and(is_plain) && !text.ends_with("json");
            if is_text && is_ending {
                settings.set("file_suffix", value::text(&prop.text, &prop.place));
                self.carried(&prop, target, "file_suffix");
            } else {
                let what = "the format and the codec set the extension, which readers need";
                self.add(Outcome::Differs, &prop, what);
            }
        }
    }

    /// Kerberos, and the user that the files belong to.
    fn identity(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let principal = bag.take("hdfs.kerberosPrincipal");
        let keytab = bag.take("hdfs.kerberosKeytab");
        match (principal, keytab) {
            (Some(principal), Some(keytab)) => {
                for (prop, name) in [(principal, "kerberos.principal"), (keytab, "kerberos.keytab")]
                {
                    put(settings, name, value::text(&prop.text, &prop.place));
                    self.carried(&prop, target, name);
                }
            }
            (Some(one), None) | (None, Some(one)) => {
                let what = "Kerberos needs both `hdfs.kerberosPrincipal` and \
                            `hdfs.kerberosKeytab`: set the other key";
                self.add(Outcome::Decision, &one, what);
            }
            (None, None) => {}
        }
        if let Some(prop) = bag.take("hdfs.proxyUser") {
            settings.set("proxy_user", value::text(&prop.text, &prop.place));
            self.carried(&prop, target, "proxy_user");
        }
    }

    fn path(&mut self, path: &Prop, bag: &Bag, settings: &mut Settings, target: &str) {
        let text = path.text.map(tidied);
        let text = if is_relative(&text.value) { self.below_home(path, &text, bag) } else { text };
        let text = match text.value.starts_with('/') {
            false => text,
            true => match hadoop::default_fs(self.options, self.world) {
                Some(store) => text.map(|path| format!("{store}{path}")),
                None => {
                    let what = "the path has no file system: set `fs.defaultFS` in core-site.xml \
                                of HADOOP_CONF_DIR, pass `--default-fs hdfs://HOST:PORT`, or write \
                                the NameNode into the path";
                    self.add(Outcome::Decision, path, what);
                    text.map(|path| format!("hdfs://namenode:8020{path}"))
                }
            },
        };
        let bucket = HADOOP_S3.iter().find_map(|name| text.value.strip_prefix(name));
        let bucket = bucket.map(str::to_owned);
        let text = match bucket {
            None => text,
            Some(rest) => {
                let what = "the S3 keys and endpoint of core-site.xml are not used: set them in \
                            `s3` of the sink (`access_key`, `secret_key`, `endpoint`)";
                self.add(Outcome::Differs, path, what);
                text.map(|_| format!("s3://{rest}"))
            }
        };
        if let Some((scheme, _)) = text.value.split_once("://")
            && !SCHEMES.contains(&scheme)
        {
            let stores = SCHEMES.join(", ");
            let what = format!("the store `{scheme}` is not supported; use one of {stores}");
            self.add(Outcome::Decision, path, what);
        }
        settings.set("url", value::text(&text, &path.place));
        if text.value.contains("%{") {
            let text = "`url`; slashes and spaces in values of headers are percent-encoded";
            return self.add(Outcome::Carried, path, text);
        }
        self.carried(path, target, "url");
    }

    /// Returns a relative path below the home directory of the sink's user, as in Hadoop.
    fn below_home(&mut self, path: &Prop, text: &Text, bag: &Bag) -> Text {
        let principal = bag.value("hdfs.kerberosPrincipal", "");
        let named = [bag.value("hdfs.proxyUser", ""), principal];
        let named = named.iter().map(|it| it.split(['/', '@']).next().unwrap_or_default());
        let named = named.filter(|it| !it.is_empty()).map(str::to_owned).next();
        let user = named
            .or_else(|| self.world.variable("HADOOP_USER_NAME"))
            .or_else(|| self.world.variable("USER"))
            .or_else(|| self.world.variable("LOGNAME"));
        let Some(user) = user else {
            let what = "the path is relative to the home directory of the user of the agent, but \
                        USER is not set: write `/user/NAME/…`";
            self.add(Outcome::Decision, path, what);
            return text.map(|path| format!("/{path}"));
        };
        let text = text.map(|path| format!("/user/{user}/{path}"));
        let what = format!("the path is relative and becomes `{}`", text.value);
        self.add(Outcome::Differs, path, what);
        text
    }

    fn roll(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let mut small = Vec::new();
        let age = self.limit(bag, "hdfs.rollInterval", 30);
        let size = self.limit(bag, "hdfs.rollSize", 1_024);
        let count = self.limit(bag, "hdfs.rollCount", 10);
        let idle = self.limit(bag, "hdfs.idleTimeout", 0);
        let age_max = if age == 0 { AGE_MAX } else { age.min(AGE_MAX) };
        let place = bag.place.clone();
        put(settings, "roll.age_max", plain(&value::seconds(age_max), &place));
        let idle_max = if idle == 0 { age_max } else { idle.min(age_max) };
        put(settings, "roll.idle_max", plain(&value::seconds(idle_max), &place));
        if size > 0 {
            put(settings, "roll.size_max", plain(&value::bytes(size), &place));
        }
        if count > 0 {
            put(
                settings,
                "roll.count_max",
                number(i64::try_from(count).unwrap_or(i64::MAX), &place),
            );
        }
        if (1..AGE_SMALL).contains(&age) {
            small.push(format!("`hdfs.rollInterval` is {age} s"));
        }
        if (1..SIZE_SMALL).contains(&size) {
            small.push(format!("`hdfs.rollSize` is {size} bytes"));
        }
        if (1..=1_000).contains(&count) {
            small.push(format!("`hdfs.rollCount` is {count} events"));
        }
        if !small.is_empty() {
            let small = small.join(", ");
            let text = format!(
                "many small files, because {small}; raise these limits (a file contains at least \
                 one batch)"
            );
            self.report.add(Outcome::Advice, &place, &format!("{}.hdfs.roll*", bag.path), text);
        }
        for (name, setting, off) in [
            ("hdfs.rollInterval", "roll.age_max", "no limit in Flume; here 6 h at most"),
            ("hdfs.rollSize", "roll.size_max", "a file ends at the block size"),
            ("hdfs.rollCount", "roll.count_max", ""),
            ("hdfs.idleTimeout", "roll.idle_max", ""),
        ] {
            let Some(prop) = bag.take(name) else { continue };
            let is_off = prop.text.value == "0" && !off.is_empty();
            match name {
                "hdfs.rollSize" if is_off => self.add(Outcome::Carried, &prop, off),
                _ if is_off => self.add(Outcome::Differs, &prop, off),
                _ => self.carried(&prop, target, setting),
            }
        }
    }

    /// A number that is 0 for no limit; one that cannot be read is reported and Flume's default.
    fn limit(&mut self, bag: &mut Bag, name: &str, default: u64) -> u64 {
        let Some(prop) = bag.get(name) else { return default };
        match value::unsigned(&prop.text.value) {
            Ok(count) => count,
            Err(problem) => {
                if let Some(prop) = bag.take(name) {
                    self.add(Outcome::Decision, &prop, problem);
                }
                default
            }
        }
    }

    fn file_type(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let kind = bag.take("hdfs.fileType");
        let name = kind.as_ref().map_or("sequencefile", |it| it.text.value.as_str()).to_lowercase();
        let key = kind.unwrap_or_else(|| super::sources::of_component(bag));
        let codec = bag.take("hdfs.codeC");
        let written = bag.take("hdfs.writeFormat");
        if name == "sequencefile" {
            self.carried(&key, target, "encoder");
            let encoder = self.sequence_file(bag, codec.as_ref(), written.as_ref(), target);
            settings.set("encoder", encoder);
            return;
        }
        match name.as_str() {
            "datastream" | "compressedstream" => self.carried(&key, target, "encoder"),
            other => {
                let known = ["SequenceFile", "DataStream", "CompressedStream"];
                let problem = pipeline::settings::unknown("file type", other, &known);
                self.add(Outcome::Decision, &key, problem);
            }
        }
        if let Some(prop) = &written {
            self.add(Outcome::Ignored, prop, "no effect: applies only to SequenceFile; remove it");
        }
        let encoder = self.encoder(bag, "serializer", target);
        settings.set("encoder", encoder);
        match (name.as_str(), codec) {
            ("datastream", Some(codec)) => {
                let what = "Flume rejects a codec with `DataStream`: use `CompressedStream`, or \
                            remove the codec";
                self.add(Outcome::Decision, &codec, what);
            }
            ("compressedstream", None) => {
                let what = "Flume rejects `CompressedStream` without `hdfs.codeC`: set a codec";
                self.add(Outcome::Decision, &key, what);
            }
            (_, Some(codec)) => self.codec(&codec, settings, target),
            (_, None) => {}
        }
    }
}

/// Divides a prefix of file names into its directories and the prefix itself.
fn divided(prefix: Option<Prop>) -> (Option<Text>, Option<Prop>) {
    let Some(mut prop) = prefix else { return (None, None) };
    if !prop.text.value.contains('/') {
        return (None, Some(prop));
    }
    let cut = |text: &str| text.rfind('/').unwrap_or_default();
    let directory = prop.text.map(|text| text[..cut(text)].trim_matches('/').to_owned());
    prop.text = prop.text.map(|text| text[cut(text)..].trim_start_matches('/').to_owned());
    (Some(directory).filter(|it| !it.value.is_empty()), Some(prop))
}

/// Returns `true` if the path is relative: it has no scheme, and does not begin with a reference.
fn is_relative(path: &str) -> bool {
    !path.starts_with('/') && !path.contains(":/") && !path.starts_with("${")
}

/// Returns `true` if file names may begin with this text.
fn is_prefix(text: &str) -> bool {
    is_plain(text) && !text.starts_with(['_', '.'])
}

/// Returns `true` if a file name may contain this text.
fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._=-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}

/// Returns a path without empty names, and with translated escapes. A URL without an authority,
/// `hdfs:/a` or `hdfs:///a`, becomes the path `/a`: Hadoop takes the authority from `fs.defaultFS`.
fn tidied(path: &str) -> String {
    let path = path.replace("%D", "%m/%d/%y");
    let (scheme, rest) = match path.split_once(":/") {
        Some((scheme, rest)) if !scheme.contains('/') && !scheme.contains('%') => {
            let has_authority = rest.starts_with('/') && !rest.starts_with("//");
            let names = rest.trim_start_matches('/');
            match scheme {
                // `file:/x` and `file:///x` are the same.
                "file" => ("file:///".to_owned(), names.to_owned()),
                _ if has_authority => (format!("{scheme}://"), names.to_owned()),
                _ => (String::new(), format!("/{names}")),
            }
        }
        _ => (String::new(), path.clone()),
    };
    let mut whole = scheme;
    let mut before = ' ';
    for c in rest.chars() {
        if c != '/' || before != '/' {
            whole.push(c);
        }
        before = c;
    }
    whole.trim_end_matches('/').to_owned()
}

/// Returns `true` if two sinks write the same data to the same location, except for the names of
/// their files: in Flume these names distinguish sinks that share the work.
pub(super) fn is_same(one: &Settings, other: &Settings) -> bool {
    let nameless = |sink: &Settings| {
        let mut sink = sink.clone();
        sink.take("file_prefix");
        sink
    };
    matches!(one.get("type").map(|it| &it.value), Some(Value::Text(kind)) if kind == "hdfs")
        && nameless(one) == nameless(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_tidied_and_keeps_its_escapes() {
        for (path, expected) in [
            ("hdfs://nn:8020/flume//%Y/%m/", "hdfs://nn:8020/flume/%Y/%m"),
            ("/flume/events/%y-%m-%d/%H%M/%S", "/flume/events/%y-%m-%d/%H%M/%S"),
            ("file:/tmp/x", "file:///tmp/x"),
            ("file:///tmp/x", "file:///tmp/x"),
            ("hdfs://nn/a/%D", "hdfs://nn/a/%m/%d/%y"),
            ("hdfs:///a//b/", "/a/b"),
            ("hdfs:/a/b", "/a/b"),
            ("events/raw", "events/raw"),
            ("hdfs://${NN}/a", "hdfs://${NN}/a"),
        ] {
            assert_eq!(tidied(path), expected);
        }
    }
}
