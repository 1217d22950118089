"""The keys of one item of `model_list`.

Knows: their places, parsers and meanings. Must not know: the other keys (table.py), how a file is read.
"""

from __future__ import annotations

from a2py.config import values as v
from a2py.config.ledger_table import PRICES
from a2py.config.setting_row import INFO, ITEM, PARAM, Setting
from a2py.config.setting_row import make_row as _set
from a2py.config.settings import SENT_UNCHANGED

_seconds = _number = v.number(0)
_count, _positive = v.whole(0), v.whole(1)

MODELS: tuple[Setting, ...] = (
    _set(
        "model_name",
        v.text,
        "the public name: exact, `*`, `prefix/*`; several times: load balancing",
        ITEM + "model_name",
    ),
    _set("model", v.text, "`provider/name`, `provider/*`, `provider/responses/name`", PARAM + "model"),
    _set(
        "api_base",
        v.text,
        "base URL; default: `<PREFIX>_API_BASE`, else the provider's own",
        PARAM + "base_url",
        PARAM + "api_base",
    ),
    _set("api_key", v.secret, "key; default: `<PREFIX>_API_KEY`", PARAM + "api_key"),
    _set("azure_ad_token", v.secret, "Azure's bearer token, if there is no api_key", PARAM + "azure_ad_token"),
    _set("api_version", v.text, "Azure's api-version; also `AZURE_API_VERSION`", PARAM + "api_version"),
    _set("custom_llm_provider", v.text, "the provider, if `model` has no prefix", PARAM + "custom_llm_provider"),
    _set(
        "organization",
        v.organizations,
        "`OpenAI-Organization`; a list makes a deployment of each",
        PARAM + "organization",
    ),
    _set("credential_name", v.text, "a set of `credential_list`", PARAM + "litellm_credential_name"),
    _set("max_tokens", _positive, "largest output limit to send", PARAM + "max_tokens"),
    _set("max_completion_tokens", _positive, "the same, by its newer name", PARAM + "max_completion_tokens"),
    _set("temperature", _number, "used if the client sends none", PARAM + "temperature"),
    _set("top_p", _number, "used if the client sends none", PARAM + "top_p"),
    _set("top_k", _count, "used if the client sends none", PARAM + "top_k"),
    _set("reasoning_effort", v.anything, "effort word, used if the client sends none", PARAM + "reasoning_effort"),
    _set("thinking", v.mapping, "Anthropic's `thinking`, used if the client sends none", PARAM + "thinking"),
    _set(
        "timeout",
        _seconds,
        "seconds for a whole reply that is not streamed, and for a stream that sends comments alone; 0: the router's",
        PARAM + "request_timeout",
        PARAM + "timeout",
    ),
    _set("stream_timeout", _seconds, "seconds of silence in a stream; 0: the router's", PARAM + "stream_timeout"),
    _set(
        "retries",
        _count,
        "retries; default: num_retries of the settings",
        PARAM + "max_retries",
        PARAM + "num_retries",
    ),
    _set("extra_headers", v.headers, "headers sent upstream", PARAM + "headers", PARAM + "extra_headers"),
    _set("extra_body", v.mapping, "fields added to the upstream body, last", PARAM + "extra_body"),
    _set(
        "additional_drop_params",
        v.texts,
        "upstream fields never to send; `tools[*].function.strict`: a field inside others",
        PARAM + "additional_drop_params",
    ),
    _set("drop_params", v.drop_list, "as in litellm_settings", PARAM + "drop_params"),
    _set(
        "num_ctx",
        _count,
        "not sent, and a warning says what to do: Ollama's `/v1` has no such field",
        PARAM + "num_ctx",
    ),
    _set(
        "allowed_openai_params",
        v.texts,
        "upstream fields to send even if the provider's row leaves them out",
        PARAM + "allowed_openai_params",
    ),
    _set("use_chat_completions_api", v.boolean, "use the chat wire", PARAM + "use_chat_completions_api"),
    _set(
        "rpm",
        _count,
        "the weight if `weight` is not set; with `enforce_limits` also: requests that may start in any 60 seconds",
        ITEM + "rpm",
        PARAM + "rpm",
    ),
    _set(
        "tpm",
        _count,
        "the weight if neither `weight` nor `rpm` is set; with `enforce_limits` also: tokens in any 60 seconds, input "
        "and output",
        ITEM + "tpm",
        PARAM + "tpm",
    ),
    _set("weight", _number, "share of the requests to this name", PARAM + "weight"),
    _set("order", _count, "lower is tried first", PARAM + "order"),
    _set("max_parallel_requests", _count, "requests at once; 0: the settings'", PARAM + "max_parallel_requests"),
    _set("keepalive_seconds", _seconds, "silence before a `ping`; 0: the settings'", PARAM + "keepalive_seconds"),
    _set("ssl_verify", v.switch_or_path, "as in litellm_settings", PARAM + "ssl_verify"),
    *(_set(name, v.anything, "sent upstream unchanged", PARAM + name) for name in SENT_UNCHANGED),
    _set("id", v.text, "the deployment's id in logs, `/health` and quirks", INFO + "id"),
    _set(
        "mode",
        v.text,
        "`chat`, `responses`: the wire; `embedding`, `rerank`, `audio_transcription`, `audio_speech`,"
        " `image_generation`, `moderation` …: a model for OpenAI's endpoint of that kind alone",
        INFO + "mode",
    ),
    _set("supported_endpoints", v.texts, '`["/v1/messages"]`: the native wire', INFO + "supported_endpoints"),
    _set(
        "base_model",
        v.text,
        "the model that an Azure deployment name stands for; chooses the quirks",
        INFO + "base_model",
    ),
    _set(
        "cache_control_ttl",
        v.cache_ttl,
        "false: no `ttl` in a cache_control goes upstream; `5m`, `1h`: this one; true, or unset: the client's own",
        INFO + "cache_control_ttl",
    ),
    _set("max_input_tokens", _count, "context window", INFO + "max_input_tokens"),
    _set(
        "max_output_tokens",
        _count,
        "largest output of the model",
        INFO + "max_tokens",
        INFO + "max_output_tokens",
    ),
    _set(
        "supports_reasoning",
        v.boolean,
        "false: never request reasoning; true: request it by reasoning_effort, even from an unknown server",
        INFO + "supports_reasoning",
    ),
    _set("supports_vision", v.boolean, "false: images become a line of text", INFO + "supports_vision"),
    _set("supports_function_calling", v.boolean, "false: tools are left out", INFO + "supports_function_calling"),
    PRICES,
    _set("quirks", v.mapping, "fields of `Quirks` for this deployment; wins over `a2py: quirks`", INFO + "quirks"),
)
