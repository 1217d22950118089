"""The differences between OpenAI-compatible servers, as data: what one accepts, rejects and sends in another form.

Knows: one field for each difference, with its meaning. The defaults are the common subset that every server accepts.
Must not know: provider names as code; which provider has which quirk is data in providers/, with the date it was seen.
Invariants: frozen and hashable; `override` accepts for a field only the words of its type; the comment of each field
ends with the files that read it (tests/test_quirks.py compares them with the code).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

#: Effort words of OpenAI's `reasoning_effort`, weakest first (openai 3.54.0 types).
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
#: The two names of the output limit on chat completions: each one's other (`max_tokens_field`).
OTHER_LIMIT_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
#: Keys of `DIALECTS` in wires/chat/reasoning.py.
Dialect = Literal[
    "none",
    "effort",
    "openrouter",
    "thinking_type",
    "thinking_effort",
    "enable_thinking",
    "template",
    "think",
    "gemini",
    "minimax",
    "together",
]
#: Keys of `HISTORY` in wires/chat/reasoning.py, `none`, `reply`, and `thought_signature`, which goes with a call.
HistoryField = Literal[
    "none",
    "reply",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "think",
    "thinking_part",
    "thought_signature",
]
#: Keys of `SCHEMA_STEPS` in wires/common/schema.py, and `inline_refs`.
SchemaStep = Literal[
    "inline_refs",
    "drop_$schema",
    "drop_additional_properties",
    "drop_formats",
    "drop_defaults",
    "drop_pattern",
    "drop_exclusive_bounds",
    "any_of_from_type_list",
    "const_to_enum",
    "known_required",
    "no_empty_object",
]


@dataclass(frozen=True, slots=True)
class Quirks:
    """Each field: what it changes, its values, and where it is read."""

    # -- placement of text ---------------------------------------------------------------------------------------------
    #: Role of the leading system message: `system` or `developer`. wires/chat/messages.py, wires/chat/request.py,
    #: wires/responses/items.py
    system_role: Literal["system", "developer"] = "system"
    #: A message of role system in mid-conversation: `user` (text of the user turn before it, as a `<system-reminder>`)
    #: or `inline` (it keeps its place). wires/native/request.py, wires/openai/turns.py
    mid_system: Literal["user", "inline"] = "user"
    #: The server takes no system message. Its text opens the first user turn. wires/chat/messages.py,
    #: wires/chat/request.py, wires/responses/items.py, wires/responses/request.py
    system_as_user: bool = False
    #: Roles must alternate, and a user's turn comes first. If an assistant's turn is first, an empty user's turn is put
    #: before it. (Neighbouring turns of one role are always merged.) wires/chat/messages.py
    alternation: bool = False
    #: The content of a message that holds only text must be a plain string, not a list of parts. wires/chat/messages.py
    string_content: bool = True
    #: Text for a result that would be empty, for servers that refuse an empty string. "" sends it empty.
    #: wires/chat/messages.py, wires/responses/items.py
    empty_content: str = ""
    #: A last message of the assistant: `pass` (sent as it is), `prefix` (adds `"prefix": true`: Mistral, DeepSeek beta)
    #: or `instruct` (the server refuses it: it becomes an instruction). wires/chat/messages.py,
    #: wires/responses/items.py
    prefill: Literal["pass", "prefix", "instruct"] = "pass"

    # -- media ---------------------------------------------------------------------------------------------------------
    #: The model takes images. If not, each is replaced by a line of text, and the loss is reported.
    #: wires/native/history.py, wires/openai/media.py
    images: bool = True
    #: PDF documents: `file` (a `file` part with `file_data`), `image_url` (a data URL in an image part: Gemini's compat
    #: endpoint) or `none` (a line of text, and the loss is reported). wires/openai/media.py
    documents: Literal["none", "file", "image_url"] = "none"
    #: Chat completions: media may stay in the `tool` message. If not, they follow in a user message.
    #: wires/chat/messages.py
    media_in_tool: bool = False
    #: Responses: images and files may stay in a `function_call_output`. If not, they follow in a user message.
    #: wires/responses/items.py
    media_in_output: bool = False
    #: The server fetches images by URL. If not, a URL becomes a line of text (the proxy never fetches).
    #: wires/openai/media.py
    image_urls: bool = True

    # -- sampling and limits -------------------------------------------------------------------------------------------
    #: Name of the output limit: `max_tokens` or `max_completion_tokens`, never both (Volcengine answers 400 to both);
    #: "" if the server takes no limit (also Responses, then the loss is reported). wires/chat/request.py,
    #: wires/responses/request.py
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", ""] = "max_tokens"
    #: Largest output limit that the server takes. A larger one is lowered. 0: unknown. wires/common/draft.py
    max_tokens_limit: int = 0
    #: A floor under the output limit, for models whose reasoning would use up a small one (Claude Code's check asks for
    #: 64). 0: none. wires/common/effort.py, wires/native/request.py, wires/openai/fields.py, wires/openai/thinking.py
    min_tokens: int = 0
    #: Sampling fields that the server takes: `temperature`, `top_p`, `top_k`. Others are dropped.
    #: wires/native/request.py, wires/openai/fields.py
    sampling: frozenset[Literal["temperature", "top_p", "top_k"]] = frozenset({"temperature", "top_p"})
    #: Largest temperature that the server takes (Anthropic's own range ends at 1). wires/openai/fields.py
    temperature_max: float = 2.0
    #: Smallest temperature that the server takes (MiniMax: 400 for 0). wires/openai/fields.py
    temperature_min: float = 0.0
    #: How many stop sequences the server takes. The proxy applies all of them itself, too. wires/chat/request.py
    stop_limit: int = 4
    #: The server accepts `service_tier`. wires/openai/fields.py
    service_tier: bool = False

    # -- tools ---------------------------------------------------------------------------------------------------------
    #: The server accepts tools. wires/chat/messages.py, wires/chat/tools.py, wires/responses/tools.py
    tools: bool = True
    #: Longest tool name. wires/common/draft.py
    tool_name_limit: int = 64
    #: A tool_choice that names a tool: `object` (OpenAI's form), `only` (send only that tool, and `required`: llama.cpp
    #: ignores the object form) or `none` (dropped, and the loss is reported). wires/chat/tools.py,
    #: wires/native/tools.py, wires/openai/tools.py, wires/responses/tools.py
    tool_choice_named: Literal["object", "only", "none"] = "object"
    #: The word for "any tool": `required` or `any` (Mistral, until 2025); "" if the server refuses to force a tool
    #: (then `auto`, and the loss is reported). wires/native/tools.py, wires/openai/tools.py
    tool_choice_any: Literal["required", "any", ""] = "required"
    #: The server obeys `tool_choice: "none"`. If not, such a request goes without tools. wires/chat/tools.py,
    #: wires/responses/tools.py
    tool_choice_none: bool = True
    #: A tool can be forced while the model reasons. If not, thinking is switched off for that request. If that is not
    #: possible, the force is dropped (DeepSeek, Moonshot, Anthropic). wires/native/tools.py, wires/openai/thinking.py
    tool_choice_thinking: bool = True
    #: The server accepts `parallel_tool_calls: false`. wires/openai/tools.py
    parallel_tool_calls: bool = True
    #: Rewriting steps for the schemas of tools and of structured output, in this order. The steps are the keys of
    #: `SCHEMA_STEPS`, and `inline_refs`. wires/chat/tools.py, wires/openai/fields.py, wires/responses/tools.py
    schema: tuple[SchemaStep, ...] = ()
    #: Form of tool-call ids: `any`, `mistral9` (nine letters or digits) or `keep` (native: as the client has them,
    #: legal and unique; Anthropic wants that). wires/chat/messages.py, wires/native/history.py
    tool_ids: Literal["any", "mistral9", "keep"] = "any"
    #: `tool_stream: true` goes with the tools of a stream. Without it a call's arguments come in one piece, after
    #: minutes of silence (Z.ai, 2026-08). wires/chat/tools.py
    tool_stream: bool = False
    #: Longest tool-call id that the server takes (OpenAI: 40). A longer one, made by another upstream, is replaced by
    #: its hash. 0: 64 on Responses, no limit on chat completions. wires/chat/messages.py, wires/responses/items.py
    tool_id_limit: int = 0
    #: Arguments in the history that are no JSON object (a call that was cut): `text` (as they came) or `object` (inside
    #: a JSON object, for servers that parse them and would refuse the conversation for ever). wires/chat/messages.py,
    #: wires/responses/items.py
    broken_arguments: Literal["text", "object"] = "text"
    #: Text of an assistant message between a tool message and a user message, for servers that refuse that order. "" if
    #: they take it. wires/openai/turns.py
    after_tool: str = ""

    # -- reasoning -----------------------------------------------------------------------------------------------------
    #: How thinking is requested: a key of `DIALECTS` (`together`: `reasoning: {enabled}` and `reasoning_effort`).
    #: Responses: any word but `none` means that the model reasons. wires/chat/reasoning.py, wires/openai/thinking.py,
    #: wires/responses/reasoning.py
    reasoning: Dialect = "none"
    #: Nobody says whether the model reasons. Thinking and effort are not sent, and the loss is reported.
    #: wires/openai/thinking.py
    reasoning_unknown: bool = False
    #: Effort words of the model, weakest first. Each of Anthropic's is replaced by the nearest of them.
    #: wires/openai/thinking.py
    efforts: tuple[str, ...] = ("low", "medium", "high")
    #: Chat completions: the server takes reasoning together with tools. If not, `effort_off` goes with every request
    #: that has tools, whatever was asked (OpenAI gpt-5.2 and later: 400 "Function tools with reasoning_effort are not
    #: supported", 2026-03). wires/chat/reasoning.py
    reasoning_with_tools: bool = True
    #: Dialects `thinking_type` and `thinking_effort`: `"clear_thinking": false` in the object, so that the reasoning of
    #: earlier turns is kept (Z.ai). wires/chat/reasoning.py
    keep_thinking: bool = False
    #: Dialect `template`: the template's variable, `enable_thinking` (Qwen, GLM, Gemma 4) or `thinking` (DeepSeek,
    #: Kimi, Granite). wires/chat/reasoning.py
    template_key: str = "enable_thinking"
    #: Effort word for a request that disables thinking. "" if reasoning can't be switched off, or is off by default.
    #: wires/chat/reasoning.py, wires/common/effort.py, wires/openai/thinking.py, wires/responses/reasoning.py
    effort_off: str = ""
    #: Field in which a turn's thinking goes back: `none`, `reasoning_content`, `reasoning`, `reasoning_details`,
    #: `think` (tags in content), `thinking_part` (Mistral), `thought_signature` (Gemini), `reply` (the field in which
    #: it came; that field also counts more than a `reasoning` or `reasoning_content` of the tables). Responses: any
    #: word but `none` sends raw reasoning text back. wires/chat/reasoning.py, wires/responses/reasoning.py
    reasoning_history: HistoryField = "none"
    #: State that the upstream put into its own reply (`reasoning_opaque`, thought signatures, signed or encrypted
    #: `reasoning_details`, Responses' reasoning items) goes back in the field where it came, whatever
    #: `reasoning_history` says of the text. wires/chat/reasoning.py, wires/responses/reasoning.py
    vendor_state: bool = True
    #: Turns with tool calls must carry their reasoning. A placeholder replaces one that is missing (DeepSeek, Kimi).
    #: wires/chat/reasoning.py, wires/native/history.py, wires/responses/reasoning.py
    reasoning_required: bool = False
    #: A turn with tool calls may carry its reasoning beside its text. If not, its reasoning is left out (gpt-oss'
    #: template behind llama.cpp: 500 "Cannot pass both content and thinking", 2025-11). wires/chat/reasoning.py
    reasoning_beside_content: bool = True
    #: Only turns since the last user text carry their reasoning back (the vendor drops the rest itself).
    #: wires/chat/reasoning.py, wires/responses/reasoning.py
    reasoning_recent: bool = False
    #: Responses: the server accepts `reasoning.summary` (OpenAI: 400 for organisations that are not verified, 2025-05).
    #: wires/responses/reasoning.py
    reasoning_summary: bool = True
    #: Responses: this model, which reasons, accepts `include: ["reasoning.encrypted_content"]`.
    #: wires/responses/reasoning.py
    encrypted_reasoning: bool = True
    #: Responses: phases of the assistant's messages (OpenAI's gpt-5.3-codex and later, DeepSeek; 2026-11). `reply`:
    #: those that the model gave in its replies go back to it, `all`: messages whose phase was not kept get the one of
    #: their position, too (learned from a reply that has phases), `none`: the server refuses the field.
    #: wires/responses/items.py
    phases: Literal["none", "reply", "all"] = "reply"
    #: Text between `<think>` tags at the head of the reply is reasoning. wires/common/draft.py
    think_tags: bool = False
    #: The template opens `<think>` itself: text before a lone `</think>` is reasoning. wires/common/draft.py
    think_open: bool = False

    # -- other fields --------------------------------------------------------------------------------------------------
    #: Prompt caching: `none`, `blocks` (the server understands cache_control), `key` (prompt_cache_key), `keyed_blocks`
    #: (both) or `breakpoint` (OpenAI's content-part breakpoints, and the key). wires/chat/messages.py,
    #: wires/chat/request.py, wires/openai/fields.py, wires/responses/items.py
    cache: Literal["none", "blocks", "key", "keyed_blocks", "breakpoint"] = "none"
    #: Header that carries the client's session id, so that a conversation finds its own cache again (xAI:
    #: `x-grok-conv-id`). wires/common/headers.py
    session_header: str = ""
    #: Structured output: `json_schema`, `json_object` (and the schema in the prompt) or `none` (only the prompt).
    #: wires/openai/fields.py
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    #: The server takes a response_format together with tools. If not, tools win and the schema goes into the prompt
    #: (Groq, Cerebras). wires/openai/fields.py
    structured_with_tools: bool = True
    #: The server takes a response_format while the model reasons. If not, thinking is switched off for that request
    #: if that is possible (DashScope). wires/openai/thinking.py
    structured_thinking: bool = True
    #: The server accepts `stream_options: {"include_usage": true}`. wires/chat/request.py
    stream_usage: bool = True
    #: The server only streams. A unary request is answered from a stream. wires/common/draft.py
    stream_only: bool = False
    #: The server does not stream. A streamed request is answered from a whole reply, which is played as a stream.
    #: Counts more than `stream_only`. wires/common/draft.py
    whole_only: bool = False
    #: A local server that cuts the prompt to its context without an error. The proxy asks for that context, and rejects
    #: larger prompts (Ollama). proxy/attempt.py, proxy/context.py
    context_probe: Literal["", "ollama"] = ""
    #: Web search of the upstream: `none`, `responses` (hosted tool), `plugin` (OpenRouter: its plugin, or its server
    #: tool beside other tools) or `always` (Perplexity's Sonar). wires/chat/tools.py, wires/common/search.py,
    #: wires/responses/tools.py
    web_search: Literal["none", "responses", "plugin", "always"] = "none"
    #: Responses: `max_tool_calls` bounds hosted calls. If not, the `max_uses` of a search is left out.
    #: wires/responses/tools.py
    max_tool_calls: bool = True
    #: The upstream's own tokenizer: `none`, `vllm` or `llamacpp`. proxy/tokenizers.py
    tokenizer: Literal["none", "vllm", "llamacpp"] = "none"

    # -- native wire ---------------------------------------------------------------------------------------------------
    #: Anthropic request fields that a native upstream refuses, and so are left out: dotted paths (`thinking.display`,
    #: `messages.content.citations`), the names of `SPECIAL`, `messages.thinking`, `messages.redacted_thinking`,
    #: `messages.document` (becomes text), `tools.typed` (tools of Anthropic's own types) and `tools.web_search`.
    #: wires/common/search.py, wires/native/history.py, wires/native/request.py
    native_drop: frozenset[str] = frozenset()
    #: Whether `anthropic-beta` values are passed on: `all` or `none`. Only with `all` the client's anthropic-version
    #: and its billing header go too, and a thread can be continued. wires/common/threads.py, wires/native/request.py
    native_betas: Literal["none", "all"] = "none"
    #: The `thinking.type` value that enables thinking, for servers that ignore `enabled`: `adaptive` (MiniMax,
    #: 2026-06). "": as the client says. wires/native/tools.py
    native_thinking: str = ""
    #: The native upstream has a `count_tokens` endpoint. proxy/tokenizers.py
    native_count: bool = False


@cache
def words() -> Mapping[str, tuple[str, ...]]:
    """Return the words that a field, or its list, may hold. Fields of free text are left out."""
    out: dict[str, tuple[str, ...]] = {}
    for name, kind in get_type_hints(Quirks).items():
        inner = kind if get_origin(kind) is Literal else next(iter(get_args(kind)), None)
        if get_origin(inner) is Literal:
            out[name] = get_args(inner)
    return out


#: Type of a default → how a value of that type is described.
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list",
    frozenset: "a list",
}


def override(quirks: Quirks, changes: Mapping[str, Any]) -> Quirks:
    """Return `quirks` with `changes` (field → value as YAML or JSON gives it).

    Raises KeyError with the name of an unknown field, TypeError for a value of a wrong type, ValueError for an unknown
    word. The messages name the field, the value and what is expected."""
    names = {field.name for field in fields(Quirks)}
    clean: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in names:
            raise KeyError(name)
        current = getattr(quirks, name)
        if isinstance(current, frozenset) and isinstance(value, (list, tuple, set, frozenset)):
            value = frozenset(map(str, value))
        elif isinstance(current, tuple) and isinstance(value, (list, tuple)):
            value = tuple(map(str, value))
        elif isinstance(current, float) and type(value) is int:
            value = float(value)
        choices = words().get(name, ())
        if type(value) is not type(current):
            expected = (
                f"one of {_join_words(choices)}" if isinstance(current, str) and choices else _KINDS[type(current)]
            )
            raise TypeError(f"{name} must be {expected}, got {value!r}")
        if choices:
            _check_words(name, (value,) if isinstance(value, str) else sorted(value), choices)
        clean[name] = value
    return replace(quirks, **clean)


def _check_words(name: str, values: Iterable[str], choices: tuple[str, ...]) -> None:
    for word in values:
        if word not in choices:
            near = get_close_matches(word, choices, 1, 0.6)
            guess = f". Did you mean {near[0]}?" if near else ""
            raise ValueError(f"{name} must be one of {_join_words(choices)}, got {word!r}{guess}")


def _join_words(words: tuple[str, ...]) -> str:
    return ", ".join(word or '""' for word in words)
