"""The HTTP surface in memory: a real `Proxy` behind its real `Connections`, no socket, an upstream that answers at
once.

Knows: `asyncio.Transport`, what every response of a2py must look like. Must not know: how the bytes were made.
Invariants of `talk`, whatever comes in: only whole, well-formed responses go out; each has a request id and none but
known headers; an error is the envelope; requests begin where h11 says that they begin (else one could be smuggled); no
crash line, no task, no connection is left."""

from __future__ import annotations

import asyncio
import io
import re
from types import SimpleNamespace
from typing import Any

import h11
import orjson
from aiohttp import web

from a2py.proxy.app import Proxy
from a2py.proxy.connections import Connections
from a2py.proxy.log import Log
from a2py.proxy.services import Services
from tests import scripted
from tests.proxied import SECRET, config

KEY = "sk-master-fuzz"
#: Turns of the loop after each piece, and at most until a connection is gone.
TURNS, PATIENCE = 25, 2000
HEADERS = {
    *("content-type", "content-length", "request-id", "date", "connection", "allow", "retry-after", "x-should-retry"),
    *("x-a2py-degraded", "transfer-encoding", "cache-control", "x-accel-buffering"),
}
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")


class Memory(asyncio.Transport):
    """A client that reads everything at once. `out`: what it got."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.out = bytearray()
        self.is_closed = False

    def write(self, data: Any) -> None:
        if not self.is_closed:
            self.out += data

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_protocol(self) -> Any:
        return self.protocol


class Upstream:
    """Answers each request at once, streamed or whole as it was asked."""

    connections = idle = 0

    async def send(self, deployment: Any, request: Any, **more: Any) -> Any:
        events = b"".join(map(scripted.event, scripted.text("Hel", "lo")))
        parts = (events if request.stream else orjson.dumps(scripted.completion()),)

        async def read(flow: Any) -> None:
            for part in parts:
                flow.pass_on(part)

        return SimpleNamespace(
            status=200, headers={}, content_type="", resent=False, read=read, leave=lambda **how: None
        )

    async def ask(self, *args: Any) -> Any:
        raise ValueError

    async def close(self) -> None:
        pass


class Surface:
    """`requests`: (method, target) of the requests that reached the proxy on the connection at hand."""

    def __init__(self, key: str = "") -> None:
        self.loop = asyncio.new_event_loop()
        self.log = io.StringIO()
        self.requests: list[tuple[bytes, bytes]] = []
        self.loop.run_until_complete(self._start(key))

    async def _start(self, key: str) -> None:
        self.services = Services(
            config("http://127.0.0.1:1/v1", master_key=key, max_body_mb=1), log=Log(self.log, "json")
        )
        await self.services.start()
        self.services.upstream = Upstream()  # type: ignore[assignment]
        self.proxy = Proxy(self.services)
        self.connections = Connections(self._handle, buffer_limit=1 << 18, max_connections=10)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request.method.encode(), request.raw_path.encode("utf-8", "surrogateescape")))
        return await self.proxy.handle(request)

    def talk(self, *pieces: bytes) -> bytes:
        """Run one connection. Return what the client got, checked."""
        self.requests.clear()
        self.log.seek(0)
        self.log.truncate()
        out = self.loop.run_until_complete(self._talk(pieces))
        check(out)
        log = self.log.getvalue()
        assert '"crash"' not in log, log
        assert (
            SECRET.encode() not in out
            and SECRET not in log
            and (KEY.encode() not in out or KEY.encode() in b"".join(pieces))
        )
        same_requests(b"".join(pieces), self.requests)
        return out

    async def _talk(self, pieces: tuple[bytes, ...]) -> bytes:
        connection = self.connections()
        wire = Memory(connection)
        connection.connection_made(wire)
        for piece in pieces:
            if wire.is_closed:
                break
            connection.data_received(piece)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        if not wire.is_closed:
            connection.eof_received()
            await asyncio.sleep(0)
            wire.close()
        own = asyncio.current_task()
        for _ in range(PATIENCE):
            await asyncio.sleep(0)
            if len(asyncio.all_tasks()) == 1 and not self.connections.connections:
                break
        tasks = asyncio.all_tasks() - {own}
        assert not tasks, f"a task is left: {tasks}"
        rest = self.services.running.exchanges, self.connections.busy, self.connections.connections
        assert not any(rest), f"something is left: {rest}"
        return bytes(wire.out)


def check(out: bytes) -> list[int]:
    """The status of each response; AssertionError on anything else than whole responses (the last may be cut: its
    client left)."""
    statuses = []
    while out:
        match = _STATUS.match(out)
        assert match, out[:200]
        status = int(match[1])
        head, end, out = out[match.end() :].partition(b"\r\n\r\n")
        if status == 100:
            out = head[2:] + end + out if head[:2] == b"\r\n" else out
            continue
        assert end, head
        headers: dict[bytes, bytes] = {}
        for line in head.split(b"\r\n"):
            name, colon, value = line.partition(b": ")
            assert colon and name.lower().decode() in HEADERS and name.lower() not in headers, line
            headers[name.lower()] = value
        assert headers[b"request-id"].startswith(b"req_")
        statuses.append(status)
        body = b""
        if headers.get(b"transfer-encoding") == b"chunked":
            body, out = read_chunks(out)
            assert status == 200 and body.endswith(b"\n\n")
            continue
        size = int(headers[b"content-length"]) if b"content-length" in headers else len(out)
        if out[:7] not in (b"", b"HTTP/1."):  # else: HEAD
            assert len(out) >= size
            body, out = out[:size], out[size:]
        if status >= 400 and body:
            error = orjson.loads(body)
            assert (
                error["type"] == "error"
                and error["error"]["message"]
                and error["request_id"] == headers[b"request-id"].decode()
            )
    return statuses


def read_chunks(data: bytes) -> tuple[bytes, bytes]:
    parts = []
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        assert data[length : length + 2] == b"\r\n"
        parts.append(data[:length])
        data = data[length + 2 :]
        if not length:
            return b"".join(parts), data


def same_requests(data: bytes, requests: list[tuple[bytes, bytes]]) -> None:
    """Check that every request that reached the proxy is one that h11 reads at that place, too, as far as h11 accepts
    what precedes it."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    parser.receive_data(data)
    for number, (method, target) in enumerate(requests, 1):
        try:
            event = parser.next_event()
            assert isinstance(event, h11.Request), f"h11 sees no request {number} here: {event}"
            assert (event.method, event.target) == (method, target), (event.method, event.target, method, target)
            while isinstance(event := parser.next_event(), h11.Data):
                pass
            assert event is not h11.NEED_DATA or number == len(requests), "h11 is still in the body"
            if parser.their_state is not h11.DONE:  # closes (HTTP/1.0), or would leave HTTP
                return
            parser.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            parser.send(h11.EndOfMessage())
            parser.start_next_cycle()
        except (h11.RemoteProtocolError, h11.LocalProtocolError):
            return
