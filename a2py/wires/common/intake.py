"""What every decoder does with upstream bytes: read them as an event stream or as one JSON body, whichever the server
sends.

Knows: how the first byte tells the two apart, the limits of both, that a decoder ends once. Must not know: what an
event means.
Invariants: of the decoder contract (wires/types.py), that nothing is read after the end, that `close` returns the same
outcome again, and that the cuts of the input do not matter.
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
#: What may come before a body: a byte order mark, white space.
BLANK = b"\xef\xbb\xbf \t\r\n"


class Intake:
    """Base class of the decoders. A subclass reads the events of a stream (`_events`), a JSON body (`whole`), and
    returns the outcome at the end (`_end`)."""

    __slots__ = (
        "_body",
        "_error",
        "_head",
        "_model",
        "_noise",
        "_notes",
        "_outcome",
        "_parser",
        "_peer",
        "is_finished",
        "progress",
    )

    splice: Splice | None = None

    def __init__(self, prepared: Prepared) -> None:
        self._peer = Peer(prepared.provider, prepared.address, sent_body=prepared.sent_body)  # the upstream, for errors
        self._parser = SSEParser()
        self._head: bytearray | None = bytearray()  # BLANK bytes before the first other byte; None after that
        # The JSON body so far; None in an event stream. It is not a list, because a piece of a byte or two would take
        # 40 bytes there.
        self._body: bytearray | None = None
        self._error: ApiError | None = None
        self._model = ""
        self._notes: list[str] = []
        self._noise = 0  # lines that were skipped because they are no JSON
        self._outcome: Outcome | None = None
        self.is_finished = False
        self.progress = 0

    def _events(self, events: list[Event]) -> None:
        raise NotImplementedError

    def whole(self, value: JSON) -> None:
        raise NotImplementedError

    def _end(self) -> Outcome:
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        if self.is_finished:
            return
        if self._head is not None:
            data = self._find_start(self._head, data)
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
        if longest > jsonsize.VALUES_LIMIT:  # no shorter event can hold too many values
            self._check_events(events)
        else:
            self._events(events)
        if parser.overflow:
            self._fail_reply(f"sent an event larger than {LINE_LIMIT >> 20} MiB")

    def _check_events(self, events: list[Event]) -> None:
        """Read events up to the first that holds too many values to be parsed."""
        count = next((n for n, (_, data) in enumerate(events) if jsonsize.exceeds(data)), len(events))
        self._events(events[:count])
        if count < len(events) and not self.is_finished:
            self._fail_reply(_too_many_values("an event"))

    def _find_start(self, head: bytearray, data: bytes) -> bytes:
        """Return everything so far, once there is a byte that is not BLANK; b"" until then. That byte tells a body from
        a stream."""
        start = data.lstrip(BLANK)
        head += data
        if not start:
            if len(head) > BODY_LIMIT:
                self._fail_reply("sends nothing but white space")
            return b""
        self._head = None
        if start[:1] in (b"{", b"[", b"<"):
            self._body = bytearray()
        return bytes(head)

    def close(self) -> Outcome:
        if self._outcome is None:
            if not self.is_finished and self._body is not None:
                body = bytes(self._body.lstrip(BLANK))
                if body[:1] == b"<":
                    self._fail(failure.web_page_error(body, self._peer))
                elif jsonsize.exceeds(body):
                    self._fail_reply(_too_many_values("a reply"))
                else:
                    self._read_body(body)
            elif not self.is_finished:
                self._events(self._parser.close())
            self._body = None
            self.is_finished = True
            if self._noise:
                self._notes.append(f"{self._noise} bad line(s) of the upstream skipped")
            self._outcome = self._end()
        return self._outcome

    def _read_body(self, body: bytes) -> None:
        """Read a body that is not an event stream: an object, or a list of one."""
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

    def _read_bad_event(self, name: bytes, data: bytes) -> None:
        """Read an event whose data is not JSON.

        Data that begins like an event has lost a part of itself, or of the event after it: in GLM's torn frames "Do not
        delete the backup" lost its word (2026-05). Anything else is noise, for example the log line of a proxy."""
        start = data.lstrip()[:1]
        if name == b"error":
            self._fail(self._error_event(data))
        elif start == b"{":
            self._fail_reply("sent a damaged stream: a part of it is not JSON")
        elif start:  # an empty event only keeps the connection alive
            self._noise += 1

    def _error_in(self, payload: JSON) -> ApiError | None:
        """Return the error that a body, a chunk or an event holds; None if it holds none.

        Some error codes mean different things at different providers. What the error quotes from the request is not
        taken for the upstream's own words."""
        return failure.find_error(payload, self._peer)

    def _error_event(self, payload: JSON | bytes) -> ApiError:
        """Return the error that an event named `error` reports."""
        return failure.read_event(payload, self._peer)

    def _fail_reply(self, fault: str, advice: str = DEFAULT_ADVICE) -> None:
        """End the reply with an error about it. `fault`: what the server did, starting with a verb."""
        self._fail(failure.reply_error(fault, self._peer, advice))

    def _fail(self, error: ApiError) -> None:
        """End the reply with `error`, unless it has another one."""
        self._error = self._error or error
        self.is_finished = True


def _too_many_values(what: str) -> str:
    return f"sent {what} of more than {jsonsize.VALUES_LIMIT:,} JSON values"
