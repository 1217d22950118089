"""The native decoder: whole events through, order kept, and an end that says what it is (more in goldens/native.md and
the fuzz)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Outcome, Prepared, Usage
from a2py.wires import wire
from a2py.wires.native import WIRE
from a2py.wires.native.repairs import NOTES
from a2py.wires.native.stream import NativeDecoder
from tests import streams
from tests.wires.native.test_fuzz import content, read


def sse(*events: JSON | bytes) -> bytes:
    return b"".join(
        event
        if isinstance(event, bytes)
        else b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )


def opening(**changes: Any) -> JSON:
    usage = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 1}
    return {
        "type": "message_start",
        "message": {
            "id": "msg_up",
            "type": "message",
            "role": "assistant",
            "model": "up-1",
            "content": [],
            "usage": usage,
            **changes,
        },
    }


def start(index: Any, block: Any) -> JSON:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: Any, text: Any, kind: str = "text") -> JSON:
    fields = {"text": "text", "thinking": "thinking", "input_json": "partial_json", "signature": "signature"}
    return {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", fields[kind]: text}}


def stop(index: Any) -> JSON:
    return {"type": "content_block_stop", "index": index}


TEXT: JSON = {"type": "text", "text": ""}
CALL: JSON = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
END: JSON = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 5},
}
STOP: JSON = {"type": "message_stop"}
HELLO = (start(0, TEXT), delta(0, "Hello"), stop(0))


def ran(data: bytes, **options: Any) -> tuple[list[JSON], Outcome]:
    """The client's events, the same for every split, and the outcome."""
    whole, outcome = streams.drive(WIRE, streams.upstream_request(), [data], streams.writer(**options))
    for pieces in streams.splits(data):
        assert streams.run(WIRE, streams.upstream_request(), pieces, **options) == whole
    return read(whole), outcome


def texts(events: list[JSON]) -> list[str]:
    return [str(block.get("text", block["type"])) for block in content(events)]


def error_of(data: bytes) -> str:
    events, outcome = ran(data)
    assert events[-1]["type"] == "error"
    assert outcome.error is not None
    message: str = events[-1]["error"]["message"]
    return message


def test_the_wire() -> None:
    assert wire("native") is WIRE


def test_bytes_that_lack_nothing_are_not_touched() -> None:
    odd = b'event: content_block_delta\ndata: {  "index":0 ,"type" : "content_block_delta", "delta":{"text":"\\u00e9 \\/","type":"text_delta", "new":1.0} }\n\n'
    data = sse(opening(), start(0, TEXT)) + odd + sse(stop(0), {"type": "brand.new_2", "x": 1}, END, STOP)
    out = streams.run(WIRE, streams.upstream_request(), [data])
    assert odd in out
    assert sse({"type": "brand.new_2", "x": 1}) in out
    assert sse(start(0, TEXT)) in out


def test_data_in_several_lines_is_written_in_one() -> None:
    data = (
        sse(opening(), start(0, TEXT))
        + b'data: {"type":"content_block_delta","index":0,\ndata: "delta":{"type":"text_delta","text":"x"}}\n\n'
        + sse(stop(0), END, STOP)
    )
    assert texts(ran(data)[0]) == ["x"]


def test_half_a_surrogate_pair() -> None:
    data = (
        sse(opening(), start(0, TEXT))
        + b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}\n\n'
        + sse(stop(0), END, STOP)
    )
    assert texts(ran(data)[0]) == ["\ufffd"]


@pytest.mark.parametrize(
    ("signature", "notes"), [("", []), ("lost", ["a signature_delta for a block that was not open was skipped"])]
)
def test_an_empty_signature_that_comes_late_is_no_loss(signature: str, notes: list[str]) -> None:
    late = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": signature}}
    thinking = (start(0, {"type": "thinking", "thinking": ""}), start(1, TEXT), delta(1, "x"), late, stop(0), stop(1))
    events, outcome = ran(sse(opening(), *thinking, END, STOP))
    assert outcome.notes == notes and texts(events)[-1] == "x"


def test_the_outcome_is_for_the_log() -> None:
    usage = {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 9}}
    end = {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}, "usage": usage}
    events, outcome = ran(sse(opening(), *HELLO, end, STOP))
    assert (outcome.reason, outcome.stop_sequence, outcome.model, outcome.notes) == ("stop_sequence", "END", "up-1", [])
    assert outcome.usage == Usage(12, 40, 3, 0, 9)
    assert events[0]["message"]["model"] == streams.MODEL
    assert events[0]["message"]["id"] == "msg_up"


