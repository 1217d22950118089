"""The real llama.cpp server behind `openai/NAME` and an api_base, as most files name a server of one's own: two workers of a
real a2py serve it as what it says it is.

Knows: what that server can be made to do (tiny_model.py). Must not know: how it is recognized (tests/evidence).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests import commands, process
from tests.llamacpp import Servers

pytestmark = pytest.mark.integration
CONTEXT = 65_536
TOOLS: Any = [
    {"name": "other", "description": "Another", "input_schema": {"type": "object", "properties": {}}},
    {
        "name": "get_weather",
        "description": "The weather of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
]


@pytest.fixture(scope="module")
def proxy(llamacpp: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Proxy]:
    chatty, think = llamacpp(tool=0.05, end=0.05).base, llamacpp(think=True).base
    models = [
        process.deployment("own/*", chatty, provider="openai", model="*"),
        process.deployment("chatty", chatty, provider="openai"),
        process.deployment("think", think, provider="openai"),
    ]
    flags = () if sys.platform == "win32" else ("--num-workers", "2")
    with process.running(tmp_path_factory.mktemp("proxy"), models, flags=flags, discover=True) as running:
        wait_until_known(running)
        yield running


def wait_until_known(proxy: process.Proxy) -> None:
    """Wait until each worker knows all contexts. Each of these connections may reach another worker."""
    successes, deadline = 0, time.monotonic() + process.START_SECONDS
    while successes < 20:
        assert time.monotonic() < deadline, proxy.log.read_text()[-2000:]
        with connect(proxy) as client:
            rows = client.models.list().data
        is_known = "own/tiny" in [row.id for row in rows] and all(row.max_input_tokens for row in rows)
        successes = successes + 1 if is_known else 0


def connect(proxy: process.Proxy) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=proxy.base, api_key=proxy.key, max_retries=0)


def a2py(proxy: process.Proxy, folder: Path, *args: str, **env: str) -> str:
    result = commands.a2py(*args, "--url", proxy.base, cwd=folder, env={"LITELLM_MASTER_KEY": proxy.key, **env})
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_named_tool_is_called_ten_times_of_ten(proxy: process.Proxy) -> None:
    """In the common subset it is none: llama.cpp ignores the object form of tool_choice."""
    choice: Any = {"type": "tool", "name": "get_weather"}
    for n in range(10):
        options: Any = {
            "model": "chatty",
            "max_tokens": 2000,
            "tools": TOOLS,
            "tool_choice": choice,
            "messages": [{"role": "user", "content": f"Question {n}"}],
        }
        with connect(proxy) as client:
            if n % 2:
                message = client.messages.create(**options)
            else:
                with client.messages.stream(**options) as stream:
                    message = stream.get_final_message()
        assert {block.name for block in message.content if block.type == "tool_use"} == {"get_weather"}, n
        assert message.stop_reason == "tool_use", n


def test_the_context_is_known_to_clients(proxy: process.Proxy, tmp_path: Path) -> None:
    with connect(proxy) as client:
        rows = client.models.list().data
    assert {row.max_input_tokens for row in rows} == {CONTEXT}
    env = json.loads(a2py(proxy, tmp_path, "env", "--shell", "json"))
    assert env["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == str(CONTEXT)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_claude_code_gets_the_context(proxy: process.Proxy, tmp_path: Path) -> None:
    claude = tmp_path / "claude"
    claude.write_text('#!/bin/sh\necho "$CLAUDE_CODE_MAX_CONTEXT_TOKENS $ANTHROPIC_MODEL"\n')
    claude.chmod(0o700)
    result = commands.a2py(
        "claude",
        "--url",
        proxy.base,
        "--",
        "-p",
        "hello",
        cwd=tmp_path,
        env={"LITELLM_MASTER_KEY": proxy.key, "A2PY_CLAUDE": str(claude)},
    )
    assert result.stdout.split() == [str(CONTEXT), "own/tiny"], result.stderr


def test_explain_says_why(proxy: process.Proxy, tmp_path: Path) -> None:
    output = a2py(proxy, tmp_path, "models", "--explain", "chatty")
    lines = output.splitlines()
    assert lines[0] == "chatty: openai/tiny, wire chat" and lines[2] == f"context: {CONTEXT:,} tokens"
    assert lines[1].startswith("server: llama.cpp ")
    (row,) = (n for n, line in enumerate(lines) if line.split() == ["tool_choice_named", '"only"'])
    reason = next(line for line in reversed(lines[:row]) if not line.startswith(" "))
    assert reason.startswith("server, 20") and "it is llama.cpp: " in reason
    page = json.loads(a2py(proxy, tmp_path, "models", "--explain", "claude-opus-5-5", "--json"))
    assert page["is_running"] and page["deployments"][0]["server"]["program"] == "llama.cpp"


def test_a_wildcard_lists_what_its_server_lists(proxy: process.Proxy) -> None:
    with connect(proxy) as client:
        rows = client.models.list().data
        message = client.messages.create(
            model="own/tiny", max_tokens=8, messages=[{"role": "user", "content": "Hello"}]
        )
    assert rows[0].id == "own/tiny" and message.usage.output_tokens


def test_reasoning_comes_and_goes_back(proxy: process.Proxy) -> None:
    question: Any = {"role": "user", "content": "What is the weather?"}
    options: Any = {"model": "think", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with connect(proxy) as client:
        first = client.messages.create(**options, messages=[question])
        assert first.content[0].type == "thinking" and first.content[0].thinking.strip()
        history = [block.model_dump(mode="json", exclude_unset=True) for block in first.content]
        again = client.messages.create(
            **options, messages=[question, {"role": "assistant", "content": history}, question]
        )
    assert again.content[0].type == "thinking"
