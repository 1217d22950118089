"""One client can't teach for others: what an upstream's error repeats of a request is not taken for the upstream's own
words, and a lesson reaches other clients only after the request that met it has gone through. Over real sockets,
against a scripted upstream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from a2py.quirks import Quirks
from tests.proxied import config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Peer, Script, ScriptedServer, answering, chunk, refusing, text

CAP = "max_tokens must be less than or equal to 1"
KEY = "Incorrect API key provided"

#: How upstreams repeat a piece of the request: the piece → the body of a 400. The last one marks it in no way.
FORMATS: dict[str, Callable[[str], bytes]] = {
    "openai": lambda quote: json.dumps(
        {
            "error": {
                "message": f"Invalid value: '{quote}'. Supported values are: 'text'.",
                "type": "invalid_request_error",
                "code": None,
            }
        }
    ).encode(),
    "fastapi": lambda quote: json.dumps(
        {
            "detail": [
                {
                    "type": "list_type",
                    "loc": ["body", "messages", 0, "content"],
                    "msg": "Input should be a valid list",
                    "input": quote,
                }
            ]
        }
    ).encode(),
    "fastapi_msg": lambda quote: json.dumps(
        {
            "detail": [
                {
                    "loc": ["body", "messages", 0, "content"],
                    "msg": f"Value error, expected a list, got {quote}",
                    "type": "value_error",
                }
            ]
        }
    ).encode(),
    "plain": lambda quote: f"Cannot read the conversation. Invalid input: {quote}".encode(),
    "nested": lambda quote: json.dumps(
        {
            "message": "litellm.BadRequestError: "
            + json.dumps({"error": {"message": f'could not parse "{quote}"', "input": quote}})
        }
    ).encode(),
    "vllm": lambda quote: json.dumps(
        {
            "object": "error",
            "message": str(
                [
                    {
                        "type": "list_type",
                        "loc": ("body", "messages", 0),
                        "msg": "Input should be a valid list",
                        "input": quote,
                    }
                ]
            ),
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    ).encode(),
    "unmarked": lambda quote: f"Bad request: {quote}".encode(),
}
MARKED_FORMATS = [name for name in FORMATS if name != "unmarked"]


def last_text(c: Peer) -> str:
    """What the client says in its last message."""
    content = c.request.json["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def repeating(format: str, status: int = 400, *, times: int = 1000) -> Script:
    """Refuses what mentions max_tokens, keys or prompts in its last message, and repeats it; `times`: so often, then it
    answers."""
    rest = times

    async def script(c: Peer) -> None:
        nonlocal rest
        if rest and any(word in last_text(c) for word in ("max_tokens", "API key", "prompt")):
            rest -= 1
            c.reply(FORMATS[format](last_text(c)), status)
        else:
            await answering("Hi")(c)

    return script


# -- lessons -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("times", [1, 2, 1000])
async def test_a_repeated_limit_caps_nobody_else(format: str, times: int) -> None:
    """Neither where the upstream goes on refusing, nor where it takes the same request at the second or third
    attempt."""
    async with ScriptedServer(repeating(format, times=times)) as upstream, run_proxy(config(upstream.base)) as proxy:
        for _ in range(3):
            await proxy.ask(message(f"Why? {CAP}", max_tokens=4096))
        before = len(upstream.requests)
        assert (await proxy.ask(message("Hello", max_tokens=4096))).names[-1] == "message_stop"
        assert proxy.services.lessons.report() == []
    assert [request.json["max_tokens"] for request in upstream.requests[before:]] == [4096]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("format", MARKED_FORMATS)
async def test_a_marked_repetition_teaches_the_request_itself_nothing_either(format: str, stream: bool) -> None:
    async with ScriptedServer(repeating(format)) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(CAP, stream, max_tokens=4096))
    assert answer.status == 400 and answer.json["error"]["type"] == "invalid_request_error"
    assert [request.json["max_tokens"] for request in upstream.requests] == [4096]


async def test_a_limit_that_the_upstream_itself_names_is_learned_in_a_conversation_about_limits() -> None:
    async def script(c: Peer) -> None:
        large = c.request.json["max_tokens"] > 512
        await (refusing(400, "max_tokens must be less than or equal to 512") if large else answering("Hi"))(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        for _ in range(2):
            assert (await proxy.ask(message(f"What does '{CAP}' mean?", max_tokens=4096))).status == 200
        (row,) = proxy.services.lessons.report()
    assert (row["field"], row["value"]) == ("max_tokens_limit", 512)
    assert [request.json["max_tokens"] for request in upstream.requests] == [4096, 512, 512]


async def test_words_that_stand_in_the_request_teach_this_request_alone() -> None:
    """They may be the upstream's own, and then they help; but a conversation that holds them word for word can't prove
    it."""

    async def script(c: Peer) -> None:
        large = c.request.json["max_tokens"] > 512
        await (refusing(400, "max_tokens must be less than or equal to 512") if large else answering("Hi"))(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (
            await proxy.ask(message("It says: max_tokens must be less than or equal to 512", max_tokens=4096))
        ).status == 200
        assert proxy.services.lessons.report() == []
        assert (await proxy.ask(message("Hello", max_tokens=4096))).status == 200
        assert [row["value"] for row in proxy.services.lessons.report()] == [512]
    assert [request.json["max_tokens"] for request in upstream.requests] == [4096, 512, 4096, 512]


async def test_param_beats_prose() -> None:
    """The error is about a message, whatever its sentence says of max_tokens."""
    refuse = refusing(400, f"Could not read: {CAP}", param="messages[0].content", code="invalid_type")
    async with ScriptedServer(refuse) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message("Hello", max_tokens=4096))
    assert answer.status == 400 and len(upstream.requests) == 1


async def test_param_proves_a_field_although_the_conversation_is_about_it() -> None:
    words = "Unknown parameter: 'stream_options'."

    async def script(c: Peer) -> None:
        is_refused = "stream_options" in c.request.json
        await (
            refusing(400, words, param="stream_options", code="unknown_parameter") if is_refused else answering("Hi")
        )(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        for _ in range(2):
            assert (await proxy.ask(message(f"I get {words} What now?"))).status == 200
    assert ["stream_options" in request.json for request in upstream.requests] == [True, False, False]


async def break_off(c: Peer) -> None:
    c.head(200, SSE)
    c.events(chunk({"role": "assistant", "content": "Hel"}))
    await c.drain()
    c.reset()


async def fail_inside(c: Peer) -> None:
    c.head(200, SSE)
    c.events(chunk({"role": "assistant", "content": "Hel"}), {"error": {"message": "boom", "code": 500}})
    c.end()


@pytest.mark.parametrize("end", [refusing(400, "something else"), break_off, fail_inside])
async def test_a_lesson_is_kept_only_after_the_request_has_gone_through(end: Script) -> None:
    """A status, a stream that breaks off and an error inside one are no success."""
    good = False

    async def script(c: Peer) -> None:
        if "stream_options" in c.request.json:
            await refusing(400, "Unknown parameter: 'stream_options'.")(c)
        else:
            await (answering("Hi") if good else end)(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(message())
        assert proxy.services.lessons.report() == []
        good = True
        assert (await proxy.ask(message())).names[-1] == "message_stop"
        assert [row["field"] for row in proxy.services.lessons.report()] == ["stream_usage"]
    assert ["stream_options" in request.json for request in upstream.requests] == [True, False] * 2


async def test_a_lesson_is_not_kept_while_its_answer_still_runs() -> None:
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        if "stream_options" in c.request.json:
            await refusing(400, "Unknown parameter: 'stream_options'.")(c)
            return
        c.head(200, SSE)
        head, *rest = text("Hel", "lo")
        c.events(head)
        await go.wait()
        c.events(*rest)
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        first = asyncio.create_task(proxy.ask(message()))
        await settle(lambda: len(upstream.requests) == 2)
        assert proxy.services.lessons.report() == []
        go.set()
        assert (await first).names[-1] == "message_stop"
        assert len(proxy.services.lessons.report()) == 1


async def test_a_lesson_that_did_not_help_is_not_kept() -> None:
    """It would have left the request as it was. That the same request went through later has another cause."""
    rest = 1

    async def script(c: Peer) -> None:
        nonlocal rest
        rest -= 1
        if rest >= 0:
            await refusing(500, "Invalid 'temperature': Expected a value <= 1, but got 1.5 instead.")(c)
        else:
            await answering("Hi")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, num_retries=1)) as proxy:
        assert (await proxy.ask(message(temperature=0.5))).status == 200
        assert proxy.services.lessons.report() == []
        (line,) = [line for line in proxy.lines if line["event"] == "request"]
    assert line["notes"] == "learned temperature_max" and len(upstream.requests) == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_inside_a_200_may_repeat_the_request_too(stream: bool) -> None:
    async def script(c: Peer) -> None:
        if CAP not in last_text(c):
            await answering("Hi")(c)
            return
        error = {"error": {"message": f"cannot template '{last_text(c)}'", "code": 400}}
        if stream:
            c.head(200, SSE)
            c.events(error)
            c.end()
        else:
            c.reply(error)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(message(CAP, stream, max_tokens=4096))
        await proxy.ask(message("Hello", stream, max_tokens=4096))
        assert proxy.services.lessons.report() == []
    assert [request.json["max_tokens"] for request in upstream.requests] == [4096, 4096]


@pytest.mark.parametrize("wire", ["chat", "responses", "native"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_inside_a_200_on_every_wire(wire: str, stream: bool) -> None:
    """Echoed, and an error that ends the request: no second question with another limit."""

    async def script(c: Peer) -> None:
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": f"cannot read '{CAP}'"}}
        if stream:
            c.head(200, SSE)
            c.events(b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n")
            c.end()
        else:
            c.reply(error)

    async with ScriptedServer(script) as upstream:
        base = upstream.base if wire != "native" else upstream.base.removesuffix("/v1")
        async with run_proxy(config(deployments=(deployment(base, wire=wire),))) as proxy:
            await proxy.ask(message(CAP, stream, max_tokens=4096))
            assert proxy.services.lessons.report() == []
    assert len(upstream.requests) == 1


# -- many at a time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_ten_first_requests_that_meet_one_refusal_all_succeed(stream: bool) -> None:
    """Each error is compared with what its own attempt sent, not with what another request has learned meanwhile."""
    count = 10
    there = asyncio.Event()
    waiting = 0

    async def script(c: Peer) -> None:
        nonlocal waiting
        if c.request.json["max_tokens"] <= 512 and "top_p" not in c.request.json:
            await answering("Hi")(c)
            return
        waiting += 1
        if waiting == count:
            there.set()
        await there.wait()
        if "top_p" in c.request.json:
            await refusing(400, "Unknown parameter: 'top_p'.")(c)
        else:
            await refusing(400, "max_tokens must be less than or equal to 512")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answers = await asyncio.gather(
            *(proxy.ask(message(f"{n}", stream, max_tokens=4096, top_p=0.5)) for n in range(count))
        )
        assert [answer.status for answer in answers] == [200] * count
        assert {row["field"]: row["value"] for row in proxy.services.lessons.report()} == {
            "sampling": ["temperature"],
            "max_tokens_limit": 512,
        }
        assert (await proxy.ask(message("last", stream, max_tokens=4096, top_p=0.5))).status == 200
    assert len(upstream.requests) == 3 * count + 1


async def test_first_requests_one_after_the_other_in_mid_refusal() -> None:
    """The second is refused after the first has taught everybody: its own attempt was older than that lesson."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        if "stream_options" not in c.request.json:
            await answering("Hi")(c)
            return
        if last_text(c) == "second":
            await go.wait()
        await refusing(400, "Unknown parameter: 'stream_options'.")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        second = asyncio.create_task(proxy.ask(message("second")))
        await settle(lambda: len(upstream.requests) == 1)
        assert (await proxy.ask(message("first"))).status == 200
        assert proxy.services.lessons.report()
        go.set()
        assert (await second).status == 200
    assert ["stream_options" in request.json for request in upstream.requests] == [True, True, False, False]


