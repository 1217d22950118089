"""Who may open the page and read its data: paths, hosts, origins, tokens, bearers; what every answer carries."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from a2py.proxy.bus import Answers
from a2py.proxy.page import access
from a2py.proxy.page.desk import MAX_LOOKUPS
from a2py.proxy.responses import PAGE_HEADERS
from tests.paged import SECRET, begin_session, issue_token, open_page, sign_in, write_secret
from tests.proxied import Running, config, message, run_proxy
from tests.scripted import Answer, Raw, ScriptedServer, answering

KEY = "master-key-of-the-test"
DEAD = "http://127.0.0.1:9/v1"


async def get(proxy: Running, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
    async with Raw(proxy.port) as client:
        client.ask(method, path, body, [(name.replace("_", "-"), value) for name, value in headers.items()])
        return await client.answer(method)


@pytest.mark.parametrize("path", ["/ui", "/ui/app.js", "/ui/api/live", "/ui/api/nothing", "/ui/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "HEAD"])
async def test_every_answer_has_the_headers(path: str, method: str) -> None:
    async with run_proxy(config(DEAD, allowed_origins=("https://friend.example",))) as proxy:
        for headers in ({}, {"origin": "https://friend.example", "access_control_request_method": "GET"}):
            answer = await get(proxy, path, method, **headers)
            assert PAGE_HEADERS.items() <= answer.headers.items(), answer.headers
            is_page = answer.headers.get("content-type", "").startswith("text/html")
            assert not is_page or (path == "/ui" and answer.status == 200)
            assert answer.status in (200, 401, 403, 404, 405)


@pytest.mark.parametrize(
    "path",
    ["/ui/", "/anthropic/ui", "/v1/ui", "/%75i", "/ui/%61pp.js", "//ui", "/ui/api/live/", "/x/ui/api/live", "/uix"],
)
async def test_a_path_is_matched_exactly(path: str) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        assert (await get(proxy, path)).status == 404


@pytest.mark.parametrize("path", ["/ui/", "/ui/nothing", "/ui/api/live/"])
async def test_a_path_below_the_page_that_is_not_there_names_the_page(path: str) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        message = (await get(proxy, path)).json["error"]["message"]
        assert message == f"Not found: GET {path}. The page is at /ui, without a slash at its end."


async def test_a_request_without_a_bearer_reads_what_it_lacks() -> None:
    async with run_proxy(config(DEAD)) as proxy:
        texts = [
            (await get(proxy, "/ui/api/models", **headers)).json["error"]["message"]
            for headers in ({}, {"authorization": "Bearer none"})
        ]
    assert texts == [
        "Open the page by `a2py ui`: " + text for text in ("this request has no bearer", "this one has ended")
    ]


async def test_the_page_can_be_switched_off_and_then_nothing_of_it_is_imported() -> None:
    async with run_proxy(config(DEAD, ui=False)) as proxy:
        for path in ("/ui", "/ui/app.js", "/ui/api/live", "/ui/api/requests"):
            answer = await get(proxy, path)
            assert answer.status == 404 and "`a2py: ui: false`" in answer.json["error"]["message"]


def test_nothing_of_the_page_is_imported_before_it_is_opened() -> None:
    code = """
import asyncio, sys
from a2py.config import Config, Settings
from a2py.proxy.server import Listen, Server

async def main(ui):
    server = Server(Config(settings=Settings(ui=ui, discover=False)))
    await server.start(Listen("127.0.0.1", 0))
    await server.close()

for ui in (True, False):
    asyncio.run(main(ui))
names = ("a2py.proxy.page", "a2py.proxy.recording", "a2py.proxy.capture", "a2py.proxy.redact")
print([name for name in sys.modules if name.startswith(names)])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", out


# -- tokens ------------------------------------------------------------------------------------------------------------


async def test_a_token_is_worth_one_bearer(tmp_path: Path) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        proxy.services.ui.secret_file = write_secret(tmp_path)
        token = (await issue_token(proxy.port, x_a2py_ui_secret=SECRET)).json
        assert token["expires_in"] == 60
        first, second = await asyncio.gather(*(begin_session(proxy.port, token["token"]) for _ in range(2)))
        assert sorted((first.status, second.status)) == [200, 401]
        refusal = first if first.status == 401 else second
        assert "a2py ui" in refusal.json["error"]["message"]


