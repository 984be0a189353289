//! Dead letters for events of a batch that are refused individually.

use pipeline::deliver::Delivered;

/// Maximum number of events that a detail names; a letter keeps one kilobyte of it.
const NAMED_MAX: usize = 8;

/// An event that can never be delivered.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its position in the batch.
    pub place: usize,
    /// Reason label in snake case.
    pub reason: &'static str,
    /// Details for people.
    pub detail: String,
}

/// Creates the result for a batch whose events are delivered, except these. The reason is that of
/// the first one.
pub fn except(mut refused: Vec<Refusal>) -> Delivered {
    refused.sort_by_key(|refusal| refusal.place);
    // An event may be refused once more when its batch is resent.
    refused.dedup_by_key(|refusal| refusal.place);
    let Some(Refusal { reason, detail, .. }) = refused.first().cloned() else {
        return Delivered::All;
    };
    let events = refused.into_iter().map(|refusal| refusal.place).collect();
    Delivered::Except { events, reason, detail }
}

/// Positions of refused events, and the reason of each.
pub type Refused = Vec<(usize, String)>;

/// Creates the result for a batch whose events are delivered, except these.
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
