"""News over Redis: who answers a hello, and what of a stranger's words counts. The last test has a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from a2py.config import Config
from a2py.config.redis import RedisAddress
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.evidence import message
from a2py.evidence.message import ServerReport
from a2py.evidence.server import ServerWord
from a2py.proxy.services import Services
from a2py.proxy.shared_news import SharedNews
from a2py.shared.mirror import Mirror
from a2py.shared.store import Store, Stream
from tests import redis_server
from tests.redis_server import RedisServer

BASE = "http://127.0.0.1:9/v1"
ONE = Deployment(name="m", id="a", provider="p", model="u", base=BASE)


class FakeStore:
    """Keeps what is told."""

    def __init__(self, name: str = "b.1") -> None:
        self.name = name
        self.mirror = Mirror()
        self.words: list[bytes] = []
        self.time = 10_000
        self.news = Stream()

    def tell(self, word: bytes) -> None:
        self.words.append(word)

    def now(self) -> int:
        return self.time


def process(store: FakeStore) -> Services:
    services = Services(Config(deployments=(ONE,)))
    news = services.open_news()
    SharedNews(cast(Store, store), news, services.discovery, lambda: [BASE])
    return services


def report(base: str = BASE) -> ServerReport:
    return ServerReport(base, ServerWord(program="", row="", is_relay=False, slots=3), "2026-11-30")


async def test_whoever_joins_says_hello_and_the_first_of_the_others_answers_once() -> None:
    store = FakeStore("b.1")
    services = process(store)
    services.lessons.learn(ONE, {"stream_usage": False}, "refusal", "it answered 400")
    await until(lambda: store.words)
    store.words.clear()
    store.news.on_join()
    assert orjson.loads(store.words.pop()) == ["hello", "b.1"]
    store.mirror.note_beat(0, 3, 1, {})  # a.1, b.1, c.1
    store.news.on_word(b'["hello","c.1"]', 0.0)
    assert store.words == [], "a.1 answers"
    store.news.on_word(b'["hello","a.1"]', 0.0)
    assert [orjson.loads(word)[0] for word in store.words] == ["lesson"]
    store.news.on_word(b'["hello","a.1"]', 0.0)
    assert len(store.words) == 1, "a flood of hellos"
    store.time += 1000
    store.news.on_word(b'["hello","a.1"]', 0.0)
    assert len(store.words) == 2


def test_what_a_server_says_reaches_the_others_unless_its_address_has_a_login() -> None:
    store = FakeStore()
    services = process(store)
    services.discovery.on_report(report("http://user:hidden@10.0.0.1/v1"))
    assert store.words == []
    services.discovery.on_report(report())
    assert message.decode(store.words[0]) == report()


def test_only_configured_servers_are_believed() -> None:
    store = FakeStore()
    services = process(store)
    for word in (message.encode(report("http://elsewhere/v1")), b"{}", b'{"base": 1}', b"{", b"\xff", b"", b"[]"):
        store.news.on_word(word, 0.0)
    assert services.discovery.reports == {}
    store.news.on_word(message.encode(report()), 0.0)
    assert services.discovery.reports == {BASE: report()}
    assert store.words == [], "what was heard is not told again"


@pytest.mark.parametrize(
    "word", [b'["hello"]', b'["hello",1]', b'["hello",{}]', b'["cooldown","?","",1,2]', b'["nothing"]']
)
def test_strange_words_change_nothing(word: bytes) -> None:
    store = FakeStore()
    services = process(store)
    store.mirror.note_beat(0, 3, 2, {})
    store.news.on_word(word, 0.0)
    assert store.words == [] and services.router.cooldowns.list_active() == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    why = redis_server.missing()
    if why:
        pytest.skip(why)
    with RedisServer(tmp_path) as server:
        yield server


async def until(is_true: Callable[[], Any]) -> None:
    for _ in range(1500):
        if is_true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


@pytest.mark.real
async def test_processes_learn_from_each_other(server: RedisServer) -> None:
    address = RedisAddress(server.url, server.url)
    config = Config(deployments=(ONE,), redis=address)
    first, second, third = (Services(config) for _ in range(3))
    settings = config.settings
    try:
        for services in (first, second):
            await services.start()
        await until(lambda: all(one.router.sharing.store.mirror.count == 2 for one in (first, second)))  # type: ignore[union-attr]
        first.router.cooldowns.record_failure(ONE, ApiError("authentication", "x"), settings)
        first.lessons.learn(ONE, {"stream_usage": False}, "refusal", "it answered 400")
        for _ in range(3):
            first.sizes.counts.observe("u", 100, 150)
        first.sizes.report("counts", "u")
        first.discovery.on_report(report())
        first.discovery._keep(report())
        await until(lambda: second.router.cooldowns.is_cooling(ONE))
        await until(lambda: second.lessons.apply(ONE).quirks.stream_usage is False)
        await until(lambda: second.sizes.counts.ratio("u") == pytest.approx(1.5))
        await until(lambda: second.discovery.reports == {BASE: report()})
        await third.start()
        await until(lambda: third.lessons.apply(ONE).quirks.stream_usage is False)
        await until(lambda: third.sizes.counts.ratio("u") == pytest.approx(1.5))
        await until(lambda: third.discovery.reports == {BASE: report()})
        second.router.cooldowns.record_success(ONE)
        await until(lambda: not first.router.cooldowns.is_cooling(ONE))
    finally:
        for services in (first, second, third):
            if hasattr(services, "upstream"):
                await services.close()
