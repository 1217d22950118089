"""Token usage as OpenAI-compatible servers report it.

Knows: the fields of rule B5: OpenAI, DeepSeek, Moonshot, Groq, Mistral, xAI, Gemini, Databricks, and OpenRouter's
searches.
Must not know: streams.
Invariants: the last value above zero of each member is used. Null and zero never replace it.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON, Usage

#: Fields for prompt tokens that were read from the cache, in `prompt_tokens_details` or at the top, and that were
#: written to it.
_CACHED_DETAIL = ("cached_tokens",)
_CACHED_TOP = (
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cache_read_input_tokens",
    "cached_input_tokens",
)
_WRITE_DETAIL = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_WRITE_TOP = ("cache_creation_input_tokens", "cache_write_tokens")

#: Rough size of a token of a reply.
CHARS_PER_TOKEN = 4


def estimate_tokens(chars: int) -> int:
    """Return the output tokens of a reply of `chars` characters whose upstream reports no usage."""
    return chars // CHARS_PER_TOKEN + 1


def _number(source: Any, *names: str) -> int:
    if isinstance(source, dict):
        for name in names:
            value = source.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1 << 53:
                return int(value)
    return 0


class UsageTally:
    """Reads every usage object of one stream."""

    __slots__ = (
        "_cache_creation",
        "_cache_read",
        "_completion",
        "_has_usage",
        "_prompt",
        "_searches",
        "_thinking",
        "_total",
    )

    def __init__(self) -> None:
        self._prompt = self._completion = self._total = 0
        self._cache_read = self._cache_creation = self._thinking = self._searches = 0
        self._has_usage = False

    def see(self, usage: JSON) -> None:
        self._has_usage = True
        prompt_details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        completion_details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        self._prompt = _number(usage, "prompt_tokens", "input_tokens") or self._prompt
        self._completion = _number(usage, "completion_tokens", "output_tokens") or self._completion
        self._total = _number(usage, "total_tokens") or self._total
        self._cache_read = _number(prompt_details, *_CACHED_DETAIL) or _number(usage, *_CACHED_TOP) or self._cache_read
        self._cache_creation = (
            _number(prompt_details, *_WRITE_DETAIL) or _number(usage, *_WRITE_TOP) or self._cache_creation
        )
        self._thinking = (
            _number(completion_details, "reasoning_tokens") or _number(usage, "reasoning_tokens") or self._thinking
        )
        self._searches = _number(usage.get("server_tool_use"), "web_search_requests") or self._searches

    def usage(self) -> Usage | None:
        """Return the usage of the stream; None if it has reported none.

        xAI, Gemini and Inception do not count reasoning in completion_tokens (2025-11). If the total is larger than
        prompt and completion, the output is the total without the prompt."""
        if not self._has_usage:
            return None
        output = self._completion
        if self._prompt and self._total > self._prompt + output:
            output = self._total - self._prompt
        cache_read = min(self._cache_read, self._prompt) if self._prompt else self._cache_read
        cache_creation = min(self._cache_creation, self._prompt - cache_read) if self._prompt else self._cache_creation
        return Usage(
            input=max(0, self._prompt - cache_read - cache_creation),
            output=output,
            cache_read=cache_read,
            cache_creation=cache_creation,
            thinking=min(self._thinking, output),
            web_searches=self._searches,
        )
