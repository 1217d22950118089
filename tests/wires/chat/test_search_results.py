"""A web search that a chat-completions upstream runs by itself: what no golden shows, and recordings as if asked
for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.wires import wire
from a2py.wires.chat.fastpath import FastDecoder
from a2py.wires.chat.search_results import SearchDecoder, make_decoder
from tests import golden, streams
from tests.recordings import Recording, recordings

CHAT = wire("chat")
REQUEST = streams.upstream_request(search="why?")
OPENROUTER: JSON = {"provider": "openrouter", "model": "z-ai/glm-5.2"}
SEARCH: JSON = {"type": "web_search_20250305", "name": "web_search"}


def chunk(delta: Any, **more: Any) -> JSON:
    return {"id": "gen-1", "choices": [{"index": 0, "delta": delta}], **more}


DONE: JSON = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def message_of(*chunks: Any) -> JSON:
    data = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)
    return streams.check_contract(CHAT, REQUEST, data + b"data: [DONE]\n\n")


def page(url: Any, title: Any = "T", **more: Any) -> JSON:
    return {"type": "url_citation", "url_citation": {"url": url, "title": title, **more}}


def kinds(message: JSON) -> list[str]:
    return [block["type"] for block in message["content"]]


def test_only_a_search_takes_the_slower_decoder() -> None:
    sink = streams.writer()
    assert type(make_decoder(REQUEST, sink)) is SearchDecoder
    assert type(make_decoder(streams.upstream_request(), sink)) is FastDecoder


@pytest.mark.parametrize(
    "odd",
    [
        {"citations": "x", "search_results": 7},
        {"citations": [None, 7, ""], "search_results": [None, {"url": 7}]},
        {
            "choices": [
                7,
                {
                    "index": 0,
                    "delta": {"annotations": "x"},
                    "annotations": [None, 7, {"type": "file"}, page(""), page(None)],
                },
            ]
        },
        {"choices": [{"index": 0, "delta": "x"}]},
        {"choices": [{"index": 1, "delta": {"annotations": [page("https://other")]}}]},
        {"choices": 7},
        {"id": 7, "choices": []},
    ],
    ids=repr,
)
def test_what_names_no_page(odd: JSON) -> None:
    assert message_of(chunk({"content": "Hi"}), odd, DONE)["content"] == [{"type": "text", "text": "Hi"}]


def test_each_page_and_each_citation_once() -> None:
    twice = [
        page("https://a", "A", start_index=1),
        page("https://a", "A", start_index=1),
        page("https://a", "A", start_index=5),
    ]
    message = message_of(chunk({"content": "Hi"}), chunk({"annotations": twice}), chunk({"annotations": twice}), DONE)
    assert kinds(message) == ["text", "server_tool_use", "web_search_tool_result"]
    assert [result["url"] for result in message["content"][2]["content"]] == ["https://a"]
    assert len(message["content"][0]["citations"]) == 2


def test_pages_that_come_late_are_a_second_call() -> None:
    message = message_of(
        chunk({}, citations=["https://a"]), chunk({"content": "Hi"}), chunk({"annotations": [page("https://b")]}), DONE
    )
    assert kinds(message) == [
        "server_tool_use",
        "web_search_tool_result",
        "text",
        "server_tool_use",
        "web_search_tool_result",
    ]
    assert message["content"][0]["id"] != message["content"][3]["id"]
    assert message["content"][3]["input"] == {"query": "why?"}


def test_pages_without_text_and_without_an_id() -> None:
    bare = {"choices": [{"index": 0, "delta": {"annotations": [page("https://a")]}}]}
    message = message_of(bare, DONE)
    assert kinds(message) == ["server_tool_use", "web_search_tool_result"]
    assert message["content"][0]["id"] == "srvtoolu_web_search_1"


def test_a_call_behind_a_search() -> None:
    call = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]}
    message = message_of(chunk({"content": "Hi", "annotations": [page("https://a")]}), chunk(call), DONE)
    assert kinds(message) == ["server_tool_use", "web_search_tool_result", "text", "tool_use"]
    assert message["stop_reason"] == "tool_use"


def test_the_upstreams_own_count_of_searches() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "server_tool_use": {"web_search_requests": 3}}
    message = message_of(
        chunk({"content": "Hi"}), chunk({"annotations": [page("https://a")]}), {**DONE, "usage": usage}
    )
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 3


def test_the_server_tool_takes_the_clients_wishes() -> None:
    wishes = {
        "allowed_domains": ["a.org"],
        "blocked_domains": ["b.org"],
        "user_location": {"type": "approximate", "city": "Bern"},
    }
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    tools = [{**SEARCH, **wishes}, {"name": "f", "input_schema": {"type": "object"}}]
    upstream_request = CHAT.prepare(
        golden.call({**body, "tools": tools}, OPENROUTER), golden.deployment(OPENROUTER), True
    )
    assert orjson.loads(upstream_request.body)["tools"][1] == {
        "type": "openrouter:web_search",
        "parameters": {"allowed_domains": ["a.org"], "user_location": {"type": "approximate", "city": "Bern"}},
    }
    bare = CHAT.prepare(
        golden.call({**body, "tools": [SEARCH, tools[1]]}, OPENROUTER), golden.deployment(OPENROUTER), True
    )
    assert orjson.loads(bare.body)["tools"][1] == {"type": "openrouter:web_search"}


@pytest.mark.parametrize("recording", recordings("chat", "stream"))
def test_recordings_as_if_asked_for(recording: Recording) -> None:
    """Perplexity's and one of OpenRouter's plugin name pages, ahead of the text; every other one is told as if no
    search had been asked for."""
    if recording.provider == "perplexity" or b'"url_citation"' in recording.data:
        message = streams.check_contract(CHAT, REQUEST, recording.data)
        assert kinds(message)[:2] == ["server_tool_use", "web_search_tool_result"]
        assert message["content"][1]["content"][0]["url"].startswith("https://")
    else:
        assert streams.run(CHAT, REQUEST, [recording.data]) == streams.run(
            CHAT, streams.upstream_request(), [recording.data]
        )
