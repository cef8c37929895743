"""A small shop as a stock OpenTelemetry SDK reports it: its database fails, and takes the rest with it.

Usage: shop.py grpc|http HOST:PORT
"""

import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

protocol, address = sys.argv[1:]

if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=address, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=f"http://{address}/v1/traces")

CALLS = ["frontend", "checkout", "payments", "payments-db"]
providers = {}
for service in CALLS:
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    providers[service] = provider


def call(services, fails):
    """Serves a request in the first service, which calls the others."""
    service, *rest = services
    tracer = providers[service].get_tracer("shop")
    with tracer.start_as_current_span(f"{service} serve", kind=SpanKind.SERVER) as span:
        try:
            if rest:
                with tracer.start_as_current_span(
                    f"call {rest[0]}", kind=SpanKind.CLIENT, attributes={"peer.service": rest[0]}
                ):
                    call(rest, fails)
            elif fails:
                raise TimeoutError("no free connection within 5 s")
        except TimeoutError as error:
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise


for _ in range(20):
    call(CALLS, fails=False)
for _ in range(3):
    try:
        call(CALLS, fails=True)
    except TimeoutError:
        pass
for provider in providers.values():
    provider.shutdown()
assert trace.get_current_span() is not None
