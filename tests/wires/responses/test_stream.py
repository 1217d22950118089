"""The Responses decoder beyond its goldens: what no server should send, limits, and the rules of matching repeated
items."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.messages import signatures
from a2py.messages.types import JSON, Outcome
from a2py.wires import wire
from a2py.wires.common import search
from a2py.wires.refusal.message import DEFAULT_ADVICE
from a2py.wires.responses import budget
from tests import streams

RESPONSES = wire("responses")
DONE: JSON = {
    "type": "response.completed",
    "response": {"status": "completed", "output": [], "usage": {"input_tokens": 9, "output_tokens": 4}},
}
MESSAGE: JSON = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
CALL: JSON = {"type": "function_call", "id": "f", "call_id": "c", "name": "read", "arguments": "{}"}


def sse(*events: Any) -> bytes:
    return b"".join(
        b"data: " + (event if isinstance(event, bytes) else orjson.dumps(event)) + b"\n\n" for event in events
    )


def message_of(*events: Any, **options: Any) -> JSON:
    return streams.check_contract(RESPONSES, streams.upstream_request(**options), sse(*events))


def verbs_of(*events: Any, **options: Any) -> tuple[list[tuple[Any, ...]], Outcome]:
    return streams.record(RESPONSES, streams.upstream_request(**options), sse(*events))


def text(delta: Any, **more: Any) -> JSON:
    return {
        "type": "response.output_text.delta",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
        "delta": delta,
        **more,
    }


def item(raw: Any, index: Any = 0) -> JSON:
    return {"type": "response.output_item.done", "output_index": index, "item": raw}


def texts(message: JSON) -> list[str]:
    return [block["text"] for block in message["content"] if block["type"] == "text"]


# -- what no server should send ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        b"1",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        b'{"type":7}',
        b'{"type":["response.completed"]}',
        b'{"type":"response.never_heard_of","error":{"message":"not ours"}}',
        text(None),
        text(7),
        text({"text": "x"}),
        text(""),
        {"type": "response.output_text.done", "item_id": "m", "text": None},
        {"type": "response.output_item.added", "item": None},
        item(None),
        item({}),
        item({"type": None}),
        item({"type": "message", "id": "m0", "content": None}, 7),
        item(
            {
                "type": "message",
                "id": "m0",
                "content": [None, 7, {"type": "output_text"}, {"type": "new_part", "text": "x"}],
            },
            7,
        ),
        item({"type": "reasoning", "id": "r0", "summary": None, "content": "x", "encrypted_content": 7}, 7),
        {"type": "response.content_part.done", "item_id": "m", "part": None},
        {"type": "response.content_part.done", "item_id": "m", "part": {"type": "audio"}},
        {"type": "response.output_text.annotation.added", "item_id": "m", "output_index": 0, "annotation": None},
        {
            "type": "response.output_text.annotation.added",
            "item_id": "m",
            "output_index": 0,
            "annotation": {"type": "url_citation", "url": ""},
        },
        {"type": "response.created"},
        {"type": "response.created", "response": 7},
    ],
    ids=repr,
)
def test_what_means_nothing_changes_nothing(odd: Any) -> None:
    plain = message_of(text("Hi", output_index=0), DONE)
    assert texts(plain) == ["Hi"]
    assert message_of(text("H"), odd, text("i"), DONE) == plain


def test_an_index_that_is_none_is_no_index() -> None:
    for index in (None, "0", True, -1, 1.5):
        assert texts(
            message_of(text("H", output_index=index), text("i", output_index=index, content_index=index), DONE)
        ) == ["Hi"]


def test_a_name_of_the_event_counts_where_the_data_has_no_type() -> None:
    data = b'event: response.output_text.delta\ndata: {"delta":"Hi"}\n\nevent: response.completed\ndata: {}\n\n'
    message = streams.check_contract(RESPONSES, streams.upstream_request(), data)
    assert (texts(message), message["stop_reason"]) == (["Hi"], "end_turn")


def test_an_error_that_says_nothing() -> None:
    assert message_of({"type": "error"})["error"]["message"]
    message = message_of({"type": "response.failed", "response": {}})["error"]["message"]
    assert message == f"the upstream failed without saying why. {DEFAULT_ADVICE}"
    assert message_of({"type": "response.failed", "response": {"error": {}}})["error"]["message"]


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_a_response_that_will_not_go_on(status: str) -> None:
    event = {"type": "response.done", "response": {"status": status, "output": [MESSAGE]}}
    assert message_of(text("H"), event)["error"]["type"] == "api_error"


@pytest.mark.parametrize("status", ["queued", "in_progress", "completed"])
@pytest.mark.parametrize(
    ("kind", "ends"),
    [("completed", "end_turn"), ("incomplete", "max_tokens"), ("failed", "api_error"), ("cancelled", "api_error")],
)
def test_a_terminal_event_outranks_the_status_of_the_beginning(kind: str, ends: str, status: str) -> None:
    message = message_of(text("H"), {"type": f"response.{kind}", "response": {"status": status, "output": []}})
    assert (message["error"]["type"] if "error" in message else message["stop_reason"]) == ends


def test_an_event_that_says_less_than_its_response() -> None:
    event = {"type": "response.completed", "response": {"status": "incomplete", "output": []}}
    assert message_of(text("H"), event)["stop_reason"] == "max_tokens"


def test_cancelled_by_its_name() -> None:
    assert "cancelled" in message_of({"type": "response.cancelled", "response": {}})["error"]["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status":"completed","output":[', "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "no response object"),
        (b'{"id":"chatcmpl-1","choices":[{"message":{"content":"Hi"}}]}', "no response object"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "Overloaded"),
    ],
)
def test_a_body_that_is_no_response(body: bytes, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        streams.unary(RESPONSES, streams.upstream_request(stream=False), body)


@pytest.mark.parametrize("form", ["%s", "[%s]", '{"response":%s}', " \n\ufeff%s"])
def test_forms_of_a_whole_response(form: str) -> None:
    """Bare, in a list of one (Gemini does that), in an envelope, after white space and a byte order mark."""
    body = orjson.dumps({"output": [MESSAGE]}).decode()
    message = streams.unary(RESPONSES, streams.upstream_request(stream=False), (form.replace("%s", body)).encode())
    assert (texts(message), message["stop_reason"]) == (["Hi"], "end_turn")


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2py.wires.common.intake.BODY_LIMIT", 100)
    assert "larger than" in message_of_bytes(b'{"output":"' + b"x" * 200)["error"]["message"]
    monkeypatch.setattr("a2py.sse.LINE_LIMIT", 100)
    assert "larger than" in message_of_bytes(b"data: " + b"x" * 200)["error"]["message"]


def message_of_bytes(data: bytes) -> JSON:
    return streams.check_contract(RESPONSES, streams.upstream_request(), data)


def test_a_part_too_long_to_keep_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "KEPT_LIMIT", 5)
    repeat = item({**MESSAGE, "content": [{"type": "output_text", "text": "Hello, you"}]})
    assert texts(message_of(text("Hello"), text(", "), text("you"), repeat, DONE)) == ["Hello, you"]
    assert texts(message_of(text("Hello, "), repeat, DONE)) == ["Hello, "]


# -- one item, however it is mentioned ---------------------------------------------------------------------------------


def test_a_repetition_that_contradicts_is_noted() -> None:
    _, outcome = verbs_of(text("Hi"), item({**MESSAGE, "content": [{"type": "output_text", "text": "Good day"}]}), DONE)
    assert outcome.error is None
    assert outcome.notes == ["the upstream's final text differs from what it streamed"]


def test_a_repetition_that_is_shorter_or_empty_is_none() -> None:
    _, outcome = verbs_of(text("Hi"), item({**MESSAGE, "content": [{"type": "output_text", "text": ""}]}), DONE)
    assert outcome.notes == []


def test_an_item_that_is_done_twice() -> None:
    message = message_of(
        item(MESSAGE), item(MESSAGE), item(CALL, 1), item(CALL, 1), {**DONE, "response": {"output": [MESSAGE, CALL, 7]}}
    )
    assert (texts(message), len(streams.tools_of(message))) == (["Hi"], 1)


def test_a_delta_behind_the_end_of_its_item() -> None:
    """By its own id it still belongs there; by another id it is another item."""
    message = message_of(item(MESSAGE), text(" there"), DONE)
    assert texts(message) == ["Hi", " there"]
    other = message_of(item(MESSAGE), text("And", item_id="m2"), DONE)
    assert texts(other) == ["Hi", "And"]


def test_deltas_of_another_kind_on_a_known_id() -> None:
    message = message_of(
        text("Hi", item_id="x"),
        {"type": "response.function_call_arguments.delta", "item_id": "x", "delta": "{}"},
        item({**CALL, "id": "x"}, None),
        DONE,
    )
    assert texts(message) == ["Hi"]
    assert [tool["name"] for tool in streams.tools_of(message)] == ["read"]


def test_two_calls_with_one_id_but_two_call_ids() -> None:
    second = {**CALL, "call_id": "c2", "arguments": '{"path":"b"}'}
    final = {"type": "response.completed", "response": {"output": [CALL, second]}}
    for events in ((item(CALL), item(second), DONE), (item(CALL), item(second), final), (item(CALL), final), (final,)):
        assert [(tool["id"], tool["input"]) for tool in streams.tools_of(message_of(*events))] == [
            ("c", {}),
            ("c2", {"path": "b"}),
        ]


def test_the_final_object_in_another_order() -> None:
    """Items are matched by id first, the rest by their order."""
    other = {**MESSAGE, "id": "m2", "content": [{"type": "output_text", "text": "there"}]}
    final = {
        "type": "response.completed",
        "response": {"output": [other, {**MESSAGE, "id": "unknown"}, {**MESSAGE, "id": "new", "content": "new"}]},
    }
    message = message_of(text("Hi"), text("the", item_id="m2", output_index=1), final)
    assert texts(message) == ["Hi", "there", "new"]


def test_a_call_whose_name_comes_late() -> None:
    start = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "id": "f"}}
    verbs, _ = verbs_of(start, item({**CALL, "arguments": {"path": "a"}}), DONE)
    assert verbs == [("tool", 0, "f", ""), ("tool", 0, "c", "read"), ("args", 0, '{"path":"a"}'), ("complete", 0)]


def test_arguments_null() -> None:
    message = message_of(item({**CALL, "arguments": None}), DONE)
    assert streams.tools_of(message)[0]["input"] == {}


def test_a_custom_call_that_was_cut() -> None:
    raw = {
        "type": "custom_tool_call",
        "id": "x",
        "call_id": "c",
        "name": "patch",
        "input": "***",
        "status": "incomplete",
    }
    final = {
        "type": "response.incomplete",
        "response": {"output": [raw], "incomplete_details": {"reason": "max_output_tokens"}},
    }
    assert streams.tools_of(message_of(item(raw), final)) == []


def test_summary_and_raw_text_of_one_item_count_once() -> None:
    raw = {
        "type": "reasoning",
        "id": "r",
        "summary": [{"type": "summary_text", "text": "Short."}],
        "content": [{"type": "reasoning_text", "text": "Long."}],
    }
    assert streams.text_of(message_of(item(raw), DONE), "thinking") == "Short."
    delta = {
        "type": "response.reasoning_text.delta",
        "item_id": "r",
        "output_index": 0,
        "content_index": 0,
        "delta": "Lo",
    }
    assert streams.text_of(message_of(delta, item(raw), DONE), "thinking") == "Long."


def test_the_vendors_state_of_raw_text() -> None:
    """OpenRouter's Claude signs its text (`signature`); the text itself travels in the block."""
    raw = {
        "type": "reasoning",
        "id": "r",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
        "signature": "sig",
        "format": "anthropic-claude-v1",
    }
    block = message_of(item(raw), item(MESSAGE, 1), DONE)["content"][0]
    signature = signatures.read(block["signature"])
    assert signature is not None
    assert (block["thinking"], signature.state) == (
        "Hm.",
        {"item": {"id": "r", "signature": "sig", "format": "anthropic-claude-v1"}, "raw": True},
    )


