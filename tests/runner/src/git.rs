//! Asks git which files changed.

use std::collections::BTreeSet;
use std::process::Command;

use crate::output;

/// The files that differ from `revision`, new ones included. Without it: from the merge base with
/// `origin/main`, or from the commit before where that does not exist.
///
/// # Errors
///
/// When git fails, as for an unknown revision.
pub(crate) fn changed_files(revision: Option<&str>) -> Result<Vec<String>, String> {
    let git = |arguments: &[&str]| output(Command::new("git").args(arguments));
    let base = match revision {
        Some(revision) => revision.to_owned(),
        None => git(&["merge-base", "HEAD", "origin/main"])
            .map_or_else(|_| "HEAD~1".to_owned(), |it| it.trim().to_owned()),
    };
    let tracked = git(&["diff", "--name-only", &base])?;
    let new = git(&["ls-files", "--others", "--exclude-standard"])?;
    let files: BTreeSet<String> = tracked.lines().chain(new.lines()).map(str::to_owned).collect();
    Ok(files.into_iter().collect())
}
