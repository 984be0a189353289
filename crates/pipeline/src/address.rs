//! Addresses in settings: `host:port`, and their validation.

/// Checks an address; `example` is a valid one. `listens` allows port 0, which selects a free port.
///
/// # Errors
/// The cause, with the remedy.
pub fn check(address: &str, example: &str, listens: bool) -> Result<(), String> {
    let wrong = |cause: &str| Err(format!("`{address}` {cause}; write for example \"{example}\""));
    if let Some((scheme, _)) = address.split_once("://") {
        return wrong(&format!("begins with `{scheme}://`, but an address is only host and port"));
    }
    if address.contains("${") {
        return wrong("contains a reference, which is replaced only in configuration files");
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
        return wrong("has an invalid host");
    }
    match port.parse::<u64>() {
        Ok(0) if !listens => wrong("has port 0, which is not a valid destination"),
        Ok(port) if port > u64::from(u16::MAX) => {
            wrong(&format!("has port {port}, but the highest port is {}", u16::MAX))
        }
        Ok(_) => Ok(()),
        Err(_) => wrong("has a port that is not a number"),
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
            ("c:161001", "has port 161001, but the highest port is 65535"),
            ("c:0", "has port 0, which is not a valid destination"),
            ("c:http", "has a port that is not a number"),
            ("c:-1", "has a port that is not a number"),
            ("http://c:4141", "begins with `http://`, but an address is only host and port"),
            ("${HOST}:4141", "contains a reference, which is replaced only in configuration files"),
            ("::1:4141", "has an IPv6 address without brackets, or several ports"),
            ("c/x:4141", "has an invalid host"),
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
