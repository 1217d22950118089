"""What holds for every refusal, whatever its wording: healed by another question, or final.

After a refusal the upstream's request changes or the error is the answer; the same bytes never go twice; within one
request no lesson is taken back; there are at most four questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.proxy.lessons import Trial
from a2py.quirks import Quirks
from tests import golden, streams
from tests.proxied import Running, config, deployment, message, run_proxy
from tests.recordings import SHARED
from tests.scripted import SSE, Peer, ScriptedServer, answering, event, refusing
from tests.wires.test_lessons import TAUGHT

WIRES = ("chat", "responses", "native")
#: Questions of one request.
QUESTIONS = 4
#: A line of the list of recorded errors: status, and as much of the body as the list shows.
RECORDING = re.compile(r"^- (\d{3}) \*\*.*?`: `(.*?)`?(?: headers .*)?$", re.MULTILINE)
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
#: A request with everything that a lesson may take away.
RICH: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": ""}]},
        {"role": "user", "content": "And now?"},
    ],
    "max_tokens": 9000,
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    "stop_sequences": ["a", "b", "c", "d"],
    "temperature": 1.0,
    "top_p": 0.5,
    "top_k": 3,
    "service_tier": "auto",
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
}
PLAIN = Quirks()
TAKES_ALL = Quirks(
    system_role="developer",
    mid_system="inline",
    sampling=frozenset({"temperature", "top_p", "top_k"}),
    service_tier=True,
    reasoning="effort",
    efforts=("low", "medium", "high"),
    effort_off="none",
    cache="keyed_blocks",
    phases="all",
)


def wordings() -> Iterator[tuple[int, bytes]]:
    """Each refusal that the goldens, the tests of lessons and the recordings have: status and body."""
    for case in golden.cases():
        for block in case.blocks:
            status = next((int(o) for o in block.options if o.isdigit()), 200)
            if block.name == "upstream" and status != 200:
                yield status, golden.upstream_bytes(block)
    for sentence, _, _ in TAUGHT:
        yield 400, orjson.dumps({"error": {"message": sentence}})
    path = SHARED / "wire" / "errors.md"
    if path.exists():
        for status, body in RECORDING.findall(path.read_text("utf-8")):
            yield int(status), body.encode()


class Watch:
    """The quirks with which the requests ask, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.quirks: list[Quirks] = []
        apply = Trial.apply

        def spy(trial: Trial, original: Deployment) -> Deployment:
            learner = apply(trial, original)
            self.quirks.append(learner.quirks)
            return learner

        monkeypatch.setattr(Trial, "apply", spy)

    def taken_back(self) -> list[str]:
        """Names of the quirks that have changed to a value that they had before."""
        names = []
        for name in (field.name for field in fields(Quirks)):
            values = [getattr(quirks, name) for quirks in self.quirks]
            changes = [value for n, value in enumerate(values) if n == 0 or value != values[n - 1]]
            names += [name] if any(value in changes[:n] for n, value in enumerate(changes)) else []
        return names


def make_deployment(wire: str, base: str, quirks: Quirks = PLAIN) -> Deployment:
    return deployment(base.removesuffix("/v1") if wire == "native" else base, wire=wire, quirks=quirks)


async def check(proxy: Running, upstream: ScriptedServer, watch: Watch, body: dict[str, Any]) -> str:
    """Return what does not hold for one request that is always refused; "" if everything holds."""
    upstream.requests.clear()
    watch.quirks.clear()
    answer = await proxy.ask(body)
    questions = [(request.target, request.body) for request in upstream.requests]
    faults = [
        f"{len(questions)} questions" if not 0 < len(questions) <= QUESTIONS else "",
        "the same bytes twice" if len(set(questions)) < len(questions) else "",
        f"taken back: {names}" if (names := watch.taken_back()) else "",
        "" if answer.status >= 400 or answer.names[-1:] == ["error"] else "no error",
    ]
    return ", ".join(filter(None, faults))


