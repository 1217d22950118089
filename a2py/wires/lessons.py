"""Find the quirk changes with which a rejected request may succeed.

Example: an upstream answers "Unknown parameter: 'parallel_tool_calls'". The error's `field` is `parallel_tool_calls`,
the first row that matches it has the change `{"parallel_tool_calls": False}`, and the request is sent again without the
field.

Knows: which quirk is about which request field (`ApiError.field`, `limit`).
Must not know: wordings (refusal/), how long a lesson is kept (proxy/lessons.py).
Invariants: images, tools and messages are never removed; a change that is already in the quirks is not returned again,
so that a lesson that did not help is not tried twice; no change takes back another one of the same request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from a2py.errors import ApiError
from a2py.providers.families import ROOM
from a2py.quirks import EFFORTS, OTHER_LIMIT_NAME, Quirks

Changes = dict[str, Any]
Candidates = Callable[[ApiError, Quirks, str], Iterator[Changes]]

#: Text for servers that reject an empty string. Claude Code writes the same into an empty turn.
EMPTY = "(no content)"
#: An assistant turn for servers that reject a user turn right after the result of a tool.
AFTER_TOOL = "(continued)"

#: `ApiError.field` of errors that hold only for this prompt, this conversation, or the credit that is left. A lesson
#: from them is not kept.
PASSING = frozenset(
    {
        "room",
        "credit",
        "messages.thinking",
        "messages.reasoning_item",
        "messages.thought_signature",
        "messages.unpaired",
    }
)


class Row(NamedTuple):
    """`field`: matches the error's field; `optional_fields`: fields of `Prepared.added_fields`, one of which must have
    been sent ("": any); `changes`: yields changes, the best first."""

    field: re.Pattern[str]
    optional_fields: str
    changes: Candidates


def _offer(*candidates: Changes) -> Candidates:
    return lambda error, quirks, name: iter(candidates)


def _sampling(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"sampling": quirks.sampling - {name}}


def _formats(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the next weaker form: json_schema, then json_object with the schema in the prompt, then none."""
    yield {"structured": "json_object" if quirks.structured == "json_schema" else "none"}


