"""A register that speaks HTTP, and writes down what it was asked, as its own parsers read it.

Standard library only, and nothing of the adapters' own code: what these parsers read is what arrived. Lines of its output:
first the port; then one JSON object for each request, written before the answer leaves. Ends when its input ends.
"""

import json
import os
import socketserver
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as ET

LOCK = threading.Lock()


def say(entry):
    with LOCK:
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()


def hexed(data):
    return (data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")).hex()


def inside(text):
    """The value between the words that the adapter file puts around it."""
    if text.startswith("para ") and text.endswith(" pas") and len(text) >= 9:
        return text[5:-4]
    return "NOT BETWEEN ITS WORDS: " + text


def only(pairs):
    return pairs[0] if len(pairs) == 1 else ("%d OF THEM" % len(pairs),) * 2


def json_shape(value):
    if isinstance(value, dict):
        return {key: json_shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [json_shape(inner) for inner in value]
    return type(value).__name__


def rest(method, target, headers, body):
    path, _, query = target.partition(b"?")
    segments = path.split(b"/")
    pairs = urllib.parse.parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    document = json.loads(body.decode("utf-8"))
    key, value = only(list(document.pop("map").items()))
    items = [inner for name, inner in pairs if name == "item"]
    values = [
        urllib.parse.unquote_to_bytes(segments[2]),
        dict(pairs).get("q", "NONE"),
        only([(inner, inner) for inner in items])[0],
        headers.get(b"x-value", b"NONE"),
        headers.get(b"idempotency-key", b"NONE"),
        document["v"],
        inside(document["t"]),
        document["items"][0],
        key,
        value,
    ]
    segments[2] = b"?"
    names = sorted(name.decode("latin-1") for name in headers)
    shape = [method.decode(), b"/".join(segments).decode("latin-1"), [name for name, _ in pairs], names, json_shape(document)]
    return shape, values, b"application/json", b'{"told":"ok"}'


def xml_shape(element):
    return [element.tag, sorted(element.attrib), [xml_shape(child) for child in element]]


def soap(method, target, headers, body):
    root = ET.fromstring(body)
    envelope = root.tag.rpartition("}")[0] + "}"
    operation = root.find(envelope + "Body")[0]
    ns = operation.tag.rpartition("}")[0] + "}"
    inner = operation.find(ns + "map")
    key, value = only([(child.tag.replace(ns, ""), child.text or "") for child in inner])
    inner.clear()
    values = [
        operation.find(ns + "v").text or "",
        operation.find(ns + "v").get("a", "NONE"),
        inside(operation.find(ns + "t").text or ""),
        operation.find(ns + "item").text or "",
        operation.find(ns + "key").text or "",
        key,
        value,
    ]
    kind = headers.get(b"content-type", b"").decode("latin-1")
    action = headers.get(b"soapaction", b"NONE").decode("latin-1")
    # Markup that declares: document types, comments and sections of plain text are no part of a request.
    shape = [method.decode(), target.decode("latin-1"), kind, action, body.count(b"<!"), xml_shape(root)]
    answer = '<e:Envelope xmlns:e="%s"><e:Body><r><told>ok</told></r></e:Body></e:Envelope>' % envelope[1:-1]
    return shape, values, kind.encode("latin-1"), answer.encode()


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while self.one():
            pass

    def one(self):
        line = self.rfile.readline(1 << 20)
        if not line.strip():
            return False
        headers = {}
        while True:
            # As lenient as real servers are: a line ends with a line feed, whatever stands before it.
            header = self.rfile.readline(1 << 20)
            if header in (b"\r\n", b"\n", b""):
                break
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip(b" \t\r\n")
        try:
            body = self.rfile.read(int(headers.get(b"content-length", 0)))
            method, target, _ = line.split(b" ")
            if target.startswith(b"/mark/"):
                entry, kind, answer = {"mark": int(target[6:])}, b"text/plain", b""
            else:
                ask = soap if target == b"/ws" else rest
                shape, values, kind, answer = ask(method, target, headers, body)
                entry = {"shape": json.dumps(shape), "values": [hexed(value) for value in values]}
        except Exception as error:  # Whatever it cannot read is part of its log too.
            entry, kind, answer = {"shape": "UNREADABLE: %r" % error, "values": []}, b"text/plain", b""
        say(entry)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (kind, len(answer))
        self.wfile.write(head + answer)
        return True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    server = Server(("127.0.0.1", 0), Connection)
    say({"port": server.server_address[1]})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
