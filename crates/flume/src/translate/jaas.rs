//! A login module of Java (JAAS), as the property `sasl.jaas.config` has it:
//! `MODULE required NAME="VALUE" … ;`, and files with entries `NAME { MODULE … ; };`. Pure.

/// The credentials of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login<'a> {
    User {
        user: &'a str,
        password: &'a str,
    },
    Keytab {
        principal: &'a str,
        keytab: &'a str,
        service: Option<&'a str>,
    },
    /// The ticket cache of the process.
    Cache {
        service: Option<&'a str>,
    },
    /// Of a server of tokens (OAuth 2).
    Client {
        id: &'a str,
        secret: &'a str,
        scope: Option<&'a str>,
    },
}

/// Kerberos options that do not affect the identity.
const OF_JAVA: &[&str] = &[
    "storeKey",
    "doNotPrompt",
    "renewTGT",
    "refreshKrb5Config",
    "isInitiator",
    "debug",
    "useKeyTab",
    "useTicketCache",
];

/// The module of tokens.
pub(super) const OAUTH_MODULE: &str = "OAuthBearerLoginModule";

/// Returns the login of a known module. `None` if a part of it is elsewhere, or has another meaning
/// here.
pub(super) fn login(jaas: &str) -> Option<Login<'_>> {
    let (module, options) =
        jaas.trim().strip_suffix(';')?.trim().split_once(char::is_whitespace)?;
    let options = options_of(options.trim_start().strip_prefix("required")?)?;
    let value = |name: &str| options.iter().find(|(known, _)| *known == name).map(|it| it.1);
    let knows_all = |known: &[&str]| options.iter().all(|(name, _)| known.contains(name));
    match module.rsplit('.').next()? {
        "PlainLoginModule" | "ScramLoginModule" => {
            let (user, password) = (value("username")?, value("password")?);
            knows_all(&["username", "password"]).then_some(Login::User { user, password })
        }
        OAUTH_MODULE => {
            let (id, secret) = (value("clientId")?, value("clientSecret")?);
            let scope = value("scope");
            let is_known = knows_all(&["clientId", "clientSecret", "scope"]);
            is_known.then_some(Login::Client { id, secret, scope })
        }
        "Krb5LoginModule" => {
            let is_on = |name| value(name).is_some_and(|it| it.eq_ignore_ascii_case("true"));
            let own = ["keyTab", "principal", "serviceName"];
            if !knows_all(&[&own, OF_JAVA].concat()) {
                return None;
            }
            let service = value("serviceName");
            match (is_on("useKeyTab"), is_on("useTicketCache")) {
                (true, _) => Some(Login::Keytab {
                    principal: value("principal")?,
                    keytab: value("keyTab")?,
                    service,
                }),
                (false, true) if value("principal").is_none() => Some(Login::Cache { service }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns the content of an entry in a file.
pub(super) fn entry<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = file;
    while let Some((before, behind)) = rest.split_once('{') {
        let (content, later) = behind.split_once('}')?;
        if before.trim_start_matches([';', ' ', '\t', '\r', '\n']).trim_end() == name {
            return Some(content);
        }
        rest = later;
    }
    None
}

/// Names and values; a value may stand without quotes.
fn options_of(text: &str) -> Option<Vec<(&str, &str)>> {
    let (mut options, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => behind.split_at(behind.find(char::is_whitespace).unwrap_or(behind.len())),
        };
        if value.contains(['\\', '$']) {
            return None;
        }
        options.push((name.trim_end(), value));
        rest = behind.trim_start();
    }
    Some(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_file_is_found_by_its_name() {
        let file = "Client {\n x required a=b;\n};\nKafkaClient {\n  x.PlainLoginModule required \
                    username=\"u\"\n  password=\"p\";\n};\n";
        let found = entry(file, "KafkaClient").and_then(login);
        assert_eq!(found, Some(Login::User { user: "u", password: "p" }));
        assert_eq!(entry(file, "KafkaServer"), None);
        assert_eq!(entry("KafkaClient {", "KafkaClient"), None);
    }

    #[test]
    fn a_login_module_is_read_unless_a_part_of_it_stands_elsewhere() {
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                     username=\"u\" password=\"p w\";";
        assert_eq!(login(plain), Some(Login::User { user: "u", password: "p w" }));
        let turned = "x.ScramLoginModule  required password=\"p\"  username=\"u\" ;";
        assert_eq!(login(turned), Some(Login::User { user: "u", password: "p" }));
        let of_flume = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true \
                        storeKey=true keyTab=\"/etc/flume.keytab\" principal=\"flume/h@R\";";
        let (principal, keytab) = ("flume/h@R", "/etc/flume.keytab");
        let expected = Login::Keytab { principal, keytab, service: None };
        assert_eq!(login(of_flume), Some(expected));
        let named = "Krb5LoginModule required useKeyTab=\"true\" keyTab=/k principal=a@R \
                     serviceName=\"kafka\";";
        let expected = Login::Keytab { principal: "a@R", keytab: "/k", service: Some("kafka") };
        assert_eq!(login(named), Some(expected));
        let cached = "x.Krb5LoginModule required useTicketCache=true renewTGT=true;";
        assert_eq!(login(cached), Some(Login::Cache { service: None }));
        let client = "x.OAuthBearerLoginModule required clientId=\"a\" clientSecret=\"b c\" \
                      scope=\"d\";";
        let expected = Login::Client { id: "a", secret: "b c", scope: Some("d") };
        assert_eq!(login(client), Some(expected));
        for other in [
            "x.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"a\";",
            "x.OAuthBearerLoginModule required clientId=a clientSecret=b extension_x=\"c\";",
            "x.PlainLoginModule required username=\"u\";",
            "x.PlainLoginModule required username=\"u\" password=\"${env:P}\";",
            "x.PlainLoginModule required username=\"u\" password=\"a\\\"b\";",
            "x.ScramLoginModule required username=\"u\" password=\"p\" tokenauth=\"true\";",
            "x.Krb5LoginModule required useKeyTab=true;",
            "x.Krb5LoginModule required useTicketCache=true ticketCache=\"/tmp/c\";",
            "x.Krb5LoginModule required useTicketCache=true principal=\"a@R\";",
            "x.Krb5LoginModule required useKeyTab=true keyTab=/k principal=a@R useFirstPass=true;",
            "x.OtherModule required a=b;",
            "",
        ] {
            assert_eq!(login(other), None, "{other}");
        }
    }
}
