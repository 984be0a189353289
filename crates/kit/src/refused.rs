//! What letters say of events of a batch that are refused one by one.

use pipeline::deliver::Delivered;

/// Events that a detail names; a letter keeps a kilobyte of it.
const NAMED_MAX: usize = 8;

/// Places of events that are refused, and why each.
pub type Refused = Vec<(usize, String)>;

/// All events are delivered but these.
pub fn all_but(mut refused: Refused, reason: &'static str) -> Delivered {
    if refused.is_empty() {
        return Delivered::All;
    }
    refused.sort_unstable_by_key(|(place, _)| *place);
    let mut text: Vec<String> = refused
        .iter()
        .take(NAMED_MAX)
        .map(|(place, problem)| format!("event {place}: {problem}"))
        .collect();
    if let Some(more) = refused.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push(format!("and {more} more"));
    }
    let events = refused.into_iter().map(|(place, _)| place).collect();
    Delivered::Except { events, reason, detail: text.join("; ") }
}
