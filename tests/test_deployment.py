"""What a deployment keeps to itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2py.deployment import Deployment, digest_account, is_same_model, is_secret_name
from tests import golden


@pytest.mark.parametrize(
    "name",
    ["api-key", "Authorization", "x-auth", "access_token", "client_secret", "Cookie", "sig_Signature", "PASSWORD"],
)
def test_names_that_tell_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "model", "x-title", "temperature"])
def test_names_that_tell_none(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_wherever_they_stand() -> None:
    dep = replace(
        golden.deployment({}),
        key="sk-main-key",
        headers={"authorization": "Bearer sk-header", "x-title": "a title"},
        query="api-key=sk-query&v=2026",
        extra_body={
            "auth": {"deep": [{"token": "sk-deep"}, "sk-under-auth"]},
            "model_key": "abc",
            "user": "somebody",
            "n": 1,
        },
    )
    assert set(dep.secrets) == {"sk-main-key", "Bearer sk-header", "sk-header", "sk-query", "sk-deep"}


@pytest.mark.parametrize(
    ("header", "secrets"),
    [
        ("Basic dXNlcjpwYXNz", {"Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "pass"}),
        ("basic dXNlcjpwYXNz", {"basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "pass"}),
        ("Basic dXNlcjo=", {"Basic dXNlcjo=", "dXNlcjo="}),
        ("Basic no base64", {"Basic no base64", "no base64"}),
        ("Basic //79/A==", {"Basic //79/A==", "//79/A=="}),
        ("Bearer dXNlcjpwYXNz", {"Bearer dXNlcjpwYXNz", "dXNlcjpwYXNz"}),
    ],
)
def test_the_password_of_a_login_is_a_secret_too(header: str, secrets: set[str]) -> None:
    deployment = Deployment("n", "i", "p", "m", "http://x/v1", headers={"authorization": header})
    assert set(deployment.secrets) == secrets


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000"),
        ("https://api.openai.com/v1", "api.openai.com"),
        ("https://user:sk-login@host.example:8443/v1", "host.example:8443"),
        ("http://[::1]:11434", "[::1]:11434"),
        ("http://[::1]/v1", "[::1]"),
        ("http://host:port/v1", "p"),
        ("http://[::1", "p"),
        ("", "p"),
    ],
)
def test_address_is_host_and_port_of_the_base(base: str, address: str) -> None:
    assert Deployment("n", "i", "p", "m", base).address == address


def test_an_origin_is_the_same_model_whatever_the_account() -> None:
    assert is_same_model("chat:openai/gpt-5@0a1b2c3d", "chat:openai/gpt-5@99999999")
    assert is_same_model("chat:openai/gpt-5", "chat:openai/gpt-5@99999999")
    assert not is_same_model("chat:openai/gpt-5@0a1b2c3d", "responses:openai/gpt-5@0a1b2c3d")
    assert not is_same_model("chat:openai/gpt-5@0a1b2c3d", "chat:openai/gpt-4@0a1b2c3d")


def test_the_digest_of_an_account_tells_keys_and_addresses_apart() -> None:
    digests = {digest_account(base, key) for base in ("http://a/v1", "http://b/v1") for key in ("", "sk-1", "sk-2")}
    assert len(digests) == 6 and all(len(digest) == 8 for digest in digests)
    assert digest_account("http://a/v1", "sk-1") == digest_account("http://a/v1", "sk-1")


@pytest.mark.parametrize(("mode", "has_output"), [("", True), ("chat", True), ("embedding", False), ("rerank", False)])
def test_embeddings_have_no_output_tokens(mode: str, has_output: bool) -> None:
    deployment = Deployment("n", "i", "p", "m", "http://x/v1", mode=mode)
    assert (deployment.has_output, deployment.is_chat) == (has_output, has_output)
