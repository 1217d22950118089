"""Parse the status line and the header fields of a response (RFC 9112, sections 4 and 5).

Knows: the syntax of a head, and which departures from it real servers make.
Must not know: bodies, sockets.
Invariants: a head that two parsers could read differently is an error. Field names are lower case.

Accepted departures, each with one possible meaning only: lines that end in LF alone, a missing reason phrase, status
codes up to 999, control characters other than CR, LF and NUL in a value, bytes above 127 in a value (decoded as
Latin-1, which never fails). Rejected: a line that continues the previous one (obs-fold), a CR that is not part of CRLF,
NUL, blanks before a colon (a source of vulnerabilities; RFC 9112, section 5.1), a field name that is not a token, a
line without a colon, more than MAX_HEADERS fields.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from a2py.http1.error import BadResponse

#: Header fields in one head, and trailer fields after one body.
MAX_HEADERS = 200

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (.*))?")
#: Characters of a field name (a token; RFC 9110, section 5.6.2), in lower case.
_NAME_CHARACTERS = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]*")


class Head(NamedTuple):
    """A response's head. `minor`: 0 or 1, of HTTP/1.0 or HTTP/1.1; `headers`: lower-case name → value."""

    minor: int
    status: int
    reason: str
    headers: dict[str, str]

    def tokens(self, name: str) -> list[str]:
        """Return the lower-case members of a comma-separated field, without blanks and empty members."""
        value = self.headers.get(name)
        if not value:
            return []
        return [token for part in value.lower().split(",") if (token := part.strip(" \t"))]


def parse_head(section: bytearray) -> Head:
    """Parse a head: its lines, without the line end of the last one (its CR may be there). Raises `BadResponse`."""
    status_line, *fields = _split_lines(section)
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None:
        raise BadResponse("no HTTP/1.1 status line")
    return Head(int(match[1]), int(match[2]), (match[3] or "").strip(" \t"), _parse_fields(fields))


def parse_trailers(section: bytearray) -> dict[str, str]:
    """Parse trailer fields, which are given like those of a head. Raises `BadResponse`."""
    return _parse_fields(_split_lines(section)) if section else {}


def _split_lines(section: bytearray) -> list[str]:
    text = section.decode("latin-1").replace("\r\n", "\n").removesuffix("\r")
    if "\r" in text:
        raise BadResponse("a carriage return inside a header line")
    if "\0" in text:
        raise BadResponse("a NUL byte in a header line")
    return text.split("\n")


def _parse_fields(lines: list[str]) -> dict[str, str]:
    """Parse header lines. A field with several values gets them joined with ", " (RFC 9110, section 5.3).

    A value equal to the one before it is dropped: some proxies send `Content-Type` twice, and the joined value would be
    no media type."""
    if len(lines) > MAX_HEADERS:
        raise BadResponse(f"more than {MAX_HEADERS} header fields")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadResponse(_fault_of(line))
        name, value = name.lower(), value.strip(" \t")
        if name not in fields:
            fields[name] = value
        elif fields[name] != value:
            fields[name] += f", {value}"
    # One search through all names together costs a tenth of one search for each.
    if "" in fields or _NAME_CHARACTERS.fullmatch("".join(fields)) is None:
        raise BadResponse(next(filter(None, map(_fault_of, lines))))
    return fields


def _fault_of(line: str) -> str:
    """Say what is wrong with a header line; "" if nothing is."""
    if line[:1] in (" ", "\t"):
        return "a header line that continues the line before it"
    name, colon, _ = line.partition(":")
    if not colon:
        return "a header line without a colon"
    if not name or _NAME_CHARACTERS.fullmatch(name.lower()) is None:
        return "a header name that is not a token"
    return ""
