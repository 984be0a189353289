//! Addresses in settings: `host:port`, and their validation.

/// Checks an address; `example` is a valid one. `listens` allows port 0, which selects a free port.
///
/// # Errors
/// The cause, with the remedy.
pub fn check(address: &str, example: &str, listens: bool) -> Result<(), String> {
    let wrong = |cause: &str| Err(format!("`{address}` {cause}; write for example \"{example}\""));
    if let Some((scheme, _)) = address.split_once("://") {
        return wrong(&format!("begins with `{scheme}://`: an address is a host and a port alone"));
    }
    if address.contains("${") {
        return wrong("holds a reference, and those are replaced in configuration files alone");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return wrong("has no port");
    };
    let is_ipv6 = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !is_ipv6 {
        return wrong("has an IPv6 address without brackets, or several ports");
    }
    if host.is_empty() {
        return wrong("has no host");
    }
    if host.contains(|c: char| c.is_whitespace() || "/@?#$*".contains(c)) {
        return wrong("has no valid host");
    }
    match port.parse::<u64>() {
        Ok(0) if !listens => wrong("has port 0, which no one can connect to"),
        Ok(port) if port > u64::from(u16::MAX) => {
            wrong(&format!("has port {port}, and the highest port is {}", u16::MAX))
        }
        Ok(_) => Ok(()),
        Err(_) => wrong("has no number as its port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named_with_an_example() {
        for (address, cause) in [
            ("127.0.0.1", "has no port"),
            ("9464", "has no port"),
            (":9464", "has no host"),
            ("c:161001", "has port 161001, and the highest port is 65535"),
            ("c:0", "has port 0, which no one can connect to"),
            ("c:http", "has no number as its port"),
            ("c:-1", "has no number as its port"),
            ("http://c:4141", "begins with `http://`: an address is a host and a port alone"),
            (
                "${HOST}:4141",
                "holds a reference, and those are replaced in configuration files alone",
            ),
            ("::1:4141", "has an IPv6 address without brackets, or several ports"),
            ("c/x:4141", "has no valid host"),
        ] {
            let problem = check(address, "collector-1:4141", false).unwrap_err();
            let expected = format!("`{address}` {cause}; write for example \"collector-1:4141\"");
            assert_eq!(problem, expected);
        }
    }

    #[test]
    fn a_host_and_a_port_are_an_address() {
        for address in ["c:1", "127.0.0.1:65535", "[::1]:4141", "collector-1.example.org:4141"] {
            check(address, "", false).unwrap();
        }
        for address in ["0.0.0.0:0", "[::]:4141", "localhost:0"] {
            check(address, "", true).unwrap();
        }
    }
}