def test_reasoning_without_text_or_state_is_nothing() -> None:
    verbs, _ = verbs_of(
        item({"type": "reasoning", "id": "r", "summary": [], "encrypted_content": ""}), item(MESSAGE, 1), DONE
    )
    assert [verb for verb, *_ in verbs] == ["text", "complete"]


def test_search_ids_that_were_made_to_collide() -> None:
    """An endless loop until 2026-11: each next id of the last search, cut to its end, is another's."""
    call = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
    ids = ["x_"]
    while search.make_block_id(ids[-1]) not in map(search.make_block_id, ids[:-1]):
        ids.append(f"{search.make_block_id(ids[-1])}_60")
    items = [item({**call, "id": id}, n) for n, id in enumerate(ids)]
    blocks = message_of(*items, item({**call, "id": "x."}, 60), DONE)["content"]
    block_ids = [block["id"] for block in blocks if block["type"] == "server_tool_use"]
    assert len(set(block_ids)) == len(block_ids) == len(ids) + 1


def test_search_ids_stay_apart() -> None:
    call = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
    ids = ["ws.1", "ws_1", "x" * 100 + "y", "", "", "a__8", "a__8_2", "a.", "a_"]
    items = [item({**call, "id": id} if id else call, n) for n, id in enumerate(ids)]
    blocks = message_of(*items, DONE)["content"]
    block_ids = [block["id"] for block in blocks if block["type"] == "server_tool_use"]
    assert len(set(block_ids)) == len(ids)
    assert block_ids[:2] == ["srvtoolu_ws_1", "srvtoolu_ws_1_1"]
    assert [block["tool_use_id"] for block in blocks if block["type"] == "web_search_tool_result"] == block_ids


