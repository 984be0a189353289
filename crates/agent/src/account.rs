//! The accounts of an agent: one for each durable channel, and one for dead letters from no such
//! channel.

use std::collections::BTreeMap;
use std::path::Path;

use channel::durable::Encryption;
use channel::durable::inspect::Inspection;
use pipeline::account::DEAD_LETTERS;
use pipeline::{Account, ChannelError, Env, LetterCount, LetterCounts, Origin};

use crate::dead_letters;

/// Counters of events that an agent has altered, cut or stored elsewhere, and the reason. Without a
/// reason the label `reason` names it.
const REMARKS: &[(&str, Option<&str>)] = &[
    ("aqueduct_source_anomalies_total{", None),
    ("aqueduct_hdfs_late_events_total{", Some("late_events")),
    ("aqueduct_hdfs_overflow_events_total{", Some("overflow_events")),
];

/// Reasons of `aqueduct_source_anomalies_total` that are remarks: events are not as they were read,
/// or were not read.
const ALTERED: &[&str] = &[
    "changed_after_read",
    "datagrams_dropped",
    "event_cut",
    "event_divided",
    "event_unfinished",
    "file_set_aside",
    "framing_lost",
    "late_line",
    "line_cut",
    "lines_refused",
    "message_cut",
    "message_refused",
    "messages_refused",
    "not_finished",
    "receive_buffer_full",
    "truncated",
    "unreadable",
    "vanished_unread",
];

/// Reads the account of the durable channel in `directory`, with the dead letters of its agent if
/// `directory` is `DATA_DIR/channels/NAME` of that agent.
///
/// # Errors
/// No channel exists, an agent uses it, a key is missing, or it cannot be read.
pub fn from_directory(
    directory: &Path,
    encryption: Option<&Encryption>,
    env: &Env,
) -> Result<Vec<Account>, ChannelError> {
    let inspection = Inspection::open(env, directory, encryption)?;
    let mut account = inspection.account();
    let is_alone = inspection.stats().consumers.len() <= 1;
    let channels = directory.parent().filter(|parent| parent.ends_with("channels"));
    let letters = channels.and_then(Path::parent).map(dead_letters::directory);
    let letters = letters.filter(|letters| env.disk.stat(letters).is_ok());
    let (Some(letters), Some(channels)) = (letters, channels) else { return Ok(vec![account]) };
    let inspection = Inspection::open(env, &letters, encryption)?;
    let mut others = Account::empty(DEAD_LETTERS, inspection.account().origin);
    dead_letters::inspected(&inspection, |label, events| {
        let count = label.count(events.len() as u64);
        if label.channel == account.channel {
            account.letters.add(LetterCount { whole: count.whole && is_alone, ..count });
        } else if label.channel.is_empty() || env.disk.stat(&channels.join(&label.channel)).is_err()
        {
            others.letters.add(count);
        }
        true
    })?;
    let mut accounts = vec![account];
    accounts.extend(Some(others).filter(|others| !others.letters.is_empty()));
    Ok(accounts)
}

/// Returns the accounts of a running agent: its durable channels, each with the number of its
/// consumers, and its dead letters by channel. `letters_origin` is the origin of the dead letters'
/// own channel.
pub fn from_agent(
    channels: Vec<(Account, usize)>,
    mut letters: BTreeMap<String, LetterCounts>,
    letters_origin: Option<Origin>,
    remarks: BTreeMap<String, u64>,
) -> Vec<Account> {
    let mut accounts = Vec::new();
    for (mut account, consumers) in channels {
        let own = letters.remove(&account.channel).unwrap_or_default();
        for count in own.iter() {
            account.letters.add(LetterCount { whole: count.whole && consumers <= 1, ..count });
        }
        accounts.push(account);
    }
    if let Some(first) = accounts.first_mut() {
        first.remarks = remarks;
    }
    if let Some(origin) = letters_origin.filter(|_| !letters.is_empty()) {
        let mut others = Account::empty(DEAD_LETTERS, origin);
        letters.values().for_each(|counts| others.letters.add_all(counts));
        accounts.push(others);
    }
    accounts
}

/// Reads from metrics in their text form how many events the agent has altered, cut or stored
/// elsewhere.
pub fn remarks(metrics: &str) -> BTreeMap<String, u64> {
    let mut remarks = BTreeMap::new();
    for line in metrics.lines() {
        let of_counter = |(counter, fixed): &(&str, Option<&'static str>)| {
            let (labels, value) = line.strip_prefix(counter)?.rsplit_once("} ")?;
            let value = value.parse::<u64>().ok().filter(|value| *value > 0)?;
            let labels: BTreeMap<&str, &str> = labels
                .split(',')
                .filter_map(|label| label.split_once('='))
                .map(|(name, value)| (name, value.trim_matches('"')))
                .collect();
            let reason = fixed.or_else(|| labels.get("reason").copied())?;
            let is_remark = fixed.is_some() || ALTERED.contains(&reason);
            let of = labels.get("source").or_else(|| labels.get("component"))?;
            is_remark.then(|| (format!("{reason} of {of}"), value))
        };
        remarks.extend(REMARKS.iter().find_map(of_counter));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Identity, Sequence};

    use super::*;

    fn count(sequence: u64, whole: bool) -> LetterCount<'static> {
        let (origin, epoch) = (Origin([7; 16]), Epoch(1));
        let batch = Some(Identity { origin, epoch, sequence: Sequence(sequence) });
        LetterCount { reason: "refused", batch, whole, events: 2 }
    }

    #[test]
    fn each_letter_is_in_one_account() {
        let own = Account::empty("main", Origin([7; 16]));
        let shared = Account::empty("shared", Origin([8; 16]));
        let mut letters: BTreeMap<String, LetterCounts> = BTreeMap::new();
        for (at, channel) in (0..).zip(["main", "shared", "", "memory"]) {
            letters.entry(channel.into()).or_default().add(count(at, true));
        }
        let remarks = BTreeMap::from([("line_cut of tail".to_owned(), 3)]);
        let channels = vec![(own, 1), (shared, 2)];
        let accounts = from_agent(channels, letters, Some(Origin([9; 16])), remarks.clone());
        let seen: Vec<(&str, Vec<LetterCount<'_>>)> =
            accounts.iter().map(|it| (&*it.channel, it.letters.iter().collect())).collect();
        let expected = [
            ("main", vec![count(0, true)]),
            // The other consumer may have delivered it.
            ("shared", vec![count(1, false)]),
            (DEAD_LETTERS, vec![count(2, true), count(3, true)]),
        ];
        assert_eq!(seen, expected);
        assert_eq!(accounts[0].remarks, remarks);
    }

    #[test]
    fn counters_of_altered_events_are_remarks() {
        let metrics = "# HELP x\n\
            aqueduct_source_anomalies_total{source=\"tail\",reason=\"line_cut\"} 3\n\
            aqueduct_source_anomalies_total{source=\"tail\",reason=\"truncated\"} 0\n\
            aqueduct_source_anomalies_total{source=\"spool\",reason=\"changed_after_read\"} 2\n\
            aqueduct_source_anomalies_total{source=\"in\",reason=\"tls_failed\"} 8\n\
            aqueduct_hdfs_late_events_total{component=\"store\"} 7\n";
        let expected = [
            ("changed_after_read of spool", 2),
            ("late_events of store", 7),
            ("line_cut of tail", 3),
        ];
        let remarks = remarks(metrics);
        let seen: Vec<(&str, u64)> = remarks.iter().map(|(name, it)| (&**name, *it)).collect();
        assert_eq!(seen, expected);
    }
}
