//! Plain text that leaves this host, as the running parts send it.

use tracing::warn;

use super::Running;
use crate::status::PlainTextStatus;

impl Running {
    /// Shows these addresses from now on. New ones cause a warning in the log.
    pub fn show_plain_text(&self, now: &[PlainTextStatus]) {
        let before = self.change(|parts| std::mem::replace(&mut parts.plain_text, now.to_vec()));
        for PlainTextStatus { component, setting, address } in now {
            if !before.iter().any(|it| it.component == *component && it.address == *address) {
                warn!(
                    component,
                    setting,
                    address,
                    "plain text leaves this host (`insecure = true`): others can read and change \
                     it; set up TLS, or ignore this if you accept it"
                );
            }
        }
    }
}
