"""Wordings of errors about one field of the request.

The rule's `field`, or the group `field` of its pattern, is what a lesson looks up.

Knows: wordings and field names. Must not know: what a lesson changes (wires/lessons.py).
Invariants: special wordings come before general ones; a general one captures the name as the upstream writes it.
"""

from __future__ import annotations

from a2py.wires.refusal.rule import Rule, codes, number, pattern


def _row(name: str, field: str, text: str, source: str, kind: str = "unsupported") -> Rule:
    """Return a rule with a fixed field."""
    return Rule(f"field.{name}", kind, pattern(text), source, field=field)


_NAME = r"(?P<field>[A-Za-z_][\w.\[\]]{0,120})"
_QUOTE = r"[`'\"\[(]*"
_STREAM = rf"{_QUOTE}\bstream\b[`'\"]?(?: (?:parameter|mode|field))?"
_STATUSES = frozenset({400, 404, 415, 422})

#: A field is accepted in general, but not with this value, in this place, or together with another field.
_FORMS = (
    _row(
        "effort",
        "reasoning_effort",
        r"reasoning[_.]?effort.{0,80}?(?:supported values are|must be one of|allowed values)(?P<values>.{0,120})"
        r"|unsupported value: '(?:none|minimal|low|medium|high|xhigh"
        r"|max)' is not supported.{0,80}?supported values are(?P<more>.{0,120})",
        "openai, groq, moonshot, 2026-06",
    ),
    _row(
        "reasoning_off",
        "reasoning.off",
        r"reasoning is mandatory|(?:thinking|reasoning)(?: mode)? can(?: ?not|'t) be (?:disabled|turned off"
        r"|switched off)"
        r"|only works in thinking mode|invalid thinking: only type=enabled"
        r"|enable_thinking.{0,60}?(?:restricted to true|must be set to true)",
        "openrouter 2026-09, gemini 2025-06, moonshot 2026-07, dashscope 2025-07",
    ),
    _row(
        "reasoning_tools",
        "reasoning.tools",
        r"function tools with reasoning_effort are not supported",
        "openai gpt-5.2, 2026-03",
    ),
    _row(
        "choice_thinking",
        "tool_choice.thinking",
        r"thinking mode does not support this tool_choice|tool_choice.{0,60}?(?:incompatible with thinking"
        r"|in thinking mode)"
        r"|thinking may not be enabled when tool_choice forces"
        r"|(?:tool_choice|forc\w+ (?:a |the )?tool).{0,80}?(?:when|while|with|if) "
        r"(?:extended )?(?:thinking|reasoning)\b",
        "deepseek, moonshot, dashscope, anthropic, relays, 2026-11",
    ),
    _row(
        "choice_object",
        "tool_choice.object",
        r"invalid tool_choice type: 'object'|only allowed string values for 'tool_choice'",
        "lmstudio, groq, 2026-07",
    ),
    _row(
        "choice_required",
        "tool_choice.required",
        r"tool[_ ]choice`? must (?:either )?be (?:a named tool|'auto')"
        r"|tool_choice.{0,40}?'?required'? is not supported",
        "vllm 2025-03, mlx-openai-server 500 2025-08",
    ),
    _row(
        "format_tools",
        "response_format.tools",
        r"(?:json mode|response_format|structured outputs?).{0,60}?(?:cannot|can't|not) .{0,30}?(?:combined|together"
        r"|used|supported) with (?:tool|function)",
        "groq, cerebras, 2026-04",
    ),
    _row(
        "format_thinking",
        "response_format.thinking",
        r"json mode.{0,40}?not supported when enable_thinking|(?:json mode"
        r"|response_format).{0,60}?not supported (?:in|with) thinking",
        "dashscope, 2026-03",
    ),
    _row(
        "reasoning_missing",
        "messages.reasoning_content.required",
        r"(?:reasoning_content|content\[\]\.thinking)`? in the thinking mode must be passed back"
        r"|(?:missing `?reasoning_content|reasoning_content is missing)",
        "deepseek (both its APIs) 2026-04, moonshot 2026-04",
    ),
    _row(
        "thinking_signature",
        "messages.thinking",
        r"invalid `?signature`? in `?(?:redacted_)?thinking`? block"
        r"|expected `?thinking`? or `?redacted_thinking`?, but found"
        r"|thinking\.signature: (?:field required|input should)"
        r"|(?:missing|without) (?:a )?`?(?:thinking )?signature`?\b"
        r"|first block must be `?thinking`?|each thinking block must contain"
        r"|`?(?:redacted_)?thinking`? blocks?\b.{0,80}?cannot be modified",
        "anthropic, of other vendors' turns and of its own that were changed, 2025-10 to 2026-09",
    ),
    _row(
        "reasoning_item",
        "messages.reasoning_item",
        r"encrypted[ _]content\b.{0,120}?(?:could not|cannot|can't|failed to|unable to) (?:be )?(?:verif|decrypt|pars)"
        r"|\bitem (?:with id )?[`'\"]?rs_.{1,120}?(?:not found|without its required|does not exist)"
        r"|without its required [`'\"]?reasoning",
        "openai and azure, of another key or resource, 2025-04 to 2026-09",
    ),
    Rule(
        "field.reasoning_item_code",
        "unsupported",
        None,
        "openai, 2025-10",
        codes("invalid_encrypted_content"),
        field="messages.reasoning_item",
    ),
    _row(
        "thought_signature_missing",
        "messages.thought_signature.required",
        r"missing an? [`'\"]?thought_?signature",
        "gemini, 2025-11",
    ),
    _row(
        "thought_signature",
        "messages.thought_signature",
        r"thought[ _]?signature[`'\"]? (?:is )?(?:not valid|invalid)|(?:invalid|corrupted) thought[ _]?signature",
        "gemini, 2025-11",
    ),
    _row(
        "content_and_thinking",
        "messages.reasoning_content.beside_content",
        r"cannot pass both content and thinking",
        "gpt-oss' template behind llama.cpp, with 500, 2025-11",
    ),
    _row(
        "budget_size",
        "thinking.budget_size",
        r"max_tokens`? must be greater than `?thinking\.budget_tokens"
        r"|budget_tokens`?: input should be (?:greater|less) than",
        "anthropic, 2026-11",
    ),
    _row(
        "native_effort",
        "output_config.effort",
        r"\boutput_config\.effort: input should be|does not support the effort parameter",
        "anthropic and its relays, 2026-02",
    ),
    _row(
        "unpaired",
        "messages.unpaired",
        r"`?tool_use`? ids were found without `?tool_result`? blocks|unexpected `?tool_use_id`? found in `?tool_result",
        "anthropic, after an interruption, 2025-06 to 2026-09",
    ),
    _row(
        "tool_reference",
        "messages.tool_reference",
        r"\btool_reference\b.{0,80}?(?:does not match|not supported)|(?:unsupported|unknown"
        r"|not support)\b.{0,80}?\btool_reference\b",
        "anthropic's older models 2025-12, moonshot 2026-03",
    ),
    _row(
        "thinking_type",
        "thinking.type",
        r"adaptive thinking is not supported|\bthinking\.type: input should be",
        "anthropic, 2026-02",
    ),
    _row(
        "reasoning_history",
        "messages.reasoning_content",
        r"messages\b.{0,200}?\b(?:reasoning(?:_content|_details)?\b.{0,40}?(?:unsupported|not supported"
        r"|not permitted))",
        "groq, mistral 422, 2026-06",
    ),
    _row(
        "developer",
        "messages.role.developer",
        r"\bdeveloper'?\"? (?:role )?(?:is not|isn't)|(?:invalid|unknown"
        r"|unexpected) (?:message )?role:? ['\"]?developer|support 'developer'",
        "dashscope, new-api, 2026-08",
    ),
    _row(
        "system_place",
        "messages.role.system",
        r"system (?:message|role|prompt).{0,40}?(?:must be (?:at the beginning|first)|only .{0,20}?first"
        r"|beginning of the conversation)"
        r"|role 'system' is not supported|input should be 'user' or 'assistant'",
        "qwen's and llama's templates behind vllm and llama.cpp, 2025-09",
    ),
    _row(
        "system",
        "messages.role",
        r"system role (?:is )?not supported|(?:unexpected|unknown|invalid"
        r"|incorrect) (?:message )?role(?: information)?\b(?!.{0,20}after role)"
        r"|only user and assistant roles are supported|input should be 'system', 'user', 'assistant'",
        "gemma's template, deepinfra 422, zai (1214), halogen, 2026-09",
    ),
    _row(
        "phase",
        "phase",
        r"invalid value: '(?:commentary|final_answer)'|\bphase[`'\"]?:? (?:input should be|must be)|\b\d+\.phase\b",
        "openai's and pydantic's words for a value and for a field, gpt-5.3-codex' field, 2026-02",
    ),
    _row("after_tool", "messages.after_tool", r"unexpected role 'user' after role 'tool'", "mistral, 2024-11"),
    _row(
        "alternation",
        "messages.alternation",
        r"roles must alternate|must alternate (?:between )?user|consecutive (?:user|assistant|messages)",
        "mistral's and gemma's templates behind vllm, 2024-07; perplexity, 2025-02",
    ),
    _row(
        "prefill_prefix",
        "messages.prefill.prefix",
        r"expected last role user or tool.{0,60}?prefix",
        "mistral, 2024-11",
    ),
    _row(
        "prefill",
        "messages.prefill",
        r"assistant message prefill|(?:conversation|messages) must end with a user|cannot end with an? assistant"
        r"|last message must (?:be|have role) .?user",
        "anthropic 2026-02, others",
    ),
    _row(
        "empty",
        "messages.empty",
        r"(?:content|text).{0,30}?(?:must (?:be non-empty|contain non-whitespace)"
        r"|(?:must not|cannot|can't|should not|may not) be empty)"
        r"|non-empty content|content is empty|cache_control cannot be set for empty text"
        r"|content field in the message object .{0,60}? is empty",
        "anthropic, moonshot, dashscope, 2025-10; minimax (2013), bedrock, 2026-04",
    ),
    _row(
        "tool_id_limit",
        "messages.tool_call_id.limit",
        rf"tool_calls?\b.{{0,20}}?id'?: string too long.{{0,60}}?maximum length {number('limit')}",
        "openai, 2025-11",
    ),
    _row(
        "arguments",
        "messages.tool_calls.arguments",
        r"failed to parse tool call arguments|invalid (?:tool call|function call|function) arguments"
        r"|(?:function.arguments|tool call arguments)[`'\"]?.{0,40}?(?:must be|is not|not) (?:a )?(?:valid )?json"
        r"|(?:expecting .{1,60}?|unterminated string starting at|invalid \\?escape|extra data"
        r"|invalid control character at): line \d+ column \d+ \(char",
        "llama.cpp 500, ollama, sglang, vllm (Python's json), 2026-09",
    ),
    _row("tool_id", "messages.tool_call_id", r"tool call id .{0,80}?must be a-z, A-Z, 0-9", "mistral, 2024-11"),
    _row(
        "stream_only",
        "stream.only",
        rf"only supports? (?:the )?stream(?:ing)?(?: mode| requests?| calls?)?\b|enable the stream parameter"
        rf"|set to false for non-streaming"
        rf"|{_STREAM} (?:must|should|has to|needs to|can only) be (?:set to )?{_QUOTE}true\b"
        rf"|\bset {_STREAM} ?(?:to|=) ?{_QUOTE}true\b|{_STREAM} ?[=:] ?{_QUOTE}false{_QUOTE} (?:is|was) not"
        rf"|only streaming (?:\w+ )?(?:is|are) (?:supported|allowed|accepted)|\bstreaming (?:mode )?is required"
        rf"|(?:\bnon-? ?|\bun)stream(?:ing|ed)?\b[^.]{{0,30}}? (?:not|un) ?(?:supported|allowed|available|enabled)"
        rf"|(?:not|n't) support (?:\w+ )?non-? ?stream",
        "dashscope qwq, qwen3, 2025-05; relays to codex's backend, 2026-05",
    ),
    _row(
        "stream_never",
        "stream.never",
        rf"\bverified to stream\b|(?:not|n't) support (?:\w+ )?(?:{_STREAM}|streaming|streamed)(?!\w| ?[=:])"
        rf"|{_STREAM} does not support {_QUOTE}true"
        rf"|(?<!non)(?<!non[- ])\bstreaming (?:\w+ )?(?:is|are) (?:not|un) ?(?:currently |yet )?(?:supported|available"
        rf"|allowed|enabled|implemented|possible)"
        rf"|(?:unsupported|not supported|not available|disabled) for streaming"
        rf"|{_STREAM} (?:must|should|has to|needs to|can only) be (?:set to )?{_QUOTE}false\b"
        rf"|\bset {_STREAM} ?(?:to|=) ?{_QUOTE}false\b|{_STREAM} ?[=:] ?{_QUOTE}true{_QUOTE} (?:is|was) not",
        "openai's organisations that are not verified 2025-05, o1 2024-12, bedrock, relays, 2026-05",
    ),
    _row(
        "stop_limit",
        "stop",
        rf"\bstop'?:? .{{0,20}}?array too long.{{0,60}}?maximum length {number('limit')}",
        "openai, 2025-06",
    ),
    _row(
        "temperature_max",
        "temperature.max",
        r"\btemperature\b.{0,80}?(?:<=|less than or equal to) (?P<limit>\d+)(?:\.0+)?(?![\d.]*\d)",
        "openai, 2026-11",
        "invalid_request",
    ),
    _row("top_p_too", "top_p", r"`?temperature`? and `?top_p`? cannot both", "anthropic, bedrock, 2025-10"),
    Rule(
        "field.fixed",
        "unsupported",
        pattern(
            r"invalid (?P<field>temperature|top_p|top_k|thinking): only|(?P<f2>temperature|top_p|top_k)[`'\"]? (?:may"
            r"|must|can) only be"
            r"|(?P<f3>temperature|top_p|top_k)[`'\"]? is deprecated"
        ),
        "moonshot 2026-06, anthropic 2026-03",
    ),
)

