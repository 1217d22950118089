"""A hop's output depends on what the upstream sends, never on where it is split: the wires' contract holds for the sink
of a search, too, and a stream equals a whole reply."""

from __future__ import annotations

from typing import Any

import orjson

from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import Call, Outcome, Usage
from a2py.search.loop import begin
from a2py.search.page import Page
from a2py.wires import wire
from tests import streams


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


def chat(finish: str, *deltas: dict[str, Any]) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return sse(*chunks, end, {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})


def call(index: int, name: str, arguments: str, id: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}


HOPS = [
    chat(
        "tool_calls",
        {"reasoning_content": "Hm."},
        {"content": "Look: "},
        call(0, "web_search", '{"que', "c1"),
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ry": "a"}'}}]},
        call(1, "web_search", '{"query": "é"}', "c2"),
    ),
    chat(
        "stop", {"reasoning_content": "So."}, {"content": "A is ["}, {"content": "1], B is [2]. "}, {"content": "x[1]"}
    ),
]


def run(sink: Any, pieces: list[list[bytes]]) -> Outcome:
    """Decode the pieces of each hop into `sink`."""
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }
    loop = begin(Call(parse(orjson.dumps(body)), "msg_1", 0.0))
    assert loop is not None
    for hop in pieces:
        decoder = wire("chat").decoder(streams.upstream_request(tools=frozenset({"web_search"})), loop.open(sink, "o"))
        for piece in hop:
            decoder.feed(piece)
        outcome = decoder.close()
        searches = loop.end_hop(outcome)
        for search in searches:
            search.pages = [Page(f"https://{search.call.id}.example", "T", "S")]
        if searches:
            assert loop.add_results(outcome)
    return loop.finish(outcome)


def stream_message(pieces: list[list[bytes]]) -> dict[str, Any]:
    writer = streams.writer(origin="o")
    outcome = run(writer, pieces)
    writer.close(outcome)
    return streams.accumulate(streams.events(writer.take()))


def test_a_split_changes_nothing_and_a_stream_equals_a_whole_reply() -> None:
    reply = Reply("msg_1", "m", "o", "show")
    whole = reply.message(run(reply, [[hop] for hop in HOPS]), Usage())
    kinds = [block["type"] for block in whole["content"]]
    search_kinds = ["server_tool_use", "web_search_tool_result"]
    assert kinds == ["thinking", "text", "server_tool_use", *search_kinds, "web_search_tool_result", "thinking", "text"]
    assert [citation["url"] for citation in whole["content"][-1]["citations"]] == [
        "https://c1.example",
        "https://c2.example",
    ]
    for first in streams.splits(HOPS[0]):
        message = stream_message([first, [HOPS[1]]])
        assert message["content"] == whole["content"] and message["usage"] == whole["usage"]
    for second in streams.splits(HOPS[1]):
        message = stream_message([[HOPS[0]], second])
        assert message["content"] == whole["content"] and message["stop_reason"] == "end_turn"