@pytest.mark.parametrize("rich", [True, False], ids=["rich", "plain"])
@pytest.mark.parametrize("wire", WIRES)
async def test_what_holds_for_every_refusal(wire: str, rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rich request is streamed, the plain one is not."""
    current = (400, b"")

    async def script(c: Peer) -> None:
        c.reply(current[1], current[0])

    watch = Watch(monkeypatch)
    body = message(**RICH) if rich else message(stream=False)
    faults: list[Any] = []
    quirks = TAKES_ALL if rich else PLAIN
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(make_deployment(wire, upstream.base, quirks),))) as proxy,
    ):
        for current in dict.fromkeys(wordings()):
            fault = await check(proxy, upstream, watch, body)
            faults += [(fault, *current)] if fault else []
        assert proxy.services.lessons.report() == []
    assert not faults


def test_there_are_wordings() -> None:
    assert len(set(wordings())) > 200


# -- what the server can't do -------------------------------------------------------------------------------------------

#: A reply, streamed and whole, by wire.
REPLIES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "responses": (
        [
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}},
            {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "Hello"},
            {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}},
        ],
        {
            "object": "response",
            "status": "completed",
            "output": [{"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hello"}]}],
        },
    ),
    "native": (
        [
            {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ],
        {"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"},
    ),
}


async def reply(c: Peer, wire: str) -> None:
    """Reply as it was asked."""
    if wire == "chat":
        await answering("Hello")(c)
    elif c.request.json.get("stream"):
        c.head(200, SSE)
        c.events(*(f"event: {one['type']}\n".encode() + event(one) for one in REPLIES[wire][0]))
        c.end()
    else:
        c.reply(REPLIES[wire][1])


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("streams", [True, False], ids=["only-streams", "does-not-stream"])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_server_with_one_form_of_reply(wire: str, streams: bool, stream: bool) -> None:
    """It is asked in its form, from the second request on at once, and the client gets the form that it asked for."""
    refusal = "Stream must be set to true" if streams else "This model does not support streaming"

    async def script(c: Peer) -> None:
        await (reply(c, wire) if bool(c.request.json.get("stream")) is streams else refusing(400, refusal)(c))

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(make_deployment(wire, upstream.base),))) as proxy,
    ):
        for _ in range(2):
            answer = await proxy.ask(message(stream=stream))
            assert answer.status == 200, answer.body
            assert ("event: message_stop" in answer.body.decode()) is stream and b"Hello" in answer.body
    assert len(upstream.requests) == (2 if stream is streams else 3)


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_a_server_that_takes_no_output_limit(wire: str) -> None:
    async def script(c: Peer) -> None:
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
        name = next((name for name in names if name in c.request.json), None)
        await (refusing(400, f"Unsupported parameter: {name}")(c) if name else reply(c, wire))

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(make_deployment(wire, upstream.base),))) as proxy,
    ):
        for _ in range(2):
            answer = await proxy.ask(message(stream=False))
            assert answer.status == 200 and answer.headers["x-a2py-degraded"] == "max_tokens"
    assert len(upstream.requests) == (4 if wire == "chat" else 3)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("choice", [{"type": "tool", "name": "look"}, {"type": "any"}])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_force_that_thinking_forbids(wire: str, choice: dict[str, Any], stream: bool) -> None:
    """The server thinks, whatever it is told: the tool is no longer forced, and the client is told."""

    async def script(c: Peer) -> None:
        choice = c.request.json.get("tool_choice", "auto")
        is_forced = choice != "auto" and choice != {"type": "auto"}
        refusal = refusing(400, "Thinking mode does not support this tool_choice")
        await (refusal(c) if is_forced else reply(c, wire))

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(make_deployment(wire, upstream.base),))) as proxy,
    ):
        answer = await proxy.ask(message(stream=stream, tools=[TOOL], tool_choice=choice))
    assert answer.status == 200 and "tool_choice" in answer.headers["x-a2py-degraded"]
    assert len(upstream.requests) == (3 if wire == "native" else 2)


# -- phases of messages -------------------------------------------------------------------------------------------------


async def reply_in_phases(c: Peer, *, is_late: bool) -> None:
    """Reply with a message that is a final answer. `is_late`: its phase comes after its text."""
    item = {
        "type": "message",
        "id": "m",
        "content": [{"type": "output_text", "text": "Hello"}],
        "phase": "final_answer",
    }
    if not c.request.json.get("stream"):
        c.reply({"status": "completed", "output": [item]})
        return
    start = {**item, "content": [], **({"phase": None} if is_late else {})}
    c.head(200, SSE)
    c.events(
        event({"type": "response.output_item.added", "output_index": 0, "item": start}),
        event({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "Hello"}),
        event({"type": "response.output_item.done", "output_index": 0, "item": item}),
        event({"type": "response.completed", "response": {"status": "completed", "output": [item]}}),
    )
    c.end()


def phases_of(body: dict[str, Any]) -> list[Any]:
    return [item.get("phase") for item in body["input"] if item.get("role") == "assistant"]


@pytest.mark.parametrize("refuses", [True, False], ids=["refused", "taken"])
@pytest.mark.parametrize("is_late", [True, False], ids=["late", "early"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_phase_that_came_with_a_reply(stream: bool, is_late: bool, refuses: bool) -> None:
    """It goes back, also if it came too late to be kept: the reply has shown that the server has phases. A server that
    refuses it is asked without it from then on, although its replies still have phases."""

    async def script(c: Peer) -> None:
        if refuses and any(phases_of(c.request.json)):
            await refusing(400, "Unknown parameter: 'input[1].phase'.")(c)
        else:
            await reply_in_phases(c, is_late=is_late)

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(make_deployment("responses", upstream.base),))) as proxy,
    ):
        body = message(stream=stream)
        for n in range(3):
            answer = await proxy.ask(body)
            assert answer.status == 200, answer.body
            content = streams.accumulate(streams.events(answer.body))["content"] if stream else answer.json["content"]
            assert content[-1] == {"type": "text", "text": "Hello"} and len(content) == (1 if stream and is_late else 2)
            turns = [*body["messages"], {"role": "assistant", "content": content}, {"role": "user", "content": str(n)}]
            body = {**body, "messages": turns}
        phases = [phases_of(request.json) for request in upstream.requests]
    final = "final_answer"
    assert phases == ([[], [final], [None], [None, None]] if refuses else [[], [final], [final, final]])
