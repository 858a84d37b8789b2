"""A portal that is traced with OpenTelemetry's own SDK for Python: its span begins the trace, the bus continues it,
and the exporter gives the span to the bus, which is its collector.

Run by tests/processes/spans/sdk.rs with the facts of its world as one JSON argument. Prints `trace ID`, `exchange ID`
and `refusal TEXT`; ends with 0 where everything was as it should be.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

# Long enough for anything; a call that takes longer has failed.
PATIENCE_S = 60


def credentials(identity):
    def read(name):
        with open(f"{identity}/{name}", "rb") as file:
            return file.read()

    return grpc.ssl_channel_credentials(read("ca.pem"), read("key.pem"), read("cert.pem"))


def main():
    facts = json.loads(sys.argv[1])
    secret = credentials(facts["portal"])
    # The endpoint is the bus itself; who sends is what the certificate says, whatever the resource claims.
    exporter = OTLPSpanExporter(
        endpoint=f"https://{facts['address']}", credentials=secret, timeout=PATIENCE_S,
        channel_options=(("grpc.enable_http_proxy", 0),),
    )
    provider = TracerProvider(resource=Resource.create({"service.name": "somebody-else"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("otel_portal")

    channel = grpc.secure_channel(facts["address"], secret, [("grpc.enable_http_proxy", 0)])
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def call(path, body, metadata):
        service, name = path.split("/")
        method = pool.FindServiceByName(service).methods_by_name[name]
        request = message_factory.GetMessageClass(method.input_type)
        reply = message_factory.GetMessageClass(method.output_type)
        serialize = request.SerializeToString
        ask = channel.unary_unary(f"/{path}", request_serializer=serialize, response_deserializer=reply.FromString)
        return ask.with_call(json_format.ParseDict(body, request()), metadata=metadata, timeout=PATIENCE_S)

    with tracer.start_as_current_span("a citizen opens the page") as span:
        carrier = {}
        propagate.inject(carrier)
        metadata = [*carrier.items(), ("ura-purpose", "vehicle-documents")]
        _, ended = call(facts["asked"], {"plate": facts["plate"]}, metadata)
        print("trace", trace.format_trace_id(span.get_span_context().trace_id), flush=True)
        print("exchange", dict(ended.initial_metadata())["ura-exchange-id"], flush=True)

    try:
        call(facts["asked"], {"plate": facts["plate"]}, [])
        raise AssertionError("a call without a purpose was allowed")
    except grpc.RpcError as error:
        # The line that logs have of it.
        print("refusal", error.code().name, error.details(), flush=True)
    # With a processor that is shut down in order nothing is lost.
    assert provider.force_flush(PATIENCE_S * 1000), "the bus took no spans"
    provider.shutdown()


main()
