"""Repair what an Anthropic event stream says of a text or a call, before its events go to the sink.

Three things are not passed on as they came. They are the ones that messages/blocks.py and the other wires' decoders
repair, too:

    text "Hel", thinking "hm", text "lo"        one text "Hello": `claude -p` (2.1.332) prints only the last text
    tool_use "Bash</arg_value>"                 "Bash", if the request has that tool
    input {"command": "ls"}}</s                 {"command": "ls"}; also input that is encoded twice, or of several calls

Knows: blocks whose start, deltas and stop are mended (mend.py). Must not know: how a reply ends (stream.py).
Invariants: blocks stay sequential; a suspect name or input waits for the end of the reply, and everything behind it, so
that the order stays; nothing is repaired in a reply that was cut; what waits is bounded by sequence.HELD_LIMIT,
beyond that all goes on as it came.
"""

from __future__ import annotations

from typing import Union

from a2py import jsonsize, jsontext
from a2py.messages import sequence
from a2py.messages.arguments import begins_string, decoded_twice
from a2py.messages.items import TOOL, Item
from a2py.messages.types import JSON, Prepared, Sink
from a2py.providers import find_host_row
from a2py.wires.common.names import CalledNames

#: Rows of the hosts of Claude. They verify the thinking that comes back, so it keeps its place.
_VERIFIERS = ("anthropic", "openrouter")
#: Notes that one reply may write into the log.
NOTES = 8
_THINKING = ("thinking", "redacted_thinking")
#: What an event that waits counts for besides its bytes.
EVENT_COST = 512
#: An event: its type, itself, and its JSON as it came (b"": it must be written).
RawEvent = tuple[str, JSON, bytes]
#: What waits: an event, or a call whose input comes there.
Waiting = Union[RawEvent, Item]


