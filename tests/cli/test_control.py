"""The pair of sockets between the parent and a worker."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from a2py.cli import control
from a2py.cli.control import Order, Worker
from tests.commands import LIMIT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[control.Link, Worker]]:
    here, there = socket.socketpair()
    link = control.Link(here)
    worker = Worker({control.NUMBER: "4", control.CONTROL: str(there.detach()), control.PARENT: control.VERSION})
    try:
        yield link, worker
    finally:
        link.close()
        worker.close()


async def taken(worker: Worker, count: int) -> list[Order]:
    orders = worker.orders()
    out = [await asyncio.wait_for(orders.__anext__(), LIMIT) for _ in range(count)]
    await orders.aclose()  # type: ignore[attr-defined]
    return out


async def test_orders_arrive_whole_and_in_order() -> None:
    """Also those that are larger than what the kernel holds; a socket comes with its own order."""
    large = os.urandom(3 << 20)
    async with pair() as (link, worker):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            link.send(control.CONFIG, b"first")
            assert worker.configuration() == b"first" and worker.number == 4
            link.configure(large)
            link.send(control.LEND, b"\0\0\0\1", one)
            link.send(control.LEND, b"\0\0\0\2", two)
            link.send(control.DRAIN)
            ports = [one.getsockname()[1], two.getsockname()[1]]
        seen = await taken(worker, 4)
        assert seen[0] == Order(control.CONFIG, large) and [order.kind for order in seen[1:]] == [
            control.LEND,
            control.LEND,
            control.DRAIN,
        ]
        assert [int.from_bytes(order.payload, "big") for order in seen[1:3]] == [1, 2]
        for order, port in zip(seen[1:3], ports, strict=True):
            assert order.sock is not None and order.sock.getsockname()[1] == port
            order.sock.close()
        worker.say(control.LOADED)
        assert link.unloaded == 1 and await asyncio.get_running_loop().sock_recv(link.sock, 8) == control.LOADED
        link.count_loaded(5)
        assert link.unloaded == 0


async def test_of_configurations_that_wait_the_newest_is_kept() -> None:
    """300 reloads do not fill the memory for a worker that reads none of them."""
    async with pair() as (link, worker):
        configs = [bytes([n]) * (1 << 20) for n in range(1, 20)]
        for config in configs:
            link.configure(config)
        link.send(control.DRAIN)
        assert len(link._frames) <= 3 and link.unloaded == 2
        seen = await taken(worker, 3)
        assert [order.payload[:1] for order in seen] == [b"\x01", b"\x13", b""] and seen[2].kind == control.DRAIN


async def test_an_end_that_has_gone_is_no_failure() -> None:
    async with pair() as (link, worker):
        await asyncio.sleep(0)
        worker.close()
        with socket.socket() as sock:
            for _ in range(3):
                link.send(control.LEND, b"", sock)
                link.configure(b"x" * (1 << 20))
        assert not link._frames
    async with pair() as (link, worker):
        with socket.socket() as sock:
            link.configure(b"x" * (1 << 20))
            link.send(control.LEND, b"", sock)
        link.close()
        for _ in range(2):
            worker.say(control.READY)
        assert [order.kind for order in await taken(worker, 1)] == [control.DRAIN], "the parent is gone"
    async with pair() as (link, worker):
        link.close()
        with pytest.raises(EOFError):
            worker.configuration()


async def test_without_a_parent_nothing_happens() -> None:
    nobody = Worker({})
    assert nobody.number is None and nobody.configuration() is None
    assert [order async for order in nobody.orders()] == []
    nobody.say(control.READY)
    await nobody.beat()
    nobody.close()
