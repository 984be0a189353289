"""A program that is instrumented by OpenTelemetry: exports numbered log records, batch by batch, by the
exporter of the SDK, until each batch is acknowledged. Prints `acked FIRST LAST` for each."""

import logging
import sys
import time

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

protocol, endpoint, first, last, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
logging.basicConfig(level=logging.WARNING)

if protocol == "grpc":
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    exporter = OTLPLogExporter(endpoint=endpoint, insecure=True, timeout=2, compression=Compression.Gzip)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    exporter = OTLPLogExporter(endpoint=endpoint + "/v1/logs", timeout=2, compression=Compression.Gzip)


class Gathered(LogRecordProcessor):
    """Keeps the records of a batch."""

    def __init__(self):
        self.records = []

    def on_emit(self, log_record):
        self.records.append(log_record)

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=0):
        return True


gathered = Gathered()
provider = LoggerProvider(resource=Resource({"service.name": "shop", "service.instance": 7}))
provider.add_log_record_processor(gathered)
logger = provider.get_logger("test.lib", "1.2")


def emit(number):
    span = SpanContext(number + 1, number + 2, False, TraceFlags(1))
    logger.emit(
        LogRecord(
            timestamp=1_700_000_000_000_000_000 + number,
            observed_timestamp=1_700_000_000_000_000_001,
            context=trace.set_span_in_context(NonRecordingSpan(span)),
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body=f"line-{number}",
            attributes={"n": number, "ok": True, "list": [1.5, 2.5], "text": "x" * 200},
            event_name="sold",
        )
    )


for start in range(first, last, size):
    gathered.records.clear()
    for number in range(start, min(start + size, last)):
        emit(number)
    while exporter.export(gathered.records) != LogRecordExportResult.SUCCESS:
        print(f"again {start}", file=sys.stderr, flush=True)
        # A client that has given up comes back with what it still has.
        time.sleep(0.1)
    print(f"acked {start} {min(start + size, last)}", flush=True)
