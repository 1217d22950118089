"""The page's part in one process: who looks, what is recorded for them, and what the workers tell each other.

The page is connected to one worker, and shows all of them. That worker asks the others over the bus, and says every
few seconds that somebody looks, so that all of them record. A worker that hears no more of it for KEEP_SECONDS forgets
what it has recorded.

Knows: the bus, the recorder, who may read. Must not know: HTTP, paths, what a page shows.
Invariants: nothing is recorded while nobody looks, except with `a2py: ui: record`. A token is redeemed once, by the
worker that has issued it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Union

import orjson

from a2py.caller import Caller
from a2py.proxy.capture import secrets_of
from a2py.proxy.log import Record
from a2py.proxy.page.access import (
    BEARER_SECONDS,
    MAX_BEARERS,
    MAX_TOKENS,
    TOKEN_SECONDS,
    Grants,
    Viewer,
    digest,
    find_caller,
)
from a2py.proxy.page.recorder import Recorder, Row, to_json
from a2py.proxy.services import Services

#: The topic of everything that the workers say of the page.
TOPIC = "page"
#: Seconds between two messages that somebody looks; seconds after the last one until what was recorded is forgotten.
LOOK_SECONDS, KEEP_SECONDS = 5.0, 30.0
#: Seconds that another worker may take to answer.
ANSWER_SECONDS = 2.0
#: Questions about bearers, and about tokens, that run at a time: whoever guesses them does not make the workers busy,
#: and takes none of the questions that the bus has for others.
MAX_LOOKUPS = 8

Answer = Union[dict[str, Any], None]
#: Answers a question of a worker about what it has: `arguments` → JSON; None if it has nothing of it.
Operation = Callable[[dict[str, Any]], Union[Answer, Awaitable[Answer]]]


class Desk:
    """`operations`: what other workers may ask for; `viewers`: called with the row of each request that has ended, in
    any worker; `on_forget`: each is called when what was recorded is forgotten."""

    def __init__(self, services: Services) -> None:
        self.services = services
        clock = services.clock
        self.tokens = Grants(clock, TOKEN_SECONDS, MAX_TOKENS)
        self.bearers = Grants(clock, BEARER_SECONDS, MAX_BEARERS)
        self.operations: dict[str, Operation] = {"redeem": self._redeem, "bearer": self._find_bearer}
        self.viewers: set[Callable[[Row], None]] = set()
        self.on_forget: list[Callable[[], None]] = []
        self.recorder: Recorder | None = None
        self.is_closed = False
        self._last_look = float("-inf")  # loop time
        self._timer: asyncio.TimerHandle | None = None
        self._lookups = 0
        self._redeeming = asyncio.Semaphore(MAX_LOOKUPS)
        self.adjust()

    # -- who looks -----------------------------------------------------------------------------------------------------

    @property
    def records_always(self) -> bool:
        return self.services.config.settings.ui == "record"

    def adjust(self) -> None:
        if self.records_always and not self.is_closed:
            self._begin()
        elif self.recorder is not None and self._timer is None:
            self._arm(0.0)

    def look(self) -> None:
        """Note that somebody looks, in this worker or in another one."""
        if self.is_closed:
            return
        self._last_look = asyncio.get_running_loop().time()
        self._begin()
        if self._timer is None:
            self._arm(KEEP_SECONDS)

    def tell_look(self) -> None:
        """Note that somebody looks in this worker, and tell the others."""
        self.look()
        self.tell({"op": "look"})

    def _begin(self) -> None:
        if self.recorder is None:
            bus, crash = self.services.bus, self.services.log.crash
            self.recorder = Recorder(lambda: bus.number, self._note_end, self._price, self.secrets, crash)
            self.services.ui.watcher = self.recorder

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check)

    def _check(self) -> None:
        """Forget everything if nobody has looked for a while."""
        self._timer = None
        remaining_seconds = self._seconds_left()
        if self.records_always:
            return
        if self.viewers or remaining_seconds > 0:
            self._arm(max(remaining_seconds, 1.0))
        else:
            self._forget()

    def _seconds_left(self) -> float:
        """Return the seconds until nobody is taken to look any more."""
        return self._last_look + KEEP_SECONDS - asyncio.get_running_loop().time()

    def _forget(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
        self.recorder = self.services.ui.watcher = None
        for forget in self.on_forget:
            forget()

    async def close(self) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._forget()

    # -- requests that have ended --------------------------------------------------------------------------------------

    def secrets(self) -> frozenset[str]:
        """Return every secret of the configuration."""
        return secrets_of(self.services.config)

    def _price(self, record: Record) -> float | None:
        keeper = self.services.books.keeper
        return keeper.sum_up(record.account.usages)[1] if keeper is not None and record.account.usages else None

    def _note_end(self, row: Row) -> None:
        self._show(row)
        if self._seconds_left() > 0:  # somebody looks, perhaps in another worker
            self.tell({"op": "row", "row": row})

    def _show(self, row: Row) -> None:
        for show in tuple(self.viewers):
            show(row)

    # -- the other workers ---------------------------------------------------------------------------------------------

    def tell(self, message: dict[str, Any]) -> None:
        """Send `message` to all other workers."""
        if self.services.bus.peers:
            self.services.bus.publish(TOPIC, to_json(message))

    def hear(self, payload: bytes) -> None:
        """Take a message of another worker."""
        message = orjson.loads(payload)
        operation = message.get("op")
        if operation == "look":
            self.look()
        elif operation == "row":
            self._show(message["row"])
        elif operation == "bearer":
            self.bearers.add(message["digest"], Viewer(*message["viewer"]), message["seconds"])

    async def answer(self, payload: bytes) -> bytes:
        """Return the answer to a question, b"" if this worker has none."""
        question = orjson.loads(payload)
        operation = self.operations.get(question.pop("op", ""))
        if operation is None:
            return b""  # a worker of another version has asked
        result = operation(question)
        if asyncio.iscoroutine(result):
            result = await result
        return b"" if result is None else to_json(result)

    async def ask_all(self, operation: str, **arguments: Any) -> dict[int, dict[str, Any]]:
        """Return the answers of all workers that have one, by the worker's number."""
        question = orjson.dumps({"op": operation, **arguments})
        answers = await self.services.bus.gather(TOPIC, question, ANSWER_SECONDS)
        return {worker: orjson.loads(data) for worker, data in answers.by_worker.items() if data}

    async def ask_any(self, operation: str, **arguments: Any) -> tuple[int, dict[str, Any]] | None:
        """Return the number of a worker that has an answer, and the answer; None if none has one."""
        return next(iter((await self.ask_all(operation, **arguments)).items()), None)

    async def ask(self, worker: int, operation: str, seconds: float, **arguments: Any) -> dict[str, Any] | None:
        """Return the answer of one worker, None if it has none."""
        data = await self.services.bus.ask(worker, TOPIC, orjson.dumps({"op": operation, **arguments}), seconds)
        answer: dict[str, Any] | None = orjson.loads(data) if data else None
        return answer

    # -- who may read --------------------------------------------------------------------------------------------------

    async def redeem(self, token: str) -> Viewer | None:
        """Return who has `token`, which is not valid any more then, on any worker."""
        async with self._redeeming:
            answer = await self.ask_any("redeem", digest=digest(token))
        viewer = Viewer(*answer[1]["viewer"]) if answer is not None else None
        return viewer if viewer is not None and find_caller(self.services, viewer) is not None else None

    def issue_bearer(self, viewer: Viewer) -> str:
        """Return a new bearer, which all workers know."""
        bearer = self.bearers.issue(viewer)
        self.tell({"op": "bearer", "digest": digest(bearer), "viewer": list(viewer), "seconds": BEARER_SECONDS})
        return bearer

    async def find_caller(self, bearer: str) -> Caller | None:
        """Return the key with which the page of `bearer` was opened; None if nobody has it, or the key is not valid any
        more."""
        key = digest(bearer)
        entry = self.bearers.find(key)
        if entry is None and bearer and self._lookups < MAX_LOOKUPS and self.services.bus.peers:
            self._lookups += 1
            try:
                answer = await self.ask_any("bearer", digest=key)
            finally:
                self._lookups -= 1
            if answer is not None:
                self.bearers.add(key, Viewer(*answer[1]["viewer"]), answer[1]["seconds"])
                entry = self.bearers.find(key)
        return find_caller(self.services, entry[0]) if entry is not None else None

    def _redeem(self, arguments: dict[str, Any]) -> Answer:
        viewer = self.tokens.redeem(arguments["digest"])
        return None if viewer is None else {"viewer": list(viewer)}

    def _find_bearer(self, arguments: dict[str, Any]) -> Answer:
        entry = self.bearers.find(arguments["digest"])
        return None if entry is None else {"viewer": list(entry[0]), "seconds": entry[1]}
