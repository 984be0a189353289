//! Checks of answers. An answer is used only if all of it is right.

use std::time::Duration;

use bytes::Bytes;
use support::mutant;

use crate::error::Fault;
use crate::v1::from_plugin::Message;
use crate::v1::{Batch, Event, Outcome, Produced, Result as EventResult, Verdict};

/// Maximum length of a position, as channels store it.
const POSITION_MAX: usize = 4096;
/// Maximum length of a reason that is shown and stored.
const REASON_MAX: usize = 1024;

fn unusable<T>(problem: String) -> Result<T, Fault> {
    Err(Fault::Unusable(problem))
}

/// Compares the number of an answer with its request.
fn check_number(found: u64, expected: u64) -> Result<(), Fault> {
    match found == expected {
        true => Ok(()),
        false => unusable(format!("it answers request {found} instead of request {expected}")),
    }
}

/// Cuts a reason, and makes it one line.
pub(crate) fn shown(reason: &str) -> String {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns one result for each event of the request, in order.
pub(crate) fn results(
    answer: Message,
    number: u64,
    request: &[u32],
) -> Result<Vec<EventResult>, Fault> {
    let Message::Intercepted(intercepted) = answer else {
        return unusable("the answer of an interceptor must be Intercepted".to_owned());
    };
    check_number(intercepted.number, number)?;
    let results = intercepted.results;
    if mutant!("plugin_results_unchecked") {
        return Ok(results);
    }
    if results.len() != request.len() {
        let (found, expected) = (results.len(), request.len());
        return unusable(format!("it has {found} results for {expected} events"));
    }
    for (result, index) in results.iter().zip(request) {
        if result.index != *index {
            let found = result.index;
            return unusable(format!("it has a result for event {found} instead of {index}"));
        }
        let kinds = [!result.events.is_empty(), result.unchanged, result.refused.is_some()];
        if kinds.iter().filter(|is_set| **is_set).count() > 1 {
            let problem = "is one of: unchanged, refused, other events";
            return unusable(format!("event {index} has several results; a result {problem}"));
        }
    }
    Ok(results)
}

/// The outcome of one event at a sink.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    /// Not tried yet.
    Untried,
    /// Not settled yet, because of this reason and until this time.
    Open(String, Option<Duration>),
    /// Delivered.
    Delivered,
    /// Refused for this reason.
    Refused(String),
}

/// Returns the index and the outcome of each event of the request, in order.
pub(crate) fn fates(
    answer: Message,
    number: u64,
    request: &[u32],
) -> Result<Vec<(usize, Fate)>, Fault> {
    let Message::Settled(settled) = answer else {
        return unusable("the answer of a sink must be Settled".to_owned());
    };
    check_number(settled.number, number)?;
    let mut fates = Vec::with_capacity(request.len());
    let mut rest = request;
    for outcome in settled.outcomes {
        let fate = fate(&outcome)?;
        let Outcome { first, last, .. } = outcome;
        // The indices of a request rise.
        let covered = rest.iter().take_while(|index| **index <= last).count();
        let (now, later) = rest.split_at(covered);
        if now.first() != Some(&first) || now.last() != Some(&last) {
            let next = rest.first().map_or("no event".to_owned(), |index| format!("event {index}"));
            return unusable(format!("an outcome is for events {first} to {last}; next is {next}"));
        }
        fates.extend(now.iter().map(|index| (*index as usize, fate.clone())));
        rest = later;
    }
    if let Some(index) = rest.first()
        && !mutant!("plugin_outcomes_unchecked")
    {
        return unusable(format!("it has no outcome for event {index}"));
    }
    fates.extend(rest.iter().map(|index| (*index as usize, Fate::Delivered)));
    let is_settled = |fate: &Fate| matches!(fate, Fate::Delivered | Fate::Refused(_));
    if fates.iter().any(|(_, fate)| *fate == Fate::Untried)
        && !fates.iter().any(|(_, fate)| is_settled(fate))
    {
        let problem = "it leaves events untried, and no event is delivered or refused";
        return unusable(problem.to_owned());
    }
    Ok(fates)
}

fn fate(outcome: &Outcome) -> Result<Fate, Fault> {
    match Verdict::try_from(outcome.verdict) {
        Ok(Verdict::Delivered) => Ok(Fate::Delivered),
        Ok(Verdict::Retry) => {
            let after = Duration::from_millis(outcome.retry_after_ms);
            let after = Some(after).filter(|after| !after.is_zero());
            Ok(Fate::Open(shown(&outcome.reason), after))
        }
        Ok(Verdict::Refused) => Ok(Fate::Refused(shown(&outcome.reason))),
        Ok(Verdict::Untried) => Ok(Fate::Untried),
        Err(_) => unusable(format!("an outcome has the verdict {}", outcome.verdict)),
    }
}

/// Returns events and the position after them.
pub(crate) fn produced(
    answer: Message,
    number: u64,
    (events_max, before): (usize, &Bytes),
) -> Result<(Vec<Event>, Bytes), Fault> {
    let Message::Produced(Produced { number: found, events, position }) = answer else {
        return unusable("the answer of a source must be Produced".to_owned());
    };
    check_number(found, number)?;
    if events.len() > events_max {
        let found = events.len();
        return unusable(format!("it has {found} events, and the request allows {events_max}"));
    }
    if position.len() > POSITION_MAX {
        let found = position.len();
        return unusable(format!("its position has {found} bytes, at most {POSITION_MAX} fit"));
    }
    if !events.is_empty()
        && (position.is_empty() || position == *before)
        && !mutant!("plugin_position_unchecked")
    {
        let problem = "it has events, but its position is not a new one, so that a restart would \
                       repeat the events";
        return unusable(problem.to_owned());
    }
    Ok((events, position))
}

/// Returns the indices of the events of a request.
pub(crate) fn indices(request: &Batch) -> Vec<u32> {
    request.events.iter().map(|event| event.index).collect()
}
