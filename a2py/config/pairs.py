"""Compute which secret would travel to which host, and which of these pairs need the user's consent.

A configuration that was found in the working folder may be a stranger's: `api_key: os.environ/AWS_SECRET_ACCESS_KEY`
beside an `api_base` of the stranger's sends that variable away. So every text that a deployment sends has an `Origin`.
Each secret in it makes a `Pair` with the host, unless the secret goes to its own provider or to this machine.

Example: a file with `api_base: https://evil.example/v1` and no `api_key` makes the pair (OPENAI_API_KEY, evil.example)
where that variable is set.

Knows: nodes of the file, origins, hosts of the provider table. Must not know: who consents, where consent is stored.
Invariants: pure; a setting that is not in `LOCAL` is treated as one that is sent, so a new setting is safe by default.
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
from a2py.deployment import is_secret_name
from a2py.providers import PROVIDERS, Provider


class Pair(NamedTuple):
    """`variable`: a variable of the environment, or the path of a file that contains keys. `host`: where it would go,
    as `Route.label` writes it."""

    variable: str
    host: str


class Use(NamedTuple):
    """`place`: the deployment that makes a pair (`litellm_config.yaml:3`). `live`: it would really send, because the
    variable is set."""

    place: str
    live: bool


#: Settings and parameters that are never sent upstream, or whose parser accepts only a few words. All others count.
LOCAL = frozenset(
    [
        "keepalive_seconds",
        "delta_keepalive_seconds",
        "commit_seconds",
        "unasked_thinking",
        "allowed_hosts",
        "allowed_origins",
        "discover",
        "drain_seconds",
        "drain_delay",
        "enable_drain_endpoint",
        "max_body_mb",
        "max_connections",
        "buffer_kb",
        "capture_dir",
        "search",
        "search_tools",
        "search_parameters",
        "callbacks",
        "num_retries",
        "request_timeout",
        "timeout",
        "stream_timeout",
        "retry_after",
        "retry_policy",
        "model_group_retry_policy",
        "max_fallbacks",
        "allowed_fails",
        "cooldown_time",
        "disable_cooldowns",
        "routing_strategy",
        "max_parallel_requests",
        "global_max_parallel_requests",
        "use_chat_completions_url",
        "reasoning_auto_summary",
        "estimate_initial_input_tokens",
        "master_key",
        "insecure",
        "json_logs",
        "ssl_verify",
        "force_ipv4",
        "trust_env",
        "environment_variables",
        "include",
        "credentials",
        "credential_name",
        "custom_llm_provider",
        "routes",
        "enforce_limits",
        "redis_url",
        "redis_host",
        "redis_port",
        "redis_password",
        "redis_username",
        "redis_db",
        "redis_ssl",
        "num_ctx",
        "rpm",
        "tpm",
        "weight",
        "order",
        "retries",
        "use_chat_completions_api",
        "additional_drop_params",
        "allowed_openai_params",
        "mode",
        "supported_endpoints",
        "base_model",
        "cache_control_ttl",
        "max_input_tokens",
        "supports_reasoning",
        "supports_vision",
        "supports_function_calling",
    ]
)
#: Prefix of a setting's name among the origins of a deployment's parameters: settings are shared by all deployments.
SETTINGS_PREFIX = "settings."
#: Parameters with rules of their own: the key and the address.
_KEYS, _BASE = ("api_key", "azure_ad_token"), "api_base"
#: Mappings in which a literal is a secret if its name says so.
_MAPPINGS = frozenset(("extra_headers", "extra_body", "environment_variables"))
#: What people write for a key where none is needed. It is no secret.
NO_KEYS = frozenset(
    (
        "none",
        "empty",
        "dummy",
        "fake",
        "not-needed",
        "no-key",
        "sk-no-key-required",
        "sk-anything",
        "ollama",
        "lm-studio",
    )
)

#: Host → the vendor that alone answers there.
_HOSTS = {
    host: row.name
    for row in PROVIDERS.values()
    for host in (*row.hosts, urlsplit(row.base).netloc, urlsplit(row.native).netloc)
    if host and not host.startswith((".", ":")) and not bases.is_loopback(urlsplit(f"//{host}").hostname or "")
}
#: Suffixes below which every host is the vendor's. `.volces.com` is not listed: customers rent storage and servers
#: there.
VENDORS_ONLY = {
    ".api.openai.com": "openai",
    ".openai.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
    ".maas.aliyuncs.com": "dashscope",
}
_PLAIN_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+\Z")
_KEY_ENDS = re.compile(r"(_API_KEY|_TOKEN)\Z")


def origin_of(attr: str, node: Node, env: Variables, secret_files: Mapping[str, str]) -> Origin:
    """Return the origin of a setting's value. `secret_files`: name of a file, as marks show it, → its path, if its
    literal keys are secrets."""

    def visit(node: Node, secret: bool) -> Origin:
        if node.env:
            return env.origin(node.env)
        origin = NOWHERE
        if isinstance(node.value, dict):
            for key, child in node.value.items():
                origin |= visit(child, secret or (attr in _MAPPINGS and _names_secret(key)))
        elif isinstance(node.value, list):
            for child in node.value:
                origin |= visit(child, secret)
        elif secret and node.raw and node.at.file in secret_files and node.raw.lower() not in NO_KEYS:
            return Origin(holds=frozenset((secret_files[node.at.file],)))
        return origin

    return visit(node, attr in _KEYS or attr == _BASE)


def _names_secret(name: str) -> bool:
    return is_secret_name(name) or SECRET.search(name) is not None


class Route(NamedTuple):
    """The way to an upstream. `label`: host and port, and whatever makes the way less safe. `loopback`: it ends on this
    machine. `vendor`: the provider whose own host this is, reached by verified TLS; "" for any other. `is_straight`: no
    setting turns verification off, changes the Host header or lets a proxy read the request."""

    label: str
    loopback: bool
    vendor: str
    is_straight: bool


class Way(NamedTuple):
    """What the settings say about the way to every upstream: ssl_verify and upstream_proxy, each with its origin."""

    verify: bool | str = True
    proxy: str = ""
    verify_origin: Origin = NOWHERE
    proxy_origin: Origin = NOWHERE

    def find_dotenv_choice(self, base: str) -> str:
        """Return the setting of the way to `base` that `.env` chose, "" for none. A proxy matters if nothing is
        encrypted."""
        if self.verify_origin.dotenv:
            return "ssl_verify"
        return "upstream_proxy" if base.startswith("http:") and self.proxy_origin.dotenv else ""


def find_route(base: str, verify: bool | str, headers: Mapping[str, str], proxy: str = "") -> Route:
    """Return the way to `base`. `verify`: the effective ssl_verify; `headers`, `proxy`: those of the configuration."""
    parts = urlsplit(base)
    name = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    label = ("http://" if parts.scheme == "http" else "") + (f"[{name}]" if ":" in name else name) + port
    other = _find_other_host(headers, (name, name + port))
    if parts.scheme == "https" and verify is not True:
        label += f" (certificates checked by {verify})" if verify else " (certificate not checked)"
    if other:
        label += f" (as host {other})"
    is_proxied = bool(proxy) and _can_proxy_read(parts.scheme, name)
    if is_proxied:
        label += f" (through {urlsplit(proxy).hostname})"
    is_straight = verify is True and not other and not is_proxied
    vendor = _find_vendor(name) if is_straight and parts.scheme == "https" else ""
    return Route(label.encode("unicode_escape").decode(), bases.is_loopback(name), vendor, is_straight)


def _can_proxy_read(scheme: str, host: str) -> bool:
    """Return whether a proxy reads a request. One by TLS goes through a tunnel, one to this machine through none."""
    return scheme == "http" and not bases.is_loopback(host)


def _find_other_host(headers: Mapping[str, str], own: tuple[str, ...]) -> str:
    """Return the Host header if it names another host. A shared front server (a CDN) picks the customer by it, not by
    the address."""
    hosts = (value for header, value in headers.items() if header.lower() == "host")
    return next((value for value in hosts if value.lower() not in own), "")


def _find_vendor(host: str) -> str:
    if not _PLAIN_HOST.match(host):
        return ""
    return _HOSTS.get(host) or next((name for suffix, name in VENDORS_ONLY.items() if host.endswith(suffix)), "")


class Outgoing(NamedTuple):
    """The origins of what a deployment sends. `key`: its key; `rest`: headers, body and every other text; `base`: the
    address it goes to. `file`: the path of the file with the entry, "" if that file belongs to the untrusted folder."""

    key: Origin = NOWHERE
    rest: Origin = NOWHERE
    base: Origin = NOWHERE
    file: str = ""


def join_rest(origins: Mapping[str, Origin]) -> Origin:
    """Return the joint origin of everything that a deployment sends besides its key. `origins`: attribute → origin;
    settings under `SETTINGS_PREFIX`."""
    rest = NOWHERE
    for attr, origin in origins.items():
        if attr.removeprefix(SETTINGS_PREFIX) not in LOCAL and attr not in (*_KEYS, _BASE):
            rest |= origin
    return rest


def is_file(secret: str) -> bool:
    """Return whether a secret is a literal key of a file, not a variable."""
    return "/" in secret or "\\" in secret


def is_owned(secret: str, vendor: str) -> bool:
    """Return whether a secret that is sent as the key belongs to `vendor` ("" owns nothing). A file's literal key
    counts as the vendor's."""
    row = PROVIDERS.get(vendor)
    if row is None:
        return False
    return (
        is_file(secret)
        or secret in row.keys
        or any(secret.startswith(_KEY_ENDS.sub("", key) + "_") for key in row.keys)
    )


