//! Host names in paths: `%[localhost]`, `%[IP]`, `%[FQDN]`. They do not depend on the event.

use std::time::Duration;

use pipeline::Env;

use super::confined;

/// Timeout of the name service.
const LIMIT: Duration = Duration::from_secs(10);

/// The names of the host, looked up when a path uses them.
pub(in crate::hdfs) trait HostNames {
    /// Returns the host name.
    fn name(&self) -> String;
    /// Returns the first address of the host name.
    ///
    /// # Errors
    /// Why the lookup failed.
    fn address(&self) -> Result<String, String>;
    /// Returns the fully qualified name.
    ///
    /// # Errors
    /// Why the lookup failed.
    fn full_name(&self) -> Result<String, String>;
}

/// Placeholder names, for callers that need only the path before the first escape.
pub(in crate::hdfs) struct AnyHost;

impl HostNames for AnyHost {
    fn name(&self) -> String {
        String::new()
    }

    fn address(&self) -> Result<String, String> {
        Ok(String::new())
    }

    fn full_name(&self) -> Result<String, String> {
        Ok(String::new())
    }
}

/// The host of this process.
pub(in crate::hdfs) struct LocalHost<'a>(pub(in crate::hdfs) &'a Env);

impl LocalHost<'_> {
    /// Returns the first word printed by the program `hostname`, which uses the host's name
    /// service.
    fn ask(&self, option: &str) -> Result<String, String> {
        let printed = self.0.blocking.output("hostname", &[option.to_owned()], LIMIT);
        let printed = printed.map_err(|error| format!("`hostname {option}` failed: {error}"))?;
        let text = String::from_utf8_lossy(&printed);
        let word = text.split_whitespace().next();
        word.map(str::to_owned).ok_or_else(|| format!("`hostname {option}` printed nothing"))
    }
}

impl HostNames for LocalHost<'_> {
    fn name(&self) -> String {
        self.0.host.to_string()
    }

    fn address(&self) -> Result<String, String> {
        self.ask("-i")
    }

    fn full_name(&self) -> Result<String, String> {
        self.ask("-f")
    }
}

/// Resolves `%[name]` as a part of a path.
///
/// # Errors
/// The problem and the remedy.
pub(super) fn shown(name: &str, host: &dyn HostNames) -> Result<String, String> {
    let text = match name.to_ascii_lowercase().as_str() {
        "localhost" => Ok(host.name()),
        "ip" => host.address(),
        "fqdn" => host.full_name(),
        _ => {
            return Err(format!("unknown escape `%[{name}]`; known: %[localhost] %[IP] %[FQDN]"));
        }
    };
    let text = text.map_err(|problem| {
        format!(
            "cannot resolve `%[{name}]`: {problem}; add this host to DNS or `/etc/hosts`, or write \
             the value into the path"
        )
    })?;
    Ok(confined(Some(&text)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host of this name.
    pub(in crate::hdfs::bucket) struct Named(pub(in crate::hdfs::bucket) &'static str);

    impl HostNames for Named {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn address(&self) -> Result<String, String> {
            Ok("fe80::1%eth0".to_owned())
        }

        fn full_name(&self) -> Result<String, String> {
            Err("`hostname -f` failed: no such name".to_owned())
        }
    }

    #[test]
    fn resolves_the_host_or_reports_the_failure() {
        assert_eq!(shown("LOCALHOST", &Named("web 1")).unwrap(), "web%201");
        assert_eq!(shown("IP", &Named("web")).unwrap(), "fe80%3A%3A1%25eth0");
        let problem = shown("FQDN", &Named("web")).unwrap_err();
        assert!(problem.contains("%[FQDN]") && problem.contains("no such name"), "{problem}");
        assert!(problem.contains("/etc/hosts"), "{problem}");
        assert!(shown("mac", &Named("web")).unwrap_err().contains("known: %[localhost]"));
    }

    #[test]
    fn the_name_service_of_this_host_is_asked_by_a_program() {
        let mut env = env::real();
        env.host = "web-7".into();
        let host = LocalHost(&env);
        assert_eq!(host.name(), "web-7");
        // Depends on the host: the result is one word or an error.
        for answer in [host.address(), host.full_name()] {
            match answer {
                Ok(word) => assert!(!word.is_empty() && !word.contains(char::is_whitespace)),
                Err(problem) => assert!(problem.starts_with("`hostname -"), "{problem}"),
            }
        }
    }
}
