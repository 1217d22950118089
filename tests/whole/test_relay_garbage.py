"""What the garbage collector finds after requests of every kind of end: nothing.

A reference cycle is no leak, but it is held until the collector runs, which is seldom (`a2py.cli.eventloop.settle`) and
takes no account of how large a `bytes` is. A closed connection used to leave 7 objects, malformed HTTP 28, a body that
broke off 69 with all frames above them."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from a2py.proxy import router
from a2py.proxy.routes import ROUTES, Route
from a2py.proxy.timeouts import Timeouts
from a2py.upstream.transports import free
from tests.blocking import Client, Peer, Script, Upstream, request
from tests.proxied import Running, config, message, run_proxy, settle
from tests.scripted import chunk, completion, text

ROUNDS = 5
STREAM = request(message())
WHOLE = request(message(stream=False))
BODY = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n"


# -- upstreams ---------------------------------------------------------------------------------------------------------


def answers(c: Peer) -> bool:
    if c.streams:
        c.head()
        c.events(*text("Hi", "there"))
        c.end()
    else:
        c.reply(completion("Hi"))
    return True


def refuses(status: int, **error: Any) -> Script:
    def script(c: Peer) -> bool:
        c.reply({"error": {"message": "no", "type": "x", **error}}, status)
        return True

    return script


def unknown_field(c: Peer) -> bool:
    if "stream_options" not in c.body:
        return answers(c)
    return refuses(
        400, message="Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter"
    )(c)


def error_inside(c: Peer) -> bool:
    if not c.streams:
        return refuses(200)(c)
    c.head()
    c.events({"error": {"message": "no", "code": 500}})
    c.end()
    return True


def large(c: Peer) -> bool:
    c.head()
    for _ in range(200):
        c.events(chunk({"content": "x" * 10_000}))
    return answers_rest(c)


def answers_rest(c: Peer) -> bool:
    c.events(*text()[1:])
    c.end()
    return True


def cut(c: Peer) -> bool:
    c.head()
    c.events(chunk({"content": "Hel"}))
    return False


def bad_chunk(c: Peer) -> bool:
    c.head()
    c.events(chunk({"content": "Hel"}))
    c.sock.sendall(b"zz\r\n")
    c.wait_disconnect()
    return False


def closes(c: Peer) -> bool:
    return False


def no_http(c: Peer) -> bool:
    c.sock.sendall(b"HELLO\r\n\r\n")
    return False


def waits(upstream: list[Upstream], has_started: bool) -> Script:
    """Tells that it was reached, and waits for the proxy to leave; `begun`: with a piece of the answer out."""

    def script(c: Peer) -> bool:
        if has_started:
            c.head()
            c.events(chunk({"content": "Hel"}))
        upstream[0].arrivals.release()
        c.wait_disconnect()
        return False

    return script


# -- clients -----------------------------------------------------------------------------------------------------------


def asks(data: bytes) -> Callable[[Client, Upstream], None]:
    def act(client: Client, upstream: Upstream) -> None:
        client.send(data)
        client.answer()

    return act


def asks_on(client: Client, upstream: Upstream) -> None:
    """Several requests on one connection."""
    for data in (STREAM, WHOLE, STREAM):
        client.send(data)
        client.answer()


def is_closed(data: bytes) -> Callable[[Client, Upstream], None]:
    """The proxy closes the connection."""

    def act(client: Client, upstream: Upstream) -> None:
        if data:
            client.send(data)
        client.rest()

    return act


def leaves(data: bytes) -> Callable[[Client, Upstream], None]:
    """At once."""

    def act(client: Client, upstream: Upstream) -> None:
        client.send(data)

    return act


def leaves_later(data: bytes, *, more: bytes = b"", reset: bool = False) -> Callable[[Client, Upstream], None]:
    """Once the upstream was reached, and `more` was sent."""

    def act(client: Client, upstream: Upstream) -> None:
        client.send(data)
        assert upstream.arrivals.acquire(timeout=20)
        client.send(more)
        if reset:
            client.reset()

    return act


def resets_soon(client: Client, upstream: Upstream) -> None:
    """With the first bytes of the answer."""
    client.send(STREAM)
    client.sock.recv(1)
    client.reset()


class Case(NamedTuple):
    script: Script
    client: Callable[[Client, Upstream], None]
    settings: dict[str, Any] = {}


def cases(upstream: list[Upstream]) -> dict[str, Case]:
    silent, partial = waits(upstream, False), waits(upstream, True)
    return {
        "a connection without a request": Case(answers, lambda client, up: None),
        "a stream": Case(answers, asks(STREAM)),
        "a whole reply": Case(answers, asks(WHOLE)),
        "a large stream": Case(large, asks(STREAM)),
        "several on one connection": Case(answers, asks_on),
        "the proxy closes": Case(answers, is_closed(request(message(), "/v1/messages", "POST", "connection: close"))),
        "HTTP/1.0": Case(answers, is_closed(STREAM.replace(b"HTTP/1.1", b"HTTP/1.0"))),
        "tokens": Case(
            answers,
            asks(request({"model": "test-model", "messages": message()["messages"]}, "/v1/messages/count_tokens")),
        ),
        "a page": Case(answers, asks(request(None, "/health", "GET"))),
        # refusals of the proxy
        "no such path": Case(answers, asks(request({}, "/nowhere"))),
        "no such method": Case(answers, asks(request({}, "/v1/messages", "PUT"))),
        "no such model": Case(answers, asks(request(message(model="nobody")))),
        "no JSON": Case(answers, asks(request(b"{x}"))),
        "no HTTP": Case(answers, is_closed(b"HELLO\r\n\r\n")),
        "another HTTP": Case(answers, is_closed(b"GET / HTTP/2.0\r\nhost: localhost\r\n\r\n")),
        "a long line": Case(answers, is_closed(b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\n\r\n")),
        "a long header": Case(answers, is_closed(b"GET / HTTP/1.1\r\nx: " + b"a" * 30_000 + b"\r\n\r\n")),
        "two lengths": Case(
            answers, is_closed(BODY + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        ),
        "too large": Case(answers, is_closed(BODY + b"content-length: 999999999\r\n\r\n")),
        "a body that breaks off": Case(
            answers, is_closed(BODY + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n")
        ),
        "a body of bad chunks": Case(answers, is_closed(BODY + b"transfer-encoding: chunked\r\n\r\nzz\r\n")),
        "a body that is no gzip": Case(
            answers, is_closed(STREAM.replace(b"host:", b"content-encoding: gzip\r\nhost:"))
        ),
        "a body that stalls": Case(answers, is_closed(STREAM[:-10])),
        "idle too long": Case(answers, is_closed(b"")),
        "a crash": Case(answers, asks(request({}, "/crash"))),
        # failures of the upstream
        "refused": Case(refuses(400), asks(STREAM)),
        "failed, asked again": Case(refuses(500), asks(STREAM), {"num_retries": 1}),
        "a lesson": Case(unknown_field, asks(STREAM)),
        "an error inside": Case(error_inside, asks(STREAM)),
        "an error inside, whole": Case(error_inside, asks(WHOLE)),
        "cut": Case(cut, asks(STREAM)),
        "cut, whole": Case(cut, asks(WHOLE)),
        "a bad chunk": Case(bad_chunk, asks(STREAM)),
        "closed": Case(closes, asks(STREAM)),
        "no HTTP upstream": Case(no_http, asks(STREAM)),
        "a silent upstream": Case(silent, asks(STREAM), {"stream_timeout": 0.1}),
        "a silent upstream, whole": Case(silent, asks(WHOLE), {"request_timeout": 0.1}),
        "silent in the answer": Case(partial, asks(STREAM), {"stream_timeout": 0.1}),
        # clients that leave
        "leaves in the head": Case(answers, leaves(b"POST /v1/mess")),
        "leaves in the body": Case(answers, leaves(STREAM[:-10])),
        "leaves a bad request": Case(answers, leaves(b"HELLO\r\n\r\n")),
        "leaves while a refused body is awaited": Case(answers, asks(BODY + b"content-length: 999999999\r\n\r\n")),
        "leaves before the answer": Case(silent, leaves_later(STREAM)),
        "leaves before the answer, whole": Case(silent, leaves_later(WHOLE)),
        "leaves in the answer": Case(partial, leaves_later(STREAM)),
        "resets": Case(partial, leaves_later(STREAM, reset=True)),
        "resets a large answer": Case(large, resets_soon),
        "leaves with more requests sent": Case(partial, leaves_later(STREAM * 3)),
        "leaves with nonsense sent": Case(partial, leaves_later(STREAM, more=b"HELLO\r\n\r\n")),
        "leaves in a captured answer": Case(partial, leaves_later(STREAM), {"capture_dir": "?"}),
    }


NAMES = list(cases([]))
#: Seconds that no test waits for: until a body has stalled, a connection was idle for too long, a refused body is no
#: longer read, an upstream is asked again.
SOON = {
    "a body that stalls": Timeouts(body_pause=0.05, linger=0.05),
    "too large": Timeouts(linger=0.05),
    "idle too long": Timeouts(idle=0.05),
}


async def crash(proxy: object, request: object, record: object) -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise RuntimeError("outer") from error


async def run(proxy: Running, upstream: Upstream, act: Callable[[Client, Upstream], None], rounds: int) -> None:
    def one() -> None:
        with Client(proxy.port) as client:
            act(client, upstream)

    loop = asyncio.get_running_loop()
    for _ in range(rounds):
        await loop.run_in_executor(None, one)
        await settle(lambda: not (proxy.services.running.exchanges or proxy.busy or proxy.server._connections.open))  # type: ignore[union-attr]
    for _ in range(3):
        await asyncio.sleep(0)  # what was scheduled by the last


@asynccontextmanager
async def everything_kept() -> AsyncIterator[list[Any]]:
    """The objects that the collector finds afterwards."""
    garbage: list[Any] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield garbage
        gc.collect()
        garbage += gc.garbage
    finally:
        gc.garbage.clear()
        gc.set_debug(0)
        gc.enable()


async def test_a_write_that_fails() -> None:
    """The client has reset the connection, and the proxy learns that by writing: the error's frames are those of the
    answer."""
    here: list[Upstream] = []
    with Upstream(waits(here, True)) as upstream:
        here.append(upstream)
        async with run_proxy(config(upstream.base), collect=False) as proxy:

            async def one() -> None:
                client = Client(proxy.port)
                client.send(STREAM)
                running: Any = proxy.services.running.exchanges
                await settle(lambda: running and next(iter(running)).answer.is_delivered)
                exchange = next(iter(running))
                client.reset()
                exchange.answer.client.write(b": x\n\n")
                del exchange
                await settle(lambda: not (proxy.services.running.exchanges or proxy.busy))

            await one()
            async with everything_kept() as garbage:
                for _ in range(ROUNDS):
                    await one()
            assert not garbage, Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in garbage)


@pytest.mark.parametrize("name", NAMES)
async def test_nothing_is_left_to_the_collector(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(router, "FIRST_WAIT", 0.05)
    monkeypatch.setitem(ROUTES, "/crash", Route(("POST",), crash))  # type: ignore[arg-type]
    here: list[Upstream] = []
    case = cases(here)[name]
    settings: dict[str, Any] = {key: str(tmp_path) if value == "?" else value for key, value in case.settings.items()}
    with Upstream(case.script) as upstream:
        here.append(upstream)
        live = config(upstream.base, disable_cooldowns=True, **settings)
        async with run_proxy(live, collect=False, crashes=name == "a crash", timeouts=SOON.get(name)) as proxy:
            await run(proxy, upstream, case.client, 2)
            async with everything_kept() as garbage:
                await run(proxy, upstream, case.client, ROUNDS)
                assert not garbage, Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in garbage)


def test_a_transport_without_attributes() -> None:
    free(object())
    free(None)