@pytest.mark.parametrize(
    "events",
    [
        (opening(), *HELLO, END, STOP, *HELLO, END, STOP),
        (opening(), *HELLO, END, STOP, b"data: [DONE]\n\n", delta(0, "late")),
        (opening(), *HELLO, END, b"data: [DONE]\n\n", STOP),
        (opening(), *HELLO, END),
        (opening(), start(0, TEXT), delta(0, "Hello"), END, STOP),
        (opening(), opening(id="msg_second"), *HELLO, END, STOP),
        (opening(), *HELLO, STOP),
        (*HELLO, END, STOP),
        (END, *HELLO, STOP),
        (opening(), *HELLO, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": None}, END, STOP),
        (opening(), *HELLO, stop(0), stop(7), END, STOP),
        (opening(), *HELLO, {"type": "ping"}, b": comment\n\n", END, STOP),
        (b"data: [1]\n\n", b"data: 7\n\n", b"data: {}\n\n", b"data: nonsense\n\n", opening(), *HELLO, END, STOP),
        (opening(), b'event: Bad Name\ndata: {"type":"Bad Name"}\n\n', *HELLO, END, STOP),
        (opening(), start(None, TEXT), delta(None, "Hel"), delta(0, "lo"), stop(None), END, STOP),
        (opening(), start(-1, TEXT), delta(-1, "Hello"), stop(-1), END, STOP),
        (opening(), delta(0, "Hello"), stop(0), END, STOP),
        (opening(), delta("x", "Hello"), END, STOP),
        (opening(), start(0, TEXT), delta(0, None), delta(0, "Hello"), stop(0), END, STOP),
        (opening(), start(0, TEXT), {"type": "content_block_delta", "index": 0}, delta(0, "Hello"), stop(0), END, STOP),
        (opening(), start(0, TEXT), delta(0, "{", "input_json"), delta(0, "Hello"), stop(0), END, STOP),
        (opening(), start(0, TEXT), delta(0, "Hello"), stop(0), delta(0, "sig", "signature"), END, STOP),
        (opening(), start(1, None), start(1, {"type": 7}), *HELLO, END, STOP),
        (opening(content=[{"type": "text", "text": "Hello"}]), END, STOP),
        (opening(content="Hello"), END, STOP),
        (b"\xef\xbb\xbf\r\n \n", opening(), *HELLO, END, STOP),
        (b'data: {"delta":{"text":"Hello"}}\n\n', opening(), *HELLO, END, STOP),
    ],
)
def test_liberties_that_change_nothing(events: tuple[Any, ...]) -> None:
    client_events, outcome = ran(sse(*events))
    assert texts(client_events) == ["Hello"]
    assert client_events[-2]["delta"]["stop_reason"] == "end_turn"
    assert outcome.error is None


def test_the_stop_reason_where_the_upstream_names_none() -> None:
    call = (start(0, CALL), delta(0, "{}", "input_json"), stop(0))
    for end in ((), ({**END, "delta": {"stop_reason": None}},), ({**END, "delta": {"stop_reason": 7}},)):
        assert ran(sse(opening(), *call, *end, STOP))[0][-2]["delta"]["stop_reason"] == "tool_use"
        assert ran(sse(opening(), *HELLO, *end, STOP))[0][-2]["delta"]["stop_reason"] == "end_turn"


def test_an_unknown_stop_reason_passes() -> None:
    events, outcome = ran(sse(opening(), *HELLO, {**END, "delta": {"stop_reason": "brand_new"}}, STOP))
    assert events[-2]["delta"]["stop_reason"] == outcome.reason == "brand_new"


def test_a_block_that_is_not_ended_ends_with_the_next() -> None:
    events, _ = ran(
        sse(
            opening(),
            start(0, TEXT),
            delta(0, "a"),
            start(1, TEXT),
            delta(1, "b"),
            delta(0, "c"),
            stop(0),
            stop(1),
            END,
            STOP,
        )
    )
    assert texts(events) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("reason", "is_closed"),
    [("tool_use", True), ("end_turn", True), ("max_tokens", False), ("refusal", False), ("stop_sequence", False)],
)
def test_a_call_left_open_at_a_cut_stays_open(reason: str, is_closed: bool) -> None:
    data = sse(
        opening(), start(0, CALL), delta(0, '{"a":1}', "input_json"), {**END, "delta": {"stop_reason": reason}}, STOP
    )
    events, _ = ran(data)
    assert ("content_block_stop" in [event["type"] for event in events]) is is_closed
    reply = streams.collect(WIRE, streams.upstream_request(), data)
    assert (reply["content"][0]["input"] == {"a": 1}) is is_closed