async def test_a_token_lives_for_a_minute_and_a_bearer_for_hours(tmp_path: Path) -> None:
    now = 1000.0
    async with run_proxy(config(DEAD), clock=lambda: now) as proxy:
        proxy.services.ui.secret_file = write_secret(tmp_path)
        token = (await issue_token(proxy.port, x_a2py_ui_secret=SECRET)).json["token"]
        now += 60.1
        assert (await begin_session(proxy.port, token)).status == 401
        page = await sign_in(proxy.port)
        now += access.BEARER_SECONDS - 1
        assert (await page.get("models")).status == 200
        now += 2
        assert (await page.get("models")).status == 401


@pytest.mark.parametrize("secret", ["", "wrong", "s" * 42, "s" * 44])
async def test_without_keys_the_secret_of_the_state_folder_is_asked_for(secret: str, tmp_path: Path) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        assert (await issue_token(proxy.port, x_a2py_ui_secret=SECRET)).status == 401  # nobody has written one
        proxy.services.ui.secret_file = write_secret(tmp_path)
        assert (await issue_token(proxy.port, x_a2py_ui_secret=secret)).status == 401
        assert (await issue_token(proxy.port, x_a2py_ui_secret=SECRET)).status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_a_secret_that_others_can_read_opens_nothing(tmp_path: Path) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        proxy.services.ui.secret_file = write_secret(tmp_path, 0o644)
        answer = await issue_token(proxy.port, x_a2py_ui_secret=SECRET)
        assert answer.status == 401 and "delete it" in answer.json["error"]["message"]
        (tmp_path / "ui.secret").chmod(0o600)
        (tmp_path / "ui.secret").write_text("short")
        assert (await issue_token(proxy.port, x_a2py_ui_secret="short")).status == 401


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
async def test_a_pipe_in_place_of_the_secret_holds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ui.secret"
    os.mkfifo(path, 0o600)
    async with run_proxy(config(DEAD)) as proxy:
        proxy.services.ui.secret_file = str(path)
        asking = asyncio.ensure_future(issue_token(proxy.port, x_a2py_ui_secret=SECRET))
        try:
            assert (await asyncio.wait_for(asking, 20)).status == 401
        except asyncio.TimeoutError:
            path.open("wb").close()  # lets the thread go on
            raise


async def test_with_a_master_key_only_that_opens_the_page(tmp_path: Path) -> None:
    async with run_proxy(config(DEAD, master_key=KEY)) as proxy:
        proxy.services.ui.secret_file = write_secret(tmp_path)
        assert (await issue_token(proxy.port, x_a2py_ui_secret=SECRET)).status == 401
        assert (await issue_token(proxy.port, x_api_key="wrong")).status == 401
        page = await sign_in(proxy.port, KEY)
        assert (await page.get("models")).json == {"models": ["test-model"]}
        assert [line["by"] for line in proxy.lines if line["event"] == "page opened"] == ["master"]
        proxy.server.reload(lambda: config(DEAD, master_key="another"))
        assert (await page.get("models")).status == 401


@pytest.mark.parametrize("bearer", ["", "x", KEY, SECRET, "Bearer ", "\xff" * 10])
async def test_nothing_is_read_without_a_bearer(bearer: str) -> None:
    async with run_proxy(config(DEAD, master_key=KEY)) as proxy:
        await sign_in(proxy.port, KEY)
        for path in ("live", "requests", "requests/req_1", "models", "usage", "sessions/x"):
            for name in ("authorization", "x_api_key"):
                answer = await get(proxy, f"/ui/api/{path}", **{name: f"Bearer {bearer}"})
                assert answer.status == 401, path
        for path in ("try", "check", "requests/req_1/replay"):
            assert (await get(proxy, f"/ui/api/{path}", "POST", {}, authorization=f"Bearer {bearer}")).status == 401


async def test_guesses_of_tokens_do_not_use_up_the_questions_of_the_bus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, most = 0, 0
    async with run_proxy(config(DEAD)) as proxy:
        gather = proxy.services.bus.gather

        async def count(topic: str, payload: bytes, timeout: float) -> Answers:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return await gather(topic, payload, timeout)

        monkeypatch.setattr(proxy.services.bus, "gather", count)
        answers = await asyncio.gather(*(begin_session(proxy.port, f"guess{n}") for n in range(40)))
        assert {answer.status for answer in answers} == {401}
        assert 1 <= most <= MAX_LOOKUPS


