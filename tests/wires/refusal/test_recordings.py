"""Every recorded error body, and the error that it must become. A new recording needs a row; there is no default."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest

from a2py.wires import failure
from a2py.wires.refusal.peer import Peer
from tests.recordings import Recording, load, recordings

#: File → kind, HTTP status, message (its beginning, where it ends in …).
EXPECTED: dict[str, tuple[str, int, str]] = {
    "alibaba/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
    "azure-ai/error-bad-key-01.json": ("authentication", 401, "azure-ai refused the API key (HTTP 401)…"),
    "azure/error-bad-model-01.json": (
        "not_found",
        404,
        "azure: Resource not found (check `api_base` and the model's name)",
    ),
    "azure/error-bad-model-02.json": (
        "not_found",
        404,
        "azure: The API deployment for this resource does not exist. If you created the deployment…",
    ),
    "cerebras/error-context-length-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 42328 tokens > 40000 maximum",
    ),
    "chatgpt-codex/error-bad-key-01.json": ("authentication", 401, "chatgpt-codex refused the API key (HTTP 401)…"),
    "copilot/error-context-length-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 391491 tokens > 128000 maximum",
    ),
    "deepseek/error-400-01.json": (
        "document",
        400,
        "This model does not support PDF input (Failed to deserialize the JSON body into the target…",
    ),
    "deepseek/error-400-02.json": ("unsupported", 400, "Thinking mode does not support this tool_choice"),
    "deepseek/error-bad-key-01.json": ("authentication", 401, "deepseek refused the API key (HTTP 401)…"),
    "deepseek/error-bad-model-01.json": (
        "not_found",
        404,
        "deepseek: The supported API model names are deepseek-v4-pro or deepseek-v4-flash, but you…",
    ),
    "doubleword/error-bad-key-01.json": ("authentication", 401, "doubleword refused the API key (HTTP 403)…"),
    "doubleword/error-bad-model-01.json": (
        "not_found",
        404,
        "doubleword: The model `rig/definitely-not-a-doubleword-model` does not exist or you do not…",
    ),
    "fireworks/error-bad-model-01.json": (
        "not_found",
        404,
        "fireworks: Model not found, inaccessible, and/or not deployed",
    ),
    "gemini-compat/error-bad-key-array-01.json": (
        "authentication",
        401,
        "gemini-compat refused the API key (HTTP 400)…",
    ),
    "gemini-compat/error-context-length-array-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 40000 tokens > 32768 maximum",
    ),
    "groq/error-413-tpm-01.json": (
        "rate_limit",
        429,
        "groq: Request too large for model `llama-3.3-70b-versatile` in organization `org-…` servic…",
    ),
    "groq/error-bad-key-01.json": ("authentication", 401, "groq refused the API key (HTTP 401)…"),
    "groq/error-bad-model-01.json": (
        "not_found",
        404,
        "groq: The model `groq-nonexistent-model-for-identity-edge` does not exist or you do not ha…",
    ),
    "groq/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
    "hyperbolic/error-422-01.json": ("invalid_request", 422, "messages: Field required"),
    "hyperbolic/error-bad-model-01.json": (
        "not_found",
        404,
        "hyperbolic: Only Qwen/Qwen2.5-72B-Instruct && meta-llama/Llama-3.2-3B-Instruct && FLUX.1-d…",
    ),
    "llamacpp/error-400-03.json": (
        "document",
        400,
        "This model does not support PDF input (unsupported content[].type)",
    ),
    "llamacpp/error-500-02.json": ("api", 500, "llamacpp: tools param requires --jinja flag"),
    "llamacpp/error-bad-key-01.json": ("authentication", 401, "llamacpp refused the API key (HTTP 401)…"),
    "llamacpp/error-context-length-01.json": ("context_overflow", 400, "prompt is too long: 2009 tokens > 512 maximum"),
    "minimax/nonstream-200-base_resp-error-01.json": (
        "permission",
        403,
        "minimax: your current token plan not support model, abab6.5s-chat",
    ),
    "mistral/error-bad-key-01.json": ("authentication", 401, "mistral got no API key (HTTP 401)…"),
    "mistral/error-bad-key-02.json": ("authentication", 401, "mistral refused the API key (HTTP 401)…"),
    "mistral/error-bad-model-01.json": ("not_found", 404, "mistral: Invalid model: definitely-not-a-model"),
    "mistral/error-capacity-01.json": ("overloaded", 529, "mistral: Service tier capacity exceeded for this model."),
    "mistral/error-unsupported-parameter-01.json": ("unsupported", 400, "Logprobs are not enabled for this model"),
    "moonshot/error-bad-model-01.json": (
        "not_found",
        404,
        "moonshot: Not found the model kimi-latest or Permission denied",
    ),
    "moonshot/error-content-filter-01.json": (
        "content_policy",
        400,
        "moonshot: The request was rejected because it was considered high risk",
    ),
    "moonshot/error-context-length-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 269030 tokens > 262144 maximum",
    ),
    "moonshot/error-overloaded-01.json": (
        "overloaded",
        529,
        "moonshot: The engine is currently overloaded, please try again later",
    ),
    "nvidia-nim/error-degraded-01.json": (
        "overloaded",
        529,
        "nvidia-nim: Function id '3b9748d8-1d85-40e8-8573-0eeaa63a4b63': DEGRADED function cannot b…",
    ),
    "nvidia-nim/error-rate-limit-01.json": ("rate_limit", 429, "nvidia-nim: Too Many Requests"),
    "ollama-cloud/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
    "openai/error-400-01.json": (
        "image",
        400,
        "Could not process image (Error while downloading https://source.unsplash.com/8xznAGy4HcY/8…",
    ),
    "openai/error-400-02.json": (
        "image",
        400,
        "Could not process image (Error while downloading https://example.com/test-image.jpg.)",
    ),
    "openai/error-400-03.json": (
        "invalid_request",
        400,
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 99.0 instead.",
    ),
    "openai/error-400-04.json": (
        "document",
        400,
        "This model does not support PDF input (Invalid 'messages[3]'. Content blocks are expected…",
    ),
    "openai/error-400-06.json": (
        "invalid_request",
        400,
        "Invalid schema for function 'get_current_weather': In context=(), 'additionalProperties' i…",
    ),
    "openai/error-400-08.json": ("invalid_request", 400, "Previous response with id 'resp_REDACTED_1' not found."),
    "openai/error-bad-key-01.json": ("authentication", 401, "openai refused the API key (HTTP 401)…"),
    "openai/error-bad-key-02.json": ("authentication", 401, "openai refused the API key (HTTP 401)…"),
    "openai/error-bad-model-01.json": (
        "not_found",
        404,
        "openai: The model `this-model-does-not-exist` does not exist or you do not have access to it.",
    ),
    "openai/error-bad-model-02.json": ("not_found", 404, "openai: you must provide a model parameter"),
    "openai/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
    "openai/error-quota-02.json": (
        "billing",
        402,
        "the account at openai has no credit for this request: You exceeded your current quota, ple…",
    ),
    "openai/error-unsupported-parameter-01.json": (
        "unsupported",
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_…",
    ),
    "openai/error-unsupported-parameter-03.json": (
        "unsupported",
        400,
        "Web search options not supported with this model.",
    ),
    "openrouter/error-bad-key-01.json": ("authentication", 401, "openrouter got no API key (HTTP 401)…"),
    "openrouter/error-bad-key-02.json": ("authentication", 401, "openrouter got no API key (HTTP 401)…"),
    "openrouter/error-bad-model-01.json": (
        "not_found",
        404,
        "openrouter: No endpoints found for google/gemini-2.0-flash-001.",
    ),
    "openrouter/error-context-length-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 2500021 tokens > 200000 maximum",
    ),
    "openrouter/error-credits-01.json": (
        "billing",
        402,
        "the account at openrouter has no credit for this request: This request requires more credi…",
    ),
    "openrouter/error-rate-limit-01.json": (
        "rate_limit",
        429,
        "openrouter: Rate limit exceeded: limit_rpm/meta-llama/llama-3.2-3b-instruct/e8440b11-29fb-…",
    ),
    "perplexity/error-bad-key-01.json": ("authentication", 401, "perplexity refused the API key (HTTP 401)…"),
    "perplexity/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
    "sambanova/error-quota-01.json": (
        "billing",
        402,
        "the account at sambanova has no credit for this request: A payment method is required. Add…",
    ),
    "sglang/error-context-length-input-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 10009 tokens > 128 maximum",
    ),
    "siliconflow/error-context-length-bare-string-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 33802 tokens > 32768 maximum",
    ),
    "siliconflow/error-overloaded-01.json": (
        "overloaded",
        529,
        "siliconflow: System is too busy now. Please try again later.",
    ),
    "tgi/error-context-length-01.json": (
        "max_tokens",
        400,
        "input length and `max_tokens` exceed context limit: 2019 + 30 > 2048",
    ),
    "together/error-rate-limit-01.json": (
        "rate_limit",
        429,
        "together: Too many requests in a short window. Our rate limits are dynamic - they shift wi…",
    ),
    "venice/error-bad-model-01.json": (
        "not_found",
        404,
        "venice: Specified model not found: venice-nonexistent-rig-test. Did you mean: venice-uncen…",
    ),
    "vllm/error-context-length-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 152536 tokens > 131072 maximum",
    ),
    "vllm/error-context-length-messages-01.json": (
        "context_overflow",
        400,
        "prompt is too long: 262897 tokens > 262144 maximum",
    ),
    "vllm/error-engine-dead-01.json": (
        "api",
        500,
        "vllm: EngineCore encountered an issue. See stack trace (above) for the root cause.",
    ),
    "volcengine/error-max-tokens-both-01.json": (
        "invalid_request",
        400,
        "The parameter max_tokens specified in the request are not valid: max_tokens and max_comple…",
    ),
    "xai/error-bad-model-01.json": ("not_found", 404, "xai: Model not found: grok-nonexistent-model-for-identity-edge"),
    "xai/error-context-length-01.json": ("context_overflow", 400, "prompt is too long: 637815 tokens > 500000 maximum"),
    "xunfei/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
    "zai/error-context-length-01.json": ("context_overflow", 400, "prompt is too long"),
}
#: Events of streams that hold an error: file → kind, status, message, of each.
STREAMS: dict[str, list[tuple[str, int, str]]] = {
    "groq/stream-error-reasoning-text-01.sse": [
        ("invalid_request", 400, "Tool choice is required, but model did not call a tool")
    ],
    "openai/stream-error-01.sse": [
        ("api", 500, "The server had an error while processing your request. Sorry about that!")
    ],
    "openrouter/stream-error-reasoning-length-01.sse": [("invalid_request", 400, "Token limit reached")],
    "openrouter/stream-error-toplevel-then-finish-error-01.sse": [("upstream", 502, "Network connection lost.")],
}


def matches(message: str, expected: str) -> bool:
    return message.startswith(expected[:-1]) if expected.endswith("…") else message == expected


@pytest.mark.parametrize("recording", [*recordings("chat", "error"), *recordings("responses", "error")])
def test_a_recorded_error_becomes_what_it_must(recording: Recording) -> None:
    kind, status, message = EXPECTED[recording.file]
    if recording.status == 200:
        error = failure.find_error(orjson.loads(recording.data), Peer(recording.provider))
        assert error is not None
    else:
        error = failure.read(recording.status or 400, recording.headers, recording.data, Peer(recording.provider))
    assert (error.kind, error.status) == (kind, status)
    assert matches(error.message, message), error.message
    assert "x-api-key" not in error.message


@pytest.mark.skipif(not load(), reason="no recordings")
def test_every_error_recording_has_a_row_and_every_row_a_recording() -> None:
    assert {r.file for r in load() if r.kind == "error"} == set(EXPECTED)


def events(recording: Recording) -> list[Any]:
    values = []
    for line in recording.data.split(b"\n"):
        if line.startswith(b"data:"):
            with suppress(ValueError):  # [DONE], and the recordings of broken lines
                values.append(orjson.loads(line[5:]))
    return values


@pytest.mark.parametrize(
    "recording", [*recordings("chat", "stream"), *recordings("responses", "stream"), *recordings("chat", "nonstream")]
)
def test_errors_inside_a_200(recording: Recording) -> None:
    """What holds an error is one; no other chunk of any recording is taken for one."""
    if recording.file.endswith(".json"):
        errors = [failure.find_error(orjson.loads(recording.data))]
    else:
        errors = [failure.find_error(event) for event in events(recording) if isinstance(event, dict)]
    rows = [(error.kind, error.status, error.message) for error in errors if error is not None]
    assert rows == STREAMS.get(recording.file, [])
