"""An incremental parser of server-sent events.

Knows: the event-stream format of the HTML standard, and the liberties that OpenAI-compatible servers take with it
(CRLF, CR, `data:` without a space, a space before the field, comments, no blank line at the end; a JSON object without its field's name,
which is how a server that fails in mid-stream may say so).
Must not know: JSON, or what an event means.
Invariants: the events depend on the concatenation of what was fed, never on the cuts; the buffer is bounded by LINE_LIMIT.
"""

from __future__ import annotations

#: Bytes of one unfinished event (64 MiB): an image in a data URL fits, an endless line does not.
LINE_LIMIT = 64 * 1024 * 1024

Event = tuple[bytes, bytes]


class SSEParser:
    """`feed(bytes)` gives the `(event name, data)` pairs that became whole; `close()` what the end of the body completes."""

    __slots__ = ("_data", "_data_size", "_name", "_parts", "_size", "_skip_lf", "_start", "overflow")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # an unfinished line, in pieces, so that a long one is not copied at every feed
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self._size = 0
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
            self._parts.append(data)
            self._size += len(data)
            self.overflow = self._size > LINE_LIMIT
            return events
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts.clear()
        lines = data.split(b"\n")
        rest = lines.pop()
        if rest:
            self._parts.append(rest)
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
        self._size = len(rest)
        if fields:
            self._data_size += sum(map(len, fields[known:])) + len(fields) - known  # a line counts its end: empty ones are bounded too
            self._size += self._data_size
        self.overflow = self._size > LINE_LIMIT
        return events

    @property
    def inside_field(self) -> bool:
        """Whether the last line so far is incomplete, and no comment."""
        return bool(self._parts) and self._parts[0][:1] != b":"

    def close(self) -> list[Event]:
        """The last event, where the body ended without its blank line (xAI, Groq, OpenRouter, Mistral: 2025-11)."""
        return self.feed(b"\n\n") if self._parts or self._data else []

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
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts.clear()
            if b"\xef\xbb\xbf".startswith(data):  # too short to tell a byte order mark
                self._parts.append(data)
                return b""
            self._start = False
            if data[:3] == b"\xef\xbb\xbf":
                data = data[3:]
        if b"\r" in data:
            self._skip_lf = data[-1:] == b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data
