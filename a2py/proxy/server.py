"""The server's life: sockets, signals, reload, drain.

Knows: asyncio's servers, POSIX signals where there are any. Must not know: requests.
Invariants: a first SIGTERM or SIGINT takes the proxy out of rotation for `drain_delay`, then stops listening, closes idle connections and lets
running answers end (be read, too) within `drain_seconds`, then ends them with an error of their own form; a second one does so at once; no
connection that was accepted is lost; a configuration that can't be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from a2py.errors import ApiError
from a2py.proxy import files
from a2py.proxy.app import Proxy
from a2py.proxy.connection import FRESH_SECONDS, Connections
from a2py.proxy.log import Log

if TYPE_CHECKING:
    from a2py.config import Config

#: Seconds that interrupted answers get to write their error.
LAST_WORDS = 2.0
#: Turns of the loop after which every connection that was accepted, and every request that had arrived, has its handler. asyncio accepts in one
#: turn and makes the transport in a task of a later one.
SETTLE = 5
#: Connections that the kernel queues while the loop is busy.
BACKLOG = 1024


class Server:
    """One proxy on its sockets. `start`, then `drain` (or `close` at once)."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic, log: Log | None = None) -> None:
        self.proxy = Proxy(config, clock=clock, log=log)
        self._listening: list[asyncio.Server] = []
        self._borrowed: dict[int, asyncio.Server] = {}
        self._connections: Connections | None = None
        self._tls: ssl.SSLContext | None = None
        self._leave_time: float | None = None
        self._is_listening = True
        self.proxy.leave = self.leave

    async def start(
        self,
        host: str | None,
        port: int,
        *,
        sockets: Sequence[socket.socket] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        reuse_port: bool | None = None,
    ) -> list[Any]:
        """Listen; gives the addresses. `sockets`: listening already (systemd, a parent process), instead of host and port."""
        proxy = self.proxy
        await proxy.start()
        connections = self._connections = Connections(
            proxy.handle, buffer_limit=proxy.buffer_limit, max_connections=self._max_connections(proxy.config)
        )
        proxy.connections = connections
        self._tls = ssl_context
        loop = asyncio.get_running_loop()
        try:
            for sock in sockets or ():
                self._listening.append(await loop.create_server(connections, sock=sock, ssl=ssl_context, backlog=BACKLOG))
            if not sockets:
                own = await loop.create_server(connections, host, port, ssl=ssl_context, backlog=BACKLOG, reuse_port=reuse_port)
                self._listening.append(own)
        except BaseException:
            await self.close()
            raise
        return [sock.getsockname() for server in self._listening for sock in server.sockets]

    def reload(self, load: Callable[[], Config]) -> bool:
        """Take what `load` gives; whatever it raises is logged, and nothing changes."""
        try:
            config = load()
        except Exception as error:
            self.proxy.log.warning("reload refused", error=str(error) or type(error).__name__)
            return False
        self.proxy.reload(config)
        if self._connections is not None:
            self._connections.buffer_limit = self.proxy.buffer_limit
            self._connections.max_connections = self._max_connections(config)
        self.proxy.log.info("reloaded")
        return True

    def _max_connections(self, config: Config) -> int:
        """How many clients may be connected: as the configuration says, if there are descriptors for them."""
        wanted = config.settings.max_connections
        fit = files.fitting(wanted)
        if fit < wanted:
            self.proxy.log.warning("fewer connections than max_connections", wanted=wanted, served=fit, file_descriptors=files.limit())
        return fit

    async def lend(self, number: int, sock: socket.socket) -> None:
        """Accept from `sock` as well, a listening socket of another worker that has died, until `take_back(number)`."""
        if self._connections is None or not self._is_listening:
            sock.close()
            return
        server = await asyncio.get_running_loop().create_server(self._connections, sock=sock, ssl=self._tls, backlog=BACKLOG)
        if not self._is_listening or number in self._borrowed:
            await _stop_accepting([server])
        else:
            self._borrowed[number] = server

    async def take_back(self, number: int) -> None:
        """No longer accept from the socket that was lent under `number`; what was accepted from it stays."""
        server = self._borrowed.pop(number, None)
        if server is not None:
            await _stop_accepting([server])

    def leave(self) -> None:
        """Go out of rotation: readiness is 503 and every answer ends its connection. New connections are still accepted."""
        if self._leave_time is None:
            self._leave_time = asyncio.get_running_loop().time()
            self.proxy.draining = True
            if self._connections is not None:
                self._connections.is_leaving = True

    async def drain(self, at_once: asyncio.Event | None = None, *, handed_over: bool = False) -> None:
        """Leave; stop listening after `drain_delay`; let running answers end within `drain_seconds`, or until `at_once` is set; then close
        everything. `handed_over`: another process accepts from the same sockets already, so that nothing is gained by a delay."""
        proxy, connections = self.proxy, self._connections
        assert connections is not None
        self.leave()
        await self._delay(0.0 if handed_over else proxy.config.settings.drain_delay, at_once)
        await self._stop_listening(handed_over)
        connections.drain()
        seconds = proxy.config.settings.drain_seconds
        proxy.log.info("draining", answers=len(proxy.running), seconds=seconds)
        await self._idle(seconds, at_once)
        if proxy.running:
            error = ApiError("overloaded", "The proxy is shutting down; ask again", retry_after=1)
            for exchange in list(proxy.running):
                exchange.interrupt(error)
            await self._idle(LAST_WORDS, None)
        await self.close()

    async def _delay(self, seconds: float, at_once: asyncio.Event | None) -> None:
        """Wait until `seconds` after `leave`, or until `at_once` is set."""
        assert self._leave_time is not None
        left = self._leave_time + seconds - asyncio.get_running_loop().time()
        if left <= 0:
            return
        self.proxy.log.info("leaving", seconds=round(left, 1))
        try:
            await asyncio.wait_for((at_once or asyncio.Event()).wait(), left)
        except asyncio.TimeoutError:
            pass

    async def _idle(self, seconds: float, at_once: asyncio.Event | None) -> None:
        assert self._connections is not None
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._connections.quiet(self._tls is not None))]
        if at_once is not None:
            waits.append(asyncio.ensure_future(at_once.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _stop_listening(self, handed_over: bool = False) -> None:
        """Close the listening sockets, without losing a connection: neither one that asyncio has accepted, nor one that waits in the kernel.

        The sockets may be shared. With `handed_over` what still waits in the kernel is the successor's."""
        self._is_listening = False
        servers = [*self._listening, *self._borrowed.values()]
        self._listening.clear()
        self._borrowed.clear()
        copies = [] if handed_over else [copy for server in servers for copy in _copies(server)]
        await _stop_accepting(servers)
        rest = [connection for copy in copies for connection in _accept_rest(copy)]
        tasks = [asyncio.ensure_future(self._connected(connection)) for connection in rest]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=FRESH_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _connected(self, connection: socket.socket) -> None:
        """Serve a connection that was not accepted by asyncio."""
        assert self._connections is not None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._connections, connection, ssl=self._tls)
        except OSError:  # in TLS's handshake; its socket is closed
            pass

    async def close(self) -> None:
        for server in (*self._listening, *self._borrowed.values()):
            server.close()
        self._listening.clear()
        self._borrowed.clear()
        if self._connections is not None:
            await asyncio.sleep(0)  # what has been accepted gets its first step
            self._connections.pre_shutdown()
            await self._connections.shutdown(LAST_WORDS)
            self._connections = None
        await self.proxy.close()


def _copies(server: asyncio.Server) -> list[socket.socket]:
    """Duplicates of a server's listening sockets, which stay open when it is closed. None on Windows, whose loop accepts ahead."""
    if sys.platform == "win32":
        return []
    return [socket.socket(fileno=os.dup(sock.fileno())) for sock in server.sockets]


def _accept_rest(sock: socket.socket) -> list[socket.socket]:
    """The connections that wait at a listening socket, which is closed at once: that resets a client that connects in between."""
    connections: list[socket.socket] = []
    with sock:
        sock.setblocking(False)
        while len(connections) < BACKLOG:
            try:
                connections.append(sock.accept()[0])
            except OSError:
                break
    for connection in connections:
        connection.setblocking(False)
    return connections


async def _stop_accepting(servers: Sequence[asyncio.Server]) -> None:
    """Close `servers`. asyncio accepts a connection in one turn of the loop and makes its transport in a task of a later one, which asserts that
    the server is open (`Server._attach`, CPython 3.10 to 3.14): closed in between, the connection would be dropped, and its client sees a reset.
    So accepting ends first, then the tasks get their turns, and then the server is closed."""
    loop = asyncio.get_running_loop()
    for server in servers:
        for sock in server.sockets:
            try:
                loop.remove_reader(sock.fileno())
            except (NotImplementedError, RuntimeError):  # Windows' proactor, uvloop: both make the transport as they accept
                pass
    for _ in range(SETTLE):
        await asyncio.sleep(0)
    for server in servers:
        server.close()


async def serve(
    config: Config,
    host: str | None = "127.0.0.1",
    port: int = 4000,
    *,
    sockets: Sequence[socket.socket] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    reuse_port: bool | None = None,
    ready: Callable[[list[Any]], None] | None = None,
    reload: Callable[[], Config] | None = None,
    stop: asyncio.Event | None = None,
    at_once: asyncio.Event | None = None,
    signals: bool = True,
    draining: Callable[[], object] | None = None,
    on_start: Callable[[Server], None] | None = None,
    log: Log | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run until SIGTERM, SIGINT or `stop`, then drain until a second signal or `at_once`. `ready` gets the addresses once they listen;
    `reload` gives a new Config on SIGHUP; `draining` is called when the drain begins (systemd's STOPPING=1), and returns True if another
    process accepts from the same sockets already; `on_start` gets the server before `ready` is called. `signals` False: SIGTERM and SIGINT mean
    nothing (a worker, whose parent sets `stop` and `at_once`)."""
    server = Server(config, clock=clock, log=log)
    first = stop or asyncio.Event()
    second = at_once or asyncio.Event()

    def end() -> None:
        if signals:
            (second if first.is_set() else first).set()

    def again() -> None:
        if reload is not None:
            server.reload(reload)

    addresses = await server.start(host, port, sockets=sockets, ssl_context=ssl_context, reuse_port=reuse_port)
    restore = _signals(end, again if reload is not None else None)
    try:
        if on_start is not None:
            on_start(server)
        if ready is not None:
            ready(addresses)
        await first.wait()
        handed_over = draining is not None and draining() is True
        await server.drain(second, handed_over=handed_over)
    finally:
        restore()
        await server.close()


def _signals(end: Callable[[], None], again: Callable[[], None] | None) -> Callable[[], None]:
    """Handlers for SIGTERM, SIGINT and SIGHUP; gives what takes them away. Outside the main thread there are none."""
    loop = asyncio.get_running_loop()
    wanted: dict[int, Callable[[], None]] = {signal.SIGTERM: end, signal.SIGINT: end}
    if again is not None and hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = again
    undo: list[Callable[[], object]] = []
    for number, handler in wanted.items():
        try:
            loop.add_signal_handler(number, handler)
            undo.append(partial(loop.remove_signal_handler, number))
        except NotImplementedError:  # Windows
            old = signal.signal(number, partial(_soon, loop, handler))
            undo.append(partial(signal.signal, number, old))
        except (ValueError, RuntimeError):  # not the main thread
            break

    def restore() -> None:
        for step in undo:
            step()

    return restore


def _soon(loop: asyncio.AbstractEventLoop, handler: Callable[[], None], *_: object) -> None:
    loop.call_soon_threadsafe(handler)
