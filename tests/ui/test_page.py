"""The page in a real Chromium, before a scripted backend: every view, hostile texts, many rows, long bodies, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.ui.browser import Browser
from tests.ui.fake import HOSTILE, Fake

pytestmark = pytest.mark.real

VIEWS = ("#/now", "#/requests", "#/requests/req_000039", "#/usage", "#/try", "#/check")
LIVE = "document.getElementById('link-text').textContent === 'Live'"
#: Of any view, when it shows its data.
READY = "!document.querySelector('main [aria-busy]') && !/Loading…|Fetching|Reading…/.test(document.querySelector('main').innerText)"
#: Elements of kinds that the page never makes, besides its own script.
STRANGE = "[...document.querySelectorAll('script, iframe, img, object, embed, base, form[action], a:not([href^=\"#\"]):not(.skip), [onload], [onerror], [onclick], [onmouseover], [style*=url]')].map(node => node.outerHTML)"


async def enter(browser: Browser, fake: Fake, **options: Any) -> None:
    await browser.open(fake.link, **options)
    await browser.wait(LIVE)


async def show(browser: Browser, place: str) -> None:
    await browser.go(place)
    await browser.wait(READY)


async def open_evidence(browser: Browser) -> None:
    """Open what is known of the deployments, under Now. They may come after the page says "Live"."""
    await browser.wait("document.querySelector('main button[aria-expanded]')")
    await browser.evaluate("document.querySelectorAll('main button[aria-expanded]').forEach(node => node.click())")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_axe_finds_nothing_serious_on_any_view(browser: Browser, scheme: str, width: int) -> None:
    async with Fake(rows=40) as fake:
        await enter(browser, fake, width=width, scheme=scheme)
        for place in VIEWS:
            await show(browser, place)
            if place == "#/check":
                await browser.click("button.first")
                await browser.wait("/15 results, 3 failed/.test(document.querySelector('main').innerText)")
            assert await browser.do("axe") == [], place
            assert await browser.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), place
        await browser.press("?")
        assert await browser.do("axe") == []
        assert await browser.do("trouble") == []


async def test_axe_finds_nothing_serious_before_access_and_in_what_opens(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await browser.open(f"{fake.base}/ui")
        await browser.wait("/a2py ui --print/.test(document.body.innerText)")
        assert await browser.do("axe") == []
        await enter(browser, fake)
        await open_evidence(browser)
        assert "/props says so" in await browser.text("main")
        assert await browser.do("axe") == []
        await show(browser, "#/requests/req_000039")
        await browser.evaluate("document.querySelectorAll('main summary').forEach(node => node.click())")
        for tab in ("JSON", "Headers", "Events", "Text"):
            await browser.evaluate(f"document.querySelectorAll('[role=tab]').forEach(node => node.textContent === '{tab}' && node.click())")  # fmt: skip
            await browser.wait(READY)
            assert await browser.do("axe") == [], tab
        assert await browser.do("trouble") == []


async def test_hostile_texts_are_shown_and_never_run(browser: Browser) -> None:
    async with Fake(rows=60, hostile=True) as fake:
        await enter(browser, fake)
        page_text = ""
        for place in (*VIEWS, "#/requests/req_000059", "#/sessions/" + quote(fake.rows[5]["session"], safe="")):
            await show(browser, place)
            await browser.evaluate("document.querySelectorAll('main button[aria-expanded], main summary').forEach(node => node.click())")  # fmt: skip
            for n in range(3):
                await browser.evaluate(f"document.querySelectorAll('[role=tablist]').forEach(bar => bar.children[{n}]?.click())")  # fmt: skip
                await browser.wait(READY)
                page_text += await browser.text()
            assert await browser.evaluate(STRANGE) == ['<script type="module" src="/ui/app.js"></script>'], place
        await show(browser, "#/usage")
        for n in range(7):
            await browser.evaluate(f"document.querySelector('[aria-label=\"Grouped by\"]').children[{n}].click()")
            await browser.wait("document.querySelector('main tbody')")
            page_text += await browser.text()
        await show(browser, "#/check")
        await browser.click("button.first")
        await browser.wait("/15 results/.test(document.querySelector('main').innerText)")
        await show(browser, "#/requests/req_000059")
        await browser.click("main button.first")
        await browser.wait("/first token/.test(document.getElementById('replay').innerText)")
        await show(browser, "#/try")
        await browser.evaluate("document.querySelectorAll('textarea').forEach(node => node.placeholder || 0)")
        await browser.click("main textarea")
        await browser.do("type", text=HOSTILE[0])
        await browser.click("main button.first")
        await browser.wait("/521|tokens a second|tool_use/.test(document.querySelector('.talk').innerText)")
        page_text += await browser.text()
        await browser.press("Escape")
        await browser.evaluate("document.querySelectorAll('*').forEach(node => { node.dispatchEvent(new MouseEvent('mouseover')); })")  # fmt: skip
        assert await browser.evaluate(STRANGE) == ['<script type="module" src="/ui/app.js"></script>']
        assert await browser.evaluate("window.hacked === undefined")
        assert await browser.do("trouble") == []
        for text in HOSTILE[:6]:
            assert text in page_text


async def test_ten_thousand_requests_are_a_short_list_that_finds_and_follows(browser: Browser) -> None:
    async with Fake(rows=0) as fake:
        await enter(browser, fake)
        await browser.go("#/requests")
        for _ in range(10):
            await fake.burst(1000)
        await browser.wait("/10,000 requests/.test(document.querySelector('main').innerText)")
        assert await browser.evaluate("document.querySelectorAll('.rq.item').length") < 80
        await browser.evaluate("document.querySelector('.list').scrollTop = 180000")
        await browser.wait("[...document.querySelectorAll('.rq.item')].some(row => row.ariaRowIndex === '5002')")
        place = "JSON.stringify([...document.querySelectorAll('.rq.item')].filter(row => { const b = row.getBoundingClientRect(); return b.top > 300 && b.bottom < 700; }).map(row => row.innerText).sort())"
        before = await browser.evaluate(place)
        await fake.burst(300)
        await browser.wait("/300 new requests above/.test(document.querySelector('main').innerText)")
        assert await browser.evaluate(place) == before
        assert await browser.evaluate("document.querySelectorAll('.rq.item').length") < 80
        await browser.press("/")
        await browser.wait("document.activeElement.id === 'filter'")
        await browser.do("type", text="req_004321")
        await browser.wait("/1 of 10,300 requests/.test(document.querySelector('main').innerText)")
        await fake.burst(1000)
        await browser.wait("/1 of 10,[0-4]\\d\\d requests/.test(document.querySelector('main').innerText)")
        assert await browser.do("trouble") == []
        print("longest frame, 10,000 rows:", await browser.evaluate("Math.round(window.slowest)"), "ms")


async def test_older_requests_come_on_scrolling(browser: Browser) -> None:
    async with Fake(rows=700) as fake:
        await enter(browser, fake)
        await browser.go("#/requests")
        scroll = "document.querySelector('.list').scrollTop += 1e6"
        for count in ("200", "400", "600", "700"):
            await browser.wait(f"({scroll}, /{count} requests/.test(document.querySelector('main').innerText))")
        await browser.wait(
            f"({scroll}, [...document.querySelectorAll('.rq.item')].some(row => row.ariaRowIndex === '701'))"
        )


async def test_five_megabytes_are_fetched_when_opened_and_drawn_in_part(browser: Browser) -> None:
    async with Fake(rows=3, body=5_200_000) as fake:
        needle = fake.request_body().rpartition('"tool_use_id": "')[2].partition('"')[0]
        await enter(browser, fake)
        await show(browser, "#/requests/req_000002")
        assert not [path for path, _ in fake.requests if "parts/client_request" in path]
        await browser.evaluate("[...document.querySelectorAll('.ask button')][0].click()")
        await browser.wait("[...document.querySelectorAll('[role=tab]')].some(node => node.textContent === 'JSON')")
        assert [path for path, _ in fake.requests if path.endswith("parts/client_request")]
        await browser.evaluate("window.slowest = 0")
        await browser.click_text("[role=tab]", "JSON")
        await browser.evaluate(f"document.querySelector('.find input').value = '{needle}'")
        await browser.wait("document.querySelectorAll('.text .item').length > 10")
        await browser.wait("(document.querySelector('.find button').click(), /line [\\d,]+ of/.test(document.querySelector('.find').innerText))")  # fmt: skip
        await browser.wait("document.querySelector('.text .item.hit')")
        assert needle in await browser.text(".text .item.hit")
        assert await browser.evaluate("document.querySelectorAll('*').length") < 1500
        print("longest frame, 5 MB of JSON:", await browser.evaluate("Math.round(window.slowest)"), "ms")
        assert await browser.do("trouble") == []


async def test_text_that_is_laid_out_is_the_text_that_was_sent(browser: Browser) -> None:
    """Only white space between JSON's values differs; each line of other texts is a row."""
    async with Fake(rows=3, body=3000) as fake:
        await enter(browser, fake)
        await show(browser, "#/requests/req_000002")
        await browser.evaluate("document.querySelector('.pane').style.height = '20000px'")
        await browser.click_text("[role=tab]", "JSON")
        rows = "[...document.querySelectorAll('.pane .text .item')].sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(node => node.textContent)"  # fmt: skip
        end = json.dumps(fake.request_body()[-12:].replace(" ", ""))
        await browser.wait(f"{rows}.join('').replaceAll(' ', '').endsWith({end})")
        text = "".join(await browser.evaluate(rows))
        assert text.replace(" ", "") == fake.request_body().replace(" ", "")


