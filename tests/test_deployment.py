"""What a deployment keeps to itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2py.deployment import telling
from tests import golden


@pytest.mark.parametrize(
    "name", ["api-key", "Authorization", "x-auth", "access_token", "client_secret", "Cookie", "sig_Signature", "PASSWORD"]
)
def test_names_that_tell_a_secret(name: str) -> None:
    assert telling(name)


@pytest.mark.parametrize("name", ["max_tokens", "model", "x-title", "temperature"])
def test_names_that_tell_none(name: str) -> None:
    assert not telling(name)


def test_secrets_wherever_they_stand() -> None:
    dep = replace(
        golden.deployment({}),
        key="sk-main-key",
        headers={"authorization": "Bearer sk-header", "x-title": "a title"},
        query="api-key=sk-query&v=2026",
        extra_body={"auth": {"deep": [{"token": "sk-deep"}, "sk-under-auth"]}, "model_key": "abc", "user": "somebody", "n": 1},
    )
    assert set(dep.secrets) == {"sk-main-key", "Bearer sk-header", "sk-header", "sk-query", "sk-deep"}
