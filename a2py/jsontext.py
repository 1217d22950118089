"""JSON as it really comes: half a surrogate pair in a string is no reason to lose the rest.

Knows: orjson, and JavaScript's habit of cutting strings between the two halves of a pair (clients and gateways written in it send
`"\\ud83d"` alone; orjson refuses the whole document).
Must not know: what the JSON means.
Invariants: `loads` gives no string that `orjson.dumps` refuses.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_ESCAPE = re.compile(rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def mend(raw: bytes) -> bytes:
    """`raw` with each escaped half of a surrogate pair replaced by U+FFFD."""
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[2] else match[0], raw)


def loads(raw: bytes) -> Any:
    """`orjson.loads`, tried once more on the mended text; ValueError where it is no JSON."""
    try:
        return orjson.loads(raw)
    except ValueError:
        if b"\\u" not in raw:
            raise
        return orjson.loads(mend(raw))
