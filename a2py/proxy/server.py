"""The server's life: sockets, signals, reload, drain.

Knows: asyncio's servers, POSIX signals where there are any. Must not know: requests.
Invariants: a first SIGTERM or SIGINT stops listening, closes idle connections and lets running answers end within `drain_seconds`, then
ends them with an error of their own form; a second one does so at once; a configuration that can't be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from a2py.errors import ApiError
from a2py.proxy import files
from a2py.proxy.app import Proxy
from a2py.proxy.border import Border
from a2py.proxy.log import Log

if TYPE_CHECKING:
    from a2py.config import Config

#: Seconds that interrupted answers get to write their error.
LAST_WORDS = 2.0
#: Turns of the loop after which every connection that was accepted, and every request that had arrived, has its handler.
SETTLE = 5
#: Connections that the kernel queues while the loop is busy.
BACKLOG = 1024


class Server:
    """One proxy on its sockets. `start`, then `drain` (or `close` at once)."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic, log: Log | None = None) -> None:
        self.proxy = Proxy(config, clock=clock, log=log)
        self._listening: list[asyncio.Server] = []
        self._border: Border | None = None

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
        border = self._border = Border(proxy.handle, buffer_limit=proxy.buffer_limit, max_connections=self._connections(proxy.config))
        proxy.border = border
        loop = asyncio.get_running_loop()
        try:
            for sock in sockets or ():
                self._listening.append(await loop.create_server(border, sock=sock, ssl=ssl_context, backlog=BACKLOG))
            if not sockets:
                own = await loop.create_server(border, host, port, ssl=ssl_context, backlog=BACKLOG, reuse_port=reuse_port)
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
        if self._border is not None:
            self._border.buffer_limit = self.proxy.buffer_limit
            self._border.max_connections = self._connections(config)
        self.proxy.log.info("reloaded")
        return True

    def _connections(self, config: Config) -> int:
        """How many clients may be connected: as the configuration says, if there are descriptors for them."""
        wanted = config.settings.max_connections
        fit = files.fitting(wanted)
        if fit < wanted:
            self.proxy.log.warning("fewer connections than max_connections", wanted=wanted, served=fit, file_descriptors=files.limit())
        return fit

    async def drain(self, at_once: asyncio.Event | None = None) -> None:
        """No new connections; running answers may end within `drain_seconds`, or until `at_once` is set; then everything is closed."""
        proxy, border = self.proxy, self._border
        assert border is not None
        proxy.draining = True
        self._deaf()
        for _ in range(SETTLE):
            await asyncio.sleep(0)
        border.drain()
        seconds = proxy.config.settings.drain_seconds
        proxy.log.info("draining", answers=len(proxy.running), seconds=seconds)
        await self._idle(seconds, at_once)
        if proxy.running:
            error = ApiError("overloaded", "The proxy is shutting down; ask again", retry_after=1)
            for exchange in list(proxy.running):
                exchange.interrupt(error)
            await self._idle(LAST_WORDS, None)
        await self.close()

    async def _idle(self, seconds: float, at_once: asyncio.Event | None) -> None:
        assert self._border is not None
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._border.quiet())]
        if at_once is not None:
            waits.append(asyncio.ensure_future(at_once.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _deaf(self) -> None:
        while self._listening:
            self._listening.pop().close()

    async def close(self) -> None:
        self._deaf()
        if self._border is not None:
            await asyncio.sleep(0)  # what has been accepted gets its first step
            self._border.pre_shutdown()
            await self._border.shutdown(LAST_WORDS)
            self._border = None
        await self.proxy.close()


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
    draining: Callable[[], None] | None = None,
    log: Log | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run until SIGTERM, SIGINT or `stop`, then drain until a second signal or `at_once`. `ready` gets the addresses once they listen;
    `reload` gives a new Config on SIGHUP; `draining` is told when the drain begins (systemd's STOPPING=1). `signals` False: SIGTERM and
    SIGINT mean nothing (a worker, whose parent sets `stop` and `at_once`)."""
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
        if ready is not None:
            ready(addresses)
        await first.wait()
        if draining is not None:
            draining()
        await server.drain(second)
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