async def test_everything_by_keyboard(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter(browser, fake)
        await browser.press("Tab")
        assert await browser.evaluate("document.activeElement.id") == "skip"
        await browser.press("Enter")
        assert await browser.evaluate("document.activeElement.textContent") == "Now"
        await browser.press("2")
        await browser.wait("document.querySelector('.rq.item')")
        await browser.press("/")
        await browser.wait("document.activeElement.id === 'filter'")
        await browser.do("type", text="req_00001")
        await browser.wait("/10 of 40 requests/.test(document.querySelector('main').innerText)")
        await browser.press("Escape", "Tab")
        for _ in range(8):
            if await browser.evaluate("document.activeElement.matches('.rq.item')"):
                break
            await browser.press("Tab")
        assert await browser.evaluate("document.activeElement.matches('.rq.item')")
        await browser.press("Home", "ArrowDown", "j", "k", "End", "ArrowUp", "Enter")
        await browser.wait("location.hash === '#/requests/req_000011'")
        await browser.wait(READY)
        await browser.evaluate("document.querySelector('[role=tab]').focus()")
        await browser.press("ArrowRight")
        assert await browser.evaluate("document.activeElement.textContent") == "JSON"
        assert await browser.evaluate("document.activeElement.ariaSelected") == "true"
        assert await browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await browser.press("Tab", "]")
        await browser.wait("document.querySelector('.find input') === document.activeElement")
        await browser.press("Escape", "]")
        await browser.wait("location.hash === '#/requests/req_000010'")
        await browser.press("Escape")
        await browser.wait("location.hash === '#/requests' && document.activeElement.matches('.rq.item')")
        assert "10 of 40 requests" in await browser.text("main")
        await browser.press("?")
        await browser.wait("document.querySelector('dialog[open]')")
        await browser.press("Escape")
        await browser.wait("!document.querySelector('dialog')")
        await browser.press("5")
        await browser.wait("document.activeElement.textContent === 'Check'")
        assert await browser.do("trouble") == []


async def test_single_keys_can_be_switched_off(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await browser.press("?", "Tab", "Space", "Escape")
        await browser.wait("!document.querySelector('dialog')")
        await browser.press("2")
        assert await browser.evaluate("location.hash") == "#/now"


async def test_what_runs_has_its_deployment_and_its_rule(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await show(browser, "#/now")
        await browser.wait("/-a · rule background/.test(document.querySelector('main').innerText)")


async def test_the_token_is_used_once_and_nothing_is_kept(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        link = fake.link
        await browser.open(link)
        await browser.wait(LIVE)
        assert await browser.evaluate("location.href") == f"{fake.base}/ui#/now"
        assert await browser.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        await browser.evaluate("location.reload()")
        await browser.wait("/opens with a link that works once/.test(document.body.innerText)")
        await browser.open(link)
        await browser.wait("/used already/.test(document.body.innerText)")
        assert "a2py ui" in await browser.text()


async def test_the_live_stream_comes_back_and_an_ended_bearer_says_what_to_do(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        fake.drop()
        await browser.wait("/Connection lost, next try in/.test(document.getElementById('link-text').textContent)")
        await browser.wait(LIVE)
        fake.expire()
        await browser.wait("/Your access has ended. Get a new link with a2py ui/.test(document.body.innerText)")
        assert await browser.evaluate("document.querySelector('.tiles') !== null")
        # A new link, opened in the same tab.
        await browser.evaluate(f"location.hash = {json.dumps(fake.link.partition('#')[2])}")
        await browser.wait(LIVE)
        assert "has ended" not in await browser.text()


async def test_an_old_browser_is_told_in_a_sentence(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await browser.open(fake.link, before="CSS.supports = () => false; delete window.TextDecoderStream")
        await browser.wait("/lacks: CSS light-dark/.test(document.body.innerText)")
        assert "Chrome or Edge 123" in await browser.text() and "text streams" in await browser.text()
        await browser.open(fake.link, script=False)
        await browser.evaluate("document.getAnimations().forEach(one => one.finish())")  # it appears after a second
        assert "JavaScript is switched off here" in await browser.text()


async def test_the_four_panes_and_the_way_between(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter(browser, fake)
        await show(browser, "#/requests/req_000039")
        await browser.wait("document.querySelectorAll('.pane [role=tabpanel]').length === 4")
        panes = [await browser.evaluate(f"document.querySelectorAll('.pane')[{n}].innerText") for n in range(4)]
        assert "You are Claude Code." in panes[0]
        assert "max_tokens → max_completion_tokens" in panes[1] and "this upstream caches by itself" in panes[1]
        assert (
            "19 pieces" in panes[2] and "the longest pause 412 ms before piece 14" in panes[2] and "+32 ms" in panes[2]
        )
        assert "the data line is read twice" in panes[3] and "file_path" in panes[3] and "tool_use" in panes[3]
        text = await browser.text("main")
        assert "33,278 tokens" in text and "results 18,840 (57 %)" in text
        assert (
            "in line, place 2" in text
            and "then: another deployment of the name" in text
            and "search: asyncio CRLF" in text
        )
        await browser.evaluate("[...document.querySelectorAll('.change button')][0].click()")
        await browser.wait("/A12. Limits and sampling/.test(document.querySelector('dialog')?.innerText)")
        assert "max_completion_tokens" in await browser.text("dialog")
        await browser.press("Escape")
        await browser.evaluate("document.querySelector('[aria-label=Attempt]').children[0].click()")
        await browser.wait("document.querySelectorAll('.change').length === 2")


async def test_replay_try_check_and_export_ask_what_they_say(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter(browser, fake, before="window.saved = []; HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); }; Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})")  # fmt: skip
        await show(browser, "#/requests/req_000039")
        await browser.click_text("main button", "Copy as curl")
        await browser.wait("window.copied === \"curl 'exported as curl'\"")
        for kind in ("capture", "golden", "report"):
            await browser.click_text("main button", f"Save {kind}")
            await browser.wait(f"window.saved.some(name => name.startsWith('a2py-req_000039.{kind}.'))")
        await browser.click("main button.first")
        await browser.wait("/164 tokens out.*tool_use/.test(document.getElementById('replay').innerText)")
        assert "as a model would write it" in await browser.text("#replay")
        await show(browser, "#/try")
        await browser.wait("document.querySelector('main input').value === 'sonnet'")
        await browser.evaluate("document.querySelectorAll('textarea')[2].focus()")
        await browser.do("type", text="[{")
        await browser.click("main button.first")
        await browser.wait("/Write a message first|no valid JSON/.test(document.querySelector('main').innerText)")
        await browser.evaluate("document.querySelectorAll('textarea')[2].select()")
        await browser.do("type", text='[{"name": "t", "input_schema": {"type": "object"}}]')
        await browser.evaluate("document.querySelectorAll('textarea')[0].focus()")
        await browser.do("type", text="Hello")
        await browser.click("main input[type=checkbox]")
        await browser.click("main button.first")
        await browser.wait("/164 tokens out/.test(document.querySelector('.talk').innerText)")
        path, body = fake.requests[-1]
        assert path == "try" and body["model"] == "sonnet" and body["stream"] is True
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 4000} and body["max_tokens"] == 4256
        assert body["tools"][0]["name"] == "t" and body["messages"] == [{"role": "user", "content": "Hello"}]
        await browser.wait("/Result of the tool/.test(document.querySelector('main form').innerText)")
        await browser.evaluate("document.querySelectorAll('textarea')[0].focus()")
        await browser.do("type", text="done")
        await browser.evaluate("document.querySelector('main button.first').click()")
        await browser.wait(
            "document.querySelectorAll('.bubble').length === 4 && !document.querySelector('main button.first').disabled"
        )
        turns = fake.requests[-1][1]["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
        assert turns[2]["content"][0]["type"] == "tool_result" and turns[2]["content"][0]["tool_use_id"] == "toolu_9"
        await show(browser, "#/check")
        assert "spends tokens" in await browser.text("main")
        assert not [path for path, _ in fake.requests if path == "check"]
        await browser.click("button.first")
        await browser.wait("/15 results, 3 failed/.test(document.querySelector('main').innerText)")
        assert fake.requests[-1] == ("check", {"model": None}) or ("check", {"model": None}) in fake.requests
        assert await browser.do("trouble") == []


async def test_unknown_costs_are_unknown_and_estimates_are_marked(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter(browser, fake)
        await show(browser, "#/requests")
        await browser.wait("document.querySelectorAll('.rq.item').length > 10")
        row = next(row for row in fake.rows[::-1] if row["cost"] is None)
        await browser.press("/")
        await browser.wait("document.activeElement.id === 'filter'")
        await browser.do("type", text=row["id"])
        await browser.wait("document.querySelectorAll('.rq.item').length === 1")
        assert "unknown" in await browser.text(".rq.item")
        await show(browser, "#/usage")
        await browser.wait("document.querySelector('main tbody')")
        text = await browser.text("main")
        assert "≥ $" in text and "3 answers had to be estimated" in text and "≈" in text


async def test_nothing_moves_for_those_who_asked_for_it(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake, motion="reduce")
        moving = "document.getAnimations().filter(one => one.playState === 'running').length"
        assert await browser.evaluate(moving) == 0
        await enter(browser, fake)
        assert await browser.evaluate(moving) > 0


async def test_the_theme_can_be_turned(browser: Browser, tmp_path: Path) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake, scheme="light")
        paper = "getComputedStyle(document.documentElement).backgroundColor"
        assert await browser.evaluate(paper) == "rgb(250, 249, 245)"
        await browser.click("#theme")
        await browser.click("#theme")
        assert await browser.text("#theme") == "Theme: dark"
        assert await browser.evaluate(paper) == "rgb(27, 26, 24)"
