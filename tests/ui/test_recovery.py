"""The page in Chromium after what goes wrong: a stream that was away, an access that ended, answers that fail or come late."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import web

from tests.ui.browser import Browser
from tests.ui.fake import Fake
from tests.ui.test_page import LIVE, READY, enter, open_evidence, show

pytestmark = pytest.mark.real

MAIN = "document.querySelector('main').innerText"
LINK = "document.getElementById('link-text').textContent"
BANNER = "document.getElementById('banner').textContent"
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))"


class GatedFake(Fake):
    """Answers for which `holds` is true wait for `gate`."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.gate = asyncio.Event()
        self.arrival = asyncio.Event()

    def holds(self, request: web.Request) -> bool:
        return False

    async def api(self, request: web.Request) -> web.StreamResponse:
        if self.holds(request):
            self.arrival.set()
            await self.gate.wait()
        return await super().api(request)


def end_unseen(fake: Fake, count: int) -> dict[str, Any]:
    """Let `count` requests end of which the live stream says nothing. Return the last one."""
    for _ in range(count):
        fake.rows.append(fake.row(len(fake.rows), time.time()))
    return fake.rows[-1]


async def enter_list(browser: Browser, fake: Fake) -> None:
    """Enter, and show the list of requests: all, or as many as one answer holds."""
    await enter(browser, fake)
    await browser.go("#/requests")
    await browser.wait(f"/{min(len(fake.rows), 200)} requests/.test({MAIN})")


async def newest(browser: Browser) -> str:
    """Open the first row of the list, and return its id."""
    await browser.evaluate("document.querySelector('.rq.item').focus()")
    await browser.press("Home", "Enter")
    await browser.wait("/req_/.test(location.hash)")
    row_id = str(await browser.evaluate("location.hash.split('/').pop()"))
    await browser.go("#/requests")
    return row_id


# -- the live stream ---------------------------------------------------------------------------------------------------


