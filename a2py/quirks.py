"""What one OpenAI-compatible server takes, refuses and sends differently, as data.

Knows: one documented field per knob. The defaults are the common subset that every server takes.
Must not know: provider names as code; which provider has which quirk stands in providers.py, with the date it was seen.
Invariants: frozen and hashable; each field names the one place that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

#: Effort words of OpenAI's `reasoning_effort`, weakest first (openai 3.54.0 types).
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Quirks:
    """Each field: what it changes, its values, and where it is read."""

    # -- placement of text -------------------------------------------------------------------------------------------
    #: Role of the leading system message: `system` or `developer`. wires/chat/messages.py
    system_role: str = "system"
    #: A role-"system" message in mid-conversation: `user` (text of the preceding user turn, as a `<system-reminder>`) or `inline` (kept in place). wires/chat/messages.py
    mid_system: str = "user"
    #: No system message at all is taken: its text opens the first user turn. wires/chat/messages.py
    system_as_user: bool = False
    #: Roles must alternate, and the user's turn comes first: an assistant's opening turn gets a user's ahead of it (adjacent turns of one role are merged everywhere). wires/chat/messages.py
    alternation: bool = False
    #: Message content must be a plain string (no arrays of parts) wherever it holds only text. wires/chat/messages.py
    string_content: bool = True
    #: Stands where a result would be an empty string and the server refuses that; "" sends it empty. wires/chat/messages.py
    empty_content: str = ""
    #: A last message of the assistant: `pass`, `prefix` (adds `"prefix": true`: Mistral, DeepSeek beta) or `instruct` (refused: becomes an instruction). wires/chat/messages.py
    prefill: str = "pass"

    # -- media -------------------------------------------------------------------------------------------------------
    #: Images are understood; else a text stub, degraded. wires/chat/media.py
    images: bool = True
    #: PDF documents: `file` (a `file` part with `file_data`), `image_url` (a data URL in an image part: Gemini's compat endpoint) or `none` (a text stub, degraded). wires/chat/media.py
    documents: str = "none"
    #: Media may stand in the `tool` message itself instead of in a following user message. wires/chat/media.py
    media_in_tool: bool = False
    #: Responses: images and files may stand in a `function_call_output` instead of in a following user message. wires/responses/items.py
    media_in_output: bool = False
    #: Images must be base64: a URL image becomes a text stub (the proxy never fetches). wires/chat/media.py
    image_urls: bool = True

    # -- sampling and limits -----------------------------------------------------------------------------------------
    #: Name of the output limit: `max_tokens` or `max_completion_tokens`; never both (Volcengine answers 400 to both). wires/chat/request.py
    max_tokens_field: str = "max_tokens"
    #: Largest output limit taken; a larger request is clamped; 0: unknown. wires/common/limits.py
    max_tokens_limit: int = 0
    #: A floor under the output limit where reasoning would eat a small one (Claude Code's check asks for 64); 0: none. wires/common/limits.py
    min_tokens: int = 0
    #: Sampling fields that are taken; any other is dropped. wires/common/limits.py
    sampling: frozenset[str] = frozenset({"temperature", "top_p"})
    #: Largest temperature taken (Anthropic's own range ends at 1). wires/common/limits.py
    temperature_max: float = 2.0
    #: Smallest temperature taken (MiniMax: 400 for 0). wires/common/limits.py
    temperature_min: float = 0.0
    #: Stop sequences taken; more, or any where 0, are applied by the proxy itself. wires/chat/request.py
    stop_limit: int = 4
    #: `service_tier` is known. wires/common/limits.py
    service_tier: bool = False

    # -- tools -------------------------------------------------------------------------------------------------------
    #: Tools are taken at all. wires/chat/tools.py
    tools: bool = True
    #: Longest tool name. wires/chat/tools.py
    tool_name_limit: int = 64
    #: A named tool_choice: `object` (OpenAI's form), `only` (send only that tool, and `required`: llama.cpp ignores the object form) or `none` (dropped, degraded). wires/chat/tools.py
    tool_choice_named: str = "object"
    #: The word for "any tool": `required` or `any` (Mistral, until 2025), or "" where forcing is refused (then auto, degraded). wires/chat/tools.py
    tool_choice_any: str = "required"
    #: `tool_choice: "none"` is obeyed; else the tools are left out of such a request. wires/chat/tools.py, wires/responses/tools.py
    tool_choice_none: bool = True
    #: Forced tool choice is refused while the model reasons: thinking is switched off for that request, or the force is dropped (DeepSeek, Moonshot, Anthropic). wires/chat/tools.py, wires/native/tools.py
    tool_choice_thinking: bool = True
    #: `parallel_tool_calls: false` is taken. wires/chat/tools.py
    parallel_tool_calls: bool = True
    #: Clean-up steps for tool schemas, in this order, names of `SCHEMA_STEPS`. wires/common/schema.py
    schema: tuple[str, ...] = ()
    #: Tool-call ids must match this form: `any`, `mistral9` (nine letters or digits) or `keep` (native: as the client has them, legal and unique; Anthropic wants that). wires/chat/tools.py, wires/native/request.py
    tool_ids: str = "any"
    #: `tool_stream: true` goes with tools of a stream: without it a call's arguments come in one chunk, after minutes of silence (Z.ai, 2026-08). wires/chat/tools.py
    tool_stream: bool = False
    #: Longest tool-call id taken (OpenAI: 40); a longer one, made by another upstream, is replaced by its hash; 0: unknown. wires/chat/messages.py
    tool_id_limit: int = 0
    #: Arguments of the history that are no JSON object (a call that was cut): `text` (as they came) or `object` (inside a JSON object, for servers
    #: that parse them and refuse the conversation for ever). wires/common/text.py
    broken_arguments: str = "text"
    #: A user message may not follow a tool message: an assistant message with this text is put between ("" where it may). wires/chat/messages.py
    after_tool: str = ""

    # -- reasoning ---------------------------------------------------------------------------------------------------
    #: How thinking is asked for: a key of `DIALECTS` (`together`: `reasoning: {enabled}` and `reasoning_effort`). wires/chat/reasoning.py
    reasoning: str = "none"
    #: Effort words the model has, weakest first; Anthropic's are mapped to the nearest. wires/chat/reasoning.py
    efforts: tuple[str, ...] = ("low", "medium", "high")
    #: False: reasoning and tools exclude each other, so `effort_off` goes with every request that has tools, whatever was asked (OpenAI gpt-5.2 and
    #: later on chat completions: 400 "Function tools with reasoning_effort are not supported", 2026-03). wires/chat/reasoning.py
    reasoning_with_tools: bool = True
    #: Dialects `thinking_type` and `thinking_effort`: `"clear_thinking": false` in the object, so that earlier turns' reasoning is kept (Z.ai). wires/chat/reasoning.py
    keep_thinking: bool = False
    #: Dialect `template`: the template's variable, `enable_thinking` (Qwen, GLM, Gemma 4) or `thinking` (DeepSeek, Kimi, Granite). wires/chat/reasoning.py
    template_key: str = "enable_thinking"
    #: Effort for a request that disables thinking ("" where reasoning can't be switched off or is off by default). wires/chat/reasoning.py
    effort_off: str = ""
    #: Field in which a turn's thinking goes back: `none`, `reasoning_content`, `reasoning`, `reasoning_details`, `think` (tags in content), `thinking_part` (Mistral), `thought_signature` (Gemini). wires/chat/reasoning.py
    reasoning_history: str = "none"
    #: State that the upstream put into its own reply (`reasoning_opaque`, thought signatures, signed or encrypted `reasoning_details`) goes back in
    #: the field where it came, whatever `reasoning_history` says of the text. wires/chat/reasoning.py
    vendor_state: bool = True
    #: Turns with tool calls must carry their reasoning: a placeholder stands where it is missing (DeepSeek, Kimi). wires/chat/reasoning.py, wires/native/history.py
    reasoning_required: bool = False
    #: Only turns since the last user text carry reasoning back (the vendor drops the rest itself). wires/chat/reasoning.py
    reasoning_recent: bool = False
    #: Responses: `reasoning.summary` is taken (OpenAI: 400 for organisations that are not verified, 2025-05). wires/responses/reasoning.py
    reasoning_summary: bool = True
    #: Responses: `include: ["reasoning.encrypted_content"]` is taken by this model that reasons. wires/responses/reasoning.py
    encrypted_reasoning: bool = True
    #: `<think>` tags in the reply's text are reasoning. wires/chat/stream.py
    think_tags: bool = False
    #: The template opens `<think>` itself: text before a lone `</think>` is reasoning. wires/chat/stream.py
    think_open: bool = False

    # -- other fields ------------------------------------------------------------------------------------------------
    #: Prompt caching: `none`, `blocks` (cache_control is understood), `key` (prompt_cache_key), `keyed_blocks` (both) or `breakpoint` (OpenAI's
    #: content-part breakpoints, and the key). wires/chat/cache.py
    cache: str = "none"
    #: Header that carries the client's session id, so that a conversation meets its own cache again (xAI: `x-grok-conv-id`). wires/common/send.py
    session_header: str = ""
    #: Structured output: `json_schema`, `json_object` (plus the schema in the prompt) or `none` (only the prompt). wires/chat/structured.py
    structured: str = "json_schema"
    #: A response_format is taken together with tools; else tools win and the schema goes into the prompt (Groq, Cerebras). wires/chat/structured.py
    structured_with_tools: bool = True
    #: A response_format is taken while the model reasons; else thinking is switched off for that request (DashScope). wires/chat/reasoning.py
    structured_thinking: bool = True
    #: `stream_options: {"include_usage": true}` is taken. wires/chat/request.py
    stream_usage: bool = True
    #: The server only streams: a unary request is answered from a stream. wires/chat/request.py
    stream_only: bool = False
    #: A local server that cuts the prompt to its context in silence: the context is read and larger prompts are refused here (Ollama). proxy/context.py
    context_probe: str = ""
    #: Web search of the upstream: `none`, `responses` (hosted tool), `plugin` (OpenRouter: its plugin, or its server tool beside other tools) or `always` (Perplexity's Sonar). wires/chat/search.py, wires/responses/tools.py
    web_search: str = "none"
    #: Responses: `max_tool_calls` bounds hosted calls; else a search's `max_uses` is left out. wires/responses/tools.py
    max_tool_calls: bool = True
    #: The upstream's own tokenizer: `none`, `vllm` or `llamacpp`. proxy/count.py
    tokenizer: str = "none"

    # -- native wire -------------------------------------------------------------------------------------------------
    #: Anthropic request fields that a native upstream refuses, and so are left out: dotted paths (`thinking.display`, `messages.content.citations`), the names of
    #: `SPECIAL`, `messages.thinking`, `messages.redacted_thinking`, `messages.document` (told as text), `tools.typed` (tools of Anthropic's own types) and `tools.web_search`. wires/native/strip.py, history.py, tools.py
    native_drop: frozenset[str] = frozenset()
    #: `anthropic-beta` values pass on: `all` or `none`; only with `all` the client's anthropic-version and its billing header go too. wires/native/request.py
    native_betas: str = "none"
    #: The one word by which thinking is switched on, where `enabled` is not known and means nothing: `adaptive` (MiniMax, 2026-06); "": as the client says. wires/native/tools.py
    native_thinking: str = ""
    #: The native upstream has a `count_tokens` endpoint. wires/native/request.py
    native_count: bool = False


def override(quirks: Quirks, changes: dict[str, Any]) -> Quirks:
    """`quirks` with `changes` (field → value as YAML or JSON gives it); KeyError names an unknown field, TypeError a wrong type."""
    known = {f.name: f.type for f in fields(Quirks)}
    clean: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise KeyError(name)
        current = getattr(quirks, name)
        if isinstance(current, frozenset) and isinstance(value, (list, tuple, set, frozenset)):
            value = frozenset(map(str, value))
        elif isinstance(current, tuple) and isinstance(value, (list, tuple)):
            value = tuple(map(str, value))
        elif isinstance(current, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(current):
            raise TypeError(f"{name}: expected {known[name]}, got {value!r}")
        clean[name] = value
    return replace(quirks, **clean)
