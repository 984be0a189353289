//! The resource usage of this process, read from `/proc/self`.

use std::fs;
use std::time::Duration;

use pipeline::env::Usage;

/// `USER_HZ`, the unit of times in `/proc/*/stat`: 100 on every Linux that this program runs on.
const TICKS: u64 = 100;

/// Returns the resource usage of this process; `None` if the system does not report it.
pub(crate) fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    // The directory that is being read is also open.
    let open_files = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
    let used = read(&stat, &status, &system)?;
    Some(Usage { open_files, open_files_max: crate::files_max(), ..used })
}

fn read(stat: &str, status: &str, system: &str) -> Option<Usage> {
    // The second field is the program's name, which may contain blanks and brackets.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14 and 15 are user and system time, 22 is the start; the third is the first one here.
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let cpu = ticks(14)? + ticks(15)?;
    let booted: u64 = value(system, "btime")?.parse().ok()?;
    let resident: u64 = value(status, "VmRSS:")?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "uptimes are far below 2^53 ticks")]
    let started = booted as f64 + ticks(22)? as f64 / TICKS as f64;
    Some(Usage {
        started,
        cpu: Duration::from_millis(cpu * (1000 / TICKS)),
        resident_bytes: resident * 1024,
        ..Usage::default()
    })
}

/// The first word after `name` at the beginning of a line.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "42 (a) R b) S 1 2 3 4 5 6 7 8 9 10 150 70 0 0 20 0 9 0 12345 1 2 3";
        let status = "Name:\ta\nVmRSS:\t    20 kB\n";
        let used = read(stat, status, "cpu 1 2\nbtime 1700000000\n").unwrap();
        assert_eq!(used.cpu, Duration::from_millis(2_200));
        assert_eq!(used.resident_bytes, 20 * 1024);
        assert!((used.started - 1_700_000_123.45).abs() < 0.001, "{used:?}");
    }

    #[test]
    fn this_process_uses_something() {
        let used = usage().unwrap();
        assert!(used.resident_bytes > 1 << 20 && used.open_files >= 3, "{used:?}");
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = since.as_secs_f64() - used.started;
        assert!((-2.0..3_600.0).contains(&age), "started {age} s ago");
    }
}