async def test_few_grants_are_kept(tmp_path: Path) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        first = await sign_in_with(proxy, tmp_path)
        for _ in range(access.MAX_BEARERS):
            last = await sign_in(proxy.port)
        assert (await first.get("models")).status == 401 and (await last.get("models")).status == 200


async def sign_in_with(proxy: Running, folder: Path) -> Any:
    proxy.services.ui.secret_file = write_secret(folder)
    return await sign_in(proxy.port)


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'"x"', b'{"token": 7}', b"", b"\xff", b"{}" + b" " * 70_000])
async def test_what_is_no_token_opens_nothing(body: bytes) -> None:
    async with run_proxy(config(DEAD)) as proxy:
        answer = await get(proxy, "/ui/api/session", "POST", body)
        assert answer.status in (400, 401, 413) and "error" in answer.json


# -- hosts and origins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({}, True),
        ({"host": "localhost:4000", "origin": "http://localhost:4000"}, True),
        ({"host": "localhost", "origin": "http://localhost:80"}, True),
        ({"host": "localhost", "origin": "https://localhost"}, True),
        ({"host": "proxy.example", "origin": "https://proxy.example"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
        ({"host": "localhost:4000", "origin": "http://localhost:4001"}, False),
        ({"host": "localhost:4000", "origin": "http://evil.example"}, False),
        ({"host": "localhost", "origin": "https://friend.example"}, False),
        ({"host": "localhost", "origin": "null"}, False),
        ({"host": "localhost", "origin": "ftp://localhost"}, False),
        ({"host": ""}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "same-origin"}, True),
    ],
)
async def test_hosts_and_origins(headers: dict[str, str], is_allowed: bool, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"allowed_hosts": ("proxy.example",), "allowed_origins": ("https://friend.example",)}
    async with run_proxy(config(DEAD, **settings)) as proxy:
        page = await sign_in_with(proxy, tmp_path)
        answer = await get(proxy, "/ui/api/models", authorization=f"Bearer {page.bearer}", **headers)
        assert answer.status == (200 if is_allowed else 403), answer.body
        if not is_allowed and "sec_fetch_site" not in headers:
            answer = await get(proxy, "/ui/api/session", "POST", {"token": "x"}, **headers)
            assert answer.status == 403


async def test_a_link_of_another_site_may_lead_to_the_page_but_not_under_a_strange_name() -> None:
    async with run_proxy(config(DEAD)) as proxy:
        assert (await get(proxy, "/ui", sec_fetch_site="cross-site")).status in (200, 404)
        assert (await get(proxy, "/ui", host="evil.example")).status == 403


async def test_with_a_key_any_name_may_be_the_proxy(tmp_path: Path) -> None:
    async with run_proxy(config(DEAD, master_key=KEY)) as proxy:
        page = await sign_in(proxy.port, KEY)
        own = {"host": "proxy.example", "origin": "https://proxy.example"}
        bearer = f"Bearer {page.bearer}"
        assert (await get(proxy, "/ui/api/models", authorization=bearer, **own)).status == 200
        own["origin"] = "https://evil.example"
        assert (await get(proxy, "/ui/api/models", authorization=bearer, **own)).status == 403


# -- requests ----------------------------------------------------------------------------------------------------------


async def test_a_request_in_full(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answering("Hel", "lo ✓")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        open_page(proxy, tmp_path) as page,
    ):
        answer = await proxy.ask(message("What is ✓?"), headers={"x-custom": "1"})
        row = await page.wait_for("request")
        assert row["recorded"] and row["status"] == 200 and row["model"] == "test-model"
        listing = (await page.get("requests")).json
        assert listing["requests"] == [{name: value for name, value in row.items() if name != "type"}]
        detail = (await page.get(f"requests/{row['id']}")).json
        assert detail["client"]["method"] == "POST" and ["x-custom", "1"] in detail["client"]["headers"]
        (attempt,) = detail["attempts"]
        assert attempt["status"] == 200 and attempt["number"] == 1 and attempt["end"] >= attempt["start"]
        names = [part["name"] for part in detail["parts"]]
        assert names == ["client_request", "upstream_request.1", "upstream_reply.1", "client_reply"]
        parts = {name: (await page.get(f"requests/{row['id']}/parts/{name}")).json for name in names}
        assert "✓" in json.loads(parts["client_request"]["text"])["messages"][0]["content"]
        assert parts["client_reply"]["text"] == answer.body.decode()
        for part in parts.values():
            assert sum(size for _, size in part["pieces"]) == len(part["text"]) and not part["truncated"]
