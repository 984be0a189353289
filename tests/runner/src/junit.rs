//! Writes the results as JUnit XML.

use std::fmt::Write as _;
use std::time::Duration;

/// A case of a report.
#[derive(Debug)]
pub(crate) struct Case {
    /// The job that ran it.
    pub(crate) suite: String,
    pub(crate) name: String,
    pub(crate) time: Duration,
    pub(crate) end: End,
}

/// The result of a case.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    /// With its output.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// Formats the report with all cases, one suite per job.
pub(crate) fn report(cases: &[Case]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut suites: Vec<&str> = cases.iter().map(|case| case.suite.as_str()).collect();
    suites.sort_unstable();
    suites.dedup();
    for suite in suites {
        let of_suite: Vec<&Case> = cases.iter().filter(|case| case.suite == suite).collect();
        write_suite(&mut xml, suite, &of_suite);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn write_suite(xml: &mut String, suite: &str, cases: &[&Case]) {
    let count = |test: fn(&End) -> bool| cases.iter().filter(|case| test(&case.end)).count();
    let failures = count(|end| matches!(end, End::Failed(_)));
    let skipped = count(|end| matches!(end, End::Skipped(_)));
    let seconds: f64 = cases.iter().map(|case| case.time.as_secs_f64()).sum();
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\">",
        escaped(suite),
        cases.len()
    );
    for case in cases {
        let (name, seconds) = (escaped(&case.name), case.time.as_secs_f64());
        let suite = escaped(suite);
        let open =
            format!("    <testcase classname=\"{suite}\" name=\"{name}\" time=\"{seconds:.3}\"");
        let _ = match &case.end {
            End::Passed => writeln!(xml, "{open}/>"),
            End::Skipped(why) => {
                writeln!(xml, "{open}><skipped message=\"{}\"/></testcase>", escaped(why))
            }
            End::Failed(output) => writeln!(
                xml,
                "{open}><failure message=\"failed\">{}</failure></testcase>",
                escaped(output)
            ),
        };
    }
    xml.push_str("  </testsuite>\n");
}

/// Escapes `text` for XML: replaces control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(it),
            _ if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            _ => out.push(it),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_suites_with_counts_and_escapes_output() {
        let case = |suite: &str, name: &str, end| Case {
            suite: suite.to_owned(),
            name: name.to_owned(),
            time: Duration::from_millis(1500),
            end,
        };
        let xml = report(&[
            case("kafka", "kafka::a", End::Passed),
            case("kafka", "kafka::b", End::Failed("<a> & \u{1b}[0m".to_owned())),
            case("compose", "compose", End::Skipped("no docker".to_owned())),
        ]);
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
             <testsuite name=\"compose\" \
             tests=\"1\" failures=\"0\" skipped=\"1\" time=\"1.500\">\n    \
             <testcase classname=\"compose\" name=\"compose\" time=\"1.500\">\
             <skipped message=\"no docker\"/></testcase>\n  </testsuite>\n  \
             <testsuite name=\"kafka\" \
             tests=\"2\" failures=\"1\" skipped=\"0\" time=\"3.000\">\n    \
             <testcase classname=\"kafka\" name=\"kafka::a\" time=\"1.500\"/>\n    \
             <testcase classname=\"kafka\" name=\"kafka::b\" time=\"1.500\">\
             <failure message=\"failed\">&lt;a&gt; &amp; \u{fffd}[0m</failure></testcase>\n  \
             </testsuite>\n</testsuites>\n"
        );
    }
}
