"""The protocol between the parent of `--num-workers` and a worker, over a pair of sockets.

The parent sends frames: one byte for the kind, four bytes for the payload's length (big-endian), the payload. LEND also
brings a descriptor. The worker sends single bytes, the words, and frames of two kinds, REPORT and MAIL.

Knows: frames, SCM_RIGHTS (unix(7)). Must not know: what a configuration holds, when a worker is started or stopped.
Invariants:
- Frames arrive complete and in order. It is not an error if the other end has gone.
- A worker reads a configuration only if its parent runs the same version of a2py: the bytes are a pickle of its
  classes.
- Of the configurations that wait to be sent, only the newest is kept, and so for what is known of one server.
- A frame is at most MAX_FRAME bytes long in the worker's direction. A worker whose parent reads nothing keeps at most
  twice that.
- MAIL, the messages between workers (proxy/bus.py), waits until everything else has been sent. At most MAX_MAIL bytes
  of it wait at each end; what does not fit is dropped. A parent sends it only to a worker that has sent some.
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

#: Variables: the descriptor of the worker's socket, the worker's number, how many workers there are, the version of
#: their parent.
CONTROL, NUMBER, COUNT, PARENT = "A2PY_CONTROL", "A2PY_WORKER", "A2PY_WORKERS", "A2PY_PARENT"
VERSION = f"{__version__} {sys.version}"
#: Parent to worker.
#: CONFIG: serve this configuration.
#: LEND: also accept from this listening socket, until TAKE. The payload is its number.
#: ANNOUNCE: print what is served.
#: LEAVE: go out of rotation.
#: DRAIN: stop listening, and end once no client waits for an answer. A payload means that another process already
#: accepts from the same sockets.
#: NOW: end at once.
#: ASK: ask private servers what they are, now and after a reload. One worker at a time has this task.
#: LEARN: what a server says of itself (evidence/message.py).
#: MAIL, in both directions: an envelope for another worker, or from one (proxy/bus.py).
CONFIG, LEND, TAKE, ANNOUNCE, LEAVE, DRAIN, NOW = b"c", b"+", b"-", b"a", b"l", b"d", b"n"
ASK, LEARN, MAIL = b"?", b"w", b"m"
#: Worker to parent. READY: it serves. ALIVE: a sign of life. LOADED: it serves the latest CONFIG. LEFT: a client asked
#: it to go out of rotation. REPORT, a frame like MAIL: what a server has said of itself.
READY, ALIVE, LOADED, LEFT, REPORT = b"r", b".", b"c", b"l", b"w"
#: Bytes of a worker's frame.
MAX_FRAME = 4 * 1024 * 1024
#: Bytes of mail that wait at one end: two of the longest messages.
MAX_MAIL = 17 * 1024 * 1024
#: Seconds between two signs of life, to the parent and, during a drain, to systemd.
BEAT = 5.0
_HEAD, _CHUNK = 5, 65536
#: The subject of configurations. It is no server's base.
_CONFIGURATION = "configuration"


class Order(NamedTuple):
    """One frame. `sock`: the socket of a LEND."""

    kind: bytes
    payload: bytes = b""
    sock: socket.socket | None = None


class _PendingFrame:
    """A frame that has not been sent completely."""

    __slots__ = ("data", "descriptor", "subject")

    def __init__(self, kind: bytes, payload: bytes, descriptor: int, subject: str) -> None:
        self.subject = subject  # a later frame with the same one makes this one useless
        self.data = memoryview(kind + len(payload).to_bytes(4, "big") + payload)
        self.descriptor = descriptor  # a duplicate, to be closed here, or -1


class Link:
    """The parent's end.

    Needs a running event loop. `pending_configs`: how many configurations the worker has not loaded yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.pending_configs = 0
        self._sending: _PendingFrame | None = None  # the kernel may have taken a part of it
        self._frames: deque[_PendingFrame] = deque()
        self._mail: deque[_PendingFrame] = deque()
        self._mail_size = 0
        self._partial_frame = bytearray()  # the beginning of a frame that has not arrived completely

    def send(self, kind: bytes, payload: bytes = b"", sock: socket.socket | None = None, *, subject: str = "") -> None:
        descriptor = os.dup(sock.fileno()) if sock is not None else -1
        self._frames.append(_PendingFrame(kind, payload, descriptor, subject))
        self._flush()

    def configure(self, config: bytes) -> None:
        """Send `config`. It replaces a configuration that waits to be sent."""
        self.pending_configs += 1 - self._forget(_CONFIGURATION)
        self.send(CONFIG, config, subject=_CONFIGURATION)

    def teach(self, base: str, payload: bytes) -> None:
        """Send what the server at `base` says of itself. It replaces what waits to be sent of that server."""
        self._forget(base)
        self.send(LEARN, payload, subject=base)

    def post(self, envelope: bytes) -> bool:
        """Send mail once there is nothing else to send. Return False if too much waits already."""
        if self._mail_size + len(envelope) > MAX_MAIL:
            return False
        self._mail.append(_PendingFrame(MAIL, envelope, -1, ""))
        self._mail_size += len(envelope)
        self._flush()
        return True

    def _forget(self, subject: str) -> int:
        """Drop the frames about `subject` that wait to be sent, and return how many there were."""
        useless = [frame for frame in self._frames if frame.subject == subject]
        for frame in useless:
            self._frames.remove(frame)
        return len(useless)

    def split(self, data: bytes) -> tuple[bytes, list[Order]]:
        """Return the words in `data`, which has just arrived, and the frames that are complete by now.

        Raise ValueError for a frame that is too long: nothing after it can be understood."""
        buffer, words, frames, at = self._partial_frame, bytearray(), [], 0
        buffer += data
        while at < len(buffer):
            kind = bytes(buffer[at : at + 1])
            if kind not in (REPORT, MAIL):
                words += kind
                at += 1
                continue
            begin = at + _HEAD
            length = int.from_bytes(buffer[at + 1 : begin], "big") if len(buffer) >= begin else 0
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(buffer) < begin + length or len(buffer) < begin:
                break
            frames.append(Order(kind, bytes(buffer[begin : begin + length])))
            at = begin + length
        del buffer[:at]
        return bytes(words), frames

    def count_loaded(self, count: int) -> None:
        """Record that the worker has loaded `count` configurations."""
        self.pending_configs = max(0, self.pending_configs - count)

    def _next(self) -> _PendingFrame | None:
        """Return the frame to send now, None if there is none."""
        if self._sending is None:
            if self._frames:
                self._sending = self._frames.popleft()
            elif self._mail:
                self._sending = self._mail.popleft()
                self._mail_size -= len(self._sending.data) - _HEAD
        return self._sending

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while (frame := self._next()) is not None:
            try:
                if frame.descriptor >= 0:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [frame.descriptor]))]
                    count = self.sock.sendmsg([frame.data], rights)
                    os.close(frame.descriptor)
                    frame.descriptor = -1
                else:
                    count = self.sock.send(frame.data)
            except BlockingIOError:
                loop.add_writer(self.sock, self._flush)
                return
            except OSError:  # the worker has died
                self._drop()
                break
            frame.data = frame.data[count:]
            if not frame.data:
                self._sending = None
        loop.remove_writer(self.sock)

    def _drop(self) -> None:
        while (frame := self._next()) is not None:
            self._sending = None
            if frame.descriptor >= 0:
                os.close(frame.descriptor)

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self.sock)
        self._drop()
        self.pending_configs = 0
        self.sock.close()