def test_a_search_without_an_action() -> None:
    blocks = message_of(
        item(
            {
                "type": "web_search_call",
                "id": "w",
                "status": "completed",
                "action": {"type": "search", "queries": [7], "sources": "x"},
            }
        ),
        DONE,
    )
    assert [block.get("input") or block.get("content") for block in blocks["content"]] == [{"query": ""}, []]


def test_sources_of_any_form() -> None:
    raw = {
        "type": "web_search_call",
        "id": "w",
        "results": ["https://a.example", {"url": "https://b.example"}, {"url": "https://b.example"}, 7],
    }
    pages = message_of(item(raw), DONE)["content"][1]["content"]
    assert [page["url"] for page in pages] == ["https://a.example", "https://b.example"]


def test_a_search_in_a_reply_that_is_cut_has_no_result() -> None:
    raw = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}}
    final = {"type": "response.incomplete", "response": {"incomplete_details": None}}
    message = message_of(item(raw), final)
    assert ([block["type"] for block in message["content"]], message["stop_reason"]) == (
        ["server_tool_use"],
        "max_tokens",
    )


# -- filters -----------------------------------------------------------------------------------------------------------


def test_held_text_comes_ahead_of_what_follows_it() -> None:
    refusal = {"type": "response.refusal.delta", "item_id": "m", "output_index": 0, "content_index": 1, "delta": "No."}
    search = item({"type": "web_search_call", "id": "w", "action": {"url": "https://a.example"}}, 5)
    for follower in (
        refusal,
        search,
        item(CALL, 5),
        text("B", content_index=1),
        text("B", item_id="m2", output_index=4),
    ):
        message = message_of(text("A STO"), follower, DONE, stops=("STOP",))
        assert message["content"][0] == {"type": "text", "text": "A STO"}
        assert len(message["content"]) > 1


