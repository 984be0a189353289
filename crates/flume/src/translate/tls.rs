//! TLS: `ssl` and its keys, with their system properties and variables as fallbacks.

use pipeline::Settings;
use pipeline::settings::Place;

use super::{Translator, flag, plain, put, value};
use crate::agent::{Bag, Prop};
use crate::lookup::Text;
use crate::report::Outcome;

/// The side of a component in a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// A setting, its keys, and their fallbacks.
struct Part {
    setting: &'static str,
    keys: &'static [&'static str],
    /// A system property of Java, and a variable of Flume.
    behind: (&'static str, &'static str),
}

const KEYSTORE: [Part; 2] = [
    Part {
        setting: "tls.keystore",
        keys: &["keystore"],
        behind: ("javax.net.ssl.keyStore", "FLUME_SSL_KEYSTORE_PATH"),
    },
    Part {
        setting: "tls.keystore_password",
        keys: &["keystore-password", "keystorePassword"],
        behind: ("javax.net.ssl.keyStorePassword", "FLUME_SSL_KEYSTORE_PASSWORD"),
    },
];

const TRUSTSTORE: [Part; 2] = [
    Part {
        setting: "tls.truststore",
        keys: &["truststore"],
        behind: ("javax.net.ssl.trustStore", "FLUME_SSL_TRUSTSTORE_PATH"),
    },
    Part {
        setting: "tls.truststore_password",
        keys: &["truststore-password"],
        behind: ("javax.net.ssl.trustStorePassword", "FLUME_SSL_TRUSTSTORE_PASSWORD"),
    },
];

const SWITCHES: [&str; 2] = ["ssl", "enableSSL"];

/// All keys of the table, for components in which they have no meaning.
const KEYS: [&str; 13] = [
    "keystore",
    "keystore-password",
    "keystorePassword",
    "keystore-password-file",
    "keystore-type",
    "truststore",
    "truststore-password",
    "truststore-type",
    "trust-all-certs",
    "exclude-protocols",
    "include-protocols",
    "exclude-cipher-suites",
    "include-cipher-suites",
];