class Worker:
    """The worker's end. If `number` is None, this process is not a worker, and the methods do nothing."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.number = int(env[NUMBER]) if env.get(NUMBER, "").isdigit() else None
        self.count = int(env[COUNT]) if env.get(COUNT, "").isdigit() else 1
        self.has_same_version = env.get(PARENT) == VERSION
        self._control = socket.socket(fileno=int(env[CONTROL])) if env.get(CONTROL, "").isdigit() else None
        self._data = b""
        self._unsent = bytearray()  # frames, and the words after them
        self._mail: deque[bytes] = deque()  # frames to send after those
        self._mail_size = 0
        self._sockets: deque[socket.socket] = deque()
        if self._control is not None:
            self._control.setblocking(True)
            os.set_inheritable(self._control.fileno(), False)

    def configuration(self) -> bytes | None:
        """Wait for the parent's first order, a CONFIG, and return its payload. Raise EOFError if the parent has died.

        None: this process must read the configuration itself."""
        if self._control is None or not self.has_same_version:
            return None
        while (order := self._order()) is None:
            if not self._receive():
                raise EOFError
        return order.payload

    def say(self, word: bytes) -> None:
        """Send a word to the parent. Words do not overtake frames; a sign of life is not worth waiting for."""
        if self._unsent:
            self._unsent += word if word != ALIVE else b""
        else:
            self._send(word)

    def report(self, payload: bytes) -> None:
        """Send what was learned of a server to the parent, unless that runs another version or has read nothing for
        long. Needs a running event loop."""
        if self.has_same_version and len(payload) <= MAX_FRAME and len(self._unsent) <= MAX_FRAME:
            self._unsent += REPORT + len(payload).to_bytes(4, "big") + payload
            self._flush()

    def post(self, envelopes: list[bytes]) -> bool:
        """Send the envelopes of one message to the parent once there is nothing else to send. Return False if too much
        waits already, or the parent runs another version: then none is sent. Needs a running event loop."""
        size = sum(map(len, envelopes))
        if not self.has_same_version or self._control is None or self._mail_size + size > MAX_MAIL:
            return False
        self._mail += (MAIL + len(envelope).to_bytes(4, "big") + envelope for envelope in envelopes)
        self._mail_size += size
        self._flush()
        return True

    def _flush(self) -> None:
        while self._unsent or self._mail:
            if not self._unsent:
                self._unsent += self._mail.popleft()
                self._mail_size -= len(self._unsent) - _HEAD
            del self._unsent[: self._send(self._unsent)]
            if self._unsent:
                break
        if self._control is not None:
            loop = asyncio.get_running_loop()
            loop.remove_writer(self._control)
            if self._unsent:
                loop.add_writer(self._control, self._flush)

    def _send(self, data: bytes | bytearray) -> int:
        """Return how many bytes of `data` are done with: sent, or in vain because the parent has died."""
        if self._control is None:
            return len(data)
        try:
            return self._control.send(data, getattr(socket, "MSG_DONTWAIT", 0))
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    async def beat(self) -> None:
        """Send a sign of life every BEAT seconds."""
        while self._control is not None:
            await asyncio.sleep(BEAT)
            self.say(ALIVE)

    async def orders(self) -> AsyncIterator[Order]:
        """Yield the parent's orders. Its death is a DRAIN, and the last order."""
        while self._control is not None:
            while (order := self._order()) is not None:
                yield order
            await _wait_readable(self._control)
            if not self._receive():
                yield Order(DRAIN)
                return

    def _receive(self) -> bool:
        """Read what has arrived. Return False if the parent has died."""
        assert self._control is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _CHUNK, 16)
        except OSError:
            data, descriptors = b"", []
        self._data += data
        self._sockets.extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
        return bool(data)

    def _order(self) -> Order | None:
        """Return the next order, None if it has not arrived completely."""
        end = _HEAD + int.from_bytes(self._data[1:_HEAD], "big")
        if len(self._data) < max(end, _HEAD):
            return None
        kind, payload, self._data = self._data[:1], self._data[_HEAD:end], self._data[end:]
        return Order(kind, payload, self._sockets.popleft() if kind == LEND and self._sockets else None)

    def close(self) -> None:
        if self._control is not None:
            if self._unsent:
                asyncio.get_running_loop().remove_writer(self._control)
            self._control.close()
            self._control = None
        while self._sockets:
            self._sockets.popleft().close()


async def _wait_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    is_ready = asyncio.Event()
    loop.add_reader(sock, is_ready.set)
    try:
        await is_ready.wait()
    finally:
        loop.remove_reader(sock)
