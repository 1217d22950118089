"""How messages about an error name the server."""

from __future__ import annotations

import pytest

from a2py.wires.refusal.peer import Peer
from tests import golden


@pytest.mark.parametrize(
    ("peer", "host", "host_and_model"),
    [
        (Peer(), "the upstream", "the upstream"),
        (Peer("openai"), "openai", "openai"),
        (Peer("openai", "127.0.0.1:8000"), "127.0.0.1:8000", "127.0.0.1:8000"),
        (Peer("openai", "127.0.0.1:8000", "m", "local"), "127.0.0.1:8000", "127.0.0.1:8000 (model local)"),
    ],
)
def test_the_address_comes_before_the_providers_prefix(peer: Peer, host: str, host_and_model: str) -> None:
    assert (peer.host, peer.host_and_model) == (host, host_and_model)


def test_a_deployment_is_named_by_its_address_and_its_model() -> None:
    deployment = golden.deployment({"wire": "chat"})
    peer = Peer.of(deployment)
    assert (peer.address, peer.model, peer.name) == (deployment.address, deployment.model, deployment.name)
    assert peer.provider == deployment.provider and peer.secrets == deployment.secrets
