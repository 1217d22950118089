"""Tool calls in chat-completions deltas: which fragment belongs to which call.

Knows: late, repeated, empty and missing ids, names and indexes (rule B1). Must not know: block order (messages/blocks.py).
Invariants: a fragment with an open index but another name is a new call; so is one with another id and a name, or one that brings whole
arguments again; names are never appended; a fragment that says nothing begins no call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2py.messages.items import JsonScan
from a2py.messages.types import JSON, Sink
from a2py.wires.common.text import dumps

#: Room between two upstream indexes, for calls that share one.
STEP = 1 << 20
#: Characters that are kept of one reply's calls: ids, names, free text (16 Mi); what a call and a piece of text count for beside these.
KEPT_LIMIT, CALL_COST, PIECE_COST = 16 * 1024 * 1024, 2048, 64
#: Key of a legacy function_call.
LEGACY = -1


class _Call:
    """`scan`: of the arguments, as long as there is no id: whole ones tell where the next call begins."""

    __slots__ = ("custom", "id", "key", "name", "scan")

    def __init__(self, key: int) -> None:
        self.key = key
        self.id = ""
        self.name = ""
        self.custom: list[str] | None = None
        self.scan = JsonScan()


class Calls:
    """`open`: at least one call was seen; `nameless`: a call ended without a name; `full`: there is more of them than can be kept."""

    __slots__ = ("_by_id", "_by_index", "_calls", "_free", "_fresh", "_last", "_names", "_sink", "chars", "size")

    def __init__(self, sink: Sink, names: Mapping[str, str]) -> None:
        self._sink = sink
        self._names = names
        self._calls: dict[int, _Call] = {}
        self._free: dict[int, int] = {}  # key that was asked for → the next one that may be free
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._fresh: set[int] = set()  # keys that the present list has named
        self.chars = 0  # of arguments
        self.size = 0  # of what is kept

    @property
    def open(self) -> bool:
        return bool(self._calls)

    @property
    def full(self) -> bool:
        return self.size > KEPT_LIMIT

    @property
    def nameless(self) -> bool:
        return any(not call.name for call in self._calls.values())

    def fragments(self, fragments: Any, whole: bool = False) -> None:
        """`tool_calls`; `whole`: of a whole message, so that each entry is a call of its own, whatever its index and id say."""
        if isinstance(fragments, dict):
            fragments = [fragments]
        if not isinstance(fragments, list):
            return
        self._fresh = set()
        for fragment in fragments:
            if self.full:
                return
            if not isinstance(fragment, dict):
                continue
            body = fragment.get("function")
            if not isinstance(body, dict):
                body = fragment.get("custom")
                if isinstance(body, dict):
                    self._custom(fragment, body, whole)
                    continue
                body = fragment  # name and arguments beside the id
            if not (fragment.get("id") or body.get("name") or body.get("arguments") or fragment.get("extra_content")):
                continue
            call = self._find(fragment, body, whole)
            self._extra(fragment, call)
            self._sink.tool(call.key, call.id, self._names.get(call.name, call.name))
            self._arguments(call, body.get("arguments"))

    def told_apart(self, index: int) -> bool:
        """Whether the open call `index` has an id: what comes for it without one need not be looked at."""
        return bool(self._by_index[index].id)

    def further(self, index: int, chars: int) -> int:
        """The sink's key of the open call `index`, which got `chars` more characters of arguments and nothing else."""
        call = self._last = self._by_index[index]
        self.chars += chars
        return call.key

    def legacy(self, body: Any) -> None:
        """`function_call` of old models; Snowflake sends it empty on every delta (2025-10)."""
        if self._last is not None or not isinstance(body, dict) or not (body.get("name") or body.get("arguments")):
            return  # beside tool_calls it says the same again
        call = self._calls.get(LEGACY) or self._new(LEGACY)
        call.name = call.name or _word(body.get("name"))
        self._sink.tool(LEGACY, "", self._names.get(call.name, call.name))
        self._arguments(call, body.get("arguments"))

    def close(self, cut: bool) -> None:
        """The reply ended; `cut`: somewhere in the middle, so that free text may lack its end, and the object around it stays open."""
        for call in self._calls.values():
            if call.custom is not None:
                text = dumps({"input": "".join(call.custom)})
                self._sink.args(call.key, text[:-2] if cut else text)

    # ----------------------------------------------------------------------------------------------------------------

    def _find(self, fragment: JSON, body: JSON, whole: bool) -> _Call:
        index, id, name = fragment.get("index"), _word(fragment.get("id")), _word(body.get("name"))
        if whole:
            call = self._new(len(self._calls) * STEP)
        elif not isinstance(index, int) or isinstance(index, bool):
            call = self._by_name(id, name) or self._new(len(self._calls) * STEP)
        else:
            call = self._at(index, id, name, body.get("arguments")) or self._new(index * STEP)
            self._by_index[index] = call
        if id and call.id in ("", id):
            self.size += len(id) - len(call.id)
            call.id = id
            self._by_id[id] = call
        if name and not call.name:
            call.name = name
            self.size += len(name)
        self._fresh.add(call.key)
        self._last = call
        return call

    def _at(self, index: int, id: str, name: str, arguments: Any) -> _Call | None:
        """The call that a fragment with an index goes on with."""
        call = self._by_index.get(index)
        if call is None:
            return None
        if id and call.id and id != call.id:
            other = self._by_id.get(id)
            if other is not None and name in ("", other.name):
                return other
            return None if name else call  # Poolside (2026-05), mlx-openai-server (2026-03): the id changes in mid-call
        if name and call.name:
            again = not call.id and call.scan.is_complete and _begins(arguments)
            if name != call.name or again:  # relays of Gemini number each call 0, and give no ids (2026-07)
                return None
        return call

    def _by_name(self, id: str, name: str) -> _Call | None:
        """The call that a fragment without an index goes on with."""
        call = self._by_id.get(id)
        if call is not None:
            return None if name and call.key in self._fresh else call  # twice in one list: two calls
        return None if name else self._last

    def _new(self, key: int) -> _Call:
        self.size += CALL_COST
        wanted, key = key, self._free.get(key, key)
        self._free[wanted] = key + 1
        call = self._calls[key] = _Call(key)
        return call

    def _arguments(self, call: _Call, arguments: Any) -> None:
        if arguments.__class__ is not str:
            if arguments is None:
                return
            arguments = dumps(arguments)
        self.chars += len(arguments)
        if not call.id and arguments.strip() != "{}":  # which may stand ahead of the real object
            call.scan.feed(arguments)
        self._sink.args(call.key, arguments)

    def _custom(self, fragment: JSON, body: JSON, whole: bool) -> None:
        """OpenAI's custom tools (`type: custom`): free text, as `{"input": …}`."""
        call = self._find(fragment, body, whole)
        call.custom = call.custom or []
        text = body.get("input")
        if isinstance(text, str):
            call.custom.append(text)
            self.size += len(text) + PIECE_COST
        self._sink.tool(call.key, call.id, self._names.get(call.name, call.name))

    def _extra(self, fragment: JSON, call: _Call) -> None:
        """Gemini's thought signature (2025-11): it must come back with this call, so it rides an empty thinking block ahead of it."""
        signature = thought_signature(fragment)
        if signature:
            self._sink.signature(f"signature {call.key}", "gemini", {"s": signature})


def thought_signature(holder: JSON) -> str:
    """Gemini's signature in `extra_content` of a call or a message."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def _begins(arguments: Any) -> bool:
    """Whether a call's arguments begin in this fragment."""
    return isinstance(arguments, dict) or _word(arguments).lstrip().startswith("{")


def _word(value: Any) -> str:
    return value if value.__class__ is str else ""
