//! What the channels of an agent answer for, whether it runs or not.

use std::path::Path;

use agent::dead_letters;
use channel::durable::Encryption;
use channel::durable::inspect::Inspection;
use pipeline::{Account, ChannelError, Env};

/// Of the durable channel in `directory`, with the dead letters of its agent where it lies in that
/// agent's directory: `DATA_DIR/channels/NAME`.
///
/// # Errors
/// There is no channel, an agent uses it, a key is missing, or it cannot be read.
pub(crate) fn of_directory(
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
