//! Parses the output of a test program: result and time of each test.

use std::collections::BTreeSet;
use std::time::Duration;

/// The result of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Passed,
    Failed,
    Ignored,
}

/// A finished test.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) status: Status,
    /// Time since the end of the previous test; meaningless for parallel tests.
    pub(crate) time: Duration,
}

/// The state of the parser.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Every finished test.
    pub(crate) tests: Vec<Test>,
    current: Option<String>,
    verdict: Option<(Status, Duration)>,
    last_end: Duration,
    in_failures: bool,
    listed: BTreeSet<String>,
    results: usize,
}

impl Parser {
    /// Processes a line that arrived `now` after the start of the program. Returns the tests that
    /// it finished.
    pub(crate) fn feed(&mut self, line: &str, now: Duration) -> &[Test] {
        let before = self.tests.len();
        if let Some((name, rest)) = line.strip_prefix("test ").and_then(|it| it.split_once(" ... "))
            && !name.split(" - ").next().unwrap_or_default().contains(' ')
        {
            self.finish();
            self.current = Some(name.split(" - ").next().unwrap_or(name).to_owned());
            self.verdict = verdict(rest).map(|status| (status, now));
            if matches!(rest, "ok" | "FAILED") || rest.starts_with("ignored") {
                self.finish();
            }
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.finish();
            self.in_failures = line == "failures:";
            self.results += usize::from(!self.in_failures);
        } else if self.in_failures {
            self.listed.extend(failure(line));
        } else if self.current.is_some() {
            let status = verdict(line);
            self.verdict = status.map(|status| (status, now)).or(self.verdict);
            if matches!(line, "ok" | "FAILED") {
                self.finish();
            }
        }
        &self.tests[before..]
    }

    /// Returns the test that was running when the output ended: the program crashed or was killed.
    pub(crate) fn unfinished(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Returns whether the program printed its result.
    pub(crate) fn is_complete(&self) -> bool {
        self.results > 0
    }

    /// Returns the number of tests with this result.
    pub(crate) fn count(&self, status: Status) -> usize {
        self.tests.iter().filter(|test| test.status == status).count()
    }

    /// Returns the names of the failed tests, including those whose line was torn by other output.
    pub(crate) fn failed(&self) -> BTreeSet<String> {
        let failed = self.tests.iter().filter(|test| test.status == Status::Failed);
        failed.map(|test| test.name.clone()).chain(self.listed.iter().cloned()).collect()
    }

    fn finish(&mut self) {
        let Some((status, end)) = self.verdict.take() else {
            return;
        };
        if let Some(name) = self.current.take() {
            let time = end.saturating_sub(self.last_end);
            self.last_end = end;
            self.tests.push(Test { name, status, time });
        }
    }
}

fn verdict(text: &str) -> Option<Status> {
    match text {
        _ if text.ends_with("FAILED") => Some(Status::Failed),
        _ if text.ends_with("ok") => Some(Status::Passed),
        _ if text.starts_with("ignored") => Some(Status::Ignored),
        _ => None,
    }
}

/// Returns the name in a line of the failure list.
fn failure(line: &str) -> Option<String> {
    let name = line.strip_prefix("    ")?;
    let is_name = |it: char| it.is_alphanumeric() || it == '_' || it == ':';
    (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[(u64, &str)]) -> Parser {
        let mut parser = Parser::default();
        for (second, line) in lines {
            let _finished = parser.feed(line, Duration::from_secs(*second));
        }
        parser
    }

    #[test]
    fn reads_tests_that_run_side_by_side() {
        let parser = parsed(&[
            (0, "running 3 tests"),
            (1, "test a::one ... ok"),
            (1, "test a::two ... ignored, needs HDFS"),
            (2, "test three - should panic ... FAILED"),
            (2, "failures:"),
            (2, "---- three stdout ----"),
            (2, "    text"),
            (2, "failures:"),
            (2, "    three"),
            (2, "test result: FAILED. 1 passed; 1 failed; 1 ignored"),
        ]);
        assert_eq!((parser.count(Status::Passed), parser.count(Status::Ignored)), (1, 1));
        assert!(parser.failed().contains("three") && parser.is_complete());
    }

    #[test]
    fn reads_tests_whose_output_is_shown_and_their_times() {
        let parser = parsed(&[
            (1, "test kafka::a ... broker started"),
            (3, "it is ok"),
            (4, "more"),
            (9, "ok"),
            (10, "test kafka::b ... ok"),
            (12, "test kafka::c ... thread panicked"),
            (13, "FAILED"),
            (13, "test result: FAILED. 2 passed; 1 failed"),
        ]);
        let times: Vec<u64> = parser.tests.iter().map(|test| test.time.as_secs()).collect();
        assert_eq!(times, [9, 1, 3]);
        assert_eq!(parser.tests[0].status, Status::Passed);
        assert_eq!(parser.failed().len(), 1);
    }

    #[test]
    fn names_the_test_in_which_the_program_died() {
        let parser = parsed(&[(1, "test a ... ok"), (2, "test b ... segmentation fault")]);
        assert_eq!(parser.unfinished(), Some("b"));
        assert!(!parser.is_complete());
    }
}
