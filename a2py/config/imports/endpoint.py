"""An address and a model as another program has them → `model` and `api_base` of our file.

Knows: how providers' addresses end, the provider table. Must not know: any program's file.
Invariants: pure; an address that cannot be used has a `problem`.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from a2py.config.tree import ENVIRON
from a2py.providers import PROVIDERS, find_host_row

#: Ends of the addresses of one request. Our bases end before them.
_CHAT, _RESPONSES, _NATIVE = ("/chat/completions",), ("/responses",), ("/v1/messages", "/messages")


class Endpoint(NamedTuple):
    """`prefix`: before the model (`openrouter/`, `openai/responses/`). `base`: api_base, "" for the provider's own.
    `is_native`: it speaks the Anthropic protocol. `problem`: why it cannot be used. `is_known`: the provider table has
    its host, so a variable of the provider's can be its key."""

    prefix: str = "openai/"
    base: str = ""
    is_native: bool = False
    problem: str = ""
    is_known: bool = False

    def params(self, model: str, key: str) -> dict[str, Any]:
        """Return the litellm_params of one model."""
        params: dict[str, Any] = {"model": self.prefix + model}
        if self.base:
            params["api_base"] = self.base
        if key or not self.is_known:
            params["api_key"] = key or "none"  # else OPENAI_API_KEY would go to a host that is not OpenAI's
        return params

    def info(self) -> dict[str, Any]:
        """Return the model_info of its models."""
        return {"supported_endpoints": ["/v1/messages"]} if self.is_native else {}


def place(url: str, speaks: str = "") -> Endpoint:
    """Return where the models of `url` are asked. `speaks`: `anthropic` or `gemini` if the program says so."""
    url = url.strip()
    if url.startswith(ENVIRON):
        return Endpoint(base=url, is_native=speaks == "anthropic")
    parts = _split(url)
    if parts is None:
        return Endpoint(problem="is no URL that begins with http:// or https://")
    path, row = parts.path.rstrip("/"), find_host_row(url)
    if row == "gemini" and "/openai" not in path:  # Gemini's own protocol: a2py asks its OpenAI-compatible endpoint
        return Endpoint("gemini/", is_known=True)
    if speaks == "gemini" and path.endswith("/models"):
        return Endpoint(base=_join(parts, path.removesuffix("/models") + "/openai"))
    return _place_by_path(parts, path, row, speaks == "anthropic")


def _place_by_path(parts: SplitResult, path: str, row: str, speaks_anthropic: bool) -> Endpoint:
    """Return the endpoint of an address whose path says what it speaks. `row`: of its host, "" for none."""
    end = next((end for end in (*_CHAT, *_RESPONSES, *_NATIVE) if path.endswith(end)), "")
    is_native = end in _NATIVE or (speaks_anthropic and not end)
    base = _join(parts, path.removesuffix(end))
    prefix = f"{row or ('anthropic' if is_native else 'openai')}/" + ("responses/" if end in _RESPONSES else "")
    is_own = bool(row) and base == PROVIDERS[row].base and not is_native
    return Endpoint(prefix, "" if is_own else base, is_native, is_known=bool(row))


def _split(url: str) -> SplitResult | None:
    """Return the parts of an http or https URL, None for anything else."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # also a port that is no number
        return None
    return parts if is_url else None


def _join(parts: SplitResult, path: str) -> str:
    return f"{parts.scheme}://{parts.netloc}{path}" + (f"?{parts.query}" if parts.query else "")
