"""What must not be repeated of an upstream's error."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.wires import failure
from a2py.wires.refusal import scrub
from a2py.wires.refusal.peer import Peer


def of(value: Any, status: int = 400, headers: dict[str, str] | None = None, **peer: Any) -> ApiError:
    return failure.read(status, headers or {}, orjson.dumps(value), Peer(**peer))


def read_error(message: str, status: int = 400, **peer: Any) -> ApiError:
    return of({"error": {"message": message}}, status, **peer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://user:pass@example.com/a?key=abc#frag.", "see https://example.com/a"),
        ("https://example.com/a is fine", "https://example.com/a is fine"),
        ("key sk-proj-abc123 refused", "key … refused"),
        ("key gsk_abc refused", "key … refused"),
        ("masked sk-ab***yz.", "masked …"),
        ("Authorization: Bearer abcdef1234 was wrong", "Authorization: Bearer … was wrong"),
        ("Bearer authentication is needed", "Bearer authentication is needed"),
        ("Incorrect API key provided: test. You", "Incorrect API key provided: … You"),
        ('"api_key": "hunter2"', '"api_key": "…"'),
        ("AIzaSyA1234567890 and ghp_0123456789ab", "… and …"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln", "token …"),
        ("fw_3Zabc and hf_abcdefghijklmnopqr", "… and …"),
        (
            "a key-value pair, a risk-based task, api_key_invalid",
            "a key-value pair, a risk-based task, api_key_invalid",
        ),
        ("in organization org-AbC123xyz, proj_99abcdef", "in organization org-…, proj-…"),
        ("0123456789abcdef0123456789abcdef.AbC", "…"),
        ("data:image/png;base64,iVBORw0KGgo= is broken", "data:… is broken"),
        ("A" * 100, "…"),
        (
            "model meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
            "model meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
        ),
        ("id 3b9748d8-1d85-40e8-8573-0eeaa63a4b63", "id 3b9748d8-1d85-40e8-8573-0eeaa63a4b63"),
        ("boom\n    at fn (/srv/app.js:1:2)", "boom"),
        ('boom\n  File "/srv/app.py", line 1', "boom"),
        ("two\n\tlines\x00", "two lines"),
    ],
)
def test_scrub(text: str, expected: str) -> None:
    assert scrub.scrub(text) == expected


def test_the_secret_that_was_sent_is_known_exactly() -> None:
    assert read_error("key hunter2! is odd", secrets=("hunter2!", "", "abc")).message == "key … is odd"
    assert (
        "hunter2!" not in failure.read(500, {}, b'{"error":{"code":"hunter2!"}}', Peer(secrets=("hunter2!",))).message
    )


def test_phrases_with_a_meaning_are_said_only_where_they_are_meant() -> None:
    assert (
        read_error("x-api-key, maximum context length, image exceeds").message
        == "x api key, maximum-context-length, image exceeds"
    )
    assert (
        read_error("bad tool: image exceeds api limit, x-api-key", 500, provider="a").message
        == "bad tool: image exceeds api limit, x api key"
    )
    assert scrub.defuse("ContextWindowExceededError", "api") == "Context-WindowExceededError"
    assert scrub.defuse("prompt is too long", "context_overflow") == "prompt is too long"
    assert scrub.defuse("image exceeds", "image") == "image exceeds"
    assert "x-api-key" not in read_error("invalid x-api-key", 401).message
