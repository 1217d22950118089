"""Wordings of errors that say that the prompt, or the output limit, is too large.

A wording that no server is known for is recognized by its meaning (`MEANT`).

Knows: the wordings, with who uses them and when that was seen. Must not know: what is done about them.
Invariants: wordings with numbers come before those without; each rule's name is in a golden case
(tests/goldens/errors.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from a2py.wires.refusal.rule import Rule, codes, number, pattern

_MAX = r"max_(?:completion_|output_|new_)?tokens"


def _bare(rows: Iterable[tuple[str, str, str]]) -> tuple[Rule, ...]:
    """Return rules for overflows without numbers."""
    return tuple(
        Rule(f"overflow.{name}", "context_overflow", pattern(text), source, unless=_RATES)
        for name, text, source in rows
    )


#: Words of a limit for a length of time, or of what was paid. A smaller prompt is not what it asks for.
_RATES = pattern(
    r"\bper[ -](?:sec(?:ond)?|min(?:ute)?|hour|day|week|month)\b|/ ?(?:s|sec|min|minute|hour|day)\b|\b[TR]P[SMHD]\b"
    r"|\brate[ _-]?limit|\bquotas?\b|throttl|\bconcurren"
)


_PARTS = rf"{number('used')} (?:in|of) (?:the |your )?(?:messages|prompt|text input)"
_OUT = rf"(?:[,;] (?:and )?{number('out')} (?:in|for) the (?:completion|output))"
#: Overflows with numbers: tokens of the prompt, tokens of the completion, size of the context.
_NAMED_NUMBERS = (
    Rule(
        "overflow.anthropic_sum",
        "context_overflow",
        pattern(
            rf"input length and `?max_tokens`? exceed context limit: {number('used')} \+ {number('out')} >"
            rf" {number('limit')}"
        ),
        "anthropic, bedrock, 2026-02",
    ),
    Rule(
        "overflow.anthropic",
        "context_overflow",
        pattern(
            rf"prompt is too long(?:: {number('used')}(?: tokens? >|, model maximum context length:)"
            rf" {number('limit')})?"
        ),
        "anthropic, 2026-11; fireworks, ollama cloud, 2026-06",
    ),
    Rule(
        "overflow.cap",
        "context_overflow",
        pattern(
            rf"max_(?:completion_)?tokens' is too large: {number('out')}\. .{{0,40}}context length is"
            rf" {number('limit')} tokens .{{0,40}}?{number('used')} input tokens"
        ),
        "vllm, 2026-04",
    ),
    Rule(
        "overflow.prompt_contains",
        "context_overflow",
        pattern(
            rf"context length is {number('limit')} tokens.{{0,20}}?requested {number('out')} output tokens and your"
            rf" prompt contains"
            rf" (?:(?:at least )?{number('used')} input|\d+ characters)"
        ),
        "vllm 0.18, 2026-06: it stops counting at one token too many, or counts only characters",
        least=True,
    ),
    Rule(
        "overflow.passed",
        "context_overflow",
        pattern(
            rf"you passed (?:{number('used')} input tokens|\d+ input characters) and requested {number('out')} output"
            rf" tokens"
            rf".{{0,60}}?context length is only {number('limit')} tokens"
        ),
        "vllm 0.16, 2026-03: the same",
        least=True,
    ),
    Rule(
        "overflow.parts",
        "context_overflow",
        pattern(
            rf"maximum context length is {number('limit')} tokens.{{0,20}}?requested (?:about )?{number('total')}"
            rf" tokens"
            rf" \({_PARTS}(?:, (?:and )?{number('tools')} (?:in the functions|of tool input))?{_OUT}?"
        ),
        "openai 2023, vllm, deepseek 2026-01, openrouter 2026-03",
    ),
    Rule(
        "overflow.resulted",
        "context_overflow",
        pattern(
            rf"(?:maximum context length is|configured limit of) {number('limit')} tokens\.? .{{0,30}}?(?:resulted in"
            rf"|requested) {number('used')} tokens"
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
            rf"(?:input|prompt) \((?:(?:total )?length )?{number('used')}(?: tokens)?\) is longer than the (?:model's"
            rf" context|maximum model) length (?:of )?\(?{number('limit')}"
        ),
        "sglang, together, vllm, 2026-11",
    ),
    Rule(
        "overflow.input_length",
        "context_overflow",
        pattern(
            rf"input length \(?{number('used')}(?: tokens)?\)? exceeds (?:the )?(?:model's )?maximum (?:allowed"
            rf" )?(?:input |context )?length"
            rf" (?:of )?\(?{number('limit')}"
        ),
        "sglang 2025-03, poolside 2026-05",
    ),
    Rule(
        "overflow.gemini",
        "context_overflow",
        pattern(
            rf"input token count(?: \({number('used')}\))? exceeds the maximum number of tokens allowed(?:"
            rf" \({number('limit')}\))?"
        ),
        "gemini, 2026-11",
    ),
    Rule(
        "overflow.llamacpp",
        "context_overflow",
        pattern(
            rf"request(?: \({number('used')} tokens\))? exceeds the available context size(?: \({number('limit')}"
            rf" tokens\))?"
        ),
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
        pattern(
            rf"max_total_tokens \({number('total')}\) must be less than or equal to max_seq_len \({number('limit')}\)"
        ),
        "siliconflow, 2026-11: prompt and max_tokens together",
    ),
    Rule(
        "overflow.tgi_sum",
        "context_overflow",
        pattern(
            rf"`?inputs`? tokens \+ `?max_new_tokens`? must be <= {number('limit')}(?:\. Given: {number('used')}"
            rf" `?inputs`? tokens"
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
        "overflow.llama_cpp_python",
        "context_overflow",
        pattern(rf"requested tokens \({number('used')}\) exceed context window of {number('limit')}"),
        "llama-cpp-python, 2025-03",
    ),
    Rule(
        "overflow.sambanova",
        "context_overflow",
        pattern(
            rf"maximum context length of \S{{1,80}} is {number('limit')}\..{{0,40}}?request will take"
            rf" {number('total')} tokens"
        ),
        "sambanova, 2025-06: prompt and max_tokens together",
    ),
    Rule(
        "overflow.only_up_to",
        "context_overflow",
        pattern(rf"but model only supports up to {number('limit')}"),
        "Claude Code 2.1.332 knows it, 2026-11",
    ),
)


def _gap(longest: int) -> str:
    """Return a pattern for at most so many characters, none of them about the output or about media."""
    return rf"(?:(?!max_|output|complet|image|audio|file|char|byte|\b[kmg]i?b\b).){{0,{longest}}}?"


_MORE = r"(?:exceed\w*|surpass\w*|(?:longer|greater|larger|more|bigger|higher) than|\bover\b|\babove\b|>)"
_LESS = r"(?:(?:less|fewer|smaller|shorter|lower) than|at most|no more than|up to|maximum|\bmax\b|limit\w*|<=?)"
_SIZE = r"(?:(?<=context)|(?=.{0,160}?(?:token|context|window)))"
_PROMPT = rf"\b(?:prompt(?! cache| template)|input|context|conversation|messages|request)\b{_SIZE}"
#: What a prompt that is too long means in any words.
_MEANT_NUMBERS = (
    Rule(
        "overflow.negative_output",
        "context_overflow",
        pattern(rf"{_MAX}.{{0,80}}?(?:\b(?:got|given|received|is|was)|value:?|[=:(]) ?[`'\"]?-(?!1\b(?!\.?$))\d"),
        "vllm, 2025-06: it subtracts the prompt from the context, and the client never asks for so few",
    ),
    Rule(
        "overflow.more_than",
        "context_overflow",
        pattern(rf"{_PROMPT}{_gap(60)}{number('used')}{_gap(50)}{_MORE}{_gap(60)}{number('limit')}"),
        "omlx, relays, 2026-11: any sentence with both numbers",
    ),
    Rule(
        "overflow.less_than",
        "context_overflow",
        pattern(
            rf"(?:{_PROMPT}{_gap(60)}{_LESS}|maximum {_PROMPT}){_gap(40)}{number('limit')}{_gap(60)}"
            rf"\b(?:got|given|has|have|received"
            rf"|requested|sent|contains?|but|used|was|were|is|current\w*|actual\w*)\b{_gap(40)}{number('used')}"
            r"(?![\d,]|\.\d| ?(?:char|byte|image|file|output|[kmg]i?b\b))"
        ),
        "relays, 2026-11: any sentence with both numbers, the limit first",
    ),
)
NUMBER_RULES = tuple(rule._replace(unless=_RATES) for rule in (*_NAMED_NUMBERS, *_MEANT_NUMBERS))
_LONG = (
    r"(?:prompt(?! cache| template)|context|conversation|(?:input|request|messages?)(?:'s)?(?: \w+)? (?:tokens?|length"
    r"|size)|(?<!output )(?<!completion )(?<!new )tokens)"
)
#: The same without numbers. They come last, because they are the vaguest.
MEANT = (
    Rule(
        "overflow.meaning",
        "context_overflow",
        pattern(
            rf"\b{_LONG}\b{_gap(40)}(?:exceed\w*|surpass\w*|(?:longer|greater|larger|more) than"
            rf"|(?:must|should) (?:be|have)"
            rf" (?:less|fewer|shorter|smaller) than)(?={_gap(60)}(?:token|context|length|window|maximum|limit|allow"
            rf"|support|\d))"
            rf"|\b(?:prompt|context|conversation|input)\b {_gap(20)}too (?:long|large)\b"
            rf"|\btoo many (?:(?:input|prompt|context) )?tokens"
            rf"|exceed\w*{_gap(40)}\b(?:context (?:length|window|size|limit)|(?:input|prompt) (?:tokens?|length)\b)"
            rf"|\b(?:context|prompt|input)(?: \w+)? (?:length|window|size|limit)\b {_gap(20)}(?:exceeded|reached)"
        ),
        "any server, 2026-11",
        statuses=frozenset({400, 413, 422, 500}),
        unless=_RATES,
    ),
)

#: The output limit alone is too large.
CAPS = (
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
            rf"{_MAX}[`'\"]? is too large:? {number('out')}\. .{{0,60}}?supports? at most {number('limit')}"
            rf" (?:completion|output) tokens"
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
        pattern(
            rf"{_MAX}.{{0,120}}?integer above maximum value.{{0,30}}?<= {number('limit')}(?:,? but got"
            rf" {number('out')})?"
        ),
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
        "max_tokens.model_length",
        "max_tokens",
        pattern(rf"{_MAX}={number('out')} ?cannot be greater than (?:\w+=){{1,3}}{number('limit')}"),
        "vllm, poolside, 2026-08",
    ),
    Rule(
        "max_tokens.gemini",
        "max_tokens",
        pattern(
            rf"maxOutputTokens value of {number('out')} but the supported range is from \d+ \(inclusive\) to"
            rf" {number('below')} \(exclusive\)"
        ),
        "gemini, 2025-09",
    ),
)

BARE = (
    *_bare(
        (
            (
                "lmstudio",
                rf"loaded with context length of only {number('limit')}|greater than the context length",
                "lmstudio, 2026-02",
            ),
            ("vllm_decoder", r"longer than the maximum model length", "vllm, Claude Code 2.1.332 knows it, 2026-11"),
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
                "Claude Code 2.1.332 knows them, 2026-11",
            ),
            (
                "context",
                r"exceed\w* (?:(?:the|this|your|model'?s?|maximum|max|allowed|available) ){0,4}context (?:length"
                r"|window|size)",
                "ollama, llama.cpp, relays, 2026-06",
            ),
            (
                "maximum",
                r"exceeds the maximum number of tokens allowed|maximum prompt length",
                "Claude Code 2.1.332 knows them in any sentence, 2026-11",
            ),
            (
                "generic",
                rf"maximum context l(?:ength|imit) (?:is|of) {number('limit')}|(?:exceed\w*|than"
                rf"|over) .{{0,40}}?maximum context l|context[ _]length[ _]exceeded",
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
            "context_length_exceeded|exceed_context_size_error|model_max_prompt_tokens_exceeded|too_many_prompt_tokens"
            "|contextwindowexceedederror"
        ),
    ),
)