_TOOLS = (
    Rule(
        "tools.flag",
        "invalid_request",
        pattern(r"requires? --jinja|requires? --enable-auto-tool-choice"),
        "llama.cpp 500, vllm 400, 2026-11",
        field="tools",
        should_retry=False,
    ),
    Rule(
        "tools.grammar",
        "invalid_request",
        pattern(r"failed to (?:parse|compile) (?:the )?grammar"),
        "lmstudio and llama.cpp with 400 and 500, of a schema that they cannot compile, 2026-09",
        field="tools",
        should_retry=False,
    ),
    Rule(
        "tools.none",
        "invalid_request",
        pattern(r"does not support (?:tools|tool use|tool call|function call)|no endpoints found that support tool"),
        "ollama 400, openrouter 404, 2026-05",
        field="tools",
        should_retry=False,
    ),
)

#: General sentences that contain the name of the field.
_SENTENCES = (
    Rule(
        "named.kind",
        "unsupported",
        pattern(
            rf"(?:unsupported|unknown|unrecognized|unexpected|extraneous) (?:request )?(?:parameter|argument|field"
            rf"|property|key|name|option)s?"
            rf"(?: supplied| received)?:? {_QUOTE}{_NAME}"
        ),
        "openai, azure 2024-08, gemini 2026-01",
    ),
    Rule(
        "named.property",
        "unsupported",
        pattern(rf"property [`'\"]{_NAME}[`'\"] is (?:unsupported|not supported)"),
        "groq, cerebras, 2026-02",
    ),
    Rule(
        "named.extra",
        "unsupported",
        pattern(
            rf"(?<![\w.\[\]]){_NAME}: extra inputs are not permitted"
            rf"|extra inputs are not permitted,? field: '(?P<f2>[\w.]+)'"
        ),
        "fireworks 2024-07, mistral, bedrock, anthropic, pydantic's words behind many",
    ),
    Rule(
        "named.parameters",
        "unsupported",
        pattern(rf"(?:does not|doesn't|do not) support (?:the )?(?:request )?param(?:eter)?s?:? {_QUOTE}{_NAME}"),
        "xai 2026-08, litellm 2026-08",
    ),
    Rule(
        "named.value",
        "unsupported",
        pattern(rf"unsupported value: [`'\"]{_NAME}[`'\"] does not support"),
        "openai, 2026-11",
    ),
    Rule(
        "named.is_not",
        "unsupported",
        pattern(
            r"[`'\"](?P<field>temperature|stop|tools|store|user|seed|stream|reasoning|thinking|verbosity|logprobs|phase"
            r"|[a-z]+_\w+)[`'\"]"
            r" (?:parameter |field |argument )?(?:is|are) not (?:supported|permitted|allowed|enabled|recognized)"
        ),
        "openai, many, 2026-11",
    ),
    Rule(
        "named.unexpected",
        "unsupported",
        pattern(rf"'{_NAME}' was unexpected|unexpected keyword argument '(?P<f2>\w+)'"),
        "python servers, 2025-05",
    ),
    Rule(
        "named.enabled",
        "unsupported",
        pattern(r"^(?P<field>logprobs|reasoning)\b.{0,40}? (?:is|are) not enabled for this model"),
        "mistral (3051), 2026-11",
    ),
    Rule(
        "named.thinking",
        "unsupported",
        pattern(r"does not support thinking|think value .{0,20}? is not supported"),
        "ollama, 2026-01; anthropic, 2025-06",
        field="thinking.support",
    ),
    Rule(
        "named.structured",
        "unsupported",
        pattern(
            r"(?:json_schema|structured outputs?).{0,60}?(?:unavailable|not (?:yet )?support|unsupported)"
            r"|does not support (?:json_schema|structured)"
        ),
        "deepseek 422, friendliai, 2025-02",
        field="response_format",
    ),
    Rule(
        "named.param",
        "unsupported",
        None,
        "openai's codes, with the name in `param`, 2026-11",
        codes("unsupported_parameter|unknown_parameter|unsupported_value|extra_forbidden"),
        field="param",
    ),
    Rule(
        "named.not_with_model",
        "unsupported",
        pattern(r"not supported (?:with|for|by) this model|extra inputs are not permitted"),
        "openai: web search options; pydantic's words, the place in `param`, 2026-11",
        field="param",
    ),
    Rule(
        "named.mention",
        "unsupported",
        pattern(
            r"\b(?P<field>stream_options|parallel_tool_calls|reasoning_effort|chat_template_kwargs|enable_thinking"
            r"|thinking_budget"
            r"|prompt_cache_\w+|cache_control|response_format|service_tier|tool_stream|reasoning_split)\b"
        ),
        "fields that only the proxy adds itself",
        statuses=_STATUSES,
    ),
)

FIELDS = (*_FORMS, *_TOOLS, *_SENTENCES)
