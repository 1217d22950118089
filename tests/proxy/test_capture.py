"""`--capture`: what is written, what never is, and that a capture replays as a test."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a2py.proxy import recording as capture_module
from tests.proxied import SECRET, Running, config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Answer, Peer, ScriptedServer, answering, chunk, completion, event, refusing, text


def one(folder: Path) -> dict[str, Any]:
    files = list(folder.glob("*.json"))
    assert len(files) == 1
    data: dict[str, Any] = json.loads(files[0].read_bytes())
    return data


@pytest.mark.parametrize("stream", [True, False])
async def test_everything_of_a_request(stream: bool, tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    scripts = (refusing(500, "first"), answering("Hel", "lo"))
    async with ScriptedServer(*scripts) as upstream:
        settings = config(upstream.base, capture_dir=str(folder), num_retries=1)
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(message("Hi there", stream=stream), headers={"x-custom": "1"})
    data = one(folder)
    assert (
        data["client"]["method"] == "POST"
        and data["client"]["path"] == "/v1/messages"
        and data["client"]["headers"]["x-custom"] == "1"
    )
    assert json.loads(data["client"]["body"])["messages"][0]["content"] == "Hi there"
    failure, good = data["attempts"]
    assert failure["status"] == 500 and "first" in failure["pieces"][0]
    assert good["status"] == 200 and good["wire"] == "chat" and good["path"] == "/v1/chat/completions"
    assert json.loads(good["body"]) == upstream.requests[1].json and "Hel" in "".join(good["pieces"])
    assert data["answer"] == {"status": 200, "body": answer.body.decode()} and data["outcome"] == "ok"
    if sys.platform != "win32":
        assert stat.S_IMODE(next(folder.glob("*.json")).stat().st_mode) == 0o600


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal(stream: bool, tmp_path: Path) -> None:
    async with (
        ScriptedServer(refusing(400, "no such field")) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy,
    ):
        answer = await proxy.ask(message(stream=stream))
    data = one(tmp_path)
    assert data["answer"] == {"status": 400, "body": answer.body.decode()}
    assert data["outcome"].startswith("invalid_request: ")


async def test_a_header_that_is_no_utf_8_is_captured(tmp_path: Path) -> None:
    async with (
        ScriptedServer(answering("ok")) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy,
    ):
        assert (await proxy.ask(message(), headers={"x-odd": "\xff\xfe"})).status == 200
    assert one(tmp_path)["client"]["headers"]["x-odd"] == "??"


async def test_no_secret_is_written(tmp_path: Path) -> None:
    """Not in headers, not in a query, not where an upstream or a prompt repeats it."""

    async def tells(c: Peer) -> None:
        c.reply(
            {"error": {"message": f"Incorrect API key provided: {SECRET}"}},
            401,
            {"set-cookie": "session=cookie-secret"},
        )

    headers = {
        "authorization": "Bearer client-secret",
        "cookie": "a=cookie-secret",
        "proxy-authorization": "Basic proxy-secret",
    }
    settings: dict[str, Any] = {"capture_dir": str(tmp_path), "master_key": "client-secret"}
    async with (
        ScriptedServer(tells) as upstream,
        run_proxy(config(upstream.base + "?key=query-secret", **settings)) as proxy,
    ):
        await proxy.ask(message("my key is client-secret"), headers=headers)
    text = json.dumps(one(tmp_path))
    assert "secret" not in text.replace("[redacted]", "") and text.count("[redacted]") >= 4


OTHER, THIRD = "sk-another-deployments-key", 'odd"key/of+a\\third'
SPELT = "".join(f"\\u{ord(char):04x}" for char in SECRET)


def secret_free(data: dict[str, Any]) -> None:
    """Check that no secret is in any string of the capture, or in several strings joined."""
    pieces = "".join(piece for attempt in data["attempts"] for piece in attempt["pieces"])
    bodies = [json.dumps(data), pieces, data["answer"]["body"], data["client"]["body"]]
    bodies += [codecs.decode(body.replace("\\\\", "\\"), "unicode_escape", "replace") for body in bodies]
    for body in bodies:
        for secret in (SECRET, OTHER, THIRD, "cookie-secret", "header-secret", "query-secret", SPELT):
            assert secret not in body and secret[:12] not in body, body


@pytest.mark.parametrize("stream", [True, False])
async def test_no_secret_of_the_whole_configuration_however_it_is_spelt(stream: bool, tmp_path: Path) -> None:
    """A prompt that holds the configuration file, and a model that repeats it."""

    async def repeats(c: Peer) -> None:
        if not stream:
            c.reply(completion(f"{SECRET} {OTHER} {THIRD}"))
            return
        c.head(200, {**SSE, "x-echo": f"key {OTHER}", "set-cookie": "a=cookie-secret"})
        whole = b"".join(
            map(event, [chunk({"role": "assistant", "content": ""}), chunk({"content": f"{OTHER} and {THIRD} and "})])
        )
        at = whole.index(OTHER.encode()) + 7
        c.chunk(whole[:at])  # over two reads
        await c.drain()
        await asyncio.sleep(0.02)
        c.chunk(whole[at:])
        c.chunk(event(f"data: {json.dumps(chunk({'content': 'SPELT'}))}\n\n".replace("SPELT", SPELT)))
        c.events(*(chunk({"content": SECRET[at : at + 5]}) for at in range(0, len(SECRET), 5)))  # over events
        c.events(chunk({"reasoning_content": json.dumps({"key": THIRD})}), *text(OTHER))
        c.end()

    others = tuple(
        deployment("http://127.0.0.1:1/v1", f"m{n}", id=f"o{n}", key=key) for n, key in enumerate((OTHER, THIRD))
    )
    headers = {
        "x-trace": f"{OTHER};{SECRET}",
        "x-gateway-token": "header-secret-1",
        "referer": f"http://x/y?key=query-secret&b={THIRD[:3]}",
    }
    reply = f"{OTHER} {THIRD} {SPELT} header-secret-1 cookie-secret-1 {json.dumps({'inner': json.dumps(THIRD)})}"
    body = json.dumps(message("SAID", stream=stream)).replace(
        "SAID", json.dumps(reply)[1:-1].replace(json.dumps(SPELT)[1:-1], SPELT)
    )
    async with ScriptedServer(repeats) as upstream:
        settings = config(upstream.base, deployments=others, capture_dir=str(tmp_path))
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(body.encode(), headers={**headers, "cookie": "a=1; b=cookie-secret-1"})
            assert answer.status == 200
    data = one(tmp_path)
    secret_free(data)
    assert (
        data["client"]["headers"]["x-trace"] == "[redacted];[redacted]"
        and data["client"]["headers"]["referer"] == "http://x/y"
    )
    assert json.loads(data["client"]["body"])["messages"] and json.loads(data["attempts"][0]["body"])["messages"]
    if stream:
        assert Answer(200, {}, data["answer"]["body"].encode(), True).names[-1] == "message_stop"
        assert data["attempts"][0]["response_headers"]["x-echo"] == "key [redacted]"


async def test_a_secret_at_the_limit_of_a_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even its beginning stays."""
    monkeypatch.setattr(capture_module, "BODY_LIMIT", 1000)
    for before in range(900, 1000, 9):
        words = "x" * before + SECRET + "y" * 5000
        settings: dict[str, Any] = {"capture_dir": str(tmp_path / str(before))}
        async with ScriptedServer(answering(words)) as upstream, run_proxy(config(upstream.base, **settings)) as proxy:
            assert (await proxy.ask(message(words))).names[-1] == "message_stop"
        data = one(tmp_path / str(before))
        assert SECRET[:12] not in json.dumps(data)
        assert data["client"]["cut"] and data["answer"]["cut"] and data["attempts"][0]["cut"]


