"""`--capture`: what is written, what never is, and that a capture replays as a test."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from a2py.proxy import capture as capture_module
from tests.proxied import SECRET, config, message, proxied, settle
from tests.scripted import SSE, Answer, Peer, Scripted, answering, refusing


def one(folder: Path) -> dict[str, Any]:
    files = list(folder.glob("*.json"))
    assert len(files) == 1
    data: dict[str, Any] = json.loads(files[0].read_bytes())
    return data


@pytest.mark.parametrize("stream", [True, False])
async def test_everything_of_a_request(stream: bool, tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    scripts = (refusing(500, "first"), answering("Hel", "lo"))
    async with Scripted(*scripts) as upstream:
        settings = config(upstream.base, capture_dir=str(folder), num_retries=1)
        async with proxied(settings) as proxy:
            answer = await proxy.ask(message("Hi there", stream=stream), headers={"x-custom": "1"})
    data = one(folder)
    assert data["client"]["method"] == "POST" and data["client"]["path"] == "/v1/messages" and data["client"]["headers"]["x-custom"] == "1"
    assert json.loads(data["client"]["body"])["messages"][0]["content"] == "Hi there"
    refused, good = data["attempts"]
    assert refused["status"] == 500 and "first" in refused["pieces"][0]
    assert good["status"] == 200 and good["wire"] == "chat" and good["path"] == "/v1/chat/completions"
    assert json.loads(good["body"]) == upstream.asked[1].json and "Hel" in "".join(good["pieces"])
    assert data["answer"] == {"status": 200, "body": answer.body.decode()} and data["outcome"] == "ok"
    if sys.platform != "win32":
        assert stat.S_IMODE(next(folder.glob("*.json")).stat().st_mode) == 0o600


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal(stream: bool, tmp_path: Path) -> None:
    async with Scripted(refusing(400, "no such field")) as upstream, proxied(config(upstream.base, capture_dir=str(tmp_path))) as proxy:
        answer = await proxy.ask(message(stream=stream))
    data = one(tmp_path)
    assert data["answer"] == {"status": 400, "body": answer.body.decode()}
    assert data["outcome"].startswith("invalid_request: ")


async def test_no_secret_is_written(tmp_path: Path) -> None:
    """Not in headers, not in a query, not where an upstream or a prompt repeats it."""

    async def tells(c: Peer) -> None:
        c.reply({"error": {"message": f"Incorrect API key provided: {SECRET}"}}, 401, {"set-cookie": "session=cookie-secret"})

    sent = {"authorization": "Bearer client-secret", "cookie": "a=cookie-secret", "proxy-authorization": "Basic proxy-secret"}
    settings = {"capture_dir": str(tmp_path), "master_key": "client-secret"}
    async with Scripted(tells) as upstream, proxied(config(upstream.base + "?key=query-secret", **settings)) as proxy:
        await proxy.ask(message("my key is client-secret"), headers=sent)
    written = json.dumps(one(tmp_path))
    assert "secret" not in written.replace("[redacted]", "") and written.count("[redacted]") >= 4


async def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.chunk(b"\xff\xfe\x00 nonsense\n\n")
        c.end()

    async with Scripted(script) as upstream, proxied(config(upstream.base, capture_dir=str(tmp_path))) as proxy:
        await proxy.ask(message())
    assert one(tmp_path)["attempts"][0]["pieces"][0] == {"base64": "//4AIG5vbnNlbnNlCgo="}


async def test_large_bodies_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "BODY_LIMIT", 1000)
    async with Scripted(answering("x" * 5000)) as upstream, proxied(config(upstream.base, capture_dir=str(tmp_path))) as proxy:
        assert (await proxy.ask(message("y" * 5000))).names[-1] == "message_stop"
    data = one(tmp_path)
    assert data["attempts"][0]["cut"] is True and len(data["client"]["body"]) == 1000 and len(data["answer"]["body"]) <= 1000


async def test_a_directory_that_can_not_be_written(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    async with Scripted(answering("Hi")) as upstream, proxied(config(upstream.base, capture_dir=str(place))) as proxy:
        assert (await proxy.ask(message())).names[-1] == "message_stop"
        await settle(lambda: [line for line in proxy.lines if line["event"] == "capture can't be written"])


# -- replay ------------------------------------------------------------------------------------------------------------------


def same(answer: Answer, recorded: str) -> bool:
    """Equal but for the ids that are made anew."""
    return without_ids(answer.body.decode()) == without_ids(recorded)


def without_ids(body: str) -> str:
    return re.sub(r"(msg|req)_[A-Za-z0-9_-]{24}", r"\1_", body)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_capture_replays(stream: bool, tmp_path: Path) -> None:
    async with Scripted(refusing(500), answering("Hel", "lo")) as upstream:
        settings = config(upstream.base, capture_dir=str(tmp_path), num_retries=1)
        async with proxied(settings) as proxy:
            await proxy.ask(message(stream=stream))
    data = one(tmp_path)
    left = iter(data["attempts"])

    async def again(c: Peer) -> None:
        attempt = next(left)
        assert c.asked.body.decode() == attempt["body"] and c.asked.target == attempt["path"]
        c.head(attempt["status"], {"content-type": attempt["response_headers"]["content-type"]})
        for piece in attempt["pieces"]:
            c.chunk(piece.encode())
        c.end()

    async with Scripted(again) as upstream, proxied(config(upstream.base, num_retries=1)) as proxy:
        answer = await proxy.ask(data["client"]["body"].encode())
    assert answer.status == data["answer"]["status"] and same(answer, data["answer"]["body"])
