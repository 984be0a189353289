//! What an agent shows on its admin address.

/// Metrics in Prometheus' text form.
pub(super) struct Metrics(pub(super) String);

impl Metrics {
    /// Sum of a metric over all its labels; 0 where there is none yet.
    pub(super) fn sum(&self, name: &str) -> u64 {
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
    fn a_metric_is_summed_over_its_labels_and_no_other() {
        let text = "# HELP a_total x\na_total{file=\"/b } 9\"} 3\na_total{file=\"/c\"} 4\n\
                    a_total_bytes 100\nb 1.5\n# EOF\n";
        let metrics = Metrics(text.into());
        assert_eq!(metrics.sum("a_total"), 7);
        assert_eq!(metrics.sum("b"), 1);
        assert_eq!(metrics.sum("none"), 0);
    }
}
