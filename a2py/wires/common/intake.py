"""The intake of every decoder: upstream bytes as an event stream or as one JSON object, whichever the server sends.

Knows: how the first byte tells the two apart, the bounds of both, that a decoder ends once. Must not know: what an event says.
Invariants: of the decoder contract, that nothing is read after the end, that `close` gives the same outcome again, and that the cuts of
the input do not matter.
"""

from __future__ import annotations

from typing import Any

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages.splice import Splice
from a2py.messages.types import JSON, Outcome, Prepared
from a2py.sse import LINE_LIMIT, Event, SSEParser
from a2py.wires import failure
from a2py.wires.refusal.message import DEFAULT_ADVICE
from a2py.wires.refusal.peer import Peer

#: Bytes of a JSON body (32 MiB).
BODY_LIMIT = 32 * 1024 * 1024
#: Bytes of a body that are read at once.
READ = 64 * 1024
#: What may stand ahead of a body: a byte order mark, white space.
BLANK = b"\xef\xbb\xbf \t\r\n"


class Intake:
    """Subclasses say what events, a whole object and the end mean: `_events`, `whole`, `_end`."""

    __slots__ = (
        "_body",
        "_error",
        "_head",
        "_model",
        "_notes",
        "_outcome",
        "_parser",
        "_peer",
        "_sniffed",
        "finished",
        "progress",
    )

    splice: Splice | None = None

    def __init__(self, prepared: Prepared) -> None:
        self._peer = Peer(prepared.provider, prepared.address, sent=prepared.sent)  # the upstream, for errors
        self._parser = SSEParser()
        self._head = bytearray()  # white space ahead of the first byte that means something
        self._sniffed = False
        self._body: bytearray | None = None  # not a list: pieces of a byte or two would take 40 bytes each
        self._error: ApiError | None = None
        self._model = ""
        self._notes: list[str] = []
        self._outcome: Outcome | None = None
        self.finished = False
        self.progress = 0

    def _events(self, events: list[Event]) -> None:
        raise NotImplementedError

    def whole(self, value: JSON) -> None:
        raise NotImplementedError

    def _end(self) -> Outcome:
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        if self.finished:
            return
        if not self._sniffed:
            data = self._sniff(data)
        if self._body is not None:
            self._body += data
            if len(self._body) > BODY_LIMIT:
                self._fail_reply(f"sent a reply larger than {BODY_LIMIT >> 20} MiB")
            self.progress += 0 if data.isspace() else 1
            return
        parser = self._parser
        longest = parser.size + len(data)
        events = parser.feed(data)
        for _, payload in events:
            if payload:
                self.progress += 1
        if not events and parser.inside_field:
            self.progress += 1
        if longest > jsonsize.VALUES_LIMIT:
            self._checked(events)
        else:
            self._events(events)
        if parser.overflow:
            self._fail_reply(f"sent an event larger than {LINE_LIMIT >> 20} MiB")

    def _checked(self, events: list[Event]) -> None:
        """Events of which one may hold too many values to be parsed."""
        fine = next((n for n, (_, data) in enumerate(events) if jsonsize.exceeds(data)), len(events))
        self._events(events[:fine])
        if fine < len(events) and not self.finished:
            self._fail_reply(_too_many("an event"))

    def _sniff(self, data: bytes) -> bytes:
        """Everything so far, once the first byte that means something is there; until then nothing."""
        start = data.lstrip(BLANK)
        self._head += data
        if not start:
            if len(self._head) > BODY_LIMIT:
                self._fail_reply("sends nothing but white space")
            return b""
        self._sniffed = True
        data = bytes(self._head)
        self._head = bytearray()
        if start[:1] in (b"{", b"[", b"<"):
            self._body = bytearray()
        return data

    def close(self) -> Outcome:
        if self._outcome is None:
            if not self.finished and self._body is not None:
                body = bytes(self._body.lstrip(BLANK))
                if body[:1] == b"<":
                    self._fail(failure.web_page_error(body, self._peer))
                elif jsonsize.exceeds(body):
                    self._fail_reply(_too_many("a reply"))
                else:
                    self._object(body)
            elif not self.finished:
                self._events(self._parser.close())
            self._body = None
            self.finished = True
            self._outcome = self._end()
        return self._outcome

    def _object(self, body: bytes) -> None:
        """A body that is no event stream: an object, or a list of one."""
        try:
            value: Any = jsontext.loads(body)
        except ValueError:
            self._fail_reply("sent a reply that is not valid JSON; it may have been cut")
            return
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            self.whole(value)
        else:
            self._fail_reply("sent a reply that is not a JSON object", "Check `api_base`.")

    def _error_in(self, payload: JSON) -> ApiError | None:
        """The error that a body, a chunk or an event holds. The provider decides what some codes mean, and is named in the message; what the
        error repeats of the request is not read as the upstream's own words."""
        return failure.find_error(payload, self._peer)

    def _fail_reply(self, fault: str, advice: str = DEFAULT_ADVICE) -> None:
        """End with an error about the upstream's reply. `fault`: what the server did, starting with a verb."""
        self._fail(failure.reply_error(fault, self._peer, advice))

    def _fail(self, error: ApiError) -> None:
        self._error = self._error or error
        self.finished = True


def _too_many(what: str) -> str:
    return f"sent {what} of more than {jsonsize.VALUES_LIMIT:,} JSON values"
