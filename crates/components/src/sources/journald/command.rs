//! Calls of journalctl, and the meaning of its errors. Pure.
//!
//! | step | call | why |
//! |---|---|---|
//! | [`Step::CatchUp`] | without `--follow`, up to its end | with `--follow`, versions 250 to 257 read only the current boot, and no option changes that: entries of earlier boots would be lost |
//! | [`Step::Follow`] | `--follow --no-tail` | without `--no-tail` it prints only the last ten entries |
//!
//! With a configured directory or files, `--follow` also gets `--merge`, to read every boot: they
//! may belong to another host.

use xxhash_rust::xxh3::xxh3_64;

use super::place::Place;

/// Selection of entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) directory: Option<String>,
    pub(super) files: Vec<String>,
    pub(super) namespace: Option<String>,
    pub(super) units: Vec<String>,
    pub(super) identifiers: Vec<String>,
    pub(super) priority: Option<String>,
    /// `FIELD=value`.
    pub(super) matches: Vec<String>,
    pub(super) this_boot: bool,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Reads the existing entries.
    CatchUp,
    /// Reads new entries as they arrive.
    Follow,
}

impl Selection {
    /// Returns the arguments of the selection.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: &String| words.push(format!("--{name}={value}"));
        self.directory.iter().for_each(|it| option("directory", it));
        self.files.iter().for_each(|it| option("file", it));
        self.namespace.iter().for_each(|it| option("namespace", it));
        self.units.iter().for_each(|it| option("unit", it));
        self.identifiers.iter().for_each(|it| option("identifier", it));
        self.priority.iter().for_each(|it| option("priority", it));
        words.extend(self.matches.iter().cloned());
        words
    }

    /// Returns a hash that identifies the selection.
    pub(super) fn digest(&self) -> u64 {
        let mut words = self.words();
        words.push(format!("this_boot={}", self.this_boot));
        xxh3_64(words.join("\0").as_bytes())
    }

    /// Returns true if this step reads only one boot.
    pub(super) fn is_within_boot(&self, step: Step) -> bool {
        self.this_boot || (step == Step::Follow && !self.has_own_files())
    }

    fn has_own_files(&self) -> bool {
        self.directory.is_some() || !self.files.is_empty()
    }

    /// Returns the arguments that continue from a position.
    pub(super) fn arguments(&self, step: Step, place: &Place) -> Vec<String> {
        let mut words = vec!["--no-pager".to_owned(), "--output=export".to_owned()];
        if step == Step::Follow {
            words.extend(["--follow".to_owned(), "--no-tail".to_owned()]);
        }
        if self.this_boot {
            words.push("--boot".to_owned());
        } else if step == Step::Follow && self.has_own_files() {
            words.push("--merge".to_owned());
        }
        match (&place.cursor, place.since) {
            (Some(cursor), _) => words.push(format!("--cursor={cursor}")),
            (None, Some(micros)) => {
                let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
                words.push(format!("--since=@{seconds}.{rest:06}"));
            }
            (None, None) => {}
        }
        words.extend(self.words());
        words
    }
}

/// Returns advice for an error message of journalctl.
pub(super) fn remedy(said: &str) -> Option<&'static str> {
    let remedies: [(&[&str], &str); 4] = [
        (
            &["insufficient permissions", "not seeing messages"],
            "add the agent's user to the group `systemd-journal` \
             (SupplementaryGroups=systemd-journal in its unit), and start the agent again",
        ),
        (
            &["unrecognized option", "invalid option", "requires an argument"],
            "this journalctl is too old for the settings: systemd 217 is needed, and 245 for \
             `namespace`",
        ),
        (
            &["No such boot ID", "Data from the specified boot"],
            "the journal has no entry of the current boot: for a journal of another host set \
             `directory`, and leave `boots` as it is",
        ),
        (
            &["Failed to seek to cursor"],
            "the position in the channel does not belong to this journal: rename the source, so \
             that it starts without a position",
        ),
    ];
    let is_meant = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    remedies.iter().find(|(texts, _)| is_meant(texts)).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(selection: &Selection, step: Step, place: &Place) -> String {
        selection.arguments(step, place).join(" ")
    }

    #[test]
    fn a_call_goes_on_at_the_cursor_and_never_behind_it() {
        let place = Place { cursor: Some("s=a;i=1".into()), since: Some(5), ..Place::default() };
        let all = Selection::default();
        assert_eq!(
            line(&all, Step::CatchUp, &place),
            "--no-pager --output=export --cursor=s=a;i=1"
        );
        let follow = line(&all, Step::Follow, &place);
        assert_eq!(follow, "--no-pager --output=export --follow --no-tail --cursor=s=a;i=1");
        let since = Place { since: Some(1_795_886_983_000_042), ..Place::default() };
        assert!(line(&all, Step::CatchUp, &since).ends_with(" --since=@1795886983.000042"));
        assert!(all.is_within_boot(Step::Follow) && !all.is_within_boot(Step::CatchUp));
    }

    #[test]
    fn a_journal_of_its_own_is_followed_over_boots_unless_one_is_meant() {
        let place = Place::default();
        let own = Selection { directory: Some("/j".into()), ..Selection::default() };
        let follow = line(&own, Step::Follow, &place);
        assert!(follow.contains(" --merge --directory=/j"), "{follow}");
        assert!(!line(&own, Step::CatchUp, &place).contains("--merge"));
        assert!(!own.is_within_boot(Step::Follow));
        let own = Selection { this_boot: true, ..own };
        let follow = line(&own, Step::Follow, &place);
        assert!(follow.contains("--boot") && !follow.contains("--merge"), "{follow}");
    }

    #[test]
    fn another_selection_has_another_digest() {
        let one = Selection { units: vec!["a".into()], ..Selection::default() };
        let other = Selection { identifiers: vec!["a".into()], ..Selection::default() };
        let boot = Selection { this_boot: true, ..one.clone() };
        assert_ne!(one.digest(), other.digest());
        assert_ne!(one.digest(), boot.digest());
    }

    #[test]
    fn known_errors_of_journalctl_have_a_remedy() {
        for (said, part) in [
            ("No journal files were opened due to insufficient permissions.", "systemd-journal"),
            ("journalctl: unrecognized option '--namespace=a'", "too old"),
            ("Data from the specified boot (+0) is not available: No such boot ID", "directory"),
            ("Failed to seek to cursor: Invalid argument", "rename the source"),
        ] {
            assert!(remedy(said).is_some_and(|remedy| remedy.contains(part)), "{said}");
        }
        assert_eq!(remedy("Failed to iterate through journal: Bad message"), None);
    }
}
