"""A portal written with Python's grpcio: mTLS, all kinds of reply, metadata, refusals, deadlines,
cancellation, reflection and health. No generated code: messages are made from what the bus reflects.

Run by tests/processes.rs with the facts of its world as one JSON argument. Prints the exchanges it
made, one `exchange NAME ID` a line; ends with 0 where everything was as it should be.
"""

import json
import sys
import urllib.request

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

CIVIL = "ks.civilstatus.v1.CivilStatusService"
TAX = "ks.tax.v1.PropertyTaxService"
VEHICLES = "ks.vehicles.v1.VehicleService"
# Long enough for anything; a call that takes longer has failed.
PATIENCE_S = 60
# Answers of the control port that are looked at while something is waited for.
LOOKS_MAX = 100_000

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Bus:
    """A channel to the gateway and the contracts that it reflects."""

    def __init__(self, address, identity):
        def read(name):
            with open(f"{identity}/{name}", "rb") as file:
                return file.read()

        credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("key.pem"), read("cert.pem"))
        self.channel = grpc.secure_channel(address, credentials, [("grpc.enable_http_proxy", 0)])
        self.reflection = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.reflection)

    def method(self, path):
        """A callable for `package.Service/Method`."""
        service, name = path.split("/")
        method = self.pool.FindServiceByName(service).methods_by_name[name]
        request = message_factory.GetMessageClass(method.input_type)
        reply = message_factory.GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(f"/{path}", request_serializer=request.SerializeToString, response_deserializer=reply.FromString)
        return request, call


def control(facts, path, fault=None):
    """Asks the mocks' control port, or puts a fault in force."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if fault is None else json.dumps(fault).encode()
    headers = {"content-type": "application/json"}
    method = "GET" if fault is None else "PUT"
    request = urllib.request.Request(facts["control"] + path, data=data, headers=headers, method=method)
    with opener.open(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def wait_for_request(facts, state, exchange=None):
    """Waits until the tax register's last request is in this state."""
    for _ in range(LOOKS_MAX):
        log = control(facts, "/registers/property-tax/requests")
        if log and log[-1]["state"] == state and exchange in (None, log[-1]["headers"].get("ura-exchange-id")):
            return log[-1]
    raise AssertionError(f"no {state} request at the register")


def value(metadata, key):
    """The value of a key in metadata, or None."""
    return dict(metadata or ()).get(key)


def exchange(name, call):
    """Prints and returns the exchange id of a call."""
    identifier = value(call.initial_metadata(), "ura-exchange-id") or value(call.trailing_metadata(), "ura-exchange-id")
    assert identifier, f"{name}: {call.initial_metadata()} {call.trailing_metadata()}"
    print("exchange", name, identifier, flush=True)
    return identifier


def details(error):
    """`ErrorInfo` and `LocalizedMessage` out of a refusal's details."""
    status = status_pb2.Status.FromString(value(error.trailing_metadata(), "grpc-status-details-bin"))
    assert status.code == error.code().value[0], status
    info, text = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
    for detail in status.details:
        for message in (info, text):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    return info, text


def reflection(bus):
    services = set(bus.reflection.get_services())
    assert {CIVIL, TAX, VEHICLES, "grpc.health.v1.Health"} <= services, services


def health(bus):
    stub = health_pb2_grpc.HealthStub(bus.channel)
    for service in ("", CIVIL, TAX, VEHICLES):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=PATIENCE_S)
        raise AssertionError("a service that nobody knows has no health")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error


def unary(bus, facts):
    request, method = bus.method(f"{CIVIL}/VerifyIdentity")
    person = facts["person"]
    message = request(personal_number=person["number"], given_name=person["given"], family_name=person["family"])
    metadata = [("ura-purpose", "account-opening"), ("ura-case", "C. nr. 1136/19"), ("x-trace-bin", b"\x00\xff\x10")]
    reply, call = method.with_call(message, metadata=metadata, timeout=PATIENCE_S)
    assert json_format.MessageToDict(reply) == {"verdict": "IDENTITY_VERDICT_MATCH"}, reply
    identifier = exchange("unary", call)
    receipt = dict(part.split("=", 1) for part in value(call.trailing_metadata(), "ura-receipt").split(";"))
    assert set(receipt) == {"log", "index", "leaf", "salt"} and receipt["log"] == "ura.test/gateway", receipt

    request, method = bus.method(f"{VEHICLES}/GetVehicle")
    parent = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")
    reply, call = method.with_call(
        request(plate=facts["plate"]), metadata=[("ura-purpose", "vehicle-documents"), parent], timeout=PATIENCE_S
    )
    assert reply.vehicle.plate == facts["plate"], reply
    other = exchange("vehicle", call)
    assert other != identifier
    seen = control(facts, "/registers/vehicles/requests")[-1]["headers"]
    assert seen["ura-exchange-id"] == other and seen["traceparent"].split("-")[1] == TRACE, seen