async def test_rows_that_were_missed_come_before_those_that_were_not(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter_list(browser, fake)
        await fake.tell({"type": "missed"}, end_unseen(fake, 5))
        await browser.wait(f"/45 requests/.test({MAIN})")
        assert await newest(browser) == "req_000044"


async def test_more_missed_rows_than_one_answer_holds_leave_no_hole(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter_list(browser, fake)
        await fake.tell({"type": "missed"}, end_unseen(fake, 300))
        await browser.wait(f"/(2..) requests, older ones on scrolling/.test({MAIN})")
        assert "200 requests, older" in await browser.text("main")
        assert await newest(browser) == "req_000339"
        scroll = "document.querySelector('.list').scrollTop += 1e6"
        await browser.wait(f"({scroll}, /340 requests/.test({MAIN}))")


async def test_missed_rows_are_asked_for_until_they_come(browser: Browser) -> None:
    async with Fake(rows=40) as fake:
        await enter_list(browser, fake)
        page, fake.page = fake.page, lambda *_: None  # type: ignore[assignment,method-assign]
        end_unseen(fake, 5)
        await fake.tell({"type": "missed"})
        while not any("404" in text for text in await browser.do("trouble")):
            pass
        fake.page = page  # type: ignore[method-assign]
        await browser.wait(f"/45 requests/.test({MAIN})")


async def test_older_rows_that_come_after_the_list_began_anew_are_not_added(browser: Browser) -> None:
    class Older(GatedFake):
        def holds(self, request: web.Request) -> bool:
            return "before" in request.query

    fake = Older(rows=300)
    async with fake:
        await enter_list(browser, fake)
        await browser.wait("(document.querySelector('.list').scrollTop = 1e6) && document.querySelector('.list').scrollTop > 0")  # fmt: skip
        await fake.arrival.wait()
        await fake.tell({"type": "missed"}, end_unseen(fake, 300))
        await browser.wait(f"/200 requests/.test({MAIN}) && document.querySelector('.list').scrollTop < 1e6")
        await asyncio.sleep(1)  # until the list began anew
        fake.gate.set()
        await asyncio.sleep(1)
        await browser.evaluate("document.querySelector('.list').scrollTop = 0")
        assert await newest(browser) == "req_000599"
        scroll = "document.querySelector('.list').scrollTop += 1e6"
        await browser.wait(f"({scroll}, /600 requests/.test({MAIN}))")


async def test_a_request_that_ends_while_it_is_read_is_read_again(browser: Browser) -> None:
    class Late(Fake):
        first = True

        async def api(self, request: web.Request) -> web.StreamResponse:
            if request.match_info["path"] != "requests/req_000004" or not self.first:
                return await super().api(request)
            self.first = False
            await self.burst(1)  # its end is said before the answer arrives
            await asyncio.sleep(0.5)
            return web.json_response({**self.detail(self.rows[-1]), "running": True})

    async with Late(rows=4) as fake:
        await enter(browser, fake)
        await show(browser, "#/requests/req_000004")
        assert "still runs" not in await browser.text("main")


RUNNING = "req_000040"


class RunningFake(Fake):
    """The request `RUNNING` runs until it is among the rows."""

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        has_ended = any(row["id"] == RUNNING for row in self.rows)
        if path != f"requests/{RUNNING}" or has_ended:
            return super().answer(path, query)
        return {**self.detail(self.rows[-1]), "running": True}


@pytest.mark.parametrize("before", ["#/now", "#/requests"])
async def test_a_request_that_ended_in_a_long_gap_is_read_again(browser: Browser, before: str) -> None:
    async with RunningFake(rows=40) as fake:
        await enter(browser, fake)
        await show(browser, before)
        await show(browser, f"#/requests/{RUNNING}")
        assert "still runs" in await browser.text("main")
        end_unseen(fake, 300)
        await fake.tell({"type": "missed"})
        await browser.wait(f"!/still runs/.test({MAIN})")


async def test_a_request_that_still_runs_after_a_gap_is_not_drawn_anew(browser: Browser) -> None:
    async with RunningFake(rows=20) as fake:
        await enter(browser, fake)
        await show(browser, f"#/requests/{RUNNING}")
        await browser.evaluate("document.querySelector('.pane').old = true")
        end_unseen(fake, 5)
        await fake.tell({"type": "missed"})
        await asyncio.sleep(1.5)
        assert [path for path, _ in fake.requests].count(f"requests/{RUNNING}") == 2
        assert await browser.evaluate("document.querySelector('.pane').old")
        assert "still runs" in await browser.text("main")


async def test_a_request_whose_second_reading_fails_stays_and_can_be_read_again(browser: Browser) -> None:
    async with RunningFake(rows=40) as fake:
        await enter(browser, fake)
        await show(browser, f"#/requests/{RUNNING}")
        answer = fake.answer
        fake.answer = lambda path, query: None if path.startswith("requests/") else answer(path, query)  # type: ignore[method-assign]
        await fake.burst(1)
        await browser.wait(f"/no requests/.test({MAIN})")
        assert "still runs" in await browser.text("main")
        fake.answer = answer  # type: ignore[method-assign]
        await browser.click_text("main button", "Try again")
        await browser.wait(f"!/still runs|no requests/.test({MAIN})")


async def test_a_lesson_is_counted_down(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await open_evidence(browser)
        await browser.wait(f"/forgotten in 39 m 5[0-7] s/.test({MAIN})")
        state = fake.state()
        state["deployments"][2]["lessons"][0]["seconds_left"] = 4
        await fake.tell(state)
        await browser.wait(f"/forgotten in [1-4] s/.test({MAIN})")
        await browser.wait(f"/unsupported · forgotten$/m.test({MAIN})")


# -- access ------------------------------------------------------------------------------------------------------------


async def test_an_ended_access_is_not_said_to_be_live(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        fake.bearers.clear()  # the stream is still open
        await browser.press("3")
        await browser.wait(f"/has ended/.test({BANNER})")
        await asyncio.sleep(2.5)  # another line of the stream comes
        assert await browser.evaluate(LINK) == "Access ended"


async def test_an_access_that_ends_between_two_tries_stays_ended(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        fake.expire()
        await browser.wait(f"/next try in/.test({LINK}) && (location.hash = '#/usage', true)")
        await browser.wait(f"/has ended/.test({BANNER})")
        await asyncio.sleep(2)
        assert await browser.evaluate(LINK) == "Access ended"


async def test_a_model_whose_server_refuses_the_key_does_not_end_the_access(browser: Browser) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "vendor refused the key"}}, status=401)

    async with Fake(rows=4) as fake:
        fake.stream = refuse  # type: ignore[method-assign]
        await enter(browser, fake)
        await ask(browser, "Hello")
        await browser.wait(f"/vendor refused the key/.test({MAIN})")
        paths = [path for path, _ in fake.requests]
        assert paths.count("models") >= 1
        await asyncio.sleep(1.5)
        assert await browser.evaluate(BANNER) == "" and await browser.evaluate(LIVE)
        fake.bearers.clear()
        await ask(browser, "Hello")
        await browser.wait(f"/has ended/.test({BANNER})")


async def test_a_link_that_fails_leaves_the_view_and_its_address(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await browser.go("#/usage")
        await browser.evaluate("location.hash = 'used'")
        await browser.wait(f"/used already/.test({BANNER})")
        assert await browser.evaluate("location.hash") == "#/usage"
        await browser.click("[data-view=now]")
        await browser.wait("document.querySelector('main h1').textContent === 'Now'")
        assert await browser.evaluate(BANNER) == ""
        await browser.evaluate("location.hash = 'used'")
        await browser.wait(f"/used already/.test({BANNER})")
        await browser.click("#banner button")
        assert await browser.evaluate(BANNER) == "" and await browser.evaluate("location.hash") == "#/now"


# -- answers -----------------------------------------------------------------------------------------------------------


async def ask(browser: Browser, text: str) -> None:
    """Send a message under Try."""
    await browser.go("#/try")
    await browser.wait("document.querySelector('main input').value && !document.querySelector('main button.first').disabled")  # fmt: skip
    await browser.evaluate("document.querySelector('main textarea').select()")
    await browser.do("type", text=text)
    await browser.click("main button.first")


async def test_an_error_at_the_end_of_a_stream_stays_to_be_read(browser: Browser) -> None:
    async def fail(request: web.Request) -> web.Response:
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Half an"}}
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "vendor is overloaded"}}
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in (start, error))
        return web.Response(text=text, content_type="text/event-stream")

    async with Fake(rows=4) as fake:
        fake.stream = fail  # type: ignore[method-assign]
        await enter(browser, fake)
        await ask(browser, "Hello")
        await browser.wait(
            "document.querySelectorAll('.bubble').length === 2 && !document.querySelector('main button.first').disabled"
        )
        await browser.evaluate(FRAMES)
        text = await browser.text(".talk")
        assert "Half an" in text and "vendor is overloaded" in text
        assert await browser.text("#say") == "The answer ended with an error."
        assert await browser.evaluate("document.querySelector('main textarea').value") == "Hello"
        await ask(browser, "Again")
        await browser.wait("document.querySelectorAll('.bubble').length === 4")
        bodies = [body for path, body in fake.requests if path == "try"]
        assert bodies[1]["messages"] == [{"role": "user", "content": "Again"}]


