//! Lists changed files with git.

use std::collections::BTreeSet;
use std::process::Command;

use crate::output;

/// Returns the files that differ from `revision`, including new ones. Default: the merge base with
/// `origin/main`, or if that does not exist, the previous commit.
///
/// # Errors
///
/// When git fails, for example because of an unknown revision.
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
