//! `${…}` in values: environment, system properties, other keys of the file, and config filters.
//!
//! ```text
//!   ${env:NAME}  ${sys:NAME}  ${NAME:-default}   NAME is a key of the file, or of the environment
//!   ${filter['key']}                                filter is one of AGENT.configfilters
//! ```
//!
//! The value of an environment variable is kept together with a reference, so that a printed
//! configuration contains no secrets of the environment.

use std::collections::BTreeMap;

use pipeline::settings::{Place, unknown};

use crate::properties::Property;
use crate::report::{Outcome, Report};
use crate::{Options, World, credentials};

/// Maximum depth of references within references.
const DEPTH_MAX: usize = 8;

/// Maximum size of a value, including its references.
const VALUE_MAX: usize = 64 << 10;

/// The expected location of a config filter's secret, in a printed configuration.
const SECRETS: &str = "/etc/aqueduct/secrets";

/// A value after its references were replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// Its value.
    pub(crate) value: String,
    /// The same reference in Aqueduct's syntax; `None` without references.
    pub(crate) written: Option<String>,
    /// A reference without a value here; `value` has it unchanged.
    pub(crate) unset: Option<String>,
}

impl Text {
    /// Text without references.
    pub(crate) fn plain(value: impl Into<String>) -> Self {
        Self { value: value.into(), ..Self::default() }
    }

    /// Applies a function that leaves references unchanged.
    pub(crate) fn map(&self, change: impl Fn(&str) -> String) -> Self {
        let (value, written) = (change(&self.value), self.written.as_deref().map(&change));
        Self { value, written, unset: self.unset.clone() }
    }

    /// Appends a text, with its references.
    pub(crate) fn append(&mut self, more: &Self) {
        if self.written.is_some() || more.written.is_some() {
            let mut written = self.written.take().unwrap_or_else(|| escaped(&self.value));
            match &more.written {
                Some(reference) => written.push_str(reference),
                None => written.push_str(&escaped(&more.value)),
            }
            self.written = Some(written);
        }
        self.value.push_str(&more.value);
        if self.unset.is_none() {
            self.unset.clone_from(&more.unset);
        }
    }
}

/// In our files `$${` is the text `${`.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// A key of the agent, without the agent's name, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// The key after `AGENT.`.
    pub(crate) key: String,
    /// The value.
    pub(crate) text: Text,
    /// The place of the key.
    pub(crate) place: Place,
}

/// Returns the keys of one agent with their values; reports those that cannot be replaced.
pub(crate) fn resolve(
    all: &[Property],
    agent: &str,
    options: &Options,
    world: &dyn World,
    report: &mut Report,
) -> Vec<Value> {
    let keys = all.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
    let lookup = Lookup { keys, agent, keep: options.keep_references, world };
    let own = all.iter().filter_map(|it| Some((it, it.key.strip_prefix(agent)?)));
    let own = own.filter_map(|(it, rest)| Some((it, rest.strip_prefix('.')?)));
    let mut values = Vec::new();
    for (property, key) in own {
        let decide = |report: &mut Report, problem: String| {
            report.add(Outcome::Decision, &property.place, &property.key, problem);
        };
        let text = match lookup.expand(&property.value, 0) {
            Ok(text) => {
                if let Some(name) = text.unset.as_ref().filter(|_| !options.keep_references) {
                    decide(report, unset(name));
                }
                text
            }
            Err(problem) => {
                decide(report, problem);
                Text { unset: Some("a reference".into()), ..Text::plain(property.value.clone()) }
            }
        };
        values.push(Value { key: key.to_owned(), text, place: property.place.clone() });
    }
    values
}

/// Reports a variable without a value.
pub(crate) fn unset(name: &str) -> String {
    format!(
        "the variable `{name}` is not set in the environment of this command: set it and run the \
         command again"
    )
}

struct Lookup<'a> {
    keys: BTreeMap<&'a str, &'a str>,
    agent: &'a str,
    keep: bool,
    world: &'a dyn World,
}

