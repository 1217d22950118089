"""Give tool calls ids that are legal and unique for the client, and turn them back into the upstream's own.

Knows: Anthropic's id rule, and the reversible form `a2py_<n>_<base64url of the original>`.
Must not know: which upstream wants its ids back (Kimi and Mistral do).
Invariants: the request's own history is the only state. `original(legal(x)) == x` for every x of 1 to ORIGINAL_LIMIT
bytes.

Example: Kimi's `functions.read:0` is not legal, and may repeat in a later turn. The client gets
`a2py_7_ZnVuY3Rpb25zLnJlYWQ6MA`, where 7 makes it unique in the conversation. In the next request it becomes
`functions.read:0` again.
"""

from __future__ import annotations

import base64
import binascii
import re

#: Anthropic's rule. Claude Code drops a call whose id it has seen in the conversation ("[Tool use interrupted]",
#: 2.1.332).
_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_OURS = re.compile(r"a2py_[0-9]{1,9}_([A-Za-z0-9_-]{0,1366})\Z")
#: Bytes of the longest id that has a reversible form (1366 characters of base64). A longer one is cut and does not come
#: back.
ORIGINAL_LIMIT = 1024


class Allocator:
    """Gives each call of one reply an id that is neither in the history (`history_ids`) nor earlier in the reply."""

    __slots__ = ("_history_ids", "_n", "_reply_ids")

    def __init__(self, history_ids: frozenset[str] = frozenset()) -> None:
        self._history_ids = history_ids
        self._reply_ids: set[str] = set()
        self._n = 0

    def legal(self, id: str) -> str:
        """Return `id` if it is legal and new, else its reversible form."""
        if _LEGAL.match(id) and not _OURS.match(id) and id not in self._history_ids and id not in self._reply_ids:
            self._reply_ids.add(id)
            return id
        suffix = base64.urlsafe_b64encode(id.encode("utf-8", "replace")[:ORIGINAL_LIMIT]).decode().rstrip("=")
        while True:
            self._n += 1
            out = f"a2py_{len(self._history_ids) + self._n}_{suffix}"
            if out not in self._history_ids and out not in self._reply_ids:
                self._reply_ids.add(out)
                return out


def original(id: str) -> str:
    """Return the upstream's id that is inside `id`; `id` itself if it is not a reversible form, or a forged one."""
    match = _OURS.match(id)
    if match is None:
        return id
    encoded = match[1]
    try:
        out = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return id
    return out or id
