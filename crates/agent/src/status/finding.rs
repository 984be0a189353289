//! Findings about a snapshot: the first thing that an operator wants to know.
//!
//! Pure. The agent evaluates them; the live page, `aqueduct top` and `aqueduct status` display
//! them.

use serde::{Deserialize, Serialize};

use super::Snapshot;
pub use cause::{Cause, Level};
pub use detect::EVERY_SOURCE_HELD;

mod cause;
mod detect;
mod roots;

/// Something that is wrong, or may become so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its severity, including its consequences.
    pub level: Level,
    /// Its kind.
    #[serde(default)]
    pub cause: Cause,
    /// The component: `source NAME`, `channel NAME`, `group NAME`, `sink NAME`, `conservation`,
    /// `agent`, `dead letters` or `configuration`.
    pub component: String,
    /// A sentence that stays the same while the finding exists.
    pub brief: String,
    /// The same with times and sizes.
    pub text: String,
    /// When it began.
    #[serde(default)]
    pub since_seconds_ago: Option<f64>,
    /// The component whose finding causes this one; `null`: this is a root cause.
    #[serde(default)]
    pub caused_by: Option<String>,
    /// The remedy.
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
    /// The level of the worst finding, except notes.
    pub level: Level,
    /// All is well, or the worst trouble and how many there are.
    pub text: String,
}

impl Finding {
    /// Creates a finding without `more`, which is in brackets in the text.
    pub fn new((level, cause): (Level, Cause), component: &str, brief: String, more: &str) -> Self {
        let text = if more.is_empty() { brief.clone() } else { format!("{brief} ({more})") };
        let (remedy, runbook) = (cause.remedy().to_owned(), cause.runbook());
        let component = component.to_owned();
        Self { level, cause, component, brief, text, remedy, runbook, ..Self::default() }
    }

    /// Returns the remedy and the reference, line by line; empty for a consequence of another
    /// finding.
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
    pub fn from_findings(troubles: &[Finding]) -> Self {
        let real = || troubles.iter().filter(|it| it.level > Level::Note);
        let Some(worst) = real().next() else {
            return Self { level: Level::Good, text: "All is well".to_owned() };
        };
        let lead = match worst.level {
            Level::Bad => "Something is wrong",
            Level::Good | Level::Note | Level::Warn => "Needs attention",
        };
        let more = match real().filter(|it| it.caused_by.is_none()).count() {
            0 | 1 => String::new(),
            all => format!(", and {} more", all - 1),
        };
        Self { level: worst.level, text: format!("{lead}: {}{more}", worst.brief) }
    }
}

impl Snapshot {
    /// Adds findings to the snapshot, including a known one about the configuration file. Root
    /// causes precede their consequences.
    pub fn judged(mut self, configuration: Option<Finding>) -> Self {
        let mut found = detect::findings(&self);
        found.extend(configuration);
        roots::explain(&mut found, &self);
        // Stable sort: findings of one rank stay in the order of the flow.
        found.sort_by_key(|it| (std::cmp::Reverse(it.level), it.caused_by.is_some()));
        self.verdict = Verdict::from_findings(&found);
        self.troubles = found;
        self
    }

    /// Returns the severity for a component, named as in [`Finding::component`].
    pub fn level_of(&self, component: &str) -> Level {
        let about = self.troubles.iter().filter(|it| it.component == component);
        about.map(|it| it.level).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
