"""Which secret would travel to which host, and which of these pairs need somebody's consent.

A configuration that lies in the working folder may be a stranger's: `api_key: os.environ/AWS_SECRET_ACCESS_KEY` beside an `api_base` of the
stranger's would send that variable away. So each text that a deployment sends has an `Origin`, and each secret in it makes a `Pair` with the
host, unless the secret goes where its owner sends it anyway.

Knows: nodes of the file, origins, hosts of the provider table. Must not know: who consents, where consent is kept.
Invariants: pure; what is not known to be harmless counts: a new setting is sent until `LOCAL` says that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py.config import bases
from a2py.config.dotenv import SECRET
from a2py.config.tree import Node
from a2py.config.variables import NOWHERE, Origin, Variables
from a2py.deployment import telling
from a2py.providers import PROVIDERS, Provider


class Pair(NamedTuple):
    """`variable`: a variable of the environment, or the path of a file that holds keys; `host`: where it would go, as `Route.shown` names it."""

    variable: str
    host: str


class Use(NamedTuple):
    """`place`: the deployment that makes a pair (`litellm_config.yaml:3`); `live`: it would really send, since the variable is set."""

    place: str
    live: bool


#: Settings and parameters that never travel upstream, or whose values a parser keeps to a few words. All others count.
LOCAL = frozenset(
    (
        *("keepalive_seconds", "delta_keepalive_seconds", "commit_seconds", "unasked_thinking", "allowed_hosts", "allowed_origins"),
        *("drain_seconds", "max_body_mb", "max_connections", "buffer_kb", "capture_dir", "num_retries", "request_timeout", "timeout"),
        *("stream_timeout", "retry_after", "retry_policy", "model_group_retry_policy", "max_fallbacks", "allowed_fails", "cooldown_time"),
        *("disable_cooldowns", "routing_strategy", "max_parallel_requests", "global_max_parallel_requests", "drop_params"),
        *("modify_params", "use_chat_completions_url", "reasoning_auto_summary", "estimate_initial_input_tokens", "master_key"),
        *("insecure", "set_verbose", "json_logs", "ssl_verify", "force_ipv4", "trust_env", "environment_variables", "include"),
        *("credentials", "credential_name", "custom_llm_provider", "rpm", "tpm", "weight", "order", "retries", "use_chat_completions_api"),
        *("additional_drop_params", "allowed_openai_params", "mode", "supported_endpoints", "base_model", "cache_control_ttl"),
        *("max_input_tokens", "supports_reasoning", "supports_vision", "supports_function_calling"),
    )
)
#: Stands before the name of a setting among the origins of a deployment's parameters.
SHARED = "settings."
#: Parameters that are judged by themselves: the key, and the address.
_KEYS, _BASE = ("api_key", "azure_ad_token"), "api_base"
#: Parameters of which a literal is a secret; of these mappings only under a telling name.
_MAPPINGS = frozenset(("extra_headers", "extra_body", "environment_variables"))

#: What people write for a key where none is needed. It is no secret.
NO_KEYS = frozenset(("none", "empty", "dummy", "fake", "not-needed", "no-key", "sk-no-key-required", "sk-anything", "ollama", "lm-studio"))

#: Hosts at which a key can only meet its vendor.
_HOSTS = {
    host: row.name
    for row in PROVIDERS.values()
    for host in (*row.hosts, urlsplit(row.base).netloc, urlsplit(row.native).netloc)
    if host and not host.startswith((".", ":")) and not bases.loopback(urlsplit(f"//{host}").hostname or "")
}
#: Suffixes of which every host is the vendor's own. `.volces.com` is none: customers rent storage and servers there.
VENDORS_ONLY = {
    ".api.openai.com": "openai",
    ".openai.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
    ".maas.aliyuncs.com": "dashscope",
}
_PLAIN_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+\Z")
_KEY_ENDS = re.compile(r"(_API_KEY|_TOKEN)\Z")


def origin_of(attr: str, node: Node, env: Variables, files: Mapping[str, str]) -> Origin:
    """Where the value of a setting comes from. `files`: the shown name of a file whose own keys are secrets → its path."""

    def of(node: Node, secret: bool) -> Origin:
        if node.env:
            return env.origin(node.env)
        out = NOWHERE
        if isinstance(node.value, dict):
            for key, child in node.value.items():
                out |= of(child, secret or (attr in _MAPPINGS and _telling(key)))
        elif isinstance(node.value, list):
            for child in node.value:
                out |= of(child, secret)
        elif secret and node.raw and node.at.file in files and node.raw.lower() not in NO_KEYS:
            return Origin(holds=frozenset((files[node.at.file],)))
        return out

    return of(node, attr in _KEYS or attr == _BASE)


def _telling(name: str) -> bool:
    return telling(name) or SECRET.search(name) is not None


class Route(NamedTuple):
    """The way to an upstream. `shown`: host, port, and whatever makes the way less safe; `loopback`: it ends on this machine; `vendor`: the row
    whose own host it is, by verified TLS, "" for any other; `straight`: no setting switches verification off or renames the host."""

    shown: str
    loopback: bool
    vendor: str
    straight: bool


def route(base: str, verify: bool | str, headers: Mapping[str, str]) -> Route:
    """The way to `base`."""
    parts = urlsplit(base)
    name = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    shown = ("http://" if parts.scheme == "http" else "") + (f"[{name}]" if ":" in name else name) + port
    other = next((value for header, value in headers.items() if header.lower() == "host" and value.lower() not in (name, name + port)), "")
    if parts.scheme == "https" and verify is not True:
        shown += f" (certificates checked by {verify})" if verify else " (certificate not checked)"
    if other:
        shown += f" (as host {other})"
    straight = verify is True and not other
    vendor = _vendor(name) if straight and parts.scheme == "https" else ""
    return Route(shown.encode("unicode_escape").decode(), bases.loopback(name), vendor, straight)


def _vendor(host: str) -> str:
    if not _PLAIN_HOST.match(host):
        return ""
    return _HOSTS.get(host) or next((name for suffix, name in VENDORS_ONLY.items() if host.endswith(suffix)), "")


class Sent(NamedTuple):
    """What a deployment would send: `key`; `rest`: headers, body and every other text; and `base`: the address that it goes to. `file`: the path
    of the file that holds the entry, "" where that is the folder's own."""

    key: Origin = NOWHERE
    rest: Origin = NOWHERE
    base: Origin = NOWHERE
    file: str = ""


