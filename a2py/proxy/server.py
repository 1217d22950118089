"""The server's life: sockets, signals, reload, drain.

Knows: asyncio's servers, POSIX signals where there are any. Must not know: requests.
Invariants: the first SIGTERM or SIGINT takes the proxy out of rotation for `drain_delay`; then it stops listening,
closes idle connections and gives running answers `drain_seconds` to end and to be read; then it ends them with an error
of their own form. A second signal skips to the last step. No connection that was accepted is lost. A configuration that
cannot be loaded changes nothing.
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
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from a2py.errors import ApiError
from a2py.proxy import files
from a2py.proxy.app import Proxy
from a2py.proxy.connections import Connections
from a2py.proxy.log import Log
from a2py.proxy.services import Services
from a2py.proxy.share import WHOLE, Share
from a2py.proxy.timeouts import Timeouts

if TYPE_CHECKING:
    from a2py.config import Config

#: Seconds that interrupted answers get to write their error.
LAST_WORDS = 2.0
#: Turns of the loop after which every connection that was accepted, and every request that had arrived, has its
#: handler. asyncio accepts in one turn and makes the transport in a task of a later one.
SETTLE_TURNS = 5
#: Connections that the kernel queues while the loop is busy.
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. `sockets`: listening already (systemd, a parent process), used instead of host and port;
    `ssl_context`: for https; `reuse_port`: several processes share the port."""

    host: str | None = "127.0.0.1"
    port: int = 4000
    sockets: Sequence[socket.socket] = ()
    ssl_context: ssl.SSLContext | None = None
    reuse_port: bool | None = None


