"""Turn API bases as people write them into bases that the wires can append a path to.

Knows: URLs, and the URL forms of Azure (docs of Azure OpenAI and Foundry, read 2026-11). Must not know: the provider
table, files.
Invariants: pure; a `Base.url` has no query, user or password, so it can be logged.
"""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

#: Azure's api-version for a URL that needs one and has none. It is the last that is generally available (2026-11).
AZURE_VERSION = "2024-10-21"
#: Values of api_version that mean the URL without a dated version, `/openai/v1`.
_UNDATED_VERSIONS = ("", "v1", "latest", "preview")
#: Ends of pasted URLs that do not belong to a base. The wires append them.
_PASTED_ENDS = ("/chat/completions", "/responses", "/v1/messages", "/messages", "/completions")


class Base(NamedTuple):
    """`url`: without trailing slash, query, user and password. `query`: without its question mark. `headers`: the
    Authorization header for the user and password of the URL."""

    url: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


def is_local_or_ip(host: str) -> bool:
    """Return whether `host` (which may have a user and a port) is this machine's name or an IP address.

    People often write these without `http://`."""
    name = host.rpartition("@")[2]
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return name in ("localhost", "host.docker.internal")
    return True


def is_loopback(host: str) -> bool:
    """Return whether a host (no port, no brackets) can only be this machine.

    `0.0.0.0` is: a connection to it reaches this machine. A name other than localhost is not, because a name server
    decides where it leads."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    ipv4 = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or address.is_unspecified or (ipv4 is not None and ipv4.is_loopback)


#: What `https://http://host` has for a host.
_NO_HOSTS = frozenset(("http:", "https:"))


def parse_base(text: str) -> Base | None:
    """Return the base that `text` means; None if it is not an http or https URL."""
    text = text.strip()
    if "://" not in text and is_local_or_ip(text.partition("/")[0]):
        text = "http://" + text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.netloc in _NO_HOSTS or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return None
    if any(c.isspace() for c in text):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}" + (f":{port}" if port else "") + parts.path.rstrip("/")
    url = url.removesuffix(next(filter(url.endswith, _PASTED_ENDS), ""))
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = (("Authorization", "Basic " + b64encode(pair.encode()).decode()),)
    return Base(url, parts.query, headers)


def has_wrong_port(text: str) -> bool:
    """Return whether the port of a URL, or of a host, is no number from 1 to 65535."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
    except ValueError:
        return False
    try:
        return bool(parts.hostname) and parts.netloc not in _NO_HOSTS and parts.port == 0
    except ValueError:
        return True


def add_v1(base: Base) -> Base:
    """Return `base` with `/v1` if it is only a host, or Ollama's `/api`."""
    path = base.path.removesuffix("/api")
    return base._replace(url=base.url.removesuffix("/api") + "/v1") if not path else base


def complete_ollama(base: Base) -> Base:
    """Return `base` with `/v1`, also behind a path prefix. What people paste of Ollama's own API is removed."""
    url = base.url
    for end in ("/api/chat", "/api/generate", "/api"):
        url = url.removesuffix(end)
    return base._replace(url=url if url.endswith("/v1") else url + "/v1")


def is_gemini_only(base: Base) -> bool:
    """Return whether LiteLLM would append Gemini's own path to `base`, and nothing speaks for chat completions there.

    It does so to an empty path and to one that is only a version (docs.litellm.ai, gemini, 2026-11)."""
    path = base.path.strip("/")
    return not path or (path.startswith("v1beta") and "openai" not in path) or ":" in path or path.endswith("models")


def build_azure(base: Base, model: str, version: str, wire: str) -> Base:
    """Return `base` in one of Azure's three forms:

        …/openai/v1                      the model is in the body
        …/openai/deployments/{model}     with an api-version
        …/models                         with an api-version

    A base that has one of these forms keeps it. A bare endpoint gets the second if an api-version is given, else the
    first, which is also the only one for the Responses wire. For a wildcard, `{model}` is left in the URL, and
    `bind_model` replaces it."""
    query = dict(parse_qsl(base.query))
    api_version = version or query.pop("api-version", "")
    path = base.path
    if "/openai/deployments/" in path:
        return base._replace(
            query=urlencode(
                {**query, "api-version": api_version if api_version not in _UNDATED_VERSIONS else AZURE_VERSION}
            )
        )
    if path.endswith("/models"):
        return base._replace(query=urlencode({**query, "api-version": api_version or "2024-05-01-preview"}))
    if path.endswith("/openai/v1") or api_version in _UNDATED_VERSIONS or wire == "responses":
        url = base.url if path.endswith("/openai/v1") else base.url.removesuffix("/openai") + "/openai/v1"
        return base._replace(
            url=url, query=urlencode({**query, "api-version": api_version} if api_version == "preview" else query)
        )
    name = "{model}" if "*" in model else quote(model, safe="")
    url = base.url.removesuffix("/openai") + f"/openai/deployments/{name}"
    return base._replace(url=url, query=urlencode({**query, "api-version": api_version}))


def bind_model(url: str, model: str) -> str:
    """Return the base of a wildcard deployment for one model."""
    return url.replace("{model}", quote(model, safe=""))
