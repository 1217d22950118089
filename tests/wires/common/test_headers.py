"""Headers of an upstream request: corners that no golden shows."""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.wires.common.headers import build_headers


def test_auth_none_sends_no_key() -> None:
    dep = Deployment("n", "i", "custom", "m", "http://x", "k", "none")
    assert set(build_headers(dep, False)) == {"content-type", "accept", "accept-encoding"}