impl Lookup<'_> {
    /// Replaces the references in the text.
    fn expand(&self, text: &str, depth: usize) -> Result<Text, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "references are nested more than {DEPTH_MAX} deep, or refer to each other; write \
                 the value instead"
            ));
        }
        let (mut whole, mut rest) = (Text::default(), text);
        while let Some(at) = rest.find("${") {
            let Some(length) = rest[at..].find('}') else { break };
            let (reference, inside) = (&rest[at..=at + length], &rest[at + 2..at + length]);
            whole.append(&Text::plain(&rest[..at]));
            whole.append(&self.find(reference, inside, depth)?);
            if whole.value.len() > VALUE_MAX {
                return Err(format!(
                    "the value exceeds {VALUE_MAX} bytes after its references are replaced; \
                     shorten it"
                ));
            }
            rest = &rest[at + length + 1..];
        }
        whole.append(&Text::plain(rest));
        Ok(whole)
    }

    fn find(&self, reference: &str, inside: &str, depth: usize) -> Result<Text, String> {
        if let Some((filter, key)) = inside.strip_suffix(']').and_then(|it| it.split_once('[')) {
            return self.filtered(filter, key.trim_matches(['\'', '"']), depth);
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match name.split_once(':') {
            Some(("env", name)) => Ok(self.variable(name, default)),
            Some(("sys", name)) => match (self.world.system(name), default) {
                (Some(value), _) => Ok(Text::plain(value)),
                (None, Some(default)) => Ok(Text::plain(default)),
                (None, None) => {
                    Err(format!("the system property `{name}` is not set; pass `-D{name}=…`"))
                }
            },
            Some((lookup, _)) => {
                Err(format!("unknown lookup `{lookup}`; write the value, or `${{env:NAME}}`"))
            }
            // A group of a regular expression's replacement.
            None if name.chars().all(|c| c.is_ascii_digit()) => Ok(Text::plain(reference)),
            None => match self.keys.get(name) {
                Some(value) => self.expand(value, depth + 1),
                None => Ok(self.variable(name, default)),
            },
        }
    }

    /// An environment variable, and how our files refer to it.
    fn variable(&self, name: &str, default: Option<&str>) -> Text {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits);
        let reference = match default {
            Some(default) => format!("${{{name}:-{default}}}"),
            None => format!("${{{name}}}"),
        };
        let written = (is_name && !name.is_empty()).then(|| reference.clone());
        match self.world.variable(name).or_else(|| default.map(str::to_owned)) {
            Some(value) => Text { value, written, unset: None },
            None => Text { value: reference, written, unset: Some(name.to_owned()) },
        }
    }

    /// Returns a config filter's value for a key.
    fn filtered(&self, filter: &str, key: &str, depth: usize) -> Result<Text, String> {
        let prefix = format!("{}.configfilters.{filter}", self.agent);
        let setting = |name: &str| match self.keys.get(format!("{prefix}.{name}").as_str()) {
            Some(value) => self.expand(value, depth + 1).map(|text| Some(text.value)),
            None => Ok(None),
        };
        let Some(kind) = setting("type")? else {
            return Err(format!(
                "the config filter `{filter}` is not configured: set `{prefix}.type`"
            ));
        };
        let kind = kind.to_lowercase();
        let is = |name: &str, class: &str| kind == name || kind == class.to_lowercase();
        if is("env", "org.apache.flume.configfilter.EnvironmentVariableConfigFilter") {
            return Ok(self.variable(key, None));
        }
        // The value is a secret: a configuration that is printed has a reference to a file.
        let reference = format!("${{file:{SECRETS}/{key}}}");
        let written = Some(reference.clone());
        if is("hadoop", "org.apache.flume.configfilter.HadoopCredentialStoreConfigFilter") {
            return match self.keep {
                true => Ok(Text { value: reference, written, unset: Some(key.to_owned()) }),
                false => {
                    let value = self.credential(&prefix, key, setting)?;
                    Ok(Text { value, written, unset: None })
                }
            };
        }
        if !is("external", "org.apache.flume.configfilter.ExternalProcessConfigFilter") {
            return Err(unknown("config filter type", &kind, &["env", "hadoop", "external"]));
        }
        let command = setting("command")?;
        let command = command.ok_or_else(|| format!("`{prefix}.command` is missing; add it"))?;
        match self.world.run(&command, key) {
            None => Ok(Text { value: reference, written, unset: Some(key.to_owned()) }),
            Some(Ok(value)) => Ok(Text { value: value.trim().to_owned(), written, unset: None }),
            Some(Err(problem)) => Err(format!(
                "`{command} {key}` failed: {problem}; run it as the user of this command to see why"
            )),
        }
    }

    /// Returns the value of a key in a credential store of Hadoop. `setting` returns the keys of
    /// the filter.
    fn credential(
        &self,
        prefix: &str,
        key: &str,
        setting: impl Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<String, String> {
        let paths = setting("credential.provider.path")?;
        let missing = || format!("`{prefix}.credential.provider.path` is missing; add it");
        let paths = paths.ok_or_else(missing)?;
        let password_file = setting("credstore.java-keystore-provider.password-file")?;
        credentials::secret(&paths, password_file.as_deref(), key, self.world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Here;

    impl World for Here {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "NN").then(|| "namenode".into())
        }
        fn system(&self, name: &str) -> Option<String> {
            (name == "port").then(|| "8020".into())
        }
        fn run(&self, program: &str, argument: &str) -> Option<Result<String, String>> {
            match program {
                "/bin/secret" => Some(Ok(format!("<{argument}>\n"))),
                _ => Some(Err("exit status: 1".into())),
            }
        }
        fn file(&self, path: &str) -> Result<Vec<u8>, String> {
            match path {
                "/s/none.jceks" => Ok(include_bytes!("../tests/credentials/none.jceks").to_vec()),
                "/s/changeit.jceks" => {
                    Ok(include_bytes!("../tests/credentials/changeit.jceks").to_vec())
                }
                "/s/password" => Ok(b"changeit\n".to_vec()),
                _ => Err("No such file or directory".to_owned()),
            }
        }
    }

    const FILE: &str = "a1.x = 1\nbase = ${deep}/b\ndeep = /d\na = ${b}\nb = ${a}\n\
        a1.configfilters.f.type = external\na1.configfilters.f.command = /bin/secret\n\
        a1.configfilters.bad.type = external\na1.configfilters.bad.command = /bin/false\n\
        a1.configfilters.e.type = ENV\n\
        a1.configfilters.h.type = hadoop\n\
        a1.configfilters.h.credential.provider.path = jceks://file/s/none.jceks\n\
        a1.configfilters.hp.type = hadoop\na1.configfilters.hp.credential.provider.path = \
        localjceks://file/s/changeit.jceks\n\
        a1.configfilters.hp.credstore.java-keystore-provider.password-file = /s/password\n\
        a1.configfilters.h2.type = hadoop\na1.configfilters.h2.credential.provider.path = \
        jceks://file/s/changeit.jceks\n\
        a1.configfilters.h3.type = hadoop\na1.configfilters.h3.credential.provider.path = \
        jceks://hdfs@nn/x\na1.configfilters.h4.type = hadoop\n\
        a1.configfilters.h5.type = hadoop\na1.configfilters.h5.credential.provider.path = \
        jceks://file/gone\n";

    fn expanded(value: &str) -> Result<Text, String> {
        let all = crate::properties::read(&"a".into(), FILE).unwrap();
        let keys = all.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
        Lookup { keys, agent: "a1", keep: false, world: &Here }.expand(value, 0)
    }

    #[test]
    fn each_kind_of_reference_is_replaced() {
        for (text, value, written) in [
            ("plain", "plain", None),
            ("$1 ${1} ${", "$1 ${1} ${", None),
            (
                "hdfs://${env:NN}:${sys:port}/x",
                "hdfs://namenode:8020/x",
                Some("hdfs://${NN}:8020/x"),
            ),
            ("${NN}", "namenode", Some("${NN}")),
            ("${env:NO:-d}", "d", Some("${NO:-d}")),
            ("${base}/c", "/d/b/c", None),
            ("${f['pw']}", "<pw>", Some("${file:/etc/aqueduct/secrets/pw}")),
            ("${e[\"NN\"]}", "namenode", Some("${NN}")),
            ("${h['ks_password']}", "geheim", Some("${file:/etc/aqueduct/secrets/ks_password}")),
            ("${hp['ks_password']}", "other", Some("${file:/etc/aqueduct/secrets/ks_password}")),
        ] {
            let text = expanded(text).unwrap();
            assert_eq!((text.value.as_str(), text.written.as_deref()), (value, written));
            assert_eq!(text.unset, None);
        }
        assert_eq!(expanded("${env:NO}").unwrap().unset.as_deref(), Some("NO"));
    }

    #[test]
    fn what_has_no_value_is_refused_with_the_remedy() {
        for (text, remedy) in [
            ("${sys:none}", "`-Dnone=…`"),
            ("${date:yyyy}", "unknown lookup `date`"),
            ("${a}", "refer to each other"),
            ("${none['x']}", "config filter `none` is not configured"),
            ("${bad['x']}", "`/bin/false x` failed: exit status: 1"),
            ("${h['x']}", "create it with `hadoop credential create x -provider jceks://"),
            ("${h2['ks_password']}", "set HADOOP_CREDSTORE_PASSWORD"),
            ("${h3['x']}", "copy it to this host"),
            ("${h4['x']}", "`a1.configfilters.h4.credential.provider.path` is missing"),
            ("${h5['x']}", "/gone: No such file or directory"),
        ] {
            let problem = expanded(text).unwrap_err();
            assert!(problem.contains(remedy), "{text}: {problem}");
        }
    }

    #[test]
    fn references_that_grow_without_end_are_refused() {
        let mut file = String::from("k0 = 0123456789abcdef\n");
        for at in 1..8 {
            let before = format!("${{k{}}}", at - 1).repeat(16);
            file.push_str(&format!("k{at} = {before}\n"));
        }
        let all = crate::properties::read(&"a".into(), &file).unwrap();
        let keys = all.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
        let lookup = Lookup { keys, agent: "a1", keep: false, world: &Here };
        assert!(lookup.expand("${k7}", 0).unwrap_err().contains("exceeds 65536 bytes"));
    }
}
