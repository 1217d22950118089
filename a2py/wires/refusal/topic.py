"""Decide whether an error's `param` and its wording are about the same part of the request.

Example: `param` is "messages.2.content" and the sentence says "max_tokens must be at most 1". The sentence is most
likely quoted from the conversation, so the wording is ignored.

Knows: names of request fields, and which of them belong together. Must not know: wordings, lessons.
Invariants: a `param` that is no known field neither supports nor contradicts anything.
"""

from __future__ import annotations

import re

from a2py.wires.refusal.rule import Rule

#: Families of request fields, in all dialects. Upstreams name one field and mean another of the same family.
_FAMILIES: dict[str, str] = {
    "limit": "max_tokens max_completion_tokens max_output_tokens max_new_tokens maxoutputtokens num_predict",
    "messages": "messages message input inputs prompt contents content system instructions role input_tokens"
    " input_text",
    "tools": "tools tool_choice functions function function_call tool_calls parallel_tool_calls",
    "reasoning": "reasoning reasoning_effort reasoning_content reasoning_details reasoning_split thinking"
    " thinking_budget enable_thinking chat_template_kwargs think effort budget_tokens output_config",
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

#: Families that hold what the client wrote. An error about them that mentions a setting most likely quotes the client.
_CONTENT = frozenset({"messages", "tools", "client"})
#: Families whose fields may be inside of messages and tools, so that a `param` about content does not contradict them.
_INSIDE = frozenset({"messages", "tools", "cache", "reasoning"})
#: Kinds whose wordings are about one part of the request.
_TOPICS = {"max_tokens": frozenset({"limit"}), "context_overflow": frozenset({"messages", "tools", "limit"})}
_KINDS = frozenset({"unsupported", "invalid_request", "max_tokens", "context_overflow"})
_WORD = re.compile(r"[A-Za-z_]+")
_CAPITAL = re.compile(r"(?<=[a-z])[A-Z]")


def name_of(raw: str) -> str:
    """Normalize a field name: `body.reasoningEffort` → `reasoning_effort`, `tools[0].strict` → `tools.0.strict`."""
    name = raw.strip("`'\". ").removeprefix("body.").replace("[", ".").replace("]", "")
    return _CAPITAL.sub(lambda match: "_" + match[0].lower(), name).lower()[:100]


def _families(text: str) -> set[str]:
    return {family for word in _WORD.findall(text) for family in _FAMILY.get(word.lower(), ())}


def _topic(rule: Rule, match: re.Match[str]) -> set[str]:
    """Return the families that a wording is about. Empty if it is about no field."""
    if rule.kind not in _KINDS or rule.field == "param":
        return set()
    field = rule.field or next(
        (value for name, value in match.groupdict().items() if name in ("field", "f2", "f3") and value), ""
    )
    families = _families(name_of(field)) | _TOPICS.get(rule.kind, frozenset())
    return families | _families(match[0]) if families else families


def is_about_content(param: str) -> bool:
    """Return whether `param` names something that the client wrote."""
    return not _FAMILY.get(name_of(param).split(".")[0], set()).isdisjoint(_CONTENT)


def contradicts(param: str, rule: Rule, match: re.Match[str]) -> bool:
    """Return whether `param` names another part of the request than the wording. Then the wording is not the cause."""
    if not param:
        return False
    topic, families = _topic(rule, match), _families(name_of(param))
    if not topic or not families:
        return False
    return topic.isdisjoint(_INSIDE) if is_about_content(param) else topic.isdisjoint(families)


def supports(param: str, rule: Rule, match: re.Match[str]) -> bool:
    """Return whether `param` names the setting that the wording is about. A `param` about content supports nothing."""
    return bool(param) and not is_about_content(param) and not _topic(rule, match).isdisjoint(_families(name_of(param)))
