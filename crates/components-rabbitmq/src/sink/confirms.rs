//! Confirmations of a batch's messages. Pure.

use std::collections::BTreeSet;

/// Sequence numbers of messages that were sent and are not confirmed.
#[derive(Debug)]
pub(super) struct Confirms {
    /// The broker's numbers: from 1, in the order of the channel.
    open: BTreeSet<u64>,
    /// Number of the next message.
    next: u64,
}

/// Confirmation or refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirm {
    Confirmed,
    Refused,
}

/// Reason why a batch is not delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConfirmError {
    /// The broker refuses this number of messages.
    Refused(usize),
    /// The broker named a message that was not sent.
    Unknown(u64),
}

impl Default for Confirms {
    fn default() -> Self {
        Self { open: BTreeSet::new(), next: 1 }
    }
}

impl Confirms {
    /// Records a message that is sent.
    pub(super) fn sent(&mut self) {
        self.open.insert(self.next);
        self.next += 1;
    }

    /// Iterates over unconfirmed messages from number `first` on, relative to it.
    pub(super) fn open_since(&self, first: u64) -> impl Iterator<Item = u64> {
        self.open.range(first..).map(move |number| number - first)
    }

    /// Returns the number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Returns true if every message is confirmed.
    pub(super) fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// Handles the broker's reply about a message, or about it and `all_before` it.
    ///
    /// # Errors
    /// Fails if it is a refusal, or names an unknown message.
    pub(super) fn heard(
        &mut self,
        said: Confirm,
        tag: u64,
        all_before: bool,
    ) -> Result<(), ConfirmError> {
        if tag >= self.next || (tag == 0 && !all_before) {
            return Err(ConfirmError::Unknown(tag));
        }
        let settled = match (all_before, tag) {
            // 0 means all.
            (true, 0) => std::mem::take(&mut self.open).len(),
            (true, last) => {
                let left = self.open.split_off(&(last + 1));
                std::mem::replace(&mut self.open, left).len()
            }
            (false, one) => usize::from(self.open.remove(&one)),
        };
        match said {
            Confirm::Confirmed => Ok(()),
            Confirm::Refused => Err(ConfirmError::Refused(settled)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_complete_when_each_message_is_confirmed_in_whatever_order() {
        let mut confirms = Confirms::default();
        assert!(confirms.is_complete());
        (0..5).for_each(|_| confirms.sent());
        confirms.heard(Confirm::Confirmed, 4, false).unwrap();
        confirms.heard(Confirm::Confirmed, 2, true).unwrap();
        assert!(!confirms.is_complete());
        confirms.heard(Confirm::Confirmed, 3, false).unwrap();
        assert!(!confirms.is_complete());
        // A confirmed message does not count twice.
        confirms.heard(Confirm::Confirmed, 4, false).unwrap();
        assert!(!confirms.is_complete());
        confirms.heard(Confirm::Confirmed, 5, true).unwrap();
        assert!(confirms.is_complete());
        // The next batch continues the count.
        confirms.sent();
        confirms.heard(Confirm::Confirmed, 5, true).unwrap();
        assert!(!confirms.is_complete());
        confirms.heard(Confirm::Confirmed, 0, true).unwrap();
        assert!(confirms.is_complete());
    }

    #[test]
    fn a_refusal_and_a_message_that_was_not_sent_are_errors() {
        let mut confirms = Confirms::default();
        (0..3).for_each(|_| confirms.sent());
        assert_eq!(confirms.heard(Confirm::Refused, 2, true), Err(ConfirmError::Refused(2)));
        assert_eq!(confirms.heard(Confirm::Confirmed, 4, false), Err(ConfirmError::Unknown(4)));
        assert_eq!(confirms.heard(Confirm::Confirmed, 0, false), Err(ConfirmError::Unknown(0)));
    }
}
