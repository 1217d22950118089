"""Wordings of errors about keys, credit, rates, content, media, models and capacity.

Knows: the wordings, with who uses them and when that was seen. Must not know: bodies, headers, messages to the client.
Invariants: the first rule that matches counts, so a special wording comes before a general one; each rule's name is in
a golden case (tests/goldens/errors.md).
"""

from __future__ import annotations

from a2py.wires.refusal.overflow import BARE, CAPS, MEANT, NUMBER_RULES
from a2py.wires.refusal.rule import Rule, codes, number, pattern

_REFUSAL_STATUSES = frozenset({400, 401, 403})

#: Wordings that a later rule would match with another kind, so they come first. Fields of a row: name, kind of error,
#: pattern of the text, who says it and when, pattern of the code (rule.py).
_FIRST = (
    Rule(
        "capability_rejected",
        "invalid_request",
        pattern(r"^capability_rejected: ?\w"),
        "Claude Code 2.1.332 knows it, 2026-11",
        verbatim=True,
    ),
    Rule(
        "rate_limit.size",
        "rate_limit",
        pattern(
            rf"(?:tokens per (?:min|day)|\bTP[MD]\b).{{0,300}}?limit:? {number('limit')}.{{0,60}}?requested:?"
            rf" {number('used')}"
        ),
        "groq with 413, openai with 429, 2026-11",
    ),
    Rule(
        "rate_limit.throttle",
        "rate_limit",
        pattern(r"too many tokens, please wait|throttlingexception"),
        "bedrock, 2026-06",
    ),
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
        "openrouter with 402, 2026-11: the credit left pays for fewer tokens; compacting helps",
    ),
    Rule(
        "tool_use_failed",
        "invalid_request",
        None,
        "groq, 2025-10: the model wrote a broken call; another attempt usually succeeds",
        codes("tool_use_failed|output_parse_failed"),
        should_retry=True,
    ),
)

_BILLING = (
    Rule(
        "billing.afford",
        "billing",
        pattern(
            rf"requires more credits, or fewer max_tokens.{{0,120}}?requested up to {number('out')} tokens, but can"
            rf" only afford {number('limit')}"
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
            "insufficient_quota|credit_balance_exhausted|billing_hard_limit_reached|billing_not_active"
            "|payment_method_required"
            "|insufficient_(?:user_)?(?:quota|balance|credits|funds)|arrearage|exceeded_current_quota_error"
        ),
    ),
    Rule(
        "billing.text",
        "billing",
        pattern(
            r"exceeded your current quota|insufficient (?:account )?(?:balance|credits?|funds|quota)"
            r"|credit balance is too low|out of credits"
            r"|payment method is required|account is in good standing|余额不足|欠费|don't have (?:any|enough) credits"
            r"|no credits (?:left|remaining)"
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
            "content_filter|content_policy_violation|responsibleaipolicyviolation|data_?inspection_?failed"
            "|moderation_blocked|invalid_prompt"
            "|image_content_policy_violation|bio_policy|misalignment_policy_violation"
        ),
    ),
    Rule(
        "policy.text",
        "content_policy",
        pattern(
            r"content management policy|considered high risk|content exists risk|inappropriate content"
            r"|requires moderation|input was flagged"
            r"|flagged (?:as|for) potential|(?:input|output|new)_sensitive|violat\w* .{0,40}(?:usage|content"
            r"|safety) polic|不安全或敏感内容"
        ),
        "azure, deepseek, dashscope, openrouter 403, openai, zai (1301), 2026-07",
    ),
)

_KEY = (
    Rule(
        "key.code",
        "authentication",
        None,
        "openai, groq, perplexity, deepseek, gemini, 2026-11",
        codes(
            "(?:invalid|incorrect)_api_key|api_key_invalid|(?:invalid_)?authentication_?error|unauthenticated"
            "|unauthorized|token_expired"
        ),
        _REFUSAL_STATUSES | {0},
    ),
    Rule(
        "key.text",
        "authentication",
        pattern(
            r"(?:invalid|incorrect|wrong|malformed|expired|revoked) (?:x-)?(?:api|access|subscription|bearer"
            r"|auth\w*)[ _-]?(?:key|token)"
            r"|(?:api|access)[ _-]?key (?:is )?(?:not valid|invalid|incorrect|not found|expired)"
            r"|api key: \S+ is invalid"
            r"|(?:no|missing) (?:api[ _-]?key|authentication|authorization|bearer|cookie auth)|authentication (?:fails"
            r"|failed)"
            r"|parse your authentication token|身份验证失败|无效的令牌"
        ),
        "openai, azure-ai 401, gemini 400, mistral 401, openrouter 401, codex 401, xai 400, 2026-11",
    ),
    Rule(
        "key.forbidden", "authentication", pattern(r"^forbidden\.?$"), "doubleword, 2026-11", statuses=frozenset({403})
    ),
)

