"""Whatever names clients think of (models behind a wildcard, hosts, origins, paths, sessions, block types), the proxy
keeps no more of them than it has bounds for."""

from __future__ import annotations

import types
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from a2py.config import load, names
from a2py.messages.count import Calibration
from a2py.proxy import access, cachehealth, context, cooldowns, lessons, metrics
from tests.proxied import message, run_proxy
from tests.scripted import Peer, ScriptedServer, answering

#: Set for the test, instead of hundreds; names of each kind that are asked for.
BOUND, NAMES = 12, 60
STATIC = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)


def containers(*roots: Any) -> dict[int, tuple[str, int]]:
    """Every container that `roots` hold, through objects of a2py alone: id → (where, entries)."""
    sizes: dict[int, tuple[str, int]] = {}
    queue: deque[tuple[str, Any]] = deque((type(root).__name__, root) for root in roots)
    ids: set[int] = set()
    while queue:
        where, value = queue.popleft()
        if id(value) in ids or isinstance(value, STATIC):
            continue
        ids.add(id(value))
        if isinstance(value, (dict, list, set, frozenset, tuple, deque)):
            sizes[id(value)] = (where, len(value))
            inner = [*value.values(), *value] if isinstance(value, dict) else list(value)
            queue.extend((f"{where}[]", one) for one in inner)
        elif type(value).__module__.startswith("a2py"):
            slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
            queue.extend(
                (f"{where}.{name}", getattr(value, name, None)) for name in {*slots, *getattr(value, "__dict__", ())}
            )
    return sizes


async def upstream_script(c: Peer) -> None:
    """Teaches something of each model at the first request, tells a context, and answers."""
    if c.request.target.startswith("/api/"):
        c.reply({"models": [], "parameters": "num_ctx 100000"})
    elif "max_tokens" in c.request.json:
        error = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        c.reply(
            {
                "error": {
                    "message": error,
                    "type": "invalid_request_error",
                    "param": "max_tokens",
                    "code": "unsupported_parameter",
                }
            },
            400,
        )
    elif "fails" in c.request.json["model"]:
        c.reply({"error": {"message": "no such model"}}, 404)
    else:
        await answering("Hi")(c)


@pytest.mark.parametrize("star", ["*", "some/*"])
async def test_names_of_clients_do_not_pile_up(star: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (names, "MAX_BOUND"),
        (cachehealth, "MAX_SESSIONS"),
        (context, "MAX_CONTEXTS"),
        (lessons, "MAX_LESSONS"),
        (metrics, "MAX_DEGRADED"),
        (metrics, "MAX_SERIES"),
        (cooldowns, "MAX_MODELS"),
        (Calibration, "MODELS"),
    ):
        assert getattr(module, name) > BOUND
        monkeypatch.setattr(module, name, BOUND)
    path = tmp_path / "a2py.yaml"
    async with ScriptedServer(upstream_script) as upstream:
        entry = f"{{model_name: '{star}', litellm_params: {{model: 'ollama_chat/*', api_base: '{upstream.base}', api_key: sk-x}}}}"
        path.write_text(
            f"model_list: [{entry}]\na2py: {{quirks: {{'*': {{context_probe: ollama}}}}}}\nrouter_settings: {{num_retries: 0}}\n"
        )
        async with run_proxy(load(str(path), {}, str(tmp_path))) as proxy:

            async def ask(first: int) -> None:
                for n in range(first, first + NAMES):
                    name = f"some/{'fails' if n % 4 == 0 else 'good'}-{n}"
                    body = message(
                        "word " * 2000, n % 2 == 0, model=name, tools=[{"type": f"odd_tool_{n}", "name": f"t{n}"}]
                    )
                    headers = {
                        "x-claude-code-session-id": f"s{n}",
                        "x-a2py-hop": f"h{n}",
                        "anthropic-beta": f"beta-{n}",
                    }
                    await proxy.ask(body, headers=headers)
                    await proxy.ask(body, f"/p{n}/v1/messages/count_tokens")
                    await proxy.ask(None, f"/v1/models/{name}", "GET", {"host": f"h{n}.example:{n + 1}"})
                    await proxy.ask(
                        None,
                        f"/v1/models/{name}-x",
                        "GET",
                        {"host": f"[::{n + 1:x}]:80", "origin": f"https://o{n}.example"},
                    )

            await ask(0)
            before = containers(proxy.services)
            assert access._is_local.cache_info().maxsize == 64
            await ask(1000)
            after = containers(proxy.services)
            stores = [
                proxy.services.prompts.contexts._sizes,
                proxy.services.lessons._lessons,
                proxy.services.sizes.counts._models,
                proxy.services.config._names.bindings,
            ]
            assert all(stores), "nothing was taught, or this tests nothing"
            text = (await proxy.ask(None, "/metrics", "GET")).body.decode()
    for id_, (where, size) in after.items():
        old = before.get(id_, ("", 0))
        if old[0] == where:
            assert size <= max(old[1], BOUND + 1), f"{where} has grown from {old[1]} to {size}"
    more = sum(size for _, size in after.values()) - sum(size for _, size in before.values())
    assert more < NAMES, f"{more} entries more than after the first {NAMES} names"
    assert 'what="other"' in text and text.count("a2py_degraded_total{") <= BOUND + 1


def test_forgotten_lessons_leave_nothing() -> None:
    now = 0.0
    store = lessons.Lessons(lambda: now)
    from tests.proxied import deployment

    for n in range(50):
        store.learn(deployment("http://x/v1", model=f"m{n}"), {"max_tokens_field": "max_completion_tokens"})
    now = lessons.LESSON_SECONDS + 1
    for n in range(50):
        assert store.apply(deployment("http://x/v1", model=f"m{n}")) == deployment("http://x/v1", model=f"m{n}")
    assert not store._lessons


def test_what_requests_lose_is_counted_by_name() -> None:
    counters = metrics.Metrics()
    for what in ("image", "image", "a\u202eb", "Bad-Name", "x" * 41, "web_search.blocked_domains"):
        counters.add_degraded(what)
    for n in range(2 * metrics.MAX_DEGRADED):
        counters.add_degraded(f"odd_{n}")
    counters.add_degraded("image")
    lines = [line for line in counters.text({}).splitlines() if line.startswith("a2py_degraded_total{")]
    assert (
        'a2py_degraded_total{what="image"} 3' in lines
        and 'a2py_degraded_total{what="web_search.blocked_domains"} 1' in lines
    )
    assert len(lines) <= metrics.MAX_DEGRADED + 1
