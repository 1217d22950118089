"""Whether an error's structured `param` and its wording speak of the same part of the request.

Knows: names of request fields, and which of them belong together. Must not know: wordings, lessons.
Invariants: a `param` that names no known field neither supports nor contradicts anything.
"""

from __future__ import annotations

import re

from a2py.wires.refusal.rule import Rule

#: Families of request fields, in all dialects: upstreams name one and mean another of the same family.
_FAMILIES: dict[str, str] = {
    "limit": "max_tokens max_completion_tokens max_output_tokens max_new_tokens maxoutputtokens num_predict",
    "messages": "messages message input inputs prompt contents content system instructions role input_tokens input_text",
    "tools": "tools tool_choice functions function function_call tool_calls parallel_tool_calls",
    "reasoning": "reasoning reasoning_effort reasoning_content reasoning_details reasoning_split thinking thinking_budget enable_thinking"
    " chat_template_kwargs think effort budget_tokens output_config",
    "format": "response_format json_schema text format output_config output_format",
    "stream": "stream stream_options include_usage enable_thinking",
    "stop": "stop stop_sequences",
    "sampling": "temperature top_p top_k",
    "cache": "prompt_cache_key prompt_cache_retention prompt_cache_options cache_control",
    "tier": "service_tier",
    "client": "metadata user seed n store logprobs logit_bias",
}
_FAMILY: dict[str, set[str]] = {}
for _name, _words in _FAMILIES.items():
    for _word in _words.split():
        _FAMILY.setdefault(_word, set()).add(_name)

#: Families that hold what the client wrote. An error about them that mentions a setting of the request most likely quotes it.
_CONTENT = frozenset({"messages", "tools", "client"})
#: What a wording may be about although `param` names content: fields that stand inside of messages and tools.
_INSIDE = frozenset({"messages", "tools", "cache", "reasoning"})
#: Kinds whose wordings are about one part of the request.
_TOPICS = {"max_tokens": frozenset({"limit"}), "context_overflow": frozenset({"messages", "tools", "limit"})}
_KINDS = frozenset({"unsupported", "invalid_request", "max_tokens", "context_overflow"})
_WORD = re.compile(r"[A-Za-z_]+")
_CAPITAL = re.compile(r"(?<=[a-z])[A-Z]")


def name_of(raw: str) -> str:
    """`body.reasoningEffort` → `reasoning_effort`, `tools[0].strict` → `tools.0.strict`."""
    name = raw.strip("`'\". ").removeprefix("body.").replace("[", ".").replace("]", "")
    return _CAPITAL.sub(lambda match: "_" + match[0].lower(), name).lower()[:100]


def _families(text: str) -> set[str]:
    return {family for word in _WORD.findall(text) for family in _FAMILY.get(word.lower(), ())}


def _topic(rule: Rule, match: re.Match[str]) -> set[str]:
    """Families that a wording is about; empty if it is about no field."""
    if rule.kind not in _KINDS or rule.field == "param":
        return set()
    named = rule.field or next(
        (value for name, value in match.groupdict().items() if name in ("field", "f2", "f3") and value), ""
    )
    known = _families(name_of(named)) | _TOPICS.get(rule.kind, frozenset())
    return known | _families(match[0]) if known else known


def about_content(param: str) -> bool:
    """Whether `param` names something that the client wrote."""
    return not _FAMILY.get(name_of(param).split(".")[0], set()).isdisjoint(_CONTENT)


def contradicts(param: str, rule: Rule, match: re.Match[str]) -> bool:
    """Whether `param` names another part of the request than the wording: then the wording is not about this request's fault."""
    if not param:
        return False
    topic, named = _topic(rule, match), _families(name_of(param))
    if not topic or not named:
        return False
    return topic.isdisjoint(_INSIDE) if about_content(param) else topic.isdisjoint(named)


def supports(param: str, rule: Rule, match: re.Match[str]) -> bool:
    """Whether `param` names the setting that the wording is about. The client's own content proves nothing."""
    return bool(param) and not about_content(param) and not _topic(rule, match).isdisjoint(_families(name_of(param)))
