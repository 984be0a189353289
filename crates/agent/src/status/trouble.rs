//! What is wrong, from a snapshot: the first thing that an operator wants to know.
//!
//! Pure. The agent judges; the live page, `aqueduct top` and `aqueduct status` show what it says.

use serde::{Deserialize, Serialize};

use super::Snapshot;
pub use cause::{Cause, Level};
pub(crate) use found::EVERY_SOURCE_HELD;

mod cause;
mod found;
mod roots;

/// Something that is wrong, or may become so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// How bad it is, including what it causes.
    pub level: Level,
    /// What kind of trouble it is.
    #[serde(default)]
    pub cause: Cause,
    /// What it is about: `source NAME`, `channel NAME`, `group NAME`, `sink NAME`, `conservation`,
    /// `agent`, `dead letters` or `configuration`.
    pub component: String,
    /// It in a sentence, which stays the same while the trouble does.
    pub brief: String,
    /// The same with times and sizes.
    pub text: String,
    /// When it began.
    #[serde(default)]
    pub since_seconds_ago: Option<f64>,
    /// The component whose trouble causes this one; `null`: this is a root cause.
    #[serde(default)]
    pub caused_by: Option<String>,
    /// What to do.
    #[serde(default)]
    pub remedy: String,
    /// URL of its heading in the run book.
    #[serde(default)]
    pub runbook: String,
    /// The agent that has the problem; `null`: this one.
    #[serde(default)]
    pub agent: Option<AgentStatus>,
}

/// Another agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its address, as its upstream agent dials it.
    pub address: String,
    /// URL of its status page, if other hosts can reach one.
    pub page: Option<String>,
}

/// Everything in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// That of the worst trouble; a note is none.
    pub level: Level,
    /// All is well, or the worst trouble and how many there are.
    pub text: String,
}

impl Trouble {
    /// Without `more`, which stands in brackets in the text.
    pub(crate) fn new(
        (level, cause): (Level, Cause),
        component: &str,
        brief: String,
        more: &str,
    ) -> Self {
        let text = if more.is_empty() { brief.clone() } else { format!("{brief} ({more})") };
        let (remedy, runbook) = (cause.remedy().to_owned(), cause.runbook());
        let component = component.to_owned();
        Self { level, cause, component, brief, text, remedy, runbook, ..Self::default() }
    }

    /// What to do and where to read more, line by line; nothing for a consequence of another
    /// trouble.
    pub fn help(&self) -> Vec<String> {
        if self.caused_by.is_some() || self.remedy.is_empty() {
            return Vec::new();
        }
        let page = self.agent.as_ref().and_then(|agent| {
            Some(format!("status of {}: {}", agent.address, agent.page.as_ref()?))
        });
        [format!("{}: {}", self.remedy, self.runbook)].into_iter().chain(page).collect()
    }
}

impl Verdict {
    /// Of troubles, root causes of the worst level first.
    pub(crate) fn of(troubles: &[Trouble]) -> Self {
        let real = || troubles.iter().filter(|it| it.level > Level::Note);
        let Some(worst) = real().next() else {
            return Self { level: Level::Good, text: "All is well".to_owned() };
        };
        let lead = match worst.level {
            Level::Bad => "Something is wrong",
            Level::Good | Level::Note | Level::Warn => "Look after this",
        };
        let more = match real().filter(|it| it.caused_by.is_none()).count() {
            0 | 1 => String::new(),
            all => format!(", and {} more", all - 1),
        };
        Self { level: worst.level, text: format!("{lead}: {}{more}", worst.brief) }
    }
}

impl Snapshot {
    /// With what is wrong, and what is known to be wrong with the configuration file. Root causes
    /// are in front of what they cause.
    pub(crate) fn judged(mut self, configuration: Option<Trouble>) -> Self {
        let mut found = found::troubles(&self);
        found.extend(configuration);
        roots::explain(&mut found, &self);
        // Stable: those of one rank stay in the order of the flow.
        found.sort_by_key(|it| (std::cmp::Reverse(it.level), it.caused_by.is_some()));
        self.verdict = Verdict::of(&found);
        self.troubles = found;
        self
    }

    /// How bad it is with a component, as [`Trouble::component`] names it.
    pub fn level_of(&self, component: &str) -> Level {
        let about = self.troubles.iter().filter(|it| it.component == component);
        about.map(|it| it.level).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
