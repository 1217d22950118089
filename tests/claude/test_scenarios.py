"""The real Claude Code CLI through a real a2py process to a scripted OpenAI-shaped upstream (issue 2 of the plan).

In no scenario may the client fall back to a unary request or show an API error. `make test-claude` installs the CLI
where it is missing."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests import process, scripted
from tests.claude import cli, story
from tests.claude.story import Answer, Body, Refuse, Say, Story

pytestmark = [
    pytest.mark.claude,
    pytest.mark.skipif(not cli.find(), reason="Claude Code is not installed: make test-claude"),
]
Model = Callable[[Body], Answer]
Claude = Callable[..., Awaitable[cli.Run]]


@asynccontextmanager
async def through(
    folder: Path,
    model: Model,
    provider: str = "openai",
    upstream_model: str = "gpt-test",
    sections: dict[str, Any] | None = None,
    **quirks: Any,
) -> AsyncIterator[tuple[Story, Claude]]:
    """The upstream's story, and Claude Code on a proxy in front of it. `sections`: further ones of its file."""
    fake = Story(model)
    async with scripted.ScriptedServer(fake) as upstream:
        deployment = process.deployment(
            "claude-*", upstream.base, provider=provider, model=upstream_model, quirks=quirks
        )
        with process.running(folder, [deployment], discover=True, **(sections or {})) as proxy:

            async def claude(prompt: str, *flags: str, **env: str) -> cli.Run:
                return await cli.run(proxy, folder, prompt, *flags, env=env)

            yield fake, claude


def good(run: cli.Run, fake: Story) -> dict[str, Any]:
    """Check that there was no error and no fallback. Return the result."""
    result = run.result
    assert run.code == 0 and result.get("subtype") == "success" and not result.get("is_error"), run.describe()
    everything = "\n".join(json.dumps(event) for event in run.events)
    assert "API Error" not in everything, run.describe()
    assert "[Tool use interrupted]" not in everything, run.describe()
    assert all(body.get("stream") for body in fake.bodies), "the client fell back to a unary request"
    return result


def results_of(run: cli.Run) -> list[str]:
    """What the tools answered, as the client shows it."""
    return [
        json.dumps(block["content"])
        for event in run.events
        if event["type"] == "user"
        for block in event["message"]["content"]
        if isinstance(block, dict) and block["type"] == "tool_result"
    ]


async def test_a_tool_loop(tmp_path: Path) -> None:
    """Read, edit, run, read twice at once: five turns, reasoning before the calls, the file really changed."""
    work = tmp_path / "work"
    work.mkdir()
    file, other = work / "a.txt", work / "b.txt"
    file.write_text("alpha\nbeta\n")
    other.write_text("gamma\n")
    turns = [
        Say("Reading.", [("Read", {"file_path": str(file)})], "Let me look at the file first"),
        Say("", [("Edit", {"file_path": str(file), "old_string": "beta", "new_string": "delta"})], "Now the change"),
        Say("Both.", [("Read", {"file_path": str(file)}), ("Read", {"file_path": str(other)})]),
        Say("", [("Bash", {"command": f"cat {file} {other}", "description": "Show both"})]),
    ]

    def model(body: Body) -> Answer:
        rounds = sum(message["role"] == "assistant" for message in body["messages"])
        return turns[rounds] if rounds < len(turns) else Say("All done: " + story.results(body)[-1])

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("Change beta to delta in a.txt", "--allowedTools", "Read", "Edit", "Bash(cat:*)")
    result = good(run, fake)
    assert file.read_text() == "alpha\ndelta\n"
    assert result["result"] == "All done: alpha\ndelta\ngamma"
    assert len(fake.bodies) == 5
    assert len(story.results(fake.bodies[-1])) == 5
    thoughts = [turn.get("reasoning_content") for turn in fake.bodies[2]["messages"] if turn["role"] == "assistant"]
    assert thoughts == ["Let me look at the file first ", "Now the change "], "an unknown server gets its thoughts back"
    assert result["usage"]["input_tokens"] == 500


