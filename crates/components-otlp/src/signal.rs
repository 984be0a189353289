//! The signals of OpenTelemetry.

/// A signal of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Log records.
    Logs,
    /// Spans.
    Traces,
    /// Metrics, each with its data points.
    Metrics,
}

impl Signal {
    /// All signals.
    pub(crate) const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// Returns its name in the header `otlp.signal`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    /// Returns the path of its requests over HTTP.
    pub(crate) fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Returns the path of its calls over gRPC.
    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}
