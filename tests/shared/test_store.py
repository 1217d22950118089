"""Several stores at one real redis-server: what they count together, and what happens when it freezes, dies or forgets.

The scripts have no other test than this: only Redis runs them as Redis does."""

from __future__ import annotations

import asyncio
import math
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from a2py.shared import script, store
from a2py.shared.grant import Grant, Verdict
from a2py.shared.link import Link
from a2py.shared.store import Store
from a2py.shared.subject import Ask, Asks, Subject
from tests import redis_server
from tests.process import free_port
from tests.redis_server import PROGRAMS, RedisServer

pytestmark = [pytest.mark.real]


@pytest.fixture(params=PROGRAMS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    why = redis_server.missing(request.param)
    if why:
        pytest.skip(why)
    with RedisServer(tmp_path, program=request.param) as server:
        yield server


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **values: object) -> None:
        self.lines.append(event)

    warning = info


@asynccontextmanager
async def stores(server: RedisServer, count: int = 1, *, url: str = "", **options: Any) -> AsyncIterator[list[Store]]:
    every = [Store(url or server.url, options, Log()) for _ in range(count)]
    try:
        for each in every:
            each.start()
        for each in every:
            await until(lambda each=each: each.is_up and each.mirror.count == count)  # type: ignore[misc]
        yield every
    finally:
        for each in every:
            await each.close()


async def until(is_true: Callable[[], object]) -> None:
    for _ in range(3000):
        if is_true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def one(subject: Subject, input: int = 0, output: int = 0) -> Asks:
    return (Ask(subject, input, output),)


async def take(each: Store, *candidates: Asks) -> Grant | None:
    return (await each.take(candidates)).grant


async def count(every: Sequence[Store], asks: Asks, tries: int) -> int:
    verdicts = await asyncio.gather(*(every[n % len(every)].take([asks]) for n in range(tries)))
    return sum(verdict.choice == 0 for verdict in verdicts)


def lines(each: Store) -> list[str]:
    log = each._log.log
    assert isinstance(log, Log)
    return log.lines


async def test_an_error_of_whoever_hears_a_word_does_not_end_the_sharing(server: RedisServer) -> None:
    words: list[bytes] = []

    def hear(word: bytes, age: float) -> None:
        words.append(word)
        if word == b"bad":
            raise RuntimeError("nobody understands this")

    async with stores(server, 2) as (first, second):
        second.news.on_word = hear
        await until(lambda: second.news.has_joined)
        first.news.words.append(b"bad")
        await until(lambda: b"bad" in words)
        await until(lambda: second.is_up)
        first.news.words.append(b"good")
        await until(lambda: b"good" in words)
        assert await count([first, second], one(Subject("s", rpm=3)), 8) == 3


async def test_ten_of_forty(server: RedisServer) -> None:
    async with stores(server, 3) as every:
        asks = one(Subject("x", rpm=10))
        assert await count(every, asks, 40) == 10
        verdict: Verdict = await every[0].take([asks])
        assert verdict.choice == -1 and 55 < verdict.refusals[0].seconds <= 65
        assert lines(every[0]) == ["redis answers: limits are shared"]


