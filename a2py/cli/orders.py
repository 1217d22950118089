"""Carry out the orders that a worker gets from its parent.

Knows: the orders (control.py), the server that carries them out. Must not know: the parent.
Invariants: orders are carried out one after the other. One that fails is logged, and the next is carried out.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from a2py.cli import control
from a2py.cli.control import LEFT, LOADED, Order, Worker
from a2py.evidence import message
from a2py.proxy.log import Log

if TYPE_CHECKING:
    from a2py.proxy.server import Server


class Orders:
    """`is_handed_over`: another a2py accepts from the same sockets. `announce`: prints what is served."""

    def __init__(self, worker: Worker, stop: asyncio.Event, at_once: asyncio.Event, log: Log) -> None:
        self.worker = worker
        self.stop = stop
        self.at_once = at_once
        self.log = log
        self.is_handed_over = False
        self.announce: Callable[[], None] = lambda: None
        self.tell_others: Callable[[message.ServerReport], None] = lambda report: None

    def begin(self, server: Server) -> asyncio.Future[None]:
        """Start to follow orders. Cancel the result to stop."""
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent gets it, too, and reads the file for all workers
        self.server = server
        server.set_leave_handler(self.leave_all)
        self.tell_others = server.services.discovery.on_report
        server.services.discovery.on_report = self.share
        return asyncio.ensure_future(self.follow())

    def join(self) -> None:
        """Let the other workers send messages to this one, which serves from now on."""
        worker = self.worker
        if worker.number is not None:
            self.server.services.join_workers(worker.number, worker.count, worker.post)

    def leave_all(self) -> None:
        """Leave rotation, and tell the parent, so that all other workers leave, too."""
        self.server.leave()
        self.worker.say(LEFT)

    def share(self, report: message.ServerReport) -> None:
        """Tell the parent what a server says of itself, so that all other workers learn it, and other processes."""
        self.tell_others(report)
        self.worker.report(message.encode(report))

    async def follow(self) -> None:
        async for order in self.worker.orders():
            if order.kind not in _ORDERS:
                continue  # a parent that is newer than this worker
            try:
                await getattr(self, _ORDERS[order.kind])(order)
            except Exception as error:  # the next order must still be carried out
                self.log.crash(error, "")

    async def configure(self, order: Order) -> None:
        if self.worker.has_same_version:
            config, _ = pickle.loads(order.payload)
            if config is not None:
                self.server.reload(lambda: config)
        else:
            self.log.warning("reload refused", error="a2py was updated while it was running: run a2py restart")
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

    async def ask(self, order: Order) -> None:
        self.server.services.ask_servers()

    async def learn(self, order: Order) -> None:
        report = message.decode(order.payload)
        if report is not None:
            self.server.services.discovery.take(report)

    async def receive(self, order: Order) -> None:
        self.server.services.bus.receive(order.payload)

    async def drain(self, order: Order) -> None:
        self.is_handed_over = bool(order.payload)
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
    control.ASK: "ask",
    control.LEARN: "learn",
    control.MAIL: "receive",
    control.DRAIN: "drain",
    control.NOW: "now",
}