impl Translator<'_> {
    /// Translates the table `tls` of a component with `ssl = true`.
    pub(super) fn tls(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str, side: Side) {
        let switches = SWITCHES.map(|name| (Self::is_on(bag, name), bag.take(name)));
        let is_on = switches.iter().any(|(is_on, _)| *is_on);
        for prop in switches.into_iter().filter_map(|(_, prop)| prop) {
            match is_on {
                true => self.carried(&prop, target, "tls"),
                false => self.add(Outcome::Carried, &prop, "Flume's default"),
            }
        }
        if is_on {
            match side {
                Side::Server => self.keystore(bag, settings, target),
                Side::Client => self.truststore(bag, settings, target),
            }
            self.protocols(bag, settings, target);
        }
        for name in KEYS {
            let Some(prop) = bag.take(name) else { continue };
            let why = match (is_on, name) {
                (false, _) => "applies only with `ssl`",
                (_, "keystore-type" | "truststore-type") => {
                    "not needed: detected from the first bytes of the file"
                }
                (_, "exclude-cipher-suites") => {
                    "not needed: all available cipher suites are strong"
                }
                (_, "trust-all-certs") => "Flume's default",
                _ => "no effect: this component does not have the key in Flume",
            };
            self.add(Outcome::Ignored, &prop, why);
        }
    }

    fn keystore(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let [store, password] = &KEYSTORE;
        let has_store = self.part(bag, settings, target, store);
        let has_own = password.keys.iter().any(|name| bag.get(name).is_some());
        match bag.take("keystore-password-file") {
            Some(prop) if !has_own => {
                self.password_of_file(&prop, settings, target, "tls.keystore_password");
            }
            file => {
                if let Some(prop) = file {
                    let why = "no effect: the configuration contains the password";
                    self.add(Outcome::Ignored, &prop, why);
                }
                if !self.part(bag, settings, target, password) && has_store {
                    let what = "set the key, or `tls.certificate` and `tls.key`";
                    self.lacks(bag, "keystore-password", what);
                }
            }
        }
        if !has_store {
            let what = "set the key, or `tls.certificate` and `tls.key` with PEM files";
            self.lacks(bag, "keystore", what);
        }
    }

    /// Translates a password in a separate file into a reference.
    pub(super) fn password_of_file(
        &mut self,
        prop: &Prop,
        settings: &mut Settings,
        target: &str,
        setting: &str,
    ) {
        if !self.options.keep_references {
            let what = "password files are not read when Flume's configuration runs directly: run \
                        `aqueduct convert FILE`, whose output refers to the file";
            return self.add(Outcome::Decision, prop, what);
        }
        let reference = format!("${{file:{}}}", prop.text.value);
        let text = Text { written: Some(reference.clone()), value: reference, unset: None };
        put(settings, setting, value::text(&text, &prop.place));
        self.carried(prop, target, setting);
    }

    fn truststore(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let trusts_all = Self::is_on(bag, "trust-all-certs");
        let place = bag.place.clone();
        if trusts_all {
            if let Some(prop) = bag.take("trust-all-certs") {
                put(settings, "tls.trust_all", flag(true, &prop.place));
                self.carried(&prop, target, "tls.trust_all");
            }
            for name in ["truststore", "truststore-password"] {
                if let Some(prop) = bag.take(name) {
                    self.add(
                        Outcome::Ignored,
                        &prop,
                        "no effect: `trust-all-certs` accepts every certificate",
                    );
                }
            }
        } else {
            let [store, password] = &TRUSTSTORE;
            if self.part(bag, settings, target, store) {
                self.part(bag, settings, target, password);
            } else {
                // Java has separate authorities.
                let key = format!("{}.truststore", bag.path);
                let what = "the certificate authorities of this host are trusted instead of those \
                            of Java";
                self.report.add(Outcome::Differs, &place, &key, what);
            }
        }
        // Flume never compares the name.
        put(settings, "tls.check_name", flag(false, &place));
        let is_deflate = bag.value("compression-type", "none").eq_ignore_ascii_case("deflate")
            || settings.get("compression").is_some_and(|it| *it == plain("deflate", &it.place));
        if is_deflate {
            // As Flume 1.10 and 1.11 do, and their sources expect.
            settings.set("compression_layer", plain("outside", &place));
        }
    }

    fn protocols(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let words = |text: &str| -> Vec<String> {
            text.split([' ', ',']).filter(|it| !it.is_empty()).map(str::to_owned).collect()
        };
        for name in ["include-protocols", "exclude-protocols"] {
            let Some(prop) = bag.take(name) else { continue };
            let named = words(&prop.text.value);
            let has = |word: &str| named.iter().any(|it| it == word);
            let is_new = match name {
                "include-protocols" => has("TLSv1.3") && !has("TLSv1.2"),
                _ => has("TLSv1.2"),
            };
            let is_old = name == "include-protocols" && !has("TLSv1.2") && !has("TLSv1.3");
            if is_old {
                let what = "only TLS 1.2 and 1.3 are supported; remove the other protocols from \
                            the key";
                self.add(Outcome::Decision, &prop, what);
            } else if is_new {
                put(settings, "tls.min_version", plain("1.3", &prop.place));
                self.carried(&prop, target, "tls.min_version");
            } else {
                self.add(
                    Outcome::Ignored,
                    &prop,
                    "only TLS 1.2 and 1.3 are supported; remove the other protocols from the key",
                );
            }
        }
        if let Some(prop) = bag.take("include-cipher-suites") {
            let what = "no effect: rustls selects the cipher suites, all with forward secrecy and \
                        AEAD";
            self.add(Outcome::Differs, &prop, what);
        }
    }

    /// Sets a setting from the first of its keys, else from a fallback; returns whether there is
    /// any.
    fn part(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str, part: &Part) -> bool {
        for name in part.keys {
            if let Some(prop) = bag.take(name) {
                put(settings, part.setting, value::text(&prop.text, &prop.place));
                self.carried(&prop, target, part.setting);
                return true;
            }
        }
        let Some(text) = self.behind(part.behind) else { return false };
        put(settings, part.setting, value::text(&text, &bag.place));
        true
    }

    fn behind(&self, (property, variable): (&str, &str)) -> Option<Text> {
        if let Some(value) = self.world.system(property) {
            return Some(Text::plain(value));
        }
        let value = self.world.variable(variable)?;
        Some(Text { value, written: Some(format!("${{{variable}}}")), unset: None })
    }

    fn lacks(&mut self, bag: &Bag, name: &str, what: &str) {
        let place: Place = bag.place.clone();
        let key = format!("{}.{name}", bag.path);
        let text = format!(
            "the key is missing, and neither its system property nor its environment variable is \
             set: {what}"
        );
        self.report.add(Outcome::Decision, &place, &key, text);
    }
}

#[cfg(test)]
mod tests {
    use pipeline::settings::Value;

    use crate::{Conversion, File, Options, World, convert};

    struct Globals;

