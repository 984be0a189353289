"""Plug-ins of Aqueduct in Python, without other packages. docs/plugins.md explains them.

A plug-in is a class with a constructor that gets the settings, and one of these methods:

    intercept(event)    returns the event, another one, a list of events, or None to drop it
    deliver(events)     returns None if all are delivered, or a list: None, Retry or Refuse each
    read(position)      yields (event, position after it), or None if there is no event now

`run` connects to the agent and calls the method until the agent closes the connection. Lines that
a plug-in prints are in the log of the agent.
"""

import json
import os
import socket
import struct
import sys
import time

VERSION = 1
DELIVERED, RETRY, REFUSED = 0, 1, 2


class Refuse(Exception):
    """The event can never be processed: it becomes a dead letter with this reason."""


class Retry(Exception):
    """The event cannot be delivered now: the agent sends it again, after so many seconds."""

    def __init__(self, reason, after=0):
        super().__init__(reason)
        self.after = after


class Event:
    """An event: `body` is bytes, `headers` a dictionary of texts.

    `id` identifies an event for a sink: it is the same whenever the event is sent again.
    """

    __slots__ = ("body", "headers", "id")

    def __init__(self, body, headers=None, id=None):
        self.body = body
        self.headers = {} if headers is None else headers
        self.id = id


def varint(number):
    """Encodes a number."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """Encodes a field: a number, a text or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def decode(data):
    """Decodes a message: the values of each field, by its number."""
    fields, at, end = {}, 0, len(data)

    def number():
        nonlocal at
        result = shift = 0
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 127) << shift
            if byte < 128:
                return result
            shift += 7

    while at < end:
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        fields.setdefault(key >> 3, []).append(value)
    return fields


def one(fields, number, default=0):
    return fields[number][-1] if number in fields else default


def text(value):
    return bytes(value).decode()


def headers_of(values):
    pairs = (decode(value) for value in values)
    return {text(one(pair, 1, b"")): text(one(pair, 2, b"")) for pair in pairs}


def encode_event(event):
    headers = (
        field(2, field(1, name) + field(2, str(value))) for name, value in event.headers.items()
    )
    return field(1, event.body) + b"".join(headers)


class Connection:
    """The connection to the agent: frames are four bytes of length and a message."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["AQUEDUCT_PLUGIN_SOCKET"])
        self.reader = self.socket.makefile("rb")

    def receive(self):
        """Returns the number of the request's field and the request; exits if there is none."""
        length = self.reader.read(4)
        if len(length) < 4:
            sys.exit(0)
        size = struct.unpack(">I", length)[0]
        frame = self.reader.read(size)
        if len(frame) < size:
            sys.exit(0)
        ((number, values),) = decode(frame).items()
        return number, decode(values[-1])

    def send(self, number, message):
        frame = field(number, message)
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)


def reason_of(error):
    """The text of an error for an operator, who finds it in the status or among the dead letters."""
    own = isinstance(error, (Refuse, Retry))
    return str(error) if own else f"{type(error).__name__}: {error}"


def intercepted(plugin, events):
    for index, event in events:
        try:
            result = plugin.intercept(event)
            made = [] if result is None else result if isinstance(result, list) else [result]
            parts = b"".join(field(2, encode_event(event)) for event in made)
        except Exception as error:
            parts = field(4, reason_of(error))
        yield field(2, field(1, index) + parts)


def settled(plugin, events):
    try:
        outcomes = plugin.deliver([event for _, event in events]) or [None] * len(events)
    except (Retry, Refuse) as error:
        outcomes = [error] * len(events)
    except Exception as error:
        outcomes = [Retry(reason_of(error))] * len(events)
    if len(outcomes) != len(events):
        raise ValueError(f"deliver returned {len(outcomes)} outcomes for {len(events)} events")
    for (index, _), outcome in zip(events, outcomes):
        verdict = {Retry: RETRY, Refuse: REFUSED}.get(type(outcome), DELIVERED)
        parts = field(1, index) + field(2, index) + field(3, verdict)
        if verdict != DELIVERED:
            parts += field(4, str(outcome)) + field(5, int(1000 * getattr(outcome, "after", 0)))
        yield field(2, parts)


def produced(reader, request):
    """Reads events until the limits of the request, or until there is none now."""
    until = time.monotonic() + one(request, 4) / 1000
    events, size, position = [], 0, b""
    while len(events) < one(request, 2) and size < one(request, 3) and time.monotonic() < until:
        item = next(reader, None)
        if item is None:
            break
        event, position = item
        if isinstance(position, str):
            position = position.encode()
        events.append(field(2, encode_event(event)))
        size += 32 + len(event.body) + sum(32 + len(k) + len(v) for k, v in event.headers.items())
    return b"".join(events) + field(3, position)


def run(plugin_class):
    """Serves the agent until it closes the connection."""
    sys.stdout.reconfigure(line_buffering=True)
    roles = {"intercept": "interceptor", "deliver": "sink", "read": "source"}
    role = next(role for method, role in roles.items() if hasattr(plugin_class, method))
    connection = Connection()
    _, hello = connection.receive()
    try:
        plugin = plugin_class(json.loads(text(one(hello, 4, b"{}"))))
        reader = plugin.read(bytes(one(hello, 6, b""))) if role == "source" else None
    except Exception as error:
        connection.send(5, field(1, reason_of(error)))
        raise
    effect = int(getattr(plugin, "effect", False))
    welcome = field(1, VERSION) + field(2, role) + field(3, plugin_class.__name__)
    connection.send(1, welcome + field(4, effect))
    while True:
        kind, request = connection.receive()
        answer = field(1, one(request, 1))
        if kind == 3:
            connection.send(4, answer + produced(reader, request))
            continue
        shared, identity = headers_of(request.get(3, [])), text(one(request, 4, b""))
        events = []
        for value in map(decode, request.get(2, [])):
            index = one(value, 3)
            headers = shared | headers_of(value.get(2, []))
            events.append((index, Event(bytes(one(value, 1, b"")), headers, f"{identity}/{index}")))
        if role == "sink":
            connection.send(3, answer + b"".join(settled(plugin, events)))
        else:
            connection.send(2, answer + b"".join(intercepted(plugin, events)))
