//! The account of a durable channel whose agent is stopped.

use std::path::Path;

use channel::durable::Encryption;
use channel::durable::inspect::Inspection;
use pipeline::{Account, ChannelError, Env};

use crate::dead_letters;

/// Reads the account of the durable channel in `directory`, with the dead letters of its agent if
/// `directory` is `DATA_DIR/channels/NAME` of that agent.
///
/// # Errors
/// No channel exists, an agent uses it, a key is missing, or it cannot be read.
pub fn of_directory(
    directory: &Path,
    encryption: Option<&Encryption>,
    env: &Env,
) -> Result<Account, ChannelError> {
    let mut account = Inspection::open(env, directory, encryption)?.account();
    let channels = directory.parent().filter(|parent| parent.ends_with("channels"));
    let letters = channels.and_then(Path::parent).map(dead_letters::directory);
    let letters = letters.filter(|letters| env.disk.stat(letters).is_ok());
    if let Some(letters) = letters {
        let inspection = Inspection::open(env, &letters, encryption)?;
        dead_letters::inspected(&inspection, |label, _| {
            if let Some(identity) = label.identity {
                account.letters.insert(identity);
            }
            true
        })?;
    }
    Ok(account)
}