class Repairs:
    """Passes the events of blocks on to `sink`. `notes`: what was repaired, for the log. `is_plain`: deltas of the open
    block may go to the sink directly."""

    __slots__ = (
        "_call",
        "_has_called",
        "_is_off",
        "_is_suspect",
        "_joins_texts",
        "_names",
        "_next_index",
        "_notes",
        "_object",
        "_sink",
        "_size",
        "_text_index",
        "_text_stop",
        "_thoughts",
        "_type",
        "_waiting",
        "is_plain",
    )

    def __init__(self, prepared: Prepared, sink: Sink, notes: list[str]) -> None:
        self._sink = sink
        self._names = CalledNames(prepared.names, prepared.tools)
        self._joins_texts = find_host_row(prepared.address) not in _VERIFIERS
        self._notes = notes
        self._type = ""  # of the open block
        self._next_index = 0  # an index that no block has
        self._text_index = -1  # of the text that goes on in the open block; -1: none does
        self._text_stop: RawEvent | None = None  # the end of a text, until something else than thinking comes
        self._thoughts: list[RawEvent] = []  # thinking behind that text
        self._call: Item | None = None  # the open call, if its input may have to be repaired
        self._object: Item | None = None  # the same, as long as its object is open and nothing waits
        self._has_called = False
        self._is_suspect = False  # the input of the open call
        self._waiting: list[Waiting] | None = None  # the first suspect, and all that came after it
        self._size = 0
        self._is_off = False  # too much waited
        self.is_plain = False

    # -- the events of a block ---------------------------------------------------------------------------------------

    def start(self, event: JSON, data: bytes) -> None:
        kind, index = event["content_block"]["type"], event["index"]
        self._type = kind
        self._next_index = max(self._next_index, index + 1)
        self._call, self._object, self._is_suspect, self.is_plain = None, None, False, False
        if self._text_stop is not None and kind in _THINKING:
            self._put_off(("content_block_start", event, data))
        elif self._text_stop is not None and self._thoughts and kind == "text":
            self._text_index = self._text_stop[1]["index"]
        else:
            self.end_text()
            if kind == "tool_use":
                self._start_call(event)
            self.is_plain = self._call is None and self._waiting is None
            self._pass(("content_block_start", event, data))

    def _start_call(self, event: JSON) -> None:
        self._has_called = True
        if not self._is_off:
            self._call = Item(TOOL, event["index"])
            self._call.name = event["content_block"]["name"]
            if self._names.is_suspect(self._call.name):
                self._wait()

    def delta(self, event: JSON, data: bytes) -> None:
        call, piece = self._object, event["delta"].get("partial_json")
        if call is not None and piece and "}" not in piece:  # nearly every piece of a call's input comes here
            call.parts.append(piece)
            call.size += len(piece)
            if call.size > sequence.SCAN_SIZE:
                call.forget_parts()
            self._sink.raw("content_block_delta", event, data)
            return
        entry = ("content_block_delta", event, data)
        if self._text_index >= 0:
            self._pass(("content_block_delta", {**event, "index": self._text_index}, b""))
        elif self._text_stop is not None:
            self._put_off(entry)
        elif self._call is not None and piece:
            self._add_input(self._call, entry)
        else:
            self._pass(entry)

    def stop(self, event: JSON, data: bytes) -> None:
        entry = ("content_block_stop", event, data)
        if self._text_index >= 0:
            self._text_index = -1
        elif self._text_stop is not None:
            self._put_off(entry)
        elif self._type == "text" and self._joins_texts and not self._is_off:
            self._text_stop = entry
        else:
            self._pass(entry)

    def end(self, is_cut: bool) -> None:
        """Pass on what waits. `is_cut`: the reply was cut."""
        if self._thoughts and not self._has_called:
            # As on the other wires: `claude -p` (2.1.332) takes the last block for its result.
            add_note(self._notes, "reasoning behind the text was left out")
            self._thoughts.clear()
        self.end_text()
        self._pass_waiting(is_cut)

    # -- a text that goes on behind thinking -------------------------------------------------------------------------

    def _put_off(self, entry: RawEvent) -> None:
        """Keep an event of thinking until the text is complete."""
        self._thoughts.append(entry)
        self._count(entry)

    def end_text(self) -> None:
        """Pass on the end of a text, and the thinking behind it."""
        if self._text_stop is not None:
            entries, self._thoughts = [self._text_stop, *self._thoughts], []
            self._text_stop = None
            for entry in entries:
                self._pass(entry)

    # -- a suspect call ----------------------------------------------------------------------------------------------

    def _add_input(self, call: Item, entry: RawEvent) -> None:
        """Pass a piece of a call's input on up to the end of its object."""
        piece: str = entry[1]["delta"]["partial_json"]
        begin = piece.lstrip()[:1]
        if self._is_suspect:
            (call.rest or call.parts).append(piece)
            self._count(entry)
        elif not call.is_started and begins_string(piece):  # encoded twice
            call.parts.append(piece)
            self._suspect(call, entry)
        elif not call.is_started and begin != "{":
            if begin:
                self._call = None  # no object: nothing is known of its end
            self._pass(entry)
        else:
            call.is_started = True
            head = call.take_piece(piece)
            self._object = None if call.has_whole_object() or self._waiting is not None else call
            if not call.rest:
                if call.size > sequence.SCAN_SIZE:
                    call.forget_parts()
                self._pass(entry)
                return
            if head:
                self._pass(_input_delta(call, str(head)))
            self._suspect(call, entry)

    def _suspect(self, call: Item, entry: RawEvent) -> None:
        """Let the rest of the call's input wait, and everything behind it."""
        self._is_suspect = True
        self._wait().append(call)
        self._count(entry)

    def _wait(self) -> list[Waiting]:
        if self._waiting is None:
            self._waiting = []
        return self._waiting

    def _pass(self, entry: RawEvent) -> None:
        """Pass an event on, or let it wait behind others."""
        if self._waiting is None:
            self._sink.raw(*entry)
        else:
            self._waiting.append(entry)
            self._count(entry)

    def _count(self, entry: RawEvent) -> None:
        """Count an event that waits. If it is too much, pass everything on as it came, and repair nothing more."""
        _, event, data = entry
        self._size += EVENT_COST + jsonsize.weight(data or jsontext.dumps(event))
        if self._size > sequence.HELD_LIMIT and not self._is_off:
            self._is_off = True
            self._call, self._object, self._is_suspect = None, None, False
            self.end_text()
            self._pass_waiting(is_cut=True)

    def _pass_waiting(self, is_cut: bool) -> None:
        waiting, self._waiting = self._waiting or [], None
        further: list[RawEvent] = []  # calls that follow the one that is open
        for entry in waiting:
            if isinstance(entry, Item):
                further = self._pass_input(entry, is_cut)
                continue
            self._sink.raw(*self._with_name(entry, is_cut))
            if entry[0] == "content_block_stop":
                for more in further:
                    self._sink.raw(*more)
                further = []

    def _with_name(self, entry: RawEvent, is_cut: bool) -> RawEvent:
        """Return an event with the name of its call repaired."""
        type, event, _ = entry
        block = event.get("content_block", {})
        if type != "content_block_start" or block["type"] != "tool_use" or not self._names.is_suspect(block["name"]):
            return entry
        return type, {**event, "content_block": {**block, "name": self._names.settle(block["name"], is_cut)}}, b""

    def _pass_input(self, call: Item, is_cut: bool) -> list[RawEvent]:
        """Pass on what a call holds back of its input. Return the events of further calls."""
        inputs: list[str] = []
        if call.rest:
            size = sum(map(len, call.rest))
            inputs = call.settle_rest(is_cut)
            text = "".join(call.rest)
            if not text:
                add_note(self._notes, call.describe_rest(size, len(inputs)))
        else:
            text = call.join_parts() if is_cut else decoded_twice(call.join_parts())
        if text:
            self._sink.raw(*_input_delta(call, text))
        return [event for text in inputs for event in self._make_call(call.name, text)]

    def _make_call(self, name: str, text: str) -> list[RawEvent]:
        """Return the events of a further call. The sink gives it an id."""
        call = Item(TOOL, self._next_index)
        self._next_index += 1
        block = {"type": "tool_use", "id": "", "name": name, "input": {}}
        start = {"type": "content_block_start", "index": call.key, "content_block": block}
        stop = {"type": "content_block_stop", "index": call.key}
        return [
            self._with_name(("content_block_start", start, b""), is_cut=False),
            _input_delta(call, text),
            ("content_block_stop", stop, b""),
        ]


def add_note(notes: list[str], text: str) -> None:
    """Add a note for the log, unless there are NOTES already."""
    if len(notes) < NOTES:
        notes.append(text)


def _input_delta(call: Item, text: str) -> RawEvent:
    """Return a piece of a call's input as an event."""
    delta = {"type": "input_json_delta", "partial_json": text}
    return "content_block_delta", {"type": "content_block_delta", "index": call.key, "delta": delta}, b""
