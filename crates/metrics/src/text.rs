//! The two text formats of metrics: OpenMetrics 1.0, and Prometheus' older one, 0.0.4.
//!
//! `prometheus-client` writes only OpenMetrics. The older format differs in the names of counters:
//! its `# TYPE` and `# HELP` name the sample, with `_total`. A parser of 0.0.4 that finds another
//! name there treats the counter as a metric without type. The older format has neither `# UNIT`
//! nor `# EOF`, and uses `untyped` and `gauge` instead of `unknown` and `info`.

/// Versions of OpenMetrics that read the same text.
const VERSIONS: [&str; 2] = ["1.0.0", "0.0.1"];

/// A text form of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: for every reader that does not request the other one.
    Plain,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Returns the format for a reader with this `Accept` header: OpenMetrics if the header names a
    /// supported version of it with at least the weight of plain text.
    pub fn wanted(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut known): (f32, bool) = (1.0, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                let value = value.trim();
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = value.parse().unwrap_or(0.0),
                    "version" => known = VERSIONS.contains(&value.trim_matches('"')),
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if known => open = weight.max(open),
                "text/plain" | "text/*" | "*/*" => plain = weight.max(plain),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Plain }
    }

    /// Returns its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The same metrics in the form 0.0.4.
pub(super) fn plain(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    // OpenMetrics has the help of a family before its type, which its name depends on.
    let mut help: Option<(&str, &str)> = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(named, _)| *named == name) {
                text.extend(["# HELP ", name, ending, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, ending, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_typed_under_the_name_of_its_sample() {
        let open = "# HELP a_b What it counts.\n# TYPE a_b counter\n# UNIT a_b bytes\n\
                    a_b_total{x=\"# TYPE\"} 1\n# HELP c C.\n# TYPE c gauge\nc 2.5\n\
                    # HELP d D.\n# TYPE d unknown\nd 1\n# EOF\n";
        let expected = "# HELP a_b_total What it counts.\n# TYPE a_b_total counter\n\
                        a_b_total{x=\"# TYPE\"} 1\n# HELP c C.\n# TYPE c gauge\nc 2.5\n\
                        # HELP d D.\n# TYPE d untyped\nd 1\n";
        assert_eq!(plain(open), expected);
    }

    #[test]
    fn openmetrics_is_for_readers_that_ask_for_it() {
        // The headers of Prometheus 2.x, and 3.x by default.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "application/openmetrics-text; version=0.0.1, text/plain",
            "application/openmetrics-text; version=\"1.0.0\"; charset=utf-8",
        ] {
            assert_eq!(Format::wanted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.2,text/plain;q=0.9",
            "application/openmetrics-text;q=x",
        ] {
            assert_eq!(Format::wanted(accept), Format::Plain, "{accept}");
        }
    }
}
