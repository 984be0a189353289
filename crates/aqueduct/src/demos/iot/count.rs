//! Compares published readings with stored ones. Pure: no waiting, no I/O.
//!
//! A device publishes its readings in order and stops at the first one without an answer. All
//! readings up to a number are therefore acknowledged, and at most one more was sent.

use std::fmt::{self, Write as _};

use demo::grouped;
use serde::Deserialize;

use super::SITES;
use super::devices::Answered;

/// Devices shown as rows; the sums include all devices.
const SHOWN_MAX: usize = 10;

/// The fields of a stored line that identify its reading.
#[derive(Deserialize)]
struct Reading<'a> {
    device: &'a str,
    reading: u32,
}

/// Returns the line for a reading.
pub(super) fn line(device: u32, reading: u32) -> String {
    let tenths = 180 + (device * 7 + reading * 3) % 90;
    let (name, site, celsius) = (device_name(device), site_name(device), f64::from(tenths) / 10.0);
    format!(
        "{{\"device\":\"{name}\",\"site\":\"{site}\",\"reading\":{reading},\
         \"celsius\":{celsius:.1}}}"
    )
}

/// Returns the name of a device; numbers start at 1.
pub(super) fn device_name(device: u32) -> String {
    format!("device-{device:05}")
}

pub(super) fn site_name(device: u32) -> String {
    format!("site-{}", device % SITES)
}

/// Counts how often each reading is stored.
pub(super) struct Count {
    readings: u32,
    /// One counter per reading, device by device.
    times: Vec<u32>,
    /// Lines that are not a reading of this run.
    foreign: u64,
    /// Readings in the folder of another site.
    misplaced: u64,
    /// Distinct readings.
    stored: u64,
}

impl Count {
    pub(super) fn new(devices: u32, readings: u32) -> Self {
        let times = vec![0; devices as usize * readings as usize];
        Self { readings, times, foreign: 0, misplaced: 0, stored: 0 }
    }

    /// Returns the number of distinct readings so far.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Counts a line of the file at `path`.
    pub(super) fn line(&mut self, path: &str, line: &[u8]) {
        let Some((device, place)) = self.place(line) else {
            self.foreign += 1;
            return;
        };
        self.stored += u64::from(self.times[place] == 0);
        self.times[place] += 1;
        self.misplaced += u64::from(!path.contains(&format!("/site={}/", site_name(device))));
    }

    /// Returns the device of a line and the index of its reading.
    fn place(&self, line: &[u8]) -> Option<(u32, usize)> {
        let Reading { device, reading } = serde_json::from_slice(line).ok()?;
        let device: u32 = device.strip_prefix("device-")?.parse().ok()?;
        let devices = self.times.len() / self.readings as usize;
        let is_known =
            (1..=devices).contains(&(device as usize)) && (1..=self.readings).contains(&reading);
        let place = || (device as usize - 1) * self.readings as usize + reading as usize - 1;
        is_known.then(|| (device, place()))
    }

    /// Returns the result for each device.
    pub(super) fn outcome(&self, answered: &[Answered]) -> Outcome {
        let stored = self.times.chunks(self.readings as usize);
        let devices = answered.iter().zip(stored).map(|(answered, times)| {
            let (acknowledged, published) =
                (answered.acknowledged as usize, answered.published as usize);
            Device {
                answered: *answered,
                stored: times.iter().map(|times| u64::from(*times)).sum(),
                missing: times[..acknowledged].iter().filter(|times| **times == 0).count() as u64,
                repeated: times.iter().map(|times| u64::from(times.saturating_sub(1))).sum(),
                unsent: times[published..].iter().map(|times| u64::from(*times)).sum(),
            }
        });
        let devices = devices.collect();
        Outcome { devices, foreign: self.foreign, misplaced: self.misplaced }
    }
}

/// Result for a device.
#[derive(Debug)]
struct Device {
    answered: Answered,
    /// Lines with readings of the device.
    stored: u64,
    /// Acknowledged but not stored.
    missing: u64,
    /// Stored more than once.
    repeated: u64,
    /// Stored but never published.
    unsent: u64,
}

/// Result of the demo.
pub(super) struct Outcome {
    devices: Vec<Device>,
    foreign: u64,
    misplaced: u64,
}

impl Outcome {
    fn sum(&self, of: impl Fn(&Device) -> u64) -> u64 {
        self.devices.iter().map(of).sum()
    }

    /// Returns the number of acknowledged readings that are not stored.
    pub(super) fn missing(&self) -> u64 {
        self.sum(|device| device.missing)
    }

    /// Returns the number of stored lines, including duplicates.
    pub(super) fn stored(&self) -> u64 {
        self.sum(|device| device.stored)
    }

