"""What a worker does at each word of its parent.

Knows: the words (control.py), the server that obeys. Must not know: the parent.
Invariants: orders are obeyed one after the other; one that fails is logged, and the next is obeyed.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from a2py.cli import control
from a2py.cli.control import LEFT, LOADED, Order, Worker
from a2py.proxy.log import Log

if TYPE_CHECKING:
    from a2py.proxy.server import Server


class Orders:
    """A worker obeys its parent. `handed_over`: a process of a later start accepts from the same sockets."""

    def __init__(self, worker: Worker, stop: asyncio.Event, at_once: asyncio.Event, log: Log) -> None:
        self.worker = worker
        self.stop = stop
        self.at_once = at_once
        self.log = log
        self.handed_over = False
        self.announce: Callable[[], None] = lambda: None

    def begin(self, server: Server) -> asyncio.Future[None]:
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent gets it too, and reads the file for all
        self.server = server
        server.set_leave_handler(self.leave_all)
        return asyncio.ensure_future(self.follow())

    def leave_all(self) -> None:
        """Somebody asked this worker to go out of rotation: it does, and through the parent all others do."""
        self.server.leave()
        self.worker.say(LEFT)

    async def follow(self) -> None:
        async for order in self.worker.orders():
            try:
                await getattr(self, _ORDERS[order.kind])(order)
            except Exception as error:  # one that can't be obeyed must not make this worker deaf to the next
                self.log.crash(error, "")

    async def configure(self, order: Order) -> None:
        if self.worker.has_same_version:
            config, _ = pickle.loads(order.payload)
            if config is not None:
                self.server.reload(lambda: config)
        else:
            self.log.warning("reload refused", error="a2py was replaced while it ran: a2py restart")
        self.worker.say(LOADED)

    async def lend(self, order: Order) -> None:
        if order.sock is not None:
            order.sock.setblocking(False)
            await self.server.lend(int.from_bytes(order.payload, "big"), order.sock)

    async def take(self, order: Order) -> None:
        await self.server.take_back(int.from_bytes(order.payload, "big"))

    async def announce_now(self, order: Order) -> None:
        self.announce()

    async def leave(self, order: Order) -> None:
        self.server.leave()

    async def drain(self, order: Order) -> None:
        self.handed_over = bool(order.payload)
        self.stop.set()

    async def now(self, order: Order) -> None:
        self.stop.set()
        self.at_once.set()


_ORDERS = {
    control.CONFIG: "configure",
    control.LEND: "lend",
    control.TAKE: "take",
    control.ANNOUNCE: "announce_now",
    control.LEAVE: "leave",
    control.DRAIN: "drain",
    control.NOW: "now",
}
