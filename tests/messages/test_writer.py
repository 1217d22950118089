"""The verbs as an event stream: read strictly, accumulated by the real SDK, compared with the unary reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.messages import sequence, signatures, writer
from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Outcome, Usage
from a2py.messages.writer import PING, Writer
from tests import streams

Sinks = Callable[[Any], object]
USAGE = Usage(input=12, output=5, cache_read=3, cache_creation=2, thinking=1, web_searches=1)


def new(**options: Any) -> Writer:
    return Writer("msg_1", "claude-x", Usage(input=40, output=0), **options)


def stream(*verbs: Sinks, outcome: Outcome | None = None, **options: Any) -> bytes:
    out = new(**options)
    for verb in verbs:
        verb(out)
    out.close(outcome or Outcome(usage=USAGE))
    return out.take()


# -- the bytes ---------------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_stream() -> None:
    out = new(origin="chat:x:y")
    assert out.take() == b""
    out.text("t", 'Say "\u20ac"\n')
    assert out.take() == (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
        b'"model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":40,'
        b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"Say \\"\xe2\x82\xac\\"\\n"}}\n\n'
    )
    out.text_json("t", b"\\u20ac")
    assert out.take() == (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\u20ac"}}\n\n'
    )
    out.tool(0, "call_1", "f")
    out.args(0, '{"a":1')
    out.args_json(0, b"}")
    assert out.take() == (
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":'
        b'{"type":"tool_use","id":"call_1","name":"f","input":{}}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta",'
        b'"partial_json":"{\\"a\\":1"}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"}"}}\n\n'
    )
    out.close(Outcome(usage=USAGE))
    assert out.take() == (
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},'
        b'"usage":{"input_tokens":12,"cache_creation_input_tokens":2,"cache_read_input_tokens":3,"output_tokens":5,'
        b'"output_tokens_details":{"thinking_tokens":1},"server_tool_use":{"web_search_requests":1,"web_fetch_requests":0}}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_thinking_is_signed() -> None:
    events = streams.events(
        stream(lambda s: s.thinking("r", "hm"), lambda s: s.thinking_json("r", b"\\n"), origin="chat:x:y")
    )
    assert [event.get("delta") for event in events[2:5]] == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "thinking_delta", "thinking": "\n"},
        {"type": "signature_delta", "signature": signatures.make("t", "chat:x:y", {})},
    ]


def test_empty_deltas_are_not_sent() -> None:
    out = new()
    out.text("t", "x")
    out.take()
    for verb in (out.text, out.thinking):
        verb("t", "")
    out.text_json("t", b"")
    out.thinking_json("t", b"")
    out.args("t", "")
    assert out.take() == b""
    out.thinking("r", "x")
    out.take()
    out.thinking("r", "")
    out.thinking_json("r", b"")
    assert out.take() == b""


def test_held_text_is_written_in_its_form() -> None:
    events = streams.events(
        stream(
            lambda s: s.tool(0, "c", "f"),
            lambda s: s.args(0, '{"a"'),
            lambda s: s.text_json("t", b"\\u20ac"),
            lambda s: s.text("t", ""),
            lambda s: s.text("t", "x"),
            lambda s: s.text_json("t", b"\\n"),
            lambda s: s.args(0, ":1}"),
        )
    )
    assert streams.text_of(streams.accumulate(events)) == "\u20acx\n"


def test_a_string_that_json_cannot_hold_is_mended_everywhere() -> None:
    half = "\ud83d"
    data = stream(
        lambda s: s.thinking("r", "x"),
        lambda s: s.thinking("r", half),
        lambda s: s.signature("r", "details", {half: half}),
        lambda s: s.text("t", half),
        lambda s: s.text("t", f"a{half}"),
        lambda s: s.citation("t", {"cited_text": half}),
        lambda s: s.tool(0, half, half),
        lambda s: s.args(0, '{"a": "'),
        lambda s: s.args(0, half + '"}'),
        lambda s: s.server_tool("s", half, half, {half: half}),
        lambda s: s.server_result("s2", "x_tool_result", half, [half]),
        outcome=Outcome(reason="stop_sequence", stop_sequence=half, stop_details={"x": half}),
    )
    text = data.decode()
    assert text.count("\ufffd") >= 9
    for line in text.split("\n"):
        if line.startswith("data: "):
            orjson.loads(line[6:])


def test_a_result_too_deep_to_be_written() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    events = streams.events(stream(lambda s: s.server_result("s", "x_tool_result", "id", deep)))
    assert events[1]["content_block"]["content"]


# -- message_start and the end -----------------------------------------------------------------------------------------


def test_begin_comes_once() -> None:
    out = new()
    assert not out.has_begun
    out.begin()
    out.begin()
    assert out.has_begun
    assert not out.has_delivered
    assert out.take().count(b"event: ") == 1
    out.text("t", "x")
    assert out.has_delivered
    out.close(Outcome(usage=USAGE))
    out.close(Outcome(usage=USAGE))
    assert b"message_start" not in out.take()


def test_the_estimate_stands_where_no_usage_came() -> None:
    message = streams.accumulate(streams.events(stream(outcome=Outcome(usage=None))))
    assert message["usage"]["input_tokens"] == 40
    assert message["usage"]["output_tokens"] == 0


def test_input_is_never_zero() -> None:
    """An estimate of 50,000 followed by input 0 and 50,000 cached would count twice in Claude Code."""
    message = streams.accumulate(streams.events(stream(outcome=Outcome(usage=Usage(0, 5, cache_read=40)))))
    assert (message["usage"]["input_tokens"], message["usage"]["cache_read_input_tokens"]) == (1, 40)


@pytest.mark.parametrize(
    ("outcome", "delta"),
    [
        (Outcome(), {"stop_reason": "end_turn", "stop_sequence": None}),
        (Outcome("stop_sequence", stop_sequence="END"), {"stop_reason": "stop_sequence", "stop_sequence": "END"}),
        (Outcome("max_tokens", stop_sequence="END"), {"stop_reason": "max_tokens", "stop_sequence": None}),
        (
            Outcome("refusal", stop_details={"type": "refusal"}),
            {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"type": "refusal"}},
        ),
    ],
)
def test_message_delta(outcome: Outcome, delta: JSON) -> None:
    events = streams.events(stream(lambda s: s.text("t", "x"), outcome=outcome))
    assert events[-2]["delta"] == delta


def test_an_error_is_the_last_event_and_closes_nothing() -> None:
    out = new()
    out.tool(0, "c", "f")
    out.args(0, '{"a":1}')
    out.take()
    out.tool(1, "d", "g")
    out.take()
    out.tool(2, "e", "h")
    out.args(2, '{"b"')
    out.take()
    out.tool(3, "held", "h")
    out.args(3, "{}")
    out.close(Outcome(error=ApiError("overloaded", "busy")))
    assert (
        out.take() == b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
    )
    for late in (out.close, out.error):
        late(Outcome(usage=USAGE) if late == out.close else ApiError("api", "x"))  # type: ignore[arg-type]
    out.keepalive()
    assert out.take() == b""


def test_an_error_before_anything_is_the_only_event() -> None:
    out = new()
    out.error(ApiError("rate_limit", "slow"), "req_1", "overloaded_error")
    assert out.take() == (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"slow"},"request_id":"req_1"}\n\n'
    )
    assert not out.has_begun


def test_the_sinks_own_problem_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 100)
    events = streams.events(
        stream(lambda s: s.tool(0, "c", "f"), lambda s: s.args(0, "{" * 3), lambda s: s.text("t", "x" * 100))
    )
    assert events[-1]["type"] == "error"


# -- signs of life -----------------------------------------------------------------------------------------------------


def test_a_sign_of_life_is_a_ping_or_the_open_blocks_own_empty_delta() -> None:
    out = new()

    def sign() -> list[JSON]:
        out.take()
        out.keepalive()
        return [orjson.loads(line[6:]) for line in out.take().split(b"\n") if line.startswith(b"data: ")]

    ping = [{"type": "ping"}]
    assert sign() == ping
    out.begin()
    assert sign() == ping
    out.thinking("r", "x")
    assert sign() == [{"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": ""}}]
    out.text("t", "x")
    assert sign() == [{"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": ""}}]
    out.complete("t")
    assert sign() == ping
    out.tool(0, "c", "f")
    assert sign() == ping
    out.args(0, '{"a"')
    assert sign() == ping
    out.close(Outcome())
    assert sign() == []
    assert orjson.loads(PING.split(b"data: ")[1]) == {"type": "ping"}


def test_a_sign_of_life_in_hidden_thinking() -> None:
    out = new(thinking="omit")
    out.thinking("r", "secret")
    out.take()
    out.keepalive()
    assert b'"thinking_delta","thinking":""' in out.take()


# -- whole events of an upstream (messages/raw.py has its own test) ----------------------------------------------------


def raw_event(type: str, **body: Any) -> Sinks:
    event = {"type": type, **body}
    return lambda s: s.raw(type, event, orjson.dumps(event))


OPENING_USAGE = {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
OPENING = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "up-1",
    "content": [],
    "usage": {"input_tokens": 9, "output_tokens": 1},
}


def test_raw_events_are_passed_as_they_came() -> None:
    out = new()
    raw_event("message_start", message=OPENING)(out)
    assert out.take() == b""
    assert not out.has_begun
    raw_event("ping")(out)
    assert out.take() == b""
    out.raw("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}, b'{"as": "it came"}')
    assert out.has_begun
    assert out.has_delivered
    began = out.take()
    assert began.endswith(b'\n\nevent: content_block_start\ndata: {"as": "it came"}\n\n')
    assert orjson.loads(began.split(b"\n")[1][6:])["message"] == {
        **OPENING,
        "model": "claude-x",
        "usage": OPENING_USAGE,
    }
    out.keepalive()
    assert out.take() == (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}\n\n'
    )
    out.raw("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"type": "x"}}, b"")
    assert (
        out.take()
        == b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"x"}}\n\n'
    )
    raw_event(
        "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 5}, more=[1]
    )(out)
    assert out.take() == b""
    out.close(Outcome(reason="ignored"))
    assert out.take() == (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":5,"input_tokens":9,"cache_read_input_tokens":0,"cache_creation_input_tokens":0},"more":[1]}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    out.close(Outcome())
    raw_event("ping")(out)
    assert out.take() == b"", "nothing follows the end"


def test_a_raw_message_that_fails_ends_as_an_error() -> None:
    out = new()
    raw_event("message_start", message=OPENING)(out)
    raw_event("message_delta", delta={"stop_reason": "end_turn"}, usage={})(out)
    out.close(Outcome(error=ApiError("upstream", "cut")))
    assert out.take() == b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"cut"}}\n\n'


# -- any verbs ---------------------------------------------------------------------------------------------------------

small = st.sampled_from(["a", "b c", "\n", '"', "\\", "\u20ac", "\U0001f600", "{", "}", ""])
raw = small.map(lambda s: orjson.dumps(s)[1:-1])
fragments = st.sampled_from(["{", "}", '"', '"a"', ":", "1", "{}", '{"a":1}', '{"b":"', '\\"', "null", " ", "", ","])
ids_ = st.sampled_from(["", "call_0", "call_1", "functions.f:0", "x" * 70, "a2py_1_Y2FsbF8w"])
names = st.sampled_from(["", "f", "g"])
texts = st.sampled_from(["t", "u", "item_1"])
thoughts = st.sampled_from(["r", "item_2"])
calls = st.sampled_from([0, 1, 2, "fc_1"])
json_value = st.dictionaries(small, small | st.integers(0, 9), max_size=2)


def verb(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *arguments)


hits = st.fixed_dictionaries(
    {
        "type": st.just("web_search_result"),
        "title": small,
        "url": small,
        "encrypted_content": small,
        "page_age": st.none() | small,
    }
)
citations = st.fixed_dictionaries(
    {
        "type": st.just("web_search_result_location"),
        "cited_text": small,
        "encrypted_index": small,
        "title": small,
        "url": small,
    }
)
verbs = st.lists(
    st.one_of(
        verb("text", texts, small),
        verb("text_json", texts, raw),
        verb("thinking", thoughts, small),
        verb("thinking_json", thoughts, raw),
        verb("signature", thoughts, st.sampled_from(["details", "gemini"]), json_value),
        verb("tool", calls, ids_, names),
        verb("tool", calls, ids_, st.just("f")),
        verb("args", calls, fragments),
        verb("args", calls, fragments),
        verb("args_json", calls, fragments.map(lambda s: orjson.dumps(s)[1:-1])),
        verb("complete", calls | texts | thoughts),
        verb(
            "server_tool",
            st.just("s"),
            st.uuids().map(lambda u: f"srvtoolu_{u.hex}"),
            st.just("web_search"),
            json_value,
        ),
        verb(
            "server_result",
            st.just("s"),
            st.just("web_search_tool_result"),
            st.just("srvtoolu_1"),
            st.lists(hits, max_size=2),
        ),
        verb("citation", texts, citations),
    ),
    max_size=30,
)
reasons = st.sampled_from(["end_turn", "tool_use", "stop_sequence", "max_tokens", "refusal", "pause_turn"])


def strip_signatures(message: JSON) -> JSON:
    return {
        **message,
        "content": [{k: v for k, v in block.items() if k != "signature"} for block in message["content"]],
    }


@settings(deadline=None)
@given(
    verbs,
    reasons,
    st.sampled_from(["show", "omit", "none"]),
    st.frozensets(st.sampled_from(["call_0", "a2py_2_Y2FsbF8w"])),
)
def test_any_verbs_give_one_wellformed_message_in_both_forms(
    sequence: list[tuple[Any, ...]], reason: str, mode: str, history_ids: frozenset[str]
) -> None:
    out = new(origin="chat:x:y", thinking=mode, history_ids=history_ids)
    whole = Reply("msg_1", "claude-x", "chat:x:y", mode, history_ids)
    data = b""
    for name, *arguments in sequence:
        getattr(out, name)(*arguments)
        getattr(whole, name)(*arguments)
        data += out.take()
        streams.events(data, whole=False)
    sequence_word = "END" if reason == "stop_sequence" else None
    out.close(Outcome(reason=reason, usage=USAGE, stop_sequence=sequence_word))
    data += out.take()
    events = streams.events(data)
    message = streams.accumulate(events)
    reply = whole.message(Outcome(reason=reason, usage=USAGE, stop_sequence=sequence_word), Usage())
    assert orjson.loads(orjson.dumps(reply)) == message
    ids = [block["id"] for block in streams.tools_of(message)]
    assert not history_ids & set(ids)
    if not any("__unparsedToolInput" in block["input"] for block in streams.tools_of(message)):
        sdk_message = {k: v for k, v in streams.sdk_message(data).items() if v is not None or k in message}
        assert strip_signatures(sdk_message) == strip_signatures(message)
    if mode == "none":
        assert not streams.text_of(message, "thinking")


@settings(deadline=None)
@given(verbs, st.booleans())
def test_an_error_after_any_verbs_completes_nothing(sequence: list[tuple[Any, ...]], late: bool) -> None:
    out, same = new(), new()
    for name, *arguments in sequence:
        getattr(out, name)(*arguments)
        getattr(same, name)(*arguments)
    before = same.take()
    out.close(Outcome(error=ApiError("upstream", "cut")))
    data = out.take()
    assert data.startswith(before)
    events = streams.events(data)
    assert len(events) == before.count(b"event: ") + 1
    assert events[-1]["type"] == "error"


def test_event_names_its_type() -> None:
    assert writer.event("x", {"a": 1}) == b'event: x\ndata: {"type":"x","a":1}\n\n'
