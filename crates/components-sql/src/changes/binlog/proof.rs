//! Proves that a position still belongs to the same log.
//!
//! ```text
//!   MariaDB   the last transaction of each domain before the position:   0-1-7,3-7-5
//!   MySQL     the server, and the start time of the position's file:     0b5c…0001@1795904061
//! ```
//!
//! MariaDB returns the transactions before a position; MySQL does not. In MySQL, the first event of
//! each file contains the time when the file was started. After a reset, new files have other times
//! although their names repeat. A server restored to an earlier state continues in a new file. The
//! size of a file shows whether its end was cut off.

use std::collections::BTreeMap;
use std::fmt;

use super::super::change::{Gtid, Xid};

/// The proof of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// MariaDB: the last transaction of each domain.
    Gtids(BTreeMap<u32, Gtid>),
    /// MySQL: the `server_uuid`, and seconds since 1970.
    File { server: String, began: u32 },
}

/// The start of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// MariaDB: the last transactions before it.
    Gtids(Vec<Gtid>),
    /// MySQL: its start time.
    Began(u32),
}

impl Proof {
    /// Parses a stored proof or the server's answer.
    pub(super) fn read(text: &str) -> Self {
        let file = text.split_once('@').and_then(|(server, began)| {
            Some(Self::File { server: server.to_owned(), began: began.parse().ok()? })
        });
        file.unwrap_or_else(|| {
            let read = |text: &str| {
                let mut numbers = text.trim().splitn(3, '-');
                let domain = numbers.next()?.parse().ok()?;
                let server = numbers.next()?.parse().ok()?;
                Some((domain, Gtid { domain, server, number: numbers.next()?.parse().ok()? }))
            };
            Self::Gtids(text.split(',').filter_map(read).collect())
        })
    }

    /// Advances past the start of another file.
    pub(super) fn enter(&mut self, head: Head) {
        match (self, head) {
            (Self::Gtids(known), Head::Gtids(list)) => {
                known.extend(list.into_iter().map(|it| (it.domain, it)));
            }
            (Self::File { began, .. }, Head::Began(at)) => *began = at,
            // The kind of server does not change within a stream.
            _ => {}
        }
    }

    /// Advances past the end of this transaction.
    pub(super) fn pass(&mut self, xid: Option<Xid>) {
        if let (Self::Gtids(known), Some(Xid::Gtid(gtid))) = (self, xid) {
            known.insert(gtid.domain, gtid);
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gtids(known) => {
                let texts: Vec<String> = known.values().map(Gtid::to_string).collect();
                f.write_str(&texts.join(","))
            }
            Self::File { server, began } => write!(f, "{server}@{began}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_moves_on_with_its_place_and_reads_back_as_the_same() {
        let gtid = |domain, number| Gtid { domain, server: 1, number };
        let mut proof = Proof::read("3-7-5, 0-1-7");
        proof.pass(Some(Xid::Gtid(gtid(3, 6))));
        proof.enter(Head::Gtids(vec![gtid(0, 8), gtid(0, 9)]));
        proof.pass(None);
        assert_eq!(proof.to_string(), "0-1-9,3-1-6");
        assert_eq!(Proof::read(&proof.to_string()), proof);
        let mut proof = Proof::read("0b5cbd95-eb79-11f1-ab64-02fc00000001@7");
        proof.enter(Head::Began(8));
        assert_eq!(proof.to_string(), "0b5cbd95-eb79-11f1-ab64-02fc00000001@8");
        assert_eq!(Proof::read(&proof.to_string()), proof);
        assert_ne!(proof, Proof::read("0-1-9"));
    }
}