def owned(secret: str, vendor: str) -> bool:
    """Whether a secret that is sent as the key belongs to `vendor` ("": a host of no vendor). Of a file's own key only its writer can know."""
    row = PROVIDERS.get(vendor)
    if row is None:
        return False
    return is_file(secret) or secret in row.keys or any(secret.startswith(_KEY_ENDS.sub("", key) + "_") for key in row.keys)


def strangers(origin: Origin, way: Route) -> frozenset[str]:
    """The secrets in a key that may not go to an address which `.env` chose."""
    return frozenset() if way.loopback else frozenset(secret for secret in origin.holds if not owned(secret, way.vendor))


def needing(sent: Sent, way: Route) -> frozenset[str]:
    """The secrets that need consent before they go to where `sent` goes."""
    if way.loopback:
        return frozenset()
    wanted = {secret for secret in sent.key.holds if not owned(secret, way.vendor) and not _paired(secret, sent, way)}
    row = PROVIDERS.get(way.vendor)
    public = _public(row) if row is not None else frozenset()
    return frozenset(wanted | {secret for secret in sent.rest.holds if secret not in public and not _same_file(secret, sent, way)})


def rest_of(origins: Mapping[str, Origin]) -> Origin:
    """Where everything comes from that a deployment sends besides its key. `origins`: of its parameters, and under `SHARED` of settings."""
    out = NOWHERE
    for attr, origin in origins.items():
        if attr.removeprefix(SHARED) not in LOCAL and attr not in (*_KEYS, _BASE):
            out |= origin
    return out


def carried(rest: Origin, way: Route) -> frozenset[str]:
    """The secrets in `rest` that may not go to an address which `.env` chose."""
    return frozenset() if way.loopback else rest.holds


def _paired(secret: str, sent: Sent, way: Route) -> bool:
    """Whether the user, or one file outside the folder, set the key and the address together."""
    if not way.straight:
        return False
    if is_file(secret):
        return _same_file(secret, sent, way)
    return len(sent.base.holds) == 1 and any(sent.base.holds <= set(row.bases) and secret in row.keys for row in PROVIDERS.values())


def _same_file(secret: str, sent: Sent, way: Route) -> bool:
    own = sent.base.holds == {secret} or (not sent.base.holds and bool(way.vendor))
    return is_file(secret) and secret == sent.file and own and way.straight


def _public(row: Provider) -> frozenset[str]:
    """Variables that say who asks, and are no secrets to their own vendor."""
    return frozenset((*row.env_headers.values(), "AZURE_API_VERSION"))


def is_file(secret: str) -> bool:
    """Whether a secret is a file's own key, not a variable."""
    return "/" in secret or "\\" in secret
