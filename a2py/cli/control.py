"""The pair of sockets between the parent of `--num-workers` and one worker: what they say to each other.

Knows: frames, SCM_RIGHTS (unix(7)). Must not know: what a configuration holds, when a worker is started or stopped.
Invariants: frames arrive whole and in order; an end that has gone is no failure; a worker reads a configuration only if its parent runs the
same version of a2py, since the bytes are a pickle of its classes; of configurations that wait to be sent only the newest is kept.

To the worker: one byte that says what, the payload's length in 4 bytes (big-endian), the payload; LEND brings a descriptor. To the parent: one
byte each.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from a2py import __version__

#: The worker's end of the pair; the worker's number; the version of its parent.
CONTROL, NUMBER, PARENT = "A2PY_CONTROL", "A2PY_WORKER", "A2PY_PARENT"
VERSION = f"{__version__} {sys.version}"
#: Parent to worker. CONFIG: serve this. LEND: accept from this listening socket too, until TAKE; the payload is its number. ANNOUNCE: print what
#: is served. LEAVE: go out of rotation. DRAIN: stop listening and end once nobody waits for an answer; with a payload another process accepts
#: from the same sockets already. NOW: end.
CONFIG, LEND, TAKE, ANNOUNCE, LEAVE, DRAIN, NOW = b"c", b"+", b"-", b"a", b"l", b"d", b"n"
#: Worker to parent. LOADED: the CONFIG is served. LEFT: somebody asked this worker to go out of rotation.
READY, ALIVE, LOADED, LEFT = b"r", b".", b"c", b"l"
#: Seconds between two signs of life, here and towards systemd where it asks for none.
BEAT = 5.0
_HEAD, _CHUNK = 5, 65536


class Order(NamedTuple):
    """One frame; `sock`: what LEND brought."""

    kind: bytes
    payload: bytes = b""
    sock: socket.socket | None = None


class _Waiting:
    """A frame of which a part is still to be sent."""

    __slots__ = ("data", "descriptor", "kind")

    def __init__(self, kind: bytes, payload: bytes, descriptor: int) -> None:
        self.kind = kind
        self.data = memoryview(kind + len(payload).to_bytes(4, "big") + payload)
        self.descriptor = descriptor  # a copy of ours, or -1


class Link:
    """The parent's end. Needs a running loop. `unloaded`: configurations that the worker has not loaded yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.unloaded = 0
        self._out: deque[_Waiting] = deque()

    def send(self, kind: bytes, payload: bytes = b"", sock: socket.socket | None = None) -> None:
        self._out.append(_Waiting(kind, payload, os.dup(sock.fileno()) if sock is not None else -1))
        self._flush()

    def configure(self, config: bytes) -> None:
        """Send `config`, in the place of one that has not begun to go out."""
        for frame in list(self._out)[1:]:
            if frame.kind == CONFIG:
                self._out.remove(frame)
                self.unloaded -= 1
        self.unloaded += 1
        self.send(CONFIG, config)

    def count_loaded(self, count: int) -> None:
        """Record that the worker has loaded as many configurations."""
        self.unloaded = max(0, self.unloaded - count)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._out:
            frame = self._out[0]
            try:
                if frame.descriptor >= 0:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [frame.descriptor]))]
                    sent = self.sock.sendmsg([frame.data], rights)
                    os.close(frame.descriptor)
                    frame.descriptor = -1
                else:
                    sent = self.sock.send(frame.data)
            except BlockingIOError:
                loop.add_writer(self.sock, self._flush)
                return
            except OSError:  # the worker has gone
                self._drop()
                break
            frame.data = frame.data[sent:]
            if not frame.data:
                self._out.popleft()
        loop.remove_writer(self.sock)

    def _drop(self) -> None:
        while self._out:
            descriptor = self._out.popleft().descriptor
            if descriptor >= 0:
                os.close(descriptor)

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self.sock)
        self._drop()
        self.unloaded = 0
        self.sock.close()


class Worker:
    """The worker's end. `number` None: this process is no worker, and nothing here does anything."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.number = int(env[NUMBER]) if env.get(NUMBER, "").isdigit() else None
        self.has_same_version = env.get(PARENT) == VERSION
        self._control = socket.socket(fileno=int(env[CONTROL])) if env.get(CONTROL, "").isdigit() else None
        self._data = b""
        self._sockets: deque[socket.socket] = deque()
        if self._control is not None:
            self._control.setblocking(True)
            os.set_inheritable(self._control.fileno(), False)

    def configuration(self) -> bytes | None:
        """Wait for the parent's first order, a CONFIG, and return its payload. None: this process has to read the configuration for itself.
        EOFError: the parent has gone."""
        if self._control is None or not self.has_same_version:
            return None
        while (order := self._order()) is None:
            if not self._receive():
                raise EOFError
        return order.payload

    def say(self, word: bytes) -> None:
        if self._control is not None:
            try:
                self._control.send(word, getattr(socket, "MSG_DONTWAIT", 0))
            except OSError:
                pass

    async def beat(self) -> None:
        while self._control is not None:
            await asyncio.sleep(BEAT)
            self.say(ALIVE)

    async def orders(self) -> AsyncIterator[Order]:
        """What the parent says, in order; its death is a DRAIN, and the last."""
        while self._control is not None:
            while (order := self._order()) is not None:
                yield order
            await self._readable(self._control)
            if not self._receive():
                yield Order(DRAIN)
                return

    async def _readable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(sock, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(sock)

    def _receive(self) -> bool:
        """Take what has arrived; False: the parent has gone."""
        assert self._control is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _CHUNK, 16)
        except OSError:
            data, descriptors = b"", []
        self._data += data
        self._sockets.extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
        return bool(data)

    def _order(self) -> Order | None:
        end = _HEAD + int.from_bytes(self._data[1:_HEAD], "big")
        if len(self._data) < max(end, _HEAD):
            return None
        kind, payload, self._data = self._data[:1], self._data[_HEAD:end], self._data[end:]
        return Order(kind, payload, self._sockets.popleft() if kind == LEND and self._sockets else None)

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        while self._sockets:
            self._sockets.popleft().close()
