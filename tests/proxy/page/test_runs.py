"""What the page may start: a request asked again, a request of its own, a check. All of it costs, so only a POST does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.proxy.page.site import site_of
from a2py.proxy.responses import PAGE_HEADERS
from a2py.upstream import Upstream
from tests.paged import open_page
from tests.proxied import config, deployment, message, run_proxy, settle
from tests.scripted import ScriptedServer, answering, refusing


async def test_a_request_is_asked_again_as_the_pages_own(tmp_path: Path) -> None:
    ledger = str(tmp_path / "usage.db")
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base, ledger=ledger)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        client_headers = {
            "anthropic-beta": "b1",
            "x-claude-code-session-id": "s1",
            "x-api-key": "client-key",
            "x-other": "1",
        }
        first = await proxy.ask(message("Hi", top_k=5), headers=client_headers)
        row = await page.wait_for("request")
        answer = await page.post(f"requests/{row['id']}/replay")
        assert answer.status == 200 and answer.names == first.names
        assert PAGE_HEADERS.items() <= answer.headers.items() and answer.headers["x-a2py-degraded"] == "top_k"
        again = await page.wait_for("request", agent="page")
        assert again["session"] == "s1" and again["id"] != row["id"] and again["recorded"]
        assert upstream.requests[0].json == upstream.requests[1].json
        detail = (await page.get(f"requests/{again['id']}")).json
        headers = dict(detail["client"]["headers"])
        assert headers["anthropic-beta"] == "b1" and "x-other" not in headers and "x-api-key" not in headers
        assert "authorization" not in headers
        usage = (await page.get("usage?by=agent")).json
        assert {group["agent"]: group["requests"] for group in usage["groups"]} == {"": 1, "page": 1}


@pytest.mark.parametrize("id", ["req_" + "x" * 24, "row_1", "nothing", "req_%2e%2e"])
async def test_what_is_not_kept_is_not_asked_again(id: str, tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        assert (await page.post(f"requests/{id}/replay")).status == 404
        assert (await page.get(f"requests/{id}/replay")).status in (404, 405)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_page_tries_a_model(stream: bool, tmp_path: Path) -> None:
    async with (
        ScriptedServer(answering("Hel", "lo")) as upstream,
        run_proxy(config(upstream.base, master_key="sk-the-master")) as proxy,
        open_page(proxy, key="sk-the-master") as page,
    ):
        answer = await page.post("try", message("Hi", stream=stream))
        assert answer.status == 200 and PAGE_HEADERS.items() <= answer.headers.items()
        assert b"Hel" in answer.body
        row = await page.wait_for("request")
        assert (row["agent"], row["key"]) == ("page", "master")


async def test_errors_of_a_try_are_those_of_the_api(tmp_path: Path) -> None:
    async with (
        ScriptedServer(refusing(400, "no such field")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        for body, status in ((b"{", 400), (message(model="nobody"), 404), (message(), 400)):
            answer = await page.post("try", body)
            assert answer.status == status and answer.json["error"]["message"]
            assert PAGE_HEADERS.items() <= answer.headers.items()


async def test_a_try_is_a_post(tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        answer = await page.ask("GET", "try")
        assert answer.status == 405 and answer.headers["allow"] == "POST"


# -- check -------------------------------------------------------------------------------------------------------------


async def probe(deployment: Deployment, upstream: Upstream) -> AsyncIterator[dict[str, str]]:
    for name, result in (("reach", "ok"), ("tools", "fail")):
        yield {"probe": name, "result": result, "detail": deployment.model, "advice": ""}


async def test_a_check_has_a_line_for_each_probe(tmp_path: Path) -> None:
    others = (
        deployment("http://127.0.0.1:9/v1", "second", id="d2", model="two"),
        deployment("http://127.0.0.1:9/v1", "broken", id="d3", problem="set a key"),
        deployment("http://127.0.0.1:9/v1", "drawn", id="d4", mode="image_generation"),
    )
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", deployments=others)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        proxy.services.ui.check = probe
        answer = await page.post("check", {"model": None})
        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert (
            answer.headers["content-type"] == "application/x-ndjson" and PAGE_HEADERS.items() <= answer.headers.items()
        )
        assert [(line.get("model"), line.get("probe"), line.get("result")) for line in lines] == [
            ("test-model", "reach", "ok"),
            ("test-model", "tools", "fail"),
            ("second", "reach", "ok"),
            ("second", "tools", "fail"),
            (None, None, None),
        ]
        lines = [json.loads(line) for line in (await page.post("check", {"model": "second"})).body.splitlines()]
        assert [line["detail"] for line in lines[:-1]] == ["two", "two"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({"model": "nobody"}, 404), ({"model": 7}, 400), ({"model": "drawn"}, 404), (b"[]", 400), (b"{", 400)],
)
async def test_what_can_not_be_checked(body: Any, status: int, tmp_path: Path) -> None:
    others = (deployment("http://127.0.0.1:9/v1", "drawn", id="d4", mode="image_generation"),)
    async with (
        run_proxy(config("http://127.0.0.1:9/v1", deployments=others)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        proxy.services.ui.check = probe
        assert (await page.post("check", body)).status == status


async def test_one_check_runs_at_a_time_and_ends_with_its_page(tmp_path: Path) -> None:
    end = asyncio.Event()

    async def hangs(deployment: Deployment, upstream: Upstream) -> AsyncIterator[dict[str, str]]:
        try:
            yield {"probe": "reach", "result": "ok", "detail": "", "advice": ""}
            await asyncio.Event().wait()
        finally:
            end.set()

    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        proxy.services.ui.check = hangs
        async with proxy.client() as client:
            client.ask("POST", "/ui/api/check", {"model": None}, page.headers)
            await client.head()
            await client.piece()
            assert (await page.post("check", {"model": None})).status == 429
        await asyncio.wait_for(end.wait(), 10)
        proxy.services.ui.check = probe
        await settle(lambda: not site_of(proxy.services).runs.is_checking)
        assert (await page.post("check", {"model": None})).status == 200


async def test_a_proxy_in_another_application_has_no_check(tmp_path: Path) -> None:
    async with run_proxy(config("http://127.0.0.1:9/v1")) as proxy, open_page(proxy, tmp_path) as page:
        answer = await page.post("check", {"model": None})
        assert answer.status == 404 and "a2py check" in answer.json["error"]["message"]
