//! The HBase sinks: the address of ZooKeeper, and the effects of their serializers.

use pipeline::Settings;
use pipeline::settings::Value;
use regex::Regex;

use super::value::put_in;
use super::{Translator, java_regex, list, plain, put};
use crate::agent::Bag;
use crate::hadoop;
use crate::report::Outcome;

/// The port of ZooKeeper without one.
const ZOOKEEPER_PORT: u16 = 2181;

/// In `colNames`, the group of the row's key.
const ROW_KEY: &str = "ROW_KEY";

/// Names of the classes of serializers, without their packages.
const SIMPLE: &[&str] = &[
    "SimpleHbaseEventSerializer",
    "SimpleHBase2EventSerializer",
    "SimpleAsyncHbaseEventSerializer",
];
const REGEX: &[&str] = &["RegexHbaseEventSerializer", "RegexHBase2EventSerializer"];

impl Translator<'_> {
    pub(super) fn hbase_sink(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        self.quorum(bag, settings, target);
        let Some(family) = bag.take("columnFamily") else {
            return self.missing(bag, "columnFamily");
        };
        self.carried(&family, target, "columns");
        let family = family.text.value;
        let serializer = bag.take("serializer");
        let mut own = bag.below("serializer.");
        let class = serializer.as_ref().map_or(SIMPLE[0], |prop| &prop.text.value);
        let class = class.rsplit('.').next().unwrap_or(class).trim_end_matches("$Builder");
        let is_known = SIMPLE.contains(&class) || REGEX.contains(&class);
        if SIMPLE.contains(&class) {
            self.simple(&mut own, settings, target, &family);
        } else if is_known {
            self.regex(&mut own, settings, target, &family);
        }
        match &serializer {
            Some(prop) if is_known => self.carried(prop, target, "columns"),
            Some(prop) => {
                let what = "Java classes are not supported: set `row_key`, `columns` and \
                            `counters`";
                self.add(Outcome::Decision, prop, what);
            }
            None => {}
        }
        for prop in own.props {
            self.add(
                Outcome::Ignored,
                &prop,
                "the serializer does not read this key, so it has no effect in Flume either; \
                 remove it",
            );
        }
    }

    fn quorum(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let Some(prop) = bag.take("zookeeperQuorum") else {
            return self.quorum_of_site(bag, settings);
        };
        let servers = quorum(&prop.text.value, ZOOKEEPER_PORT);
        let servers = servers.iter().map(String::as_str);
        put(settings, "zookeeper.quorum", list(servers, &prop.place));
        self.carried(&prop, target, "zookeeper.quorum");
    }

    /// Takes the address of ZooKeeper from the hbase-site.xml of this host, as HBase's client does.
    fn quorum_of_site(&mut self, bag: &Bag, settings: &mut Settings) {
        let key = format!("{}.zookeeperQuorum", bag.path);
        let property = |name| hadoop::hbase_property(self.world, name);
        let Some(hosts) = property("hbase.zookeeper.quorum") else {
            let what = "the key is missing, and HBASE_CONF_DIR contains no hbase-site.xml with \
                        `hbase.zookeeper.quorum`: set one of them, or `masters`";
            return self.report.add(Outcome::Decision, &bag.place, &key, what);
        };
        let port = property("hbase.zookeeper.property.clientPort");
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(ZOOKEEPER_PORT);
        let servers = quorum(&hosts, port);
        let text = format!("hbase-site.xml: {}", servers.join(", "));
        let servers = servers.iter().map(String::as_str);
        put(settings, "zookeeper.quorum", list(servers, &bag.place));
        let znode = property("zookeeper.znode.parent");
        let has_znode = settings.get("zookeeper").is_some_and(|it| it.get("znode").is_some());
        if let Some(znode) = znode.filter(|_| !has_znode) {
            put(settings, "zookeeper.znode", plain(&znode, &bag.place));
        }
        self.report.add(Outcome::Carried, &bag.place, &key, text);
    }

    fn simple(&mut self, own: &mut Bag, settings: &mut Settings, target: &str, family: &str) {
        let place = own.place.clone();
        let prefix = own.value("rowPrefix", "default").to_owned();
        let payload = own.value("payloadColumn", "pCol").to_owned();
        let (row, column) = (
            own.value("incrementRow", "incRow").to_owned(),
            own.value("incrementColumn", "iCol").to_owned(),
        );
        settings.set("row_key", plain(&format!("{}%id", literal(&prefix)), &place));
        if !payload.is_empty() {
            let column = format!("{family}:{payload}");
            put_in(settings, "columns", &column, plain("%body", &place));
        }
        if !column.is_empty() {
            let mut counter = Settings::at(Value::Table(Vec::new()), place.clone());
            counter.set("row", plain(&literal(&row), &place));
            counter.set("column", plain(&format!("{family}:{column}"), &place));
            settings.set("counters", Settings::at(Value::List(vec![counter]), place));
        }
        for (key, setting) in [
            ("rowPrefix", "row_key"),
            ("suffix", "row_key"),
            ("payloadColumn", "columns"),
            ("incrementRow", "counters"),
            ("incrementColumn", "counters"),
        ] {
            if let Some(prop) = own.take(key) {
                self.carried(&prop, target, setting);
            }
        }
    }

    fn regex(&mut self, own: &mut Bag, settings: &mut Settings, target: &str, family: &str) {
        let place = own.place.clone();
        let flags = if Self::is_on(own, "regexIgnoreCase") { "si" } else { "s" };
        // Flume's has to match the whole body.
        let pattern = format!("^(?{flags}:{})$", own.value("regex", "(.*)"));
        let pattern = java_regex::translated(&pattern, false);
        let columns: Vec<String> =
            own.value("colNames", "payload").split(',').map(str::to_owned).collect();
        let index = own.value("rowKeyIndex", "-1").parse::<i64>().unwrap_or(-1);
        settings.set("pattern", plain(&pattern, &place));
        let key = usize::try_from(index).ok();
        let row_key = key.map_or_else(|| "%id".to_owned(), |key| format!("%[{}]", key + 1));
        settings.set("row_key", plain(&row_key, &place));
        for (at, name) in columns.iter().enumerate().filter(|(at, _)| Some(*at) != key) {
            let (column, value) = (format!("{family}:{name}"), format!("%[{}]", at + 1));
            put_in(settings, "columns", &column, plain(&value, &place));
        }
        if Self::is_on(own, "depositHeaders") {
            settings.set("header_family", plain(family, &place));
        }
        if let Some(problem) = mismatch(&pattern, &columns, key) {
            let place = own.take("regex").map_or(place, |prop| prop.place);
            let key = format!("{}.regex", own.path);
            self.report.add(Outcome::Decision, &place, &key, problem);
        }
        for (name, setting) in [
            ("regex", "pattern"),
            ("regexIgnoreCase", "pattern"),
            ("colNames", "columns"),
            ("rowKeyIndex", "row_key"),
            ("depositHeaders", "header_family"),
        ] {
            if let Some(prop) = own.take(name) {
                self.carried(&prop, target, setting);
            }
        }
        self.charset(own, "charset", true);
    }
}

