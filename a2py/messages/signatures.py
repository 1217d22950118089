"""Vendor state that travels inside a thinking block's signature, so that it survives restarts and several workers.

Knows: the form `a2py1.<kind>.<base64url of JSON>`; the JSON holds `o` (who made it) and the vendor's state.
Must not know: what a vendor's state means.
Invariants: `read` accepts any value and raises on none; what does not parse is no envelope; what it gives can be
written as JSON.
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
KINDS = frozenset({PLAIN, "details", "fields", "gemini", "responses", "mistral"})
#: Characters of a signature that are looked at (4 Mi): an encrypted reasoning item is some 10 KB.
LIMIT = 4 * 1024 * 1024
#: Values of a state: OpenRouter's longest recorded list of reasoning details has some hundred.
VALUES = 10_000
_FORM = re.compile(r"a2py1\.([a-z]{1,16})\.([A-Za-z0-9_-]*)\Z")


class VendorState(NamedTuple):
    kind: str
    origin: str
    state: JSON


def make(kind: str, origin: str, state: JSON) -> str:
    """The signature that carries `state` of `origin`."""
    body = jsontext.dumps({**state, "o": origin})
    return f"{VERSION}.{kind}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"


def is_ours(signature: object) -> bool:
    """Whether `signature` claims to be an envelope of ours."""
    return isinstance(signature, str) and signature.startswith(VERSION + ".")


def is_plain(signature: object) -> bool:
    """Whether `signature` carries no vendor state, told without opening it."""
    return not isinstance(signature, str) or signature.startswith(f"{VERSION}.{PLAIN}.")


def read(signature: object) -> VendorState | None:
    """The envelope in `signature`; None for foreign, forged, cut or oversized ones."""
    if not isinstance(signature, str) or len(signature) > LIMIT:
        return None
    match = _FORM.match(signature)
    if match is None or match[1] not in KINDS:
        return None
    coded = match[2]
    try:
        body = base64.b64decode(coded + "=" * (-len(coded) % 4), b"-_", validate=True)
        if jsonsize.exceeds(body, VALUES):
            return None
        state = orjson.loads(body)
        orjson.dumps(state)  # a forged nest too deep to be written again
    except (binascii.Error, ValueError, TypeError):
        return None
    if not isinstance(state, dict) or not isinstance(state.get("o"), str):
        return None
    return VendorState(match[1], state.pop("o"), state)
