"""The anomaly loop: a run is repeated with a fault at its 1st, 2nd, … IO operation, until one passes without meeting
it.

Knows: sockets; what a client may get of any request whatsoever. Must not know: the proxy's inside.
A `Gate` relays a connection in pieces. Each piece is one IO operation. At the k-th piece it injects a fault:

    error    both sides get a TCP reset
    close    both sides get a FIN
    short    half of the piece passes, then a FIN
    hang     nothing passes any more, and nothing is closed, until the test ends it

A connection to a gate by its `NAME` has two more operations, the look-up of the name and the connect. These fail or
hang.

`judge` checks that the client got exactly one complete terminal answer.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import struct
from collections import Counter
from typing import Any

from tests.scripted import Answer

FAULTS = ("error", "close", "short", "hang")
#: Host under which a gate is looked up.
NAME = "gate.example"
#: Points that have run, by what the test file says of them.
POINTS: Counter[str] = Counter()


class Gate:
    """A TCP relay on a free port. `at`: the piece at which `fault` happens (0: never); `fault_event`: set when it did;
    `counts_dials`: look-ups and connects of this event loop are operations too."""

    def __init__(self, target: int, piece: int, at: int = 0, fault: str = "close", counts_dials: bool = False) -> None:
        self.target = target
        self.piece = piece
        self.at = at
        self.fault = fault
        self.counts_dials = counts_dials
        self.count = 0
        self.fault_event = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Event()

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        if self.counts_dials:
            self._dial(asyncio.get_running_loop())
        return self

    def _dial(self, loop: Any) -> None:
        look_up, connect = loop.getaddrinfo, loop.sock_connect

        async def getaddrinfo(host: Any, port: Any, **more: Any) -> Any:
            if host == NAME:
                await self._step(socket.gaierror(socket.EAI_AGAIN, "the gate's fault"))
                host = "127.0.0.1"
            return await look_up(host, port, **more)

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            if address[1] == self.port:
                await self._step(ConnectionRefusedError(errno.ECONNREFUSED, "the gate's fault"))
            await connect(sock, address)

        loop.getaddrinfo, loop.sock_connect = getaddrinfo, sock_connect

    async def _step(self, refusal: OSError) -> None:
        """An operation in which no bytes pass."""
        self.count += 1
        if self.count == self.at:
            self.fault_event.set()
            if self.fault == "hang":
                await self._free.wait()
            raise refusal

    async def __aexit__(self, *exc: object) -> None:
        if self.counts_dials:
            loop = asyncio.get_running_loop()
            del loop.getaddrinfo, loop.sock_connect
        self._free.set()
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair = [writer]
        self._writers.add(writer)
        try:
            behind, inner = await asyncio.open_connection("127.0.0.1", self.target)
            pair.append(inner)
            self._writers.add(inner)
            await asyncio.gather(self._pass(reader, inner, pair), self._pass(behind, writer, pair))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for end in pair:
                self._writers.discard(end)
                end.close()
            self._tasks.discard(task)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pair: list[asyncio.StreamWriter]
    ) -> None:
        try:
            while data := await source.read(65536):
                for n in range(0, len(data), self.piece):
                    await self._one(data[n : n + self.piece], sink, pair)
        except ConnectionError:
            for writer in pair:
                writer.transport.abort()
            return
        if sink.can_write_eof() and not sink.is_closing():
            sink.close()

    async def _one(self, data: bytes, sink: asyncio.StreamWriter, pair: list[asyncio.StreamWriter]) -> None:
        self.count += 1
        if self.count == self.at:
            self.fault_event.set()
            await self._fail(data, sink, pair)
        sink.write(data)
        await sink.drain()
        await asyncio.sleep(0)

    async def _fail(self, data: bytes, sink: asyncio.StreamWriter, pair: list[asyncio.StreamWriter]) -> None:
        if self.fault == "hang":
            await self._free.wait()
        if self.fault == "short":
            sink.write(data[: len(data) // 2])
            await sink.drain()
        for writer in pair:
            if self.fault == "error":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()
        raise ConnectionResetError("the gate's fault")


def judge(answer: Answer) -> str:
    """Return `ok` or `error`, the kind of the terminal answer. Raise AssertionError if there is none, or more than
    one."""
    assert answer.whole, "the body did not end as its head had promised"
    assert answer.headers["request-id"].startswith("req_")
    if answer.headers["content-type"] == "application/json":
        body = json.loads(answer.body)
        if answer.status == 200:
            assert "input_tokens" in body or (body["type"] == "message" and body["stop_reason"])
            return "ok"
        assert (
            body["type"] == "error" and body["error"]["message"] and body["request_id"] == answer.headers["request-id"]
        )
        return "error"
    assert answer.status == 200
    names = [name for name in answer.names if name != "ping"]
    assert names[-1] in ("message_stop", "error"), names
    assert sum(name in ("message_stop", "error") for name in names) == 1, names
    assert names.count("message_start") == (0 if names == ["error"] else 1), names
    return "ok" if names[-1] == "message_stop" else "error"


def judge_passed(answer: Answer) -> str:
    """Do the same for an answer that passes as it is. What broke off within an event has no proper end: it counts as an
    error, because the client sees it."""
    assert answer.headers["request-id"].startswith("req_")
    if not answer.whole:
        assert answer.status == 200, "only what had begun may be cut"
        return "error"
    if answer.headers["content-type"] == "application/json":
        body = json.loads(answer.body)
        assert ("choices" in body) is (answer.status == 200)
        assert answer.status == 200 or body["error"]["message"]
        return "ok" if answer.status == 200 else "error"
    assert answer.status == 200 and answer.body.endswith(b"\n\n")
    last = answer.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert last == b"data: [DONE]" or last.startswith(b"event: error\n"), last
    assert answer.body.count(b"event: error") + answer.body.count(b"[DONE]") == 1
    return "ok" if last == b"data: [DONE]" else "error"
