"""How hops add up to one message, and when there is another one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.messages import reply as reply_module
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import Call, Outcome, Usage
from a2py.search.loop import HOPS, Loop, begin
from a2py.search.page import Page
from a2py.search.sink import CALLS

TOOL: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


def call(**more: Any) -> Call:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": [TOOL], **more}
    return Call(parse(orjson.dumps(body)), "msg_1", 0.0)


class Stage:
    def __init__(self, **more: Any) -> None:
        loop = begin(call(**more))
        assert loop is not None
        self.loop: Loop = loop
        self.reply = Reply("msg_1", "m")

    def hop(self, *ids: str, arguments: str = '{"query": "a"}', outcome: Outcome | None = None) -> Any:
        """Run a hop that searches once for each id. Return (searches, whether another one follows, outcome)."""
        sink = self.loop.open(self.reply, "chat:p:m")
        for n, id in enumerate(ids):
            sink.tool(n, id, "web_search")
            sink.args(n, arguments)
        outcome = outcome or Outcome("tool_use", Usage(10, 2))
        searches = self.loop.end_hop(outcome)
        for search in searches:
            if search.query is not None:
                search.pages = [Page(f"https://a.example/{search.call.id}", "T", "S")]
        return searches, self.loop.add_results(outcome) if searches else False, outcome

    def message(self, outcome: Outcome) -> dict[str, Any]:
        return self.reply.message(self.loop.finish(outcome), Usage())


def test_no_loop_without_a_search() -> None:
    assert begin(call(tools=[])) is None


def test_hops_add_up() -> None:
    stage = Stage(tool_choice={"type": "any", "disable_parallel_tool_use": True})
    stage.hop("call_1", outcome=Outcome("tool_use", Usage(10, 2), notes=["one"], output_estimate=3))
    request = stage.loop.call.request
    assert request.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert request.body["messages"] == request.messages and len(request.messages) == 3
    assert request.messages[2]["content"][0]["tool_use_id"] == "call_1" and "call_1" in request.tool_ids
    stage.hop("call_2")
    sink = stage.loop.open(stage.reply, "chat:p:m")
    sink.text("t", "See [2].")
    outcome = Outcome("end_turn", None, notes=["two"], output_estimate=4)
    assert stage.loop.end_hop(outcome) == []
    message = stage.message(outcome)
    assert outcome.notes == ["one", "two"] and outcome.output_estimate == 7
    assert outcome.usage == Usage(20, 4, web_searches=2)
    assert message["content"][-1]["citations"][0]["url"] == "https://a.example/call_2"
    assert message["stop_reason"] == "end_turn"


def test_without_any_usage_there_is_none() -> None:
    stage = Stage()
    stage.loop.open(stage.reply, "")
    outcome = Outcome("end_turn")
    stage.loop.end_hop(outcome)
    assert stage.loop.finish(outcome).usage is None


def test_errors_of_a_call() -> None:
    stage = Stage()
    assert [search.error for search in stage.hop("a", arguments="{}")[0]] == ["invalid_tool_input"]
    assert [search.error for search in stage.hop("b", arguments='{"query": "%s"}' % ("x" * 2001))[0]] == [
        "query_too_long"
    ]
    assert [search.error for search in stage.hop("c", "d", "e")[0]] == ["", "", "max_uses_exceeded"]
    answers = stage.loop.call.request.messages[-1]["content"]
    assert [answer.get("is_error", False) for answer in answers] == [False, False, True]


def test_calls_without_ids_and_with_the_same_get_blocks_of_their_own() -> None:
    stage = Stage()
    searches, _, _ = stage.hop("", "")
    ids = [search.call.block_id for search in searches]
    assert ids == ["srvtoolu_msg_1", "srvtoolu_msg_1_2"]
    answers = stage.loop.call.request.messages[-1]["content"]
    assert len({answer["tool_use_id"] for answer in answers}) == 2


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "stop_sequence"])
def test_a_cut_reply_makes_no_search(reason: str) -> None:
    stage = Stage()
    sink = stage.loop.open(stage.reply, "")
    sink.tool(0, "a", "web_search")
    sink.args(0, '{"query": "a"}')
    sink.tool(1, "b", "web_search")  # shows the first
    sink.args(1, '{"query": "b')
    outcome = Outcome(reason, Usage(1, 1))
    assert stage.loop.end_hop(outcome) == []
    content = stage.message(outcome)["content"]
    assert [block["type"] for block in content] == ["server_tool_use", "web_search_tool_result"]
    assert content[1]["content"]["error_code"] == "unavailable"


def test_a_failed_reply_makes_no_search_and_no_result() -> None:
    from a2py.errors import ApiError

    stage = Stage()
    _, _, outcome = stage.hop("a", outcome=Outcome("tool_use", error=ApiError("upstream", "broken")))
    assert stage.loop.finish(outcome).error is not None and not stage.reply.count


def test_a_flood_of_searches_is_an_error() -> None:
    stage = Stage()
    searches, _, outcome = stage.hop(*map(str, range(CALLS + 1)))
    assert not searches and outcome.error is not None and "more than 256 searches" in outcome.error.message


def test_the_clients_calls_end_the_loop() -> None:
    stage = Stage()
    sink = stage.loop.open(stage.reply, "")
    sink.tool(0, "a", "web_search")
    sink.args(0, '{"query": "a"}')
    sink.tool(1, "b", "f")
    sink.args(1, "{}")
    outcome = Outcome("tool_use", Usage(1, 1))
    assert stage.loop.end_hop(outcome) and not stage.loop.add_results(outcome)
    assert stage.message(outcome)["stop_reason"] == "tool_use"


def test_the_last_hop_pauses() -> None:
    stage = Stage()
    for n in range(HOPS):
        _, goes_on, outcome = stage.hop(f"call_{n}")
        assert goes_on is (n < HOPS - 1)
    assert stage.message(outcome)["stop_reason"] == "pause_turn"


def test_a_turn_too_long_to_keep_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    sink = stage.loop.open(stage.reply, "")
    monkeypatch.setattr(reply_module, "REPLY_LIMIT", 10)
    sink._record.text("t", "x" * 100)
    sink.tool(0, "a", "web_search")
    sink.args(0, '{"query": "a"}')
    outcome = Outcome("tool_use", Usage(1, 1))
    stage.loop.end_hop(outcome)
    assert not stage.loop.add_results(outcome) and outcome.error is not None


def test_the_closing_event_of_an_upstream_that_speaks_anthropic() -> None:
    stage = Stage()
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    for n in range(HOPS):
        sink = stage.loop.open(stage.reply, "")
        start = {**message, "stop_reason": None, "stop_sequence": None}
        sink.raw("message_start", {"type": "message_start", "message": start}, b"")
        use = {"type": "tool_use", "id": f"toolu_{n}", "name": "web_search", "input": {}}
        sink.raw("content_block_start", {"type": "content_block_start", "index": 0, "content_block": use}, b"")
        delta = {"type": "input_json_delta", "partial_json": '{"query": "a"}'}
        sink.raw("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}, b"")
        sink.raw("content_block_stop", {"type": "content_block_stop", "index": 0}, b"")
        end = {"delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 2}}
        sink.raw("message_delta", {"type": "message_delta", **end}, b"")
        outcome = Outcome("tool_use", Usage(10, 2) if n else None)
        stage.loop.end_hop(outcome)
        stage.loop.add_results(outcome)
    whole = stage.message(outcome)
    assert whole["stop_reason"] == "pause_turn" and whole["usage"]["input_tokens"] == 90
    unknown = Stage()
    sink = unknown.loop.open(unknown.reply, "")
    sink.raw("message_start", {"type": "message_start", "message": {**message, "stop_reason": None}}, b"")
    sink.raw("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}, b"")
    outcome = Outcome("end_turn")
    unknown.loop.end_hop(outcome)
    assert unknown.message(outcome)["stop_reason"] == "end_turn"


def test_a_reply_that_broke_off_has_taken_what_its_hops_took() -> None:
    stage = Stage()
    assert stage.loop.sum_up(None) is None, "no hop has ended"
    for n in range(2):
        sink = stage.loop.open(stage.reply, "")
        sink.tool(0, f"c{n}", "web_search")
        sink.args(0, '{"query": "a"}')
        outcome = Outcome("tool_use", Usage(10, 2), output_estimate=5)
        stage.loop.end_hop(outcome)
        assert stage.loop.add_results(outcome)
    total = stage.loop.sum_up(None)
    assert total is not None and total.usage == Usage(20, 4, web_searches=2) and total.output_estimate == 10
    stage.loop.open(stage.reply, "")
    broken = stage.loop.sum_up(Outcome(error=ApiError("api", "cut"), usage=Usage(7), output_estimate=1))
    assert broken is not None and broken.usage == Usage(27, 4, web_searches=2) and broken.output_estimate == 11
    assert broken.error is not None
    whole = Stage()
    whole.loop.open(whole.reply, "")
    outcome = whole.loop.finish(Outcome("end_turn", Usage(1, 1)))
    assert whole.loop.sum_up(outcome) is outcome


def test_a_search_beside_a_call_without_a_name_goes_on() -> None:
    stage = Stage()
    sink = stage.loop.open(stage.reply, "")
    sink.args(0, "{}")
    sink.tool(1, "c", "web_search")
    sink.args(1, '{"query": "a"}')
    outcome = Outcome("tool_use")
    assert len(stage.loop.end_hop(outcome)) == 1 and stage.loop.add_results(outcome)
    assert outcome.notes == ["a tool call was left out: it has no name"]