# -- cooldowns and keys ------------------------------------------------------------------------------------------------

#: Wordings of kinds that put a deployment into cooldown.
BLAMING = [
    f"{KEY}: API key not valid",
    "insufficient balance in API key account",
    "API key: rate limit reached, too many requests",
    "the API key's model gpt-9 does not exist",
    "API key: country, region, or territory not supported",
    "API key: the server is overloaded, temporarily unavailable",
]


def pair(first: ScriptedServer, second: ScriptedServer, **settings: Any) -> Any:
    return config(
        deployments=(deployment(first.base, id="first", order=1), deployment(second.base, id="second", order=2)),
        **settings,
    )


@pytest.mark.parametrize("text", BLAMING)
@pytest.mark.parametrize("format", FORMATS)
async def test_a_repeated_accusation_takes_no_deployment_out(format: str, text: str) -> None:
    async with (
        ScriptedServer(repeating(format)) as first,
        ScriptedServer(repeating(format)) as second,
        run_proxy(pair(first, second, allowed_fails=0)) as proxy,
    ):
        for _ in range(3):
            answer = await proxy.ask(message(text))
            assert answer.status == 400 and answer.json["error"]["type"] == "invalid_request_error"
        assert proxy.services.router.cooldowns.report() == []
        before = len(first.requests)
        assert (await proxy.ask(message("Hello"))).status == 200
    assert len(first.requests) == before + 1


