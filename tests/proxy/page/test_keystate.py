"""The page of a proxy with keys of its clients: who may open it, and what it shows of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from a2py.prices import Price, Rates
from a2py.proxy.keys import LOOK_SECONDS
from a2py.proxy.page import keystate
from tests.paged import issue_token, open_page, sign_in
from tests.proxied import config, deployment, message, run_proxy, settle
from tests.proxy.test_keys import write
from tests.scripted import ScriptedServer, answering

DEAD = "http://127.0.0.1:9/v1"


async def test_an_admins_key_opens_the_page_and_another_does_not(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    write(path, alice={}, boss={"admin": "true"}, gone={"admin": "true", "revoked": "true"})
    async with run_proxy(replace(config(DEAD), keys_path=str(path))) as proxy:
        assert (await issue_token(proxy.port, x_api_key="sk-alice")).status == 403
        for stranger in ("sk-gone", "sk-nobody", ""):
            assert (await issue_token(proxy.port, x_api_key=stranger)).status == 401
        async with open_page(proxy, key="sk-boss") as page:
            assert page.lines[0]["keys"] is True
            assert [key["name"] for key in page.lines[1]["keys"]] == ["alice", "boss"]
            assert "sha256" not in json.dumps(page.lines)
        assert [line["by"] for line in proxy.lines if line["event"] == "page opened"] == ["boss"]


async def test_a_key_that_is_revoked_closes_its_page(tmp_path: Path) -> None:
    path, now = tmp_path / "keys.yaml", 1000.0
    write(path, boss={"admin": "true"}, other={"admin": "true"})
    async with run_proxy(replace(config(DEAD), keys_path=str(path)), clock=lambda: now) as proxy:
        mine, others = await sign_in(proxy.port, "sk-boss"), await sign_in(proxy.port, "sk-other")
        write(path, boss={"admin": "true", "revoked": "true"}, other={"admin": "true"})
        now += LOOK_SECONDS + 0.1
        assert (await mine.get("models")).status == 401 and (await others.get("models")).status == 200
        write(path, boss={"admin": "true"}, other={})
        now += LOOK_SECONDS + 0.1
        assert (await others.get("models")).status == 401, "it is no admin's key any more"


async def test_a_page_that_is_open_ends_with_its_key(tmp_path: Path) -> None:
    path, now = tmp_path / "keys.yaml", 1000.0
    write(path, boss={"admin": "true"}, other={"admin": "true"})
    async with (
        run_proxy(replace(config(DEAD), keys_path=str(path)), clock=lambda: now) as proxy,
        open_page(proxy, key="sk-boss") as page,
        open_page(proxy, key="sk-other") as another,
    ):
        write(path, boss={"admin": "true", "revoked": "true"}, other={"admin": "true"})
        now += LOOK_SECONDS + 0.1
        await page.wait_for("end")
        assert not [line for line in another.lines if line["type"] == "end"]


async def test_what_the_page_asks_is_asked_with_the_key_that_has_opened_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    write(path, boss={"admin": "true", "models": "[other]"})
    async with ScriptedServer(answering("ok")) as upstream:
        settings = replace(
            config(upstream.base, deployments=(deployment(upstream.base, "other", id="o"),)), keys_path=str(path)
        )
        async with run_proxy(settings) as proxy, open_page(proxy, key="sk-boss") as page:
            assert (await page.post("try", message(model="other"))).status == 200
            row = await page.wait_for("request", status=200)
            assert (row["key"], row["agent"]) == ("boss", "page")
            assert (await page.post("try", message())).status == 403, "the key is not for this model"


async def test_limits_and_budgets_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystate, "READ_SECONDS", 0.0)
    path = tmp_path / "keys.yaml"
    write(path, alice={"budget": "20/day", "rpm": "100", "expires": "2099-01-01"}, boss={"admin": "true"})
    price = Price(Rates(1e-3, 1e-3))
    async with ScriptedServer(answering("ok")) as upstream:
        settings = config(ledger=str(tmp_path / "usage.db"), deployments=(deployment(upstream.base, price=price),))
        async with run_proxy(replace(settings, keys_path=str(path))) as proxy, open_page(proxy, key="sk-boss") as page:
            alice, boss = page.lines[1]["keys"]
            assert (alice["budget"], alice["period"], alice["rpm"], alice["spent"]) == (20, "day", 100, None)
            assert alice["renews"] > page.lines[0]["time"] and alice["expires"] > alice["renews"]
            assert boss["budget"] is None and boss["renews"] is None and boss["is_admin"]
            await proxy.ask(message(), headers={"x-api-key": "sk-alice"})

            def spent() -> float:
                states = [line for line in page.lines if line["type"] == "state"]
                return states[-1]["keys"][0]["spent"] or 0.0

            await settle(lambda: spent() > 0)
            row = await page.wait_for("request")
            assert row["key"] == "alice" and row["cost"] == pytest.approx(spent())
