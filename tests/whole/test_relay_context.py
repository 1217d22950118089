"""A refusal, and the context that is known of the model: by the file, or because its server has said it."""

from __future__ import annotations

import pytest

from tests.proxied import config, deployment, message, run_proxy
from tests.scripted import ScriptedServer, refusing

LONG = "word " * 2000


@pytest.mark.parametrize(
    ("sentence", "context", "text", "status", "words"),
    [
        ("The prompt is too long for this model", 1000, LONG, 400, "prompt is too long: 1"),
        ("The prompt is too long for this model", 1000, LONG, 400, "tokens > 1000 maximum"),
        ("The prompt is too long for this model", 0, LONG, 400, "prompt is too long"),
        (
            "The prompt is too long for this model",
            100_000,
            LONG,
            400,
            "prompt is too long: 100001 tokens > 100000 maximum",
        ),
        ("something is wrong", 1000, LONG, 400, "tokens > 1000 maximum"),
        ("something is wrong", 1000, "Hi", 400, "something is wrong"),
        ("something is wrong", 0, LONG, 400, "something is wrong"),
    ],
)
async def test_an_overflow_gets_the_numbers_that_are_known(
    sentence: str, context: int, text: str, status: int, words: str
) -> None:
    """Claude Code compacts by these words; with numbers it knows by how much."""
    async with ScriptedServer(refusing(400, sentence)) as upstream:
        one = deployment(upstream.base, max_input_tokens=context)
        async with run_proxy(config(deployments=(one,))) as proxy:
            answer = await proxy.ask(message(text, stream=False))
            assert answer.status == status and words in answer.json["error"]["message"]


async def test_the_words_of_a_400_that_becomes_an_overflow_are_kept() -> None:
    """They may be the true reason: only the estimate of the prompt says that it is too long."""
    async with ScriptedServer(refusing(400, "Your organization must be verified")) as upstream:
        one = deployment(upstream.base, max_input_tokens=1000)
        async with run_proxy(config(deployments=(one,))) as proxy:
            answer = await proxy.ask(message(LONG, stream=False))
    assert answer.json["error"]["message"].endswith(
        " tokens > 1000 maximum (the upstream said: Your organization must be verified)"
    )
