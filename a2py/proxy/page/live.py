"""GET /ui/api/live: what happens now, as one line of JSON after another.

Knows: the lines, when they are sent. Must not know: what a snapshot holds, paths.
Invariants: at most MAX_PAGES of one worker are open, each as long as its bearer is valid; a page that does not read
gets no more than the client's buffer holds, and is told later that it has missed something; one task serves all pages
of a worker, and ends with the last one.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from a2py import __version__
from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.client import PassedStream
from a2py.proxy.log import Record
from a2py.proxy.page import snapshot
from a2py.proxy.page.access import has_keys, read_bearer
from a2py.proxy.page.desk import LOOK_SECONDS, Desk
from a2py.proxy.page.keystate import KeyState
from a2py.proxy.page.recorder import Row, to_json

#: Pages that are open at one worker.
MAX_PAGES = 16
#: Seconds between two looks at what happens; of silence before a line says that the connection is alive.
BEAT_SECONDS, PING_SECONDS = 1.0, 15.0
CONTENT_TYPE = "application/x-ndjson"

JSON = dict[str, Any]


class LivePage:
    """One page that is open. `bearer`: of its request; `has_missed`: it did not read, and has not got everything since;
    `is_behind`: it may not have got what happens now, because it has missed something, or is new."""

    def __init__(self, stream: PassedStream, bearer: str) -> None:
        self.bearer = bearer
        self._stream = stream
        self.has_missed = False
        self.is_behind = True
        self.end = asyncio.Event()

    def send(self, line: bytes) -> None:
        """Send one line, unless the page does not read what it has got."""
        if self._stream.full():
            self.has_missed = self.is_behind = True
            return
        if self.has_missed:
            self.has_missed = False
            line = dump({"type": "missed"}) + line
        self._stream.write(line)

    @property
    def silence(self) -> float:
        """Seconds since the latest line."""
        return asyncio.get_running_loop().time() - self._stream.last_write


class Pages:
    """The pages that are open at one worker."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._open: set[LivePage] = set()
        self._task: asyncio.Task[None] | None = None
        self._facts = snapshot.Facts()
        self._keys = KeyState(desk.services)
        self._now = self._state = b""  # what was sent last
        desk.operations |= {
            "now": lambda arguments: snapshot.snapshot_now(desk.services, desk.recorder),
            "state": lambda arguments: snapshot.snapshot_state(desk.services),
        }

    async def serve(self, request: BaseRequest, record: Record, headers: dict[str, str]) -> StreamResponse:
        """Answer until the page is closed, or the server ends."""
        services = self.desk.services
        if services.running.is_draining:
            raise ApiError("overloaded", "The proxy is shutting down", retry_after=2)
        if len(self._open) >= MAX_PAGES:
            raise ApiError("rate_limit", f"{MAX_PAGES} pages are open already: close one", retry_after=10)
        limit = services.config.settings.buffer_kb * 1024
        stream = PassedStream(request, record.id, limit, headers, services.timeouts.stall)
        stream.commit(200, {"content-type": CONTENT_TYPE}, None)
        page = LivePage(stream, read_bearer(request.headers))
        self._add(page)
        try:
            page.send(dump(self._greet()))
            page.send(_state_line(*await self._read_state()))
            await page.end.wait()
        finally:
            self._remove(page)
        record.status = 200
        if stream.has_unsent():  # nobody reads: a drain would wait for it
            stream.abort()
        return stream.finish(dump({"type": "end"}))

    def _add(self, page: LivePage) -> None:
        self._open.add(page)
        if len(self._open) == 1:
            self.desk.viewers.add(self._show)
            self._task = asyncio.get_running_loop().create_task(self._beat())
        self.desk.tell_look()

    def _remove(self, page: LivePage) -> None:
        self._open.discard(page)
        if not self._open and self._task is not None:
            self.desk.viewers.discard(self._show)
            self._task.cancel()
            self._task = None
            self.desk.look()  # what is recorded stays for a while: the page may come back

    @property
    def is_watched(self) -> bool:
        """Whether a page is open at this worker."""
        return bool(self._open)

    @property
    def has_missed(self) -> bool:
        """Whether any page does not read."""
        return any(page.has_missed for page in self._open)

    def end_all(self) -> None:
        """End every page. They may come again."""
        for page in self._open:
            page.end.set()

    def _show(self, row: Row) -> None:
        self.send(dump({"type": "request", **row}))

    def send(self, line: bytes) -> None:
        for page in self._open:
            page.send(line)

    def _greet(self) -> JSON:
        services = self.desk.services
        tool = services.config.search
        return {
            "type": "hello",
            "version": __version__,
            "time": time.time(),
            "started": time.time() - services.running.uptime(),
            "workers": services.bus.count,
            "recording": "record" if self.desk.records_always else "page",
            "ledger": services.books.keeper is not None,
            "keys": has_keys(services),
            "tools": ["search"] if tool is not None else [],
        }

    async def _beat(self) -> None:
        """Say every second what has changed."""
        loop = asyncio.get_running_loop()
        look_time = loop.time()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self.desk.services.running.is_draining:
                self.end_all()
                return
            try:
                await self._end_strangers()
                if loop.time() - look_time >= LOOK_SECONDS:
                    look_time = loop.time()
                    self.desk.tell_look()
                await self._tell_changes()
            except Exception as error:  # a worker of another version, for example; the next second may be better
                self.desk.services.log.crash(error, "")
            for page in self._open:
                if page.silence >= PING_SECONDS:
                    page.send(dump({"type": "ping"}))

    async def _end_strangers(self) -> None:
        """End the pages whose bearer, or key, is not valid any more."""
        for page in tuple(self._open):
            if await self.desk.find_caller(page.bearer) is None:
                page.end.set()

    async def _tell_changes(self) -> None:
        """Send what has changed, and to a page that is behind what has not."""
        answers = await self.desk.ask_all("now")
        now = dump(snapshot.sum_now(answers.values(), time.time()))
        deployments, keys = await self._read_state()
        state = dump({"deployments": snapshot.without_countdown(deployments), "keys": keys})
        has_news = now != self._now, state != self._state
        self._now, self._state = now, state
        now_line = b'{"type":"now","time":%.3f,' % time.time() + now[1:]
        for page in self._open:
            is_behind, page.is_behind = page.is_behind, False
            if is_behind or has_news[0]:
                page.send(now_line)
            if is_behind or has_news[1]:
                page.send(_state_line(deployments, keys))

    async def _read_state(self) -> tuple[list[JSON], list[JSON]]:
        """Return the deployments and the keys."""
        services = self.desk.services
        answers = await self.desk.ask_all("state")
        facts = self._facts.read(services)
        return snapshot.sum_state(services, facts, answers.values()), await self._keys.list_keys()


def _state_line(deployments: list[JSON], keys: list[JSON]) -> bytes:
    return dump({"type": "state", "deployments": deployments, "keys": keys})


def dump(value: JSON) -> bytes:
    """Return one line."""
    return to_json(value) + b"\n"
