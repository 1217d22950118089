"""An incremental parser of server-sent events.

Knows: the event-stream format of the HTML standard, and the liberties that OpenAI-compatible servers take with it
(CRLF, CR, `data:` without a space, a space before the field, comments, no blank line at the end; a JSON object without its field's name,
which is how a server that fails in mid-stream may say so).
Must not know: JSON, or what an event means.
Invariants: the events depend on the concatenation of what was fed, never on the cuts; the buffer is bounded by LINE_LIMIT.
"""

from __future__ import annotations

#: Bytes of one unfinished event (32 MiB): an image in a data URL fits, an endless line does not.
LINE_LIMIT = 32 * 1024 * 1024
#: What a line of an event's data counts for beside its bytes: CPython's object for it.
LINE_COST = 48

Event = tuple[bytes, bytes]


class SSEParser:
    """`feed(bytes)` gives the `(event name, data)` pairs that became whole; `close()` what the end of the body completes."""

    __slots__ = ("_data", "_data_size", "_line", "_name", "_skip_lf", "_start", "overflow", "size")

    def __init__(self) -> None:
        self._line = bytearray()  # an unfinished line: pieces of a byte or two would take 40 bytes each
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self.size = 0  # bytes of the unfinished event
        self._start = True
        self._skip_lf = False
        self.overflow = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if not data or self.overflow:
            return events
        if self._skip_lf or self._start or b"\r" in data:
            data = self._normalise(data)
        if b"\n" not in data:
            self._line += data
            self.size += len(data)
            self.overflow = self.size > LINE_LIMIT
            return events
        if self._line:
            self._line += data
            data = bytes(self._line)
            self._line = bytearray()
        lines = data.split(b"\n")
        rest = lines.pop()
        if rest:
            self._line += rest
        fields = self._data
        known = len(fields)
        for line in lines:
            if line[:6] == b"data: ":
                fields.append(line[6:])
            elif line:
                self._field(line)
            elif fields:
                events.append((self._name, fields[0] if len(fields) == 1 else b"\n".join(fields)))
                fields.clear()
                known = self._data_size = 0
                self._name = b""
            else:
                self._name = b""
        self.size = len(rest)
        if fields:
            self._data_size += sum(map(len, fields[known:])) + LINE_COST * (len(fields) - known)
            self.size += self._data_size
        self.overflow = self.size > LINE_LIMIT
        return events

    @property
    def inside_field(self) -> bool:
        """Whether the last line so far is incomplete, and no comment."""
        return bool(self._line) and not self._line.startswith(b":")

    def close(self) -> list[Event]:
        """The last event, where the body ended without its blank line (xAI, Groq, OpenRouter, Mistral: 2025-11)."""
        return self.feed(b"\n\n") if self._line or self._data else []

    def _field(self, line: bytes) -> None:
        name, _, value = line.lstrip(b" ").partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value
        elif name[:1] == b"{":
            self._data.append(line)

    def _normalise(self, data: bytes) -> bytes:
        """Line ends to LF; a CR at the very end is a line end at once, and an LF that follows it is swallowed."""
        if self._skip_lf:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if self._start:
            self._line += data
            data = bytes(self._line)
            if b"\xef\xbb\xbf".startswith(data):  # too short to tell a byte order mark
                return b""
            self._line = bytearray()
            self._start = False
            if data[:3] == b"\xef\xbb\xbf":
                data = data[3:]
        if b"\r" in data:
            self._skip_lf = data[-1:] == b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data
