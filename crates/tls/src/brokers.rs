//! AMQP brokers of any protocol version: their URLs, and the connections to them.

use std::sync::Arc;

use pipeline::{BuildContext, BuildError, address};

use crate::{ClientTls, Dialer};

const EXAMPLE: &str = "amqp://broker-1:5672";

/// Interchangeable brokers.
pub struct Brokers {
    /// `host:port`, in the order of attempts.
    pub addresses: Arc<[Arc<str>]>,
    /// Connects to any of them.
    pub dialer: Dialer,
}

impl Brokers {
    /// Creates the brokers of the settings `broker.urls` and `broker.tls`. Either all URLs use TLS
    /// or none does; `refused` returns another problem of a URL, if any.
    ///
    /// # Errors
    /// An invalid setting; the error names it.
    pub fn from_settings(
        urls: &[String],
        tls: Option<ClientTls>,
        refused: fn(url: &str) -> Option<String>,
        cx: &BuildContext,
    ) -> Result<Self, BuildError> {
        let invalid = |problem| BuildError::invalid("broker.urls", problem);
        let parsed = urls.iter().map(|url| parse(url, refused)).collect::<Result<Vec<_>, _>>();
        let parsed = parsed.map_err(invalid)?;
        let Some((_, is_tls)) = parsed.first() else {
            return Err(invalid(format!("must have at least one URL, for example \"{EXAMPLE}\"")));
        };
        if parsed.iter().any(|(_, it)| it != is_tls) {
            let problem = "must all start with `amqp://`, or all with `amqps://`";
            return Err(invalid(problem.into()));
        }
        for (address, _) in parsed.iter().filter(|(_, is_tls)| !is_tls) {
            cx.plain_text.speaks("broker.urls", address, "write `amqps://`");
        }
        let tls = match (is_tls, tls) {
            (false, Some(_)) => {
                let problem = "has an effect only with `amqps://`; write `amqps://` in \
                               `broker.urls`, or remove this";
                return Err(BuildError::invalid("broker.tls", problem));
            }
            (true, None) => Some(ClientTls::default()),
            (_, tls) => tls,
        };
        let dialer = Dialer::new(&cx.env, tls, &[]).map_err(|error| error.below("broker"))?;
        Ok(Self { addresses: parsed.into_iter().map(|(address, _)| address).collect(), dialer })
    }
}

/// Returns the address in a URL, and whether it uses TLS.
fn parse(url: &str, refused: fn(&str) -> Option<String>) -> Result<(Arc<str>, bool), String> {
    // Checked first: the other errors show the URL.
    if url.contains('@') {
        return Err("must not contain a user, because URLs are shown in logs; set `user` and \
                    `password` instead"
            .into());
    }
    if let Some(problem) = refused(url) {
        return Err(format!("`{url}`: {problem}"));
    }
    let (address, is_tls) = match url.split_once("://") {
        Some(("amqp", address)) => (address, false),
        Some(("amqps", address)) => (address, true),
        _ => return Err(format!("`{url}` is not a URL of AMQP; write for example \"{EXAMPLE}\"")),
    };
    address::check(address, "broker-1:5672", false)?;
    Ok((address.into(), is_tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_of_amqp_is_refused_with_the_remedy() {
        let parse = |url| parse(url, |url| url.contains("vm").then(|| "no vm".into()));
        assert_eq!(parse("amqp://a:5672").unwrap(), ("a:5672".into(), false));
        assert_eq!(parse("amqps://[::1]:5671").unwrap(), ("[::1]:5671".into(), true));
        for (url, cause) in [
            ("vm:a", "no vm"),
            ("http://a:15672", "not a URL of AMQP"),
            ("a:5672", "not a URL of AMQP"),
            ("amqp://a", "has no port"),
            ("vm:u:p@a", "`user` and `password`"),
            ("amqp://u:p@a:5672", "`user` and `password`"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(cause), "{url}: {error}");
        }
    }
}
