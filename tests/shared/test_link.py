"""One connection with many calls, at a server that answers as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from a2py.shared import link as link_module
from a2py.shared.link import Late, Link, ScriptMissing, make_pool
from a2py.shared.trouble import LinkError


class Server:
    """Answers each command with what `answer` returns for its name; None: with nothing."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self.commands: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                if words[0] == b"CLIENT":
                    writer.write(b"+OK\r\n")
                    continue
                self.commands.append(words[0])
                data = self.answer(words[0])
                if data is not None:
                    writer.write(data)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Events:
    def __init__(self) -> None:
        self.ends: list[LinkError] = []
        self.lates = 0

    def late(self, error: LinkError) -> None:
        self.lates += 1


@asynccontextmanager
async def connect(
    answer: Callable[[bytes], bytes | None], query: str = ""
) -> AsyncIterator[tuple[Link, Server, Events]]:
    server, events = Server(answer), Events()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    pool = make_pool(f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}{query}", {})
    link = Link(pool, events.ends.append, events.late)
    try:
        await link.open()
        yield link, server, events
    finally:
        await link.close()
        await pool.aclose()
        listening.close()
        for writer in server.writers:
            writer.close()
        await asyncio.sleep(0)


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def test_each_call_gets_its_own_answer() -> None:
    async with connect(lambda name: b":%d\r\n" % int(name)) as (link, _, events):
        assert await asyncio.gather(*(link.call(str(n)) for n in range(50))) == list(range(50))
        assert events.ends == []


@pytest.mark.parametrize("data", [b"-ERR no\r\n", b"-READONLY replica\r\n", b"-BUSY script\r\n"])
async def test_a_refusal_fails_its_call_alone(data: bytes) -> None:
    async with connect(lambda name: data if name == b"BAD" else b"+OK\r\n") as (link, _, _events):
        bad, good = link.call("BAD"), link.call("GOOD")
        with pytest.raises(LinkError, match=r"refuses a call|replica"):
            await bad
        assert await good == b"OK"


async def test_a_script_that_is_missing() -> None:
    async with connect(lambda name: b"-NOSCRIPT No matching script.\r\n") as (link, _, _events):
        with pytest.raises(ScriptMissing):
            await link.call("EVALSHA", "x")
        calls: list[int] = []
        assert link.tell("EVALSHA", "x", on_missing=lambda: calls.append(1))
        with pytest.raises(ScriptMissing):
            await link.call("EVALSHA", "x")
        assert calls == [1]


async def test_a_time_limit_of_the_address_does_not_end_a_connection_that_is_idle() -> None:
    """With `socket_timeout` it ended after each silence of that length."""
    async with connect(lambda name: b"+OK\r\n", "?socket_timeout=0.05") as (link, _, events):
        await asyncio.sleep(0.2)
        assert await link.call("PING") == b"OK" and events.ends == []


async def test_the_end_of_the_connection_fails_all_calls() -> None:
    async with connect(lambda name: None) as (link, server, events):
        calls = [link.call("X") for _ in range(3)]
        await until(lambda: len(server.commands) == 3)
        server.writers[0].close()
        for call in calls:
            with pytest.raises(LinkError):
                await call
        assert len(events.ends) == 1 and not link.is_open
        with pytest.raises(LinkError, match="not connected"):
            await link.call("X")
        assert not link.tell("X")


async def test_a_late_answer_is_given_up_and_the_connection_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CALL_SECONDS", 0.02)
    async with connect(lambda name: None if name == b"SLOW" else b"+OK\r\n") as (link, server, events):
        replies: list[Any] = []
        with pytest.raises(Late):
            await link.call("SLOW", late=replies.append)
        assert events.lates == 1 and link.is_open
        server.writers[0].write(b":7\r\n")
        await until(lambda: bool(replies))
        assert replies == [7] and events.ends == []
        monkeypatch.setattr(link_module, "CALL_SECONDS", 60.0)
        assert await link.call("QUICK") == b"OK"


async def test_the_answer_of_a_call_that_was_cancelled_goes_to_late() -> None:
    async with connect(lambda name: b":3\r\n") as (link, _, _events):
        replies: list[Any] = []
        link.call("X", late=replies.append).cancel()
        assert await link.call("Y") == 3 and replies == [3]


async def test_an_answer_to_nothing_ends_the_connection() -> None:
    async with connect(lambda name: b":1\r\n:2\r\n") as (link, _, events):
        assert await link.call("X") == 1
        await until(lambda: not link.is_open)
        assert [str(end) for end in events.ends] == ["gives an answer that nothing was asked for"]


async def test_damage_ends_the_connection() -> None:
    async with connect(lambda name: b"what is this\r\n") as (link, _, events):
        with pytest.raises(LinkError):
            await link.call("X")
        assert len(events.ends) == 1


async def test_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_CALLS", 5)
    async with connect(lambda name: None) as (link, _, _events):
        calls = [link.call("X") for _ in range(6)]
        with pytest.raises(LinkError, match="not connected"):
            await calls[5]
        assert not link.tell("X") and not any(call.done() for call in calls[:5])
        await link.close()
        for call in calls[:5]:
            with pytest.raises(LinkError, match="closed"):
                await call


async def test_nobody_listens() -> None:
    pool = make_pool("redis://user:hidden-word@127.0.0.1:1/0", {})
    link = Link(pool, lambda reason: None, lambda error: None)
    with pytest.raises(LinkError) as excinfo:
        await link.open()
    assert "hidden-word" not in str(excinfo.value)
    await pool.aclose()