def test_text_left_open_at_a_cut_is_closed() -> None:
    events, _ = ran(
        sse(opening(), start(0, TEXT), delta(0, "a"), {**END, "delta": {"stop_reason": "max_tokens"}}, STOP)
    )
    assert events[-3]["type"] == "content_block_stop"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((), "sent no message"),
        ((b" \r\n\t",), "sent no message"),
        ((b"<html>502</html>",), "web page: 502"),
        ((b"data: [DONE]\n\n",), "sent no message"),
        (({"type": "ping"},), "sent no message"),
        ((opening(),), "closed the stream early"),
        ((opening(), *HELLO), "closed the stream early"),
        (
            (opening(), start(0, CALL), delta(0, '{"a":1}', "input_json"), b"data: [DONE]\n\n"),
            "closed the stream early",
        ),
        ((opening(), *HELLO, {**END, "delta": {"stop_reason": None}}), "closed the stream early"),
        ((opening(), start(0, CALL), b"data: {broken\n\n", stop(0), END, STOP), "sent a damaged stream"),
        ((opening(), b"data: {broken\n\n", *HELLO, END, STOP), "sent a damaged stream"),
        ((opening(), *HELLO, END, b"data: {cut"), "sent a damaged stream"),
        ((opening(), *HELLO, b"event: error\ndata: Boom\n\n", END, STOP), "Boom"),
        ((opening(), start(0, CALL), delta(0, "x"), stop(0), END, STOP), "broken event inside a tool call"),
        ((opening(), delta(0, "{", "input_json"), END, STOP), "it never began"),
        ((opening(), start(0, CALL), stop(0), delta(0, "{", "input_json"), END, STOP), "it never began"),
        ((opening(), *HELLO, {"type": "error", "error": {"type": "api_error", "message": "Boom"}}, END, STOP), "Boom"),
        ((b'data: {"error":{"message":"Boom"}}\n\n', opening(), *HELLO, END, STOP), "Boom"),
        ((b'event: error\ndata: {"message":"Boom"}\n\n',), "Boom"),
        ((b'event: error\ndata: {"type":"error"}\n\n',), "without saying which"),
        ((b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',), "OpenAI's format"),
        ((b'{"choices":[{"message":{"content":"x"}}]}',), "OpenAI's format"),
        ((b'{"object":"response","output":[]}',), "OpenAI's format"),
        ((b'{"hello":"world"}',), "no Anthropic message"),
        ((b'{"type":"message"',), "not valid JSON; it may have been cut"),
        ((b'{"error":{"message":"Boom","type":"api_error"}}',), "Boom"),
    ],
)
def test_what_ends_as_an_error(events: tuple[Any, ...], message: str) -> None:
    assert message in error_of(sse(*events))


