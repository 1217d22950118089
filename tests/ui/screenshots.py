"""Make docs/images/*.png: real Claude Code through a real a2py, a model that follows a script, the page in Chromium.

    A2PY_CLAUDE=… python -m tests.ui.screenshots        # all of them, some two minutes
    python -m tests.ui.screenshots --folder /tmp/shots  # somewhere else

Knows: what is seen in each picture. Must not know: how the page draws it.
Files are small with Debian's pngquant, and look best with its fonts-inter and fonts-jetbrains-mono.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests import process, scripted
from tests.claude import cli
from tests.claude.story import Body, Say, Story, results
from tests.ui.browser import Browser
from tests.ui.test_claude import open_page

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
#: What the scripted upstream's prompts cost, in tokens, so that sums look like those of a real model.
PROMPT_TOKENS = 14_600
BUG = """def events(lines):
    data = []
    for line in lines:
        if line == "":
            yield "\\n".join(data)
        elif line.startswith("data:"):
            data.append(line[5:])
"""
TEST = """from sse import events


def test_two_events():
    assert list(events(["data: a", "", "data: b", ""])) == ["a", "b"]
"""


def steps(work: Path) -> list[Say]:
    """What the model does, turn by turn."""
    module, test = str(work / "sse.py"), str(work / "test_sse.py")
    return [
        Say("I'll look at the parser and its test.", [("Read", {"file_path": module}), ("Read", {"file_path": test})], "The test expects two events. The second one probably holds the data of the first, too. I should read both files before I change anything."),
        Say("", [("Bash", {"command": "python3 -c 'import sse; print(list(sse.events([\"data: a\", \"\", \"data: b\", \"\"])))'", "description": "See what the parser returns"})], "Let me see what it really returns."),
        Say("Two faults: `data` is not emptied after an event, and one space after the colon belongs to the field.", [("Edit", {"file_path": module, "old_string": '            yield "\\n".join(data)', "new_string": '            yield "\\n".join(data)\n            data = []'})], "The list is never cleared, so the second event repeats the first."),
        Say("", [("Edit", {"file_path": module, "old_string": "            data.append(line[5:])", "new_string": '            data.append(line[5:].removeprefix(" "))'})]),
        Say("", [("Bash", {"command": "python3 -c 'import sse; assert list(sse.events([\"data: a\", \"\", \"data: b\", \"\"])) == [\"a\", \"b\"]; print(\"ok\")'", "description": "Run the case of the test"})]),
        Say("The test passes now. `events` kept the lines of one event for the next one, and kept the space after `data:`. Both are mended in `sse.py`:\n\n1. `data` starts empty after each event.\n2. One space after the colon is removed, as the specification says.", [], "Sum it up in a few lines."),
    ]  # fmt: skip


class PacedStory(Story):
    """A story told at the pace of a model. Every `refuse`-th request is refused, as by a busy server."""

    def __init__(self, pace: float, refuse: int = 0) -> None:
        super().__init__(self.next)
        self.pace = pace
        self.refuse = refuse

    def next(self, body: Body) -> Say:
        if not body.get("tools"):
            return Say("Mend the parser of events")
        rounds = sum(message["role"] == "assistant" for message in body["messages"])
        match = re.search(r"/[^\s\"']*/claude\d/work", json.dumps(body["messages"]))
        turns = steps(Path(match[0] if match else "/"))
        turn: Say = turns[min(rounds, len(turns) - 1)]
        turn.prompt_tokens = PROMPT_TOKENS + 640 * rounds + 210 * len(results(body))
        return turn

    async def __call__(self, peer: scripted.Peer) -> None:
        if peer.request.method == "GET":
            peer.reply({"error": {"message": "not found"}}, 404)
            return
        body = peer.request.json
        self.bodies.append(body)
        if self.refuse and len(self.bodies) % self.refuse == 5:
            peer.reply({"error": {"message": "Rate limit reached", "type": "rate_limit"}}, 429, {"retry-after": "20"})
            return
        await asyncio.sleep(self.pace * 20)
        answer = self.next(body)
        if not body.get("stream"):
            peer.reply(self._whole(answer))
            return
        peer.head(200, scripted.SSE)
        chunks = self._chunks(answer)
        cached = answer.prompt_tokens * 9 // 10 if len(body["messages"]) > 4 else 0
        chunks[-2]["usage"] |= {"completion_tokens": len(chunks), "prompt_tokens_details": {"cached_tokens": cached}}
        for n, chunk in enumerate(chunks):
            peer.events(chunk)
            await peer.drain()
            await asyncio.sleep(self.pace * (12 if n == 9 else 1))
        peer.end()


def models(first: str, second: str) -> list[dict[str, Any]]:
    price = {"input_cost_per_token": 2.2e-7, "output_cost_per_token": 1e-6, "cache_read_input_token_cost": 5e-8}
    entries = [
        process.deployment("claude-*", first, model="qwen/qwen3-coder", provider="openrouter", **price),
        process.deployment("claude-*", second, model="deepseek-chat", provider="deepseek", **price),
        process.deployment("claude-haiku-*", first, model="llama-4-scout", provider="groq", **price),
    ]
    entries[0]["litellm_params"].update(rpm=60, tpm=400_000)
    entries[1]["litellm_params"].update(rpm=30)
    return entries


def make_work(folder: Path) -> None:
    work = folder / "work"
    work.mkdir(parents=True)
    (work / "sse.py").write_text(BUG, "utf-8")
    (work / "test_sse.py").write_text(TEST, "utf-8")


def shrink(file: Path) -> None:
    """Make the file small: few colours, no dithering."""
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--strip", "--ext", ".png", "--speed", "1", "96", str(file)], check=True)
    print(file, f"{file.stat().st_size // 1000} kB")


class Camera:
    """The browser, which opens the page anew for each size and scheme."""

    def __init__(self, browser: Browser, proxy: process.Proxy, folder: Path) -> None:
        self.browser = browser
        self.proxy = proxy
        self.folder = folder

    async def open(self, place: str, **options: Any) -> None:
        await open_page(self.browser, self.proxy, scale=1.5, **options)
        await self.browser.go(place)

    async def take(self, name: str, settle: float = 1) -> None:
        await self.browser.wait("!/Loading…|Fetching|Reading…/.test(document.querySelector('main').innerText)")
        await asyncio.sleep(settle)  # fonts, the first drawing of lists
        file = self.folder / f"{name}.png"
        await self.browser.do("shot", file=str(file))
        shrink(file)


async def shoot(folder: Path, scratch: Path) -> None:
    browser = Browser()
    await browser.start()
    folders = [scratch / f"claude{n}" for n in range(3)]
    for work in folders:
        make_work(work)
    first, second = PacedStory(0.04, refuse=11), PacedStory(0.04)
    try:
        async with scripted.ScriptedServer(first) as one, scripted.ScriptedServer(second) as two:
            with process.running(
                scratch, models(one.base, two.base), a2py={"ui": "record", "enforce_limits": True}
            ) as proxy:
                await act(Camera(browser, proxy, folder), folders)
    finally:
        await browser.stop()


def start(proxy: process.Proxy, folder: Path) -> asyncio.Task[cli.Run]:
    flags = ("--allowedTools", "Read", "Edit", "Bash(python3:*)", "--model", "claude-sonnet-4-5")
    prompt = "The test in test_sse.py fails. Find out why, and mend sse.py"
    return asyncio.ensure_future(cli.run(proxy, folder, prompt, *flags))


async def act(camera: Camera, folders: list[Path]) -> None:
    browser = camera.browser
    await camera.open("#/now", width=1280, height=800)
    runs = [start(camera.proxy, folder) for folder in folders]
    await browser.wait("/[6-9]|1[0-9]/.test(document.querySelector('.tile .figure').innerText)")
    writing = "[...document.querySelectorAll('[aria-label=\"Running requests\"] tbody tr')].filter(row => /\\d/.test(row.children[3].innerText))"  # fmt: skip
    await browser.wait(f"{writing}.length >= 2")
    await camera.take("now", settle=0)
    for run in runs:
        run_result = await run
        print(run_result.code, run_result.result.get("result", "")[:60])
    retry_row = "[...document.querySelectorAll('.rq.item')].find(row => row.querySelector('.tag:not([hidden])'))"
    for scheme in ("light", "dark"):
        await camera.open("#/requests", width=1280, height=1130, scheme=scheme)
        await browser.wait(f"document.querySelectorAll('.rq.item').length > 8 && {retry_row}")
        await browser.evaluate(f"{retry_row}.click()")
        await browser.wait("document.querySelectorAll('.pane [role=tabpanel]').length === 4")
        await camera.take(f"request-{scheme}")
    await camera.open("#/requests", width=1280, height=640)
    await browser.wait("document.querySelectorAll('.rq.item').length > 8")
    await camera.take("requests")
    await browser.evaluate(f"{retry_row}.click()")
    await browser.wait("document.querySelectorAll('.pane [role=tabpanel]').length === 4")
    session = await browser.evaluate("[...document.querySelectorAll('main a')].find(node => node.hash.startsWith('#/sessions/')).hash")  # fmt: skip
    await camera.open(session, width=1280, height=800)
    await camera.take("session")
    await camera.open("#/requests", width=390, height=780)
    await browser.wait("document.querySelectorAll('.rq.item').length > 4")
    await camera.take("phone")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ui.screenshots", description=(__doc__ or "").partition("\n")[0])  # fmt: skip
    parser.add_argument("--folder", type=Path, default=IMAGES)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(shoot(folder, Path(scratch)))


if __name__ == "__main__":
    main()
