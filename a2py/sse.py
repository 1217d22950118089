"""Parse server-sent events, piece by piece.

Knows: the event-stream format of the HTML standard (section 9.2.6), and what OpenAI-compatible servers make of it: no
blank line at the end, a space before the field's name, a JSON object without a field's name (some servers that fail in
mid-stream write that).
Must not know: JSON, or what an event means.
Invariants: the events depend only on the bytes, not on where they were split. The buffer is bounded by LINE_LIMIT.

Example: `event: a LF data: 1 LF data: 2 LF LF data: 3` gives (a, 1 LF 2) at the empty line, and `close()` gives ("",
3).
"""

from __future__ import annotations

#: Bytes of one unfinished event (32 MiB). An image in a data URL fits, an endless line does not.
LINE_LIMIT = 32 * 1024 * 1024
#: Bytes that a line of data counts for beside its length: CPython's object for it.
LINE_COST = 48

#: Name and data of an event.
Event = tuple[bytes, bytes]


class SSEParser:
    """One stream. `size`: bytes of the unfinished event; `overflow`: it exceeds LINE_LIMIT, and nothing more is
    parsed."""

    __slots__ = ("_data", "_data_size", "_is_start", "_line", "_name", "_skips_lf", "overflow", "size")

    def __init__(self) -> None:
        self._line = bytearray()  # an unfinished line; as a list, pieces of a byte or two would take 40 bytes each
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = b""
        self.size = 0  # bytes of the unfinished event
        self._is_start = True
        self._skips_lf = False
        self.overflow = False

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes and return the events that they complete."""
        events: list[Event] = []
        if not data or self.overflow:
            return events
        if self._skips_lf or self._is_start or b"\r" in data:
            data = self._normalize(data)
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
        first_new = len(fields)
        for line in lines:
            if line[:6] == b"data: ":
                fields.append(line[6:])
            elif line:
                self._field(line)
            elif fields:
                events.append((self._name, fields[0] if len(fields) == 1 else b"\n".join(fields)))
                fields.clear()
                first_new = self._data_size = 0
                self._name = b""
            else:
                self._name = b""
        self.size = len(rest)
        if fields:
            self._data_size += sum(map(len, fields[first_new:])) + LINE_COST * (len(fields) - first_new)
            self.size += self._data_size
        self.overflow = self.size > LINE_LIMIT
        return events

    @property
    def inside_field(self) -> bool:
        """Whether the last line is incomplete, and is not a comment."""
        return bool(self._line) and not self._line.startswith(b":")

    def close(self) -> list[Event]:
        """End the stream. Return the last event if its blank line is missing (xAI, Groq, OpenRouter, Mistral:
        2025-11)."""
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

    def _normalize(self, data: bytes) -> bytes:
        """Turn line ends into LF, and drop a byte order mark at the start.

        A CR at the end of a piece is a line end at once, so that its event is not delayed. An LF at the start of the
        next piece then belongs to it and is dropped."""
        if self._skips_lf:
            self._skips_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if self._is_start:
            self._line += data
            data = bytes(self._line)
            if b"\xef\xbb\xbf".startswith(data):  # it may be the start of a byte order mark
                return b""
            self._line = bytearray()
            self._is_start = False
            if data[:3] == b"\xef\xbb\xbf":
                data = data[3:]
        if b"\r" in data:
            self._skips_lf = data[-1:] == b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data
