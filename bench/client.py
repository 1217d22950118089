"""The client that measures. It uses raw sockets, parses nothing while the clock runs, and checks every byte afterwards.

Knows: enough HTTP to see where a reply ends; OpenAI's stream (compared byte for byte with what the upstream must have
sent) and Anthropic's (events in their order, content compared byte for byte). Must not know: which system answers.
Invariants: while a reply runs only its reads and their times are kept; `check` gives each piece's stamp and the time of
the read that brought it, or raises `Mismatch` that says what was wrong.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from bisect import bisect_left
from typing import Any, NamedTuple

from bench.shapes import STAMP, Plan, anthropic_unary, make_content, openai, openai_unary, render, unary_text

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_END = b"0\r\n\r\n"
_SSE_END = re.compile(rb"\r\n\r\n|\n\n")
_SSE_LINE = re.compile(rb"\r\n|\n")


class Mismatch(Exception):
    """A reply that differs from the expected one."""


class Reply:
    """One reply. `reads`: for each read, the time (monotonic ns) and the number of bytes so far. `raw`: head and body
    as received."""

    __slots__ = ("head", "parts", "reads", "send_time", "size", "status")

    def __init__(self) -> None:
        self.send_time = 0
        self.parts: list[bytes] = []
        self.reads: list[tuple[int, int]] = []
        self.size = 0
        self.head = b""
        self.status = 0

    @property
    def raw(self) -> bytes:
        return b"".join(self.parts)


class Connection(asyncio.Protocol):
    """One keep-alive connection. `ask` sends a request and returns its complete reply."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reply = Reply()
        self.waiter: asyncio.Future[Reply] | None = None
        self.is_lost = False
        self._rest = -1  # bytes still to come; -1: no head yet, -2: chunked, -3: until the connection is closed
        self._close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._rest == -3:
            self._finish()
        elif self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(Mismatch(f"the connection was closed after {self.reply.size} bytes"))

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        assert self.transport is not None
        self.reply = Reply()
        self._rest = -1
        self.waiter = asyncio.get_running_loop().create_future()
        if self.is_lost:
            self.waiter.set_exception(Mismatch("the connection was closed before the request"))
        else:
            self.reply.send_time = time.monotonic_ns()
            self.transport.write(request)
        return self.waiter

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        reply = self.reply
        reply.parts.append(data)
        reply.size += len(data)
        reply.reads.append((now, reply.size))
        if self._rest == -2:
            if data[-5:] == _END or (len(data) < 5 and reply.raw[-5:] == _END):
                self._finish()
        elif self._rest == -1:
            self._head()
        elif self._rest >= 0:
            self._rest -= len(data)
            if self._rest <= 0:
                self._finish()

    def _head(self) -> None:
        raw = self.reply.raw
        head, separator, body = raw.partition(b"\r\n\r\n")
        if not separator:
            return
        self.reply.head = head
        self.reply.status = int(head.split(b" ", 2)[1])
        self._close = _CLOSE.search(head) is not None
        length = _LENGTH.search(head)
        if _CHUNKED.search(head):
            self._rest = -2
            if body[-5:] == _END:
                self._finish()
        elif length is not None:
            self._rest = int(length[1]) - len(body)
            if self._rest <= 0:
                self._finish()
        else:
            self._rest = -3

    def _finish(self) -> None:
        self._rest = -1
        if self._close and self.transport is not None:
            self.transport.close()
            self.is_lost = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(self.reply)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


async def connect(port: int) -> Connection:
    """Return a new connection to `port` on this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def put(port: int, path: str, body: bytes) -> Any:
    """Send a control request to the mock upstream."""
    connection = await connect(port)
    reply = await connection.ask(
        b"PUT %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )
    connection.close()
    return json.loads(reply.raw.partition(b"\r\n\r\n")[2])


def request(port: int, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


# -- checking ----------------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """One piece of content. `stamp`: the upstream's clock (ns) when it was written. `arrival`: the client's clock when
    the read that contained its stamp returned."""

    stamp: int
    arrival: int


def body_of(reply: Reply) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the body without its HTTP framing, and for each run of it `(end in the body, end in the raw reply)`."""
    raw = reply.raw
    at = len(reply.head) + 4
    if not _CHUNKED.search(reply.head):
        return raw[at:], [(len(raw) - at, len(raw))]
    parts: list[bytes] = []
    runs: list[tuple[int, int]] = []
    size = 0
    while True:
        eol = raw.find(b"\r\n", at)
        if eol < 0:
            raise Mismatch("chunked framing is cut")
        try:
            length = int(raw[at:eol].partition(b";")[0], 16)
        except ValueError:
            raise Mismatch(f"chunked framing is broken: {raw[at : at + 20]!r}") from None
        at = eol + 2
        if not length:
            if raw[at : at + 2] != b"\r\n" or at + 2 != len(raw):
                raise Mismatch("something follows the last chunk")
            return b"".join(parts), runs
        parts.append(raw[at : at + length])
        size += length
        at += length
        runs.append((size, at))
        if raw[at : at + 2] != b"\r\n":
            raise Mismatch("a chunk does not end where it says")
        at += 2