_PATH = r"messages\.\d+\.content\.\d+\.(?:tool_result\.content\.\d+\.)?"
_MEDIA = (
    Rule(
        "image.anthropic",
        "image",
        pattern(
            rf"could not process image|image exceeds|image dimensions exceed"
            rf"|image does not match the provided media type|image cannot be empty|{_PATH}image"
        ),
        "anthropic, 2026-11",
        verbatim=True,
    ),
    Rule(
        "document.anthropic",
        "document",
        pattern(
            rf"does not support pdf input|could not process pdf|pdf specified (?:was not valid|is password)"
            rf"|pdf cannot be empty|{_PATH}document"
        ),
        "anthropic, 2026-11",
        verbatim=True,
    ),
    Rule(
        "image.none",
        "image",
        pattern(
            r"(?:images?|vision|multi-?modal)(?: (?:inputs?|contents?|content blocks?))? (?:is|are) not (?:supported"
            r"|enabled)"
            r"|(?:does not|doesn't|do not|cannot|not) support (?:the )?(?:image|vision|multi-?modal)"
            r"|endpoints found that support image"
            r"|is not a multimodal model|at most 0 images?|missing data required for image|(?:unknown"
            r"|unsupported) \w[\w ]{0,20}:? [`'\"]?image_url"
            r"|image_url is only supported by|vision is not supported|copilot-vision-request"
        ),
        "lmstudio, llama.cpp 500, mistral, openrouter 404, ollama, vllm, deepseek, xai, openai, 2026-09",
        field="images",
    ),
    Rule(
        "image.text_only",
        "image",
        pattern(r"(?:content|value)[`'\"]? must be a string|invalid type: sequence, expected a string"),
        "groq, deepseek, 2026-06: text alone is sent as a string anyway, so an image was refused",
        field="messages.content",
    ),
    Rule(
        "image.code",
        "image",
        None,
        "openai, 2026-11",
        codes(
            "invalid_image\\w*|image_parse_error|invalid_base64\\w*|image_too_(?:large|small)|image_file_\\w+"
            "|empty_image_file"
            "|failed_to_download_image|unsupported_image\\w*"
        ),
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
            r"unsupported image|(?:failed|unable|error|timeout) (?:to |while )?(?:load|download|fetch|process|decode"
            r"|open)\w* (?:the |input |an )?image"
            r"|cannot identify image|invalid (?:base64 )?image|image: unknown format|image (?:length|height"
            r"|width) and (?:width|height)"
        ),
        "openai, vllm, gemini, ollama, dashscope, 2026-05",
    ),
    Rule(
        "document.none",
        "document",
        pattern(
            r"(?:unknown variant|invalid value:?|part type:?) [`'\"]?(?:input_)?file\b|unsupported content\[\]\.type"
            r"|either text or image_url"
            r"|(?:pdfs?|files?|documents?)(?: (?:inputs?|contents?|uploads?))? (?:is|are) not (?:supported|enabled)"
            r"|endpoints found that support file"
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
            r"(?:model|deployment)\b.{0,120}?(?:does not exist|not found|is not a valid model"
            r"|has been (?:decommissioned|deprecated)|no longer available)"
            r"|not found the model|invalid model\b|unknown model\b|supported api model names are"
            r"|allowed now, your model"
            r"|model not exist|must provide a model|no endpoints found (?:for|matching model)|模型不存在"
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
        codes(
            "engine_overloaded(?:_error)?|overloaded(?:_error)?|capacity_exceeded|unavailable_error|service_unavailable"
        ),
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
        "rate_limit.tokens",
        "rate_limit",
        pattern(r"\btokens (?:\w+ ){0,3}per (?:second|minute|hour|day|week|month)"),
        "many, with 400 too, 2026-11",
    ),
    Rule(
        "overloaded.text",
        "overloaded",
        pattern(
            r"overloaded|(?:tier |over |at )capacity\b|too busy|server is busy|DEGRADED function|no healthy upstream"
            r"|temporarily unavailable"
            r"|(?:model|service) is (?:currently )?(?:busy|loading|unavailable)"
        ),
        "mistral 429, siliconflow 503, nvidia_nim 400, openai 503, 2026-11",
    ),
)

#: Codes that decide only if there is no HTTP status: errors inside a 200.
_INSIDE = tuple(
    Rule(
        f"inside.{kind}", kind, None, "anthropic, openai, google's status words, 2026-11", codes(words), frozenset({0})
    )
    for kind, words in (
        ("invalid_request", "invalid_request_error|bad_?request(?:_?error)?|invalid_argument"),
        ("permission", "permission_error|permission_denied|data_residency_mismatch"),
        ("not_found", "not_found_error|not_found|notfounderror"),
        ("request_too_large", "request_too_large"),
        ("timeout", "timeout_error|deadline_exceeded|vector_store_timeout"),
        ("billing", "billing_error"),
    )
)

#: Rules before and after those for request fields (fields.py).
EARLY = (*_FIRST, *_BILLING, *_POLICY, *NUMBER_RULES, *CAPS, *BARE, *_KEY, *_MEDIA)
LATE = (*MEANT, *_MODEL, *_SERVER, *_INSIDE)
