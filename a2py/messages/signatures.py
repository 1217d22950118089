"""Vendor state that travels inside a thinking block's signature, so that it survives restarts and several workers.

Clients send a thinking block back unchanged, so its signature can carry what a vendor wants back: encrypted reasoning,
ids, and the text of thinking that is not shown.

Knows: the form `a2py1.<kind>.<base64url of JSON>`. The JSON holds `o` (who made it) and the vendor's state.
Must not know: what a vendor's state means.
Invariants: `read` accepts any value and raises on none. What it returns can be written as JSON.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

import orjson

from a2py import jsonsize, jsontext

if TYPE_CHECKING:
    from a2py.messages.types import JSON

VERSION = "a2py1"
#: Kinds: a block without vendor state, and the vendors' own.
PLAIN = "t"
KINDS = frozenset({PLAIN, "details", "fields", "gemini", "responses", "mistral", "search"})
#: Characters of the longest signature that is read (4 Mi). An encrypted reasoning item has some 10 KB.
LIMIT = 4 * 1024 * 1024
#: Values of a state: OpenRouter's longest recorded list of reasoning details has some hundred.
VALUES = 10_000
_FORM = re.compile(r"a2py1\.([a-z]{1,16})\.([A-Za-z0-9_-]*)\Z")


class VendorState(NamedTuple):
    """`kind`: one of KINDS; `origin`: who made it (`Deployment.origin`); `state`: what the vendor wants back."""

    kind: str
    origin: str
    state: JSON


def make(kind: str, origin: str, state: JSON) -> str:
    """Return the signature that carries `state` of `origin`."""
    body = jsontext.dumps({**state, "o": origin})
    return f"{VERSION}.{kind}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"


def is_ours(signature: object) -> bool:
    """Return whether `signature` looks like one that a2py made. It may be forged."""
    return isinstance(signature, str) and signature.startswith(VERSION + ".")


def is_plain(signature: object) -> bool:
    """Return whether `signature` carries no vendor state, without decoding it."""
    return not isinstance(signature, str) or signature.startswith(f"{VERSION}.{PLAIN}.")


def read(signature: object) -> VendorState | None:
    """Return the vendor state in `signature`; None if it is foreign, forged, cut or longer than LIMIT."""
    if not isinstance(signature, str) or len(signature) > LIMIT:
        return None
    match = _FORM.match(signature)
    if match is None or match[1] not in KINDS:
        return None
    encoded = match[2]
    try:
        body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
        if jsonsize.exceeds(body, VALUES):
            return None
        state = orjson.loads(body)
        orjson.dumps(state)  # raises if a forged one nests deeper than orjson writes
    except (binascii.Error, ValueError, TypeError):
        return None
    if not isinstance(state, dict) or not isinstance(state.get("o"), str):
        return None
    return VendorState(match[1], state.pop("o"), state)
