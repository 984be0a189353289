//! Access control by address, with rules like Flume's `ipFilterRules`.

use std::net::IpAddr;

/// Rules in order: the first match decides; without a match access is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    allows: bool,
    pattern: Pattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// Text of an address with `*` as a wildcard.
    Text(String),
    /// A network: an address and its prefix length.
    Network(IpAddr, u8),
    /// The host itself.
    Loopback,
}

impl Rules {
    /// Parses the rules.
    ///
    /// # Errors
    /// Returns the index of the first invalid rule, and the reason.
    pub(super) fn parse(rules: &[String]) -> Result<Self, (usize, String)> {
        let rules = rules.iter().enumerate().map(|(n, text)| {
            rule(text).ok_or_else(|| {
                let hint = "write `allow:ip:10.1.*`, `deny:ip:10.0.0.0/8`, `deny:ip:*` or \
                            `allow:name:localhost`; other names are not looked up";
                (n, format!("`{text}` is not a rule; {hint}"))
            })
        });
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// Returns true if this host may connect.
    pub(super) fn allow(&self, host: &str) -> bool {
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let text = address.map_or_else(|| host.to_owned(), |address| address.to_string());
        let matches = |rule: &&Rule| match &rule.pattern {
            Pattern::Text(pattern) => is_like(pattern, &text),
            Pattern::Network(network, bits) => {
                address.is_some_and(|address| is_within(address, *network, *bits))
            }
            Pattern::Loopback => address.is_some_and(|address| address.is_loopback()),
        };
        self.0.iter().find(matches).is_none_or(|rule| rule.allows)
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (verdict, rest) = text.trim().split_once(':')?;
    let allows = match verdict {
        "allow" => true,
        "deny" => false,
        _ => return None,
    };
    let pattern = match rest.split_once(':')? {
        ("name", "localhost") => Pattern::Loopback,
        ("ip", pattern) => match pattern.split_once('/') {
            Some((network, bits)) => {
                let network: IpAddr = network.parse().ok()?;
                let bits: u8 = bits.parse().ok()?;
                let most = if network.is_ipv4() { 32 } else { 128 };
                (bits <= most).then_some(Pattern::Network(network, bits))?
            }
            None => {
                let is_plain = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '*');
                let is_pattern = !pattern.is_empty() && pattern.chars().all(is_plain);
                is_pattern.then(|| Pattern::Text(pattern.to_ascii_lowercase()))?
            }
        },
        _ => return None,
    };
    Some(Rule { allows, pattern })
}

/// Returns true if `text` matches `pattern`, in which `*` matches any text.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(between) = last.replace(part) {
            let Some(at) = rest.find(between) else { return false };
            rest = &rest[at + between.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last: &str| rest.ends_with(last))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let behind = width - u32::from(bits);
    address.checked_shr(behind) == network.checked_shr(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &[&str], host: &str) -> bool {
        let rules: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
        Rules::parse(&rules).unwrap().allow(host)
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_without_one_all_are_allowed() {
        for (rules, host, expected) in [
            (&[][..], "10.1.2.3", true),
            (&["allow:ip:127.*", "deny:ip:*"], "127.0.0.1", true),
            (&["allow:ip:127.*", "deny:ip:*"], "10.1.2.3", false),
            (&["deny:ip:*", "allow:ip:127.*"], "127.0.0.1", false),
            (&["allow:name:localhost", "deny:ip:*"], "::1", true),
            (&["allow:name:localhost", "deny:ip:*"], "10.1.2.3", false),
            (&["deny:ip:10.*.3"], "10.1.2.3", false),
            (&["deny:ip:10.*.3"], "10.1.3.4", true),
            (&["deny:ip:10.1.2.3"], "10.1.2.30", true),
            (&["deny:ip:10.0.0.0/8"], "10.255.0.1", false),
            (&["deny:ip:10.0.0.0/8"], "11.0.0.1", true),
            (&["deny:ip:10.0.0.0/8"], "::ffff:10.0.0.1", false),
            (&["deny:ip:0.0.0.0/0"], "9.9.9.9", false),
            (&["deny:ip:fe80::/10"], "fe80::1", false),
            (&["deny:ip:::/0"], "::1", false),
        ] {
            assert_eq!(allows(rules, host), expected, "{rules:?} {host}");
        }
    }

    #[test]
    fn names_an_invalid_rule() {
        for text in [
            "",
            "allow",
            "allow:10.*",
            "permit:ip:*",
            "deny:name:web-1",
            "deny:ip:",
            "deny:ip:10.0.0.0/33",
            "deny:ip:web",
            "allow:ip:/8",
        ] {
            let rules = ["allow:ip:*".to_owned(), text.to_owned()];
            let (place, problem) = Rules::parse(&rules).unwrap_err();
            assert!(place == 1 && problem.contains(text) && problem.contains("allow:ip"));
        }
    }
}
