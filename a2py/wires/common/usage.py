"""Usage as chat-completions servers report it, wherever they put it.

Knows: the fields of rule B5 (OpenAI, DeepSeek, Moonshot, Groq, Mistral, xAI, Gemini, Databricks; OpenRouter's searches). Must not know: streams.
Invariants: the last real value of each member wins; null and zero never replace one.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON, Usage

#: Where cached prompt tokens stand: in `prompt_tokens_details`, or at the top.
_CACHED_DETAIL = ("cached_tokens",)
_CACHED_TOP = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens", "cached_input_tokens")
_WRITE_DETAIL = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_WRITE_TOP = ("cache_creation_input_tokens", "cache_write_tokens")


def _number(source: Any, *names: str) -> int:
    if isinstance(source, dict):
        for name in names:
            value = source.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1 << 53:
                return int(value)
    return 0


class UsageTally:
    """Sees every usage object of one stream; `usage()` is None where there was none."""

    __slots__ = ("_cached", "_completion", "_prompt", "_searches", "_seen", "_thinking", "_total", "_written")

    def __init__(self) -> None:
        self._prompt = self._completion = self._total = self._cached = self._written = self._thinking = self._searches = 0
        self._seen = False

    def see(self, usage: JSON) -> None:
        self._seen = True
        prompt_details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        completion_details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        self._prompt = _number(usage, "prompt_tokens", "input_tokens") or self._prompt
        self._completion = _number(usage, "completion_tokens", "output_tokens") or self._completion
        self._total = _number(usage, "total_tokens") or self._total
        self._cached = _number(prompt_details, *_CACHED_DETAIL) or _number(usage, *_CACHED_TOP) or self._cached
        self._written = _number(prompt_details, *_WRITE_DETAIL) or _number(usage, *_WRITE_TOP) or self._written
        self._thinking = _number(completion_details, "reasoning_tokens") or _number(usage, "reasoning_tokens") or self._thinking
        self._searches = _number(usage.get("server_tool_use"), "web_search_requests") or self._searches

    def usage(self) -> Usage | None:
        """xAI, Gemini and Inception count reasoning outside completion_tokens: output is then total − prompt (2025-11)."""
        if not self._seen:
            return None
        output = self._completion
        if self._prompt and self._total > self._prompt + output:
            output = self._total - self._prompt
        cached = min(self._cached, self._prompt) if self._prompt else self._cached
        written = min(self._written, self._prompt - cached) if self._prompt else self._written
        return Usage(
            input=max(0, self._prompt - cached - written),
            output=output,
            cache_read=cached,
            cache_creation=written,
            thinking=min(self._thinking, output),
            web_searches=self._searches,
        )