    impl World for Globals {
        fn variable(&self, name: &str) -> Option<String> {
            let is_known = name.starts_with("FLUME_SSL_");
            is_known.then(|| format!("of {name}"))
        }
        fn system(&self, name: &str) -> Option<String> {
            (name == "javax.net.ssl.keyStore").then(|| "/of/the/property".to_owned())
        }
    }

    fn converted(keys: &str) -> Conversion {
        let text = format!(
            "a.sources = r\na.channels = c\na.sinks = k\na.channels.c.type = memory\n\
             a.sources.r.type = avro\na.sources.r.bind = h\na.sources.r.port = 1\n\
             a.sources.r.channels = c\na.sinks.k.type = avro\na.sinks.k.hostname = h\n\
             a.sinks.k.port = 1\na.sinks.k.channel = c\n{keys}"
        );
        let options = Options {
            agent: None,
            data_dir: "/d".into(),
            admin: None,
            flume_metrics: None,
            default_fs: None,
            keep_references: true,
            jvm: None,
        };
        convert(&[File { name: "f".into(), text }], &options, &Globals).unwrap()
    }

    /// Returns a setting: its value, and its printed form.
    fn at(conversion: &Conversion, path: &str) -> Option<(Value, Option<String>)> {
        let mut settings = &conversion.settings;
        for name in path.split('.') {
            settings = settings.get(name)?;
        }
        Some((settings.value.clone(), settings.written.as_deref().map(str::to_owned)))
    }

    fn text(conversion: &Conversion, path: &str) -> Option<String> {
        match at(conversion, path)?.0 {
            Value::Text(text) => Some(text),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_key_counts_before_a_system_property_and_that_before_a_variable() {
        let it = converted("a.sources.r.ssl = true\n");
        assert_eq!(text(&it, "sources.r.tls.keystore").as_deref(), Some("/of/the/property"));
        let (value, written) = at(&it, "sources.r.tls.keystore_password").unwrap();
        assert_eq!(value, Value::Text("of FLUME_SSL_KEYSTORE_PASSWORD".into()));
        assert_eq!(written.as_deref(), Some("${FLUME_SSL_KEYSTORE_PASSWORD}"));
        let it = converted("a.sources.r.ssl = true\na.sources.r.keystore = /own\n");
        assert_eq!(text(&it, "sources.r.tls.keystore").as_deref(), Some("/own"));
        let it = converted("a.sources.r.keystore = /own\n");
        assert!(at(&it, "sources.r.tls").is_none(), "without `ssl` there is no TLS");
    }

    #[test]
    fn what_flume_speaks_in_plain_text_says_so_and_is_advised_against() {
        let it = converted("a.sinks.k.ssl = true\n");
        assert_eq!(at(&it, "sources.r.insecure").unwrap().0, Value::Flag(true));
        assert!(at(&it, "sinks.k.insecure").is_none(), "it has TLS");
        let advised: Vec<_> = it.report.of(crate::Outcome::Advice).map(|it| &*it.key).collect();
        assert!(advised.contains(&"a.sources.r") && !advised.contains(&"a.sinks.k"), "{advised:?}");
        let it = converted("a.sources.r.bind = localhost\n");
        assert!(at(&it, "sources.r.insecure").is_none(), "it stays on this host");
    }

    #[test]
    fn a_sink_checks_no_name_and_has_zlib_around_tls() {
        let it = converted("a.sinks.k.ssl = true\na.sinks.k.compression-type = deflate\n");
        let truststore = text(&it, "sinks.k.tls.truststore");
        assert_eq!(truststore.as_deref(), Some("of FLUME_SSL_TRUSTSTORE_PATH"));
        assert_eq!(at(&it, "sinks.k.tls.check_name").unwrap().0, Value::Flag(false));
        assert_eq!(text(&it, "sinks.k.compression_layer").as_deref(), Some("outside"));
        let it = converted("a.sinks.k.ssl = true\na.sinks.k.trust-all-certs = true\n");
        assert_eq!(at(&it, "sinks.k.tls.trust_all").unwrap().0, Value::Flag(true));
        assert!(at(&it, "sinks.k.tls.truststore").is_none());
        assert!(at(&it, "sinks.k.compression_layer").is_none());
    }

    #[test]
    fn a_password_in_a_file_becomes_a_reference() {
        let keys = "a.sources.r.ssl = true\na.sources.r.keystore-password-file = /etc/pw\n";
        let (_, written) = at(&converted(keys), "sources.r.tls.keystore_password").unwrap();
        assert_eq!(written.as_deref(), Some("${file:/etc/pw}"));
    }
}
