"""The page in Chromium at a real a2py: hostile texts of clients and upstreams on their whole way to the screen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests import process, scripted
from tests.scripted import Raw
from tests.ui.browser import Browser
from tests.ui.fake import HOSTILE
from tests.ui.test_claude import demo, open_page
from tests.ui.test_page import READY, STRANGE, show

pytestmark = pytest.mark.real


def request(n: int, text: str, stream: bool) -> dict[str, Any]:
    call = {"type": "tool_use", "id": f"toolu_{n}", "name": "Read", "input": {"path": text}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": text}
    return {
        "model": f"claude-{text}",
        "max_tokens": 100,
        "stream": stream,
        "system": text,
        "metadata": {"user_id": text},
        "tools": [{"name": text, "description": text, "input_schema": {"type": "object", "title": text}}],
        "messages": [
            {"role": "user", "content": text},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
    }


async def upstream(peer: scripted.Peer) -> None:
    """Answer with what would be a script, or refuse with it."""
    if peer.request.method == "GET":
        peer.reply({"error": {"message": HOSTILE[0]}}, 404)
        return
    body = peer.request.json
    text = body["messages"][0]["content"]
    if HOSTILE[3] in str(text):
        peer.reply({"error": {"message": f"refused: {text}", "type": HOSTILE[1], "code": HOSTILE[2]}}, 400)
        return
    call = {"index": 0, "id": HOSTILE[1], "function": {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}}
    peer.head(200, scripted.SSE)
    peer.events(scripted.chunk({"content": HOSTILE[0]}), scripted.chunk({"reasoning_content": HOSTILE[1]}))
    peer.events(
        scripted.chunk({"tool_calls": [call]}), scripted.chunk({}, "tool_calls"), scripted.chunk(usage=scripted.usage())
    )
    peer.events(scripted.DONE)
    peer.end()


async def test_hostile_texts_of_real_requests_are_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    async with scripted.ScriptedServer(upstream) as server:
        deployment = process.deployment("claude-*", server.base, model=HOSTILE[4].replace("/", "|"))
        with process.running(tmp_path, [deployment]) as proxy:
            port = int(proxy.base.rsplit(":", 1)[1])
            await open_page(browser, proxy)
            for n, text in enumerate(HOSTILE[:7]):
                async with Raw(port) as client:
                    headers = (("x-api-key", proxy.key), ("x-claude-code-session-id", text), ("x-app", text))
                    client.ask("POST", "/v1/messages", request(n, text, True), headers)
                    await client.answer()
            await show(browser, "#/requests")
            await browser.wait("document.querySelectorAll('.rq.item').length >= 7")
            page_text = await browser.text("main")
            for n in range(7):
                await show(browser, "#/requests")
                await browser.wait("document.querySelectorAll('.rq.item').length >= 7")
                await browser.evaluate(f"document.querySelectorAll('.rq.item')[{n}].click()")
                await browser.wait("document.querySelectorAll('.pane [role=tabpanel]').length >= 3")
                for tab in range(3):
                    await browser.evaluate(f"document.querySelectorAll('[role=tablist]').forEach(bar => bar.children[{tab}]?.click())")  # fmt: skip
                    await browser.evaluate("document.querySelectorAll('main summary').forEach(node => node.click())")
                    await browser.wait(READY)
                    page_text += await browser.text("main")
                assert await browser.evaluate(STRANGE) == ['<script type="module" src="/ui/app.js"></script>']
            for place in ("#/now", "#/usage", "#/try", "#/check"):
                await show(browser, place)
                page_text += await browser.text("main")
            await show(browser, "#/usage")
            await browser.click_text("main button", "Model")
            await asyncio.sleep(0)
            await browser.wait("document.querySelector('main tbody')")
            assert await browser.evaluate(STRANGE) == ['<script type="module" src="/ui/app.js"></script>']
            assert await browser.evaluate("window.hacked === undefined")
            assert await browser.do("trouble") == []
            for text in HOSTILE[:6]:
                assert text in page_text, text


async def test_try_check_exports_and_keys_of_a_real_proxy(browser: Browser, tmp_path: Path) -> None:
    script = "window.saved = []; HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); }"
    with (
        demo() as base,
        process.running(tmp_path, [process.deployment("demo", base, model="demo", provider="openai")]) as proxy,
    ):
        await open_page(browser, proxy, before=script)
        await show(browser, "#/try")
        await browser.wait("document.querySelector('main input').value === 'demo'")
        await browser.evaluate("document.querySelector('main textarea').focus()")
        await browser.do("type", text="Say marmalade")
        await browser.click("main button.first")
        await browser.wait("/first token .* tokens out/.test(document.querySelector('.talk').innerText)")
        assert "marmalade" in await browser.evaluate("document.querySelectorAll('.bubble')[1].innerText")
        await browser.evaluate("document.querySelector('main textarea').focus()")
        await browser.do("type", text="Say it twice")
        await browser.click("main button.first")
        await browser.wait(
            "document.querySelectorAll('.bubble').length === 4 && !document.querySelector('main button.first').disabled"
        )
        await show(browser, "#/requests")
        await browser.wait("document.querySelectorAll('.rq.item').length === 2")
        await browser.evaluate("document.querySelector('.rq.item').click()")
        await browser.wait("document.querySelectorAll('.pane [role=tabpanel]').length === 4")
        for kind in ("capture", "golden", "report"):
            await browser.click_text("main button", f"Save {kind}")
            await browser.wait(f"window.saved.some(name => name.includes('.{kind}.'))")
        await browser.click_text("main button", "Copy as curl")
        await browser.wait("[...document.querySelectorAll('main button')].some(node => node.textContent === 'Copied') || document.querySelector('dialog textarea')")  # fmt: skip
        await browser.press("Escape")
        await show(browser, "#/check")
        await browser.click("button.first")
        await browser.wait("/\\d+ results?, (none|\\d+) failed/.test(document.querySelector('main').innerText)")
        assert await browser.evaluate("document.querySelectorAll('main tbody tr').length") > 4
        assert await browser.do("axe") == []
        assert await browser.do("trouble") == []