async def test_vendor_state_behind_the_text_leaves_the_result(tmp_path: Path) -> None:
    """OpenRouter and Vercel send encrypted reasoning at the end (vercel-gateway/stream-reasoning-text-01.sse). `-p`
    takes the last block for its result, so a thinking block there would make it empty."""
    state = {
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "ENC", "format": "google-gemini-v1", "index": 0}]
    }

    def model(body: Body) -> Answer:
        return Say("It is forty-two.", reasoning="Let me think", tail=[state])

    async with through(tmp_path, model, provider="openrouter", upstream_model="google/gemini-3.8-flash") as (
        fake,
        claude,
    ):
        run = await claude("What is the answer?")
    assert good(run, fake)["result"] == "It is forty-two.", run.describe()


async def test_each_path_that_the_client_asks_is_answered(tmp_path: Path) -> None:
    """With all optional traffic: 2.1.332 asks /api/hello, /v1/models, /v1/messages; `/context` asks count_tokens."""
    fake = Story(lambda body: Say("Hello."))
    async with scripted.ScriptedServer(fake) as upstream:
        deployment = process.deployment("claude-*", upstream.base, provider="openai", model="gpt-test")
        with process.running(tmp_path, [deployment]) as proxy:
            env = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1"}
            good(await cli.run(proxy, tmp_path, "Hi", env=env), fake)
            good(await cli.run(proxy, tmp_path, "/context", env=env), fake)
            text = proxy.log.read_text()
            with pytest.raises(HTTPError):
                nowhere = Request(f"{proxy.base}/api/nowhere", headers={"x-api-key": proxy.key})
                await asyncio.to_thread(urlopen, nowhere)
        log = proxy.log.read_text()
    assert "path=/v1/messages/count_tokens" in text
    assert "status=404" not in text and "status=404" in log, log


