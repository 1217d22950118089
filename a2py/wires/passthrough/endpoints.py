"""The exact table of OpenAI's endpoints that are passed through.

Knows: paths, which kinds of model an endpoint is for. Must not know: requests, deployments.
Invariants: a path that is not in PATHS reaches no upstream.
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.deployment import CHAT_MODES, NO_OUTPUT_MODES


class Endpoint(NamedTuple):
    """`name`: its path below an API base; `modes`: of the models that it is for; `writes`: its reply is a model's text,
    so that a stream of it can be estimated."""

    name: str
    modes: frozenset[str]
    writes: bool = False

    @property
    def has_output(self) -> bool:
        """Whether its answers may have output tokens."""
        return not self.modes <= NO_OUTPUT_MODES


#: Path below the base → endpoint (openai 3.57 and its API reference; rerank: docs.vllm.ai, docs.litellm.ai, 2026-10).
ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("chat/completions", CHAT_MODES, writes=True),
        Endpoint("completions", CHAT_MODES, writes=True),
        Endpoint("responses", CHAT_MODES, writes=True),
        Endpoint("embeddings", frozenset(("embedding",))),
        Endpoint("moderations", frozenset(("moderation",))),
        Endpoint("rerank", frozenset(("rerank",))),
        Endpoint("audio/transcriptions", frozenset(("audio_transcription",))),
        Endpoint("audio/translations", frozenset(("audio_transcription",))),
        Endpoint("audio/speech", frozenset(("audio_speech",))),
        Endpoint("images/generations", frozenset(("image_generation",))),
        Endpoint("images/edits", frozenset(("image_edit", "image_generation"))),
    )
}
#: What comes before an endpoint: clients differ in whether their base URL ends in `/v1`.
PREFIXES = ("/", "/v1/", "/openai/v1/")
PATHS = {prefix + name: endpoint for prefix in PREFIXES for name, endpoint in ENDPOINTS.items()}

#: First segments of the paths of OpenAI's API, below the prefix (its reference, 2026-10): errors there have its shape.
_FAMILIES = frozenset(
    (
        *("assistants", "audio", "batches", "chat", "chatkit", "completions", "containers", "conversations"),
        *("embeddings", "engines", "evals", "files", "fine_tuning", "images", "moderations", "organization"),
        *("realtime", "rerank", "responses", "threads", "uploads", "vector_stores", "videos", "deployments"),
    )
)


def is_openai_path(path: str) -> bool:
    """Return whether `path` is of OpenAI's API, served here or not, so that an error there must have OpenAI's shape."""
    segments = [segment for segment in path.split("/") if segment]
    for prefix in ("openai", "v1"):
        if segments and segments[0] == prefix:
            del segments[0]
    return bool(segments) and segments[0] in _FAMILIES


def explain_unserved(method: str, path: str) -> str:
    """Return why a path of OpenAI's API is not served, for a 404."""
    return (
        f"Not found: {method} {path}. a2py passes on what names a model: POST to {', '.join(ENDPOINTS)}, with or"
        " without /v1. Other requests (stored responses, files, batches) name none, so a2py can't know which upstream"
        " has it. Ask that upstream itself."
    )