def test_a_json_body_in_pieces() -> None:
    whole = {**opening()["message"], "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}
    events, outcome = ran(b"\xef\xbb\xbf \n" + orjson.dumps(whole))
    assert texts(events) == ["Hello"]
    assert outcome.usage == Usage(12, 1, 3)


@pytest.mark.parametrize("content", [[], None])
def test_an_empty_message_is_the_upstreams_own_business(content: Any) -> None:
    events, outcome = ran(orjson.dumps({**opening()["message"], "content": content, "stop_reason": "end_turn"}))
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
    assert outcome.error is None


def test_the_log_is_not_flooded() -> None:
    _, outcome = ran(sse(opening(), *[b"data: broken\n\n"] * 50, *[start(0, {})] * 50, *HELLO, END, STOP))
    assert len(outcome.notes) == NOTES + 1
    assert outcome.notes[-1] == "50 bad line(s) of the upstream skipped"


@pytest.mark.parametrize(
    "data",
    [b" " * 300, b'{"x": "' + b"x" * 300, b"data: " + b"x" * 300],
    ids=["white space", "a JSON body", "an event"],
)
def test_what_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("a2py.wires.common.intake.BODY_LIMIT", 256)
    monkeypatch.setattr("a2py.sse.LINE_LIMIT", 256)
    decoder = NativeDecoder(streams.upstream_request(), streams.writer())
    for n in range(0, len(data), 10):
        decoder.feed(data[n : n + 10])
    assert decoder.is_finished
    outcome = decoder.close()
    assert outcome.error is not None
    assert decoder.close() is outcome


def test_keep_alive_fits_between_events() -> None:
    sink = streams.writer()
    decoder = NativeDecoder(streams.upstream_request(), sink)
    decoder.feed(
        sse(opening(), start(0, {"type": "thinking", "thinking": "", "signature": ""}), delta(0, "hm", "thinking"))
    )
    sink.keepalive()
    decoder.feed(sse(stop(0), start(1, CALL)))
    sink.keepalive()
    decoder.feed(sse(delta(1, "{}", "input_json"), stop(1), END, STOP))
    sink.close(decoder.close())
    events = read(sink.take())
    assert [event["type"] for event in events].count("ping") == 1
    assert content(events)[0]["thinking"] == "hm"


def test_a_whole_reply() -> None:
    whole = {
        **opening()["message"],
        "content": [{"type": "text", "text": "Hello", "new": 1}, {**CALL, "input": {"a": 1.5}}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
    }
    assert streams.unary(WIRE, streams.upstream_request(), orjson.dumps(whole)) == {**whole, "model": streams.MODEL}
    assert streams.unary(WIRE, streams.upstream_request(), sse(opening(), *HELLO, END, STOP))["content"] == [
        {"type": "text", "text": "Hello"}
    ]
    with pytest.raises(ApiError, match="no Anthropic message"):
        streams.unary(WIRE, streams.upstream_request(), b"{}")


def after_a_call(*rest: JSON, reason: str) -> list[Any]:
    """What the client gets of a call, and what follows it."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "clean", "input": {}}
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": 5},
    }
    events, _ = ran(sse(opening(), start(0, call), *rest, end, STOP))
    return [event["type"] if event["type"] != "content_block_delta" else event["delta"] for event in events[2:-2]]


def test_a_call_without_arguments_is_closed_unless_the_limit_cut_it() -> None:
    block_stop = "content_block_stop"
    assert after_a_call(stop(0), reason="tool_use") == [block_stop]
    assert after_a_call(delta(0, "", "input_json"), stop(0), reason="tool_use")[1:] == [block_stop]
    torn = {"type": "input_json_delta", "partial_json": "{"}
    assert after_a_call(stop(0), reason="max_tokens") == [torn, block_stop]
    assert after_a_call(delta(0, '{"a":1}', "input_json"), stop(0), reason="max_tokens")[1:] == [block_stop]
    assert after_a_call(stop(0), start(1, TEXT), stop(1), reason="max_tokens") == [
        block_stop,
        "content_block_start",
        block_stop,
    ]


@pytest.mark.parametrize("body", [b"[]", b'["x"]', b"[{}, {}]"])
def test_a_whole_body_that_is_no_object(body: bytes) -> None:
    sink = Reply("msg_1", "m")
    decoder = NativeDecoder(Prepared("", {}, b"", True), sink)
    decoder.feed(body)
    error = decoder.close().error
    assert (
        error is not None and error.message == "the upstream sent a reply that is not a JSON object. Check `api_base`."
    )


def test_a_whole_message_in_a_list() -> None:
    sink = Reply("msg_1", "m")
    decoder = NativeDecoder(Prepared("", {}, b"", True), sink)
    decoder.feed(b'[{"type":"message","content":[{"type":"text","text":"Yes"}],"stop_reason":"end_turn"}]')
    assert decoder.close().error is None


@pytest.mark.parametrize("citations", [5, {"a": 1}, "x", None])
def test_citations_of_a_block_that_nobody_knows(citations: Any) -> None:
    """A number there raised, in a unary reply, until 2026-11."""
    citation = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "citations_delta", "citation": {"type": "x"}},
    }
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    data = sse(
        opening(),
        start(0, {"type": "unheard_of", "citations": citations}),
        citation,
        stop(0),
        end,
        {"type": "message_stop"},
    )
    [block] = streams.collect(WIRE, streams.upstream_request(), data)["content"]
    assert block["citations"] == [{"type": "x"}]


BLOCK_EVENTS: list[JSON] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "four"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 36}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": 7}},
    {"type": "content_block_stop", "index": 0},
]


@pytest.mark.parametrize(
    ("end", "output", "is_estimated"),
    [
        ([], 11, True),
        ([{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}], 11, True),
        ([{"type": "message_delta", "delta": {}, "usage": {"output_tokens": 0}}, {"type": "message_stop"}], 11, True),
        ([{"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}}, {"type": "message_stop"}], 5, False),
    ],
)
def test_the_output_of_message_start_is_no_count(end: list[JSON], output: int, is_estimated: bool) -> None:
    """It was counted before the reply. What was cut, or reports nothing in message_delta, is estimated by its text."""
    writer = streams.writer()
    decoder = NativeDecoder(streams.upstream_request(), writer)
    decoder.feed(sse(opening(), *BLOCK_EVENTS, *end))
    outcome = decoder.close()
    assert outcome.usage is not None
    assert (outcome.usage.input, outcome.usage.cache_read, outcome.usage.output) == (12, 3, output)
    assert outcome.is_estimated is is_estimated
    writer.close(outcome)
    if end:
        usage = end[0].get("usage", {"output_tokens": output})  # an upstream's own 0 stays
        last = writer.take().partition(b"event: message_delta\ndata: ")[2].partition(b"\n")[0]
        assert orjson.loads(last)["usage"]["output_tokens"] == usage["output_tokens"]


def test_without_a_text_the_output_is_as_message_start_says() -> None:
    decoder = NativeDecoder(streams.upstream_request(), streams.writer())
    decoder.feed(sse(opening()))
    outcome = decoder.close()
    assert outcome.usage is not None and outcome.usage.output == 1 and not outcome.is_estimated
