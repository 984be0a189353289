//! The service manager of this process, systemd: sends notifications, and reads the watchdog
//! interval.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// A notification to the service manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
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
    pub fn from_env() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        Some(Self { watchdog: sd_notify::watchdog_enabled().filter(|it| !it.is_zero()) })
    }

    /// Returns the maximum time between two [`Notification::Watchdog`], after which it ends the
    /// process; `None`: it has no watchdog.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends these notifications together, in one datagram. Blocks while the manager reads nothing.
    ///
    /// # Errors
    /// Its socket does not exist, or refuses.
    pub fn notify(&self, notifications: &[Notification]) -> io::Result<()> {
        let mut states = Vec::with_capacity(notifications.len() + 1);
        for notification in notifications {
            states.push(match notification {
                Notification::Ready => NotifyState::Ready,
                Notification::Reloading => NotifyState::Reloading,
                Notification::Stopping => NotifyState::Stopping,
                Notification::Status(text) => NotifyState::Status(text),
                Notification::Watchdog => NotifyState::Watchdog,
            });
            if *notification == Notification::Reloading {
                // It distinguishes this reload from an earlier one by that (`Type=notify-reload`).
                states.push(NotifyState::monotonic_usec_now()?);
            }
        }
        sd_notify::notify(&states)
    }
}
