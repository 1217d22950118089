"""One request in full: its attempts, waits and searches, and its bodies, without secrets.

Everything here reads a recording and takes up to a second for large bodies, so it runs in a thread.

Knows: what a recording holds, what of it the page shows. Must not know: HTTP, where the recording is.
Invariants: nothing is shown before every secret is removed from it; a piece of text is one piece of the wire, with its
time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from a2py import jsonsize
from a2py.errors import ApiError
from a2py.messages.composition import compose
from a2py.messages.request import parse
from a2py.proxy.capture import clean, path_of, secrets_in
from a2py.proxy.recording import Body, RecordedAttempt, Recording
from a2py.proxy.redact import Redactor
from a2py.wires.changes import Question, find_changes
from a2py.wires.passthrough.endpoints import is_openai_path

#: Pieces of one body whose times are shown; later ones count as one.
MAX_PIECES = 50_000

JSON = dict[str, Any]


class RecordingView:
    """A recording, as it may be shown. `more_secrets`: of the configuration that is in force now; `reasons`: of each
    attempt, quirk → where it is from."""

    def __init__(
        self,
        recording: Recording,
        more_secrets: frozenset[str] = frozenset(),
        reasons: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.recording = recording
        self.redactor = Redactor(secrets_in(recording) | more_secrets)
        self._reasons = reasons

    def data(self, body: Body) -> bytes:
        """Return a body without secrets."""
        return b"".join(body.redact(self.redactor))

    def text(self, body: Body) -> str:
        return self.data(body).decode("utf-8", "replace")

    def parse(self, body: Body) -> JSON | None:
        """Return the JSON object that a body is, None if it is none, or was cut."""
        data = self.data(body)
        if body.is_cut or jsonsize.exceeds(data):
            return None
        try:
            value = orjson.loads(data)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def detail(self) -> JSON:
        """Return everything but the bodies."""
        recording, redactor = self.recording, self.redactor
        body = self.parse(recording.body)
        return {
            "client": {
                "method": recording.method,
                "path": redactor.text(recording.path),
                "headers": [pair for one in recording.headers for pair in self._headers(dict([one]))],
            },
            "attempts": [self._attempt(number, one, body) for number, one in enumerate(recording.attempts, 1)],
            "context": self._compose(body),
            "waits": [{"start": _seconds(w.start), "end": _seconds(w.end), "place": w.place} for w in recording.waits],
            "searches": [
                {
                    "query": redactor.text(search.query),
                    "start": _seconds(search.start),
                    "end": _seconds(search.end),
                    "results": search.results,
                    "error": search.error,
                }
                for search in recording.searches
            ],
            "parts": [
                {"name": name, "bytes": sum(map(len, body.pieces)), "truncated": body.is_cut}
                for name, body in recording.bodies().items()
            ],
        }

    @property
    def _is_passed(self) -> bool:
        """Whether the request passes as it is, to an endpoint of OpenAI's."""
        return is_openai_path(self.recording.path)

    def _compose(self, body: JSON | None) -> list[JSON]:
        """Return what fills the context."""
        if body is None or self._is_passed:
            return []
        try:
            request = parse(orjson.dumps(body))
        except ApiError:  # it was refused
            return []
        return [part._asdict() for part in compose(request)]

    def _find_changes(self, number: int, attempt: RecordedAttempt, client: JSON | None) -> list[JSON]:
        body = self.parse(attempt.body)
        if client is None or body is None:
            return []
        reasons = self._reasons[number - 1] if number <= len(self._reasons) else {}
        question = Question(attempt.deployment, body, attempt.degraded, attempt.names, reasons)
        changes = find_changes(client, question, is_passed=self._is_passed)
        return [{name: self.redactor.text(text) for name, text in change._asdict().items()} for change in changes]

    def _attempt(self, number: int, attempt: RecordedAttempt, client: JSON | None) -> JSON:
        deployment, text = attempt.deployment, self.redactor.text
        status, headers = attempt.head or (None, {})
        return {
            "number": number,
            "deployment": text(deployment.id),
            "upstream": text(deployment.model),
            "provider": deployment.provider,
            "url": text(f"{deployment.address}{path_of(attempt.url)}"),
            "wire": deployment.wire,
            "status": status,
            "request_headers": self._headers(attempt.headers),
            "headers": self._headers(headers),
            "start": _seconds(attempt.start),
            "head": _seconds(attempt.head_time) or None,
            "end": _seconds(attempt.end) or None,
            "error": text(attempt.error),
            "retry": text(attempt.retry),
            "degraded": list(attempt.degraded),
            "changes": self._find_changes(number, attempt, client),
        }

    def _headers(self, headers: Mapping[str, str]) -> list[list[str]]:
        return [[name, value] for name, value in clean(headers, self.redactor).items()]

    def part(self, name: str) -> JSON | None:
        """Return the text of one body, and when each piece of it came; None if there is no such body."""
        body = self.recording.bodies().get(name)
        if body is None:
            return None
        pieces = [piece.decode("utf-8", "replace") for piece in _whole_characters(body.redact(self.redactor))]
        return {"text": "".join(pieces), "pieces": _time(body, pieces), "truncated": body.is_cut}


def _whole_characters(pieces: list[bytes]) -> list[bytes]:
    """Return `pieces`, each of whole UTF-8 characters: the beginning of one that is cut goes to the next piece."""
    out: list[bytes] = []
    rest = b""
    for piece in pieces:
        data = rest + piece
        cut = len(data) - _incomplete(data)
        out.append(data[:cut])
        rest = data[cut:]
    if rest:
        out[-1] += rest
    return out


def _incomplete(data: bytes) -> int:
    """Return how many bytes at the end of `data` are the beginning of a character."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if length > back else 0
        if byte < 0x80:
            return 0
    return 0


def _time(body: Body, pieces: list[str]) -> list[list[int]]:
    """Return `[milliseconds, characters]` of each piece."""
    times = list(body.times[: len(pieces)])
    out = [[time, len(piece)] for time, piece in zip(times, pieces, strict=False)]
    if len(out) > MAX_PIECES:
        out[MAX_PIECES - 1 :] = [[out[MAX_PIECES - 1][0], sum(size for _, size in out[MAX_PIECES - 1 :])]]
    return out


def _seconds(value: float) -> float:
    return round(value, 3)
