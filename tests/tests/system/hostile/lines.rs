//! Lines and messages of syslog, as no honest sender writes them.

use std::net::SocketAddr;

use super::{After, Attack, MIB};

/// A message with so many parameters without values.
fn parameters(count: usize) -> Vec<u8> {
    let names: String = (0..count).map(|n| format!(" {n:x}=\"\"")).collect();
    format!("<1>1 - - - - - [a{names}] x\n").into_bytes()
}

/// What clients send to the sources `netcat` and `syslog`.
pub(super) fn attacks(netcat: SocketAddr, syslog: SocketAddr) -> Vec<Attack> {
    let attack =
        |what, port, bytes, after| Attack { what, port, greeting: Vec::new(), bytes, after };
    let wide = parameters(9_000);
    vec![
        attack("netcat: tiny events", netcat, b"a\n".repeat(8 * MIB), After::Ends),
        attack("netcat: a line without an end", netcat, vec![b'x'; 32 * MIB], After::Ends),
        attack("netcat: a line that comes slowly", netcat, vec![b'x'; 60_000], After::Drips),
        attack("syslog: tiny messages", syslog, b"<1>\n".repeat(4 * MIB), After::Ends),
        attack("syslog: counts of one byte", syslog, b"4 <1>a".repeat(4 * MIB), After::Ends),
        attack("syslog: a count that is wrong", syslog, long(b"9999999 <1>"), After::Ends),
        attack("syslog: many parameters", syslog, wide.repeat(32 * MIB / wide.len()), After::Ends),
    ]
}

/// A beginning that is followed by many more bytes.
fn long(head: &[u8]) -> Vec<u8> {
    [head, &vec![b'7'; 32 * MIB]].concat()
}
