"""Which deployments an endpoint of OpenAI's may be asked at, and under which address.

Knows: wires, modes, rows of the provider table, Azure's forms of an address. Must not know: requests, routing.
Invariants: what is not known of an upstream is left to its own answer.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from a2py.deployment import Deployment, digest_account
from a2py.providers import PROVIDERS, find_host_row
from a2py.wires.passthrough.endpoints import Endpoint

#: Headers that choose an account behind one key.
_ACCOUNT_HEADERS = ("openai-organization", "openai-project")


def find_base(deployment: Deployment) -> str:
    """Return the base of the upstream's OpenAI API; "" if it has none.

    A deployment on the native wire is asked at a vendor's Anthropic endpoint. Its row says whether the vendor has
    OpenAI's API, too. Servers of one's own (Ollama, vLLM, llama.cpp) have both, below one root."""
    if deployment.wire != "native":
        return deployment.base
    row = PROVIDERS.get(deployment.provider)
    if row is None or row.wire == "native":
        return ""
    if deployment.base == row.native:
        return row.base
    return f"{deployment.base}/v1" if row.key_optional else ""


def explain_refusal(deployment: Deployment, endpoint: Endpoint) -> str:
    """Return why `deployment` is not asked at `endpoint`; "" if it may be."""
    if deployment.mode and deployment.mode not in endpoint.modes:
        return f"its `model_info: mode` is {deployment.mode}"
    if not find_base(deployment):
        return "it is asked by Anthropic's own API, which has no such endpoint"
    row = PROVIDERS.get(deployment.provider)
    if row is not None and endpoint.name in row.lacks and find_host_row(deployment.base) == row.name:
        return f"{row.name} does not have it"
    return ""


def build_address(deployment: Deployment, endpoint: Endpoint) -> str:
    """Return the URL of `endpoint` at `deployment`.

    Azure has the model in the address of its older endpoints, and the Responses API only below `/openai/v1`
    (learn.microsoft.com, Azure OpenAI v1 API, 2026-10)."""
    base, query = find_base(deployment).rstrip("/"), deployment.query
    root, is_azure, _ = base.partition("/openai/deployments/")
    if is_azure and endpoint.name == "responses":
        base, query = f"{root}/openai/v1", ""
    url = f"{base}/{endpoint.name}"
    return f"{url}?{query}" if query else url


def find_account(deployment: Deployment) -> str:
    """Return a digest of the account that a deployment's requests belong to: server, key, organization and project.

    Unlike `Deployment.account`, two paths of one server are one account, as Azure's deployments are."""
    parts = urlsplit(find_base(deployment))
    lower = {name.lower(): value for name, value in deployment.headers.items()}
    accounts = [lower.get(name, "") for name in _ACCOUNT_HEADERS]
    return digest_account("\0".join((parts.scheme, parts.netloc, *accounts)), deployment.key)
