"""The page in Chromium at a real a2py with two workers, that real Claude Code talks through: to the demo model and to
llama.cpp. A request is found, its four panes are read, it is replayed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import process
from tests.claude import cli
from tests.ui.browser import Browser

pytestmark = [pytest.mark.real, pytest.mark.skipif(not cli.find(), reason="Claude Code is not installed: make test-claude")]  # fmt: skip

Llama = Callable[..., Any]
PROMPT = "Say something about carriage returns, marmalade"
MAIN = "document.querySelector('main').innerText"


def link(proxy: process.Proxy) -> str:
    """The link of `a2py ui --print`, with the configuration that the proxy runs with."""
    config = proxy.log.with_name("a2py.yaml")
    command = [sys.executable, "-m", "a2py", "ui", "--print", "--url", proxy.base, "--config", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=proxy.log.parent)
    assert result.returncode == 0 and "/ui#" in result.stdout, result.stdout + result.stderr
    return next(word for word in result.stdout.split() if "/ui#" in word)


async def open_page(browser: Browser, proxy: process.Proxy, **options: Any) -> None:
    await browser.open(await asyncio.to_thread(link, proxy), **options)
    await browser.wait("document.getElementById('link-text').textContent === 'Live'")


async def read_and_replay(browser: Browser, wire_words: str) -> None:
    await browser.press("2")
    await browser.wait("document.querySelector('.rq.item')")
    await browser.press("/")
    await browser.wait("document.activeElement.id === 'filter'")
    await browser.do("type", text="claude-test 200")
    await browser.wait(f"/\\d+ of \\d+ requests?/.test({MAIN}) && document.querySelector('.rq.item')")
    await browser.press("Escape")
    await browser.evaluate("[...document.querySelectorAll('.rq.item')].pop().focus()")
    await browser.press("Enter")
    await browser.wait("document.querySelectorAll('.pane [role=tabpanel]').length === 4 && !/Reading…|Fetching/.test(document.body.innerText)")  # fmt: skip
    panes = [await browser.evaluate(f"document.querySelectorAll('.pane')[{n}].innerText") for n in range(4)]
    assert "Client sent" in panes[0] and "POST /v1/messages" in panes[0] and "Claude Code" in panes[0]
    assert wire_words in panes[1] and "dropped" in panes[1] and "rule A" in panes[1], panes[1]
    assert "piece" in panes[2] and "data: " in panes[2]
    assert "text" in panes[3] and "stop reason:" in panes[3]
    assert await browser.evaluate("[...document.querySelectorAll('.pane')][0].innerText.includes('marmalade') || [...document.querySelectorAll('.pane')][0].querySelector('button.plain') !== null")  # fmt: skip
    text = await browser.text("main")
    assert "Context" in text and "system" in text and "tools" in text and "Time line" in text and "attempt 1" in text
    await browser.evaluate("document.querySelectorAll('[role=tab]').forEach(node => node.textContent === 'JSON' && node.click())")  # fmt: skip
    await browser.wait("document.querySelectorAll('.text .item').length > 10")
    await browser.click("main button.first")
    await browser.wait("/first token .* tokens out/.test(document.getElementById('replay')?.innerText)")
    await browser.press("1")
    await browser.wait("document.querySelector('main h1').textContent === 'Now'")
    assert await browser.do("axe") == []
    assert await browser.do("trouble") == []


async def claude(proxy: process.Proxy, folder: Path, *flags: str) -> cli.Run:
    run = await cli.run(proxy, folder, PROMPT, *flags)
    assert run.code == 0 and not run.result.get("is_error"), run.describe()
    return run


@contextmanager
def demo() -> Iterator[str]:
    """The demo model as a server of its own. Its base."""
    port = process.free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "a2py", "demo", "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert server.stdout is not None and server.stdout.readline()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.mark.parametrize("workers", [1, 2])
async def test_claude_code_at_the_demo_model(browser: Browser, tmp_path: Path, workers: int) -> None:
    with (
        demo() as base,
        process.running(
            tmp_path,
            [process.deployment("claude-*", base, model="demo", provider="openai")],
            flags=("--num-workers", str(workers)),
        ) as proxy,
    ):
        await open_page(browser, proxy)
        await claude(proxy, tmp_path)
        await read_and_replay(browser, "stream_options")


async def test_claude_code_at_llamacpp(browser: Browser, tmp_path: Path, llamacpp: Llama) -> None:
    server = llamacpp(ctx=65536)
    models = [process.deployment("claude-*", server.base, model=server.model)]
    with process.running(tmp_path, models, discover=True, flags=("--num-workers", "2")) as proxy:
        await open_page(browser, proxy)
        # A short prompt: the server reads some 50,000 tokens of Claude Code's own for minutes where others work, too.
        await claude(proxy, tmp_path, "--system-prompt", "You are Claude Code. Be brief.", "--tools", "Read")
        await read_and_replay(browser, "stream_options")