/// Servers of ZooKeeper, each with its port.
fn quorum(text: &str, port: u16) -> Vec<String> {
    let servers = text.split(',').map(str::trim).filter(|server| !server.is_empty());
    let with_port = |server: &str| match server.contains(':') {
        true => server.to_owned(),
        false => format!("{server}:{port}"),
    };
    servers.map(with_port).collect()
}

/// Escapes literal text in a template.
fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

/// Returns the problem of a pattern and its columns, if any. Flume drops every event then.
fn mismatch(pattern: &str, columns: &[String], key: Option<usize>) -> Option<String> {
    let compiled = match Regex::new(pattern) {
        Ok(compiled) => compiled,
        Err(_) => {
            let what = "the expression has a construct that is not supported, such as look-around: \
                        rewrite `pattern`";
            return Some(what.to_owned());
        }
    };
    let (groups, names) = (compiled.captures_len() - 1, columns.len());
    if groups != names {
        return Some(format!(
            "the expression has {groups} groups, but `colNames` has {names} columns, so Flume \
             drops every event: make the numbers equal"
        ));
    }
    let is_named = |at: usize| columns.get(at).is_some_and(|it| it.eq_ignore_ascii_case(ROW_KEY));
    key.filter(|at| !is_named(*at)).map(|at| {
        format!(
            "`rowKeyIndex` is {at}, but this column of `colNames` is not {ROW_KEY}: correct one \
             of them"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_zookeeper_have_their_port() {
        assert_eq!(quorum("a, b:2182,", 2181), ["a:2181", "b:2182"]);
    }

    #[test]
    fn a_pattern_has_a_column_for_each_group_and_no_part_of_java_alone() {
        let of = |pattern: &str, columns: &[&str], key| {
            let columns: Vec<String> = columns.iter().map(|&it| it.to_owned()).collect();
            mismatch(pattern, &columns, key)
        };
        assert_eq!(of("(a)(b)", &["ROW_KEY", "x"], Some(0)), None);
        for (pattern, columns, key, expected) in [
            ("(a)(b)", &["x"][..], None, "2 groups"),
            ("(a)(b)", &["x", "ROW_KEY"], Some(0), "not ROW_KEY"),
            ("(a)", &["x"], Some(3), "not ROW_KEY"),
            ("(?=a)(b)", &["x"], None, "look-around"),
        ] {
            let problem = of(pattern, columns, key).unwrap();
            assert!(problem.contains(expected), "{pattern}: {problem}");
        }
    }
}
