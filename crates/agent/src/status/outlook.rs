//! Forecasts when a channel is full or empty at the present rates.

use pipeline::ChannelStatus;

/// The longest forecast, in seconds. The rates cover at most the last minutes.
const FORECAST_MAX: f64 = 86_400.0;

/// The forecast for a channel at the present rates. It is missing for a channel that is full or
/// empty, and beyond a day.
#[derive(Debug, PartialEq)]
pub(super) struct Outlook {
    pub(super) until_full_seconds: Option<f64>,
    pub(super) until_empty_seconds: Option<f64>,
}

impl Outlook {
    /// Computes the forecast for these rates, in events per second. A channel that measures its own
    /// filling rate has a better forecast of being full.
    pub(super) fn forecast(held: &ChannelStatus, coming: f64, leaving: f64) -> Self {
        let (events, net) = (held.events as f64, coming - leaving);
        let is_near = |left: &f64| *left <= FORECAST_MAX;
        let room = held.capacity_bytes.saturating_sub(held.bytes) as f64;
        let by_rates = || (net > 0.0).then(|| room / (net * held.bytes as f64 / events));
        let may_fill = held.events > 0 && room > 0.0 && !held.intake_stopped;
        let until_full = held.until_full.map(|left| left.as_secs_f64()).or_else(by_rates);
        let until_empty = (net < 0.0 && held.events > 0).then(|| events / -net);
        Self {
            until_full_seconds: until_full.filter(|_| may_fill).filter(is_near),
            until_empty_seconds: until_empty.filter(is_near),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 100 events in 1,000 of 5,000 bytes.
    fn held() -> ChannelStatus {
        let (events, bytes, capacity_bytes) = (100, 1_000, 5_000);
        ChannelStatus { events, bytes, capacity_bytes, ..ChannelStatus::default() }
    }

    fn outlook(of: &ChannelStatus, coming: f64, leaving: f64) -> (Option<f64>, Option<f64>) {
        let it = Outlook::forecast(of, coming, leaving);
        (it.until_full_seconds, it.until_empty_seconds)
    }

    #[test]
    fn a_channel_fills_or_drains_by_the_difference_of_its_rates() {
        assert_eq!(outlook(&held(), 30.0, 10.0), (Some(20.0), None), "4000 bytes at 200 a second");
        assert_eq!(outlook(&held(), 10.0, 30.0), (None, Some(5.0)), "100 events at 20 a second");
        assert_eq!(outlook(&held(), 10.0, 10.0), (None, None));
        let empty = ChannelStatus { events: 0, ..held() };
        assert_eq!(outlook(&empty, 10.0, 0.0), (None, None), "nothing is known of its events");
    }

    #[test]
    fn nothing_is_forecast_of_a_full_channel_or_beyond_a_day() {
        let measured = |seconds| Some(Duration::from_secs(seconds));
        let of = |held: ChannelStatus| outlook(&held, 0.0, 0.0).0;
        let until_full = measured(790);
        assert_eq!(of(ChannelStatus { until_full, ..held() }), Some(790.0));
        assert_eq!(of(ChannelStatus { until_full, intake_stopped: true, ..held() }), None);
        assert_eq!(of(ChannelStatus { until_full, bytes: 5_000, ..held() }), None);
        assert_eq!(of(ChannelStatus { until_full, events: 0, ..held() }), None, "being freed");
        assert_eq!(of(ChannelStatus { until_full: measured(90_000), ..held() }), None);
        assert_eq!(outlook(&held(), 1.000_1, 1.0), (None, None), "noise is no trend");
        assert_eq!(outlook(&held(), 1.0, 1.000_1), (None, None));
    }
}
