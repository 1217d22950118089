"""A scripted upstream and a raw client on asyncio sockets. They can send what no HTTP library would send.

Knows: just enough HTTP/1.1 to read a request and to write any answer. Must not know: a2py.
Use:

    async def script(c):                            # one request; c.request is what came in
        c.head(200, SSE)
        c.events(*text("Hel", "lo"))
        c.end()

    async with ScriptedServer(script) as upstream:  # the n-th request runs the n-th script, the last one from then on
        upstream.base                               # http://127.0.0.1:port/v1
        upstream.requests                           # the requests so far
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

SSE = {"content-type": "text/event-stream"}
JSON_TYPE = {"content-type": "application/json"}
#: Seconds after which a test that waits for an event has failed. Only so that a fault ends: a loaded machine is slow.
LIMIT = 60.0


class Request:
    """One request as it came in."""

    def __init__(self, line: str, headers: dict[str, str], raw_head: bytes, body: bytes) -> None:
        self.method, self.target, self.version = line.split(" ", 2)
        self.headers = headers
        self.raw_head = raw_head
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """The server's side of one connection while one request is answered. Writes are at once; nothing is awaited but
    what says so."""

    def __init__(
        self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.number = number  # of the connection
        self.request: Request = None  # type: ignore[assignment]
        self.chunked = False
        self.keep = True

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def head(
        self,
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        length: int | None = None,
        version: str = "HTTP/1.1",
    ) -> None:
        """Status line and headers; without `length` the body is chunked (on HTTP/1.1)."""
        lines = [f"{version} {status} Scripted"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if length is not None:
            lines.append(f"content-length: {length}")
        elif version == "HTTP/1.1" and not any(name.lower() == "content-length" for name in headers or {}):
            self.chunked = True
            lines.append("transfer-encoding: chunked")
        else:
            self.keep = False
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        """A piece of the body."""
        if data:
            self.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def events(self, *events: Any) -> None:
        """Each as an event of its own, all in one write; a str or bytes goes out as it is."""
        self.chunk(b"".join(map(event, events)))

    def end(self) -> None:
        """The proper end of the body."""
        if self.chunked:
            self.write(b"0\r\n\r\n")

    def reply(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """A whole answer with a length."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, {**JSON_TYPE, **(headers or {})}, length=len(data))
        self.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    def close(self) -> None:
        """A clean FIN, wherever the answer stands."""
        self.keep = False
        self.writer.close()

    def reset(self) -> None:
        """A TCP reset."""
        self.keep = False
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_disconnect(self) -> None:
        """Until the other side has closed or reset the connection; fails after LIMIT."""
        self.keep = False

        async def wait() -> None:
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass

        await asyncio.wait_for(wait(), LIMIT)
        self.server.disconnects += 1
        self.server.someone_left.set()


Script = Callable[[Peer], Awaitable[None]]


class ScriptedServer:
    """An upstream on a free loopback port. `open`: connections now; `disconnects`: clients that
    `Peer.wait_disconnect` saw leave; `failure`: of a script."""

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.scripts = scripts
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self.disconnects = 0
        self.someone_left = asyncio.Event()
        self.all_closed = asyncio.Event()
        self.failure: BaseException | None = None
        self._tls = tls
        self._host = host
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls, limit=1 << 26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if self.failure is not None and exc[0] is None:
            raise AssertionError("a script failed") from self.failure

    @property
    def base(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.all_closed.clear()
        number = self.connections
        try:
            while True:
                peer = Peer(self, reader, writer, number)
                peer.request = await read_request(reader)
                self.requests.append(peer.request)
                script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                await script(peer)
                await writer.drain()
                if not peer.keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self._tasks.discard(task)
            writer.close()
            try:
                await writer.wait_closed()
            except (OSError, asyncio.CancelledError):
                pass
            self.open -= 1
            if not self.open:
                self.all_closed.set()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {}
    for text in rest:
        name, colon, value = text.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        body = b"".join(parts)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(line, headers, head, body)


# -- chat completions --------------------------------------------------------------------------------------------------


def event(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One `chat.completion.chunk`."""
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}] if delta is not None or finish else []
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "upstream-model",
        "choices": choices,
        **more,
    }


def usage(prompt: int = 11, completion: int = 3) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def text(*pieces: str, finish: str = "stop", tokens: dict[str, int] | None = None) -> list[Any]:
    """A whole streamed answer."""
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, finish),
        chunk(usage=tokens or usage()),
        DONE,
    ]


def completion(content: str = "Hello", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole unary answer."""
    body = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": body, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "upstream-model",
        "choices": [choice],
        "usage": usage(),
    }


def answering(*pieces: str) -> Script:
    """Streams `pieces`, or gives them whole, as it was asked."""

    async def script(c: Peer) -> None:
        if c.request.json.get("stream"):
            c.head(200, SSE)
            c.events(*text(*pieces))
            c.end()
        else:
            c.reply(completion("".join(pieces)))

    return script


def refusing(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> Script:
    """An error in OpenAI's shape."""

    async def script(c: Peer) -> None:
        c.reply({"error": {"message": message, "type": "error", "param": None, "code": None, **error}}, status, headers)

    return script


# -- the raw client ----------------------------------------------------------------------------------------------------


class Answer:
    """A response as it was read. `whole`: its body ended as its head had promised."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, whole: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.whole = whole

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """(name, data) of each event."""
        out = []
        for block in self.body.decode().split("\n\n"):
            if block:
                name, _, data = block.partition("\n")
                assert name.startswith("event: ") and data.startswith("data: "), block
                out.append((name[7:], json.loads(data[6:])))
        return out

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class Raw:
    """`async with Raw(port) as client`: one connection."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=1 << 26)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Iterable[tuple[str, str]] = (),
        version: str = "HTTP/1.1",
    ) -> None:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} {version}"]
        names = {name.lower() for name, _ in headers}
        if "host" not in names:
            lines.append(f"Host: {self.host}:{self.port}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None and "content-length" not in names and "transfer-encoding" not in names:
            lines.append(f"Content-Length: {len(data)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + data)

    async def head(self) -> tuple[int, dict[str, str]]:
        try:
            raw = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LIMIT)).decode("latin-1")
        except ConnectionResetError:
            # The server closed before it had read all of the request. StreamReader reports the reset first, also if an
            # answer came before it.
            self.reader._exception = None  # type: ignore[attr-defined]
            self.reader.feed_eof()
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = raw.split("\r\n")
        headers = {}
        for text_ in rest:
            name, colon, value = text_.partition(":")
            if colon:
                headers[name.lower()] = value.strip()
        return int(line.split(" ")[1]), headers

    async def piece(self) -> bytes:
        """One chunk of a chunked body; b"" at its end."""
        line = await asyncio.wait_for(self.reader.readline(), LIMIT)
        if not line.strip():
            raise asyncio.IncompleteReadError(line, None)
        size = int(line, 16)
        data = await asyncio.wait_for(self.reader.readexactly(size + 2), LIMIT)
        return data[:-2]

    async def answer(self, method: str = "POST") -> Answer:
        status, headers = await self.head()
        parts: list[bytes] = []
        whole = True
        try:
            if headers.get("transfer-encoding") == "chunked":
                while data := await self.piece():
                    parts.append(data)
            elif "content-length" in headers:
                if method != "HEAD":
                    parts.append(await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), LIMIT))
            else:
                parts.append(await asyncio.wait_for(self.reader.read(), LIMIT))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            whole = False
            parts.append(getattr(error, "partial", b""))
        return Answer(status, headers, b"".join(parts), whole)

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