async def test_a_result_of_a_tool_is_not_lost_with_a_failed_answer(browser: Browser) -> None:
    async def fail(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "vendor is away"}}, status=503)

    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await ask(browser, "Hello")
        await browser.wait("/Result of the tool/.test(document.querySelector('main form').innerText)")
        fake.stream = fail  # type: ignore[method-assign]
        await ask(browser, "42 lines")
        await browser.wait(f"/vendor is away/.test({MAIN})")
        await browser.wait("document.querySelector('main textarea').value === '42 lines'")


async def test_a_new_conversation_has_nothing_of_the_answer_that_still_came(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await ask(browser, "First")
        await browser.click_text("main button", "New conversation")
        await ask(browser, "Second")
        await browser.wait(
            "document.querySelectorAll('.bubble').length === 2 && !document.querySelector('main button.first').disabled"
        )
        bodies = [body for path, body in fake.requests if path == "try"]
        assert [body["messages"] for body in bodies] == [
            [{"role": "user", "content": "First"}],
            [{"role": "user", "content": "Second"}],
        ]


async def test_a_failure_of_an_older_question_does_not_replace_the_newer_answer(browser: Browser) -> None:
    class Usage(GatedFake):
        def holds(self, request: web.Request) -> bool:
            return request.query.get("by") == "hour"

        def usage(self, by: str) -> dict[str, Any]:
            return None if by == "hour" else super().usage(by)  # type: ignore[return-value]

    fake = Usage(rows=4)
    async with fake:
        await enter(browser, fake)
        await browser.go("#/usage")
        await browser.wait("document.querySelector('main tbody')")
        await browser.evaluate("document.querySelector('[aria-label=\"Grouped by\"]').children[1].click()")
        await fake.arrival.wait()
        await browser.evaluate("document.querySelector('[aria-label=\"Grouped by\"]').children[2].click()")
        await browser.wait(f"/model-6/.test({MAIN})")
        fake.gate.set()
        await asyncio.sleep(1)
        assert "model-6" in await browser.text("main") and "no usage" not in await browser.text("main")


async def test_a_button_pressed_twice_has_its_own_word_again(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake, before="Object.defineProperty(navigator, 'clipboard', {value: {writeText: async () => {}}})")  # fmt: skip
        await show(browser, "#/requests/req_000003")
        await browser.click_text("[role=tab]", "JSON")
        copy = "document.querySelector('.find button:last-child')"
        await browser.evaluate(f"{copy}.click()")
        await browser.wait(f"{copy}.textContent === 'Copied' && ({copy}.click(), true)")
        await asyncio.sleep(3)
        assert await browser.evaluate(f"{copy}.textContent") == "Copy"


async def test_a_text_that_was_left_half_drawn_is_drawn_whole_later(browser: Browser) -> None:
    tab = "[...document.querySelectorAll('.pane')][0].querySelectorAll('[role=tab]')[{}].click()"
    async with Fake(rows=3, body=2_000_000) as fake:
        needle = fake.request_body().rpartition('"tool_use_id": "')[2].partition('"')[0]
        await enter(browser, fake, before="scheduler.yield = () => new Promise(done => setTimeout(done, 50))")  # fmt: skip
        await show(browser, "#/requests/req_000002")
        await browser.evaluate("document.querySelector('.ask button').click()")
        await browser.wait("document.querySelectorAll('.pane')[0].querySelectorAll('[role=tab]').length === 3")
        await browser.evaluate(f"({tab.format(1)}, {FRAMES}.then(() => {tab.format(2)}))")
        await asyncio.sleep(0.5)
        await browser.evaluate(tab.format(1))
        await browser.evaluate(f"document.querySelector('.find input').value = '{needle}'")
        await browser.wait("(document.querySelector('.find button').click(), /line [\\d,]+ of/.test(document.querySelector('.find').innerText))")  # fmt: skip


async def test_a_body_with_nulls_can_be_read(browser: Browser) -> None:
    body = {"model": "sonnet", "system": [None], "tools": [None], "messages": [None, {"role": "user", "content": [None, "hi"]}]}  # fmt: skip
    async with Fake(rows=4) as fake:
        part = fake.part
        fake.part = lambda name: {**part(name), "text": json.dumps(body)} if name == "client_request" else part(name)  # type: ignore[method-assign]
        await enter(browser, fake)
        await show(browser, "#/requests/req_000003")
        await browser.wait("document.querySelectorAll('.pane')[0].querySelectorAll('[role=tab]').length === 3")
        assert "hi" in await browser.text(".pane")


async def test_an_address_that_is_no_valid_escape_ends_no_key(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter_list(browser, fake)
        await browser.go("#/requests/%zz")
        await browser.wait(READY)
        await browser.press("]", "[")
        assert not [text for text in await browser.do("trouble") if text.startswith("exception")]


# -- one request -------------------------------------------------------------------------------------------------------


async def test_a_pane_that_could_not_be_fetched_can_be_fetched_again(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        part = fake.part
        fake.part = lambda name: None if name == "client_reply" else part(name)  # type: ignore[assignment,method-assign,return-value]
        await enter(browser, fake)
        await show(browser, "#/requests/req_000003")
        await browser.wait(f"/no requests/.test({MAIN})")
        fake.part = part  # type: ignore[method-assign]
        await browser.click_text("main button", "Try again")
        await browser.wait(
            f"!/no requests/.test({MAIN}) && document.querySelectorAll('.pane [role=tablist]').length === 4"
        )


async def test_an_export_that_fails_leaves_a_running_replay(browser: Browser) -> None:
    class ExportFake(GatedFake):
        def holds(self, request: web.Request) -> bool:
            return request.path.endswith("/replay")

        async def api(self, request: web.Request) -> web.StreamResponse:
            if request.path.endswith("/export"):
                return web.json_response({"error": {"message": "the disk is full"}}, status=500)
            return await super().api(request)

    fake = ExportFake(rows=4)
    async with fake:
        await enter(browser, fake)
        await show(browser, "#/requests/req_000003")
        await browser.click_text("main button", "Replay")
        await fake.arrival.wait()
        await browser.click_text("main button", "Save golden")
        await browser.wait(f"/the disk is full/.test({MAIN})")
        await browser.wait("[...document.querySelectorAll('main button')].some(node => node.textContent === 'Stop')")
        fake.gate.set()
        await browser.wait("/tool_use/.test(document.getElementById('replay').innerText)")


async def test_an_attempt_that_is_shown_is_not_fetched_again(browser: Browser) -> None:
    async with Fake(rows=4) as fake:
        await enter(browser, fake)
        await show(browser, "#/requests/req_000003")
        choices = "document.querySelector('[aria-label=Attempt]').children"
        before = len(fake.requests)
        await browser.evaluate(f"{choices}[1].click()")
        await asyncio.sleep(0.5)
        assert len(fake.requests) == before
        await browser.evaluate(f"{choices}[0].click()")
        await browser.wait(READY)
        assert sorted(path.rpartition("/")[2] for path, _ in fake.requests[before:]) == [
            "upstream_reply.1",
            "upstream_request.1",
        ]


async def test_the_same_words_are_announced_each_time(browser: Browser) -> None:
    watch = "new MutationObserver(() => words.push(document.getElementById('say').textContent)).observe(document.getElementById('say'), {childList: true, subtree: true, characterData: true})"
    async with Fake(rows=4) as fake:
        await enter(browser, fake, before="Object.defineProperty(navigator, 'clipboard', {value: {writeText: async () => {}}}); window.words = []")  # fmt: skip
        await show(browser, "#/requests/req_000003")
        await browser.evaluate(watch)
        await browser.click_text("main button", "Copy as curl")
        await browser.wait("words.includes('Copied')")
        await asyncio.sleep(0.5)
        await browser.click_text("main button", "Copied")
        await browser.wait("words.filter(text => text === 'Copied').length === 2 && words.includes('')")