def withheld_from_key(origin: Origin, route: Route) -> frozenset[str]:
    """Return the secrets in a key that may not go to an address which `.env` chose."""
    return (
        frozenset()
        if route.loopback
        else frozenset(secret for secret in origin.holds if not is_owned(secret, route.vendor))
    )


def withheld_from_rest(rest: Origin, route: Route) -> frozenset[str]:
    """Return the secrets in headers and body that may not go to an address which `.env` chose."""
    return frozenset() if route.loopback else rest.holds


def need_consent(outgoing: Outgoing, route: Route) -> frozenset[str]:
    """Return the secrets that an untrusted file may send along `route` only with the user's consent.

    A key may go to its own provider. Any other text may not, even there: a stranger's account at that provider shows
    the stranger what was stored for it (OpenAI's `store: true` with `metadata`)."""
    if route.loopback:
        return frozenset()
    keys = {
        secret
        for secret in outgoing.key.holds
        if not is_owned(secret, route.vendor) and not _is_users_pair(secret, outgoing, route)
    }
    row = PROVIDERS.get(route.vendor)
    public = _public_variables(row) if row is not None else frozenset()
    return frozenset(
        keys
        | {
            secret
            for secret in outgoing.rest.holds
            if secret not in public and not _is_same_file(secret, outgoing, route)
        }
    )


def _is_users_pair(secret: str, outgoing: Outgoing, route: Route) -> bool:
    """Return whether the user chose key and address together: OPENAI_API_KEY and OPENAI_BASE_URL of one environment, or
    one file of the user's."""
    if is_file(secret):
        return _is_same_file(secret, outgoing, route)
    base = outgoing.base.holds
    return (
        route.is_straight
        and len(base) == 1
        and any(base <= set(row.bases) and secret in row.keys for row in PROVIDERS.values())
    )


def _is_same_file(secret: str, outgoing: Outgoing, route: Route) -> bool:
    """Return whether the file that contains a key also contains the entry and the address."""
    own_base = outgoing.base.holds == {secret} or (not outgoing.base.holds and bool(route.vendor))
    return is_file(secret) and secret == outgoing.file and own_base and route.is_straight


def _public_variables(row: Provider) -> frozenset[str]:
    """Return the variables that are no secrets to their own vendor (an organization, an api-version)."""
    return frozenset((*row.env_headers.values(), "AZURE_API_VERSION"))
