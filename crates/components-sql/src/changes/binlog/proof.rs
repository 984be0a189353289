//! The proof that a place is one of the same log still.
//!
//! ```text
//!   MariaDB   the last transaction of each domain in front of the place:   0-1-7,3-7-5
//!   MySQL     the server, and when it has begun the file of the place:     0b5c…0001@1795904061
//! ```
//!
//! MariaDB says which transactions stand in front of a place, MySQL does not. There each file says
//! in its first event when it was begun. A log that was reset has other files, though their names
//! come again; one that was taken back to an earlier state goes on in a new file; and what was cut
//! off at the end of a file is seen by its size.

use std::collections::BTreeMap;
use std::fmt;

use super::super::change::{Gtid, Xid};

/// What has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// MariaDB: the last transaction of each domain.
    Gtids(BTreeMap<u32, Gtid>),
    /// MySQL: the `server_uuid`, and seconds since 1970.
    File { server: String, began: u32 },
}

/// What the beginning of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// MariaDB: the last transactions in front of it.
    Gtids(Vec<Gtid>),
    /// MySQL: when it was begun.
    Began(u32),
}

impl Proof {
    /// By its text, or by what the server says.
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

    /// The place is behind the beginning of another file now.
    pub(super) fn enter(&mut self, head: Head) {
        match (self, head) {
            (Self::Gtids(known), Head::Gtids(list)) => {
                known.extend(list.into_iter().map(|it| (it.domain, it)));
            }
            (Self::File { began, .. }, Head::Began(at)) => *began = at,
            // A server does not become one of the other kind within a stream.
            _ => {}
        }
    }

    /// The place is behind the end of this transaction now.
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
