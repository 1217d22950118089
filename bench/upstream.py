"""The mock upstream: OpenAI chat completions and Anthropic messages on raw asyncio protocols, with a stamp in every
piece.

Knows: as much HTTP as proxies speak to an upstream (Content-Length or chunked request bodies, keep-alive, `Expect`).
Must not know: who asks.
Invariants: each event is an HTTP chunk of its own, as uvicorn and Node send them; a paced piece is stamped right before
its write, a flooded one when its batch is put together; a reader that stops reading stops the flood. The last plan
that was PUT to /_plan decides the answers. /_stats returns the numbers of requests, open streams and broken ones.

    python -m bench.upstream --port 9000 [--cpu 0]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import time

from bench.shapes import SCRIPTS, UNARY, Plan, Script

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_STREAM = re.compile(rb'"stream":\s*true')
_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
_UNARY = b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_NOT_FOUND = b'HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\r\n{"error":{"message":"not found"}}'


def http_chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def frame(script: Script) -> Script:
    """Return `script` with HTTP chunk framing. The length of a chunk includes the 17 digits of its stamp."""
    pieces = tuple(
        (b"%x\r\n%b" % (len(before) + 17 + len(after), before), after + b"\r\n") for before, after in script.pieces
    )
    events = [
        b"".join(http_chunk(event + b"\n\n") for event in part.split(b"\n\n")[:-1])
        for part in (script.opening, script.closing)
    ]
    return Script(events[0], pieces, events[1] + b"0\r\n\r\n")


class State:
    """What all connections share: the plan, and the counts."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.plan = Plan()
        self.scripts: dict[str, Script] = {}
        self.unary: dict[str, bytes] = {}
        self.streams: set[Stream] = set()
        self.connections: set[Connection] = set()
        self.requests = self.broken = self.starts = 0
        self.set(self.plan)

    def set(self, plan: Plan) -> None:
        self.plan = plan
        self.starts = 0
        self.scripts = {wire: frame(script(plan)) for wire, script in SCRIPTS.items()}
        bodies = {wire: body(plan) for wire, body in UNARY.items()}
        self.unary = {wire: _UNARY % (len(body), body) for wire, body in bodies.items()}

    def stats(self) -> bytes:
        return json.dumps({"requests": self.requests, "open": len(self.streams), "broken": self.broken}).encode()


class Stream:
    """One reply that is being written."""

    __slots__ = ("at", "connection", "plan", "position", "script", "state", "timer")

    def __init__(self, connection: Connection, script: Script) -> None:
        self.connection = connection
        self.script = script
        self.state = connection.state
        self.plan = self.state.plan
        self.position = 0
        self.timer: asyncio.TimerHandle | None = None
        self.state.streams.add(self)
        self.at = 0.0

    def start(self) -> None:
        state = self.state
        self.at = state.loop.time() + self.plan.gap * (state.starts % self.plan.streams) / self.plan.streams
        state.starts += 1
        if self.plan.gap:
            self.timer = self.state.loop.call_at(self.at, self.tick)
        else:
            self.flood()

    def _pieces(self, count: int) -> bytes:
        pieces = self.script.pieces
        out = [_HEAD + self.script.opening] if self.position == 0 else []
        for n in range(self.position, self.position + count):
            before, after = pieces[n % len(pieces)]
            out.append(b"%b%017d%b" % (before, time.monotonic_ns(), after))
        self.position += count
        if self.position == self.plan.chunks:
            out.append(self.script.closing)
        return b"".join(out)

    def tick(self) -> None:
        """Write one paced piece. A late timer does not shift the next ones."""
        self.connection.write(self._pieces(1))
        if self.position == self.plan.chunks:
            self.end()
        else:
            self.at += self.plan.gap
            self.timer = self.state.loop.call_at(self.at, self.tick)

    def flood(self) -> None:
        """Write a batch, and the next one as soon as the transport accepts it."""
        if self.connection.is_paused or self.connection.stream is not self:
            return
        self.connection.write(self._pieces(min(self.plan.batch, self.plan.chunks - self.position)))
        if self.position == self.plan.chunks:
            self.end()
        else:
            self.state.loop.call_soon(self.flood)

    def end(self) -> None:
        self.state.streams.discard(self)
        self.connection.stream = None
        self.connection.next()

    def broke(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.state.streams.discard(self)
        self.state.broken += 1


class Connection(asyncio.Protocol):
    def __init__(self, state: State) -> None:
        self.state = state
        self.buffer = b""
        self.is_paused = False
        self.stream: Stream | None = None
        self.transport: asyncio.Transport | None = None
        self.has_sent_100 = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.connections.discard(self)
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.broke()

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        if self.stream is not None and not self.stream.plan.gap:
            self.stream.flood()

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if self.stream is None:
            self.next()

    def next(self) -> None:
        """Answer the next complete request in the buffer."""
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        end = self._body_end(head, len(head) + 4)
        if end < 0 or len(self.buffer) < end:
            if _EXPECT.search(head) and not self.has_sent_100:
                self.has_sent_100 = True
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self.has_sent_100 = False
        body = self.buffer[len(head) + 4 : end]
        self.buffer = self.buffer[end:]
        self.answer(head.split(b" ", 2)[1].partition(b"?")[0], body)

    def _body_end(self, head: bytes, start: int) -> int:
        length = _LENGTH.search(head)
        if length is not None:
            return start + int(length[1])
        if _CHUNKED.search(head) is None:
            return start
        if self.buffer[start : start + 5] == b"0\r\n\r\n":
            return start + 5
        at = self.buffer.find(b"\r\n0\r\n\r\n", start)
        return at + 7 if at >= 0 else -1

    def answer(self, path: bytes, body: bytes) -> None:
        state = self.state
        if path == b"/_plan":
            state.set(Plan.decode(body))
            self.write(_UNARY % (2, b"{}"))
        elif path == b"/_stats":
            stats = state.stats()
            self.write(_UNARY % (len(stats), stats))
        elif path.endswith((b"/chat/completions", b"/messages")):
            state.requests += 1
            wire = "anthropic" if path.endswith(b"/messages") else "openai"
            if _STREAM.search(body):
                self.stream = Stream(self, state.scripts[wire])
                self.stream.start()
            else:
                self.write(state.unary[wire])
        else:
            self.write(_NOT_FOUND)
        if self.stream is None and self.buffer:
            self.next()


async def serve(port: int) -> tuple[asyncio.Server, State]:
    state = State()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(state), "127.0.0.1", port, backlog=4096)
    return server, state


async def _main(port: int) -> None:
    server, _ = await serve(port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cpu", type=int, default=None)
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(_main(args.port))
    except KeyboardInterrupt:
        pass