async def test_places_are_freed_by_any_process(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", parallel=1))
        grant = await take(first, asks)
        assert grant is not None and await take(second, asks) is None
        grant.settle(0, 0)
        await until_granted(second, asks)


async def until_granted(each: Store, asks: Asks) -> Grant:
    for _ in range(1000):
        grant = await take(each, asks)
        if grant is not None:
            return grant
        await asyncio.sleep(0.02)
    raise AssertionError("no grant")


async def test_the_first_candidate_with_room_is_counted_and_only_that(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        full, free = one(Subject("full", rpm=1)), one(Subject("free", rpm=2))
        assert [(await first.take([full, free])).choice for _ in range(2)] == [0, 1]
        assert [(await second.take([full, free])).choice for _ in range(2)] == [1, -1]
        both = (Ask(Subject("free2", rpm=5)), Ask(Subject("full", rpm=1)))
        verdict = await second.take([both])
        assert verdict.refusals[0].ask.subject.id == "full"
        assert await count([second], one(Subject("free2", rpm=5)), 9) == 5, "a refusal counts nothing"


async def test_tokens_are_reserved_and_replaced(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        subject = Subject("x", tpm=1000)
        grant = await take(first, one(subject, 300, 200))
        assert grant is not None and await take(second, one(subject, 300, 201)) is None
        verdict = await second.take([one(subject, 1001)])
        assert verdict.refusals[0].seconds == math.inf
        grant.settle(310, 90)
        await until_granted(second, one(subject, 300, 300))
        assert await take(first, one(subject, 1)) is None


async def test_a_cancelled_grant_leaves_nothing(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", rpm=1, tpm=100, parallel=1), 50, 50)
        grant = await take(first, asks)
        assert grant is not None
        grant.cancel()
        await until_granted(second, asks)


async def test_a_request_that_is_cancelled_while_it_asks_leaves_nothing(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", rpm=1, parallel=1))
        asking = asyncio.ensure_future(first.take([asks]))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until_granted(second, asks)


async def test_a_request_that_is_cancelled_as_its_answer_comes_leaves_nothing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_reply, asking = Link._take, list[asyncio.Task[Verdict]]()

    def cancel_too(link: Link, call: Any, reply: Any) -> None:
        take_reply(link, call, reply)
        if call.late is not None:
            asking.pop().cancel()

    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", rpm=1, parallel=1))
        await first.take([one(Subject("y", rpm=1))])  # the script is there
        with monkeypatch.context() as patch:
            patch.setattr(Link, "_take", cancel_too)
            asking.append(asyncio.ensure_future(first.take([asks])))
            with pytest.raises(asyncio.CancelledError):
                await asking[0]
        await until_granted(second, asks)


async def test_a_clock_that_goes_back_opens_no_limit_and_keeps_none_shut(server: RedisServer) -> None:
    async with stores(server) as (each,), Redis.from_url(server.url) as client:
        key, slice = script.SUBJECT + "x", script.slice_of(each.now())
        await client.hset(key, f"r{slice + 6}", 3)
        verdict = await each.take([one(Subject("x", rpm=3))])
        assert verdict.choice == -1
        assert 80 < verdict.refusals[0].seconds < 100
        await client.hset(key, f"r{slice + 600}", 3)
        await client.hset(key, "cdead.1", 1)
        await client.zadd(script.PROCESSES, {"dead.1": each.now() + 3_600_000})
        assert await take(each, one(Subject("x", rpm=4, parallel=1))) is not None
        await until(lambda: each.mirror.count == 1)


async def test_what_others_have_written_into_the_keys_is_dropped(server: RedisServer) -> None:
    async with stores(server) as (each,), Redis.from_url(server.url) as client:
        now = script.slice_of(each.now())
        await client.hset(script.SUBJECT + "x", mapping={"rfoo": "1", f"t{now}": "abc", "c": "1", "": "3", "k9": "1"})
        await client.set(script.SUBJECT + "y", "text")
        for id in "xy":
            assert await count([each], one(Subject(id, rpm=1, tpm=10, parallel=1)), 2) == 1
        assert each._failures == 0
        assert lines(each) == ["redis answers: limits are shared"]


async def test_news_go_on_after_others_have_written_over_them(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second), Redis.from_url(server.url) as client:
        words: list[bytes] = []
        second.news.on_word = lambda word, age: words.append(word)
        number = first.number
        await client.set(script.NEWS, "text")
        first.tell(b"word")
        await until(lambda: words == [b"word"])
        assert first.number == number  # it has not joined again


async def test_a_server_that_is_no_redis_is_said_once() -> None:
    def reply(command: bytes) -> bytes:
        return b"*2\r\n:1\r\n$3\r\nabc\r\n" if command[:4] in (b"EVAL", b"GET\r") else b"+OK\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            words = [(await reader.readline(), await reader.readline())[1] for _ in range(int(header[1:]))]
            writer.write(reply(words[0]))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    log = Log()
    each = Store(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}", {}, log)
    each.start()
    try:
        await until(lambda: each._is_broken)
        await until(lambda number=each.number: each.number > number)  # type: ignore[misc]
    finally:
        await each.close()
        listener.close()
    assert (
        len(log.lines) == 1
        and "gives an answer that no Redis gives: correct `router_settings.redis_host`" in log.lines[0]
    )


async def test_an_end_that_redis_refuses_to_note_takes_no_place_for_ever(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", parallel=1))
        grant = await take(first, asks)
        assert grant is not None
        with monkeypatch.context() as patch:
            patch.setattr(script, "ADJUST", script.make_script("return redis.error_reply('BUSY')"))
            grant.settle(0, 0)
        await until_granted(second, asks)


async def test_scripts_that_redis_has_lost_are_sent_again(server: RedisServer) -> None:
    async with stores(server) as (each,), Redis.from_url(server.url) as client:
        asks = one(Subject("x", rpm=3, parallel=1))
        grant = await take(each, asks)
        await client.script_flush()
        assert grant is not None
        grant.settle(0, 0)
        await client.script_flush()
        await until_granted(each, asks)
        assert len(lines(each)) == 1


async def test_a_dead_process_holds_nothing_longer_than_its_lease(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LEASE_SECONDS", 1.0)
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", parallel=1, tpm=100), 10, 90)
        assert await take(first, asks) is not None
        assert first._task is not None
        first._task.cancel()  # it has no time to say goodbye
        assert await take(second, asks) is None
        grant = await until_granted(second, one(Subject("x", parallel=1, tpm=100), 1, 1))
        grant.settle(1, 1)


async def test_a_running_request_counts_as_long_as_its_process_beats(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(store, "BEAT_SECONDS", 0.1)
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", parallel=1))
        assert await take(first, asks) is not None
        for _ in range(20):
            assert await take(second, asks) is None
            await asyncio.sleep(0.1)


async def test_who_leaves_frees_what_it_ran(server: RedisServer) -> None:
    async with stores(server) as (second,):
        async with stores_more(server) as first:
            assert await take(first, one(Subject("x", parallel=1))) is not None
        assert await take(second, one(Subject("x", parallel=1))) is not None


@asynccontextmanager
async def stores_more(
    server: RedisServer, on_word: Callable[[bytes, float], None] = lambda word, age: None
) -> AsyncIterator[Store]:
    each = Store(server.url, {}, Log())
    each.news.on_word = on_word
    each.start()
    await until(lambda: each.is_up)
    try:
        yield each
    finally:
        await each.close()


async def beat(store: Store) -> None:
    """Beat once more, now."""
    assert store._link is not None
    await store._beat_once(store._link)


async def test_while_redis_is_frozen_each_process_keeps_to_its_part(server: RedisServer) -> None:
    async with stores(server, 3) as every:
        asks = one(Subject("x", rpm=40))
        for each in every:
            each.mirror.watch(["x"])
        assert await count(every, asks, 10) == 10
        await asyncio.gather(*(beat(each) for each in every))
        server.freeze()
        assert await count(every, asks, 90) == 30, "ten were counted before"
        server.thaw()
        await until(lambda: all(each.is_up for each in every))
        assert await count(every, asks, 30) == 0, "all of it is written back, or still counts here"
        for each in every:
            assert lines(each)[-3:] == [
                "redis answers: limits are shared",
                f"Redis at 127.0.0.1:{server.port} does not answer within 250 ms: until it is back, each process keeps to "
                "its part of the limits",
                "redis answers: limits are shared",
            ]


async def test_what_was_counted_alone_is_written_back(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", rpm=10, parallel=8))
        server.freeze()
        grants = [grant for _ in range(9) if (grant := await take(first, asks)) is not None]
        assert len(grants) in (4, 5)
        server.thaw()
        await until(
            lambda: first.is_up and second.is_up and not first.mirror.alone_since and not second.mirror.alone_since
        )
        async with stores_more(server) as third:
            rest = await count([third], asks, 20)
            assert rest == min(10 - len(grants), 8 - len(grants))
            for grant in grants:
                grant.settle(0, 0)
            await asyncio.sleep(0.2)
            assert await count([third], asks, 20) == 10 - len(grants) - rest


async def test_a_redis_that_was_emptied_is_told_everything_again(server: RedisServer) -> None:
    async with stores(server, 2) as (first, second):
        asks = one(Subject("x", rpm=10, parallel=20))
        assert await count([first, second], asks, 6) == 6
        server.stop()
        await until(lambda: not first.is_up and not second.is_up)
        server.start()
        await until(lambda: first.is_up and second.is_up)
        await until(lambda: not first.mirror.alone_since and not second.mirror.alone_since)
        assert await count([first, second], asks, 20) == 4


async def test_requests_do_not_wait_for_a_redis_that_is_gone(server: RedisServer) -> None:
    async with stores(server) as (each,):
        server.stop()
        asks = one(Subject("x", rpm=1000))
        assert await count([each], asks, 50) == 50
        await until(lambda: each._is_broken)


async def test_each_word_reaches_all_others_once(server: RedisServer) -> None:
    async with stores(server, 3) as every:
        inboxes: list[list[bytes]] = [[] for _ in every]
        for each, words in zip(every, inboxes, strict=True):
            each.news.on_word = lambda word, age, words=words: words.append(word)  # type: ignore[misc]
        for number in range(script.NEWS_READ + 20):
            every[0].tell(b"%d" % number)
        await until(lambda: len(inboxes[1]) == len(inboxes[2]) == script.NEWS_READ + 20)
        assert inboxes[0] == [] and inboxes[1] == inboxes[2] == [
            b"%d" % number for number in range(script.NEWS_READ + 20)
        ]
        late: list[tuple[bytes, float]] = []
        async with stores_more(server, lambda word, age: late.append((word, age))) as newcomer:
            await until(lambda: newcomer.news.has_joined)
            every[1].tell(b"new")
            await until(lambda: late)
            assert [word for word, _ in late] == [b"new"] and late[0][1] >= 0, "nothing of before it came"


async def test_a_password_and_a_user(tmp_path: Path) -> None:
    why = redis_server.missing()
    if why:
        pytest.skip(why)
    with RedisServer(tmp_path, ["--requirepass", "secret-word"]) as server:
        async with stores(server, password="secret-word") as (each,):
            assert await take(each, one(Subject("x", rpm=1))) is not None
        other = Store(server.url, {"password": "wrong-word"}, Log())
        other.start()
        assert await take(other, one(Subject("x", rpm=1))) is not None
        await until(lambda: other._is_broken)
        await other.close()
        assert "wrong-word" not in " ".join(lines(other)) and len(lines(other)) == 1


def make_certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return key, cert


async def test_tls(tmp_path: Path) -> None:
    why = redis_server.missing() or redis_server.missing("openssl")
    if why:
        pytest.skip(why)
    key, cert = make_certificate(tmp_path)
    port = free_port()
    flags = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    with RedisServer(tmp_path, [*flags, "--tls-auth-clients", "no"]) as server:
        url = f"rediss://localhost:{port}/0"
        async with stores(server, url=f"{url}?ssl_ca_certs={cert}") as (each,):
            assert await take(each, one(Subject("x", rpm=1))) is not None
            assert await take(each, one(Subject("x", rpm=1))) is None
        stranger = Store(url, {}, Log())
        stranger.start()
        await until(lambda: stranger._is_broken)  # its certificate is nobody's
        await stranger.close()


async def test_a_redis_that_may_forget_is_named(tmp_path: Path) -> None:
    why = redis_server.missing()
    if why:
        pytest.skip(why)
    with RedisServer(tmp_path, ["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"]) as server:
        async with stores(server) as (each,):
            await until(lambda: len(lines(each)) == 2)
            assert "maxmemory-policy noeviction" in lines(each)[1]


async def test_redis_gives_each_script_the_digest_that_it_is_called_by(server: RedisServer) -> None:
    scripts = [each for each in vars(script).values() if isinstance(each, script.Script)]
    async with Redis.from_url(server.url, decode_responses=True) as client:
        assert [each.digest for each in scripts] == [await client.script_load(each.text) for each in scripts]
    assert len({each.digest for each in scripts}) == len(scripts) >= 5


async def test_keys_go_away_by_themselves(server: RedisServer) -> None:
    async with stores(server, 1) as (each,), Redis.from_url(server.url, decode_responses=True) as client:
        each.tell(b"word")
        assert await take(each, one(Subject("x", rpm=1, parallel=1))) is not None
        await beat(each)
        keys = await client.keys("*")
        assert sorted(keys) == sorted([script.PROCESSES, script.BIRTH, script.NEWS, script.SUBJECT + "x"])
        for key in keys:
            assert 0 < await client.pttl(key) <= script.KEPT_MS