@pytest.mark.parametrize(
    ("status", "words", "type", "reason"),
    [
        (401, KEY, "authentication_error", "authentication"),
        (403, "invalid API key", "authentication_error", "authentication"),
        (402, "Insufficient Balance", "billing_error", "billing"),
        (429, "Insufficient Balance", "billing_error", "billing"),
        (404, "The model does not exist", "not_found_error", "not_found"),
        (429, "slow down", "rate_limit_error", "rate_limit"),
        (400, KEY, "authentication_error", ""),
        (400, "Insufficient Balance", "billing_error", ""),
        (400, "Model not found: grok-9", "not_found_error", ""),
        (400, "too many requests", "rate_limit_error", ""),
        (500, "Insufficient Balance", "billing_error", ""),
    ],
)
async def test_a_deployment_cools_down_by_status(status: int, words: str, type: str, reason: str) -> None:
    """What only the text of a 400 says is told to the client; of a 500 it counts as any 500 does."""
    async with ScriptedServer(refusing(status, words)) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        assert [row["why"] for row in proxy.services.router.cooldowns.report()] == ([reason] if reason else [])
    assert answer.json["error"]["type"] == type


async def test_a_deployment_cools_down_by_code() -> None:
    refuse = refusing(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
    async with ScriptedServer(refuse) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message())).status == 401
        assert [row["why"] for row in proxy.services.router.cooldowns.report()] == ["authentication"]