def stream(bus, facts):
    request, method = bus.method(f"{CIVIL}/GetBirthCertificateDocument")
    message = request(personal_number=facts["person"]["number"])
    call = method(message, metadata=[("ura-purpose", "birth-certificate")], timeout=PATIENCE_S)
    pieces = list(call)
    document = b"".join(piece.data for piece in pieces)
    assert pieces[0].media_type == "application/pdf" and len(document) == pieces[0].size_bytes, pieces[0]
    assert document.startswith(b"%PDF-")
    assert call.code() == grpc.StatusCode.OK and value(call.trailing_metadata(), "ura-receipt")
    exchange("stream", call)


def refusals(bus, facts):
    request, method = bus.method(f"{CIVIL}/GetBirthCertificate")
    message = request(personal_number=facts["person"]["number"])
    expected = [("en", "en", "say why you ask"), ("sq", "sq", "tregoni pse"), ("sr", "sr-Latn", "navedite svrhu")]
    for language, locale, words in expected:
        try:
            method(message, metadata=[("accept-language", language)], timeout=PATIENCE_S)
            raise AssertionError("a call without a purpose is refused")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            info, text = details(error)
            assert (info.reason, info.domain) == ("PURPOSE_MISSING", "ura"), info
            assert (info.metadata["outcome"], info.metadata["mender"]) == ("never_sent", "caller"), info
            assert text.locale == locale and words in text.message, text
            assert info.metadata["exchange_id"] == value(error.initial_metadata(), "ura-exchange-id") or info.metadata[
                "exchange_id"
            ] == value(error.trailing_metadata(), "ura-exchange-id")

    stranger = Bus(facts["address"], facts["stranger"])
    request, method = stranger.method(f"{VEHICLES}/GetVehicle")
    try:
        method(request(plate=facts["plate"]), metadata=[("ura-purpose", "vehicle-documents")], timeout=PATIENCE_S)
        raise AssertionError("who has no grant is refused")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
        assert details(error)[0].reason == "GRANT_MISSING", error
        exchange("refused", error)
    stranger.channel.close()

    # What a register answers passes as it is.
    request, method = bus.method(f"{TAX}/GetInvoice")
    try:
        method(request(uniref="0000000000000000"), metadata=[("ura-purpose", "property-tax")], timeout=PATIENCE_S)
        raise AssertionError("nobody has this invoice")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND and "UNIREF" in error.details(), error


def deadline_and_cancellation(bus, facts):
    request, method = bus.method(f"{TAX}/GetInvoice")
    message, metadata = request(uniref=facts["uniref"]), [("ura-purpose", "property-tax")]
    control(facts, "/registers/property-tax", {"delay_ms": 600_000})

    call = method.future(message, metadata=metadata, timeout=1.0)
    assert call.exception(timeout=PATIENCE_S).code() == grpc.StatusCode.DEADLINE_EXCEEDED, call
    seen = wait_for_request(facts, "dropped")
    print("exchange deadline", seen["headers"]["ura-exchange-id"], flush=True)

    call = method.future(message, metadata=metadata, timeout=PATIENCE_S)
    seen = wait_for_request(facts, "open")
    assert call.cancel()
    wait_for_request(facts, "dropped", seen["headers"]["ura-exchange-id"])
    print("exchange cancelled", seen["headers"]["ura-exchange-id"], flush=True)
    assert call.cancelled()
    control(facts, "/registers/property-tax", {})


def main():
    facts = json.loads(sys.argv[1])
    bus = Bus(facts["address"], facts["portal"])
    reflection(bus)
    health(bus)
    unary(bus, facts)
    stream(bus, facts)
    refusals(bus, facts)
    deadline_and_cancellation(bus, facts)
    bus.channel.close()


if __name__ == "__main__":
    main()
