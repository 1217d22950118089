"""Headers of an upstream request: corners that no golden shows."""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.wires.common.headers import build_headers, server_root


def test_auth_none_sends_no_key() -> None:
    dep = Deployment("n", "i", "custom", "m", "http://x", "k", "none")
    assert set(build_headers(dep, False)) == {"content-type", "accept", "accept-encoding"}


def test_a_servers_own_endpoints_are_beside_v1() -> None:
    assert server_root("http://127.0.0.1:8000/v1") == "http://127.0.0.1:8000"
    assert server_root("http://127.0.0.1:8000") == "http://127.0.0.1:8000"
    assert server_root("http://host/v1/openai") == "http://host/v1/openai"
