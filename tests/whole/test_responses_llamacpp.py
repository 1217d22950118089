"""llama.cpp's real `/v1/responses`, through a real a2py process, with the real `anthropic` SDK; and the same server's
chat completions beside it.

The server's seed is fixed and the model small, so one prompt has one answer: both wires must give the same message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from tests import process
from tests.llamacpp import Servers
from tests.tiny_model import SURE
from tests.whole.test_llamacpp import CONTEXT, TOOL, USER, calls_of, content_of, text_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def proxy(llamacpp: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Proxy]:
    servers = {
        "plain": llamacpp(),
        "tools": llamacpp(tool_first=SURE),
        "parallel": llamacpp(tool_first=SURE, again=0.7),
        "think": llamacpp(think=True),
        "small": llamacpp(ctx=CONTEXT),
    }
    models = [process.deployment(name, server.base, mode="responses") for name, server in servers.items()]
    models += [process.deployment(f"{name}-chat", server.base, mode="chat") for name, server in servers.items()]
    with process.running(tmp_path_factory.mktemp("proxy"), models) as running:
        yield running


@pytest.fixture
def client(proxy: process.Proxy) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=proxy.base, api_key=proxy.key, max_retries=0, _strict_response_validation=True
    ) as sdk:
        yield sdk


def stream_message(client: anthropic.Anthropic, **options: Any) -> Message:
    with client.messages.stream(**options) as stream:
        return stream.get_final_message()


def dump_content(message: Message) -> list[Any]:
    return [block.model_dump(mode="json", exclude_unset=True) for block in message.content]


def test_the_responses_api_is_what_is_asked(proxy: process.Proxy, client: anthropic.Anthropic) -> None:
    """llama.cpp's ids tell the two apis apart: `call_…` of the Responses API, other ones on chat completions."""
    ids = {
        name: calls_of(stream_message(client, model=name, max_tokens=500, tools=[TOOL], messages=[USER]))[0].id
        for name in ("tools", "tools-chat")
    }
    assert ids["tools"].startswith("call_")
    assert not ids["tools-chat"].startswith("call_")


@pytest.mark.parametrize("name", ["plain", "tools", "parallel", "think"])
def test_streamed_whole_and_chat_are_one_message(client: anthropic.Anthropic, name: str) -> None:
    options: Any = {"max_tokens": 2000, "messages": [USER], "system": "Be short.", "tools": [TOOL]}
    one = stream_message(client, model=name, **options)
    assert content_of(client.messages.create(model=name, **options)) == content_of(one)
    assert content_of(stream_message(client, model=f"{name}-chat", **options)) == content_of(one)
    assert one.stop_reason == ("tool_use" if name in ("tools", "parallel") else "end_turn")
    assert one.usage.output_tokens > 1
    assert one.usage.input_tokens + (one.usage.cache_read_input_tokens or 0) > 100


def test_a_tool_loop(client: anthropic.Anthropic) -> None:
    """Calls, texts and results go back as items that the server takes; the last turn may only talk."""
    messages: list[Any] = [USER]
    for turn in range(3):
        message = stream_message(client, model="parallel", max_tokens=1000, tools=[TOOL], messages=messages)
        calls = calls_of(message)
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": f"{turn}: 21 degrees"} for call in calls]
        messages += [{"role": "assistant", "content": dump_content(message)}, {"role": "user", "content": results}]
    last = client.messages.create(
        model="plain", max_tokens=100, tools=[TOOL], tool_choice={"type": "none"}, messages=messages
    )
    assert last.stop_reason == "end_turn"
    messages += [{"role": "assistant", "content": dump_content(last)}, {"role": "user", "content": "And tomorrow?"}]
    assert text_of(client.messages.create(model="plain", max_tokens=100, messages=messages))


def test_reasoning_and_its_way_back(client: anthropic.Anthropic) -> None:
    options: Any = {"model": "think", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    message = stream_message(client, **options, messages=[USER])
    first = message.content[0]
    assert first.type == "thinking"
    assert first.thinking.strip()
    again = client.messages.create(
        **options, messages=[USER, {"role": "assistant", "content": dump_content(message)}, USER]
    )
    assert again.content[0].type == "thinking"


def test_a_limit_that_the_server_does_not_admit(client: anthropic.Anthropic) -> None:
    """It says `completed` where max_output_tokens cut a call in the middle: the call can't be run, and the stop reason
    says why."""
    message = stream_message(client, model="tools", max_tokens=20, tools=[TOOL], messages=[USER])
    assert message.usage.output_tokens == 20
    assert message.stop_reason == "max_tokens"
    assert all("city" not in call.input for call in calls_of(message) if isinstance(call.input, dict))


def test_a_stop_sequence_is_cut_here(client: anthropic.Anthropic) -> None:
    free = text_of(client.messages.create(model="plain", max_tokens=200, messages=[USER]))
    word = free.split()[4]
    for message in (
        client.messages.create(model="plain", max_tokens=200, messages=[USER], stop_sequences=[word]),
        stream_message(client, model="plain", max_tokens=200, messages=[USER], stop_sequences=[word]),
    ):
        assert (text_of(message), message.stop_reason, message.stop_sequence) == (
            free[: free.index(word)],
            "stop_sequence",
            word,
        )


@pytest.mark.parametrize("stream", [False, True])
def test_context_overflow(client: anthropic.Anthropic, stream: bool) -> None:
    with pytest.raises(anthropic.BadRequestError, match=rf"prompt is too long: \d+ tokens > {CONTEXT} maximum"):
        client.messages.create(
            model="small", max_tokens=50, messages=[{"role": "user", "content": "word " * CONTEXT}], stream=stream
        )


def test_what_the_server_takes_no_part_of(client: anthropic.Anthropic) -> None:
    """Documents and system messages in mid-conversation reach it as text."""
    document: Any = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "A note."},
        "title": "notes",
    }
    messages: Any = [{"role": "user", "content": [document, {"type": "text", "text": "Sum up."}]}]
    assert text_of(client.messages.create(model="plain", max_tokens=50, messages=messages))
