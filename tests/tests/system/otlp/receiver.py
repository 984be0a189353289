"""A receiver of OTLP with moods, over gRPC (argument 1) and HTTP (argument 2) on these ports, by
OpenTelemetry's own messages. Each record that it takes is a line of the file of argument 3.

The mood is in the file of argument 4: `good`; `refuse`: no request is taken, by a status that is tried
again; `moody`: requests are taken, refused, delayed, cut and taken in part by turns; `bad`: no request is
taken, by a status that is not tried again."""

import gzip
import itertools
import json
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service

grpc_port, http_port, taken_path, mood_path = sys.argv[1:5]
taken = open(taken_path, "a", encoding="utf-8")
lock = threading.Lock()
turns = itertools.count()


def value_of(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(it) for it in value.array_value.values]
    return getattr(value, kind) if kind else None


def take(request, without=()):
    """Writes each record; answers how many are rejected."""
    rejected = 0
    with lock:
        for of_resource in request.resource_logs:
            resource = {it.key: value_of(it.value) for it in of_resource.resource.attributes}
            for of_scope in of_resource.scope_logs:
                for record in of_scope.log_records:
                    if record.body.string_value.endswith(without) and without:
                        rejected += 1
                        continue
                    line = {
                        "body": record.body.string_value,
                        "service": resource.get("service.name"),
                        "instance": resource.get("service.instance"),
                        "scope": [of_scope.scope.name, of_scope.scope.version],
                        "time": record.time_unix_nano,
                        "observed": record.observed_time_unix_nano,
                        "severity": [record.severity_number, record.severity_text],
                        "trace": int.from_bytes(record.trace_id, "big"),
                        "span": int.from_bytes(record.span_id, "big"),
                        "flags": record.flags,
                        "event": record.event_name,
                        "attributes": {it.key: value_of(it.value) for it in record.attributes},
                    }
                    print(json.dumps(line, sort_keys=True), file=taken)
        taken.flush()
    return rejected


def answer(request):
    """What is done: `taken` with what is rejected, `busy`, `away`, `bad`, `cut`."""
    with open(mood_path, encoding="utf-8") as file:
        mood = file.read().strip()
    if mood == "refuse":
        return "away", 0
    if mood == "bad":
        return "bad", 0
    turn = next(turns) % 6 if mood == "moody" else 0
    if turn == 1:
        return "busy", 0
    if turn == 2:
        return "away", 0
    if turn == 3:
        time.sleep(0.5)
    if turn == 4:
        # It is taken, and the client does not hear of it.
        take(request)
        return "cut", 0
    return "taken", take(request, without=("7",) if turn == 5 else ())


def response(rejected):
    message = messages.ExportLogsServiceResponse()
    if rejected:
        message.partial_success.rejected_log_records = rejected
        message.partial_success.error_message = "sevens are not taken"
    return message


class Logs(service.LogsServiceServicer):
    def Export(self, request, context):
        done, rejected = answer(request)
        if done == "busy":
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromMilliseconds(100)
            status = status_pb2.Status(code=8, message="busy")
            status.details.add().Pack(info)
            details = (("grpc-status-details-bin", status.SerializeToString()),)
            context.set_trailing_metadata(details)
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if done == "away":
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if done == "cut":
            context.abort(grpc.StatusCode.DATA_LOSS, "lost after all")
        if done == "bad":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "never")
        return response(rejected)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/logs", self.path
        assert self.headers["content-type"] == "application/x-protobuf"
        done, rejected = answer(messages.ExportLogsServiceRequest.FromString(body))
        if done == "cut":
            self.close_connection = True
            self.connection.close()
            return
        status = {"taken": 200, "busy": 429, "away": 503, "bad": 400}[done]
        said = response(rejected) if done == "taken" else status_pb2.Status(message=done)
        said = said.SerializeToString()
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
service.add_LogsServiceServicer_to_server(Logs(), server)
assert server.add_insecure_port(f"127.0.0.1:{grpc_port}")
server.start()
web = ThreadingHTTPServer(("127.0.0.1", int(http_port)), Handler)
print("listening", flush=True)
web.serve_forever()
