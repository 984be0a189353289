//! The connection settings of a database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crypto::Outside;
use pipeline::secret::{self, Login};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Env, Secret, address};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::{Client, ClientTls, PemClient};

use crate::connection::Via;

/// The database and its connection settings.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Address of the database: `postgres://host:port/name`, `mysql://host:port/name` (also for
    /// MariaDB), `sqlite:/path`, or `odbc:` with a connection string, `odbc:DSN=name` or
    /// `odbc:Driver={name};Server=host;…`. Default ports: 5432 and 3306.
    url: String,
    /// Database user.
    #[serde(default)]
    user: Option<String>,
    /// Password of `user`. Use a reference, such as `"${file:/run/secrets/database}"`.
    #[serde(default)]
    password: Option<Secret>,
    /// Timeout for a connection until it is usable.
    #[serde(default = "pipeline::units::seconds::<10>")]
    connect_timeout: Period,
    /// Timeout of a statement in the database; for ODBC in whole seconds. For SQLite: how long to
    /// wait for a lock of another process.
    #[serde(default = "pipeline::units::seconds::<300>")]
    statement_timeout: Period,
    /// TLS of the connection. Not for ODBC, whose `url` sets it.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// A database to connect to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) via: Via,
    /// `host:port`, the file path, or the ODBC connection string; also used in messages.
    pub(crate) address: Arc<str>,
    /// Name of the database; empty for SQLite.
    pub(crate) name: Arc<str>,
    pub(crate) login: Option<Login>,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    /// TLS around the stream for a client.
    pub(crate) tls: Option<Client>,
    /// TLS of a client that connects by itself: MySQL.
    pub(crate) own_tls: Option<PemClient>,
    pub(crate) env: Env,
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    via: Via,
    address: String,
    name: String,
}

/// Error message of a build without ODBC.
const UNBUILT: &str = "this program has no ODBC: build it with `cargo build --release --features \
                       odbc`, which needs unixODBC (docs/components/sources/sql.md)";

const EXAMPLES: &str = "write `postgres://host:port/name`, `mysql://host:port/name`, \
                        `sqlite:/path` or `odbc:Driver={name};Server=host;…`";

impl Database {
    /// Checks the settings.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn target(self, cx: &BuildContext) -> Result<Target, BuildError> {
        let invalid = |setting: &str, problem: &str| {
            Err(BuildError::invalid(format!("database.{setting}"), problem))
        };
        let place = match place(&self.url) {
            Ok(place) => place,
            Err(problem) => return invalid("url", &problem),
        };
        for (setting, period) in [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
        ] {
            if period.0 < Duration::from_millis(1) {
                return invalid(setting, "must be at least 1ms");
            }
        }
        let (is_file, is_odbc) = (place.via == Via::Sqlite, place.via == Via::Odbc);
        if is_odbc && !::odbc::Session::IS_BUILT {
            return invalid("url", UNBUILT);
        }
        if is_odbc && self.tls.is_some() {
            let problem = "does not apply to ODBC: remove it, and set `Encrypt=yes` (SQL Server), \
                           `SSLmode=verify-full` (PostgreSQL) or the TLS option of the driver in \
                           `database.url`";
            return invalid("tls", problem);
        }
        if is_file && (self.user.is_some() || self.password.is_some() || self.tls.is_some()) {
            return invalid("url", "SQLite does not use `user`, `password` and `tls`: remove them");
        }
        if self.password.is_some()
            && let Err(refused) = crypto::allow(Outside::DatabasePassword)
        {
            // ODBC has no `database.tls`.
            let by_odbc = "a FIPS build does not pass passwords to ODBC drivers, which have their \
                           own cryptography: remove it, and log in with a client certificate set \
                           in `database.url` or in the data source";
            let problem = if is_odbc { by_odbc.to_owned() } else { refused.to_string() };
            return invalid("password", &problem);
        }
        let login = secret::login(self.user, self.password);
        let login = login.map_err(|error| error.below("database"))?;
        if login.is_none() && !is_file && !is_odbc {
            return invalid("user", "must be set to the name of the database user");
        }
        if self.tls.is_none() && !is_file && !is_odbc {
            let remedy = "set the table `database.tls`";
            cx.plain_text.speaks("database.url", &place.address, remedy);
        }
        let below = |error: BuildError| error.below("database");
        let (mut tls, mut own_tls) = (None, None);
        match (self.tls, place.via) {
            (None, _) => {}
            (Some(settings), Via::Mysql) => {
                own_tls = Some(PemClient::new(settings, &cx.env).map_err(below)?);
            }
            (Some(settings), _) => {
                tls = Some(Client::new(settings, &cx.env, &[]).map_err(below)?);
            }
        }
        Ok(Target {
            via: place.via,
            address: place.address.into(),
            name: place.name.into(),
            login,
            connect_timeout: self.connect_timeout.0,
            statement_timeout: self.statement_timeout.0,
            tls,
            own_tls,
            env: cx.env.clone(),
        })
    }
}

