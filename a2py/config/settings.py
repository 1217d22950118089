"""What a configuration file sets, as typed values with their defaults.

Knows: the values' types and defaults. Must not know: keys (table.py), files, what a setting does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from a2py.config.tree import Mark
from a2py.config.variables import Origin
from a2py.messages.rules import Rule
from a2py.prices import Price

#: Parameters of an entry that the chat wire sends as they are, besides those that every wire translates.
SENT_UNCHANGED = (
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "verbosity",
    "service_tier",
    "parallel_tool_calls",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the whole server. Their meanings: table.py and docs/configuration.md. Times are seconds."""

    keepalive_seconds: float = 25.0
    delta_keepalive_seconds: float = 15.0
    commit_seconds: float = 15.0
    unasked_thinking: str = "show"
    quirks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_model: str = ""
    routes: tuple[Rule, ...] = ()
    discover: bool = True
    affinity: bool = True
    queue_length: int = 100
    queue_seconds: float = 600.0
    name_parallel_requests: Mapping[str, int] = field(default_factory=dict)
    cache_health: bool = True
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    drain_seconds: float = 30.0
    drain_delay: float = 0.0
    enable_drain_endpoint: bool = False
    max_body_mb: int = 32
    max_connections: int = 2000
    buffer_kb: int = 256
    capture_dir: str = ""
    ui: bool | str = True
    ledger: bool | str = True
    ledger_days: float = 90.0
    ledger_mb: int = 200
    prices: Mapping[str, Price] = field(default_factory=dict)
    num_retries: int = 2
    request_timeout: float = 6000.0
    timeout: float = 0.0
    stream_timeout: float = 0.0
    retry_after: float = 0.0
    retry_policy: Mapping[str, int] = field(default_factory=dict)
    model_group_retry_policy: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_fallbacks: tuple[str, ...] = ()
    context_window_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_fallbacks: int = 5
    allowed_fails: int = 3
    cooldown_time: float = 5.0
    disable_cooldowns: bool = False
    enforce_limits: bool = False
    routing_strategy: str = "simple-shuffle"
    max_parallel_requests: int = 0
    global_max_parallel_requests: int = 0
    drop_params: tuple[str, ...] = ()
    use_chat_completions_url: bool = False
    reasoning_auto_summary: bool | None = None
    estimate_initial_input_tokens: bool = True
    json_logs: bool = False
    ssl_verify: bool | str = True
    force_ipv4: bool = False
    trust_env: bool = True
    upstream_proxy: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """Values of the file that become parts of Config, or are used while the file is read."""

    master_key: str = field(default="", repr=False)
    insecure: bool = False
    aliases: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    environment_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    include: tuple[str, ...] = ()
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    # read by config/search.py, which needs the places of their parts
    search: Any = ""
    search_tools: Any = field(default=(), repr=False)
    search_parameters: Any = None
    callbacks: Any = ()
    # read by config/redis.py
    redis_url: str = field(default="", repr=False)
    redis_host: str = ""
    redis_port: int = 6379
    redis_password: str = field(default="", repr=False)
    redis_username: str = ""
    redis_db: int = 0
    redis_ssl: bool = False


@dataclass(eq=False, repr=False)  # half the time of a frozen one at import (4 ms)
class Entry:
    """One item of `model_list`.

    `at`: its place in the file; `places`: attribute → place and key, for messages; `unset`: attribute → variable that
    it names and that is not set; `origins`: attribute → origin of its value, with those of the settings (see pairs.py);
    `file`: the path of its file, if literal keys in that file are secrets."""

    at: Mark = field(default_factory=Mark)
    index: int = 0
    places: Mapping[str, str] = field(default_factory=dict)
    unset: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    file: str = ""
    model_name: str = ""
    model: str = ""
    api_base: str = ""
    api_key: str = ""
    azure_ad_token: str = ""
    api_version: str = ""
    custom_llm_provider: str = ""
    organization: tuple[str, ...] = ()
    credential_name: str = ""
    max_tokens: int = 0
    max_completion_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reasoning_effort: Any = None
    thinking: Mapping[str, Any] | None = None
    timeout: float = 0.0
    stream_timeout: float = 0.0
    retries: int = -1
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    additional_drop_params: tuple[str, ...] = ()
    drop_params: tuple[str, ...] = ()
    num_ctx: int = 0
    allowed_openai_params: tuple[str, ...] = ()
    use_chat_completions_api: bool = False
    rpm: int = 0
    tpm: int = 0
    weight: float | None = None
    order: int = 0
    max_parallel_requests: int = 0
    keepalive_seconds: float = 0.0
    ssl_verify: bool | str | None = None
    seed: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: Any = None
    verbosity: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    id: str = ""
    mode: str = ""
    supported_endpoints: tuple[str, ...] = ()
    base_model: str = ""
    cache_control_ttl: str = ""
    max_input_tokens: int = 0
    max_output_tokens: int = 0
    supports_reasoning: bool | None = None
    supports_vision: bool | None = None
    supports_function_calling: bool | None = None
    quirks: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)

    def place(self, attr: str = "") -> str:
        """Return the place of an attribute, or of the entry, for messages: ``a2py.yaml:12: `model_list[3]` ``."""
        own = (
            f"{self.at}: `model_list[{self.index}]`"
            if self.at.line
            else f"{self.at}: `{self.model_name or self.model}`"
        )
        return self.places.get(attr, own)
