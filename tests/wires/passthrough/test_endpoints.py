"""The exact table of OpenAI's endpoints."""

from __future__ import annotations

import pytest

from a2py.deployment import CHAT_MODES, OTHER_MODES
from a2py.wires.passthrough.endpoints import ENDPOINTS, PATHS, explain_unserved, is_openai_path


def test_the_table() -> None:
    assert set(ENDPOINTS) == {
        *("chat/completions", "completions", "embeddings", "responses", "moderations", "rerank"),
        *("audio/transcriptions", "audio/translations", "audio/speech", "images/generations", "images/edits"),
    }
    assert set(PATHS) == {prefix + name for name in ENDPOINTS for prefix in ("/", "/v1/", "/openai/v1/")}
    assert all(PATHS[path] is ENDPOINTS[path.removeprefix("/openai").removeprefix("/v1").strip("/")] for path in PATHS)


def test_which_answers_have_no_output_tokens() -> None:
    assert {name for name, one in ENDPOINTS.items() if not one.has_output} == {"embeddings", "moderations", "rerank"}


def test_each_mode_has_an_endpoint() -> None:
    assert {mode for endpoint in ENDPOINTS.values() for mode in endpoint.modes} == CHAT_MODES | OTHER_MODES


@pytest.mark.parametrize(
    "path", [*PATHS, "/v1/files", "/v1/responses/resp_1", "/openai/v1/batches", "/chat/x", "/v1/realtime"]
)
def test_paths_of_openais_api(path: str) -> None:
    assert is_openai_path(path)


@pytest.mark.parametrize("path", ["/", "", "/v1", "/v1/messages", "/v1/models", "/health", "/openai", "/x/v1/files"])
def test_other_paths(path: str) -> None:
    assert not is_openai_path(path)


def test_words() -> None:
    words = explain_unserved("GET", "/v1/files")
    assert "GET /v1/files" in words and all(name in words for name in ENDPOINTS)
