//! Resources that a component uses exclusively, so that conflicts are rejected before anything
//! starts.

use std::net::IpAddr;

/// Something that only one component can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A TCP address to listen on.
    Listen {
        /// The setting that names it, dotted.
        setting: &'static str,
        /// `host:port`.
        address: String,
    },
    /// A UDP address to receive datagrams on.
    Datagrams {
        /// The setting that names it, dotted.
        setting: &'static str,
        /// `host:port`.
        address: String,
    },
}

impl Resource {
    /// The setting that names it, dotted.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Listen { setting, .. } | Self::Datagrams { setting, .. } => setting,
        }
    }

    /// Its address, `host:port`.
    pub fn address(&self) -> &str {
        match self {
            Self::Listen { address, .. } | Self::Datagrams { address, .. } => address,
        }
    }

    /// Returns `true` if two components cannot have both. Compares host names literally.
    pub fn clashes_with(&self, other: &Self) -> bool {
        let (one, other) = match (self, other) {
            (Self::Listen { address: one, .. }, Self::Listen { address: other, .. })
            | (Self::Datagrams { address: one, .. }, Self::Datagrams { address: other, .. }) => {
                (one, other)
            }
            (Self::Listen { .. }, Self::Datagrams { .. })
            | (Self::Datagrams { .. }, Self::Listen { .. }) => return false,
        };
        let (Some((host, port)), Some((other_host, other_port))) = (parts(one), parts(other))
        else {
            return false;
        };
        // Port 0 selects a free one.
        port == other_port && port != 0 && overlap(host, other_host)
    }
}

fn parts(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
}

fn overlap(one: &str, other: &str) -> bool {
    let address = |host: &str| host.parse::<IpAddr>().ok();
    match (address(one), address(other)) {
        (Some(one), Some(other)) => {
            // `[::]` includes the addresses of IPv4.
            let takes =
                |all: IpAddr, it: IpAddr| all.is_unspecified() && (all.is_ipv6() || it.is_ipv4());
            one == other || takes(one, other) || takes(other, one)
        }
        // A name may be any address of this host, including the wildcard address.
        (Some(address), None) => address.is_unspecified() || is_local(other, address),
        (None, Some(address)) => address.is_unspecified() || is_local(one, address),
        (None, None) => one.eq_ignore_ascii_case(other),
    }
}

fn is_local(name: &str, address: IpAddr) -> bool {
    name.eq_ignore_ascii_case("localhost") && address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clash(one: &str, other: &str) -> bool {
        let listen = |address: &str| Resource::Listen { setting: "a", address: address.to_owned() };
        let clashes = listen(one).clashes_with(&listen(other));
        assert_eq!(clashes, listen(other).clashes_with(&listen(one)), "{one} {other}");
        clashes
    }

    #[test]
    fn addresses_that_one_process_cannot_listen_on_twice_clash() {
        for (one, other) in [
            ("127.0.0.1:4141", "127.0.0.1:4141"),
            ("0.0.0.0:4141", "127.0.0.1:4141"),
            ("[::]:4141", "127.0.0.1:4141"),
            ("[::]:4141", "[::1]:4141"),
            ("[::]:4141", "0.0.0.0:4141"),
            ("localhost:4141", "127.0.0.1:4141"),
            ("localhost:4141", "LOCALHOST:4141"),
            ("node-1:4141", "0.0.0.0:4141"),
        ] {
            assert!(clash(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:4141", "127.0.0.1:4142"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:0", "127.0.0.1:0"),
            ("127.0.0.1:4141", "127.0.0.2:4141"),
            ("0.0.0.0:4141", "[::1]:4141"),
            ("node-1:4141", "node-2:4141"),
            ("node-1:4141", "10.1.1.1:4141"),
        ] {
            assert!(!clash(one, other), "{one} {other}");
        }
    }
}
