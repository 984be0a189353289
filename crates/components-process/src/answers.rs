//! Checks of answers. An answer is used only if all of it is right.

use std::time::Duration;

use bytes::Bytes;
use kit::plug_in::reason;
use support::mutant;

use crate::error::Fault;
use crate::v1::from_plugin::Message;
use crate::v1::{
    Batch, Choice, Encoded, Event, Outcome, Produced, Result as EventResult, Selected, Verdict,
};

/// Maximum length of a position, as channels store it.
const POSITION_MAX: usize = 4096;

fn unusable<T>(problem: String) -> Result<T, Fault> {
    Err(Fault::Unusable(problem))
}

/// Compares the number of an answer with its request.
fn check_number(found: u64, expected: u64) -> Result<(), Fault> {
    match found == expected {
        true => Ok(()),
        false => {
            unusable(format!("the answer is for request {found} instead of request {expected}"))
        }
    }
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
        return unusable(format!("the answer has {found} results for {expected} events"));
    }
    for (result, index) in results.iter().zip(request) {
        if result.index != *index {
            let found = result.index;
            return unusable(format!(
                "the answer has a result for event {found} instead of event {index}"
            ));
        }
        let kinds = [!result.events.is_empty(), result.unchanged, result.refused.is_some()];
        if kinds.iter().filter(|is_set| **is_set).count() > 1 {
            let problem = "must be one of: unchanged, refused, other events";
            return unusable(format!("event {index} has several results; a result {problem}"));
        }
    }
    Ok(results)
}

/// Returns the channels of each event of the request, in order: whether it goes into each one.
pub(crate) fn choices(
    answer: Message,
    number: u64,
    (events, channels): (usize, usize),
) -> Result<Vec<Vec<bool>>, Fault> {
    let Message::Selected(Selected { number: found, choices }) = answer else {
        return unusable("the answer of a selector must be Selected".to_owned());
    };
    check_number(found, number)?;
    if choices.len() != events && !mutant!("plugin_choices_unchecked") {
        let found = choices.len();
        return unusable(format!("it has {found} choices for {events} events"));
    }
    let chosen = |choice: Choice| {
        let mut chosen = vec![false; channels];
        for channel in choice.channels {
            match chosen.get_mut(channel as usize) {
                Some(chosen) => *chosen = true,
                None => return unusable(format!("it chooses channel {channel} of {channels}")),
            }
        }
        Ok(chosen)
    };
    choices.into_iter().map(chosen).collect()
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
            return unusable(format!(
                "an outcome is for events {first} to {last}, but {next} is next"
            ));
        }
        fates.extend(now.iter().map(|index| (*index as usize, fate.clone())));
        rest = later;
    }
    if let Some(index) = rest.first()
        && !mutant!("plugin_outcomes_unchecked")
    {
        return unusable(format!("the answer has no outcome for event {index}"));
    }
    fates.extend(rest.iter().map(|index| (*index as usize, Fate::Delivered)));
    let is_settled = |fate: &Fate| matches!(fate, Fate::Delivered | Fate::Refused(_));
    if fates.iter().any(|(_, fate)| *fate == Fate::Untried)
        && !fates.iter().any(|(_, fate)| is_settled(fate))
    {
        let problem = "the answer leaves events untried, but delivers or refuses no event";
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
            Ok(Fate::Open(reason(&outcome.reason), after))
        }
        Ok(Verdict::Refused) => Ok(Fate::Refused(reason(&outcome.reason))),
        Ok(Verdict::Untried) => Ok(Fate::Untried),
        Err(_) => unusable(format!("an outcome has the unknown verdict {}", outcome.verdict)),
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
        return unusable(format!(
            "the answer has {found} events, but the request allows {events_max}"
        ));
    }
    if position.len() > POSITION_MAX {
        let found = position.len();
        return unusable(format!(
            "the position has {found} bytes, over the limit of {POSITION_MAX}"
        ));
    }
    if !events.is_empty()
        && (position.is_empty() || position == *before)
        && !mutant!("plugin_position_unchecked")
    {
        let problem = "the answer has events without a new position, so a restart would repeat the \
                       events";
        return unusable(problem.to_owned());
    }
    Ok((events, position))
}

/// Returns the next bytes of a file.
pub(crate) fn content(answer: Message, number: u64) -> Result<Bytes, Fault> {
    let Message::Encoded(Encoded { number: found, content }) = answer else {
        return unusable("the answer of an encoder must be Encoded".to_owned());
    };
    check_number(found, number)?;
    Ok(content)
}

/// Returns the indices of the events of a request.
pub(crate) fn indices(request: &Batch) -> Vec<u32> {
    request.events.iter().map(|event| event.index).collect()
}
