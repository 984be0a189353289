//! `RUST_LOG`: selects log lines.
//!
//! `aqueduct=debug` selects all crates of this program; `OURS` lists the beginnings of their names.
//! A plain level applies to these crates too. Libraries below log so much at `debug` (each frame of
//! HTTP/2) that it hides everything else, so their lines are written only if the library is named,
//! as in `debug,h2=debug`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How the names of our crates begin.
const OURS: [&str; 8] =
    ["admin", "agent", "aqueduct", "components", "control", "formats", "kit", "program"];

/// The filter that `wanted`, the value of `RUST_LOG`, asks for: `info` without any.
///
/// # Errors
/// It cannot be understood.
pub(super) fn parse(wanted: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(expand_targets(wanted)).map_err(|error| {
        let problem = format!("RUST_LOG: `{wanted}` is not a valid filter: {error}");
        format!("{problem}; write for example `debug` or `info,aqueduct_components=debug`")
    })
}

/// The filter with each level that has no target limited to our crates, and with all of their names
/// instead of `aqueduct`.
fn expand_targets(wanted: &str) -> String {
    if wanted.trim().is_empty() {
        return "info".into();
    }
    let ours = |level: &str| OURS.map(|name| format!("{name}={level}")).join(",");
    let directives = wanted.split(',').map(|directive| {
        let is_detailed = |level: &LevelFilter| *level > LevelFilter::INFO;
        match directive.trim().parse().ok().filter(is_detailed) {
            Some(level) => format!("info,{}", ours(&level.to_string())),
            None => directive.trim().strip_prefix("aqueduct=").map_or(directive.to_owned(), ours),
        }
    });
    directives.collect::<Vec<String>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info, trace, warn};

    use super::*;

    /// Returns the lines of each kind that pass this filter.
    fn written(wanted: &str) -> Vec<&'static str> {
        let log = Log::default();
        let out = log.clone();
        let lines = tracing_subscriber::fmt()
            .with_env_filter(parse(wanted).unwrap())
            .with_writer(move || out.clone())
            .finish();
        tracing::subscriber::with_default(lines, || {
            debug!(target: "kit::listening", "OUR-DEBUG");
            trace!(target: "aqueduct_channel", "OUR-TRACE");
            info!(target: "agent", "OUR-INFO");
            debug!(target: "h2::codec", "THEIR-DEBUG");
            info!(target: "h2", "THEIR-INFO");
            warn!(target: "hyper", "THEIR-WARN");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let all = ["OUR-DEBUG", "OUR-TRACE", "OUR-INFO", "THEIR-DEBUG", "THEIR-INFO", "THEIR-WARN"];
        all.into_iter().filter(|line| text.contains(line)).collect()
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn level_without_target_applies_to_our_crates() {
        let usual = ["OUR-INFO", "THEIR-INFO", "THEIR-WARN"];
        assert_eq!(written(""), usual);
        assert_eq!(written("info"), usual);
        let debug = ["OUR-DEBUG", "OUR-INFO", "THEIR-INFO", "THEIR-WARN"];
        for filter in ["debug", "DEBUG", "aqueduct=debug,info", "info,aqueduct=debug"] {
            assert_eq!(written(filter), debug, "{filter}");
        }
        let trace = ["OUR-DEBUG", "OUR-TRACE", "OUR-INFO", "THEIR-INFO", "THEIR-WARN"];
        assert_eq!(written("trace"), trace);
        assert_eq!(written("warn"), ["THEIR-WARN"]);
    }

    #[test]
    fn named_targets_are_logged() {
        let all = ["OUR-DEBUG", "OUR-INFO", "THEIR-DEBUG", "THEIR-INFO", "THEIR-WARN"];
        assert_eq!(written("debug,h2=debug"), all);
        assert_eq!(written("info,agent=debug"), ["OUR-INFO", "THEIR-INFO", "THEIR-WARN"]);
        assert_eq!(written("debug,kit=warn,h2=off,hyper=off"), ["OUR-INFO"]);
    }

    #[test]
    fn invalid_filter_is_refused_with_an_example() {
        let problem = parse("info,=").unwrap_err();
        assert!(problem.contains("`info,=`") && problem.contains("for example"), "{problem}");
    }
}
