"""What the native wire repairs of texts and calls (more in goldens/repairs.md)."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.messages import sequence
from a2py.wires.native import WIRE
from a2py.wires.native.repairs import NOTES
from tests import streams
from tests.wires.native.test_fuzz import content, read
from tests.wires.native.test_stream import delta, opening, sse, start, stop

TEXT: dict[str, Any] = {"type": "text", "text": ""}
THINKING: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": "s"}
TOOLS = frozenset({"Bash"})


def call(index: int, *pieces: str, name: str = "Bash") -> list[Any]:
    block = {"type": "tool_use", "id": f"c{index}", "name": name, "input": {}}
    return [start(index, block), *(delta(index, piece, "input_json") for piece in pieces), stop(index)]


def text(index: int, words: str) -> list[Any]:
    return [start(index, TEXT), delta(index, words), stop(index)]


def thinking(index: int, words: str) -> list[Any]:
    return [start(index, THINKING), delta(index, words, "thinking"), stop(index)]


def blocks(*events: Any, reason: str = "tool_use", address: str = "") -> list[Any]:
    """The content that a client puts together."""
    ending = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}}
    data = sse(opening(), *events, ending, {"type": "message_stop"})
    content_blocks = content(read(streams.run(WIRE, streams.upstream_request(tools=TOOLS, address=address), [data])))
    return [block["input"] if block["type"] == "tool_use" else block[block["type"]] for block in content_blocks]


def test_reasoning_follows_the_text_only_before_a_call() -> None:
    torn = [*text(0, "Hel"), *thinking(1, "hm"), *text(2, "lo")]
    assert blocks(*torn, reason="end_turn") == ["Hello"]
    assert blocks(*torn, *call(3, '{"a":1}')) == ["Hello", "hm", {"a": 1}]
    assert blocks(*call(0, '{"a":1}'), *text(1, "x"), *thinking(2, "hm")) == [{"a": 1}, "x", "hm"]
    for host in ("api.anthropic.com:443", "openrouter.ai", "eu.openrouter.ai:443"):
        assert blocks(*torn, address=host) == ["Hel", "hm", "lo"], "they verify the thinking that comes back"


def test_what_waits_for_a_text_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 5_000)
    events = [*text(0, "a"), start(1, THINKING), *(delta(1, "x" * 100, "thinking") for _ in range(50)), stop(1)]
    assert blocks(*events, *text(2, "b"), *thinking(3, "c"), *text(4, "d")) == ["a", "x" * 5000, "b", "c", "d"]


@pytest.mark.parametrize(
    ("pieces", "name"),
    [(('{"a":1}', "}" * 9_000), "Bash"), (('"', "x" * 9_000), "Bash"), (('{"a":"' + "x" * 9_000, '"}'), "Bash</s>")],
)
def test_what_waits_for_the_end_is_bounded(monkeypatch: pytest.MonkeyPatch, pieces: tuple[str, ...], name: str) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 5_000)
    events = sse(opening(), *call(0, *pieces, name=name), *call(1, '{"a":1}', "}", name="Bash</s>"))
    out = read(streams.run(WIRE, streams.upstream_request(tools=TOOLS), [events]))
    content_blocks = content(out)
    assert [block["name"] for block in content_blocks] == [name, "Bash</s>"], "nothing more is repaired"
    arguments = "".join(event["delta"]["partial_json"] for event in out if event["type"] == "content_block_delta")
    assert arguments == "".join(pieces) + '{"a":1}}', "nothing is lost"


def test_a_long_input_does_not_keep_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "SCAN_SIZE", 100)
    (tool_input,) = blocks(*call(0, '{"a":"', *["x" * 60] * 5, '"}', "</s"))
    assert "__unparsedToolInput" in tool_input, "what was forgotten can't be checked"
    assert blocks(*call(0, '{"a":"', *["x" * 60] * 5, '"}')) == [{"a": "x" * 300}]
    assert blocks(*call(0, '{"a":"' + "x" * 300, '"}')) == [{"a": "x" * 300}]


def test_pieces_behind_the_end_wait_together() -> None:
    assert blocks(*call(0, '{"a":1}', "{", '"a":2}', "</s"), *text(1, "x")) == [{"a": 1}, {"a": 2}, "x"]
    assert blocks(*call(0, "</s", "}")) == [{"__unparsedToolInput": {"raw": "</s}", "len": 4}}]
    assert blocks(*call(0, "", " ", '{"a":1}', " ", "</s")) == [{"a": 1}]
    for reason in ("max_tokens", "stop_sequence"):
        assert blocks(*call(0, '{"a":1}', "</s"), reason=reason) == [
            {"__unparsedToolInput": {"raw": '{"a":1}</s', "len": 10}}
        ]


def test_notes_are_bounded() -> None:
    sink = streams.writer()
    decoder = WIRE.decoder(streams.upstream_request(tools=TOOLS), sink)
    calls = [event for n in range(2 * NOTES) for event in call(n, '{"a":1}', '{"b":2}' if n else "</s")]
    ending = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}
    decoder.feed(sse(opening(), *calls, ending, {"type": "message_stop"}))
    notes = decoder.close().notes
    assert len(notes) == NOTES and notes[:2] == [
        "3 characters behind the arguments of Bash were left out",
        "7 characters behind the arguments of Bash were read as 1 more call",
    ]