def _limit(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the limit that the upstream named; the other name of the field; none."""
    if error.limit > 0:
        if not quirks.max_tokens_limit or error.limit < quirks.max_tokens_limit:
            yield {"max_tokens_limit": error.limit}
    elif error.kind == "unsupported":
        if name in OTHER_LIMIT_NAME and name == quirks.max_tokens_field:
            yield {"max_tokens_field": OTHER_LIMIT_NAME[name]}
        yield {"max_tokens_field": ""}


def _efforts(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the effort words that the upstream listed. If it lists none that we know, reasoning is not requested."""
    names = error.field.partition("=")[2].split(",")
    words = tuple(word for word in EFFORTS if word in names)
    levels = tuple(word for word in words if word != "none")
    if levels:
        changes: Changes = {"efforts": levels}
        if quirks.effort_off and quirks.effort_off not in words:
            changes["effort_off"] = words[0]
        yield changes
    yield {"reasoning": "none"}


def _with_tools(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"reasoning_with_tools": False, "effort_off": quirks.effort_off or "none"}


def _choice(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the next weaker form: the object, then the named tool alone with `required`, then no forced tool."""
    if quirks.tool_choice_named == "object":
        yield {"tool_choice_named": "only"}
    yield {"tool_choice_named": "none", "tool_choice_any": ""}


def _stops(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"stop_limit": error.limit if 0 < error.limit < quirks.stop_limit else 0}


def _temperature(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    if error.limit < quirks.temperature_max:
        yield {"temperature_max": float(error.limit)}


def _history(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"reasoning_history": "none", "reasoning_required": False}
    yield {"vendor_state": False}


def _role(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield replacements of roles, because the error does not name the role. The unusual roles come first."""
    yield {"system_role": "system"}
    yield {"mid_system": "user"}
    yield {"system_as_user": True}


def _id_limit(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"tool_id_limit": error.limit}


def _native(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the removal of a field of Anthropic's own that a native upstream rejects."""
    yield {"native_drop": quirks.native_drop | {name}}


def _drop(*names: str, **changes: Any) -> Candidates:
    """Return candidates of one change: `names` are removed for a native upstream, other wires get `changes`."""
    return lambda error, quirks, name: iter(({"native_drop": quirks.native_drop.union(names), **changes},))


def _row(field: str, added_fields: str, changes: Candidates) -> Row:
    return Row(re.compile(field), added_fields, changes)


#: The first row that matches the error's field counts. If it has groups, they are the name that `changes` gets, joined
#: by dots.
LESSONS: tuple[Row, ...] = (
    _row(r"stream_options(?:\..*)?|include_usage", "stream_options", _offer({"stream_usage": False})),
    _row(r"reasoning_effort=.*", "reasoning", _efforts),
    _row(r"reasoning\.tools", "reasoning", _with_tools),
    _row(
        r"reasoning\.off", "reasoning thinking", _offer({"effort_off": "", "min_tokens": ROOM}, {"reasoning": "none"})
    ),
    _row(r"reasoning\.summary", "reasoning", _offer({"reasoning_summary": False})),
    _row(r"thinking\.support", "reasoning thinking", _drop("thinking", reasoning="none")),
    _row(r"include(?:\.\d+)?", "", _offer({"encrypted_reasoning": False})),
    _row(r"max_tool_calls", "", _offer({"max_tool_calls": False})),
    _row(
        r"reasoning(?:_effort|_split|\.\w+)?|thinking(?:_budget|\.type|\.budget_tokens)?|enable_thinking"
        r"|chat_template_kwargs(?:\..*)?|think",
        "reasoning",
        _offer({"reasoning": "none"}),
    ),
    _row(r"parallel_tool_calls", "parallel_tool_calls", _offer({"parallel_tool_calls": False})),
    _row(r"response_format\.tools", "response_format", _offer({"structured_with_tools": False})),
    _row(
        r"response_format\.thinking", "response_format", _offer({"structured_thinking": False}, {"structured": "none"})
    ),
    _row(r"response_format(?:\..*)?|text\.format(?:\..*)?", "response_format", _formats),
    _row(r"(max_tokens|max_completion_tokens)|room|credit|max_output_tokens", "max_tokens", _limit),
    _row(r"temperature\.max", "temperature", _temperature),
    _row(r"(temperature|top_p|top_k)", "", _sampling),
    _row(r"stop", "stop", _stops),
    _row(r"service_tier", "service_tier", _offer({"service_tier": False})),
    _row(
        r"prompt_cache_(?:key|retention|options)|prompt_cache_breakpoint|.*\bcache_control",
        "",
        _offer({"cache": "none"}),
    ),
    _row(r"tool_stream", "", _offer({"tool_stream": False})),
    _row(
        r"tool_choice\.thinking",
        "tool_choice",
        _offer({"tool_choice_thinking": False}, {"tool_choice_named": "none", "tool_choice_any": ""}),
    ),
    _row(r"tool_choice\.required", "tool_choice", _offer({"tool_choice_any": ""})),
    _row(r"tool_choice(?:\..*)?", "tool_choice", _choice),
    _row(r"stream\.only", "", _offer({"stream_only": True, "whole_only": False})),
    _row(r"stream|stream\.never", "", _offer({"whole_only": True, "stream_only": False})),
    _row(
        r"messages\.reasoning_content\.required",
        "",
        _offer({"reasoning_history": "reasoning_content", "reasoning_required": True}),
    ),
    _row(r"messages\.reasoning_content\.beside_content", "", _offer({"reasoning_beside_content": False})),
    _row(r"messages\.(?:reasoning_item|thought_signature)", "", _offer({"vendor_state": False})),
    _row(
        r"messages\.thought_signature\.required",
        "",
        _offer({"reasoning_history": "thought_signature", "reasoning_required": True}),
    ),
    _row(r"(?:.*\.)?phase", "phase", _offer({"phases": "none"})),
    _row(r"messages\.thinking", "", _drop("messages.thinking", vendor_state=False, reasoning_history="none")),
    _row(r"messages\.unpaired", "", _drop("messages.unpaired")),
    _row(r"messages\.reasoning_content|messages\..*\breasoning(?:_content|_details)?", "", _history),
    _row(
        r"(?:messages\..*\b)?(?:reasoning_opaque|reasoning_encrypted|extra_content)(?:\..*)?",
        "",
        _offer({"vendor_state": False}),
    ),
    _row(r"messages\.role\.developer", "", _offer({"system_role": "system"})),
    _row(r"messages\.role\.system", "", _offer({"mid_system": "user"}, {"system_as_user": True})),
    _row(r"messages\.role", "", _role),
    _row(r"messages\.alternation", "", _offer({"alternation": True})),
    _row(r"messages\.after_tool", "", _offer({"after_tool": AFTER_TOOL})),
    _row(r"messages\.prefill\.prefix", "", _offer({"prefill": "prefix"})),
    _row(r"messages\.prefill", "", _offer({"prefill": "instruct"})),
    _row(r"messages\.empty", "", _drop("messages.blank_text", empty_content=EMPTY)),
    _row(r"messages\.content", "", _offer({"string_content": True})),
    _row(r"messages\.tool_calls\.arguments", "", _offer({"broken_arguments": "object"})),
    _row(r"messages\.tool_call_id\.limit", "", _id_limit),
    _row(r"messages\.tool_call_id", "", _offer({"tool_ids": "mistral9"})),
    _row(r"(output_config\.effort)", "", _native),
    _row(r"(context_management|output_config)(?:\..*)?", "", _native),
    _row(r"(messages)\.(tool_reference)", "", _native),
    _row(r"(thinking)\.(?:\w+\.)?(display)", "", _native),
    _row(r"thinking\.budget_size", "thinking", _drop("thinking.large_budget")),
    _row(r"(thinking)(?:\.\w+)*", "thinking", _native),
    _row(
        r"(tools)\.\d+\.(?:custom\.)?(defer_loading|eager_input_streaming|allowed_callers|input_examples|strict)",
        "",
        _native,
    ),
)


def find_lesson(
    error: ApiError,
    quirks: Quirks,
    added_fields: frozenset[str],
    fixed_quirks: frozenset[str] = frozenset(),
    earlier: Sequence[Quirks] = (),
) -> Changes | None:
    """Return the quirk changes with which the request may succeed, None if there are none.

    They are field → value, as `quirks.override` takes them. `added_fields`: the optional fields that were sent
    (`Prepared.added_fields`); `fixed_quirks`: quirks that the configuration has set, which no refusal changes;
    `earlier`: the quirks with which this request was asked before, to which no lesson goes back."""
    for row in LESSONS:
        match = row.field.fullmatch(error.field)
        if match and (not row.optional_fields or not added_fields.isdisjoint(row.optional_fields.split())):
            name = ".".join(filter(None, match.groups())) or error.field
            for changes in row.changes(error, quirks, name):
                free = {quirk: value for quirk, value in changes.items() if quirk not in fixed_quirks}
                new = {quirk: value for quirk, value in free.items() if getattr(quirks, quirk) != value}
                if new and not any(getattr(one, quirk) == value for one in earlier for quirk, value in new.items()):
                    return free
            return None
    return None


def is_lasting(error: ApiError) -> bool:
    """Return whether a lesson from `error` may be kept for other requests.

    It may not if it comes from the size of this request or from the credit that is left, or if its words are in this
    request, so that they may be the client's own."""
    return error.field not in PASSING and not error.is_echo


#: Quirk → how to combine two lessons about it, learned by requests that ran at the same time.
_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "sampling": lambda a, b: a & b,
    "native_drop": lambda a, b: a | b,
    "max_tokens_limit": min,
}


def join_lessons(quirk: str, old: Any, new: Any) -> Any:
    """Return the value of `quirk` after two lessons about it. For most quirks the newer one counts."""
    return _TOGETHER[quirk](old, new) if quirk in _TOGETHER else new
