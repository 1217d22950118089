"""API bases as people write them → as the wires need them.

Knows: URLs, and the URL forms of Azure (docs of Azure OpenAI and Foundry, read 2026-11). Must not know: the provider
table, files.
Invariants: pure; no query, user or password stays in a base, so that it may stand in a log.
"""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

#: Azure's api-version where a dated form is asked for without one (its last general one).
AZURE_VERSION = "2024-10-21"
#: api_version words that mean the form without versions.
_UNVERSIONED = ("", "v1", "latest", "preview")
#: Ends of pasted URLs that are no part of a base.
_PASTED = ("/chat/completions", "/responses", "/v1/messages", "/messages", "/completions")


class Base(NamedTuple):
    """`url` without a trailing slash, query and user; `query` without its question mark; `headers`: the user and
    password, as a header."""

    url: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


def local(host: str) -> bool:
    """An address of this machine or an IP literal: people leave `http://` out before these."""
    name = host.rpartition("@")[2]
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return name in ("localhost", "host.docker.internal")
    return True


def loopback(host: str) -> bool:
    """Whether a host (no port, no brackets) can only be this machine. `0.0.0.0` as an address to connect to is; a name
    other than localhost is not, since a name server answers for it."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or address.is_unspecified or (mapped is not None and mapped.is_loopback)


def clean(text: str) -> Base | None:
    """A base as it was written; None if it is no http URL."""
    text = text.strip()
    if "://" not in text and local(text.partition("/")[0]):
        text = "http://" + text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in text):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}" + (f":{port}" if port else "") + parts.path.rstrip("/")
    for end in _PASTED:
        if url.endswith(end):
            url = url.removesuffix(end)
            break
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = (("Authorization", "Basic " + b64encode(pair.encode()).decode()),)
    return Base(url, parts.query, headers)


def with_v1(base: Base) -> Base:
    """A local server's base: a bare host, or Ollama's `/api`, is given its `/v1`."""
    path = base.path.removesuffix("/api")
    return base._replace(url=base.url.removesuffix("/api") + "/v1") if not path else base


def azure(base: Base, model: str, version: str, wire: str) -> Base:
    """Azure's forms: `…/openai/v1` (the model in the body), `…/openai/deployments/{model}` with an api-version,
    `…/models` with one.

    A base that has a form keeps it. A bare endpoint gets the dated form if an api-version is given, else `/openai/v1`,
    which also is the only one of the Responses wire. `{model}` stands where a wildcard's model will be put (see
    `bind`)."""
    query = dict(parse_qsl(base.query))
    api_version = version or query.pop("api-version", "")
    path = base.path
    if "/openai/deployments/" in path:
        return base._replace(
            query=urlencode({**query, "api-version": api_version if api_version not in _UNVERSIONED else AZURE_VERSION})
        )
    if path.endswith("/models"):
        return base._replace(query=urlencode({**query, "api-version": api_version or "2024-05-01-preview"}))
    if path.endswith("/openai/v1") or api_version in _UNVERSIONED or wire == "responses":
        url = base.url if path.endswith("/openai/v1") else base.url.removesuffix("/openai") + "/openai/v1"
        return base._replace(
            url=url, query=urlencode({**query, "api-version": api_version} if api_version == "preview" else query)
        )
    name = "{model}" if "*" in model else quote(model, safe="")
    url = base.url.removesuffix("/openai") + f"/openai/deployments/{name}"
    return base._replace(url=url, query=urlencode({**query, "api-version": api_version}))


def bind(url: str, model: str) -> str:
    """The base of a wildcard deployment for one model."""
    return url.replace("{model}", quote(model, safe=""))
