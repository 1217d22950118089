"""Tool calls in chat-completions deltas: which fragment belongs to which call.

Knows: late, repeated, empty and missing ids, names and indexes (rule B1). Must not know: block order
(messages/blocks.py).
Invariants: a fragment begins a new call if it has an open index but another name, another id and a name, or complete
arguments again; names are never appended; an empty fragment begins no call.

OpenAI sends the id and the name once, and then fragments of arguments with the same index:

    {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}
    {"index": 0, "function": {"arguments": "{}"}}

Many servers do not. They give every call index 0, repeat the id or the name with every fragment, send an empty id or
none, change the id in the middle of a call, or leave out the index. So a fragment is matched by index, then id, then
name, in `_by_index` and `_by_id`.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.arguments import JsonScan
from a2py.messages.types import JSON, Sink
from a2py.wires.common.names import CalledNames
from a2py.wires.common.text import dumps

#: Distance between the sink's keys of two upstream indexes. The keys between are for calls that share an index.
STEP = 1 << 20
#: Characters that are kept of one reply's calls: ids, names, free text (16 Mi). CALL_COST, PIECE_COST: what a call and
#: a piece of free text count for besides their characters.
KEPT_LIMIT, CALL_COST, PIECE_COST = 16 * 1024 * 1024, 2048, 64
#: The sink's key of a legacy `function_call`.
LEGACY = -1


class _Call:
    """`custom`: pieces of a custom tool's free text; None for a function. `scan`: reads the arguments as long as there
    is no id. If they are complete, the next fragment of the same index begins another call."""

    __slots__ = ("custom", "id", "key", "name", "scan")

    def __init__(self, key: int) -> None:
        self.key = key
        self.id = ""
        self.name = ""
        self.custom: list[str] | None = None
        self.scan = JsonScan()


class Calls:
    """All calls of one reply. `chars`: characters of arguments. `size`: characters that are kept."""

    __slots__ = (
        "_by_id",
        "_by_index",
        "_calls",
        "_last",
        "_list_keys",
        "_names",
        "_next_keys",
        "_sink",
        "chars",
        "size",
    )

    def __init__(self, sink: Sink, names: CalledNames) -> None:
        self._sink = sink
        self._names = names
        self._calls: dict[int, _Call] = {}  # by the sink's key
        self._next_keys: dict[int, int] = {}  # preferred key → the next one that may be free
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._list_keys: set[int] = set()  # keys that the current `tool_calls` list has used
        self.chars = 0
        self.size = 0

    @property
    def is_full(self) -> bool:
        return self.size > KEPT_LIMIT

    @property
    def has_calls(self) -> bool:
        return bool(self._calls)

    @property
    def has_nameless(self) -> bool:
        """Whether a call has no name yet."""
        return any(not call.name for call in self._calls.values())

    def add_fragments(self, fragments: Any, is_whole: bool = False) -> None:
        """Read `tool_calls`. `is_whole`: they are of a complete message, so each is a call of its own."""
        if isinstance(fragments, dict):
            fragments = [fragments]
        if not isinstance(fragments, list):
            return
        self._list_keys = set()
        for fragment in fragments:
            if self.is_full:
                return
            if not isinstance(fragment, dict):
                continue
            body = fragment.get("function")
            if not isinstance(body, dict):
                body = fragment.get("custom")
                if isinstance(body, dict):
                    self._add_custom(fragment, body, is_whole)
                    continue
                body = fragment  # some servers put name and arguments beside the id
            if not (fragment.get("id") or body.get("name") or body.get("arguments") or fragment.get("extra_content")):
                continue
            call = self._pick_call(fragment, body, is_whole)
            self._write_signature(fragment, call)
            self._sink.tool(call.key, call.id, self._names.read(call.name))
            self._add_arguments(call, body.get("arguments"))

    def has_id(self, index: int) -> bool:
        """Return whether the open call `index` has an id. If so, a fragment without an id need not be looked at."""
        return bool(self._by_index[index].id)

    def extend(self, index: int, chars: int) -> int:
        """Note `chars` more characters of arguments for the open call `index`. Return its key for the sink."""
        call = self._last = self._by_index[index]
        self.chars += chars
        return call.key

    def add_legacy(self, body: Any) -> None:
        """Read `function_call` of old models. Snowflake sends it empty with every delta (2025-10)."""
        if self._last is not None or not isinstance(body, dict) or not (body.get("name") or body.get("arguments")):
            return  # beside `tool_calls` it is a repetition
        call = self._calls.get(LEGACY) or self._add_call(LEGACY)
        call.name = call.name or _string(body.get("name"))
        self._sink.tool(LEGACY, "", self._names.read(call.name))
        self._add_arguments(call, body.get("arguments"))

    def close(self, is_cut: bool) -> None:
        """Write the names that were suspect, and the free text of custom tools. `is_cut`: the reply was cut, so the
        object around a text that may lack its end stays open."""
        for call in self._calls.values():
            if self._names.is_suspect(call.name):
                self._sink.tool(call.key, call.id, self._names.settle(call.name, is_cut))
            if call.custom is not None:
                text = dumps({"input": "".join(call.custom)})
                self._sink.args(call.key, text[:-2] if is_cut else text)

    # -- which call --------------------------------------------------------------------------------------------------

    def _pick_call(self, fragment: JSON, body: JSON, is_whole: bool) -> _Call:
        """Return the call that a fragment belongs to, a new one if it continues none."""
        index, id, name = fragment.get("index"), _string(fragment.get("id")), _string(body.get("name"))
        if is_whole:
            call = self._add_call(len(self._calls) * STEP)
        elif not isinstance(index, int) or isinstance(index, bool):
            call = self._match_id(id, name) or self._add_call(len(self._calls) * STEP)
        else:
            call = self._match_index(index, id, name, body.get("arguments")) or self._add_call(index * STEP)
            self._by_index[index] = call
        if id and call.id in ("", id):
            self.size += len(id) - len(call.id)
            call.id = id
            self._by_id[id] = call
        if name and not call.name:
            call.name = name
            self.size += len(name)
        self._list_keys.add(call.key)
        self._last = call
        return call

    def _match_index(self, index: int, id: str, name: str, arguments: Any) -> _Call | None:
        """Return the call that a fragment with an index continues."""
        call = self._by_index.get(index)
        if call is None:
            return None
        if id and call.id and id != call.id:
            other = self._by_id.get(id)
            if other is not None and name in ("", other.name):
                return other
            # Poolside (2026-05), mlx-openai-server (2026-03): the id changes within a call
            return None if name else call
        if name and call.name:
            repeats = not call.id and call.scan.is_complete and _is_object_start(arguments)
            if name != call.name or repeats:  # relays of Gemini number each call 0, and give no ids (2026-07)
                return None
        return call

    def _match_id(self, id: str, name: str) -> _Call | None:
        """Return the call that a fragment without an index continues."""
        call = self._by_id.get(id)
        if call is not None:
            return None if name and call.key in self._list_keys else call  # the same id twice in one list: two calls
        return None if name else self._last

    def _add_call(self, preferred_key: int) -> _Call:
        self.size += CALL_COST
        key = self._next_keys.get(preferred_key, preferred_key)
        self._next_keys[preferred_key] = key + 1
        call = self._calls[key] = _Call(key)
        return call

    # -- what a fragment holds ---------------------------------------------------------------------------------------

    def _add_arguments(self, call: _Call, arguments: Any) -> None:
        if arguments.__class__ is not str:
            if arguments is None:
                return
            arguments = dumps(arguments)
        self.chars += len(arguments)
        if not call.id and arguments.strip() != "{}":  # some servers send `{}` first, and then the real object
            call.scan.feed(arguments)
        self._sink.args(call.key, arguments)

    def _add_custom(self, fragment: JSON, body: JSON, is_whole: bool) -> None:
        """Read a call of OpenAI's custom tools (`type: custom`). Its free text becomes `{"input": …}`."""
        call = self._pick_call(fragment, body, is_whole)
        call.custom = call.custom or []
        text = body.get("input")
        if isinstance(text, str):
            call.custom.append(text)
            self.size += len(text) + PIECE_COST
        self._sink.tool(call.key, call.id, self._names.read(call.name))

    def _write_signature(self, fragment: JSON, call: _Call) -> None:
        """Write Gemini's thought signature (2025-11), which must come back with this call, into an empty thinking block
        before the call."""
        signature = thought_signature(fragment)
        if signature:
            self._sink.signature(f"signature {call.key}", "gemini", {"s": signature})


def thought_signature(holder: JSON) -> str:
    """Return Gemini's signature in `extra_content` of a call or a message; "" if there is none."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def _is_object_start(arguments: Any) -> bool:
    """Return whether a call's arguments begin in this fragment."""
    return isinstance(arguments, dict) or _string(arguments).lstrip().startswith("{")


def _string(value: Any) -> str:
    return value if value.__class__ is str else ""
