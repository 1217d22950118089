"""Files of certificates: one that can't be read is named with its place when the configuration is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from a2py.config.certificates import CURE, find_file_problem
from a2py.deployment import Deployment
from tests.configured import Folder

MODEL = "model_list: [{model_name: m, litellm_params: {model: openai/x, api_key: k}}]\n"
MISSING = "names a file that cannot be read: No such file or directory"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "ca.pem").write_text("# ours\n-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "empty.pem").write_text("")
    os.mkfifo(tmp_path / "pipe")
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ca.pem", ""),
        (".", ""),
        ("no.pem", MISSING),
        ("a\0b", "names a file that cannot be read: ValueError"),
        ("empty.pem", "names a file without a PEM block (-----BEGIN …)"),
        ("pipe", "names something that is neither a file nor a folder"),
    ],
)
def test_what_is_wrong_with_a_file(folder: Folder, name: str, problem: str) -> None:
    assert find_file_problem(str(folder.path / name)) == problem


def test_the_ca_of_all_models(folder: Folder) -> None:
    mistake = folder.mistake(f"{MODEL}litellm_settings: {{ssl_verify: /no/such/ca.pem}}")
    assert str(mistake) == f"litellm_config.yaml:2: `litellm_settings.ssl_verify` {MISSING}. {CURE}"
    mistake = folder.mistake(f"{MODEL}litellm_settings: {{ssl_verify: os.environ/CA}}", {"CA": "/no/such/ca.pem"})
    assert mistake.line == 2 and "no/such" not in str(mistake)
    config = folder.load(f"{MODEL}litellm_settings: {{ssl_verify: '{folder.path}/ca.pem'}}")
    assert config.deployments[0].ssl_verify == f"{folder.path}/ca.pem" and not config.deployments[0].problem


@pytest.mark.parametrize(("name", "model"), [("m", "x"), ("m/*", "*")])
def test_the_ca_of_one_model(folder: Folder, name: str, model: str) -> None:
    """The other models can be used."""

    def load(path: str) -> tuple[Deployment, ...]:
        params = f"{{model: openai/{model}, api_key: k, ssl_verify: '{path}'}}"
        other = "  - {model_name: b, litellm_params: {model: openai/x, api_key: k}}\n"
        return folder.load(f"model_list:\n  - model_name: {name}\n    litellm_params: {params}\n{other}").deployments

    first, second = load("/no/such/ca.pem")
    place = "litellm_config.yaml:3: `model_list[0].litellm_params.ssl_verify`"
    assert first.problem == f"{place} {MISSING}. {CURE}" and not second.problem
    assert not any(dep.problem for dep in load(f"{folder.path}/ca.pem"))


def test_without_tls_no_ca_is_needed(folder: Folder) -> None:
    params = "{model: openai/x, api_key: k, api_base: 'http://127.0.0.1:1/v1', ssl_verify: /no/such}"
    assert folder.one(params).problem == ""