@dataclass(slots=True)
class Lifecycle:
    """When a server ends, and who is told about it.

    `stop`: begin to drain; `at_once`: end the drain; `signals`: SIGTERM and SIGINT set these two (a worker does not
    want that: its parent sets them); `on_start` gets the server before `on_ready` gets the addresses; `on_drain` is
    called when the drain begins (systemd's STOPPING=1), and returns True if another process accepts from the same
    sockets already; `load` returns a new Config on SIGHUP; `asks_servers`: ask private servers at the start what they
    are (a worker waits until its parent says so); `share`: this process's part of each limit."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: asyncio.Event = field(default_factory=asyncio.Event)
    signals: bool = True
    on_start: Callable[[Server], None] | None = None
    on_ready: Callable[[list[Any]], None] | None = None
    on_drain: Callable[[], object] | None = None
    load: Callable[[], Config] | None = None
    asks_servers: bool = True
    share: Share = WHOLE


class Server:
    """One proxy on its sockets. Call `start`, then `drain`, or `close` to end at once."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        log: Log | None = None,
        timeouts: Timeouts | None = None,
        ledger: str = "",
    ) -> None:
        self.services = Services(
            config, clock=clock, log=log, timeouts=timeouts, leave=self._on_leave_request, ledger=ledger
        )
        self._leave_handler: Callable[[], None] = self.leave
        self._listening: list[asyncio.Server] = []
        self._loans: dict[int, asyncio.Server] = {}
        self._connections: Connections | None = None
        self._tls: ssl.SSLContext | None = None
        self._leave_time: float | None = None
        self._is_listening = True

    async def start(self, listen: Listen) -> list[Any]:
        """Listen. Return the addresses."""
        services = self.services
        await services.start()
        connections = self._connections = services.connections = Connections(
            Proxy(services).handle,
            buffer_limit=services.config.settings.buffer_kb * 1024,
            max_connections=self._max_connections(services.config),
            timeouts=services.timeouts,
        )
        tls = self._tls = listen.ssl_context
        loop = asyncio.get_running_loop()
        try:
            for sock in listen.sockets:
                self._listening.append(await loop.create_server(connections, sock=sock, ssl=tls, backlog=BACKLOG))
            if not listen.sockets:
                server = await loop.create_server(
                    connections, listen.host, listen.port, ssl=tls, backlog=BACKLOG, reuse_port=listen.reuse_port
                )
                self._listening.append(server)
        except BaseException:
            await self.close()
            raise
        return [sock.getsockname() for server in self._listening for sock in server.sockets]

    def reload(self, load: Callable[[], Config]) -> bool:
        """Use the configuration that `load` returns. If it raises, log that, change nothing and return False."""
        services = self.services
        try:
            config = load()
        except Exception as error:
            services.log.warning("reload refused", error=str(error) or type(error).__name__)
            return False
        services.reload(config)
        if self._connections is not None:
            self._connections.buffer_limit = config.settings.buffer_kb * 1024
            self._connections.max_connections = self._max_connections(config)
        services.log.info("reloaded")
        return True

    def _max_connections(self, config: Config) -> int:
        """Return how many clients may be connected: as many as the configuration says, if there are file descriptors
        for them."""
        limit = config.settings.max_connections
        possible = files.fit_connections(limit)
        if possible < limit:
            self.services.log.warning(
                "fewer connections than max_connections", wanted=limit, served=possible, file_descriptors=files.limit()
            )
        return possible

    async def lend(self, number: int, sock: socket.socket) -> None:
        """Accept from `sock` too, until `take_back(number)`. It is the listening socket of another worker, which has
        died."""
        if self._connections is None or not self._is_listening:
            sock.close()
            return
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connections, sock=sock, ssl=self._tls, backlog=BACKLOG)
        if not self._is_listening or number in self._loans:
            await _stop_accepting([server])
        else:
            self._loans[number] = server

    async def take_back(self, number: int) -> None:
        """No longer accept from the socket that was lent under `number`. What was accepted from it stays."""
        server = self._loans.pop(number, None)
        if server is not None:
            await _stop_accepting([server])

    def leave(self) -> None:
        """Go out of rotation: readiness is 503 and every answer ends its connection. New connections are still
        accepted."""
        if self._leave_time is None:
            self._leave_time = asyncio.get_running_loop().time()
            self.services.running.is_draining = True
            if self._connections is not None:
                self._connections.is_leaving = True

    def set_leave_handler(self, handler: Callable[[], None]) -> None:
        """Call `handler` instead of `leave` when a client asks to take the proxy out of rotation: a worker tells its
        parent first."""
        self._leave_handler = handler

    def _on_leave_request(self) -> None:
        self._leave_handler()

    async def drain(self, at_once: asyncio.Event | None = None, *, handed_over: bool = False) -> None:
        """Leave; stop listening after `drain_delay`; let running answers end within `drain_seconds`, or until `at_once`
        is set; then close everything.

        `handed_over`: another process accepts from the same sockets already, so that a delay is of no use."""
        connections, log = self._connections, self.services.log
        running, settings = self.services.running, self.services.config.settings
        assert connections is not None
        self.leave()
        await self._delay(0.0 if handed_over else settings.drain_delay, at_once)
        await self._stop_listening(handed_over)
        connections.drain()
        log.info("draining", answers=len(running.exchanges), seconds=settings.drain_seconds)
        await self._wait_until_quiet(settings.drain_seconds, at_once)
        if running.exchanges:
            error = ApiError("overloaded", "The proxy is shutting down; ask again", retry_after=1)
            for exchange in list(running.exchanges):
                exchange.interrupt(error)
            await self._wait_until_quiet(LAST_WORDS, None)
        await self.close()

    async def _delay(self, seconds: float, at_once: asyncio.Event | None) -> None:
        """Wait until `seconds` after `leave`, or until `at_once` is set."""
        assert self._leave_time is not None
        remaining_seconds = self._leave_time + seconds - asyncio.get_running_loop().time()
        if remaining_seconds <= 0:
            return
        self.services.log.info("leaving", seconds=round(remaining_seconds, 1))
        try:
            await asyncio.wait_for((at_once or asyncio.Event()).wait(), remaining_seconds)
        except asyncio.TimeoutError:
            pass

    async def _wait_until_quiet(self, seconds: float, at_once: asyncio.Event | None) -> None:
        """Wait until nothing is owed to any client, at most `seconds`, or until `at_once` is set."""
        assert self._connections is not None
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._connections.wait_until_quiet(self._tls is not None))
        ]
        if at_once is not None:
            waits.append(asyncio.ensure_future(at_once.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _stop_listening(self, handed_over: bool = False) -> None:
        """Close the listening sockets without losing a connection: neither one that asyncio has accepted, nor one that
        the kernel has queued.

        The sockets may be shared with other processes. With `handed_over`, what the kernel has queued is for the
        successor."""
        self._is_listening = False
        servers = [*self._listening, *self._loans.values()]
        self._listening.clear()
        self._loans.clear()
        copies = [] if handed_over else [copy for server in servers for copy in _copy_sockets(server)]
        await _stop_accepting(servers)
        connections = [connection for copy in copies for connection in _accept_queued(copy)]
        tasks = [asyncio.ensure_future(self._serve_accepted(connection)) for connection in connections]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self.services.timeouts.fresh)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve_accepted(self, connection: socket.socket) -> None:
        """Serve a connection that was not accepted by asyncio."""
        assert self._connections is not None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._connections, connection, ssl=self._tls)
        except OSError:  # in TLS's handshake; its socket is closed
            pass

    async def close(self) -> None:
        """Close sockets and connections at once."""
        for server in (*self._listening, *self._loans.values()):
            server.close()
        self._listening.clear()
        self._loans.clear()
        if self._connections is not None:
            await asyncio.sleep(0)  # what has been accepted gets its first step
            self._connections.pre_shutdown()
            await self._connections.shutdown(LAST_WORDS)
            self._connections = None
        await self.services.close()


