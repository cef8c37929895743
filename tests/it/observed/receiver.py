"""An OTLP receiver made of OpenTelemetry's own protocol files, for gRPC and for HTTP.

The first line it prints says where it listens; every span and every metric that comes in is a line of JSON. Ends when
standard input does.
"""

import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

printing = threading.Lock()


def say(line):
    with printing:
        print(json.dumps(line), flush=True)


def values(attributes):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


def take_spans(request):
    for resource in request.resource_spans:
        of = values(resource.resource.attributes)
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            say(
                {
                    "span": span.name,
                    "kind": trace_pb2.Span.SpanKind.Name(span.kind),
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "links": [link.span_id.hex() for link in span.links],
                    "attributes": values(span.attributes),
                    "resource": of,
                }
            )
    return trace_service_pb2.ExportTraceServiceResponse()


def point(data):
    labels = values(data.attributes)
    if hasattr(data, "bucket_counts"):
        return {"labels": labels, "count": data.count, "sum": data.sum, "buckets": list(data.bucket_counts)}
    return {"labels": labels, "value": getattr(data, data.WhichOneof("value"))}


def take_metrics(request):
    for resource in request.resource_metrics:
        of = values(resource.resource.attributes)
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            data = getattr(metric, kind)
            say(
                {
                    "metric": metric.name,
                    "unit": metric.unit,
                    "kind": kind,
                    "monotonic": getattr(data, "is_monotonic", None),
                    "points": [point(it) for it in data.data_points],
                    "resource": of,
                }
            )
    return metrics_service_pb2.ExportMetricsServiceResponse()


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        return take_spans(request)


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        return take_metrics(request)


class Http(BaseHTTPRequestHandler):
    PATHS = {
        "/v1/traces": (trace_service_pb2.ExportTraceServiceRequest, take_spans),
        "/v1/metrics": (metrics_service_pb2.ExportMetricsServiceRequest, take_metrics),
    }

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path not in self.PATHS or self.headers["content-type"] != "application/x-protobuf":
            self.send_error(404, f"{self.path} as {self.headers['content-type']}")
            return
        request, take = self.PATHS[self.path]
        answer = take(request.FromString(body)).SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
web = ThreadingHTTPServer(("127.0.0.1", 0), Http)
threading.Thread(target=web.serve_forever, daemon=True).start()
say({"grpc": f"http://127.0.0.1:{port}", "http/protobuf": f"http://127.0.0.1:{web.server_port}"})
sys.stdin.read()
server.stop(None)
