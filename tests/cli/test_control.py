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


async def take(worker: Worker, count: int) -> list[Order]:
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
        orders = await take(worker, 4)
        assert orders[0] == Order(control.CONFIG, large) and [order.kind for order in orders[1:]] == [
            control.LEND,
            control.LEND,
            control.DRAIN,
        ]
        assert [int.from_bytes(order.payload, "big") for order in orders[1:3]] == [1, 2]
        for order, port in zip(orders[1:3], ports, strict=True):
            assert order.sock is not None and order.sock.getsockname()[1] == port
            order.sock.close()
        worker.say(control.LOADED)
        assert link.pending_configs == 1 and await asyncio.get_running_loop().sock_recv(link.sock, 8) == control.LOADED
        link.count_loaded(5)
        assert link.pending_configs == 0


async def test_of_configurations_that_wait_the_newest_is_kept() -> None:
    """300 reloads do not fill the memory for a worker that reads none of them."""
    async with pair() as (link, worker):
        configs = [bytes([n]) * (1 << 20) for n in range(1, 20)]
        for config in configs:
            link.configure(config)
        link.send(control.DRAIN)
        assert len(link._frames) <= 3 and link.pending_configs == 2
        orders = await take(worker, 3)
        assert [order.payload[:1] for order in orders] == [b"\x01", b"\x13", b""] and orders[2].kind == control.DRAIN


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
        assert [order.kind for order in await take(worker, 1)] == [control.DRAIN], "the parent is gone"
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


# -- what a worker learns ----------------------------------------------------------------------------------------------


async def receive(link: control.Link, count: int) -> tuple[bytes, list[bytes]]:
    """Return words and payloads, once there are `count` of both."""
    words: bytes = b""
    payloads: list[bytes] = []
    while len(words) + len(payloads) < count:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(link.sock, 65536), LIMIT)
        assert data
        more_words, more = link.split(data)
        words, payloads = words + more_words, payloads + [frame.payload for frame in more]
    return words, payloads


async def test_a_frame_of_a_worker_arrives_whole_between_words() -> None:
    """Also one that is larger than what the kernel holds. A sign of life does not wait behind it."""
    large = os.urandom(control.MAX_FRAME)
    async with pair() as (link, worker):
        worker.say(control.READY)
        worker.report(b"rlc.w")
        worker.report(b"")
        worker.say(control.ALIVE)
        worker.report(large)
        worker.say(control.ALIVE)
        worker.say(control.LOADED)
        words, payloads = await receive(link, 6)
        assert payloads == [b"rlc.w", b"", large]
        assert words == control.READY + control.ALIVE + control.LOADED
        worker.say(control.LEFT)
        assert await receive(link, 1) == (control.LEFT, [])


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_frame_may_come_in_pieces(size: int) -> None:
    async with pair() as (link, _):
        data = b"rw\0\0\0\3abcl.m\0\0\0\2rmw\0\0\0\0cw\0\0"
        results = [link.split(data[at : at + size]) for at in range(0, len(data), size)]
        assert b"".join(words for words, _ in results) == b"rl.c"
        assert [frame for _, frames in results for frame in frames] == [
            Order(control.REPORT, b"abc"),
            Order(control.MAIL, b"rm"),
            Order(control.REPORT, b""),
        ]


async def test_a_frame_that_is_too_long_is_refused() -> None:
    async with pair() as (link, worker):
        with pytest.raises(ValueError, match="4294967295 bytes"):
            link.split(b"rw\xff\xff\xff\xff")
        worker.report(b"x" * (control.MAX_FRAME + 1))
        assert not worker._unsent, "nobody would take it"


async def test_what_a_parent_does_not_read_is_bounded() -> None:
    async with pair() as (_, worker):
        for _ in range(10):
            worker.report(b"x" * control.MAX_FRAME)
            worker.say(control.ALIVE)
        assert len(worker._unsent) <= 2 * control.MAX_FRAME + 10


async def test_a_parent_of_another_version_gets_no_frames() -> None:
    """It would read each byte as a word."""
    async with pair() as (link, worker):
        worker.has_same_version = False
        worker.report(b"l")
        worker.say(control.READY)
        assert await receive(link, 1) == (control.READY, [])


async def test_of_one_server_only_the_newest_waits() -> None:
    async with pair() as (link, worker):
        link.send(control.CONFIG, b"x" * (1 << 20))
        for n in range(5):
            link.teach("http://a/v1", b"a%d" % n)
            link.teach("http://b/v1", b"b%d" % n)
            link.configure(b"c%d" % n)
        orders = await take(worker, 4)
        assert [order.payload for order in orders[1:]] == [b"a4", b"b4", b"c4"] and link.pending_configs == 1


async def test_a_frame_for_a_parent_that_has_gone_is_dropped() -> None:
    async with pair() as (link, worker):
        worker.report(b"x" * control.MAX_FRAME)
        link.close()
        worker.report(b"y")
        assert not worker._unsent
    async with pair() as (_, worker):
        worker.report(b"x" * control.MAX_FRAME)
        worker.close()


# -- mail between workers ----------------------------------------------------------------------------------------------


async def test_mail_waits_until_everything_else_is_sent() -> None:
    """In both directions, and in its own order."""
    large = os.urandom(1 << 20)  # more than the kernel holds
    async with pair() as (link, worker):
        link.send(control.CONFIG, large)
        assert link.post(b"first") and link.post(b"") and link.post(b"third")
        link.send(control.DRAIN)
        orders = await take(worker, 5)
        assert [order.payload for order in orders[1:]] == [b"", b"first", b"", b"third"]
        assert [order.kind for order in orders] == [control.CONFIG, control.DRAIN, *[control.MAIL] * 3]
        assert link._mail_size == 0 and worker.post([large, b"second", b""])
        worker.say(control.LEFT)
        worker.report(b"learned")
        seen_words, payloads = await receive(link, 5)
        assert seen_words == control.LEFT and payloads == [large, b"learned", b"second", b""] and not worker._mail_size


async def test_mail_that_is_not_read_is_bounded() -> None:
    """What does not fit is not sent at all; orders and reports go on."""
    piece = bytes(1 << 20)
    async with pair() as (link, worker):
        took = [link.post(piece) for _ in range(40)]
        assert took == sorted(took, reverse=True) and 16 <= sum(took) <= 19
        link.send(control.DRAIN)
        orders = await take(worker, sum(took) + 1)
        assert [order.kind for order in orders[1:3]] == [control.DRAIN, control.MAIL]
        assert link.post(piece) and link._mail_size <= control.MAX_MAIL
    async with pair() as (link, worker):
        took = [worker.post([piece, piece]) for _ in range(20)]
        assert took == sorted(took, reverse=True) and 8 <= sum(took) <= 10
        worker.say(control.READY)
        assert (await receive(link, 2 * sum(took) + 1))[0] == control.READY
        assert worker.post([piece] * 17) and not worker.post([piece] * 17)


async def test_mail_for_one_that_has_gone_is_dropped() -> None:
    async with pair() as (link, worker):
        worker.post([bytes(1 << 20)] * 3)
        link.close()
        assert worker.post([b"x"]) and not worker._mail and not worker._unsent
    async with pair() as (link, worker):
        link.post(bytes(1 << 20))
        worker.close()
        assert link.post(b"x") and not link._mail and not worker.post([b"x"])
    async with pair() as (_, worker):
        worker.has_same_version = False
        assert not worker.post([b"the parent would read each byte as a word"])
