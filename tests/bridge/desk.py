"""The desk as a plain grpcio server: it knows nothing of the bus.

Started with one argument, JSON: {"descriptors": FILE, "port": N, "reflection": BOOL, "health": BOOL}; with
"service": NAME it answers under another name, with "age_ms": N its connections are that old at most, with "key" and
"certificate", files, it has TLS. Says on its output where it listens, and what becomes of calls that wait.
"""

import json
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

PLAN = json.loads(sys.argv[1])
NAME = PLAN.get("service", "test.bridge.v1.Desk")

pool = descriptor_pool.DescriptorPool()
with open(PLAN["descriptors"], "rb") as file:
    for each in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(each)
Question = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.bridge.v1.Question"))
Answer = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.bridge.v1.Answer"))

states = health.HealthServicer()
produced = 0


def say(*words):
    print(*words, flush=True)


def refuse(context, code, message):
    violation = error_details_pb2.BadRequest.FieldViolation(field="wish", description="e panjohur: ë ç š")
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    context.set_trailing_metadata(
        (("x-desk-trailer", "refused"), ("grpc-status-details-bin", status.SerializeToString()))
    )
    context.abort(code, message)


def wait(context, method):
    ended = threading.Event()
    context.add_callback(ended.set)
    say("waiting", method, f"remaining_ms={int((context.time_remaining() or 0) * 1000)}")
    ended.wait()
    say("ended", method)


def seen(context):
    return {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}


def ask(question, context):
    if question.wish == "missing":
        refuse(context, grpc.StatusCode.NOT_FOUND, "nuk u gjet: ë ç š")
    if question.wish == "wait":
        wait(context, "Ask")
    if question.wish == "crash":
        raise RuntimeError("the desk is broken")
    if question.wish == "produced":
        return Answer(number=produced)
    if question.wish in ("sick", "well"):
        sick = question.wish == "sick"
        states.set(
            NAME, health_pb2.HealthCheckResponse.NOT_SERVING if sick else health_pb2.HealthCheckResponse.SERVING
        )
    context.send_initial_metadata((("x-desk", "open"),))
    context.set_trailing_metadata((("x-desk-trailer", "closed"), ("x-desk-bin", b"\x00\x01\x02\xff")))
    return Answer(text=question.wish, number=question.number, seen=seen(context))


def rows(question, context):
    global produced
    if question.wish == "wait":
        yield Answer(text="first")
        wait(context, "List")
        return
    for number in range(question.number):
        produced += 1
        yield Answer(number=number, data=b"x" * 65536 if question.wish == "large" else b"")
    if question.wish == "fail":
        refuse(context, grpc.StatusCode.DATA_LOSS, "u ndërpre")
    context.set_trailing_metadata((("x-desk-trailer", "closed"),))


def total(questions, context):
    count = 0
    context.add_callback(lambda: say("ended Sum"))
    for question in questions:
        if question.wish == "stall":
            wait(context, "Sum")
            break
        count += question.number
        say("got", count)
    return Answer(number=count, seen=seen(context))


def talk(questions, context):
    for question in questions:
        if question.wish == "missing":
            refuse(context, grpc.StatusCode.NOT_FOUND, "nuk u gjet: ë ç š")
        yield Answer(text=question.wish.upper(), number=question.number)
    context.set_trailing_metadata((("x-desk-trailer", "closed"),))


def method(kind, behaviour):
    return kind(behaviour, request_deserializer=Question.FromString, response_serializer=Answer.SerializeToString)


options = [("grpc.max_connection_age_ms", PLAN["age_ms"])] if "age_ms" in PLAN else []
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=options)
handlers = {
    "Ask": method(grpc.unary_unary_rpc_method_handler, ask),
    "File": method(grpc.unary_unary_rpc_method_handler, ask),
    "List": method(grpc.unary_stream_rpc_method_handler, rows),
    "Sum": method(grpc.stream_unary_rpc_method_handler, total),
    "Talk": method(grpc.stream_stream_rpc_method_handler, talk),
}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
names = [NAME]
if PLAN["health"]:
    states.set(NAME, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    names.append(health.SERVICE_NAME)
if PLAN["reflection"]:
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server, pool)
address = f"127.0.0.1:{PLAN['port']}"
if "key" in PLAN:
    with open(PLAN["key"], "rb") as key, open(PLAN["certificate"], "rb") as certificate:
        credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
    port = server.add_secure_port(address, credentials)
else:
    port = server.add_insecure_port(address)
server.start()
say("listening on port", port)
server.wait_for_termination()