/// Parses a URL.
///
/// # Errors
/// The URL is wrong; the message names the fix.
fn place(url: &str) -> Result<Place, String> {
    if let Some(rest) = url.strip_prefix("jdbc:") {
        let rest = rest.split(['?', ';']).next().unwrap_or_default();
        let rest = rest.replacen("postgresql://", "postgres://", 1);
        let rest = rest.replacen("mariadb://", "mysql://", 1);
        return Err(match place(&rest) {
            Ok(_) => {
                format!("a JDBC URL; write `{rest}`, and its options as settings of `database`")
            }
            Err(_) => format!("a JDBC URL, which is not supported; {EXAMPLES}"),
        });
    }
    if let Some(text) = url.strip_prefix("odbc:") {
        return from_odbc(text);
    }
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !PathBuf::from(path).is_absolute() || path.contains('?') {
            return Err("an absolute path must follow: `sqlite:/path`".to_owned());
        }
        let (address, name) = (path.to_owned(), String::new());
        return Ok(Place { via: Via::Sqlite, address, name });
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Err(EXAMPLES.to_owned()) };
    let (via, port) = match scheme {
        "postgres" => (Via::Postgres, 5432),
        "mysql" => (Via::Mysql, 3306),
        _ => return Err(format!("`{scheme}` is not a supported database; {EXAMPLES}")),
    };
    if rest.contains('@') {
        return Err("the URL is shown in messages, so it must not contain user or password; set \
                    `database.user` and `database.password`"
            .to_owned());
    }
    if rest.contains('?') {
        return Err(
            "a URL must end with the database name; write options as settings of `database`"
                .to_owned(),
        );
    }
    let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() || name.contains('/') {
        return Err(format!("the URL has no database name; write `{scheme}://{host}/name`"));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let address = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    address::check(&address, "db-1:5432", false)?;
    Ok(Place { via, address, name: name.to_owned() })
}

/// Parses an ODBC connection string.
///
/// # Errors
/// It names no driver, or contains a password.
fn from_odbc(text: &str) -> Result<Place, String> {
    let names: Vec<String> =
        attributes(text).map(|name| name.trim().to_ascii_uppercase()).collect();
    if !names.iter().any(|name| name == "DSN" || name == "DRIVER" || name == "FILEDSN") {
        return Err(
            "the URL has no driver: write `odbc:DSN=name` for a data source of `odbc.ini`, or \
             `odbc:Driver={name};Server=host;Database=name`"
                .to_owned(),
        );
    }
    let secrets = ["PWD", "PASSWORD", "UID", "USER", "USERNAME", "USER ID"];
    if names.iter().any(|name| secrets.contains(&&**name)) {
        return Err("the URL is shown in messages, so it must not contain user or password; set \
                    `database.user` and `database.password`"
            .to_owned());
    }
    Ok(Place { via: Via::Odbc, address: text.trim().to_owned(), name: String::new() })
}

