"""What a key may take on a running proxy: requests, tokens, dollars; both APIs, streams and whole answers, two workers."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config
from a2py.ledger.query import sum_by
from a2py.prices import Price, Rates
from tests import process
from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.proxy.test_keys import write
from tests.scripted import SSE, Answer, Peer, Raw, ScriptedServer, answering, completion, refusing, text
from tests.whole.test_ledger import flush_rows

CHAT = "/v1/chat/completions"
BOTH = pytest.mark.parametrize("where", ["/v1/messages", CHAT])
STREAMS = pytest.mark.parametrize("stream", [True, False])
#: Dollars a token, so that an answer of `counting` costs 0.12.
PRICE = Price(Rates(1e-4, 2e-3))


def key(name: str) -> dict[str, str]:
    return {"x-api-key": f"sk-{name}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def priced_config(path: Path, base: str, *more: Any, price: Price | None = PRICE, **settings: Any) -> Config:
    """`test-model` at `base` for `price`, with a ledger beside `path`."""
    first = deployment(base, id="d0", price=price)
    default = config(deployments=(first, *more), ledger=str(path.with_name("usage.db")), **settings)
    return replace(default, keys_path=str(path))


def counting(input: int = 200, output: int = 50) -> Any:
    """An upstream that counts these tokens."""
    tokens = {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}

    async def script(c: Peer) -> None:
        if c.request.json.get("stream"):
            c.head(200, SSE)
            c.events(*text("Hi", tokens=tokens))
            c.end()
        else:
            c.reply({**completion("Hi"), "usage": tokens})

    return script


def error_of(answer: Answer) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(answer.body)["error"]
    return error


async def spent(proxy: Running, name: str = "alice") -> tuple[float, float]:
    """What a key has spent, and what is reserved for it."""
    keeper = proxy.services.books.keeper
    assert keeper is not None
    await asyncio.wrap_future(keeper.writer.flush())
    return read_spent(Path(keeper.path), name)


def read_spent(ledger: Path, name: str = "alice") -> tuple[float, float]:
    with closing(sqlite3.connect(ledger)) as connection:
        total = connection.execute("SELECT total(cost) FROM spent WHERE key = ?", (name,)).fetchone()[0]
        return total, connection.execute("SELECT total(cost) FROM reserved WHERE key = ?", (name,)).fetchone()[0]


# -- rates -------------------------------------------------------------------------------------------------------------


@BOTH
@STREAMS
async def test_requests_a_minute(path: Path, where: str, stream: bool) -> None:
    write(path, alice={"rpm": 1}, bob={})
    async with ScriptedServer(*[answering("Hi")] * 2) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            assert (await proxy.ask(message(stream=stream), where, headers=key("alice"))).status == 200
            answer = await proxy.ask(message(stream=stream), where, headers=key("alice"))
            assert answer.status == 429 and 0 < int(answer.headers["retry-after"]) <= 60
            error = error_of(answer)
            assert error["type"] == "rate_limit_error"
            assert error["message"].startswith("The key alice has reached its limit (rpm 1). Ask again in ")
            assert error.get("code") == ("rate_limit_exceeded" if where == CHAT else None)
            assert (await proxy.ask(message(stream=stream), where, headers=key("bob"))).status == 200


@BOTH
async def test_a_refused_model_counts_for_no_limit(path: Path, where: str) -> None:
    """403 comes before rate and budget, also when these are used up."""
    write(path, alice={"rpm": 1, "budget": "0.01/day", "models": "[test-model]"})
    async with ScriptedServer(counting()) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            other = {**message(), "model": "other"}
            assert (await proxy.ask(other, where, headers=key("alice"))).status == 403
            assert (await proxy.ask(message(), where, headers=key("alice"))).status == 200
            assert (await proxy.ask(other, where, headers=key("alice"))).status == 403
            assert (await proxy.ask(message(), where, headers=key("alice"))).status == 429


async def test_counting_tokens_is_no_request_of_a_model(path: Path) -> None:
    write(path, alice={"rpm": 1, "budget": "1/day"})
    async with ScriptedServer(counting()) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            for _ in range(3):
                answer = await proxy.ask(message(stream=False), "/v1/messages/count_tokens", headers=key("alice"))
                assert answer.status == 200
            assert (await proxy.ask(message(), headers=key("alice"))).status == 200


@BOTH
@STREAMS
async def test_tokens_a_minute_are_those_that_the_upstream_counts(path: Path, where: str, stream: bool) -> None:
    write(path, alice={"tpm": 5000})
    async with ScriptedServer(counting(4000, 990), counting()) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            assert (await proxy.ask(message(stream=stream), where, headers=key("alice"))).status == 200
            use = proxy.services.key_limits.usage()["alice"]
            assert use == (0, 0, 4990)
            answer = await proxy.ask(message(stream=stream), where, headers=key("alice"))
            assert answer.status == 429 and "tpm 5000" in error_of(answer)["message"]


@BOTH
@STREAMS
@pytest.mark.parametrize("end", ["answered", "refused", "left"])
async def test_requests_at_a_time(path: Path, where: str, stream: bool, end: str) -> None:
    """One place is taken while a request runs, and free again however it ends."""
    write(path, alice={"max_parallel": 1, "budget": "9/day"})
    go, came = asyncio.Event(), asyncio.Event()

    async def slow(c: Peer) -> None:
        came.set()
        await go.wait()
        if end == "left":
            await c.wait_disconnect()
        else:
            await (counting() if end == "answered" else refusing(400, "no"))(c)

    async with ScriptedServer(slow, counting()) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            client = proxy.client()
            await client.__aenter__()
            client.ask("POST", where, message(stream=stream), tuple(key("alice").items()))
            await came.wait()
            answer = await proxy.ask(message(), where, headers=key("alice"))
            assert answer.status == 429 and answer.headers["retry-after"] == "1"
            assert "max_parallel 1" in error_of(answer)["message"]
            if end == "left":
                client.reset()
            go.set()
            if end != "left":
                assert (await client.answer()).status == (200 if end == "answered" else 400)
            await settle(lambda: proxy.services.key_limits.usage()["alice"].running == 0)
            assert (await proxy.ask(message(), where, headers=key("alice"))).status == 200
            await client.__aexit__(None, None, None)
            assert (await spent(proxy))[1] == 0


# -- budgets -----------------------------------------------------------------------------------------------------------


@BOTH
@STREAMS
async def test_a_budget_is_spent_and_says_when_it_renews(path: Path, where: str, stream: bool) -> None:
    """A small budget never shuts out a first request, and what was spent is what the ledger has."""
    write(path, alice={"budget": "0.15/month"}, bob={})
    async with ScriptedServer(*[counting()] * 3) as upstream:
        settings = priced_config(path, upstream.base)
        async with run_proxy(settings) as proxy:
            for _ in range(2):
                assert (await proxy.ask(message(stream=stream), where, headers=key("alice"))).status == 200
            assert await spent(proxy) == pytest.approx((0.24, 0.0))
            answer = await proxy.ask(message(stream=stream), where, headers=key("alice"))
            error = error_of(answer)
            assert answer.status == 402 and answer.headers["x-should-retry"] == "false"
            assert error["type"] == ("insufficient_quota" if where == CHAT else "billing_error")
            assert error["message"].startswith(
                "The key alice has spent its budget of 0.15/month (US dollars): 0.2400. It renews at "
            )
            assert "-01 00:00 UTC. Ask the owner of this proxy for a larger one" in error["message"]
            assert (await proxy.ask(message(stream=stream), where, headers=key("bob"))).status == 200
        async with run_proxy(settings) as proxy:  # a restart forgets nothing
            assert (await proxy.ask(message(stream=stream), where, headers=key("alice"))).status == 402
    groups = {group.name: group for group in sum_by(settings.settings.ledger, "key")}  # type: ignore[arg-type]
    assert groups["alice"].cost == pytest.approx(0.24) and groups["bob"].cost == pytest.approx(0.12)


@pytest.mark.parametrize(
    "member",
    [
        '"background":true',
        '"background":true,"background":false',
        '"background":true,"backgr\\u006fund":null',
        '"Background":true',
        '"background":false,"bac\u212aground":true',
    ],
)
async def test_what_costs_later_is_refused_to_a_key_with_a_budget(path: Path, member: str) -> None:
    """The upstream answers a `background: true` before it has counted anything. Servers differ in which of two members
    they take, and in whether case counts."""
    write(path, alice={"budget": "1/day"}, bob={})
    body = f'{{"model":"test-model","input":"Hi",{member}}}'.encode()

    async def accept(c: Peer) -> None:
        c.reply({"id": "resp_1", "object": "response", "status": "queued", "usage": None, "output": []})

    async with ScriptedServer(accept) as upstream, run_proxy(priced_config(path, upstream.base)) as proxy:
        answer = await proxy.ask(body, "/v1/responses", headers=key("alice"))
        assert answer.status == 403 and "Ask without `background`" in error_of(answer)["message"]
        assert upstream.requests == []
        assert (await proxy.ask(body, "/v1/responses", headers=key("bob"))).status == 200


@BOTH
async def test_a_model_without_a_price_is_refused_to_a_key_with_a_budget(path: Path, where: str) -> None:
    write(path, alice={"budget": "1/day"}, bob={})
    async with ScriptedServer(counting()) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base, price=None)) as proxy:
            answer = await proxy.ask(message(), where, headers=key("alice"))
            assert answer.status == 403 and answer.headers["x-should-retry"] == "false"
            assert "the price of 'test-model' is not known" in error_of(answer)["message"]
            assert "`a2py: prices:`" in error_of(answer)["message"]
            assert (await proxy.ask(message(), where, headers=key("bob"))).status == 200


@pytest.mark.parametrize(
    ("where", "mode", "status"),
    [
        ("/v1/embeddings", "embedding", 200),
        ("/v1/embeddings", "", 200),
        ("/v1/moderations", "moderation", 200),
        ("/v1/rerank", "rerank", 200),
        ("/v1/images/generations", "image_generation", 403),
        (CHAT, "", 403),
    ],
)
async def test_without_output_tokens_the_price_of_input_is_enough(
    path: Path, where: str, mode: str, status: int
) -> None:
    write(path, alice={"budget": "1/day"})

    async def script(c: Peer) -> None:
        c.reply({"object": "list", "data": [], "usage": {"prompt_tokens": 200, "total_tokens": 200}})

    async with ScriptedServer(script) as upstream:
        first = deployment(upstream.base, "vectors", id="d0", price=Price(Rates(input=1e-4)), mode=mode)
        async with run_proxy(priced_config(path, upstream.base, first)) as proxy:
            answer = await proxy.ask({"model": "vectors", "input": "Hi"}, where, headers=key("alice"))
            assert answer.status == status, answer.body
            if status == 200:
                assert await spent(proxy) == pytest.approx((0.02, 0))
            else:
                assert "the price of 'vectors' is not known" in error_of(answer)["message"]


@BOTH
async def test_a_fallback_without_a_price_is_not_asked(path: Path, where: str) -> None:
    write(path, alice={"budget": "1/day"}, bob={})
    async with ScriptedServer(*[refusing(500, "broken")] * 3) as upstream:
        second = deployment(upstream.base, "second", id="second")
        settings = priced_config(path, upstream.base, second, fallbacks={"test-model": ("second",)})
        async with run_proxy(settings) as proxy:
            for name, questions in (("alice", 1), ("bob", 3)):
                assert (await proxy.ask(message(), where, headers=key(name))).status == 500
                assert len(upstream.requests) == questions


@BOTH
async def test_a_free_model_is_answered_when_the_budget_is_spent(path: Path, where: str) -> None:
    """But not by a fallback that costs something."""
    write(path, alice={"budget": "0.1/day"})
    async with ScriptedServer(counting(), counting(), refusing(500, "broken")) as upstream:
        dear = deployment(upstream.base, "dear", id="dear", price=PRICE)
        free = Price(Rates(0.0, 0.0))
        settings = priced_config(path, upstream.base, dear, price=free, fallbacks={"test-model": ("dear",)})
        async with run_proxy(settings) as proxy:
            for model, status in (("dear", 200), ("dear", 402), ("test-model", 200), ("test-model", 500)):
                answer = await proxy.ask({**message(stream=False), "model": model}, where, headers=key("alice"))
                assert answer.status == status, model
            assert len(upstream.requests) == 3


@BOTH
async def test_a_dear_fallback_of_a_free_model_is_settled(path: Path, where: str) -> None:
    write(path, alice={"budget": "0.1/day"})
    async with ScriptedServer(refusing(500, "broken"), counting()) as upstream:
        dear = deployment(upstream.base, "dear", id="dear", price=PRICE)
        settings = priced_config(
            path, upstream.base, dear, price=Price(Rates(0.0, 0.0)), fallbacks={"test-model": ("dear",)}
        )
        async with run_proxy(settings) as proxy:
            assert (await proxy.ask(message(), where, headers=key("alice"))).status == 200
            assert await spent(proxy) == pytest.approx((0.12, 0.0))


@BOTH
async def test_a_refused_request_costs_nothing(path: Path, where: str) -> None:
    write(path, alice={"budget": "1/day"})
    async with ScriptedServer(refusing(400, "no")) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            assert (await proxy.ask(message(), where, headers=key("alice"))).status == 400
            assert await spent(proxy) == (0.0, 0.0)


@BOTH
@STREAMS
async def test_who_leaves_early_pays_for_the_input(path: Path, where: str, stream: bool) -> None:
    """Otherwise a key could spend what it likes, and leave before the upstream has counted."""
    write(path, alice={"budget": "1/day"})
    came = asyncio.Event()

    async def silent(c: Peer) -> None:
        came.set()
        await c.wait_disconnect()

    async with ScriptedServer(silent) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            async with proxy.client() as client:
                client.ask("POST", where, message("word " * 1000, stream=stream), tuple(key("alice").items()))
                await came.wait()
                client.reset()
            await settle(lambda: not proxy.services.running.exchanges)
            cost, rest = await spent(proxy)
            (row,) = await flush_rows(proxy, path.with_name("usage.db"))
            assert rest == 0 and 0.05 < cost == pytest.approx(row["cost"]), "as the ledger has it"


async def test_the_output_of_a_model_becomes_known(path: Path) -> None:
    """What is reserved is the smaller of `max_tokens` and what the model usually gives, at first 4,096."""
    write(path, alice={"budget": "100/day"})
    costs: list[float] = []

    async with ScriptedServer(*[counting(10, 100)] * 3) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            budgets = proxy.services.books.open_budgets()
            real = budgets.reserve

            async def reserve(caller: Any, cost: float) -> Any:
                costs.append(cost)
                return await real(caller, cost)

            budgets.reserve = reserve  # type: ignore[method-assign]
            for most in (32_000, 32_000, 50):
                await proxy.ask({**message(), "max_tokens": most}, headers=key("alice"))
    # an eighth of the first answer counts: 4096 - 3996 / 8, rounded up
    assert [int(cost / 2e-3) for cost in costs] == [4096, 3597, 50]


async def test_keys_without_a_budget_never_touch_the_file(path: Path) -> None:
    write(path, alice={"rpm": 9, "tpm": 100_000, "max_parallel": 2}, bob={"budget": "1/day"})
    async with ScriptedServer(*[counting()] * 2) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            keeper = proxy.services.books.keeper
            assert keeper is not None
            jobs, real = list[Any](), keeper.writer.submit

            def submit(job: Any) -> Any:
                jobs.append(job)
                return real(job)

            keeper.writer.submit = submit  # type: ignore[method-assign]
            assert (await proxy.ask(message(), headers=key("alice"))).status == 200
            assert not jobs and proxy.services.books.budgets is None
            assert (await proxy.ask(message(), headers=key("bob"))).status == 200
            assert len(jobs) == 2


async def test_budgets_need_a_ledger(path: Path) -> None:
    """At the start it is refused; later the keys that are used stay."""
    write(path, alice={"budget": "1/day"})
    off = replace(config("http://127.0.0.1:9", ledger=False), keys_path=str(path))
    with pytest.raises(Exception, match="the key alice has a budget, and no ledger is kept"):
        async with run_proxy(off):
            pass
    write(path, alice={})
    async with run_proxy(off, clock=lambda: 1000.0) as proxy:
        write(path, alice={"budget": "1/day"}, bob={})
        proxy.services.keys.refresh(False, at_once=True)
        assert [row.caller.name for row in proxy.services.keys.rows] == ["alice"]
        assert "the key alice has a budget" in proxy.lines[-1]["error"]
        write(path, alice={"budget": "1/day", "revoked": "true"}, bob={})
        proxy.services.keys.refresh(False, at_once=True)
        assert len(proxy.services.keys.rows) == 2, "a revoked key spends nothing"


@pytest.mark.parametrize("is_folder", [True, False])
async def test_a_ledger_that_can_t_be_written_stops_keys_with_a_budget_only(path: Path, is_folder: bool) -> None:
    write(path, alice={"budget": "1/day"}, bob={})
    if is_folder:
        os.mkdir(path.with_name("usage.db"))
    else:
        with closing(sqlite3.connect(path.with_name("usage.db"))) as connection:
            connection.execute("CREATE TABLE other (x)")
    async with ScriptedServer(counting()) as upstream:  # noqa: SIM117
        async with run_proxy(priced_config(path, upstream.base)) as proxy:
            answer = await proxy.ask(message(), headers=key("alice"))
            assert answer.status == 503 and "the ledger can't be written" in error_of(answer)["message"]
            usage = await proxy.ask(None, "/usage", "GET", headers=key("alice"))
            assert usage.status == 500 and "The ledger can't be read" in error_of(usage)["message"]
            for body in (answer.body, usage.body):
                assert path.parent.name.encode() not in body, "its path is for the log"
            assert path.with_name("usage.db").name in proxy.log
            assert (await proxy.ask(message(), headers=key("bob"))).status == 200


# -- two workers -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_workers(folder: Path, base: str, budget: str) -> AsyncIterator[tuple[process.Proxy, Path]]:
    """A proxy of two processes with a key `alice`. Its model costs 0.001 a token."""
    write(folder / "keys.yaml", alice={"budget": budget})
    ledger = folder / "usage.db"
    model = process.deployment(
        "test-model", base, "up", "openai", input_cost_per_token=1e-3, output_cost_per_token=1e-3
    )
    flags = ["--num-workers", "2"]
    context = process.running(folder, [model], flags=flags, a2py={"ledger": str(ledger), "affinity": False})
    proxy = await asyncio.to_thread(context.__enter__)
    try:
        yield proxy, ledger
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def ask(proxy: process.Proxy, where: str = "/v1/messages", **more: Any) -> Answer:
    async with Raw(int(proxy.base.rpartition(":")[2])) as client:
        client.ask("POST", where, {**message("Hi", stream=False), **more}, tuple(key("alice").items()))
        return await client.answer()


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix")
@pytest.mark.parametrize("actual", [30, 200])
async def test_500_parallel_requests_over_two_workers_overspend_by_what_was_in_flight(
    tmp_path: Path, actual: int
) -> None:
    """No answer ends before each request was either refused or sent upstream, so all that are admitted are in flight at
    a time. Then: spent - budget < the last reservation + the error of what was reserved."""
    requests, decision = 500, asyncio.Event()
    admissions = refusals = 0

    async def script(c: Peer) -> None:
        nonlocal admissions
        admissions += 1
        if admissions + refusals == requests:
            decision.set()
        await decision.wait()
        c.reply({**completion("Hi"), "usage": {"prompt_tokens": 10, "completion_tokens": actual - 10}})

    async def one() -> int:
        nonlocal refusals
        answer = await ask(proxy)
        if answer.status != 200:
            refusals += 1
            if admissions + refusals == requests:
                decision.set()
        return answer.status

    async with ScriptedServer(*[script] * (requests + 1)) as upstream:  # noqa: SIM117
        async with two_workers(tmp_path, upstream.base, "5/day") as (proxy, ledger):
            statuses = await asyncio.gather(*(one() for _ in range(requests)))
            count = statuses.count(200)
            # 503: a loaded machine did not get through the line before the ledger in budgets.WAIT_SECONDS
            assert count == admissions == len(upstream.requests)
            assert statuses.count(429) + statuses.count(503) == requests - count
            while read_spent(ledger)[1]:  # noqa: ASYNC110  (other processes write it)
                await asyncio.sleep(0.05)
            total, _ = read_spent(ledger)
            assert total == pytest.approx(count * actual / 1000), "what the upstream counted"
            if total >= 5:
                assert (await ask(proxy)).status == 402
                assert len(upstream.requests) == count
    # max_tokens 100 and some ten tokens of input: what each had reserved follows from how many were admitted
    reservations = [5 / count, 5 / (count - 1)]
    assert reservations[1] > 0.1 and reservations[0] < 0.14
    assert total - 5 <= count * max(0.0, actual / 1000 - reservations[0]) + reservations[1] + 1e-9
    assert count >= math.floor(5 / 0.14)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
async def test_what_a_killed_worker_had_reserved_is_released(tmp_path: Path) -> None:
    came = asyncio.Event()

    async def silent(c: Peer) -> None:
        came.set()
        await c.wait_disconnect()

    async with ScriptedServer(silent, counting(10, 10)) as upstream:  # noqa: SIM117
        async with two_workers(tmp_path, upstream.base, "0.1/day") as (proxy, ledger):
            running = asyncio.ensure_future(ask(proxy))
            await came.wait()
            assert (await ask(proxy)).status == 429
            for pid in _children(proxy.pid):
                os.kill(pid, signal.SIGKILL)
            await asyncio.gather(running, return_exceptions=True)
            assert read_spent(ledger)[1] > 0
            with closing(sqlite3.connect(ledger)) as connection:  # half a minute later
                connection.execute("UPDATE reserved SET until = until - 31")
                connection.commit()
            answer = None
            while answer is None:  # until a new worker serves
                try:
                    answer = await ask(proxy)
                except (OSError, AssertionError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.1)
            assert answer.status == 200


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.integration
def test_nothing_is_imported_where_no_key_has_it(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from tests.proxied import config, message, run_proxy
from tests.proxy.test_keys import write
from tests.scripted import ScriptedServer, answering

def loaded():
    names = ("a2py.config.keys", "a2py.proxy.keylimits", "a2py.proxy.budgets", "a2py.ledger.spending")
    return [name.rpartition(".")[2] for name in names if name in sys.modules]

async def main(**keys):
    path = Path("keys.yaml")
    if keys:
        write(path, **keys)
    headers = {"x-api-key": "sk-alice"} if keys else {}
    async with ScriptedServer(answering("Hi")) as upstream:
        made = replace(config(upstream.base), keys_path=str(path))
        async with run_proxy(made) as proxy:
            assert (await proxy.ask(message(), headers=headers)).status == 200
    print(loaded())

asyncio.run(main())
asyncio.run(main(alice={}))
asyncio.run(main(alice={"rpm": 5}))
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines() == ["[]", "['keys']", "['keys', 'keylimits']"], result.stderr
    assert os.listdir(tmp_path) == ["keys.yaml"]
