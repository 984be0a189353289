//! Commits the directory of the server if it is a git repository.
//!
//! Only `assign.toml`, `fragments` and `revisions` are committed: other changes, also staged ones,
//! stay as they are. The author is the operator, and the message is the line of the audit log. The
//! program `git` runs after the act, in the background: no act waits for it or fails with it.

use std::path::Path;
use std::time::Duration;

use pipeline::Env;

use crate::state::Event;

/// Time limit for each call of `git`, including hooks of the repository.
const LIMIT: Duration = Duration::from_secs(30);

/// Acts and steps after which the directory is committed.
const ACTIONS: [&str; 5] = ["roll-out", "completed", "rolled back", "pin", "unpin"];

/// Maximum number of characters of a message.
const MESSAGE_MAX: usize = 1_000;

/// Returns `true` if the directory is committed after this.
pub(crate) fn is_committed(event: &Event) -> bool {
    ACTIONS.contains(&&*event.action)
}

/// Commits the directory, if it is a repository. Blocks.
///
/// # Errors
/// `git` is not installed or fails: the reason.
pub(crate) fn commit(directory: &Path, event: &Event, env: &Env) -> Result<(), String> {
    if env.disk.stat(&directory.join(".git")).is_err() {
        return Ok(());
    }
    let mut paths = vec!["assign.toml", "revisions"];
    // Git refuses an empty directory.
    let listed = env.disk.list(&directory.join("fragments"));
    if listed.is_ok_and(|it| !it.is_empty()) {
        paths.push("fragments");
    }
    let folder = directory.display().to_string();
    let git = |arguments: &[&str]| {
        let all = [&["-C", &*folder], arguments, &["--"], &paths].concat();
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let failed = |error| format!("cannot commit {folder} with git: {error}");
        env.blocking.output("git", &all, LIMIT).map(|_| ()).map_err(failed)
    };
    let author = format!("{} <{}@fleet>", event.by, event.by.replace(' ', "-"));
    let message: String =
        format!("{}: {}", event.action, event.detail).chars().take(MESSAGE_MAX).collect();
    git(&["add", "--all"])?;
    git(&[
        "-c",
        "user.name=aqueduct fleet",
        "-c",
        "user.email=fleet@localhost",
        "-c",
        "commit.gpgsign=false",
        "commit",
        "--quiet",
        "--allow-empty",
        "--author",
        &author,
        "--message",
        &message,
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test is the operator that edits files")]

    use std::fs;

    use super::*;

    fn event(action: &str, by: &str) -> Event {
        let detail = "revision 1: 'x' \"y\" $(z)".to_owned();
        Event { action: action.to_owned(), by: by.to_owned(), detail }
    }

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let folder = folder.display().to_string();
        let all = [&["-C", &*folder], arguments].concat();
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let output = env::real().blocking.output("git", &all, LIMIT).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_repository_gets_the_files_with_operator_and_message() {
        let (folder, env) = (tempfile::tempdir().unwrap(), env::real());
        let path = folder.path();
        for directory in ["fragments", "revisions/1/fragments"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        fs::write(path.join("assign.toml"), "1").unwrap();
        fs::write(path.join("revisions/1/assign.toml"), "1").unwrap();
        commit(path, &event("roll-out", "loopback"), &env).unwrap();
        assert!(!path.join(".git").exists(), "no repository, no commit");
        git(path, &["init", "--quiet"]);
        fs::write(path.join("staged"), "1").unwrap();
        git(path, &["add", "staged"]);
        commit(path, &event("roll-out", "loopback"), &env).unwrap();
        fs::write(path.join("fragments/a.toml"), "1").unwrap();
        commit(path, &event("completed", "fleet"), &env).unwrap();
        commit(path, &event("pin", "admin token"), &env).unwrap();
        let log = git(path, &["log", "--format=%an <%ae> %s", "--name-only", "--reverse"]);
        assert_eq!(
            log,
            "loopback <loopback@fleet> roll-out: revision 1: 'x' \"y\" $(z)\n\n\
             assign.toml\nrevisions/1/assign.toml\n\
             fleet <fleet@fleet> completed: revision 1: 'x' \"y\" $(z)\n\n\
             fragments/a.toml\n\
             admin token <admin-token@fleet> pin: revision 1: 'x' \"y\" $(z)\n"
        );
        assert_eq!(git(path, &["status", "--short"]), "A  staged\n");
        fs::write(path.join(".git/index.lock"), "").unwrap();
        let failed = commit(path, &event("pin", "loopback"), &env).unwrap_err();
        assert!(failed.contains("index.lock"), "{failed}");
    }

    #[test]
    fn only_acts_and_results_are_committed() {
        assert!(is_committed(&event("completed", "fleet")));
        assert!(!is_committed(&event("wave", "fleet")) && !is_committed(&event("pause", "a")));
    }
}