def test_a_stop_sequence_over_two_parts_is_none() -> None:
    message = message_of(text("A ST"), text("OP", content_index=1), DONE, stops=("STOP",))
    assert (texts(message), message["stop_reason"]) == (["A ST", "OP"], "end_turn")


def test_a_stop_sequence_ends_the_reading() -> None:
    for event in (text("STOP more"), item({**MESSAGE, "content": [{"type": "output_text", "text": "A STOP more"}]})):
        decoder = RESPONSES.decoder(streams.upstream_request(stops=("STOP",)), streams.writer())
        decoder.feed(sse(text("A "), event))
        assert decoder.is_finished
        outcome = decoder.close()
        assert (outcome.reason, outcome.stop_sequence, outcome.usage) == ("stop_sequence", "STOP", None)
        assert outcome.output_estimate > 0


def test_an_unfinished_stop_sequence_at_an_early_end() -> None:
    message = message_of(text("A STO"), stops=("STOP",))
    assert (texts(message), message["error"]["message"]) == (
        ["A STO"],
        f"the upstream closed the stream early. {DEFAULT_ADVICE}",
    )


def test_think_tags_with_stops() -> None:
    message = message_of(text("<think>Hm. STOP</think>A STOP b"), DONE, think_tags=True, stops=("STOP",))
    assert (streams.text_of(message, "thinking"), texts(message), message["stop_sequence"]) == (
        "Hm. STOP",
        ["A "],
        "STOP",
    )