def _copy_sockets(server: asyncio.Server) -> list[socket.socket]:
    """Return duplicates of a server's listening sockets, which stay open when it is closed. None on Windows, whose loop
    accepts ahead."""
    if sys.platform == "win32":
        return []
    return [socket.socket(fileno=os.dup(sock.fileno())) for sock in server.sockets]


def _accept_queued(sock: socket.socket) -> list[socket.socket]:
    """Return the connections that wait at a listening socket, and close it.

    It is closed right after the last `accept`. A client that connects in between is reset by the kernel."""
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
    """Close `servers` without dropping a connection that asyncio has just accepted.

    asyncio accepts a connection in one turn of the loop, and makes its transport in a task of a later turn. That task
    asserts that the server is open (`Server._attach`, CPython 3.10 to 3.14). If the server is closed in between, the
    assertion drops the connection, and its client sees a reset. So accepting ends first, then the tasks get their
    turns, and then the server is closed."""
    loop = asyncio.get_running_loop()
    for server in servers:
        for sock in server.sockets:
            try:
                loop.remove_reader(sock.fileno())
            except (
                NotImplementedError,
                RuntimeError,
            ):  # Windows' proactor, uvloop: both make the transport as they accept
                pass
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
    for server in servers:
        server.close()


async def serve(
    config: Config,
    listen: Listen | None = None,
    life: Lifecycle | None = None,
    *,
    log: Log | None = None,
    clock: Callable[[], float] = time.monotonic,
    timeouts: Timeouts | None = None,
    ledger: str = "",
) -> None:
    """Serve until SIGTERM, SIGINT or `life.stop`, then drain until a second signal or `life.at_once`."""
    life = life or Lifecycle()
    load, stop, at_once = life.load, life.stop, life.at_once
    server = Server(config, clock=clock, log=log, timeouts=timeouts, ledger=ledger)
    server.services.discovery.is_asker = life.asks_servers
    server.services.limits.divide(life.share)

    def on_end_signal() -> None:
        (at_once if stop.is_set() else stop).set()

    def on_reload_signal() -> None:
        if load is not None:
            server.reload(load)

    handlers: dict[int, Callable[[], None]] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handlers[number] = on_end_signal if life.signals else _ignore
    if load is not None and hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = on_reload_signal
    addresses = await server.start(listen or Listen())
    restore_signals = _handle_signals(handlers)
    try:
        if life.on_start is not None:
            life.on_start(server)
        if life.on_ready is not None:
            life.on_ready(addresses)
        await stop.wait()
        handed_over = life.on_drain is not None and life.on_drain() is True
        await server.drain(at_once, handed_over=handed_over)
    finally:
        restore_signals()
        await server.close()


def _ignore() -> None:
    pass


def _handle_signals(handlers: dict[int, Callable[[], None]]) -> Callable[[], None]:
    """Install `handlers` by signal number. Return a function that removes them. Outside of the main thread none can be
    installed."""
    loop = asyncio.get_running_loop()
    undo: list[Callable[[], object]] = []
    for number, handler in handlers.items():
        try:
            loop.add_signal_handler(number, handler)
            undo.append(partial(loop.remove_signal_handler, number))
        except NotImplementedError:  # Windows
            old = signal.signal(number, partial(_call_soon, loop, handler))
            undo.append(partial(signal.signal, number, old))
        except (ValueError, RuntimeError):  # not the main thread
            break

    def restore() -> None:
        for step in undo:
            step()

    return restore


def _call_soon(loop: asyncio.AbstractEventLoop, handler: Callable[[], None], *_: object) -> None:
    """Call `handler` in the loop. `_`: what Python passes to a signal handler, which runs between any two bytecodes."""
    loop.call_soon_threadsafe(handler)