/// Returns the attribute names in `name=value;name={value};…`.
fn attributes(text: &str) -> impl Iterator<Item = &str> {
    let (mut braced, mut begin, mut parts) = (false, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => braced = true,
            '}' => braced = false,
            ';' if !braced => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.into_iter().filter_map(|part| part.split_once('=')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fips_build_refuses_passwords_and_takes_certificates() {
        let of = |url: &str, password: Option<&str>, tls: serde_json::Value| {
            let cx = BuildContext::alone("db", std::path::Path::new("unused"), env::real());
            let settings = serde_json::json!({
                "url": url, "user": "shop", "password": password, "tls": tls,
            });
            let settings: Database = serde_json::from_value(settings).unwrap();
            crypto::refusing(|| settings.target(&cx)).err().map(|error| error.to_string())
        };
        let tls = serde_json::json!({ "certificate": "/shop.pem", "key": "/shop.key" });
        let target = |password: Option<&str>| of("mysql://db/shop", password, tls.clone());
        assert_eq!(target(None), None);
        let said = target(Some("secret")).unwrap_or_default();
        assert!(said.contains("database.password"), "{said}");
        assert!(said.contains("certificate of `database.tls`"), "{said}");
        // A program without ODBC rejects the URL itself.
        if ::odbc::Session::IS_BUILT {
            let said = of("odbc:DSN=shop", Some("secret"), serde_json::Value::Null);
            let said = said.unwrap_or_default();
            assert!(said.contains("`database.url`") && !said.contains("database.tls"), "{said}");
        }
    }

    #[test]
    fn a_url_names_the_database_and_the_usual_port_is_added() {
        let of = |via, address: &str, name: &str| Place {
            via,
            address: address.into(),
            name: name.into(),
        };
        for (url, expected) in [
            ("postgres://db/shop", of(Via::Postgres, "db:5432", "shop")),
            ("mysql://[::1]/shop", of(Via::Mysql, "[::1]:3306", "shop")),
            ("mysql://db:3307/shop", of(Via::Mysql, "db:3307", "shop")),
            ("sqlite:/var/a.db", of(Via::Sqlite, "/var/a.db", "")),
            ("sqlite:///var/a.db", of(Via::Sqlite, "/var/a.db", "")),
            ("odbc:DSN=shop", of(Via::Odbc, "DSN=shop", "")),
            (
                "odbc:Driver={FreeTDS; 1};Server=db",
                of(Via::Odbc, "Driver={FreeTDS; 1};Server=db", ""),
            ),
        ] {
            assert_eq!(place(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_with_the_remedy() {
        for (url, expected) in [
            ("jdbc:postgresql://db:5432/shop?ssl=true", "write `postgres://db:5432/shop`"),
            ("jdbc:mysql://db/shop", "write `mysql://db/shop`"),
            ("jdbc:mariadb://db/shop", "write `mysql://db/shop`"),
            ("jdbc:oracle:thin:@db:1521/x", "not supported"),
            ("postgres://me:secret@db/shop", "set `database.user`"),
            ("postgres://db/shop?sslmode=require", "settings of `database`"),
            ("postgres://db", "`postgres://db/name`"),
            ("postgres://db:x/shop", "a port that is not a number"),
            ("oracle://db/shop", "not a supported database"),
            ("sqlite:a.db", "an absolute path"),
            ("odbc:Server=db;Database=shop", "has no driver"),
            ("odbc:DSN=shop;UID=me;pwd=secret@", "set `database.user`"),
            ("odbc:DSN=shop;Password={a;secret@}", "set `database.user`"),
            ("shop", "postgres://host:port/name"),
        ] {
            let problem = place(url).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("secret@"), "{url}: {problem}");
        }
    }
}
