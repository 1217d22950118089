"""An upstream and clients on blocking sockets and threads, which leave nothing to the garbage collector themselves.

Knows: just enough HTTP/1.1. Must not know: a2py. Why not `scripted`: asyncio's streams leave reference cycles in this
process, among which those of the proxy could not be counted."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from tests.scripted import event

#: Seconds after which a peer gives up waiting.
LIMIT = 20.0


class Peer:
    """The server's side of one connection while one request is answered."""

    def __init__(self, sock: socket.socket, file: BinaryIO, body: Any) -> None:
        self.sock = sock
        self.file = file
        self.body = body

    @property
    def streams(self) -> bool:
        return isinstance(self.body, dict) and self.body.get("stream") is True

    def head(self, status: int = 200) -> None:
        self.sock.sendall(
            b"HTTP/1.1 %d Scripted\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" % status
        )

    def chunk(self, data: bytes) -> None:
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def events(self, *events: Any) -> None:
        self.chunk(b"".join(map(event, events)))

    def end(self) -> None:
        self.sock.sendall(b"0\r\n\r\n")

    def reply(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.sock.sendall(
            b"HTTP/1.1 %d Scripted\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(data), data)
        )

    def wait_disconnect(self) -> None:
        """Until the other side has closed the connection."""
        try:
            self.file.read(1)
        except OSError:
            pass


#: Answers one request; False: closes the connection.
Script = Callable[[Peer], bool]


class Upstream:
    """An upstream on a free loopback port. `arrivals`: is released for each request, after the script has written what
    it writes first."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._threads = [threading.Thread(target=self._accept)]
        self._socks: list[socket.socket] = []
        self.arrivals = threading.Semaphore(0)
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Upstream:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(LIMIT)
        self._listener.close()
        for sock in self._socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), "a script hangs"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._socks.append(sock)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as file:
            try:
                while (body := _read(file)) is not None and self._script(
                    Peer(sock, file, json.loads(body) if body else None)
                ):
                    pass
            except OSError:
                pass


def _read(file: BinaryIO) -> bytes | None:
    """A message's body; None: the other side has closed."""
    line = file.readline()
    if not line:
        return None
    length, chunked = 0, False
    while (header := file.readline()) not in (b"\r\n", b""):
        name, _, value = header.lower().partition(b":")
        length = int(value) if name == b"content-length" else length
        chunked = chunked or name == b"transfer-encoding"
    if not chunked:
        return file.read(length)
    parts = []
    while size := int(file.readline() or b"0", 16):
        parts.append(file.read(size + 2)[:-2])
    file.readline()
    return b"".join(parts)


class Client:
    """One connection to the proxy."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), LIMIT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self) -> bytes:
        with self.sock.makefile("rb") as file:
            body = _read(file)
        assert body is not None, "no answer"
        return body

    def rest(self) -> bytes:
        """All bytes until the proxy closes the connection."""
        parts = []
        try:
            while part := self.sock.recv(65536):
                parts.append(part)
        except ConnectionError:
            pass
        return b"".join(parts)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def request(body: Any, path: str = "/v1/messages", method: str = "POST", *headers: str) -> bytes:
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(data)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data
