//! The followed files, as status pages show them.

use std::io;

use pipeline::FollowedFiles;

use super::names::shown;
use super::tailer::Tailer;

impl Tailer {
    /// Publishes the followed files on status pages, with problems of patterns and files.
    pub(super) fn show_files(&mut self) {
        let mut unreadable: Vec<(String, io::ErrorKind)> = Vec::new();
        for (_, file) in self.files.iter().filter(|(_, file)| file.is_followed()) {
            unreadable.extend(file.problem.map(|problem| (shown(&file.place).into(), problem)));
        }
        let paths = self.seen.problems().iter();
        unreadable.extend(paths.map(|(path, problem)| (shown(path).into(), *problem)));
        let unmatched = self.report.unmatched().next().map(|at| &self.options.patterns[at]);
        let problem = match (unreadable.first(), unmatched) {
            (Some((path, problem)), _) => {
                let more = match unreadable.len() {
                    1 => String::new(),
                    all => format!(", and {} more", all - 1),
                };
                Some(format!("cannot read {path}: {problem}{more}"))
            }
            (None, Some(pattern)) => {
                let why = self.why_unmatched(pattern);
                Some(format!("no file matches `{}`: {why}", pattern.text()))
            }
            (None, None) => None,
        };
        self.shown = FollowedFiles {
            followed: self.files.iter().filter(|(_, file)| file.is_followed()).count() as u64,
            unread_bytes: 0,
            unreadable: unreadable.len() as u64,
            problem,
        };
    }
}
