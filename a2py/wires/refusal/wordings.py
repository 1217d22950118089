"""How upstreams word their refusals, as data: one `Rule` a wording, with the provider and the date it was seen.

Knows: regular expressions over an error's text and over its codes. Must not know: bodies, headers, how an error is worded to the client.
Invariants: the first rule that matches counts, so a special wording stands above a general one; each rule's name heads a golden case
(tests/goldens/errors.md). Named groups: `used` tokens of the prompt, `tools` those of the tool list, `out` the completion's, `total` both,
`limit` what is taken, `below` one more than that; `field` a request field, `values` the words it takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Rule(NamedTuple):
    """`text` or `codes` must be found; `statuses`: only with these (empty: any); `verbatim`: the text goes on as it came."""

    name: str
    kind: str
    text: re.Pattern[str] | None
    seen: str
    codes: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()
    provider: str = ""
    field: str = ""
    should_retry: bool | None = None
    verbatim: bool = False


def pattern(text: str) -> re.Pattern[str]:
    """A space stands for any white space, ` ?` for none or any."""
    return re.compile(text.replace(" ?", r"\s*").replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)


def codes(words: str) -> re.Pattern[str]:
    """Any of these words as a whole code."""
    return re.compile(rf"(?<!\S)(?:{words})(?!\S)", re.IGNORECASE)


def number(name: str) -> str:
    """A number, with or without thousands commas."""
    return rf"(?P<{name}>\d[\d,]{{0,14}})"


def _bare(rows: Iterable[tuple[str, str, str]]) -> tuple[Rule, ...]:
    """Overflows that name no number."""
    return tuple(Rule(f"overflow.{name}", "context_overflow", pattern(text), seen) for name, text, seen in rows)


#: The output limit's names, as they stand in sentences.
_MAX = r"max_(?:completion_|output_|new_)?tokens"
_REFUSED = frozenset({400, 401, 403})
_NAMED = frozenset({400, 415, 422})

#: Wordings that look like another kind.
_FIRST = (
    Rule(
        "capability_rejected",
        "invalid_request",
        pattern(r"^capability_rejected: ?\w"),
        "Claude Code 2.1.330 knows it, 2026-11",
        verbatim=True,
    ),
    Rule(
        "rate_limit.size",
        "rate_limit",
        pattern(rf"(?:tokens per (?:min|day)|\bTP[MD]\b).{{0,300}}?limit:? {number('limit')}.{{0,60}}?requested:? {number('used')}"),
        "groq with 413, openai with 429, 2026-11",
    ),
    Rule("rate_limit.throttle", "rate_limit", pattern(r"too many tokens, please wait|throttlingexception"), "bedrock, 2026-06"),
    Rule(
        "rate_limit.quota",
        "rate_limit",
        None,
        "gemini says 'exceeded your current quota' to a rate limit, 2026-07",
        codes("resource_exhausted|ratelimitexceeded"),
    ),
    Rule(
        "rate_limit.azure",
        "rate_limit",
        None,
        "azure: insufficient_quota can be tokens per minute, 2026-11",
        codes("insufficient_quota"),
        provider="azure",
    ),
    Rule(
        "overflow.credit",
        "context_overflow",
        pattern(rf"prompt tokens limit exceeded: {number('used')} > {number('limit')}"),
        "openrouter with 402, 2026-11: what the credit left pays for; a compaction helps",
    ),
    Rule(
        "tool_use_failed",
        "invalid_request",
        None,
        "groq, 2025-10: the model's own slip, another attempt succeeds as a rule",
        codes("tool_use_failed|output_parse_failed"),
        should_retry=True,
    ),
)

_BILLING = (
    Rule(
        "billing.afford",
        "billing",
        pattern(
            rf"requires more credits, or fewer max_tokens.{{0,120}}?requested up to {number('out')} tokens, but can only afford {number('limit')}"
        ),
        "openrouter with 402, 2026-11",
        field="credit",
    ),
    Rule(
        "billing.code",
        "billing",
        None,
        "openai 429, sambanova 402, new-api, dashscope, moonshot, 2026-11",
        codes(
            "insufficient_quota|credit_balance_exhausted|billing_hard_limit_reached|billing_not_active|payment_method_required"
            "|insufficient_(?:user_)?(?:quota|balance|credits|funds)|arrearage|exceeded_current_quota_error"
        ),
    ),
    Rule(
        "billing.text",
        "billing",
        pattern(
            r"exceeded your current quota|insufficient (?:account )?(?:balance|credits?|funds|quota)|credit balance is too low|out of credits"
            r"|payment method is required|account is in good standing|余额不足|欠费|don't have (?:any|enough) credits|no credits (?:left|remaining)"
            r"|used all (?:of )?(?:your|its|available) credits|(?:monthly|included) (?:included credits|spending limit)"
        ),
        "deepseek 402, zai 429 (1113), xai 403, huggingface 402, minimax 1008, 2026-07",
    ),
)

_POLICY = (
    Rule(
        "policy.code",
        "content_policy",
        None,
        "azure 400, moonshot 400, dashscope 400, 2026-11",
        codes(
            "content_filter|content_policy_violation|responsibleaipolicyviolation|data_?inspection_?failed|moderation_blocked|invalid_prompt"
        ),
    ),
    Rule(
        "policy.text",
        "content_policy",
        pattern(
            r"content management policy|considered high risk|content exists risk|inappropriate content|requires moderation|input was flagged"
            r"|flagged (?:as|for) potential|(?:input|output|new)_sensitive|violat\w* .{0,40}(?:usage|content|safety) polic|不安全或敏感内容"
        ),
        "azure, deepseek, dashscope, openrouter 403, openai, zai (1301), 2026-07",
    ),
)

_PARTS = rf"{number('used')} (?:in|of) (?:the |your )?(?:messages|prompt|text input)"
_OUT = rf"(?:[,;] (?:and )?{number('out')} (?:in|for) the (?:completion|output))"
#: Overflows that name numbers: what the prompt holds, what the completion adds, what the context takes.
_OVERFLOW = (
    Rule(
        "overflow.anthropic_sum",
        "context_overflow",
        pattern(rf"input length and `?max_tokens`? exceed context limit: {number('used')} \+ {number('out')} > {number('limit')}"),
        "anthropic, bedrock, 2026-02",
    ),
    Rule(
        "overflow.anthropic",
        "context_overflow",
        pattern(rf"prompt is too long(?:: {number('used')} tokens? > {number('limit')})?"),
        "anthropic, 2026-11",
    ),
    Rule(
        "overflow.cap",
        "context_overflow",
        pattern(
            rf"max_(?:completion_)?tokens' is too large: {number('out')}\. .{{0,40}}context length is {number('limit')} tokens .{{0,40}}?{number('used')} input tokens"
        ),
        "vllm, 2026-04",
    ),
    Rule(
        "overflow.prompt_contains",
        "context_overflow",
        pattern(
            rf"context length is {number('limit')} tokens.{{0,20}}?requested {number('out')} output tokens and your prompt contains (?:at least )?{number('used')} input"
        ),
        "vllm, 2026-06",
    ),
    Rule(
        "overflow.parts",
        "context_overflow",
        pattern(
            rf"maximum context length is {number('limit')} tokens.{{0,20}}?requested (?:about )?{number('total')} tokens"
            rf" \({_PARTS}(?:, (?:and )?{number('tools')} (?:in the functions|of tool input))?{_OUT}?"
        ),
        "openai 2023, vllm, deepseek 2026-01, openrouter 2026-03",
    ),
    Rule(
        "overflow.resulted",
        "context_overflow",
        pattern(
            rf"(?:maximum context length is|configured limit of) {number('limit')} tokens\.? .{{0,30}}?(?:resulted in|requested) {number('used')} tokens"
        ),
        "openai, vllm, 2026-11",
    ),
    Rule(
        "overflow.sglang_sum",
        "context_overflow",
        pattern(
            rf"maximum context length of {number('limit')} tokens\. You requested a total of {number('total')} tokens:"
            rf" {number('used')} tokens from the input messages and {number('out')} tokens for the completion"
        ),
        "sglang, 2025-08",
    ),
    Rule(
        "overflow.longer_than",
        "context_overflow",
        pattern(
            rf"(?:input|prompt) \((?:(?:total )?length )?{number('used')}(?: tokens)?\) is longer than the (?:model's context|maximum model) length (?:of )?\(?{number('limit')}"
        ),
        "sglang, together, vllm, 2026-11",
    ),
    Rule(
        "overflow.input_length",
        "context_overflow",
        pattern(
            rf"input length \(?{number('used')}(?: tokens)?\)? exceeds (?:the )?(?:model's )?maximum (?:allowed )?(?:input |context )?length"
            rf" (?:of )?\(?{number('limit')}"
        ),
        "sglang 2025-03, poolside 2026-05",
    ),
    Rule(
        "overflow.gemini",
        "context_overflow",
        pattern(rf"input token count(?: \({number('used')}\))? exceeds the maximum number of tokens allowed(?: \({number('limit')}\))?"),
        "gemini, 2026-11",
    ),
    Rule(
        "overflow.llamacpp",
        "context_overflow",
        pattern(rf"request(?: \({number('used')} tokens\))? exceeds the available context size(?: \({number('limit')} tokens\))?"),
        "llama.cpp, 2026-11",
    ),
    Rule(
        "overflow.copilot",
        "context_overflow",
        pattern(rf"prompt token count of {number('used')} exceeds the limit of {number('limit')}"),
        "copilot, 2026-11",
    ),
    Rule(
        "overflow.xai",
        "context_overflow",
        pattern(rf"maximum prompt length is {number('limit')} but the request contains {number('used')}"),
        "xai, 2026-11",
    ),
    Rule(
        "overflow.mistral",
        "context_overflow",
        pattern(rf"prompt contains {number('used')} tokens.{{0,40}}?too large for model with {number('limit')}"),
        "mistral, 2026-11",
    ),
    Rule(
        "overflow.moonshot",
        "context_overflow",
        pattern(rf"exceeded model token limit(?: ?:? {number('limit')})?(?: \(requested: {number('total')}\))?"),
        "moonshot, 2026-11: prompt and max_tokens together",
    ),
    Rule(
        "overflow.cerebras",
        "context_overflow",
        pattern(rf"current length is {number('used')} while limit is {number('limit')}"),
        "cerebras, 2026-11",
    ),
    Rule(
        "overflow.siliconflow",
        "context_overflow",
        pattern(rf"max_total_tokens \({number('total')}\) must be less than or equal to max_seq_len \({number('limit')}\)"),
        "siliconflow, 2026-11: prompt and max_tokens together",
    ),
    Rule(
        "overflow.tgi_sum",
        "context_overflow",
        pattern(
            rf"`?inputs`? tokens \+ `?max_new_tokens`? must be <= {number('limit')}(?:\. Given: {number('used')} `?inputs`? tokens"
            rf" and {number('out')} `?max_new_tokens)?"
        ),
        "tgi 422, together 403, 2026-11",
    ),
    Rule(
        "overflow.tgi",
        "context_overflow",
        pattern(rf"`?inputs`? must have less than {number('limit')} tokens\. Given: {number('used')}"),
        "tgi, 2024-06",
    ),
    Rule(
        "overflow.range",
        "context_overflow",
        pattern(rf"range of input length should be \[\d+, ?{number('limit')}\]"),
        "dashscope, xunfei, 2026-11",
    ),
    Rule(
        "overflow.atlas",
        "context_overflow",
        pattern(rf"prompt too long: {number('used')} tokens exceeds max_seq_len {number('limit')}"),
        "atlas, 2026-09",
    ),
    Rule(
        "overflow.only_up_to",
        "context_overflow",
        pattern(rf"but model only supports up to {number('limit')}"),
        "Claude Code 2.1.330 knows it, 2026-11",
    ),
)

#: The output limit alone is too large.
_CAP = (
    Rule(
        "max_tokens.anthropic",
        "max_tokens",
        pattern(rf"max_tokens: {number('out')} > {number('limit')}, which is the maximum allowed"),
        "anthropic, 2026-11",
    ),
    Rule(
        "max_tokens.openai",
        "max_tokens",
        pattern(
            rf"{_MAX}[`'\"]? is too large:? {number('out')}\. .{{0,60}}?supports? at most {number('limit')} (?:completion|output) tokens"
        ),
        "openai, xiaomi_mimo, 2026-05",
    ),
    Rule(
        "max_tokens.range",
        "max_tokens",
        pattern(rf"range of [`'\"]?{_MAX}[`'\"]? (?:is|should be) \[\d+, ?{number('limit')}\]"),
        "deepseek, dashscope, 2026-04",
    ),
    Rule(
        "max_tokens.above",
        "max_tokens",
        pattern(rf"{_MAX}.{{0,120}}?integer above maximum value.{{0,30}}?<= {number('limit')}(?:,? but got {number('out')})?"),
        "volcengine, openai, 2026-04",
    ),
    Rule(
        "max_tokens.at_most",
        "max_tokens",
        pattern(
            rf"(?:{_MAX}|max tokens)[`'\"]?(?: for `[^`]{{0,80}}`)?:? (?:input )?(?:must|should) be"
            rf" (?:less than or equal to|at most|no more than|<=) [`'\"]?{number('limit')}"
        ),
        "groq 2026-08, nvidia_nim 2026-07, pydantic's words behind many",
    ),
    Rule(
        "max_tokens.between",
        "max_tokens",
        pattern(rf"max_tokens \(current value: {number('out')}\) must be between \d+ and {number('limit')}"),
        "a relay with reason INVALID_REQUEST_BODY, 2025-03",
    ),
    Rule(
        "max_tokens.gemini",
        "max_tokens",
        pattern(
            rf"maxOutputTokens value of {number('out')} but the supported range is from \d+ \(inclusive\) to {number('below')} \(exclusive\)"
        ),
        "gemini, 2025-09",
    ),
)

_OVERFLOW_BARE = (
    *_bare(
        (
            ("lmstudio", rf"loaded with context length of only {number('limit')}|greater than the context length", "lmstudio, 2026-02"),
            ("vllm_decoder", r"longer than the maximum model length", "vllm, Claude Code 2.1.330 knows it, 2026-11"),
            ("openai", r"exceeds the context window|input tokens exceed the configured limit", "openai, 2026-11"),
            ("minimax", r"context window exceeds limit", "minimax (base_resp 2013), 2026-11"),
            ("zai", r"prompt exceeds max length", "zai (1261), 2026-11"),
            ("perplexity", r"total length of all messages is too long", "perplexity, 2026-11"),
            ("groq", r"reduce the length of the (?:messages|input prompt)", "groq, vllm, 2026-11"),
            ("ollama", r"prompt too long|exceeded max context length", "ollama cloud, 2026-11"),
            ("bedrock", r"input is too long(?: for requested model|\.?$)", "bedrock, 2026-11"),
            ("moonshot_input", r"input token length too long", "moonshot, 2026-11"),
            (
                "azure",
                r"context exceeds your deployment|tokens in request more than max tokens allowed",
                "Claude Code 2.1.330 knows them, 2026-11",
            ),
            (
                "generic",
                rf"maximum context l(?:ength|imit)(?: (?:is|of) {number('limit')})?|context[ _]length[ _]exceeded",
                "many, 2026-11",
            ),
        )
    ),
    Rule(
        "overflow.code",
        "context_overflow",
        None,
        "openai, groq, llama.cpp, copilot, perplexity, litellm, 2026-11",
        codes(
            "context_length_exceeded|exceed_context_size_error|model_max_prompt_tokens_exceeded|too_many_prompt_tokens|contextwindowexceedederror"
        ),
    ),
)

_KEY = (
    Rule(
        "key.code",
        "authentication",
        None,
        "openai, groq, perplexity, deepseek, gemini, 2026-11",
        codes(
            "(?:invalid|incorrect)_api_key|api_key_invalid|(?:invalid_)?authentication_?error|unauthenticated|unauthorized|token_expired"
        ),
        _REFUSED | {0},
    ),
    Rule(
        "key.text",
        "authentication",
        pattern(
            r"(?:invalid|incorrect|wrong|malformed|expired|revoked) (?:x-)?(?:api|access|subscription|bearer|auth\w*)[ _-]?(?:key|token)"
            r"|(?:api|access)[ _-]?key (?:is )?(?:not valid|invalid|incorrect|not found|expired)|api key: \S+ is invalid"
            r"|(?:no|missing) (?:api[ _-]?key|authentication|authorization|bearer|cookie auth)|authentication (?:fails|failed)"
            r"|parse your authentication token|身份验证失败|无效的令牌"
        ),
        "openai, azure-ai 401, gemini 400, mistral 401, openrouter 401, codex 401, xai 400, 2026-11",
    ),
    Rule("key.forbidden", "authentication", pattern(r"^forbidden\.?$"), "doubleword, 2026-11", statuses=frozenset({403})),
)

_PATH = r"messages\.\d+\.content\.\d+\.(?:tool_result\.content\.\d+\.)?"
_MEDIA = (
    Rule(
        "image.anthropic",
        "image",
        pattern(
            rf"could not process image|image exceeds|image dimensions exceed|image does not match the provided media type|image cannot be empty|{_PATH}image"
        ),
        "anthropic, 2026-11",
        verbatim=True,
    ),
    Rule(
        "document.anthropic",
        "document",
        pattern(
            rf"does not support pdf input|could not process pdf|pdf specified (?:was not valid|is password)|pdf cannot be empty|{_PATH}document"
        ),
        "anthropic, 2026-11",
        verbatim=True,
    ),
    Rule(
        "image.none",
        "image",
        pattern(
            r"(?:images?|vision|multi-?modal)(?: (?:inputs?|contents?|content blocks?))? (?:is|are) not (?:supported|enabled)"
            r"|(?:does not|doesn't|do not|cannot|not) support (?:the )?(?:image|vision|multi-?modal)|endpoints found that support image"
            r"|is not a multimodal model|at most 0 images?|missing data required for image|(?:unknown|unsupported) \w[\w ]{0,20}:? [`'\"]?image_url"
            r"|image_url is only supported by|vision is not supported|copilot-vision-request"
        ),
        "lmstudio, llama.cpp 500, mistral, openrouter 404, ollama, vllm, deepseek, xai, openai, 2026-09",
        field="images",
    ),
    Rule(
        "image.text_only",
        "image",
        pattern(r"(?:content|value)[`'\"]? must be a string|invalid type: sequence, expected a string"),
        "groq, deepseek, 2026-06: text alone goes as a string already, so the parts were an image's",
        field="messages.content",
    ),
    Rule(
        "image.code",
        "image",
        None,
        "openai, 2026-11",
        codes("invalid_image\\w*|image_parse_error|invalid_base64\\w*|image_too_large|unsupported_image\\w*"),
    ),
    Rule(
        "image.size",
        "image",
        pattern(r"\bimages?\b.{0,60}?(?:too large|too big|larger than|exceed)|max bytes per data-uri"),
        "groq, dashscope, 2026-05",
    ),
    Rule(
        "image.bad",
        "image",
        pattern(
            r"unsupported image|(?:failed|unable|error|timeout) (?:to |while )?(?:load|download|fetch|process|decode|open)\w* (?:the |input |an )?image"
            r"|cannot identify image|invalid (?:base64 )?image|image: unknown format|image (?:length|height|width) and (?:width|height)"
        ),
        "openai, vllm, gemini, ollama, dashscope, 2026-05",
    ),
    Rule(
        "document.none",
        "document",
        pattern(
            r"(?:unknown variant|invalid value:?|part type:?) [`'\"]?(?:input_)?file\b|unsupported content\[\]\.type|either text or image_url"
            r"|(?:pdfs?|files?|documents?)(?: (?:inputs?|contents?|uploads?))? (?:is|are) not (?:supported|enabled)|endpoints found that support file"
            r"|(?:does not|doesn't) support (?:the )?(?:pdf|file|document)"
        ),
        "deepseek, dashscope, llama.cpp, vllm, openai, openrouter 404, 2026-11",
        field="documents",
    ),
    Rule(
        "document.bad",
        "document",
        pattern(r"(?:failed|unable) to (?:parse|process|read|open) (?:the )?(?:pdf|document|file)|invalid pdf"),
        "openrouter, 2026-02",
    ),
)

_MODEL = (
    Rule(
        "model.code",
        "not_found",
        None,
        "openai, groq, azure, mistral, 2026-11",
        codes("model_not_found|deploymentnotfound|invalid_model|model_not_exist|model_decommissioned|1211"),
    ),
    Rule(
        "model.text",
        "not_found",
        pattern(
            r"(?:model|deployment)\b.{0,120}?(?:does not exist|not found|is not a valid model|has been (?:decommissioned|deprecated)|no longer available)"
            r"|not found the model|invalid model\b|unknown model\b|supported api model names are|allowed now, your model"
            r"|must provide a model|no endpoints found (?:for|matching model)|模型不存在"
        ),
        "deepseek, hyperbolic, xai, venice, moonshot, openrouter, fireworks, ollama, openai, 2026-11",
    ),
)

_SERVER = (
    Rule(
        "permission",
        "permission",
        pattern(r"data policy|country, region, or territory not supported|plan not support model"),
        "openrouter 404, openai 403, minimax 2061, 2026-11",
        should_retry=False,
    ),
    Rule(
        "overloaded.code",
        "overloaded",
        None,
        "moonshot 429, groq 498, anthropic, 2026-11",
        codes("engine_overloaded(?:_error)?|overloaded(?:_error)?|capacity_exceeded|unavailable_error|service_unavailable"),
    ),
    Rule(
        "rate_limit.code",
        "rate_limit",
        None,
        "openai, zai, together, 2026-11",
        codes("rate_limit(?:_exceeded|_error|_reached_error)?|too_many_requests|130[2-5]"),
    ),
    Rule(
        "rate_limit.text",
        "rate_limit",
        pattern(r"\brate[ _-]?limits?\b|too many requests|请求过于频繁|速率限制"),
        "openrouter, together, nvidia_nim, 2026-11",
    ),
    Rule(
        "overloaded.text",
        "overloaded",
        pattern(
            r"overloaded|(?:tier |over |at )capacity\b|too busy|server is busy|DEGRADED function|no healthy upstream|temporarily unavailable"
            r"|(?:model|service) is (?:currently )?(?:busy|loading|unavailable)"
        ),
        "mistral 429, siliconflow 503, nvidia_nim 400, openai 503, 2026-11",
    ),
)

#: Above and below the rules for request fields (fields.py).
EARLY = (*_FIRST, *_BILLING, *_POLICY, *_OVERFLOW, *_CAP, *_OVERFLOW_BARE, *_KEY, *_MEDIA)
LATE = (*_MODEL, *_SERVER)
