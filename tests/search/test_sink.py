"""One hop: which call is a search, and in which order the client sees what.

Knows: the verbs of `Sink`. Must not know: upstream formats.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.reply import Reply
from a2py.messages.types import Outcome, Usage
from a2py.search.page import Page
from a2py.search.sink import ARGUMENTS, CALLS, HopSink, SearchCall

PAGES = {1: Page("https://a.example", "A", "s")}


class Stage:
    """A hop into a reply. `content`: the client's blocks once the hop has ended; `turn`: what was recorded."""

    def __init__(self, hop: int = 0, pages: dict[int, Page] | None = None) -> None:
        self.reply, self.record = Reply("msg_1", "m"), Reply("msg_1", "m")
        count = iter(range(100))
        self.sink = HopSink(
            self.reply, self.record, "web_search", hop, pages or {}, lambda id: f"srvtoolu_{next(count)}"
        )

    def content(self) -> list[dict[str, Any]]:
        self.sink.end()
        content: list[dict[str, Any]] = self.reply.message(Outcome("tool_use"), Usage())["content"]
        return content

    def turn(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = self.record.message(Outcome("tool_use"), Usage())["content"]
        return content


def types(content: list[dict[str, Any]]) -> list[str]:
    return [block["type"] for block in content]


def test_a_search_is_shown_before_what_comes_behind_it() -> None:
    stage = Stage()
    sink = stage.sink
    sink.text("t", "Look. ")
    sink.tool(0, "call_1", "web_search")
    sink.args(0, '{"que')
    sink.args_json(0, b'ry\\": 1}'.replace(b"\\", b""))
    sink.thinking("r", "Hm.")
    sink.text_json("t", b"And so.")
    content = stage.content()
    assert types(content) == ["text", "server_tool_use", "thinking", "text"]
    assert content[1]["input"] == {}, "1 is no query"
    assert types(stage.turn()) == ["text", "tool_use", "thinking", "text"]


def test_more_searches_than_a_turn_may_have_are_a_flood() -> None:
    sink = Stage().sink
    for n in range(CALLS):
        sink.tool(n, f"call_{n}", "web_search")
    assert len(sink.calls) == CALLS and not sink.is_flooded
    sink.tool(CALLS, "one_more", "web_search")
    assert len(sink.calls) == CALLS and sink.is_flooded


def test_pieces_of_json_are_read_as_text() -> None:
    stage = Stage()
    stage.sink.tool(0, "call_1", "web_search")
    stage.sink.args_json(0, rb"{\"query\": \"\u00e4\"}")
    assert stage.content()[0]["input"] == {"query": "ä"}


def test_a_name_that_comes_late() -> None:
    """What came before it is kept, and goes where the name says."""
    stage = Stage()
    sink = stage.sink
    sink.args(0, '{"query": "a"}')
    sink.tool(0, "call_1", "")
    sink.args(1, "{}")
    sink.tool(1, "", "f")
    sink.tool(1, "call_2", "f")
    sink.tool(0, "call_1", "web_search")
    sink.tool(0, "call_9", "web_search")
    sink.complete(0)
    sink.complete(1)
    content = stage.content()
    assert types(content) == ["tool_use", "server_tool_use"]
    assert content[0]["name"] == "f" and content[1]["input"] == {"query": "a"}
    assert [call.id for call in sink.calls] == ["call_1"] and sink.has_other_calls


def test_a_call_without_a_name_is_the_replys_business() -> None:
    stage = Stage()
    stage.sink.args(0, '{"a": 1}')
    stage.sink.complete(0)
    assert types(stage.content()) == ["text"] and stage.sink.has_other_calls


def test_beside_a_search_a_call_without_a_name_is_left_out() -> None:
    """It would end the reply: nobody answers it, and the model would not get its results."""
    stage = Stage()
    stage.sink.tool(0, "call_1", "")
    stage.sink.args(0, '{"a": 1}')
    stage.sink.tool(1, "call_2", "web_search")
    stage.sink.args(1, '{"query": "a"}')
    assert types(stage.content()) == ["server_tool_use"]
    assert stage.sink.has_lost_call and not stage.sink.has_other_calls
    assert [block["id"] for block in stage.turn()] == ["call_2"]


def test_searches_in_the_order_in_which_they_began() -> None:
    stage = Stage()
    sink = stage.sink
    sink.tool(0, "call_1", "")
    sink.tool(1, "call_2", "web_search")
    sink.args(1, '{"query": "two"}')
    sink.tool(0, "", "web_search")
    sink.args(0, '{"query": "one"}')
    assert len(stage.content()) == 2
    assert [(call.id, call.query) for call in sink.calls] == [("call_1", "one"), ("call_2", "two")]
    assert [block["id"] for block in stage.turn()] == ["call_1", "call_2"]


def test_arguments_that_do_not_end() -> None:
    stage = Stage()
    stage.sink.tool(0, "call_1", "web_search")
    stage.sink.args(0, '{"query": "a')
    stage.sink.text("t", "more")
    content = stage.content()
    assert types(content) == ["text", "server_tool_use"] and content[1]["input"] == {}


def test_arguments_have_a_limit_and_may_be_encoded_twice() -> None:
    call = SearchCall("a")
    for _ in range(10):
        call.add("x" * ARGUMENTS)
    assert sum(map(len, call.parts)) <= ARGUMENTS and not call.parse()
    later = SearchCall("a")
    later.add('{"query"')
    assert not later.parse() and not later.parse()
    later.add(': "a"}')
    assert later.parse() and later.parse() and later.query == "a", "more arguments are read"
    twice = SearchCall("a")
    twice.add('"{\\"query\\": \\"a\\"}"')
    assert twice.parse() and twice.query == "a"
    deep = SearchCall("a")
    deep.add("[" * 5000)
    assert deep.parse() is False or deep.query == ""


def test_arguments_without_a_name_are_bounded_by_the_reply() -> None:
    stage = Stage()
    for _ in range(3):
        stage.sink.args(0, "x" * (ARGUMENTS // 2))
    stage.sink.tool(0, "a", "f")
    stage.sink.args(1, "{}")
    assert stage.sink.has_other_calls
    assert sum(getattr(kind, "size", 0) for kind in stage.sink._kinds.values()) < ARGUMENTS


def test_keys_of_a_later_hop_are_its_own() -> None:
    reply, record = Reply("msg_1", "m"), Reply("msg_1", "m")
    for hop in range(2):
        sink = HopSink(reply, record, "web_search", hop, {}, lambda id: id)
        sink.tool(0, f"call_{hop}", "f")
        sink.args(0, "{}")
        sink.complete(0)
        sink.signature("r", "t", {})
    content = reply.message(Outcome("tool_use"), Usage())["content"]
    assert types(content) == ["tool_use", "thinking", "tool_use", "thinking"]


def test_what_an_upstream_finds_itself_passes() -> None:
    stage = Stage()
    sink = stage.sink
    sink.reasoning_field("reasoning")
    sink.thinking_json("r", b"Hm.")
    sink.server_tool("s", "srvtoolu_x", "web_search", {"query": "a"})
    sink.server_result("s2", "web_search_tool_result", "srvtoolu_x", [])
    sink.text("t", "Hi")
    sink.citation("t", {"type": "x"})
    assert sink.around("t") is None
    content = stage.content()
    assert types(content) == ["thinking", "server_tool_use", "web_search_tool_result", "text"] == types(stage.turn())
    assert content[3]["citations"] == [{"type": "x"}]


def test_cited_pages() -> None:
    stage = Stage(1, PAGES)
    for piece in ("so [", "1], not [2]"):
        stage.sink.text("t", piece)
    stage.sink.text_json("u", b"again [1]")
    content = stage.content()
    assert [len(block["citations"]) for block in content] == [1, 1]
    assert "citations" not in stage.turn()[0]


def raw(stage: Stage, type: str, **event: Any) -> None:
    stage.sink.raw(type, {"type": type, **event}, b"")


def begin(stage: Stage) -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    raw(stage, "message_start", message={**message, "stop_reason": None, "stop_sequence": None})


def block(stage: Stage, index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> None:
    raw(stage, "content_block_start", index=index, content_block=start)
    for delta in deltas:
        raw(stage, "content_block_delta", index=index, delta=delta)
    raw(stage, "content_block_stop", index=index)


def test_whole_events() -> None:
    stage = Stage(0, PAGES)
    begin(stage)
    block(stage, 0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "so [1]"}, {"type": "other"})
    use = {"type": "tool_use", "id": "toolu_1", "name": "web_search", "input": {}}
    part = {"type": "input_json_delta", "partial_json": '{"query": "a"}'}
    block(stage, 1, use, {"type": "other"}, part)
    block(stage, 2, {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}, part)
    raw(stage, "ping")
    raw(stage, "message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 3})
    assert stage.sink.closing is not None and stage.sink.has_other_calls
    content = stage.content()
    assert types(content) == ["text", "server_tool_use", "tool_use"] and content[1]["input"] == {"query": "a"}
    assert [citation["url"] for citation in content[0]["citations"]] == ["https://a.example"]
    assert types(stage.turn()) == ["text", "tool_use", "tool_use"]


def test_a_later_hop_begins_no_message() -> None:
    stage = Stage(1)
    begin(stage)
    assert stage.content()[0]["type"] == "text" and stage.reply.message(Outcome(), Usage())["id"] == "msg_1"
