"""The real `openai` SDK through a real a2py process to llama.cpp's real server: OpenAI in, OpenAI out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests import process
from tests.llamacpp import Servers
from tests.tiny_model import SURE

pytestmark = pytest.mark.integration
HELLO: Any = [{"role": "user", "content": "What is the weather?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def proxy(llamacpp: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Proxy]:
    servers = {"plain": llamacpp(tool=0.01, end=0.01), "tools": llamacpp(tool_first=SURE)}
    models = [process.deployment(name, server.base) for name, server in servers.items()]
    with process.running(tmp_path_factory.mktemp("proxy"), models) as running:
        yield running


@pytest.fixture
def client(proxy: process.Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.base + "/v1", api_key=proxy.key, max_retries=0) as sdk:
        yield sdk


def test_chat(client: openai.OpenAI) -> None:
    """Whole and streamed are the same, by the same seed. This small model says nothing by some seeds."""
    texts = set()
    for seed in range(8):
        more: Any = {"model": "plain", "messages": HELLO, "max_tokens": 40, "seed": seed, "temperature": 1.0}
        answer = client.chat.completions.create(**more)
        assert answer.usage and answer.usage.prompt_tokens > 0
        stream = client.chat.completions.create(**more, stream=True)
        text = "".join(one.choices[0].delta.content or "" for one in stream if one.choices)
        assert text == answer.choices[0].message.content
        texts.add(text)
    assert texts - {""}


def test_a_tool(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="tools", messages=HELLO, tools=[TOOL], max_tokens=200) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls and calls[0].function.name == "get_weather"


def test_structured_output(client: openai.OpenAI) -> None:
    """The schema leaves the model two answers, and each of them ends."""
    schema = {**SCHEMA, "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "additionalProperties": False}
    response_format: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    more: Any = {"model": "plain", "messages": HELLO, "max_tokens": 300}
    answer = client.chat.completions.create(**more, response_format=response_format)
    assert answer.choices[0].finish_reason == "stop"
    assert json.loads(answer.choices[0].message.content or "") in ({"city": "Oslo"}, {"city": "Rome"})
    free = client.chat.completions.create(**more)
    assert "Oslo" not in (free.choices[0].message.content or ""), "without a schema it says something else"


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="plain", prompt="The weather is", max_tokens=8)
    assert answer.choices[0].text and answer.usage


def test_its_own_errors_pass(client: openai.OpenAI) -> None:
    """This server runs no embeddings, and says so itself."""
    with pytest.raises(openai.APIStatusError) as excinfo:
        client.embeddings.create(model="plain", input="Hi")
    assert excinfo.value.status_code in (400, 404, 500, 501)
    assert "a2py" not in str(excinfo.value) and "upstream" not in str(excinfo.value)