def check(wire: str, plan: Plan, reply: Reply) -> list[Piece]:
    """Return the pieces of a stream. Raise Mismatch if its content is wrong in one byte."""
    body = _good(reply)
    stamps = [match[1] for match in STAMP.finditer(body[0])]
    if len(stamps) != plan.chunks:
        raise Mismatch(f"{len(stamps)} of {plan.chunks} pieces arrived")
    if wire == "openai":
        _same("body", body[0], render(openai(plan), stamps))
    else:
        try:
            _anthropic(plan, body[0], stamps)
        except (KeyError, TypeError, AttributeError) as error:
            raise Mismatch(f"a malformed event: {error!r}") from None
    return _arrivals(reply, *body)


def check_unary(wire: str, plan: Plan, reply: Reply) -> None:
    body = _good(reply)[0]
    if wire == "openai":
        _same("body", body, openai_unary(plan))
        return
    message = _json(body)
    text = "".join(block.get("text", "") for block in message.get("content", ()))
    _same("text", text.encode(), unary_text(plan.size).encode())
    if message.get("stop_reason") != json.loads(anthropic_unary(plan))["stop_reason"]:
        raise Mismatch(f"stop_reason {message.get('stop_reason')!r}")


def _good(reply: Reply) -> tuple[bytes, list[tuple[int, int]]]:
    if reply.status != 200:
        raise Mismatch(f"status {reply.status}: {reply.raw[len(reply.head) : len(reply.head) + 200]!r}")
    return body_of(reply)


def _same(what: str, actual: bytes, right: bytes) -> None:
    if actual != right:
        at = next(
            (n for n, (a, b) in enumerate(zip(actual, right, strict=False)) if a != b), min(len(actual), len(right))
        )
        raise Mismatch(f"{what} differs at byte {at}: {actual[at : at + 40]!r} instead of {right[at : at + 40]!r}")


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        raise Mismatch(f"no JSON: {data[:80]!r}") from None
    if not isinstance(value, dict):
        raise Mismatch(f"no object: {data[:80]!r}")
    return value


def events(body: bytes) -> list[dict[str, Any]]:
    """Yield Anthropic's events without comments and pings."""
    payloads = []
    blocks = _SSE_END.split(body)
    if blocks.pop() != b"":
        raise Mismatch("the stream ends within an event")
    for block in blocks:
        lines = [line for line in _SSE_LINE.split(block) if line and line[:1] != b":"]
        data = b"".join(line[5:].lstrip() for line in lines if line[:5] == b"data:")
        if data and data != b"[DONE]":
            event = _json(data)
            if event.get("type") != "ping":
                payloads.append(event)
    return payloads


#: Content of a plan's kind: block type, field of its deltas, stop reason.
_CONTENT = {
    "text": ("text", "text", "end_turn"),
    "reasoning": ("thinking", "thinking", "end_turn"),
    "args": ("tool_use", "partial_json", "tool_use"),
}


def _anthropic(plan: Plan, body: bytes, stamps: list[bytes]) -> None:
    payloads = events(body)
    names = [event.get("type") for event in payloads]
    if "error" in names:
        raise Mismatch(f"an error event: {payloads[names.index('error')]}"[:200])
    if names[:1] != ["message_start"] or names[-2:] != ["message_delta", "message_stop"]:
        raise Mismatch(f"events begin with {names[:1]} and end with {names[-2:]}")
    kind, field, reason = _CONTENT[plan.kind]
    open_at, types, text = None, {}, []
    for event in payloads[1:-2]:
        if event["type"] == "content_block_start":
            if open_at is not None:
                raise Mismatch("a block starts within another")
            open_at = event["index"]
            types[open_at] = event["content_block"]["type"]
        elif event["type"] == "content_block_delta":
            if event["index"] != open_at:
                raise Mismatch("a delta outside its block")
            if types[open_at] == kind:
                text.append(event["delta"].get(field, ""))
        elif event["type"] == "content_block_stop":
            open_at = None
    _same(kind, "".join(text).encode(), make_content(plan, stamps))
    if payloads[-2]["delta"].get("stop_reason") != reason:
        raise Mismatch(f"stop_reason {payloads[-2]['delta'].get('stop_reason')!r} instead of {reason!r}")


def _arrivals(reply: Reply, body: bytes, runs: list[tuple[int, int]]) -> list[Piece]:
    body_ends = [end for end, _ in runs]
    read_ends = [size for _, size in reply.reads]
    pieces = []
    for match in STAMP.finditer(body):
        body_end, raw_end = runs[bisect_left(body_ends, match.end())]
        raw = raw_end - (body_end - match.end())
        pieces.append(Piece(int(match[1]), reply.reads[bisect_left(read_ends, raw)][0]))
    return pieces
