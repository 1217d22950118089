"""A real Chromium for the tests of the page, driven over pipes by drive.js (Debian: chromium; npm: puppeteer-core, axe-core).

Knows: where Chromium, node and the modules are. Must not know: the page.
Use: the fixture `browser` of conftest.py: `await browser.open(fake.link)`, `await browser.wait("…")`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Where `make test-real` installs the modules. $A2PY_UI_MODULES: another node_modules.
MODULES = HERE.parents[1] / ".venv-ui" / "node_modules"
PACKAGES = ("puppeteer-core@24", "axe-core@4")
#: Seconds that one step may take. Tests decide nothing by it: it ends what hangs.
LIMIT = 90


def modules() -> Path:
    return Path(os.environ.get("A2PY_UI_MODULES") or MODULES)


def missing() -> str:
    """Why no browser can be driven here; "" where one can."""
    programs = [name for name in ("chromium", "node") if not shutil.which(name)]
    packages = [name.split("@")[0] for name in PACKAGES if not (modules() / name.split("@")[0]).is_dir()]
    absent = programs + [f"npm's {name}" for name in packages]
    return f"{', '.join(absent)} not installed (make test-real)" if absent else ""


class Browser:
    """One page at a time. A failed step raises `AssertionError` with what the page shows."""

    process: asyncio.subprocess.Process

    async def start(self) -> None:
        environment = {**os.environ, "NODE_PATH": str(modules()), "CHROMIUM": shutil.which("chromium") or ""}
        self.process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "drive.js"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 26,
            env=environment,
        )

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 20)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def do(self, op: str, **options: Any) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({"op": op, **options}).encode() + b"\n")
        line = await asyncio.wait_for(stdout.readline(), LIMIT)
        answer = json.loads(line or b'{"error": "the driver ended"}')
        assert "error" not in answer, answer.get("error")
        return answer["ok"]

    async def open(self, url: str, **options: Any) -> None:
        await self.do("open", url=url, **options)

    async def evaluate(self, code: str) -> Any:
        return await self.do("evaluate", code=code)

    async def wait(self, code: str) -> Any:
        return await self.do("wait", code=code)

    async def press(self, *keys: str) -> None:
        await self.do("press", keys=keys)

    async def click(self, selector: str) -> None:
        await self.do("click", selector=selector)

    async def click_text(self, selector: str, text: str) -> None:
        """Click the first of these elements that has this text."""
        nodes = f"[...document.querySelectorAll({json.dumps(selector)})]"
        await self.evaluate(f"{nodes}.find(node => node.textContent === {json.dumps(text)}).click()")

    async def go(self, place: str) -> None:
        """Show a place of the page, and wait until it is drawn: the hash changes before the page does."""
        there = f"location.hash === {json.dumps(place)}"
        old = "document.querySelector('main').firstElementChild"
        await self.evaluate(f"if (!({there})) {{ {old}.left = true; location.hash = {json.dumps(place)}; }}")
        await self.wait(f"{there} && !{old}.left && document.querySelector('main h1')")

    async def text(self, selector: str = "body") -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))
