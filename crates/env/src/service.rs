//! The service manager of this process, systemd: sends notifications, and reads the watchdog
//! interval.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// A notification to the service manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The start or the reload is over.
    Ready,
    /// A reload begins.
    Reloading,
    /// The process begins to stop.
    Stopping,
    /// Its current activity, in one line.
    Status(String),
    /// It makes progress.
    Watchdog,
}

/// The service manager that expects notifications of this process.
#[derive(Debug, Clone)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names; `None` without one.
    pub fn of_process() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        Some(Self { watchdog: sd_notify::watchdog_enabled().filter(|it| !it.is_zero()) })
    }

    /// Returns the maximum time between two [`Word::Watchdog`], after which it ends the process;
    /// `None`: it has no watchdog.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends these notifications together, in one datagram. Blocks while the manager reads nothing.
    ///
    /// # Errors
    /// Its socket does not exist, or refuses.
    pub fn say(&self, words: &[Word]) -> io::Result<()> {
        let mut states = Vec::with_capacity(words.len() + 1);
        for word in words {
            states.push(match word {
                Word::Ready => NotifyState::Ready,
                Word::Reloading => NotifyState::Reloading,
                Word::Stopping => NotifyState::Stopping,
                Word::Status(text) => NotifyState::Status(text),
                Word::Watchdog => NotifyState::Watchdog,
            });
            if *word == Word::Reloading {
                // It distinguishes this reload from an earlier one by that (`Type=notify-reload`).
                states.push(NotifyState::monotonic_usec_now()?);
            }
        }
        sd_notify::notify(&states)
    }
}
