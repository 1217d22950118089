"""Turn the items of a response into calls of the sink.

An upstream sends each text up to four times: in deltas, in the event `….done`, in `output_item.done`, and in the final
response. Any of these may be missing. Example: the deltas "Hel" and "lo", then a `.done` with "Hello!". The sink gets
"Hel", "lo" and "!". A repetition that does not begin with what was streamed is ignored, and reported as a conflict.

Knows: what each part and item means for the sink. Which item an event means is in index.py, text filters in
common/textwriter.py, searches in search.py, limits in budget.py.
Must not know: events (stream.py), how a reply ends.
Invariants: each text reaches the sink once, however often the upstream repeats it; what was streamed is completed by
what follows, never contradicted; a call that the upstream cut is never declared complete; any JSON is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from a2py.messages.types import JSON, Prepared, Sink
from a2py.wires.common import search
from a2py.wires.common.names import CalledNames
from a2py.wires.common.text import dumps
from a2py.wires.common.textwriter import TextWriter
from a2py.wires.responses.budget import ID_COST, PART_COST, Budget
from a2py.wires.responses.index import ItemIndex
from a2py.wires.responses.item import (
    ARGS,
    CALL,
    CUSTOM,
    INPUT,
    MESSAGE,
    OWNER,
    PARTS,
    PHASE_LIMIT,
    RAW,
    REASONING,
    REFUSAL,
    SEARCH,
    STATE_FIELDS,
    SUMMARY,
    TEXT,
    VENDOR_FIELDS,
    Item,
    Part,
    as_text,
    summary_texts,
)
from a2py.wires.responses.phase import make_state
from a2py.wires.responses.search import SearchWriter

_NO_NUMBERS: Iterator[int] = iter(())


class Output:
    """The output of one response.

    `hosted_types`: types of items that the upstream ran by itself and for which Anthropic has no block; `has_conflict`:
    a repetition contradicts what was streamed; `has_refusal`: the model refused; `has_phases`: a message has a
    phase."""

    __slots__ = (
        "_has_output",
        "_names",
        "_phase",
        "_silent_calls",
        "_sink",
        "_text",
        "budget",
        "has_conflict",
        "has_phases",
        "has_refusal",
        "hosted_types",
        "index",
        "searches",
    )

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        self._sink = sink
        self._names = CalledNames(prepared.names, prepared.tools)
        self._text = TextWriter(prepared, sink, "think")
        self._silent_calls: list[
            Item
        ] = []  # calls that ended without arguments: only the end shows whether they were cut
        self._has_output = False
        self._phase = ""  # of the message whose text was written last
        self.budget = Budget()
        self.index = ItemIndex(self.budget)
        self.searches = SearchWriter(sink)
        self.has_conflict = self.has_phases = False
        self.has_refusal = False
        self.hosted_types: list[str] = []

    # -- its state ---------------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether a client can see anything of this reply."""
        return self._has_output or self._text.has_output

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that the text ran into."""
        return self._text.stop_sequence

    @property
    def chars(self) -> int:
        """Characters of text, reasoning and arguments so far."""
        return sum(part.size for item in self.index.items for part in item.parts.values())

    @property
    def has_nameless_call(self) -> bool:
        """Whether a call never got a name."""
        return any(item.kind in (CALL, CUSTOM) and not item.name for item in self.index.items)

    # -- parts -------------------------------------------------------------------------------------------------------

    def add_item(self, raw: JSON, index: Any) -> Item:
        """Return the item that `output_item.added` or `output_item.done` describes."""
        item = self.index.for_item(raw, index)
        self._introduce(item, raw)
        return item

    def _introduce(self, item: Item, raw: JSON) -> None:
        """Take ids, names and the phase from `raw`, and announce a call to the sink. The first of each counts."""
        self.index.add_ids(item, raw)
        if item.kind == MESSAGE and not item.phase:
            item.phase = as_text(raw.get("phase"))
            if len(item.phase) > PHASE_LIMIT:
                item.phase = ""
            if item.phase:
                self.has_phases = True
                if item.parts:
                    self._write_phase(item, is_behind=True)
        if item.kind in (CALL, CUSTOM):
            if not item.name:
                self._text.flush()
                item.name = as_text(raw.get("name"))
                self.budget.records += len(item.name)
            self._has_output = True
            self._sink.tool(item.key, item.call_id or item.id, self._names.read(item.name))

    def add_delta(self, item: Item, kind: str, n: int, delta: str) -> None:
        """Pass on a piece, not empty, of the item's `n`th part of this kind."""
        part = item.parts.get((kind, n))
        if part is None:
            part = self._add_part(item, kind, n)
        self._write(item, part, delta)

    def add_whole(self, item: Item, kind: str, n: int, text: str) -> None:
        """Pass on what is new in the complete text of a part, of which some or all may have been streamed."""
        part = item.parts.get((kind, n))
        if part is None:
            if text:
                self._write(item, self._add_part(item, kind, n), text)
        elif part.pieces is not None and len(text) != part.size:  # the same length: the same text, as a rule
            if len(text) > part.size and text.startswith("".join(part.pieces)):
                self._write(item, part, text[part.size :])
            elif text:
                self.has_conflict = True

    def add_part(self, item: Item, kind: str, n: int, part: JSON) -> None:
        """Pass on what is new in a complete part, with its annotations."""
        self.add_whole(item, kind, n, as_text(part.get("refusal" if kind == REFUSAL else "text")))
        annotations = part.get("annotations")
        if kind == TEXT and isinstance(annotations, list):
            for annotation in annotations:
                if not self.budget.is_full:
                    self.add_citation(item, n, annotation)

    def add_citation(self, item: Item, n: int, annotation: Any) -> None:
        """Pass on an annotation of the item's `n`th text, unless the upstream repeats it."""
        citation = search.convert_citation(annotation)
        if citation is None:
            return
        part = item.parts.get((TEXT, n)) or self._add_part(item, TEXT, n)
        mark = dumps(annotation)
        if mark not in part.citations:
            part.citations.add(mark)
            url, title = citation["url"], citation["title"]
            self.budget.records += 2 * ID_COST + len(mark) + len(url) + len(title)
            self.searches.add_page(url, title)
            self._sink.citation(part.key, citation)

    def flush(self) -> None:
        """Write the text that the filters hold back."""
        self._text.flush()

    def _write_phase(self, item: Item, *, is_behind: bool) -> None:
        """Pass on the phase of a message. `is_behind`: its text came before."""
        self._text.flush()
        self._phase = item.phase
        self._sink.signature(f"{item.key}.phase", "responses", make_state(item.phase, is_behind=is_behind))

    def _add_part(self, item: Item, kind: str, n: int) -> Part:
        if item.kind == MESSAGE and not item.parts and (item.phase or self._phase):
            self._write_phase(item, is_behind=False)
        part = item.parts[kind, n] = Part(kind, f"{item.key}.{kind}.{n}")
        self.budget.records += PART_COST
        return part

    def _write(self, item: Item, part: Part, piece: str) -> None:
        part.size += len(piece)
        self.budget.keep(part, piece)
        if part.kind != INPUT:  # written in one piece at its end, see _close_custom
            _WRITERS[part.kind](self, item, part, piece)

    def _write_text(self, item: Item, part: Part, piece: str) -> None:
        self._text.write(part.key, piece)

    def _write_refusal(self, item: Item, part: Part, piece: str) -> None:
        self._text.flush()
        self._has_output = self.has_refusal = True
        self._sink.text(part.key, piece)

    def _write_thinking(self, item: Item, part: Part, piece: str) -> None:
        """Pass on reasoning.

        Summary and raw text of one item say the same, so only the kind that comes first is shown."""
        if not item.shown_kind:
            item.shown_kind = part.kind
        if item.shown_kind != part.kind:
            return
        if part.kind == RAW and part.size == len(piece):
            self._sink.signature(part.key, "responses", {"raw": True})
        self._has_output = True
        self._sink.thinking(part.key, piece)

    def _write_arguments(self, item: Item, part: Part, piece: str) -> None:
        self._sink.args(item.key, piece)

    # -- whole items -------------------------------------------------------------------------------------------------

    def close_item(self, item: Item, raw: JSON) -> None:
        """End an item. `raw`: the item as the upstream shows it at its end."""
        if item.is_closed:
            return
        item.is_closed = True
        close = _CLOSERS.get(item.kind)
        if close is not None:
            close(self, item, raw)
        elif item.kind:
            self.hosted_types.append(item.kind)

    def _add_parts(self, item: Item, parts: Any, only_kind: str = "") -> None:
        """Pass on what is new in the parts that an item repeats at its end.

        They are matched to the streamed parts by their order within a kind, not by index: Bedrock gives the first part
        content_index 1 (2026-08). Example: streamed text parts 1 and 3, repeated are three; they are 1, 3 and 4."""
        if isinstance(parts, str):
            parts = [{"type": "output_text", "text": parts}]
        numbers_by_kind: dict[str, list[int]] = {}
        for kind, n in item.parts:
            numbers_by_kind.setdefault(kind, []).append(n)
        rest = {kind: iter(numbers) for kind, numbers in numbers_by_kind.items()}
        last = {kind: max(numbers) for kind, numbers in numbers_by_kind.items()}
        for part in parts if isinstance(parts, list) else ():
            if self.budget.is_full:
                return
            if not isinstance(part, dict):
                continue
            kind = PARTS.get(as_text(part.get("type")), "")
            if OWNER.get(kind) != item.kind or (only_kind and kind != only_kind):
                continue
            n = next(rest.get(kind, _NO_NUMBERS), -1)
            if n < 0:
                n = 1 + last.get(kind, -1)
            self.add_part(item, kind, n, part)
            if (kind, n) in item.parts:
                last[kind] = max(n, last.get(kind, -1))

    def _close_message(self, item: Item, raw: JSON) -> None:
        self._add_parts(item, raw.get("content"))
        self._text.flush()
        for part in item.parts.values():
            self._sink.complete(part.key)

    def _close_reasoning(self, item: Item, raw: JSON) -> None:
        self._add_parts(item, raw.get("summary"), SUMMARY)
        self._add_parts(item, raw.get("content"), RAW)
        keys = [part.key for part in item.parts.values() if part.kind == item.shown_kind]
        fields = {name: raw[name] for name in STATE_FIELDS if as_text(raw.get(name))}
        if any(name in fields for name in VENDOR_FIELDS):
            state: JSON = {"item": fields}
            if item.shown_kind == RAW:
                state["raw"] = True
            else:
                state["item"]["summary"] = summary_texts(raw.get("summary"))
            self._sink.signature(keys[-1] if keys else f"{item.key}.{SUMMARY}.0", "responses", state)
            self._has_output = True
        # State without a text is not done yet: the sink waits for what follows, and drops it after the text of a turn
        # without calls.
        for key in keys[-1:]:
            self._sink.complete(key)

    def _close_call(self, item: Item, raw: JSON) -> None:
        arguments = raw.get("arguments")
        text = arguments if isinstance(arguments, str) else dumps(arguments) if arguments is not None else ""
        self.add_whole(item, ARGS, 0, text)
        if raw.get("status") == "incomplete":
            return
        if (ARGS, 0) in item.parts:
            self._sink.complete(item.key)
        else:
            self._silent_calls.append(item)

    def _close_custom(self, item: Item, raw: JSON) -> None:
        if raw.get("status") != "incomplete":
            self.add_whole(item, INPUT, 0, as_text(raw.get("input")))
            self._write_input(item)

    def _write_input(self, item: Item) -> None:
        """Write the free text of a custom tool as `{"input": …}`, like on the chat wire.

        It goes out in one piece, because JSON that lacks its end must not be closed. Text that is longer than what is
        kept stays open for the same reason."""
        part = item.parts.get((INPUT, 0))
        if part is not None and part.pieces is None:
            self._sink.args(item.key, '{"input":')
            return
        self._sink.args(item.key, dumps({"input": "" if part is None else "".join(part.pieces or ())}))
        self._sink.complete(item.key)

    def _close_search(self, item: Item, raw: JSON) -> None:
        self._text.flush()
        self._has_output = True
        self.searches.write(item, raw)

    # -- the final response object -----------------------------------------------------------------------------------

    def add_final(self, response: JSON, is_complete: bool) -> None:
        """Pass on what is new in the final response. `is_complete`: the reply was not cut."""
        self._add_bare_text(response)
        output = response.get("output")
        candidates = self.index.by_kind()
        matched_keys: set[int] = set()
        for raw in output if isinstance(output, list) else ():
            if isinstance(raw, dict):
                kind = as_text(raw.get("type"))
                item = self.index.for_final(raw, candidates.get(kind, []), matched_keys)
                if item is None:
                    item = self.index.add(kind)
                    self._introduce(item, raw)
                matched_keys.add(item.key)
                self.close_item(item, raw)
            if self.stop_sequence is not None or self.budget.is_full:
                return
        if is_complete:
            self._complete()

    def _add_bare_text(self, response: JSON) -> None:
        """Pass on text outside of items: `reasoning` and `output_text` of the response itself (mistral.rs, 2025-12)."""
        if self.index.items:
            return
        reasoning = response.get("reasoning")
        if isinstance(reasoning, str) and reasoning.strip():
            self._has_output = True
            self._sink.thinking("reasoning", reasoning)
        if not response.get("output") and as_text(response.get("output_text")):
            self.add_delta(self.index.add(MESSAGE), TEXT, 0, response["output_text"])

    def settle_names(self, is_cut: bool) -> None:
        """Write the names that were suspect. `is_cut`: the reply was cut."""
        for item in self.index.items:
            if item.kind in (CALL, CUSTOM) and self._names.is_suspect(item.name):
                self._sink.tool(item.key, item.call_id or item.id, self._names.settle(item.name, is_cut))

    def _complete(self) -> None:
        """End what only a complete reply ends."""
        for item in self._silent_calls:
            self._sink.complete(item.key)
        for item in self.index.items:
            if item.kind == CUSTOM and not item.is_closed:
                self._write_input(item)
        self.searches.finish()
        if not self.has_output and self.hosted_types:
            self._sink.text("hosted", f"[{', '.join(dict.fromkeys(self.hosted_types))}]")


#: Kind of part → how a piece of it reaches the sink.
_WRITERS: dict[str, Callable[[Output, Item, Part, str], None]] = {
    TEXT: Output._write_text,
    REFUSAL: Output._write_refusal,
    SUMMARY: Output._write_thinking,
    RAW: Output._write_thinking,
    ARGS: Output._write_arguments,
}
#: Type of item → how it ends.
_CLOSERS: dict[str, Callable[[Output, Item, JSON], None]] = {
    MESSAGE: Output._close_message,
    REASONING: Output._close_reasoning,
    CALL: Output._close_call,
    CUSTOM: Output._close_custom,
    SEARCH: Output._close_search,
}
