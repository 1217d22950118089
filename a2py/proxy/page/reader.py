"""Read recordings, wherever they are: of this worker or of another one.

What is long goes from worker to worker in slices, so that no message is too long for the bus.

Knows: which worker has a recording, slices. Must not know: HTTP, what a recording holds (details.py).
Invariants: at most MAX_READERS recordings are read at a time in one process, in threads; of what is read in slices one
text is kept, until its last slice is taken, or until everything is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy.capture import secrets_of
from a2py.proxy.page import exports
from a2py.proxy.page.desk import Desk
from a2py.proxy.page.details import RecordingView
from a2py.proxy.page.history import History, is_id
from a2py.proxy.recording import Recording
from a2py.proxy.services import Services

#: Characters of one answer of a worker.
SLICE = 1024 * 1024
#: Seconds that another worker may take for one. It removes secrets first.
SECONDS = 30.0
MAX_READERS = 2

JSON = dict[str, Any]
T = TypeVar("T")


class Reader:
    """The recordings of all workers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._readers = asyncio.Semaphore(MAX_READERS)
        self._key: tuple[str, str] = ("", "")
        self._text: str | None = None  # of `_key`
        desk.on_forget.append(self._drop_text)
        desk.operations |= {"has": self._answer_has, "detail": self._answer_detail, "read": self._answer_read}

    # -- of all workers ------------------------------------------------------------------------------------------------

    async def detail(self, history: History, id: str) -> JSON:
        """Return a request in full. Raise `ApiError` if there is no such request."""
        worker = await self._find(id)
        match = await history.find_row(id)
        if worker is None and match is None:
            raise ApiError("not_found", "There is no such request any more", should_retry=False)
        row = match[1] if match is not None else {"id": id, "worker": worker, "running": True, "recorded": True}
        detail = await self.desk.ask(worker, "detail", SECONDS, id=id) if worker is not None else None
        if detail is None:
            nothing: JSON = {"client": None, "attempts": [], "waits": [], "searches": [], "context": [], "parts": []}
            return {**row, "recorded": False, **nothing}
        return {**row, **detail}

    async def describe_client(self, id: str) -> JSON:
        """Return method, path and headers of the client. Raise `ApiError` if they are not kept."""
        worker = await self._find(id)
        detail = await self.desk.ask(worker, "detail", SECONDS, id=id) if worker is not None else None
        if detail is None:
            raise ApiError("not_found", "This is not kept, or not any more", should_retry=False)
        client: JSON = detail["client"]
        return client

    async def read(self, id: str, what: str) -> str:
        """Return a text that belongs to a request. Raise `ApiError` if it is not kept."""
        worker = await self._find(id)
        slices: list[str] = []
        while worker is not None:
            offset = sum(map(len, slices))
            answer = await self.desk.ask(worker, "read", SECONDS, id=id, what=what, offset=offset)
            if answer is None:
                break
            slices.append(answer["text"])
            if offset + len(answer["text"]) >= answer["total"]:
                return "".join(slices)
        raise ApiError("not_found", "This is not kept, or not any more", should_retry=False)

    async def _find(self, id: str) -> int | None:
        """Return the number of the worker that has the recording of a request, None if none has it."""
        answer = await self.desk.ask_any("has", id=id) if is_id(id) else None
        return answer[0] if answer is not None else None

    # -- of this worker ------------------------------------------------------------------------------------------------

    def _get(self, arguments: JSON) -> Recording | None:
        return self.desk.recorder.find(arguments["id"]) if self.desk.recorder is not None else None

    def _answer_has(self, arguments: JSON) -> JSON | None:
        return {} if self._get(arguments) is not None else None

    async def _answer_detail(self, arguments: JSON) -> JSON | None:
        recording = self._get(arguments)
        if recording is None:
            return None
        return await self._run(recording, RecordingView.detail)

    async def _answer_read(self, arguments: JSON) -> JSON | None:
        """Return a slice of a text. The text is made for the first slice, and kept for the others."""
        key, offset = (arguments["id"], arguments["what"]), arguments["offset"]
        text = self._text if self._key == key and offset else None
        if text is None:
            recording = self._get(arguments)
            if recording is None:
                return None
            recorder = self.desk.recorder
            row = recorder.rows.get(arguments["id"], {}) if recorder is not None else {}
            text = await self._run(recording, lambda view: _render(view, arguments["what"], row))
            if text is None:
                return None
        if offset + SLICE >= len(text) or self.desk.recorder is None:
            self._drop_text()
        else:
            self._key, self._text = key, text
        return {"text": text[offset : offset + SLICE], "total": len(text)}

    def _drop_text(self) -> None:
        self._key, self._text = ("", ""), None

    async def _run(self, recording: Recording, read: Callable[[RecordingView], T]) -> T:
        """Return what `read` makes of a recording, in a thread."""
        services = self.desk.services
        secrets = secrets_of(services.config)
        # Here, because what is known of deployments changes in the loop.
        reasons = [_list_reasons(services, attempt.deployment) for attempt in recording.attempts]
        async with self._readers:
            return await asyncio.to_thread(lambda: read(RecordingView(recording, secrets, reasons)))


def _list_reasons(services: Services, deployment: Deployment) -> dict[str, str]:
    """Return from where each quirk of a deployment is."""
    quirks = services.explain(deployment)["quirks"]
    return {name: f"{fact['source']}: {fact['reason']}" for name, fact in quirks.items()}


def _render(view: RecordingView, what: str, row: JSON) -> str | None:
    """Return the text that `what` names; None if there is none. An error that the reader may see begins with `!`."""
    kind, _, name = what.partition(" ")
    if kind == "part":
        part = view.part(name)
        return None if part is None else orjson.dumps(part).decode()
    if kind == "body":
        return b"".join(view.recording.body.pieces).decode("latin-1") if not view.recording.body.is_cut else None
    try:
        if name == "golden":
            return exports.make_golden(view, row)
    except ValueError as error:
        return f"!{error}"
    if name == "capture":
        return exports.make_capture(view, row)
    if name == "report":
        return exports.make_report(view, row, view.detail())
    form, _, base = name.partition(" ")
    return exports.make_curl(view, base) if form == "curl" else None
