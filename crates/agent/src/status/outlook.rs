//! When a channel is full or empty, if events come and leave as they do now.

/// How a channel goes on if events come and leave as they do now.
#[derive(Debug, PartialEq)]
pub(super) struct Outlook {
    pub(super) until_full_seconds: Option<f64>,
    pub(super) until_empty_seconds: Option<f64>,
}

impl Outlook {
    /// Of a channel that holds so many events in so many bytes of a capacity, at these rates.
    pub(super) fn of(
        (events, bytes, capacity): (u64, u64, u64),
        coming: f64,
        leaving: f64,
    ) -> Self {
        let net = coming - leaving;
        let bytes_per_event = bytes as f64 / events.max(1) as f64;
        let room = capacity.saturating_sub(bytes) as f64;
        let fills = net > 0.0 && events > 0;
        Self {
            until_full_seconds: fills.then(|| room / (net * bytes_per_event)),
            until_empty_seconds: (net < 0.0).then(|| events as f64 / -net),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(coming: f64, leaving: f64) -> (Option<f64>, Option<f64>) {
        let Outlook { until_full_seconds, until_empty_seconds } =
            Outlook::of((100, 1_000, 5_000), coming, leaving);
        (until_full_seconds, until_empty_seconds)
    }

    #[test]
    fn a_channel_fills_or_drains_by_the_difference_of_its_rates() {
        assert_eq!(outlook(30.0, 10.0), (Some(20.0), None), "4000 bytes at 200 a second");
        assert_eq!(outlook(10.0, 30.0), (None, Some(5.0)), "100 events at 20 a second");
        assert_eq!(outlook(10.0, 10.0), (None, None));
        let empty = Outlook::of((0, 0, 5_000), 10.0, 0.0);
        assert_eq!(empty.until_full_seconds, None, "nothing is known of its events");
        assert_eq!(Outlook::of((0, 0, 5_000), 0.0, 10.0).until_empty_seconds, Some(0.0));
    }
}
