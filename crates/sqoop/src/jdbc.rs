//! URLs of JDBC → URLs of ours.

/// A database as a URL of JDBC names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The URL here.
    pub(crate) url: String,
    /// True for TLS.
    pub(crate) tls: bool,
    /// The schema of a table without one.
    pub(crate) schema: Option<String>,
    /// User in the URL.
    pub(crate) user: Option<String>,
    /// A password is in the URL.
    pub(crate) has_password: bool,
    /// Parameters without a counterpart.
    pub(crate) ignored: Vec<String>,
}

const FORMS: &str = "write `jdbc:postgresql://host:port/name`, `jdbc:mysql://host:port/name` or \
                     `jdbc:sqlite:/path`";

/// Translates a URL.
///
/// # Errors
/// The reason why it cannot be translated, and the remedy.
pub(crate) fn place(url: &str) -> Result<Place, String> {
    let rest = url.strip_prefix("jdbc:").unwrap_or(url);
    let (base, parameters) = match rest.split_once('?') {
        Some((base, parameters)) => (base, parameters),
        None => (rest, ""),
    };
    let mut place = Place {
        url: String::new(),
        tls: false,
        schema: None,
        user: None,
        has_password: false,
        ignored: Vec::new(),
    };
    for (scheme, ours) in [
        ("postgresql://", "postgres://"),
        ("postgres://", "postgres://"),
        ("mysql://", "mysql://"),
        ("mariadb://", "mysql://"),
        ("sqlite:", "sqlite:"),
    ] {
        if let Some(rest) = base.strip_prefix(scheme) {
            place.url = format!("{ours}{rest}");
        }
    }
    if url.starts_with("odbc:") {
        // Its own attributes, which `database.url` looks at.
        place.url = url.to_owned();
        return Ok(place);
    }
    if place.url.is_empty() {
        let name = rest.split(':').next().unwrap_or_default();
        return Err(match name {
            "oracle" | "sqlserver" | "db2" | "teradata" | "netezza" | "sap" => format!(
                "no built-in client for `{name}`: use its ODBC driver with \
                 `odbc:Driver={{name}};Server=host;…`, in a program that is built with ODBC \
                 (docs/components/sources/sql.md)"
            ),
            "hsqldb" | "derby" | "h2" => {
                format!("the database `{name}` is not supported; {FORMS} for another database")
            }
            _ => FORMS.to_owned(),
        });
    }
    if place.url.contains(',') {
        return Err("several hosts in one URL are not supported: name one host".to_owned());
    }
    let is_file = place.url.starts_with("sqlite:");
    if !is_file && (place.url.contains('@') || place.url.contains(';')) {
        return Err("user and password are not allowed in the URL: pass --username and \
                    --password-file"
            .to_owned());
    }
    for parameter in parameters.split(['&', ';']).filter(|it| !it.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name, value) {
            ("user", user) => place.user = Some(user.to_owned()),
            ("password", _) => place.has_password = true,
            ("currentSchema", schema) if !schema.contains(',') => {
                place.schema = Some(schema.to_owned());
            }
            ("sslmode" | "sslMode", "require" | "verify-ca" | "verify-full")
            | ("sslmode" | "sslMode", "REQUIRED" | "VERIFY_CA" | "VERIFY_IDENTITY")
            | ("ssl" | "useSSL" | "requireSSL", "true" | "") => place.tls = true,
            _ => place.ignored.push(name.to_owned()),
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_jdbc_becomes_one_of_ours() {
        for (url, ours) in [
            ("jdbc:postgresql://db:5432/shop", "postgres://db:5432/shop"),
            ("jdbc:mysql://db/shop?zeroDateTimeBehavior=convertToNull", "mysql://db/shop"),
            ("jdbc:mariadb://db/shop?useSSL=false", "mysql://db/shop"),
            ("jdbc:sqlite:/var/a.db", "sqlite:/var/a.db"),
            ("postgres://db/shop", "postgres://db/shop"),
            ("odbc:Driver={a;b?};Server=c,1", "odbc:Driver={a;b?};Server=c,1"),
        ] {
            assert_eq!(place(url).unwrap().url, ours, "{url}");
        }
        let found =
            place("jdbc:postgresql://db/shop?ssl=true&currentSchema=a&user=u&password=p&x=1");
        let found = found.unwrap();
        assert!(found.tls && found.has_password);
        assert_eq!((found.schema.as_deref(), found.user.as_deref()), (Some("a"), Some("u")));
        assert_eq!(found.ignored, ["x"]);
        assert!(place("jdbc:mysql://db/shop?sslMode=VERIFY_CA").unwrap().tls);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_with_the_reason() {
        for (url, expected) in [
            ("jdbc:oracle:thin:@db:1521:x", "with `odbc:"),
            ("jdbc:sqlserver://db:1433;databaseName=x", "no built-in client for `sqlserver`"),
            ("jdbc:postgresql://a,b/shop", "several hosts"),
            ("jdbc:postgresql://u:secret@db/shop", "--password-file"),
            ("shop", "jdbc:postgresql://"),
        ] {
            let problem = place(url).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("secret"), "{url}: {problem}");
        }
    }
}