async def test_failures_with_words_still_count_as_failures() -> None:
    """Five answers 500 are five failures, also where their text speaks of credit."""
    async with (
        ScriptedServer(refusing(500, "Insufficient Balance")) as upstream,
        run_proxy(config(upstream.base, allowed_fails=3)) as proxy,
    ):
        for _ in range(5):
            await proxy.ask(message())
        assert len(proxy.services.router.cooldowns.report()) == 1


async def test_a_request_above_the_limit_per_minute_cools_nothing() -> None:
    """No other request is in its way."""
    size = "Request too large on tokens per minute (TPM): Limit 6000, Requested 14810"
    async with (
        ScriptedServer(refusing(429, size, code="rate_limit_exceeded")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
    ):
        assert (await proxy.ask(message())).status == 429
        assert proxy.services.router.cooldowns.report() == []


async def test_a_404_about_the_clients_own_content_cools_nothing_and_changes_no_wire() -> None:
    refuse = refusing(404, "Item with id 'rs_68' not found.", param="input")
    async with (
        ScriptedServer(refuse) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, wire="responses"),))) as proxy,
    ):
        assert (await proxy.ask(message())).status == 400  # about an item of the history, which this request has not
        assert proxy.services.router.cooldowns.report() == []
    assert [request.target for request in upstream.requests] == ["/v1/responses"]


