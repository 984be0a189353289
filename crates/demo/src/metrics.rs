//! Metrics of an agent, read from its admin address.

/// Metrics in the text format of Prometheus.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// Returns the sum of a metric over all its labels; 0 if it does not exist yet.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = if rest.starts_with('{') { &rest[rest.rfind('}')? + 1..] } else { rest };
            rest.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
        });
        values.sum::<f64>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_a_metric_over_its_labels() {
        let text = "# HELP a_total x\na_total{file=\"/b } 9\"} 3\na_total{file=\"/c\"} 4\n\
                    a_total_bytes 100\nb 1.5\n# EOF\n";
        let metrics = Metrics(text.into());
        assert_eq!(metrics.sum("a_total"), 7);
        assert_eq!(metrics.sum("b"), 1);
        assert_eq!(metrics.sum("none"), 0);
    }
}