async def test_a_stream_that_breaks_off_within_a_secret(tmp_path: Path) -> None:
    async def breaks(c: Peer) -> None:
        c.head(200, SSE)
        c.events(
            chunk({"role": "assistant", "content": "it is "}),
            chunk({"content": SECRET[:9]}),
            chunk({"content": SECRET[9:-1]}),
        )
        await c.drain()
        c.close()

    async with ScriptedServer(breaks) as upstream, run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy:
        assert (await proxy.ask(message())).names[-1] == "error"
    data = one(tmp_path)
    assert SECRET[9:-1] not in json.dumps(data) and "it is " in data["answer"]["body"]


def full(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def list_warnings(proxy: Running) -> list[dict[str, Any]]:
    return [line for line in proxy.lines if line["event"] == "capture can't be written"]


@pytest.mark.parametrize("limit", [0, 1, 1000])
async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, limit: int) -> None:
    """No empty file, no half of one; and a capture is written again once there is room."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy,
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            for stream in (True, False):
                assert (await proxy.ask(message("x" * 5000, stream=stream))).status == 200
            await settle(lambda: len(list_warnings(proxy)) == 2)  # a capture is written after its answer
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list_warnings(proxy)[0]["error"] == "File too large"
        assert full(tmp_path) == []
        assert (await proxy.ask(message())).status == 200
    assert one(tmp_path)["outcome"] == "ok" and len(full(tmp_path)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=65536", "tmpfs", str(tmp_path)]
    if sys.platform != "linux" or os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts a file system, if anybody")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


async def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(small_disk))) as proxy,
    ):
        for _ in range(12):
            assert (await proxy.ask(message("x" * 8000))).names[-1] == "message_stop"
        await settle(lambda: bool(list_warnings(proxy)))
        assert list_warnings(proxy)[-1]["error"] == "No space left on device"
    names = full(small_disk)
    assert names and not [name for name in names if not name.endswith(".json") or name.startswith(".")]
    for name in names:
        assert json.loads((small_disk / name).read_bytes())["outcome"] == "ok"


async def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.chunk(b"\xff\xfe\x00 nonsense\n\n")
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy:
        await proxy.ask(message())
    assert one(tmp_path)["attempts"][0]["pieces"][0] == {"base64": "//4AIG5vbnNlbnNlCgo="}


async def test_large_bodies_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "BODY_LIMIT", 1000)
    async with (
        ScriptedServer(answering("x" * 5000)) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy,
    ):
        assert (await proxy.ask(message("y" * 5000))).names[-1] == "message_stop"
    data = one(tmp_path)
    assert (
        data["attempts"][0]["cut"] is True
        and len(data["client"]["body"]) == 1000
        and len(data["answer"]["body"]) <= 1000
    )


async def test_a_directory_that_can_not_be_written(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(place))) as proxy,
    ):
        assert (await proxy.ask(message())).names[-1] == "message_stop"
        await settle(lambda: [line for line in proxy.lines if line["event"] == "capture can't be written"])


# -- replay ------------------------------------------------------------------------------------------------------------


def same(answer: Answer, record: str) -> bool:
    """Equal but for the ids that are made anew."""
    return without_ids(answer.body.decode()) == without_ids(record)


def without_ids(body: str) -> str:
    return re.sub(r"(msg|req)_[A-Za-z0-9_-]{24}", r"\1_", body)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_capture_replays(stream: bool, tmp_path: Path) -> None:
    async with ScriptedServer(refusing(500), answering("Hel", "lo")) as upstream:
        settings = config(upstream.base, capture_dir=str(tmp_path), num_retries=1)
        async with run_proxy(settings) as proxy:
            await proxy.ask(message(stream=stream))
    data = one(tmp_path)
    attempts = iter(data["attempts"])

    async def again(c: Peer) -> None:
        attempt = next(attempts)
        assert c.request.body.decode() == attempt["body"] and c.request.target == attempt["path"]
        c.head(attempt["status"], {"content-type": attempt["response_headers"]["content-type"]})
        for piece in attempt["pieces"]:
            c.chunk(piece.encode())
        c.end()

    async with ScriptedServer(again) as upstream, run_proxy(config(upstream.base, num_retries=1)) as proxy:
        answer = await proxy.ask(data["client"]["body"].encode())
    assert answer.status == data["answer"]["status"] and same(answer, data["answer"]["body"])