async def test_a_wait_that_the_client_names_is_not_kept() -> None:
    """The status is the upstream's, the sentence is the client's."""

    async def script(c: Peer) -> None:
        c.reply({"error": {"message": f"busy, cannot take '{last_text(c)}'"}}, 429)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message("Please try again in 1 hour."))
        assert answer.status == 429 and "retry-after" not in answer.headers
        assert 0 < proxy.services.router.cooldowns.report()[0]["seconds_left"] <= 5


# -- conversations about errors ----------------------------------------------------------------------------------------

ABOUT = "Yesterday the log said 'prompt is too long' and \"prompt is too long: 210500 tokens > 200000 maximum\". Why? prompt is too long"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "prompt is too long"}}, "prompt is too long"),
        ({"error": {"message": "prompt is too long: 210500 tokens > 200000 maximum"}}, "prompt is too long: 210500 tokens > 200000 maximum"),
        ({"error": {"message": "prompt is too long: 9000 tokens > 8192 maximum"}}, "prompt is too long: 9000 tokens > 8192 maximum"),
        (
            {"error": {"message": "litellm.BadRequestError: {\"error\": {\"message\": \"prompt is too long\"}}"}},
            "prompt is too long",
        ),
        (
            {"error": {"message": f"Cannot take '{ABOUT}': prompt is too long: 9000 tokens > 8192 maximum"}},
            "prompt is too long: 9000 tokens > 8192 maximum",
        ),
    ],
)  # fmt: skip
async def test_a_session_about_the_sentence_still_compacts(body: Any, expected: str, stream: bool) -> None:
    async def script(c: Peer) -> None:
        c.reply(body, 400)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(ABOUT, stream))
    assert answer.status == 400 and answer.json["error"]["message"] == expected


@pytest.mark.parametrize("format", MARKED_FORMATS)
async def test_a_repeated_overflow_does_not_compact(format: str) -> None:
    async with ScriptedServer(repeating(format)) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message("The prompt is too long: 9 tokens > 3 maximum"))
    assert answer.status == 400 and "prompt is too long" not in answer.json["error"]["message"]


# -- caches ------------------------------------------------------------------------------------------------------------


async def test_a_model_that_a_client_makes_up_cools_no_other_model_of_a_wildcard() -> None:
    async def script(c: Peer) -> None:
        is_known = c.request.json["model"] == "good"
        await (answering("Hi") if is_known else refusing(404, "no such model", code="model_not_found"))(c)

    async with ScriptedServer(script) as wild, ScriptedServer(answering("Hi")) as other:
        settings = config(
            deployments=(
                deployment(wild.base, name="any/*", id="wild", model="*", order=1, quirks=Quirks()),
                deployment(other.base, name="any/*", id="other", model="*", order=2, quirks=Quirks()),
            )
        )
        async with run_proxy(settings) as proxy:
            for model in ("any/bad", "any/good", "any/bad"):
                assert (await proxy.ask(message(model=model))).status == 200
    assert [request.json["model"] for request in wild.requests] == ["bad", "good"]
    assert [request.json["model"] for request in other.requests] == ["bad", "bad"]