def test_a_template_that_opens_the_tag_itself() -> None:
    message = message_of(text("Hm.</think>Hi"), DONE, think_open=True)
    assert (streams.text_of(message, "thinking"), texts(message)) == ("Hm.", ["Hi"])


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_reply_that_used_up_its_limit() -> None:
    """llama.cpp says `completed` where max_output_tokens cut the reply."""
    cut = item({**CALL, "arguments": "", "status": "completed"}, 1)
    message = message_of(text("Hi"), cut, DONE, limit=4)
    assert (message["stop_reason"], streams.tools_of(message)) == ("max_tokens", [])
    message = message_of(text("Hi"), cut, DONE, limit=5)
    assert (message["stop_reason"], [tool["input"] for tool in streams.tools_of(message)]) == ("tool_use", [{}])
    assert message_of(text("Hi"), {**DONE, "response": {}}, limit=4)["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("max_output_tokens", "max_tokens"), ("content_filter", "refusal"), ("new", "max_tokens"), (7, "max_tokens")],
)
def test_incomplete(reason: Any, stop: str) -> None:
    event = {
        "type": "response.incomplete",
        "response": {"status": "incomplete", "incomplete_details": {"reason": reason}},
    }
    message = message_of(text("Hi"), event)
    assert message["stop_reason"] == stop
    assert ("stop_details" in message) == (stop == "refusal")


def test_noise_is_skipped() -> None:
    _, outcome = verbs_of(text("Hi"), b"keep-alive", item(MESSAGE), DONE)
    assert (outcome.error, outcome.notes) == (None, ["1 bad line(s) of the upstream skipped"])


@pytest.mark.parametrize(
    "events",
    [
        (text("Hi"), b"{", DONE),
        (text("Hi"), b"{", item(MESSAGE), DONE),  # though the item repeats its text
        (text("Hi"), item(MESSAGE), b" {oops"),
    ],
)
def test_a_line_that_begins_like_an_event_is_damage(events: tuple[Any, ...]) -> None:
    assert message_of(*events)["error"]["message"] == (
        f"the upstream sent a damaged stream: a part of it is not JSON. {DEFAULT_ADVICE}"
    )


def test_close_is_idempotent() -> None:
    decoder = RESPONSES.decoder(streams.upstream_request(), streams.writer())
    decoder.feed(sse(text("Hi"), DONE))
    first = decoder.close()
    decoder.feed(sse(text("late")))
    assert decoder.close() is first
    assert first.usage is not None
    assert (first.usage.input, first.usage.output) == (9, 4)


def test_the_upstreams_model_goes_to_the_log() -> None:
    _, outcome = verbs_of(
        {"type": "response.created", "response": {"model": "gpt-x", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        text("Hi"),
    )
    assert (outcome.model, outcome.usage and outcome.usage.input) == ("gpt-x", 3)


def test_a_completed_reply_without_anything_is_an_empty_turn() -> None:
    assert message_of(DONE)["content"] == [{"type": "text", "text": ""}]


def test_hosted_items_are_told_once_and_only_alone() -> None:
    shell = [item({"type": "shell_call", "id": f"s{n}", "call_id": "c"}, n) for n in range(3)]
    assert texts(message_of(*shell, DONE)) == ["[shell_call]"]
    verbs, outcome = verbs_of(*shell, text("Hi", output_index=9), DONE)
    assert verbs == [("text", "9.text.0", "Hi")]
    assert outcome.notes == ["hosted items without a block: shell_call"]
