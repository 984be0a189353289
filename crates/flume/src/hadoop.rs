//! Properties of Hadoop's configuration, such as the default file system.

use crate::{Options, World};

/// Names of the property, the current one first.
const NAMES: [&str; 2] = ["fs.defaultFS", "fs.default.name"];

/// Returns the default file system, without a slash at its end: the option `--default-fs`, or
/// `fs.defaultFS` of the core-site.xml that the sink `hdfs` reads.
pub(crate) fn default_fs(options: &Options, world: &dyn World) -> Option<String> {
    let of_site = || site_default_fs(|name| world.variable(name), |path| world.file(path).ok());
    let found = options.default_fs.clone().or_else(of_site)?;
    match found.as_str() {
        "local" | "file:/" | "file:///" => Some("file://".to_owned()),
        store => Some(store.trim_end_matches('/').to_owned()),
    }
}

/// Returns `fs.defaultFS` of the core-site.xml in `HADOOP_CONF_DIR`, or below `HADOOP_HOME`.
pub fn site_default_fs(
    variable: impl Fn(&str) -> Option<String>,
    file: impl Fn(&str) -> Option<Vec<u8>>,
) -> Option<String> {
    let home = || Some(format!("{}/etc/hadoop", variable("HADOOP_HOME")?));
    let directory = variable("HADOOP_CONF_DIR").or_else(home)?;
    let text = String::from_utf8(file(&format!("{directory}/core-site.xml"))?).ok()?;
    NAMES.iter().find_map(|name| property(&text, name))
}

/// Returns a property of the hbase-site.xml in `HBASE_CONF_DIR`, below `HBASE_HOME`, or in the
/// usual directory.
pub(crate) fn hbase_property(world: &dyn World, name: &str) -> Option<String> {
    let home = || Some(format!("{}/conf", world.variable("HBASE_HOME")?));
    let directory = world.variable("HBASE_CONF_DIR").or_else(home);
    let directory = directory.unwrap_or_else(|| "/etc/hbase/conf".to_owned());
    let text = String::from_utf8(world.file(&format!("{directory}/hbase-site.xml")).ok()?).ok()?;
    property(&text, name)
}

/// Returns the value of a property in Hadoop's XML. As in Hadoop, the last one counts.
pub fn property(text: &str, name: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        plain.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
    }
    plain.push_str(rest);
    let element = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(inner, _)| inner.trim().to_owned())
    };
    let properties = plain.split("<property>").skip(1);
    let named = properties.filter(|it| element(it, "name").as_deref() == Some(name));
    let value = named.filter_map(|it| element(it, "value")).last()?;
    (!value.is_empty() && !value.contains("${")).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::property;

    #[test]
    fn the_last_property_of_a_name_counts_and_comments_do_not() {
        let text = "<?xml version=\"1.0\"?>\n<configuration>\n\
            <!-- <property><name>fs.defaultFS</name><value>hdfs://old</value></property> -->\n\
            <property>\n  <name>fs.defaultFS</name>\n  <value>hdfs://nn:8020</value>\n\
            <final>true</final></property>\n\
            <property><value>x</value><name>other</name></property></configuration>";
        assert_eq!(property(text, "fs.defaultFS").as_deref(), Some("hdfs://nn:8020"));
        assert_eq!(property(text, "other").as_deref(), Some("x"));
        assert_eq!(property(text, "fs.default.name"), None);
    }
}
