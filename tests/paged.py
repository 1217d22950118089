"""A page that is open at a proxy of tests/proxied.py.

Knows: the page's paths, tokens and bearers. Must not know: what any test checks.
Use: `async with open_page(proxy) as page: rows = (await page.get("requests")).json["requests"]`"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.proxied import Running
from tests.scripted import Answer, Raw

SECRET = "s" * 43


def write_secret(folder: Path, mode: int = 0o600) -> str:
    """Write the secret of a proxy without keys. Return the path."""
    file = folder / "ui.secret"
    file.write_text(SECRET + "\n", "utf-8")
    file.chmod(mode)
    return str(file)


class Page:
    """`bearer`: of this page; `lines`: what `live` has said so far."""

    def __init__(self, port: int, bearer: str) -> None:
        self.port = port
        self.bearer = bearer
        self.lines: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.bearer}"),)

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        async with Raw(self.port) as client:
            client.ask(method, f"/ui/api/{path}", body, self.headers)
            return await client.answer(method)

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.ask("POST", path, {} if body is None else body)

    async def watch(self) -> None:
        """Read `live` until cancelled."""
        async with Raw(self.port) as client:
            client.ask("GET", "/ui/api/live", headers=self.headers)
            status, headers = await client.head()
            assert (status, headers["content-type"]) == (200, "application/x-ndjson"), status
            rest = b""
            while piece := await client.piece():
                *lines, rest = (rest + piece).split(b"\n")
                self.lines += [json.loads(line) for line in lines]
                self._came.set()

    @property
    def now(self) -> dict[str, Any]:
        """The latest line of what happens now; before the first one nothing has happened."""
        nothing: dict[str, Any] = {"running": [], "minute": {"requests": 0}}
        return [nothing, *(line for line in self.lines if line["type"] == "now")][-1]

    async def wait_for(self, type: str, seconds: float = 20.0, **values: Any) -> dict[str, Any]:
        """Return the first line of `type` with these values. `seconds`: only so that a fault ends."""

        async def find() -> dict[str, Any]:
            while True:
                for line in self.lines:
                    if line["type"] == type and all(line.get(name) == value for name, value in values.items()):
                        return line
                self._came.clear()
                await self._came.wait()

        return await asyncio.wait_for(find(), seconds)


async def stop(watching: asyncio.Future[None]) -> None:
    """End a task that reads `live`.

    Before Python 3.12 a `wait_for` that has just got its result forgets that it was cancelled."""
    while not watching.done():
        watching.cancel()
        await asyncio.wait({watching}, timeout=0.1)
    await asyncio.gather(watching, return_exceptions=True)


async def issue_token(port: int, **headers: str) -> Answer:
    async with Raw(port) as client:
        client.ask("POST", "/ui/api/token", {}, [(name.replace("_", "-"), value) for name, value in headers.items()])
        return await client.answer()


async def begin_session(port: int, token: str) -> Answer:
    async with Raw(port) as client:
        client.ask("POST", "/ui/api/session", {"token": token})
        return await client.answer()


async def sign_in(port: int, key: str = "") -> Page:
    """Return a page that may read. `key`: the master key; without one the secret of `write_secret` is shown."""
    credentials = {"x_api_key": key} if key else {"x_a2py_ui_secret": SECRET}
    token = (await issue_token(port, **credentials)).json["token"]
    return Page(port, (await begin_session(port, token)).json["bearer"])


@asynccontextmanager
async def open_page(proxy: Running, folder: Path | None = None, key: str = "") -> AsyncIterator[Page]:
    """An open page, whose `live` is read. `folder`: where to put the secret of a proxy without a key."""
    if folder is not None:
        proxy.services.ui.secret_file = write_secret(folder)
    page = await sign_in(proxy.port, key)
    watching = asyncio.ensure_future(page.watch())
    try:
        await page.wait_for("state")
        yield page
    finally:
        await stop(watching)