async def test_phases_of_messages_come_back(tmp_path: Path) -> None:
    """A commentary before a call, then another phase (Responses, gpt-5.3-codex and later). The client returns the empty
    thinking blocks that carry the phases, and its result is the last text. No position gives the second phase."""
    bodies: list[Body] = []

    def say(text: str, phase: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
        item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": text}], "phase": phase}
        start = {**item, "content": []}
        output = [item, *more]
        return [
            {"type": "response.output_item.added", "output_index": 0, "item": start},
            {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": text},
            *({"type": "response.output_item.done", "output_index": n, "item": one} for n, one in enumerate(output)),
            {"type": "response.completed", "response": {"status": "completed", "output": output}},
        ]

    async def upstream(peer: scripted.Peer) -> None:
        bodies.append(peer.request.json)
        kinds = [item["type"] for item in peer.request.json["input"]]
        arguments = json.dumps({"command": "echo forty-two", "description": "Say it"})
        call = {"type": "function_call", "id": "f", "call_id": "c1", "name": "Bash", "arguments": arguments}
        is_done = "function_call_output" in kinds
        peer.head(200, scripted.SSE)
        peer.events(
            *map(scripted.event, say("Done.", "later_word") if is_done else say("I run it.", "commentary", call))
        )
        peer.end()

    async with scripted.ScriptedServer(upstream) as server:
        deployment = process.deployment("claude-*", server.base, provider="openai", model="gpt-5.5", mode="responses")
        with process.running(tmp_path, [deployment]) as proxy:
            run = await cli.run(proxy, tmp_path, "Run it", "--allowedTools", "Bash(echo:*)")
            assert run.result.get("result") == "Done.", run.describe()
            again = await cli.run(proxy, tmp_path, "And now?", "--continue")
    assert again.result.get("result") == "Done.", again.describe()
    phases = [[item.get("phase") for item in body["input"] if item.get("role") == "assistant"] for body in bodies]
    assert phases == [[], ["commentary"], ["commentary", "later_word"]]


async def test_a_sub_agent(tmp_path: Path) -> None:
    def model(body: Body) -> Answer:
        if story.has_mark(body, "SECRET-ERRAND") and "Agent" not in story.tools(body):
            return Say("The errand is done: forty-two.")
        if "forty-two" in json.dumps(body["messages"]):
            return Say("The agent says forty-two.")
        if not any(message["role"] == "assistant" for message in body["messages"]):
            errand = {
                "description": "An errand",
                "prompt": "SECRET-ERRAND: find the number",
                "subagent_type": "general-purpose",
            }
            return Say("Sending an agent.", [("Agent", errand)])
        return Say("Waiting for the agent.")

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("Ask an agent for the number")
    result = good(run, fake)
    assert "forty-two" in result["result"], run.describe()


async def test_three_sub_agents_on_one_slot(tmp_path: Path) -> None:
    """A server like llama.cpp's says that it has one slot. Nothing fails, and it is never asked for two things at once."""
    running, most, waits = 0, 0, 0

    def model(body: Body) -> Answer:
        is_main = story.has_mark(body, "Send three agents")
        errand = next((n for n in range(3) if story.has_mark(body, f"SECRET-ERRAND {n}")), None)
        if errand is not None and not is_main:
            if not story.results(body):
                return Say("Looking.", [("Bash", {"command": "echo forty-two", "description": "Say it"})])
            return Say(f"Errand {errand} is done: forty-two.")
        if all(f"Errand {n} is done" in json.dumps(body["messages"]) for n in range(3)):
            return Say("All three say forty-two.")
        if not any(message["role"] == "assistant" for message in body["messages"]):
            errands = [
                {"description": f"Errand {n}", "prompt": f"SECRET-ERRAND {n}", "subagent_type": "general-purpose"}
                for n in range(3)
            ]
            return Say("Sending three agents.", [("Agent", errand) for errand in errands])
        return Say("Waiting for the agents.")

    fake = Story(model)

    async def script(peer: scripted.Peer) -> None:
        nonlocal running, most
        if peer.request.target == "/props":
            peer.reply({"default_generation_settings": {"n_ctx": 200_000}, "total_slots": 1})
        elif peer.request.method == "GET":
            peer.reply({"data": [{"id": "gpt-test", "owned_by": "llamacpp"}]})
        else:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.3)  # so that requests meet
            await fake(peer)
            running -= 1

    async with scripted.ScriptedServer(script) as upstream:
        deployment = process.deployment("claude-*", upstream.base, provider="openai", model="gpt-test")
        with process.running(tmp_path, [deployment], discover=True) as proxy:
            run = await cli.run(proxy, tmp_path, "Send three agents", "--allowedTools", "Agent", "Bash(echo:*)")
            waits = proxy.log.read_text().count(" queue=")
    assert good(run, fake)["result"] == "All three say forty-two.", run.describe()
    assert most == 1 and waits > 0, f"{most} at once, {waits} waited"


async def test_routes_send_a_sub_agent_and_its_model_where_the_file_says(tmp_path: Path) -> None:
    """Two agents: one of the main model, one that Claude Code asks of its haiku. Claude Code's own name is in no file."""

    def model(body: Body) -> Answer:
        if "Agent" not in json.dumps(body.get("tools", [])) or story.has_mark(body, "SECRET-ERRAND"):
            return Say("The errand is done: forty-two.")
        if not any(message["role"] == "assistant" for message in body["messages"]):
            errand = {"description": "An errand", "prompt": "SECRET-ERRAND", "subagent_type": "general-purpose"}
            return Say("Sending two.", [("Agent", errand), ("Agent", {**errand, "model": "haiku"})])
        return Say("Waiting.")

    fake = Story(model)
    async with scripted.ScriptedServer(fake) as upstream:
        deployments = [process.deployment(name, upstream.base, name, "openai") for name in ("main", "agent", "small")]
        routes = [{"when": "background", "model": "small"}, {"when": "subagent", "model": "agent"}]
        with process.running(
            tmp_path, deployments, litellm_settings={"json_logs": True}, a2py={"routes": routes}
        ) as proxy:
            run = await cli.run(proxy, tmp_path, "Ask two agents", "--model", "opus")
            log = proxy.log.read_text("utf-8")
    good(run, fake)
    by_model = {body["model"]: body for body in fake.bodies}
    assert set(by_model) == {"main", "agent", "small"}
    for name in ("agent", "small"):
        assert story.has_mark(by_model[name], "SECRET-ERRAND")
    assert not story.has_mark(by_model["main"], "SECRET-ERRAND")
    lines = [json.loads(line) for line in log.splitlines() if '"request"' in line and "/v1/messages" in line]
    reasons = {(line["route"], line["why"], line["upstream"]) for line in lines}
    assert reasons == {
        ("none", "no rule holds", "openai/main"),
        ("1 background", "a haiku-class name", "openai/small"),
        ("2 subagent", "a sub-agent of Claude Code", "openai/agent"),
    }


async def test_routes_see_plan_mode_and_effort(tmp_path: Path) -> None:
    fake = Story(lambda body: Say("Fine."))
    async with scripted.ScriptedServer(fake) as upstream:
        deployments = [process.deployment(name, upstream.base, name, "openai") for name in ("main", "thinker")]
        with process.running(tmp_path, deployments, a2py={"routes": [{"when": "think", "model": "thinker"}]}) as proxy:
            for flags in ((), ("--permission-mode", "plan"), ("--effort", "high")):
                good(await cli.run(proxy, tmp_path, "Think", "--model", "opus", *flags), fake)
    assert [body["model"] for body in fake.bodies] == ["main", "thinker", "thinker"]


def png(width: int = 8, height: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([n * 30 % 256, 80, 160]) * width for n in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def test_an_image_read(tmp_path: Path) -> None:
    """The image moves from the tool message to the user message after it."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.png").write_bytes(png())

    def model(body: Body) -> Answer:
        if not story.results(body):
            return Say("Looking.", [("Read", {"file_path": str(work / "a.png")})])
        return Say("I see a picture.")

    async with through(tmp_path, model, images=True) as (fake, claude):
        run = await claude("Look at a.png")
    assert good(run, fake)["result"] == "I see a picture."
    messages = fake.bodies[-1]["messages"]
    place = next(n for n, message in enumerate(messages) if message["role"] == "tool")
    parts = messages[place + 1]["content"]
    (image,) = [part for part in parts if part["type"] == "image_url"]
    assert image["image_url"]["url"].startswith("data:image/")
    assert "base64" not in story.text_of(messages[place])


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<<>>>>endobj
4 0 obj<</Length 0>>stream

endstream endobj
trailer<</Root 1 0 R/Size 5>>
%%EOF
"""


async def test_a_pdf_read(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.pdf").write_bytes(PDF)

    def model(body: Body) -> Answer:
        if not story.results(body):
            return Say("Looking.", [("Read", {"file_path": str(work / "a.pdf")})])
        return Say("It is an empty page.")

    async with through(tmp_path, model, documents="file") as (fake, claude):
        run = await claude("Read a.pdf")
    assert good(run, fake)["result"] == "It is an empty page."
    parts = [
        part
        for message in fake.bodies[-1]["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
    ]
    (file,) = [part["file"] for part in parts if part["type"] == "file"]
    assert base64.b64decode(file["file_data"].partition(",")[2]) == PDF


async def test_tool_search_and_mcp(tmp_path: Path) -> None:
    """The tool is deferred: found by ToolSearch, sent from then on, called."""
    server = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_server.py"))]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"tiny": {"type": "stdio", **server}}}))

    def model(body: Body) -> Answer:
        results = story.results(body)
        if not results:
            assert "mcp__tiny__shout" not in story.tools(body)
            assert "DeferredToolPlaceholder" not in story.tools(body)
            return Say("Searching.", [("ToolSearch", {"query": "select:mcp__tiny__shout", "max_results": 5})])
        if len(results) == 1:
            return Say("Found.", [("mcp__tiny__shout", {"text": "hello"})])
        return Say("It said " + results[-1])

    flags = ("--mcp-config", str(tmp_path / "mcp.json"), "--strict-mcp-config", "--allowedTools", "mcp__tiny__shout")
    async with through(tmp_path, model) as (fake, claude):
        run = await claude("Shout hello", *flags)
    assert good(run, fake)["result"] == "It said HELLO"
    assert "mcp__tiny__shout" in story.tools(fake.bodies[1])


async def test_json_schema(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
        "additionalProperties": False,
    }

    def model(body: Body) -> Answer:
        if not story.results(body):
            return Say("", [("StructuredOutput", {"answer": 42})])
        return Say("Done.")

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("What is the answer?", "--json-schema", json.dumps(schema))
    assert good(run, fake)["structured_output"] == {"answer": 42}


async def test_compaction_after_an_overflow(tmp_path: Path) -> None:
    """The upstream refuses a long conversation in OpenAI's words; the client compacts and goes on."""
    work = tmp_path / "work"
    work.mkdir()
    for n in range(4):
        (work / f"{n}.txt").write_text(f"file {n}\n" + "line of text\n" * 300)
    refusals = 0

    def model(body: Body) -> Answer:
        nonlocal refusals
        last = story.text_of(body["messages"][-1])
        if "Respond with TEXT ONLY" in last or "<summary>" in last:
            return Say("<analysis>It read files.</analysis>\n<summary>Files 0 to 3 were read. COMPACTED.</summary>")
        if story.has_mark(body, "COMPACTED"):
            return Say("Went on after the compaction.")
        count = len(story.results(body))
        if count == 4:
            refusals += 1
            text = (
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9012 tokens. "
                "Please reduce the length of the messages."
            )
            return Refuse(400, text, "context_length_exceeded")
        return Say(
            f"Reading {count}.", [("Read", {"file_path": str(work / f"{count}.txt")})], prompt_tokens=2000 * (count + 1)
        )

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("Read the four files")
    assert good(run, fake)["result"] == "Went on after the compaction.", run.describe()
    assert refusals == 1


async def test_reasoning_goes_back_to_its_vendor(tmp_path: Path) -> None:
    """DeepSeek demands the reasoning of a turn with calls; it travels through the client, and only as long as the model
    stays."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("alpha\n")

    def model(body: Body) -> Answer:
        if not story.results(body):
            return Say("", [("Read", {"file_path": str(work / "a.txt")})], "A thought of some words")
        return Say("Read.")

    async with through(tmp_path, model, "deepseek", "deepseek-reasoner") as (fake, claude):
        run = await claude("Read a.txt")
    assert good(run, fake)["result"] == "Read."
    turn = next(message for message in fake.bodies[-1]["messages"] if message["role"] == "assistant")
    assert turn["reasoning_content"].split() == ["A", "thought", "of", "some", "words"]


async def test_an_overloaded_upstream_is_asked_again(tmp_path: Path) -> None:
    busy = [Refuse(503, "The server is overloaded"), Refuse(429, "Rate limit reached")]

    def model(body: Body) -> Answer:
        return busy.pop() if busy else Say("Here I am.")

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("Hello")
    assert good(run, fake)["result"] == "Here I am."


async def test_a_bad_upstream_key_is_told_at_once(tmp_path: Path) -> None:
    """Whose key was refused, without retries, and without sending the user to /login."""
    async with through(
        tmp_path, lambda body: Refuse(401, "Incorrect API key provided: sk-up**am", "invalid_api_key")
    ) as (fake, claude):
        run = await claude("Hello")
    assert run.result["is_error"], run.describe()
    assert len(fake.bodies) == 1
    assert "/login" not in run.describe()
    assert "sk-up" not in run.result["result"]


def searching_model(body: Body) -> Answer:
    """Asks for WebSearch, whose inner request asks for the function, and repeats what came back."""
    if story.tools(body) == ["web_search"]:
        if story.results(body):
            return Say("Ruby 4.0 was released [1].")
        return Say("", [("web_search", {"query": "newest ruby"})])
    if not story.results(body):
        return Say("", [("WebSearch", {"query": "newest ruby"})])
    return Say("The search said: " + story.results(body)[-1])


async def test_a_web_search_that_a2py_makes(tmp_path: Path) -> None:
    """Claude Code sends an inner request with `web_search` alone; the agent gets its links and its text."""

    async def engine(peer: scripted.Peer) -> None:
        page = {"url": "https://www.ruby-lang.example/4", "title": "Ruby 4.0 released", "content": "On a Tuesday."}
        peer.reply({"results": [page]})

    async with scripted.ScriptedServer(engine) as searxng:
        base = searxng.base.removesuffix("/v1")
        tool = {"search_tool_name": "local", "litellm_params": {"search_provider": "searxng", "api_base": base}}
        sections = {"search_tools": [tool], "a2py": {"search": "local"}}
        async with through(tmp_path, searching_model, sections=sections) as (fake, claude):
            run = await claude("What is the newest Ruby?", "--allowedTools", "WebSearch")
    good(run, fake)
    (result,) = results_of(run)
    assert "https://www.ruby-lang.example/4" in result and "Ruby 4.0 released" in result, run.describe()
    assert "Ruby 4.0 was released" in result, run.describe()
    assert len(searxng.requests) == 1


async def test_a_web_search_that_nobody_can_make(tmp_path: Path) -> None:
    """The agent is told that the search failed; the model's memory is not asked."""

    def model(body: Body) -> Answer:
        assert story.tools(body) != ["web_search"], "the inner request"
        return searching_model(body)

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("What is the newest Ruby?", "--allowedTools", "WebSearch")
    good(run, fake)
    (result,) = results_of(run)
    assert "Web search error: unavailable" in result, run.describe()


async def test_broken_tool_parsers(tmp_path: Path) -> None:
    """Tokens of the template behind a name, rubbish behind the arguments, two calls in one, and reasoning inside the
    text: every tool runs, and the result is the whole text."""
    work = tmp_path / "work"
    work.mkdir()
    files = [work / name for name in ("a.txt", "b.txt", "c.txt")]
    for file in files:
        file.write_text(f"inside {file.name}\n")

    def fragment(arguments: str, name: str = "", id: str = "") -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, "id": id, "function": {"name": name, "arguments": arguments}}]}

    first, second, third = (json.dumps({"file_path": str(file)}) for file in files)
    turns = [
        Say("One.", tail=[fragment(first[:9], "Read</arg_value>", "c1"), fragment(first[9:] + "}"), fragment("</s")]),
        Say("Two.", tail=[fragment("", "functions.Read", "c2"), fragment(second), fragment(third)]),
        Say(
            "All ",
            tail=[
                {"reasoning_content": "almost"},
                {"content": "is "},
                {"reasoning_content": "now"},
                {"content": "read."},
            ],
        ),
    ]

    def model(body: Body) -> Answer:
        replies = [message for message in body["messages"] if message["role"] == "assistant"]
        return turns[min(len(replies), len(turns) - 1)]

    async with through(tmp_path, model) as (fake, claude):
        run = await claude("read them")
        result = good(run, fake)
    assert result["result"] == "All is read."
    results = results_of(run)
    assert len(results) == 3, run.describe()
    assert all(f"inside {file.name}" in line for file, line in zip(files, sorted(results), strict=True)), results
    calls = [call["function"] for message in fake.bodies[-1]["messages"] for call in message.get("tool_calls", [])]
    assert [(call["name"], json.loads(call["arguments"])["file_path"]) for call in calls] == [
        ("Read", str(file)) for file in files
    ]
