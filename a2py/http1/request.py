"""Render the head of a request (RFC 9112, section 3).

Knows: the syntax of a request head. Must not know: what the headers mean, sockets.
Invariants: no name or value can add a line or a header of its own to the head; the head has one Host and at most one
length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: What would end a line, or a header value, early.
_BREAKS = re.compile(r"[\r\n\x00]")
_TARGET = re.compile(r"[!-~]+")
#: Characters of header names (tokens; RFC 9110, section 5.6.2), in lower case.
_NAME_CHARACTERS = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]*")
#: Headers that say where the request ends.
_FRAMING = frozenset({"content-length", "transfer-encoding"})


def request_head(method: str, target: str, host: str, headers: Mapping[str, str], length: int | None) -> bytes:
    """Return the head, with its empty line. `target` is visible ASCII; `host`: of the Host header, unless `headers` has
    one; `length`: bytes of the body, None without a body.

    Values are sent as UTF-8. Raises ValueError where the target, a name or a value would break the head."""
    names = [name.lower() for name in headers]
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if _BREAKS.search("".join(lines)) or not _TARGET.fullmatch(target):
        raise ValueError("a request header with a line break or a NUL byte, or a target that is not visible ASCII")
    if "" in names or not _NAME_CHARACTERS.fullmatch("".join(names)) or not _FRAMING.isdisjoint(names):
        raise ValueError("a request header whose name is not a token, or which says where the request ends")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "replace")