    fn repeated(&self) -> u64 {
        self.sum(|device| device.repeated)
    }

    /// Returns whether the result meets the guarantee.
    pub(super) fn is_right(&self, exactly_once: bool) -> bool {
        let wrong = self.missing() + self.unknown() + self.misplaced;
        wrong == 0
            && self.sum(|device| device.answered.acknowledged) > 0
            && (!exactly_once || self.repeated() == 0)
    }

    fn unknown(&self) -> u64 {
        self.foreign + self.sum(|device| device.unsent)
    }

    /// Formats one row for each device.
    pub(super) fn table(&self) -> String {
        let mut text = "device,site,published,acknowledged,stored,missing,repeated\n".to_owned();
        for (device, row) in (1..).zip(&self.devices) {
            let Answered { published, acknowledged } = row.answered;
            let (name, site) = (device_name(device), site_name(device));
            let Device { stored, missing, repeated, .. } = row;
            let _ = writeln!(
                text,
                "{name},{site},{published},{acknowledged},{stored},{missing},{repeated}"
            );
        }
        text
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete = self.devices.iter().filter(|it| it.missing == 0).count() as u64;
        for (name, number, unit) in [
            ("devices", self.devices.len() as u64, " connections"),
            ("complete", complete, " of them miss nothing"),
            ("published", self.sum(|it| it.answered.published), " readings"),
            ("acknowledged", self.sum(|it| it.answered.acknowledged), " by the broker"),
            ("stored", self.stored(), " lines"),
            ("missing", self.missing(), ""),
            ("repeated", self.repeated(), ""),
        ] {
            writeln!(f, "{name:<12} {:>12}{unit}", grouped(number))?;
        }
        for (name, number, what) in [
            ("unknown", self.unknown(), "lines that no device has published"),
            ("misplaced", self.misplaced, "lines in the folder of another site"),
        ] {
            if number > 0 {
                writeln!(f, "{name:<12} {:>12} {what}", grouped(number))?;
            }
        }
        let lacking = (1..).zip(&self.devices).filter(|(_, it)| it.missing > 0);
        for (device, it) in lacking.take(SHOWN_MAX) {
            writeln!(f, "{}  misses {}", device_name(device), it.missing)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/store/iot-1/site=site-1/day=2026-01-01/x.log";

    fn answered(published: u64, acknowledged: u64) -> Answered {
        Answered { published, acknowledged }
    }

    #[test]
    fn each_difference_is_counted_where_it_is() {
        let mut count = Count::new(2, 3);
        for (device, reading, path) in [
            (1, 1, PATH),
            (1, 1, PATH),
            (1, 3, PATH),
            (2, 2, "/store/iot-1/site=site-2/day=2026-01-01/x.log"),
        ] {
            count.line(path, line(device, reading).as_bytes());
        }
        assert_eq!(count.stored(), 3);
        // The first device lacks its second reading; the second one has an unacknowledged reading
        // stored.
        let outcome = count.outcome(&[answered(3, 3), answered(2, 1)]);
        assert_eq!((outcome.missing(), outcome.stored(), outcome.repeated()), (2, 4, 1));
        assert!(!outcome.is_right(false));
        count.line(PATH, line(1, 2).as_bytes());
        count.line("/site=site-2/x", line(2, 1).as_bytes());
        let outcome = count.outcome(&[answered(3, 3), answered(2, 1)]);
        assert!(outcome.is_right(false) && !outcome.is_right(true), "{outcome}");
        assert_eq!(
            outcome.table(),
            "device,site,published,acknowledged,stored,missing,repeated\n\
             device-00001,site-1,3,3,4,0,1\ndevice-00002,site-2,2,1,2,0,0\n"
        );
    }

    #[test]
    fn unknown_devices_and_wrong_places_fail_the_count() {
        let spoilt: [(&str, String); 5] = [
            (PATH, "no reading".into()),
            (PATH, line(2, 1)),
            (PATH, line(1, 3)),
            (PATH, line(1, 2)),
            ("/store/iot-1/site=site-2/x.log", line(1, 1)),
        ];
        for (path, text) in spoilt {
            let mut count = Count::new(1, 2);
            count.line(PATH, line(1, 1).as_bytes());
            assert!(count.outcome(&[answered(1, 1)]).is_right(true));
            count.line(path, text.as_bytes());
            let outcome = count.outcome(&[answered(1, 1)]);
            assert!(!outcome.is_right(false), "{path} {text}: {outcome}");
        }
        assert!(!Count::new(1, 1).outcome(&[answered(1, 0)]).is_right(false), "nothing at all");
    }
}
